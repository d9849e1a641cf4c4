//! Which driver there is, and what it does for a snapshot.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::overlay::{Overlay, Upper};
use super::{MountOptions, Parts, clone, copy};
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

    /// Returns the overlay, where that is the driver.
    pub(crate) fn overlay(&self) -> Option<&Overlay> {
        match self {
            Self::Overlay(overlay) => Some(overlay),
            Self::Copy => None,
        }
    }
}
