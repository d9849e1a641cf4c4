//! Deletes trees that containers and archives have made.
//!
//! By descriptors only, never following a link; without recursion, so that ten thousand levels
//! need neither stack nor ten thousand descriptors: a directory found below another is moved up
//! beside the tree's top first and is emptied there (`rename` within one file system is cheap,
//! and no path ever becomes long). Immutable and append-only flags are cleared where they are in
//! the way; permissions are none for root.

use std::ffi::{CStr, CString, OsStr};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, IFlags, Mode, OFlags, RawDir};
use rustix::io::Errno;

use crate::PathError;
use crate::files::failed;

/// Levels that are gone down before a directory is moved up.
const DEPTH: usize = 64;
const LISTING: usize = 32 << 10;

/// Removes `name` in `parent`, with all below it; `path` is for messages.
pub(crate) fn remove_at(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    path: &Path,
) -> Result<(), PathError> {
    let name = CString::new(name.as_encoded_bytes())
        .map_err(|error| failed("remove", path)(std::io::Error::from(error)))?;
    match unlink(parent, &name) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR) => {}
        Err(errno) => return Err(failed("remove", path)(errno)),
    }
    let top = open(parent, &name).map_err(failed("open", path))?;
    let mut removal = Removal {
        top: top.as_fd(),
        moved: 0,
    };
    removal
        .remove(parent, &name, top.as_fd(), 0)
        .map_err(failed("remove", path))
}

struct Removal<'a> {
    /// Where directories from far below are moved to.
    top: BorrowedFd<'a>,
    moved: u64,
}

impl Removal<'_> {
    /// Empties a directory and removes it.
    fn remove(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        directory: BorrowedFd<'_>,
        depth: usize,
    ) -> Result<(), Errno> {
        loop {
            let found = self.pass(directory, depth)?;
            match remove_directory(parent, name, directory) {
                // While it was listed, directories from below were moved up into it.
                Err(Errno::NOTEMPTY | Errno::EXIST) if found => {}
                removed => return removed,
            }
        }
    }

    /// Removes what one listing shows; says whether there was anything.
    fn pass(&mut self, directory: BorrowedFd<'_>, depth: usize) -> Result<bool, Errno> {
        let listed = rustix::fs::openat(
            directory,
            c".",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let mut buffer = vec![MaybeUninit::uninit(); LISTING];
        let mut entries = RawDir::new(&listed, &mut buffer);
        let mut found = false;
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            found = true;
            let directory_likely =
                matches!(entry.file_type(), FileType::Directory | FileType::Unknown);
            if !directory_likely {
                unlink_stubborn(directory, name)?;
                continue;
            }
            match unlink(directory, name) {
                Ok(()) => {}
                Err(Errno::ISDIR | Errno::PERM) => self.descend(directory, name, depth)?,
                Err(errno) => return Err(errno),
            }
        }
        Ok(found)
    }

    fn descend(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &CStr,
        depth: usize,
    ) -> Result<(), Errno> {
        // An empty directory needs no look into it.
        match rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR) {
            Ok(()) => return Ok(()),
            Err(Errno::NOTDIR) => return unlink_stubborn(directory, name),
            Err(_) => {}
        }
        let below = open(directory, name)?;
        clear_flags(below.as_fd())?;
        if depth < DEPTH {
            return self.remove(directory, name, below.as_fd(), depth + 1);
        }
        clear_flags(directory)?;
        loop {
            self.moved += 1;
            let up = format!(".wharf-trash-{}", self.moved);
            match rustix::fs::renameat_with(
                directory,
                name,
                self.top,
                up.as_str(),
                rustix::fs::RenameFlags::NOREPLACE,
            ) {
                Err(Errno::EXIST) => {}
                renamed => return renamed,
            }
        }
    }
}

fn open(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(
        parent,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// Unlinks anything but a directory, of which it says [`Errno::ISDIR`].
fn unlink(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        // POSIX's word for a directory; Linux says EISDIR, and EPERM of an immutable entry.
        Err(Errno::PERM) => {
            let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                return Err(Errno::ISDIR);
            }
            unlink_stubborn(parent, name)
        }
        unlinked => unlinked,
    }
}

