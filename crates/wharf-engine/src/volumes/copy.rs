//! Copies a directory of an image into a new volume: owners, modes, times, links, attributes.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid,
};

/// Directories deeper than this are refused: each costs two descriptors while it is copied.
const DEPTH_MAX: usize = 200;

/// Opens the directory at `inside` below `root`; `None` when there is none.
pub(super) fn source(root: &OwnedFd, inside: &Path) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let below = inside.strip_prefix("/").unwrap_or(inside);
    match rustix::fs::openat2(root, below, flags, Mode::empty(), ResolveFlags::IN_ROOT) {
        Ok(source) => Ok(Some(source)),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Copies the contents and attributes of a directory to the directory `target`.
pub(super) fn tree(source: OwnedFd, target: &Path) -> io::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let target = rustix::fs::openat(CWD, target, flags | OFlags::NOFOLLOW, Mode::empty())?;
    directory(source, target, 0)
}

fn directory(source: OwnedFd, target: OwnedFd, depth: usize) -> io::Result<()> {
    if depth > DEPTH_MAX {
        return Err(io::Error::other("directories are nested too deeply"));
    }
    let stat = rustix::fs::fstat(&source)?;
    for entry in Dir::read_from(&source)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        copy_entry(source.as_fd(), target.as_fd(), name, depth)?;
    }
    attributes(source.as_fd(), target.as_fd())?;
    metadata(target.as_fd(), &stat)
}

fn copy_entry(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    name: &std::ffi::CStr,
    depth: usize,
) -> io::Result<()> {
    let stat = rustix::fs::statat(source, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            rustix::fs::mkdirat(target, name, Mode::RWXU)?;
            let open = |at| rustix::fs::openat(at, name, read | OFlags::DIRECTORY, Mode::empty());
            directory(open(source)?, open(target)?, depth + 1)
        }
        FileType::RegularFile => {
            let from = rustix::fs::openat(source, name, read, Mode::empty())?;
            let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let to = rustix::fs::openat(target, name, write, Mode::RUSR | Mode::WUSR)?;
            let (mut from, mut to) = (File::from(from), File::from(to));
            io::copy(&mut from, &mut to)?;
            attributes(from.as_fd(), to.as_fd())?;
            metadata(to.as_fd(), &stat)
        }
        FileType::Symlink => {
            let link = rustix::fs::readlinkat(source, name, Vec::new())?;
            rustix::fs::symlinkat(link.as_c_str(), target, name)?;
            let owner = (
                Some(Uid::from_raw(stat.st_uid)),
                Some(Gid::from_raw(stat.st_gid)),
            );
            rustix::fs::chownat(target, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)?;
            Ok(())
        }
        kind => {
            let mode = Mode::from_raw_mode(stat.st_mode);
            rustix::fs::mknodat(target, name, kind, mode, stat.st_rdev)?;
            let owner = (
                Some(Uid::from_raw(stat.st_uid)),
                Some(Gid::from_raw(stat.st_gid)),
            );
            rustix::fs::chownat(target, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)?;
            Ok(())
        }
    }
}

/// Owner first: changing it clears the set-user-id bits that the mode then sets.
fn metadata(fd: BorrowedFd<'_>, stat: &Stat) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::fchown(fd, Some(uid), Some(gid))?;
    rustix::fs::fchmod(fd, Mode::from_raw_mode(stat.st_mode))?;
    let time = |seconds, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or_default(),
    };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    };
    Ok(rustix::fs::futimens(fd, &times)?)
}

/// Extended attributes, but for those of the overlay the source is read through.
fn attributes(source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    let mut names = vec![0; 64 * 1024];
    let length = match rustix::fs::flistxattr(source, &mut names) {
        Ok(length) => length,
        Err(rustix::io::Errno::OPNOTSUPP) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for name in names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") {
            continue;
        }
        let mut value = vec![0; 64 * 1024];
        let length = rustix::fs::fgetxattr(source, name, &mut value)?;
        match rustix::fs::fsetxattr(
            target,
            name,
            &value[..length],
            rustix::fs::XattrFlags::empty(),
        ) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn attack_r18_links_are_followed_inside_the_root_only() {
        let dir = tempfile::tempdir().expect("dir");
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("data/sub")).expect("mkdir");
        fs::write(root.join("data/sub/file"), "inside").expect("write");
        fs::set_permissions(
            root.join("data/sub/file"),
            fs::Permissions::from_mode(0o641),
        )
        .expect("chmod");
        symlink("/etc/passwd", root.join("data/link")).expect("symlink");
        symlink("/../../../../etc", root.join("outside")).expect("symlink");
        symlink("/data", root.join("inside")).expect("symlink");
        let opened = OwnedFd::from(File::open(&root).expect("open"));
        let copied = |inside: &str| {
            let target = dir.path().join(format!("to{}", inside.replace('/', "-")));
            fs::create_dir(&target).expect("mkdir");
            if let Some(source) = source(&opened, Path::new(inside)).expect("open") {
                tree(source, &target).expect("copy");
            }
            target
        };
        let target = copied("/inside");
        assert_eq!(
            fs::read_to_string(target.join("sub/file")).expect("read"),
            "inside"
        );
        let metadata = fs::metadata(target.join("sub/file")).expect("stat");
        assert_eq!(metadata.mode() & 0o7777, 0o641);
        assert_eq!(
            fs::read_link(target.join("link")).expect("readlink"),
            Path::new("/etc/passwd")
        );
        assert_eq!(fs::read_dir(copied("/outside")).expect("list").count(), 0);
    }
}
