//! How a snapshot differs from its image, and both as archives.
//!
//! With overlay the upper directory is the difference: what it has is added or changed, what it
//! marks is deleted. With copies the two trees are compared, by what a change cannot leave alone:
//! kind, mode, owner, device, size, modification time and attributes. Both give the same list for
//! the same change, but that a file rewritten with its own content and time is a change for
//! overlay only.

mod archive;
mod changes;

use std::collections::BTreeSet;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

pub(crate) use archive::{Archive, Holes};

use crate::files;
use crate::tree::{self, WalkError};
use crate::{Change, ChangeKind, DiffError, SnapshotId, Store, Usage};

impl From<WalkError<DiffError>> for DiffError {
    fn from(error: WalkError<DiffError>) -> Self {
        match error {
            WalkError::Path(error) => Self::Path(error),
            WalkError::TooDeep(path) => Self::TooDeep(path),
            WalkError::Visitor(error) => error,
        }
    }
}

impl Store {
    /// Returns how a snapshot differs from its image, by path.
    ///
    /// # Errors
    /// [`DiffError`].
    pub fn diff(&self, id: &SnapshotId) -> Result<Vec<Change>, DiffError> {
        let parts = self.parts(id)?;
        let mut changes = if parts.is_whole() {
            changes::of_copy(&parts)?
        } else {
            changes::of_upper(self.shared.mounter.overlay()?, &parts)?
        };
        changes.sort();
        Ok(changes)
    }

    /// Returns what a snapshot takes beyond its image.
    ///
    /// # Errors
    /// [`DiffError`].
    pub fn snapshot_usage(&self, id: &SnapshotId) -> Result<Usage, DiffError> {
        let parts = self.parts(id)?;
        let fs = files::open_directory(&parts.fs)?;
        let changed = if parts.is_whole() {
            Some(present(&changes::of_copy(&parts)?))
        } else {
            None
        };
        let mut usage = Usage::default();
        let mut seen = BTreeSet::new();
        tree::walk::<DiffError>(fs.as_fd(), &mut |item| {
            let own = changed
                .as_ref()
                .is_none_or(|changed| changed.contains(&Path::new("/").join(item.path)));
            if own && (item.stat.st_nlink < 2 || seen.insert(item.stat.st_ino)) {
                usage.entries += 1;
                if item.kind() == FileType::RegularFile {
                    usage.bytes += item.size();
                }
            }
            Ok(true)
        })?;
        Ok(usage)
    }

    /// Writes what a snapshot changes of its image as a layer's tar, deletions as `.wh.` entries.
    ///
    /// # Errors
    /// [`DiffError`].
    pub fn write_layer(&self, id: &SnapshotId, writer: impl Write) -> Result<(), DiffError> {
        self.write_layer_of(id, None, writer)
    }

    /// As [`Self::write_layer`], with the changes of some paths only.
    pub(crate) fn write_layer_of(
        &self,
        id: &SnapshotId,
        paths: Option<&BTreeSet<PathBuf>>,
        writer: impl Write,
    ) -> Result<(), DiffError> {
        let wanted = |path: &Path| {
            let absolute = || Path::new("/").join(path);
            paths.is_none_or(|paths| paths.contains(&absolute()))
        };
        let parts = self.parts(id)?;
        let mut archive = Archive::new(writer, Holes::Written);
        let fs = files::open_directory(&parts.fs)?;
        if !parts.is_whole() {
            tree::walk::<DiffError>(fs.as_fd(), &mut |item| {
                if item.is_whiteout() {
                    if wanted(item.path) {
                        archive.whiteout(item.path)?;
                    }
                    return Ok(false);
                }
                if !wanted(item.path) {
                    return Ok(true);
                }
                archive.item(item)?;
                if item.kind() == FileType::Directory {
                    let directory = item.open_directory()?;
                    if tree::is_opaque(directory.as_fd(), item.path)? {
                        archive.opaque(item.path)?;
                    }
                }
                Ok(true)
            })?;
            return archive.finish();
        }
        let mut changes = changes::of_copy(&parts)?;
        changes.retain(|change| paths.is_none_or(|paths| paths.contains(&change.path)));
        let present = present(&changes);
        tree::walk::<DiffError>(fs.as_fd(), &mut |item| {
            if present.contains(&Path::new("/").join(item.path)) {
                archive.item(item)?;
            }
            Ok(true)
        })?;
        let deleted = changes
            .iter()
            .filter(|change| change.kind == ChangeKind::Deleted);
        for change in deleted {
            archive.whiteout(change.path.strip_prefix("/").unwrap_or(&change.path))?;
        }
        archive.finish()
    }
}

/// Returns the paths of those changes that the snapshot has something at.
fn present(changes: &[Change]) -> BTreeSet<PathBuf> {
    changes
        .iter()
        .filter(|change| change.kind != ChangeKind::Deleted)
        .map(|change| change.path.clone())
        .collect()
}

#[cfg(test)]
mod tests;