/// Unlinks a file, clearing the flags that forbid it.
fn unlink_stubborn(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::PERM | Errno::ACCESS) => {
            clear_flags(parent)?;
            // Only regular files carry flags that matter here, and opening others may have
            // effects: a device, a FIFO.
            let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
                let file = rustix::fs::openat(
                    parent,
                    name,
                    OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC,
                    Mode::empty(),
                )?;
                clear_flags(file.as_fd())?;
            }
            rustix::fs::unlinkat(parent, name, AtFlags::empty())
        }
        unlinked => unlinked,
    }
}

fn remove_directory(
    parent: BorrowedFd<'_>,
    name: &CStr,
    directory: BorrowedFd<'_>,
) -> Result<(), Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Err(Errno::PERM | Errno::ACCESS) => {
            clear_flags(parent)?;
            clear_flags(directory)?;
            rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
        }
        removed => removed,
    }
}

/// Clears the flags that forbid changes; a file system without flags has none to clear.
fn clear_flags(file: BorrowedFd<'_>) -> Result<(), Errno> {
    let forbidding = IFlags::IMMUTABLE | IFlags::APPEND;
    match rustix::fs::ioctl_getflags(file) {
        Ok(flags) if flags.intersects(forbidding) => {
            rustix::fs::ioctl_setflags(file, flags - forbidding)
        }
        Ok(_) | Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;
    use crate::files::open_directory;

    fn remove(directory: &Path, name: &str) {
        let parent = open_directory(directory).expect("open");
        remove_at(
            parent.as_fd(),
            OsStr::from_bytes(name.as_bytes()),
            &directory.join(name),
        )
        .expect("remove");
        assert!(!directory.join(name).exists());
    }

    #[test]
    fn ten_thousand_levels_are_removed() {
        let directory = tempfile::tempdir().expect("tempdir");
        std::fs::create_dir(directory.path().join("top")).expect("mkdir");
        let mut level = open_directory(&directory.path().join("top")).expect("open");
        for _ in 0..10_000 {
            rustix::fs::mkdirat(&level, c"d", Mode::RWXU).expect("mkdirat");
            level = open(level.as_fd(), c"d").expect("open");
            rustix::fs::openat(&level, c"f", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR)
                .expect("file");
        }
        drop(level);
        remove(directory.path(), "top");
    }

    #[test]
    fn wide_trees_are_removed() {
        let directory = tempfile::tempdir().expect("tempdir");
        for wide in 0..300 {
            let below = directory
                .path()
                .join("top")
                .join(format!("d{wide}"))
                .join("e");
            std::fs::create_dir_all(&below).expect("mkdir");
            std::fs::write(below.join("f"), b"x").expect("write");
        }
        remove(directory.path(), "top");
    }

    #[test]
    fn immutable_files_are_removed() {
        let directory = tempfile::tempdir().expect("tempdir");
        let top = directory.path().join("top");
        std::fs::create_dir_all(top.join("d")).expect("mkdir");
        for file in [top.join("f"), top.join("d/g")] {
            std::fs::write(&file, b"x").expect("write");
        }
        for path in [top.join("f"), top.join("d/g"), top.join("d"), top.clone()] {
            let file = std::fs::File::open(&path).expect("open");
            let flags = rustix::fs::ioctl_getflags(&file).expect("flags");
            rustix::fs::ioctl_setflags(&file, flags | IFlags::IMMUTABLE).expect("set");
        }
        remove(directory.path(), "top");
    }

    #[test]
    fn links_are_removed_and_not_followed() {
        let directory = tempfile::tempdir().expect("tempdir");
        let sentinel = directory.path().join("sentinel");
        std::fs::create_dir(&sentinel).expect("mkdir");
        std::fs::write(sentinel.join("f"), b"x").expect("write");
        std::fs::create_dir(directory.path().join("top")).expect("mkdir");
        std::os::unix::fs::symlink("../sentinel", directory.path().join("top/l")).expect("link");
        remove(directory.path(), "top");
        std::os::unix::fs::symlink("sentinel", directory.path().join("top")).expect("link");
        remove(directory.path(), "top");
        assert_eq!(std::fs::read(sentinel.join("f")).expect("read"), b"x");
    }
}
