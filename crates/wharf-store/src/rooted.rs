//! Reading files inside a root file system that its container controls.

use std::os::fd::OwnedFd;
use std::path::Path;

use crate::RootedError;

/// A root file system, or a part of one, whose files are looked up confined to it.
#[derive(Debug)]
pub struct RootedDir {
    root: OwnedFd,
}

impl RootedDir {
    /// Takes a directory or a detached mount as the root.
    #[must_use]
    pub fn open(root: OwnedFd) -> Self {
        Self { root }
    }

    /// Returns the content of a regular file; symbolic links are followed inside the root only.
    ///
    /// # Errors
    /// [`RootedError`], also when the file is not a regular one or holds more than `max_bytes`.
    pub fn read_file(&self, path: &Path, max_bytes: u64) -> Result<Vec<u8>, RootedError> {
        let _ = (&self.root, path, max_bytes);
        todo!()
    }
}
