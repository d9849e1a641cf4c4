//! Owners, permissions, extended attributes and times of what is unpacked.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;

use super::{ExtractError, Place, lossy, owner};
use crate::PathError;
use crate::tar::{Entry, Kind, Time};

/// Refuses attributes that would be orders to the kernel's overlay.
pub(super) fn check(entry: &Entry) -> Result<(), ExtractError> {
    let reserved =
        |name: &[u8]| name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.");
    match entry.xattrs.iter().find(|(name, _)| reserved(name)) {
        Some((name, _)) => Err(ExtractError::Attribute {
            name: lossy(&entry.path),
            attribute: lossy(name),
        }),
        None => Ok(()),
    }
}

/// Whether an attribute belongs to the file rather than to the host it comes from.
pub(crate) fn kept(name: &[u8]) -> bool {
    name.starts_with(b"user.")
        || name == b"security.capability"
        || name == b"system.posix_acl_access"
        || name == b"system.posix_acl_default"
}

/// Sets all but the times of an open file or directory.
pub(super) fn set(file: BorrowedFd<'_>, entry: &Entry, path: &Path) -> Result<(), ExtractError> {
    let fail = |operation| {
        move |errno: Errno| PathError {
            operation,
            path: path.to_owned(),
            source: errno.into(),
        }
    };
    // The owner first: changing it clears the setuid bits and the capabilities.
    let (uid, gid) = owner(entry);
    rustix::fs::fchown(file, uid, gid).map_err(fail("set owner of"))?;
    rustix::fs::fchmod(file, Mode::from_raw_mode(entry.mode)).map_err(fail("set mode of"))?;
    for (name, value) in entry.xattrs.iter().filter(|(name, _)| kept(name)) {
        rustix::fs::fsetxattr(file, OsStr::from_bytes(name), value, XattrFlags::empty())
            .map_err(fail("set attribute of"))?;
    }
    Ok(())
}

/// Sets everything of an entry that cannot or should not be opened; of a directory, all but times.
pub(super) fn set_by_name(place: &Place, entry: &Entry) -> Result<(), ExtractError> {
    if entry.kind == Kind::Directory {
        let directory = place.open_directory()?;
        return set(directory.as_fd(), entry, &place.path());
    }
    let fail = |operation| move |errno: Errno| place.error(operation, errno.into());
    let (uid, gid) = owner(entry);
    rustix::fs::chownat(
        &place.parent,
        place.name(),
        uid,
        gid,
        AtFlags::SYMLINK_NOFOLLOW,
    )
    .map_err(fail("set owner of"))?;
    if entry.kind != Kind::Symlink {
        // The entry was just made in a tree nobody else sees, and is no link: nothing is followed.
        rustix::fs::chmodat(
            &place.parent,
            place.name(),
            Mode::from_raw_mode(entry.mode),
            AtFlags::empty(),
        )
        .map_err(fail("set mode of"))?;
    }
    let through_proc = crate::files::proc_path(place.parent.as_fd()).join(place.name());
    for (name, value) in entry.xattrs.iter().filter(|(name, _)| kept(name)) {
        let set = rustix::fs::lsetxattr(
            &through_proc,
            OsStr::from_bytes(name),
            value,
            XattrFlags::empty(),
        );
        match set {
            // The kernel knows no `user.` attributes on links and nodes.
            Err(Errno::PERM) if name.starts_with(b"user.") => {}
            set => set.map_err(fail("set attribute of"))?,
        }
    }
    rustix::fs::utimensat(
        &place.parent,
        place.name(),
        &timestamps(entry.mtime),
        AtFlags::SYMLINK_NOFOLLOW,
    )
    .map_err(fail("set time of"))?;
    Ok(())
}

/// Modification time as given; the access time is the same, as layers carry none.
pub(crate) fn timestamps(time: Time) -> Timestamps {
    let time = Timespec {
        tv_sec: time.seconds,
        tv_nsec: i64::from(time.nanoseconds),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}
