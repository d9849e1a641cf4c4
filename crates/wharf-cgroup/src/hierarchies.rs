//! Which control group hierarchies this machine has mounted, and where.

use std::path::{Path, PathBuf};

use crate::plan::Target;

/// The mounted hierarchies, read once and kept by the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hierarchies {
    /// One hierarchy a controller (or a few co-mounted), and sometimes a unified one beside them.
    V1 {
        /// The v1 hierarchies, in mount order.
        legacy: Vec<Hierarchy>,
        /// Mount point of the unified hierarchy, if there is one.
        unified: Option<PathBuf>,
        /// Whether swap is accounted (`memory.memsw.*` exist).
        swap: bool,
    },
    /// One hierarchy with all controllers.
    V2 {
        /// Its mount point.
        mount: PathBuf,
        /// Controllers its root offers.
        controllers: Vec<String>,
    },
}

/// A mounted v1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Mount point.
    pub mount: PathBuf,
    /// Its controllers; `name=systemd` for a named one.
    pub controllers: Vec<String>,
}

/// Why the hierarchies could not be found.
#[derive(Debug, thiserror::Error)]
pub enum DetectError {
    /// A file of the kernel could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// No hierarchy is mounted.
    #[error("no control group hierarchy is mounted")]
    NotMounted,
}

impl Hierarchies {
    /// Finds the hierarchies in this process's mount namespace.
    pub fn detect() -> Result<Self, DetectError> {
        todo!()
    }

    /// Whether the machine is on v2 alone.
    #[must_use]
    pub fn is_v2(&self) -> bool {
        matches!(self, Self::V2 { .. })
    }

    /// What a [`crate::plan`] of a new group has to know about this machine.
    #[must_use]
    pub fn target(&self) -> Target {
        todo!()
    }

    /// The directory of the group `path` (from the hierarchies' mount points) for one controller;
    /// on v2 the same for all.
    #[must_use]
    pub fn dir(&self, controller: &str, path: &Path) -> Option<PathBuf> {
        let _ = (controller, path);
        todo!()
    }
}
