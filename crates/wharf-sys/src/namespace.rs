//! Leaving namespaces for new ones (unshare(2)).

use std::io;

use rustix::thread::{ThreadNameSpaceType, UnshareFlags};

/// Moves the calling thread into new namespaces of the kinds in `kinds`; for process ids and time
/// only its future children move.
///
/// # Errors
/// What unshare(2) says.
pub fn unshare(kinds: ThreadNameSpaceType) -> io::Result<()> {
    // Only namespace bits pass, in particular never CLONE_FILES, which shares rustix's worry about
    // descriptors seen by two threads.
    let flags = UnshareFlags::from_bits_retain((kinds & namespaces()).bits());
    // SAFETY: no descriptor table is unshared.
    unsafe { rustix::thread::unshare_unsafe(flags) }?;
    Ok(())
}

fn namespaces() -> ThreadNameSpaceType {
    ThreadNameSpaceType::TIME
        | ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::CONTROL_GROUP
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::USER
        | ThreadNameSpaceType::PROCESS_ID
        | ThreadNameSpaceType::NETWORK
}
