//! Owners, permissions, extended attributes and times of what is unpacked.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::{ExtractError, Place, lossy};
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

/// What an entry gets beside what it says itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given {
    pub(super) uid: Option<Uid>,
    pub(super) gid: Option<Gid>,
    /// Whether attributes that cannot be set are left out.
    pub(super) lenient: bool,
}

impl Given {
    fn attribute(self, set: rustix::io::Result<()>) -> rustix::io::Result<()> {
        match set {
            Err(Errno::OPNOTSUPP | Errno::PERM) if self.lenient => Ok(()),
            set => set,
        }
    }
}

/// Sets all but the times of an open file or directory.
pub(super) fn set(
    file: BorrowedFd<'_>,
    entry: &Entry,
    given: Given,
    path: &Path,
) -> Result<(), ExtractError> {
    let fail = |operation| {
        move |errno: Errno| PathError {
            operation,
            path: path.to_owned(),
            source: errno.into(),
        }
    };
    // The owner first: changing it clears the setuid bits and the capabilities.
    rustix::fs::fchown(file, given.uid, given.gid).map_err(fail("set owner of"))?;
    rustix::fs::fchmod(file, Mode::from_raw_mode(entry.mode)).map_err(fail("set mode of"))?;
    for (name, value) in entry.xattrs.iter().filter(|(name, _)| kept(name)) {
        let set = rustix::fs::fsetxattr(file, OsStr::from_bytes(name), value, XattrFlags::empty());
        given.attribute(set).map_err(fail("set attribute of"))?;
    }
    Ok(())
}

/// Sets everything of an entry that cannot or should not be opened; of a directory, all but times.
///
/// By a descriptor wherever the kernel has such a call, or without following the last component:
/// in a tree in use, what was made a moment ago may be a link by now.
pub(super) fn set_by_name(place: &Place, entry: &Entry, given: Given) -> Result<(), ExtractError> {
    if entry.kind == Kind::Directory {
        let directory = place.open_directory()?;
        return set(directory.as_fd(), entry, given, &place.path());
    }
    let fail = |operation| move |errno: Errno| place.error(operation, errno.into());
    rustix::fs::chownat(
        &place.parent,
        place.name(),
        given.uid,
        given.gid,
        AtFlags::SYMLINK_NOFOLLOW,
    )
    .map_err(fail("set owner of"))?;
    if entry.kind != Kind::Symlink {
        let made = place.open_identity()?;
        // Of a descriptor that only identifies a file, the mode is set by way of /proc; of one
        // that identifies a link, it is not.
        rustix::fs::chmod(
            crate::files::proc_path(made.as_fd()),
            Mode::from_raw_mode(entry.mode),
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
            set => given.attribute(set).map_err(fail("set attribute of"))?,
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
