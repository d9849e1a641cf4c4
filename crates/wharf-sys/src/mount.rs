//! Changing mounts by descriptor (mount_setattr(2)), which rustix lacks.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::mount::{MountAttrFlags, MountPropagationFlags};

/// A change of a mount's attributes.
#[derive(Debug, Clone, Copy)]
pub struct AttributeChange<'a> {
    /// Attributes set.
    pub set: MountAttrFlags,
    /// Attributes cleared; for the access time the whole mask.
    pub clear: MountAttrFlags,
    /// Propagation, if it changes.
    pub propagation: Option<MountPropagationFlags>,
    /// User namespace whose mapping the mount gets.
    pub id_map: Option<BorrowedFd<'a>>,
    /// Whether the mounts below change too.
    pub recursive: bool,
}

impl Default for AttributeChange<'_> {
    fn default() -> Self {
        Self {
            set: MountAttrFlags::empty(),
            clear: MountAttrFlags::empty(),
            propagation: None,
            id_map: None,
            recursive: false,
        }
    }
}

/// Changes the attributes of the mount whose root `mount` is.
///
/// # Errors
/// EINVAL when `mount` is not the root of a mount, or the propagation or mapping cannot be given to it;
/// EPERM for attributes locked by a more privileged namespace.
pub fn set_attributes(mount: BorrowedFd<'_>, change: &AttributeChange<'_>) -> io::Result<()> {
    let mut set = change.set;
    if change.id_map.is_some() {
        set |= MountAttrFlags::MOUNT_ATTR_IDMAP;
    }
    let attributes = libc::mount_attr {
        attr_set: u64::from(set.bits()),
        attr_clr: u64::from(change.clear.bits()),
        propagation: u64::from(change.propagation.map_or(0, |flags| flags.bits())),
        userns_fd: match change.id_map {
            Some(fd) => u64::try_from(fd.as_raw_fd()).map_err(io::Error::other)?,
            None => 0,
        },
    };
    let flags = libc::AT_EMPTY_PATH
        | if change.recursive {
            libc::AT_RECURSIVE
        } else {
            0
        };
    // SAFETY: an open descriptor, an empty NUL-terminated path, and a structure of the size given
    // that lives across the call and is only read.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
