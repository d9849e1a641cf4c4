//! The client's side of a connection: a socket that hyper, a hijack and a watch on its hang-up share.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use rustix::event::{PollFd, PollFlags};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;
use wharf_engine::Caller;

/// How often a connection whose client has ended its sending side is asked whether it is gone altogether. The kernel
/// tells the first, and it tells the second only to those who ask for something else too.
const HANG_UP_POLL: Duration = Duration::from_secs(1);

/// Longest wait for a client to read an answer's head before what follows it is sent.
const CATCH_UP: Duration = Duration::from_millis(250);

/// How much of it without giving the processor away.
const CATCH_UP_AT_ONCE: Duration = Duration::from_micros(200);

/// A connected socket.
#[derive(Debug)]
enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// A client's connection; clones are the same connection.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    socket: Arc<Socket>,
    /// Bytes read already and to be read again.
    unread: Bytes,
}

macro_rules! either {
    ($socket:expr, $stream:ident => $call:expr) => {
        match &*$socket {
            Socket::Unix($stream) => $call,
            Socket::Tcp($stream) => $call,
        }
    };
}

impl From<UnixStream> for Client {
    fn from(stream: UnixStream) -> Self {
        Self {
            socket: Arc::new(Socket::Unix(stream)),
            unread: Bytes::new(),
        }
    }
}

impl From<TcpStream> for Client {
    fn from(stream: TcpStream) -> Self {
        // What a process says is not held back for more of it.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection is slower than it could be");
        }
        Self {
            socket: Arc::new(Socket::Tcp(stream)),
            unread: Bytes::new(),
        }
    }
}

impl Client {
    /// Returns the connection with `bytes` to be read first.
    pub(crate) fn with_unread(self, bytes: impl Into<Bytes>) -> Self {
        debug_assert!(self.unread.is_empty(), "bytes are given back once");
        Self {
            unread: bytes.into(),
            ..self
        }
    }

    /// Returns who connected, which only a unix socket tells.
    pub(crate) fn caller(&self) -> Option<Caller> {
        let Socket::Unix(stream) = &*self.socket else {
            return None;
        };
        let peer = rustix::net::sockopt::socket_peercred(stream).ok()?;
        Some(Caller {
            uid: peer.uid.as_raw(),
            gid: peer.gid.as_raw(),
        })
    }

    /// Returns once there is something to read.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        either!(self.socket, stream => stream.readable().await)
    }

    /// Returns the socket for another process to use. It is this connection: what one writes comes after what the
    /// other has written.
    pub(crate) fn duplicate(&self) -> io::Result<OwnedFd> {
        self.as_fd().try_clone_to_owned()
    }

    /// Returns once the client can neither send nor receive any more. A client that has only ended its sending side
    /// still waits for its answer.
    pub(crate) async fn hung_up(&self) {
        // No stream is registered for priority events; waiting for them is waiting for the end of reading.
        if either!(self.socket, stream => stream.ready(Interest::PRIORITY).await).is_err() {
            return;
        }
        while !self.is_gone() {
            tokio::time::sleep(HANG_UP_POLL).await;
        }
    }

    /// Returns once the client has read all that was sent to it, or has not in a while.
    ///
    /// For the head of an answer that other bytes follow: there are clients (docker-py) that read the head through a
    /// buffer and what follows around it, and what came with the head is lost to them. dockerd is slow enough for
    /// them; we have to wait.
    pub(crate) async fn caught_up(&self) {
        let begun = Instant::now();
        while begun.elapsed() < CATCH_UP
            && wharf_sys::socket::is_all_read(self).is_ok_and(|all| !all)
        {
            // Who waits for an answer has it within microseconds; timers are in milliseconds.
            if begun.elapsed() < CATCH_UP_AT_ONCE {
                tokio::task::yield_now().await;
            } else {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }

    fn is_gone(&self) -> bool {
        let mut poll = [PollFd::new(self, PollFlags::empty())];
        let now = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let told = rustix::event::poll(&mut poll, Some(&now));
        told.is_err()
            || poll[0]
                .revents()
                .intersects(PollFlags::HUP | PollFlags::ERR)
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        either!(self.socket, stream => stream.as_fd())
    }
}

impl AsyncRead for Client {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let client = self.get_mut();
        if !client.unread.is_empty() {
            let length = client.unread.len().min(out.remaining());
            out.put_slice(&client.unread[..length]);
            client.unread.advance(length);
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(either!(client.socket, stream => stream.poll_read_ready(context)))?;
            match either!(client.socket, stream => stream.try_read(out.initialize_unfilled())) {
                Ok(length) => {
                    out.advance(length);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Client {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(either!(self.socket, stream => stream.poll_write_ready(context)))?;
            match either!(self.socket, stream => stream.try_write(bytes)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(either!(self.socket, stream => stream.poll_write_ready(context)))?;
            match either!(self.socket, stream => stream.try_write_vectored(slices)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(
            match rustix::net::shutdown(&*self, rustix::net::Shutdown::Write) {
                // The client has left already; there is nothing to end.
                Ok(()) | Err(rustix::io::Errno::NOTCONN) => Ok(()),
                Err(errno) => Err(errno.into()),
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn bytes_given_back_are_read_first() {
        let (near, mut far) = UnixStream::pair().expect("a pair");
        far.write_all(b"later").await.expect("writes");
        far.shutdown().await.expect("ends");
        let mut text = String::new();
        Client::from(near)
            .with_unread("sooner ")
            .read_to_string(&mut text)
            .await
            .expect("reads");
        assert_eq!(text, "sooner later");
    }

    #[tokio::test]
    async fn a_client_that_ended_its_sending_side_is_not_gone() {
        let (near, mut far) = UnixStream::pair().expect("a pair");
        let client = Client::from(near);
        far.shutdown().await.expect("ends");
        assert!(client.clone().read_u8().await.is_err(), "nothing to read");
        assert!(!client.is_gone());
        drop(far);
        tokio::time::timeout(LONG, client.hung_up())
            .await
            .expect("it is seen to be gone");
    }

    #[tokio::test]
    async fn a_client_catches_up_when_it_has_read() {
        let (near, mut far) = UnixStream::pair().expect("a pair");
        let mut client = Client::from(near);
        client.write_all(b"head").await.expect("writes");
        let reading = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            far.read_exact(&mut [0; 4]).await.expect("reads");
            far
        });
        client.caught_up().await;
        assert!(wharf_sys::socket::is_all_read(&client).expect("a socket"));
        reading.await.expect("reads");
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_not_waited_for_long() {
        let (near, _far) = UnixStream::pair().expect("a pair");
        let mut client = Client::from(near);
        client.write_all(b"head").await.expect("writes");
        tokio::time::timeout(LONG, client.caught_up())
            .await
            .expect("it gives up");
    }

    #[tokio::test]
    async fn a_client_that_left_is_gone() {
        let (near, far) = UnixStream::pair().expect("a pair");
        drop(far);
        tokio::time::timeout(LONG, Client::from(near).hung_up())
            .await
            .expect("it is seen to be gone");
    }
}
