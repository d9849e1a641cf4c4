//! What netlink work needs beyond rustix: one socket option and a network namespace of one's own.

use std::os::fd::{AsFd, AsRawFd};

use rustix::io::{Errno, Result};
use rustix::thread::UnshareFlags;

/// Asks the kernel to explain refusals on this netlink socket (a message and the offset of the
/// attribute at fault), and to leave the refused request itself out of the answer.
pub fn explain_errors(socket: impl AsFd) -> Result<()> {
    set_flag(&socket, libc::NETLINK_EXT_ACK)?;
    set_flag(&socket, libc::NETLINK_CAP_ACK)
}

/// Has the kernel check what is asked of a dump (which it otherwise half ignores).
pub fn check_dumps(socket: impl AsFd) -> Result<()> {
    set_flag(&socket, libc::NETLINK_GET_STRICT_CHK)
}

fn set_flag(socket: &impl AsFd, option: libc::c_int) -> Result<()> {
    let on: libc::c_int = 1;
    #[expect(clippy::cast_possible_truncation, reason = "the size of an int")]
    let size = size_of_val(&on) as libc::socklen_t;
    // SAFETY: the descriptor is borrowed and so open; the value is a live int and `size` its size;
    // the kernel only reads it.
    let code = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_NETLINK,
            option,
            std::ptr::from_ref(&on).cast(),
            size,
        )
    };
    if code == 0 { Ok(()) } else { Err(last_error()) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// Moves the calling thread, and no other, into a new network namespace.
pub fn enter_new_network_namespace() -> Result<()> {
    // SAFETY: unshare is unsafe for CLONE_FILES, which takes descriptors from under other threads'
    // handles; CLONE_NEWNET alone changes nothing that Rust's types promise.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }
}
