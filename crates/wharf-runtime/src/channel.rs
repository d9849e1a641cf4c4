//! What the caller and the child say to each other while a process is being made.
//!
//! One packet is one message; its first byte says which. The child closes the connection by
//! `execve` (the socket is close-on-exec), so the end of the stream after the last step means that
//! the program runs, and costs no round trip. The two ends are two types: neither side can say the
//! other's words.
//!
//! | from the child | with | the caller |
//! |---|---|---|
//! | `Warning` | text | collects it |
//! | `Timeline` | marks | hands them out |
//! | `Terminal` | descriptor | hands it out |
//! | `Listener` | descriptor | passes it to the notify socket |
//! | `Moved` | pidfd | goes on with that process: the first one joined a user namespace and made it |
//! | `Namespaces` | | runs the hooks of the runtime's side, answers `Go` |
//! | `Ready` | | `create` returns; `start` answers `Go` |
//! | `Failed` | [`ProcessError`] | gives up |

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

use crate::error::ProcessError;
use crate::timeline::Mark;

/// Longest message: a failure with a path of 4 KiB in it.
const MAX_MESSAGE: usize = 16 * 1024;

/// A message of the child.
#[derive(Debug)]
pub(crate) enum Report {
    Warning(String),
    Timeline(Vec<Mark>),
    Terminal(OwnedFd),
    Listener(OwnedFd),
    Moved(OwnedFd),
    Namespaces,
    Ready,
    Failed(ProcessError),
    /// The connection has ended: the program runs, or the child has died.
    End,
}

/// The caller's end.
#[derive(Debug)]
pub(crate) struct CallerEnd(OwnedFd);

/// The child's end.
#[derive(Debug)]
pub(crate) struct ChildEnd(OwnedFd);

/// Makes a connection.
pub(crate) fn pair() -> io::Result<(CallerEnd, ChildEnd)> {
    let (caller, child) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    Ok((CallerEnd(caller), ChildEnd(child)))
}

impl CallerEnd {
    /// Lets the child go on.
    pub(crate) fn go(&self) -> io::Result<()> {
        send(self.0.as_fd(), b"G", None)
    }

    /// Waits for the child's next message.
    pub(crate) fn receive(&self) -> io::Result<Report> {
        let mut message = vec![0; MAX_MESSAGE];
        let (length, fd) = receive(self.0.as_fd(), &mut message)?;
        let Some((kind, body)) = message[..length].split_first() else {
            return Ok(Report::End);
        };
        let text = || String::from_utf8_lossy(body).into_owned();
        let malformed = || io::Error::from(io::ErrorKind::InvalidData);
        Ok(match (kind, fd) {
            (b'W', _) => Report::Warning(text()),
            (b'T', Some(fd)) => Report::Terminal(fd),
            (b'L', Some(fd)) => Report::Listener(fd),
            (b'M', Some(fd)) => Report::Moved(fd),
            (b'N', _) => Report::Namespaces,
            (b'R', _) => Report::Ready,
            (b'S', _) => Report::Timeline(serde_json::from_slice(body).map_err(|_| malformed())?),
            (b'F', _) => Report::Failed(serde_json::from_slice(body).map_err(|_| malformed())?),
            _ => return Err(malformed()),
        })
    }
}

impl ChildEnd {
    /// Waits to be let on; an ended connection means that nobody wants this process any more.
    pub(crate) fn wait(&self) -> io::Result<()> {
        let mut message = [0; 1];
        match receive(self.0.as_fd(), &mut message)? {
            (1, _) if message == *b"G" => Ok(()),
            _ => Err(Errno::PIPE.into()),
        }
    }

    pub(crate) fn warning(&self, text: &str) -> io::Result<()> {
        let text = text.as_bytes();
        self.text(b'W', &text[..text.len().min(MAX_MESSAGE - 1)])
    }

    pub(crate) fn timeline(&self, marks: &[Mark]) -> io::Result<()> {
        self.text(b'S', &serde_json::to_vec(marks).map_err(io::Error::other)?)
    }

    pub(crate) fn terminal(&self, master: BorrowedFd<'_>) -> io::Result<()> {
        send(self.0.as_fd(), b"T", Some(master))
    }

    pub(crate) fn listener(&self, listener: BorrowedFd<'_>) -> io::Result<()> {
        send(self.0.as_fd(), b"L", Some(listener))
    }

    pub(crate) fn moved(&self, pidfd: BorrowedFd<'_>) -> io::Result<()> {
        send(self.0.as_fd(), b"M", Some(pidfd))
    }

    pub(crate) fn namespaces(&self) -> io::Result<()> {
        send(self.0.as_fd(), b"N", None)
    }

    pub(crate) fn ready(&self) -> io::Result<()> {
        send(self.0.as_fd(), b"R", None)
    }

    pub(crate) fn failed(&self, error: &ProcessError) -> io::Result<()> {
        self.text(b'F', &serde_json::to_vec(error).map_err(io::Error::other)?)
    }

    /// Moves the connection out of the way of descriptors that get fixed numbers.
    pub(crate) fn move_above(&mut self, lowest: i32) -> io::Result<()> {
        self.0 = rustix::io::fcntl_dupfd_cloexec(&self.0, lowest)?;
        Ok(())
    }

    fn text(&self, kind: u8, text: &[u8]) -> io::Result<()> {
        let mut message = Vec::with_capacity(1 + text.len());
        message.push(kind);
        message.extend_from_slice(text);
        send(self.0.as_fd(), &message, None)
    }
}

impl AsFd for ChildEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn send(socket: BorrowedFd<'_>, message: &[u8], fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let fds: &[BorrowedFd<'_>] = fd.as_slice();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    let message = [IoSlice::new(message)];
    rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(socket, &message, &mut control, SendFlags::NOSIGNAL)
    })?;
    Ok(())
}

fn receive(socket: BorrowedFd<'_>, message: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut buffers = [IoSliceMut::new(message)];
    let received = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(socket, &mut buffers, &mut control, RecvFlags::CMSG_CLOEXEC)
    });
    let received = match received {
        Ok(received) => received,
        // The peer died with something of ours unread: to us the same end.
        Err(Errno::CONNRESET) => return Ok((0, None)),
        Err(error) => return Err(error.into()),
    };
    let fd = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    Ok((received.bytes, fd))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_cross_in_order() {
        let (caller, child) = pair().expect("connection");
        let (read, _write) = rustix::pipe::pipe().expect("pipe");
        child.warning("careful").expect("sent");
        child.terminal(read.as_fd()).expect("sent");
        let error = ProcessError::NotFoundInPath {
            program: "x".into(),
        };
        child.failed(&error).expect("sent");
        assert!(matches!(caller.receive(), Ok(Report::Warning(text)) if text == "careful"));
        assert!(matches!(caller.receive(), Ok(Report::Terminal(_))));
        assert!(matches!(caller.receive(), Ok(Report::Failed(got)) if got == error));
        caller.go().expect("sent");
        child.wait().expect("let on");
        drop(child);
        assert!(matches!(caller.receive(), Ok(Report::End)));
    }

    #[test]
    fn a_child_whose_caller_is_gone_does_not_go_on() {
        let (caller, child) = pair().expect("connection");
        drop(caller);
        child.wait().expect_err("nobody there");
    }
}
