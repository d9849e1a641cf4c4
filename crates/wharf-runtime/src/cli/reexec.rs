//! Leaving the executable file behind before a container is entered.
//!
//! A process in a container can reach the executable of a process that joins it, by
//! `/proc/PID/exe`, and overwrite it when nobody executes it any more (CVE-2019-5736). So the
//! runtime executes itself again from a read-only detached copy of the mount its file lies on: a
//! file reached through that mount cannot be opened for writing, and nobody can change the mount,
//! because it is in no mount namespace. A sealed copy in memory would do as well, and costs the
//! copying of the whole binary each time.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags};
use rustix::mount::{MountAttrFlags, OpenTreeFlags};
use wharf_sys::mount::{AttributeChange, set_attributes};

use super::Failure;

const SELF: &str = "/proc/self/exe";

/// Goes on in a process whose executable cannot be overwritten; returns once it is in it.
pub(super) fn from_protected_copy() -> Result<(), Failure> {
    let file = rustix::fs::open(SELF, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    if is_protected(&file)? {
        return Ok(());
    }
    let path = std::fs::read_link(SELF)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let copy = rustix::mount::open_tree(CWD, &path, flags)
        .map_err(|errno| format!("cannot protect {}: {errno}", path.display()))?;
    let set = MountAttrFlags::MOUNT_ATTR_RDONLY;
    set_attributes(
        copy.as_fd(),
        &AttributeChange {
            set,
            ..AttributeChange::default()
        },
    )?;
    // The path may name another file by now; what is executed must be this very program.
    let (ours, theirs) = (rustix::fs::fstat(&file)?, rustix::fs::fstat(&copy)?);
    if (ours.st_dev, ours.st_ino) != (theirs.st_dev, theirs.st_ino) {
        return Err(format!("cannot protect {}: it was replaced", path.display()).into());
    }
    let args = c_strings(std::env::args_os().map(OsStringExt::into_vec))?;
    let env = c_strings(
        std::env::vars_os().map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat()),
    )?;
    match wharf_sys::process::exec_file(copy.as_fd(), &args, &env) {
        Ok(never) => match never {},
        Err(error) => Err(format!("cannot execute the protected copy: {error}").into()),
    }
}

fn c_strings(strings: impl Iterator<Item = Vec<u8>>) -> Result<Vec<CString>, Failure> {
    Ok(strings.map(CString::new).collect::<Result<_, _>>()?)
}

/// Whether the executable is reached through a read-only mount, or is a sealed file in memory.
fn is_protected(file: &OwnedFd) -> Result<bool, Failure> {
    if rustix::fs::fstatvfs(file)?
        .f_flag
        .contains(StatVfsMountFlags::RDONLY)
    {
        return Ok(true);
    }
    let readable = rustix::fs::open(SELF, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    match rustix::fs::fcntl_get_seals(&readable) {
        Ok(seals) => Ok(seals.contains(rustix::fs::SealFlags::WRITE)),
        // No memory file.
        Err(rustix::io::Errno::INVAL) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}
