//! What of a container can be made before all of it is known: its cgroup.
//!
//! Eight hierarchies of cgroup v1 are eight directories and some twenty files, half a millisecond that a
//! start need not wait for when it has something else to do meanwhile.

use std::path::Path;

use wharf_cgroup::{Cgroup, Hierarchies, Joiner};
use wharf_oci::runtime::Resources;

use crate::error::CreateError;

/// A container's cgroup, made ahead of its launch. Dropping it removes the group.
#[derive(Debug)]
pub struct Groundwork {
    /// `None` only once it was kept.
    cgroup: Option<Cgroup>,
    joiner: Joiner,
    warnings: Vec<String>,
}

impl Groundwork {
    /// Makes the group `path` (from the hierarchies' mount points) and writes its limits.
    ///
    /// # Errors
    /// Limits that cannot be, and what the kernel says; then nothing is left.
    pub fn lay(
        path: &Path,
        resources: &Resources,
        hierarchies: &Hierarchies,
    ) -> Result<Self, CreateError> {
        let plan =
            wharf_cgroup::plan(resources, &hierarchies.target()).map_err(CreateError::Limits)?;
        let cgroup = Cgroup::create(hierarchies, path, &plan).map_err(CreateError::Cgroup)?;
        match cgroup.joiner() {
            Ok(joiner) => Ok(Self {
                cgroup: Some(cgroup),
                joiner,
                warnings: plan.warnings,
            }),
            Err(error) => {
                remove(&cgroup);
                Err(CreateError::Cgroup(error))
            }
        }
    }

    pub(crate) fn cgroup(&self) -> &Cgroup {
        self.cgroup
            .as_ref()
            .expect("it is taken only by keep, which consumes")
    }

    pub(crate) fn joiner(&self) -> &Joiner {
        &self.joiner
    }

    pub(crate) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Hands the group over to a container that runs.
    pub(crate) fn keep(mut self) -> Cgroup {
        self.cgroup.take().expect("it is taken only here")
    }
}

impl Drop for Groundwork {
    fn drop(&mut self) {
        if let Some(cgroup) = &self.cgroup {
            remove(cgroup);
        }
    }
}

/// Removes the group of a container that failed. What is left then is empty, and taken over by the
/// next container of that name; the failure itself is what has to be told.
pub(crate) fn remove(cgroup: &Cgroup) {
    drop(cgroup.remove());
}
