//! Reading files inside a root file system that its container controls.
//!
//! A name is resolved by the kernel with `RESOLVE_IN_ROOT`: links and `..` stay inside, whatever
//! the container swaps meanwhile. What is found is looked at before it is opened for reading, by a
//! descriptor that only identifies it: a FIFO would block, a device has effects when opened, and
//! a file of 10 GB would fill the memory (attack R22).

mod archive;
mod path;
mod stat;

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};

use crate::RootedError;
use crate::files::{failed, proc_path};
use crate::owners::IdMaps;

pub use archive::{ExtractOptions, Renamed};
pub use path::InsidePath;
pub use stat::PathStat;

/// A root file system, or a part of one, whose files are looked up confined to it.
#[derive(Debug)]
pub struct RootedDir {
    root: OwnedFd,
    ids: IdMaps,
}

impl AsFd for RootedDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

impl RootedDir {
    /// Takes a directory or a detached mount as the root.
    #[must_use]
    pub fn open(root: OwnedFd) -> Self {
        Self::open_mapped(root, IdMaps::default())
    }

    /// Takes the root of a container with a user namespace, whose owners are of the host; what goes
    /// in and comes out has the ids that the container sees.
    #[must_use]
    pub fn open_mapped(root: OwnedFd, ids: IdMaps) -> Self {
        Self { root, ids }
    }

    /// Returns the content of a regular file; symbolic links are followed inside the root only.
    ///
    /// # Errors
    /// [`RootedError`], also when the file is not a regular one or holds more than `max_bytes`.
    pub fn read_file(&self, path: &Path, max_bytes: u64) -> Result<Vec<u8>, RootedError> {
        let found = rustix::fs::openat2(
            &self.root,
            path,
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        )
        .map_err(failed("open", path))?;
        let stat = rustix::fs::fstat(&found).map_err(failed("look at", path))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(RootedError::NotRegular(path.to_owned()));
        }
        // The same inode again, now for reading: it cannot have become something else.
        let file = rustix::fs::open(
            proc_path(found.as_fd()),
            OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(failed("open", path))?;
        let mut bytes = Vec::new();
        File::from(file)
            .take(max_bytes.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(failed("read", path))?;
        if bytes.len() as u64 > max_bytes {
            return Err(RootedError::TooLarge {
                path: path.to_owned(),
                limit: max_bytes,
            });
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests;
