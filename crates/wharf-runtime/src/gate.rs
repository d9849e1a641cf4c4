//! The FIFO at which a created process waits for whoever starts it.
//!
//! Opening a FIFO for writing blocks until somebody opens it for reading. The reader then gets one
//! byte, and after it nothing (the descriptor is close-on-exec: the program runs) or the failure.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::error::{ProcessError, StartError};

/// What the reader gets first.
const PASSED: u8 = b'0';

/// A failure is at most this long.
const MAX_FAILURE: u64 = 64 * 1024;

/// The FIFO, as the child keeps it. The path is out of reach after the pivot, so it is opened again
/// through a `/proc/self/fd` of the host that was opened before.
#[derive(Debug)]
pub(crate) struct Fifo {
    fifo: OwnedFd,
    descriptors: OwnedFd,
}

/// The FIFO after the reader has come.
#[derive(Debug)]
pub(crate) struct Opened(OwnedFd);

impl Fifo {
    /// Opens the FIFO and the way back to it; the child calls [`Self::adopt`] first.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fifo = rustix::fs::open(path, flags, Mode::empty())?;
        let descriptors = own_descriptors()?;
        Ok(Self { fifo, descriptors })
    }

    /// Replaces the caller's `/proc/self/fd` by that of the calling process.
    pub(crate) fn adopt(&mut self) -> io::Result<()> {
        self.descriptors = own_descriptors()?;
        Ok(())
    }

    /// What must stay open for the wait.
    pub(crate) fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.fifo.as_fd(), self.descriptors.as_fd()]
    }

    /// Waits for a reader.
    pub(crate) fn wait(&self) -> io::Result<Opened> {
        let (descriptors, fifo) = (self.descriptors.as_fd(), self.fifo.as_fd());
        let opened = loop {
            match wharf_sys::process::reopen(descriptors, fifo, OFlags::WRONLY) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        rustix::io::write(&opened, &[PASSED])?;
        Ok(Opened(opened))
    }
}

fn own_descriptors() -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open("/proc/self/fd", flags, Mode::empty())?)
}

impl Opened {
    /// Tells the reader why there will be no program.
    pub(crate) fn failed(self, error: &ProcessError) -> io::Result<()> {
        let text = serde_json::to_vec(error).map_err(io::Error::other)?;
        rustix::io::write(&self.0, &text)?;
        Ok(())
    }
}

/// Starts the process that waits at the FIFO: the reader's side. Opening for reading does not
/// block when the process waits; where it has died meanwhile, `alive` says so and nothing is left to wait for.
pub fn open_gate(path: &Path, alive: impl Fn() -> bool) -> Result<(), StartError> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fifo = rustix::fs::open(path, flags, Mode::empty())
        .map_err(|errno| StartError::Io(errno.into()))?;
    // With both ends open a read blocks until the writer has written or gone. Before it has come, it
    // would look gone: so wait for its byte, looking now and then whether it still lives.
    let mut polled = [rustix::event::PollFd::new(
        &fifo,
        rustix::event::PollFlags::IN,
    )];
    let interval = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 100_000_000,
    };
    loop {
        match rustix::event::poll(&mut polled, Some(&interval)) {
            Ok(0) if !alive() => {
                return Err(ProcessError::Died("before it was started".to_owned()).into());
            }
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => break,
            Err(errno) => return Err(StartError::Io(errno.into())),
        }
    }
    rustix::fs::fcntl_setfl(&fifo, OFlags::empty())
        .map_err(|errno| StartError::Io(errno.into()))?;
    let mut answer = Vec::new();
    std::fs::File::from(fifo)
        .take(MAX_FAILURE)
        .read_to_end(&mut answer)
        .map_err(StartError::Io)?;
    match answer.split_first() {
        Some((&PASSED, [])) => Ok(()),
        Some((&PASSED, failure)) => {
            let failure: ProcessError =
                serde_json::from_slice(failure).map_err(|error| StartError::Io(error.into()))?;
            Err(failure.into())
        }
        _ => Err(ProcessError::Died("at its start".to_owned()).into()),
    }
}
