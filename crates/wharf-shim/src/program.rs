//! The program that shims run, held so that nobody can write to it.
//!
//! A process that enters a container must not offer the engine's own file for overwriting
//! (CVE-2019-5736). Its executable is therefore the same file seen through an overlay that has nothing
//! to write to, and is mounted nowhere: `/proc/PID/exe` leads to a file system that is read-only as a whole,
//! whatever rights somebody has. Its pages are the file's own, which the engine has in memory anyway. Where
//! that cannot be had, it is a sealed copy in memory.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

/// Opens a program that cannot be written through what is returned. `elsewhere` is a directory that neither
/// has the program in it nor is in its directory: an overlay needs two.
pub(crate) fn open(program: &Path, elsewhere: &Path) -> io::Result<OwnedFd> {
    match view(program, elsewhere) {
        Ok(view) => Ok(view),
        // No overlay, one on an overlay on an overlay, or one of the directories in the other.
        Err(_) => sealed_copy(program),
    }
}

/// Opens a program through an overlay.
fn view(program: &Path, elsewhere: &Path) -> io::Result<OwnedFd> {
    let program = std::fs::canonicalize(program)?;
    let (Some(directory), Some(name)) = (program.parent(), program.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let layers = [File::open(directory)?, File::open(elsewhere)?];
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    // By descriptors: a path may have a colon.
    let lower = layers.map(|layer| (format!("/proc/self/fd/{}", layer.as_raw_fd()), layer));
    let [(first, _first), (second, _second)] = &lower;
    let value = CString::new(format!("{first}:{second}"))?;
    rustix::mount::fsconfig_set_string(context.as_fd(), "lowerdir", value)?;
    rustix::mount::fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV;
    let mount = rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let view = rustix::fs::openat(&mount, Path::new(name), flags, Mode::empty())?;
    // What was found there must be the program, and not what has taken its name since. An overlay of two file
    // systems has inode numbers of its own.
    let marks = |stat: rustix::fs::Stat| {
        let written = (stat.st_mtime, stat.st_mtime_nsec);
        (stat.st_size, written, stat.st_mode, stat.st_uid)
    };
    match marks(rustix::fs::fstat(&view)?) == marks(rustix::fs::stat(&program)?) {
        true => Ok(view),
        false => Err(io::ErrorKind::NotFound.into()),
    }
}

/// Copies a program into memory that cannot be changed any more.
fn sealed_copy(program: &Path) -> io::Result<OwnedFd> {
    let mut source = File::open(program)?;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut copy = File::from(rustix::fs::memfd_create("wharf", flags)?);
    io::copy(&mut source, &mut copy)?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&copy, seals)?;
    Ok(copy.into())
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    fn check_unwritable(held: &OwnedFd) {
        assert!(rustix::io::write(held, b"x").is_err());
        let path = format!("/proc/self/fd/{}", held.as_raw_fd());
        let opened = File::options().write(true).open(&path);
        let written = opened.and_then(|file| Ok(rustix::io::write(&file, b"x")?));
        assert!(written.is_err());
        let flags = OFlags::WRONLY | OFlags::TRUNC;
        assert!(rustix::fs::open(path, flags, Mode::empty()).is_err());
    }

    #[test]
    fn the_copy_cannot_be_written() {
        let copy = sealed_copy(Path::new("/proc/self/exe")).expect("copy");
        assert_eq!(rustix::io::write(&copy, b"x"), Err(Errno::PERM));
        check_unwritable(&copy);
    }

    #[test]
    fn the_view_cannot_be_written_and_shares_the_file() {
        let beside = tempfile::tempdir().expect("dir");
        check_view(beside.path());
        // As where an engine's own files are on a tmpfs.
        let memory = tempfile::tempdir_in("/dev/shm").expect("dir");
        check_view(memory.path());
    }

    fn check_view(elsewhere: &Path) {
        let dir = tempfile::tempdir().expect("dir");
        let place = dir.path().join("a:b");
        std::fs::create_dir(&place).expect("directory");
        let program = place.join("program");
        std::fs::write(&program, "#!/bin/true\n").expect("file");
        let view = match view(&program, elsewhere) {
            Ok(view) => view,
            // Without the right to mount there is only the copy.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return,
            Err(error) => panic!("{error}"),
        };
        check_unwritable(&view);
        let path = format!("/proc/self/fd/{}", view.as_raw_fd());
        assert_eq!(
            std::fs::read_to_string(&path).expect("read"),
            "#!/bin/true\n"
        );
        // Also when the program was replaced.
        std::fs::write(dir.path().join("newer"), "other").expect("file");
        std::fs::rename(dir.path().join("newer"), &program).expect("rename");
        assert_eq!(
            std::fs::read_to_string(&path).expect("read"),
            "#!/bin/true\n"
        );
    }

    #[test]
    fn directories_in_each_other_make_it_a_copy() {
        let dir = tempfile::tempdir().expect("dir");
        let program = dir.path().join("program");
        std::fs::write(&program, "text").expect("file");
        let held = open(&program, dir.path()).expect("held");
        check_unwritable(&held);
        let path = format!("/proc/self/fd/{}", held.as_raw_fd());
        assert_eq!(std::fs::read_to_string(path).expect("read"), "text");
    }
}
