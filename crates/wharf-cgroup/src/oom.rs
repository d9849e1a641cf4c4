//! Notification of a group that runs out of memory.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A descriptor that becomes readable when something about the group's memory happened.
#[derive(Debug)]
pub struct OomWatch {
    fd: OwnedFd,
}

impl OomWatch {
    /// Takes the pending notification, after the descriptor was readable (never blocks), and says
    /// how many times since the last call the group was out of memory.
    pub fn take(&mut self) -> std::io::Result<u64> {
        todo!()
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
