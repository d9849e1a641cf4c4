//! Filling a new tmpfs with what the directory beneath it holds (`tmpcopyup`).
//!
//! Both trees are walked by descriptor without following links: the source is the image's.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;

/// Copies the contents of the directory `from` into the directory `to`.
pub(super) fn fill(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    // Both may be O_PATH descriptors, which cannot be read.
    let from = open_directory(from, c".")?;
    let stat = rustix::fs::fstat(&from)?;
    copy_directory(from, to)?;
    let to = open_directory(to, c".")?;
    own(to.as_fd(), &stat)
}

fn open_directory(at: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

fn copy_directory(from: OwnedFd, to: BorrowedFd<'_>) -> Result<(), Errno> {
    let entries = Dir::read_from(&from)?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        copy_entry(from.as_fd(), to, name)?;
    }
    Ok(())
}

fn copy_entry(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            rustix::fs::mkdirat(to, name, mode)?;
            let made = open_directory(to, name)?;
            copy_directory(open_directory(from, name)?, made.as_fd())?;
            own(made.as_fd(), &stat)
        }
        FileType::RegularFile => copy_file(from, to, name, &stat),
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(from, name, Vec::new())?;
            rustix::fs::symlinkat(target, to, name)?;
            let (uid, gid) = owner(&stat);
            rustix::fs::chownat(to, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
        }
        kind => {
            rustix::fs::mknodat(to, name, kind, mode, stat.st_rdev)?;
            let (uid, gid) = owner(&stat);
            rustix::fs::chownat(to, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
        }
    }
}

fn copy_file(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &CStr,
    stat: &Stat,
) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let source = rustix::fs::openat(from, name, flags, Mode::empty())?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = rustix::fs::openat(to, name, flags, Mode::from_raw_mode(0o600))?;
    let (mut source, mut target) = (std::fs::File::from(source), std::fs::File::from(target));
    std::io::copy(&mut source, &mut target)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    own(target.as_fd(), stat)
}

/// Gives owner and mode; the owner first, because it clears set-user-id.
fn own(fd: BorrowedFd<'_>, stat: &Stat) -> Result<(), Errno> {
    let (uid, gid) = owner(stat);
    rustix::fs::fchown(fd, uid, gid)?;
    rustix::fs::fchmod(fd, Mode::from_raw_mode(stat.st_mode & 0o7777))
}

fn owner(stat: &Stat) -> (Option<Uid>, Option<Gid>) {
    (
        Some(Uid::from_raw(stat.st_uid)),
        Some(Gid::from_raw(stat.st_gid)),
    )
}
