//! The pseudo-terminal of a process.
//!
//! The pair is made in the container's devpts. The other end is had by `TIOCGPTPEER` from the master, never
//! by the path `/dev/pts/N`, which the container could have replaced (CVE-2025-52565).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{OFlags, makedev};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use wharf_oci::runtime::ConsoleSize;
use wharf_sys::rooted;

use crate::error::ProcessError;
use crate::process::{setup, step};

const DEVPTS_MAGIC: rustix::fs::FsWord = 0x1cd1;

/// A pseudo-terminal.
pub(crate) struct Console {
    master: OwnedFd,
    peer: OwnedFd,
}

impl Console {
    /// Makes a terminal in the devpts of the tree `root`.
    pub(crate) fn open(
        root: BorrowedFd<'_>,
        size: Option<ConsoleSize>,
    ) -> Result<Self, ProcessError> {
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let master = rooted::open(root, Path::new("/dev/pts/ptmx"), flags);
        let master = setup("open the container's /dev/pts/ptmx", master)?;
        let stat = rustix::fs::fstat(&master).map_err(step("stat /dev/pts/ptmx"))?;
        let statfs = rustix::fs::fstatfs(&master).map_err(step("check /dev/pts/ptmx"))?;
        if statfs.f_type != DEVPTS_MAGIC || stat.st_rdev != makedev(5, 2) {
            return Err(ProcessError::Refused(
                "/dev/pts/ptmx is not a terminal multiplexer".into(),
            ));
        }
        rustix::pty::unlockpt(&master).map_err(step("unlock the terminal"))?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let peer =
            rustix::pty::ioctl_tiocgptpeer(&master, flags).map_err(step("open the terminal"))?;
        if let Some(size) = size {
            let size = Winsize {
                ws_row: size.height,
                ws_col: size.width,
                ws_xpixel: 0,
                ws_ypixel: 0,
            };
            rustix::termios::tcsetwinsize(&peer, size).map_err(step("size the terminal"))?;
        }
        Ok(Self { master, peer })
    }

    /// The engine's end.
    pub(crate) fn master(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }

    /// The container's end.
    pub(crate) fn peer(&self) -> BorrowedFd<'_> {
        self.peer.as_fd()
    }

    /// Makes the terminal the process's controlling one; the process must lead its session.
    pub(crate) fn control(&self) -> Result<(), ProcessError> {
        rustix::process::ioctl_tiocsctty(&self.peer).map_err(step("take the terminal"))
    }
}
