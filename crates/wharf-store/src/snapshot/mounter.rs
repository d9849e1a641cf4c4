//! Which drivers there are, and what they do for a snapshot.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::overlay::{Api, Overlay, Upper};
use super::{MountOptions, Parts, clone, copy, mapped, skeleton};
use crate::store::{Driver, DriverChoice};
use crate::{OpenError, PathError, SnapshotError};

/// The drivers: overlay where it works, and the one new snapshots are made by. A snapshot stays
/// with the driver that made it, so that the choice can change between two openings.
#[derive(Debug)]
pub(crate) struct Mounter {
    overlay: Option<Overlay>,
    driver: Driver,
    skeleton: PathBuf,
}

impl Mounter {
    /// Chooses the driver, by trying overlay in the store's own directory.
    pub(crate) fn new(root: &Path, choice: DriverChoice) -> Result<Self, OpenError> {
        let apis: &[Api] = match choice {
            #[cfg(test)]
            DriverChoice::OverlayOfOldKernels => &[Api::Page],
            _ => &[Api::Layers, Api::Page],
        };
        let (overlay, refused) = match Overlay::probe(root, apis)? {
            Ok(overlay) => (Some(overlay), None),
            Err(refused) => (None, Some(refused)),
        };
        let driver = match (choice, refused) {
            (DriverChoice::Copy, _) | (DriverChoice::Auto, Some(_)) => Driver::Copy,
            (_, None) => Driver::Overlay,
            (_, Some(source)) => {
                let path = root.to_owned();
                return Err(OpenError::NoOverlay { path, source });
            }
        };
        Ok(Self {
            overlay,
            driver,
            skeleton: skeleton::make(root)?,
        })
    }

    pub(crate) fn driver(&self) -> Driver {
        self.driver
    }

    /// Fills the new directory `fs` of a snapshot.
    pub(super) fn fill(&self, layers: &[PathBuf], fs: &Path) -> Result<(), PathError> {
        match self.driver {
            Driver::Overlay => Ok(()),
            Driver::Copy => copy::fill(layers, fs),
        }
    }

    pub(super) fn mount(
        &self,
        parts: &Parts,
        options: MountOptions,
    ) -> Result<OwnedFd, SnapshotError> {
        if parts.is_whole() {
            return clone(&parts.fs, options.readonly);
        }
        let upper = Upper {
            fs: &parts.fs,
            work: &parts.work,
            volatile: options.volatile,
        };
        let mut layers = parts.layers.clone();
        if layers.len() < skeleton::LAYERS_MAX {
            layers.push(self.skeleton.clone());
        }
        self.overlay()?
            .mount(&layers, Some(&upper), options.readonly)
    }

    /// As [`Self::mount`], for a user namespace.
    pub(super) fn mount_mapped(
        &self,
        parts: &Parts,
        options: MountOptions,
        owners: BorrowedFd<'_>,
    ) -> Result<OwnedFd, SnapshotError> {
        if parts.is_whole() {
            return mapped::clone(&parts.fs, owners, options.readonly);
        }
        mapped::overlay(self.overlay()?, parts, options, owners)
    }

    pub(super) fn view(&self, parts: &Parts) -> Result<OwnedFd, SnapshotError> {
        if parts.is_whole() {
            return clone(&parts.fs, true);
        }
        // As the top one of the lower directories: a second overlay with the same upper directory
        // would be undefined.
        let mut layers = vec![parts.fs.clone()];
        layers.extend_from_slice(&parts.layers);
        self.overlay()?.view(&layers)
    }

    /// As [`Self::view`], for a user namespace.
    pub(super) fn view_mapped(
        &self,
        parts: &Parts,
        owners: BorrowedFd<'_>,
    ) -> Result<OwnedFd, SnapshotError> {
        if parts.is_whole() {
            return mapped::clone(&parts.fs, owners, true);
        }
        mapped::view(self.overlay()?, parts, owners)
    }

    /// Returns the overlay, for a snapshot that was made by it.
    pub(crate) fn overlay(&self) -> Result<&Overlay, SnapshotError> {
        self.overlay.as_ref().ok_or(SnapshotError::NoOverlay)
    }
}
