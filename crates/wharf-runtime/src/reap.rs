//! Waiting for a child's end.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::process::{Signal, WaitId, WaitIdOptions, WaitIdStatus};

/// Waits for the child to end, and takes its status.
pub(crate) fn reap(pidfd: BorrowedFd<'_>) -> io::Result<Option<WaitIdStatus>> {
    let options = WaitIdOptions::EXITED;
    Ok(rustix::io::retry_on_intr(|| {
        rustix::process::waitid(WaitId::PidFd(pidfd), options)
    })?)
}

/// Kills the child and takes its status.
pub(crate) fn kill(pidfd: BorrowedFd<'_>) -> io::Result<Option<WaitIdStatus>> {
    match rustix::process::pidfd_send_signal(pidfd, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(errno) => return Err(errno.into()),
    }
    reap(pidfd)
}

/// How a child ended, in words.
pub(crate) fn describe(status: Option<&WaitIdStatus>) -> String {
    match status.map(|status| (status.exit_status(), status.terminating_signal())) {
        Some((Some(code), _)) => format!("exit code {code}"),
        Some((_, Some(signal))) => format!("signal {signal}"),
        _ => "no status".to_owned(),
    }
}
