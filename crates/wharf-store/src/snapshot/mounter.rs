//! Which driver there is, and what it does for a snapshot.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::mount::{MountAttrFlags, OpenTreeFlags};
use wharf_sys::mount::{AttributeChange, set_attributes};

use super::overlay::{Overlay, Upper};
use super::{MountOptions, Parts, copy};
use crate::store::{Driver, DriverChoice};
use crate::{OpenError, PathError, SnapshotError};

/// The driver in use.
#[derive(Debug)]
pub(crate) enum Mounter {
    Overlay(Overlay),
    Copy,
}

impl Mounter {
    /// Chooses the driver, by trying overlay in the store's own directory.
    pub(crate) fn new(root: &Path, choice: DriverChoice) -> Result<Self, OpenError> {
        if choice == DriverChoice::Copy {
            return Ok(Self::Copy);
        }
        match Overlay::probe(root)? {
            Ok(overlay) => Ok(Self::Overlay(overlay)),
            Err(_) if choice == DriverChoice::Auto => Ok(Self::Copy),
            Err(source) => Err(OpenError::NoOverlay {
                path: root.to_owned(),
                source,
            }),
        }
    }

    pub(crate) fn driver(&self) -> Driver {
        match self {
            Self::Overlay(_) => Driver::Overlay,
            Self::Copy => Driver::Copy,
        }
    }

    /// Fills the new directory `fs` of a snapshot.
    pub(super) fn fill(&self, layers: &[PathBuf], fs: &Path) -> Result<(), PathError> {
        match self {
            Self::Overlay(_) => Ok(()),
            Self::Copy => copy::fill(layers, fs),
        }
    }

    pub(super) fn mount(
        &self,
        parts: &Parts,
        options: MountOptions,
    ) -> Result<OwnedFd, SnapshotError> {
        match self {
            Self::Overlay(overlay) if !parts.layers.is_empty() => {
                let upper = Upper {
                    fs: &parts.fs,
                    work: &parts.work,
                    volatile: options.volatile,
                };
                overlay.mount(&parts.layers, Some(&upper), options.readonly)
            }
            // An image without layers is its upper directory.
            _ => clone(&parts.fs, options.readonly),
        }
    }

    pub(super) fn view(&self, parts: &Parts) -> Result<OwnedFd, SnapshotError> {
        match self {
            Self::Overlay(overlay) if !parts.layers.is_empty() => {
                // As the top one of the lower directories: a second overlay with the same upper
                // directory would be undefined.
                let mut layers = vec![parts.fs.clone()];
                layers.extend_from_slice(&parts.layers);
                overlay.mount(&layers, None, true)
            }
            _ => clone(&parts.fs, true),
        }
    }

    /// Returns a read-only view of an overlay's layers alone.
    pub(crate) fn view_layers(&self, layers: &[PathBuf]) -> Result<OwnedFd, SnapshotError> {
        match (self, layers) {
            (Self::Overlay(overlay), [_, _, ..]) => overlay.mount(layers, None, true),
            (_, [only]) => clone(only, true),
            _ => Err(SnapshotError::TooManyLayers {
                layers: layers.len(),
            }),
        }
    }
}

/// Returns a detached mount of a directory.
fn clone(directory: &Path, readonly: bool) -> Result<OwnedFd, SnapshotError> {
    let mount = rustix::mount::open_tree(
        rustix::fs::CWD,
        directory,
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
    )
    .map_err(|errno| SnapshotError::Mount {
        operation: "open_tree",
        source: errno.into(),
    })?;
    if readonly {
        let change = AttributeChange {
            set: MountAttrFlags::MOUNT_ATTR_RDONLY,
            ..AttributeChange::default()
        };
        set_attributes(mount.as_fd(), &change).map_err(|source| SnapshotError::Mount {
            operation: "mount_setattr",
            source,
        })?;
    }
    Ok(mount)
}
