//! Small operations on files that several parts of the store share the rules of: how an error
//! gets its context, how a descriptor becomes a path, how a file becomes visible whole.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, IFlags, Mode, OFlags, Uid, ioctl_getflags, ioctl_setflags};

use crate::PathError;

/// Gives an error its context.
pub(crate) fn failed<E: Into<io::Error>>(
    operation: &'static str,
    path: &Path,
) -> impl FnOnce(E) -> PathError {
    move |source| PathError {
        operation,
        path: path.to_owned(),
        source: source.into(),
    }
}

/// Returns a path that means what a descriptor means, for calls that take paths only.
pub(crate) fn proc_path(fd: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// Opens a directory of the store's own.
pub(crate) fn open_directory(path: &Path) -> Result<OwnedFd, PathError> {
    rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(failed("open directory", path))
}

/// Makes a directory, 0700, or finds it there.
pub(crate) fn ensure_directory(path: &Path) -> Result<(), PathError> {
    match rustix::fs::mkdir(path, Mode::RWXU) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(errno) => Err(failed("create directory", path)(errno)),
    }
}

/// Makes a directory, 0700, that must be new.
pub(crate) fn make_directory(path: &Path) -> Result<(), PathError> {
    rustix::fs::mkdir(path, Mode::RWXU).map_err(failed("create directory", path))
}

/// Has the file system put each directory that is made in this one, with all that comes into it, in a
/// place of its own, where it can.
///
/// Ext4 else puts them side by side. It gives nobody an inode that was free for less than a minute or
/// five, and looks for another through all of those, for each file: where a layer was just removed, the
/// next takes several times as long to unpack. It needs nothing of the kind in a group of inodes that
/// had no layer yet.
pub(crate) fn spread_directories(path: &Path) {
    let Ok(directory) = open_directory(path) else {
        return;
    };
    // Other file systems have no such flag, and no such trouble.
    if let Ok(flags) = ioctl_getflags(&directory) {
        ioctl_setflags(&directory, flags | IFlags::TOPDIR).ok();
    }
}

/// Makes the directory that will be the root of a layer or of a snapshot, 0755.
pub(crate) fn make_tree(path: &Path) -> Result<(), PathError> {
    make_directory(path)?;
    // Whatever the process's umask says.
    rustix::fs::chmod(path, Mode::from_raw_mode(0o755)).map_err(failed("set mode of", path))
}

/// Gives a directory of root's the owner and mode of another.
pub(crate) fn copy_attributes(from: &Path, to: &Path) -> Result<(), PathError> {
    let stat = rustix::fs::stat(from).map_err(failed("look at", from))?;
    if (stat.st_uid, stat.st_gid) != (0, 0) {
        let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        rustix::fs::chown(to, Some(uid), Some(gid)).map_err(failed("set owner of", to))?;
    }
    rustix::fs::chmod(to, Mode::from_raw_mode(stat.st_mode)).map_err(failed("set mode of", to))
}

/// Writes a file and syncs it.
pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), PathError> {
    let mut file = File::create_new(path).map_err(failed("create", path))?;
    file.write_all(bytes).map_err(failed("write", path))?;
    file.sync_all().map_err(failed("sync", path))
}

/// Syncs a directory: the names in it.
pub(crate) fn sync_directory(path: &Path) -> Result<(), PathError> {
    rustix::fs::fsync(open_directory(path)?).map_err(failed("sync", path))
}

/// Renames within the store.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), PathError> {
    std::fs::rename(from, to).map_err(failed("rename to", to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DriverChoice;
    use crate::fixtures::World;

    #[test]
    fn layers_are_unpacked_apart_from_each_other() {
        let world = World::new(DriverChoice::Auto);
        let flags = |path: &Path| {
            let directory = open_directory(path).expect("open");
            ioctl_getflags(&directory).map(|flags| flags.contains(IFlags::TOPDIR))
        };
        // The same file system says whether it can.
        let other = tempfile::tempdir_in(world.store.root()).expect("a directory");
        assert!(!flags(other.path()).unwrap_or(false));
        spread_directories(other.path());
        let can = flags(other.path()).unwrap_or(false);
        let does = flags(&world.store.root().join("tmp")).unwrap_or(false);
        assert_eq!(can, does);
        let kind = rustix::fs::statfs(world.store.root())
            .expect("statfs")
            .f_type;
        assert!(can || kind != EXT4, "ext4 can");
    }

    /// `EXT4_SUPER_MAGIC`.
    const EXT4: rustix::fs::FsWord = 0xef53;
}
