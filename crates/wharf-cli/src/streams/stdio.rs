//! The program's own standard streams, read and written without being blocked by them.
//!
//! They are never made non-blocking: that flag belongs to the open file, which the shell and other programs share, and
//! a shell left with a non-blocking terminal ends. Instead readiness is asked for before every call. A regular
//! file cannot be waited for (`epoll` refuses it) and need not be: it is always ready.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;
use rustix::io::{Errno, ReadWriteFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Bytes that fit a pipe in which there is room at all, so that writing them does not block.
const ROOM: usize = 4096;

/// Standard input.
pub(crate) struct Input {
    waiter: Option<AsyncFd<BorrowedFd<'static>>>,
}

impl Input {
    /// Returns standard input.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            waiter: waiter(rustix::stdio::stdin(), Interest::READABLE)?,
        })
    }

    /// Reads what there is; nothing at the end.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let stream = rustix::stdio::stdin();
        if let Some(waiter) = &self.waiter {
            loop {
                let mut guard = waiter.readable().await?;
                if ready(stream, PollFlags::IN)? {
                    break;
                }
                guard.clear_ready();
            }
        }
        match rustix::io::read(stream, buffer) {
            // A terminal that hung up.
            Err(rustix::io::Errno::IO) => Ok(0),
            other => Ok(other?),
        }
    }
}

/// Standard output or standard error.
pub(crate) struct Output {
    stream: BorrowedFd<'static>,
    waiter: Option<AsyncFd<BorrowedFd<'static>>>,
    always_ready: bool,
    /// Whether the kernel can be asked to write no more than there is room for.
    bounded: bool,
}

impl Output {
    /// Returns standard output.
    pub(crate) fn stdout() -> Self {
        Self::new(rustix::stdio::stdout())
    }

    /// Returns standard error.
    pub(crate) fn stderr() -> Self {
        Self::new(rustix::stdio::stderr())
    }

    fn new(stream: BorrowedFd<'static>) -> Self {
        let kind = rustix::fs::fstat(stream).map(|stat| FileType::from_raw_mode(stat.st_mode));
        Self {
            stream,
            waiter: None,
            always_ready: match kind {
                Ok(FileType::RegularFile) => true,
                Ok(FileType::CharacterDevice) => !rustix::termios::isatty(stream),
                _ => false,
            },
            bounded: kind == Ok(FileType::Fifo),
        }
    }

    /// Writes all of it.
    pub(crate) async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.wait().await?;
            match self.write_some(bytes) {
                Ok(written) => bytes = &bytes[written..],
                // Another program may have made the shared file non-blocking.
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Writes what there is room for, when there is room at all.
    fn write_some(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        if self.always_ready {
            return rustix::io::write(self.stream, bytes);
        }
        if self.bounded {
            // No offset: where the file is at, which a pipe has not.
            let parts = [IoSlice::new(bytes)];
            match rustix::io::pwritev2(self.stream, &parts, u64::MAX, ReadWriteFlags::NOWAIT) {
                // Kernels before 6.4 cannot do that with a pipe.
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => self.bounded = false,
                other => return other,
            }
        }
        rustix::io::write(self.stream, &bytes[..bytes.len().min(ROOM)])
    }

    /// Waits until something can be written. The waiter is made when it is first needed: mostly it never is.
    async fn wait(&mut self) -> io::Result<()> {
        while !self.always_ready && !ready(self.stream, PollFlags::OUT)? {
            if self.waiter.is_none() {
                self.waiter = waiter(self.stream, Interest::WRITABLE)?;
            }
            match &self.waiter {
                Some(waiter) => waiter.writable().await?.clear_ready(),
                None => self.always_ready = true,
            }
        }
        Ok(())
    }
}

/// Registers a stream for waiting; `None` for those that are always ready.
#[expect(
    deprecated,
    reason = "the replacement is unsafe, and the standard streams it is used with are never closed"
)]
fn waiter(
    stream: BorrowedFd<'static>,
    interest: Interest,
) -> io::Result<Option<AsyncFd<BorrowedFd<'static>>>> {
    match AsyncFd::with_interest(stream, interest) {
        Ok(waiter) => Ok(Some(waiter)),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a call would not block. An error or a hang-up is ready too: the call says which.
fn ready(stream: BorrowedFd<'_>, what: PollFlags) -> io::Result<bool> {
    let mut fds = [PollFd::from_borrowed_fd(stream.as_fd(), what)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    match poll(&mut fds, Some(&now)) {
        Ok(count) => Ok(count > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
