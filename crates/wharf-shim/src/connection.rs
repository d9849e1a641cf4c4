//! Messages with descriptors over a stream socket: a length and a count, then JSON.
//!
//! The header is two numbers in little-endian order: the bytes of JSON, and the descriptors that
//! belong to the message. The kernel never merges descriptors of two messages into one read, so
//! that they queue up in order and each message takes its own.
//!
//! Both sides bound what they take: a message of more than [`MESSAGE_MAX`] bytes or
//! [`DESCRIPTORS_MAX`] descriptors ends the connection.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest message.
pub(crate) const MESSAGE_MAX: usize = 4 << 20;
/// Most descriptors of one message.
pub(crate) const DESCRIPTORS_MAX: usize = 64;
const HEADER: usize = 8;
/// Bytes read at a time.
const CHUNK: usize = 16 * 1024;

/// One end of the connection; the socket does not block.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: OwnedFd,
    received: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
    unsent: VecDeque<Unsent>,
}

#[derive(Debug)]
struct Unsent {
    bytes: Vec<u8>,
    sent: usize,
    /// Go with the first byte.
    descriptors: Vec<OwnedFd>,
}

/// What reading found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// More bytes.
    Some,
    /// Nothing at the moment.
    Nothing,
    /// The other side has closed.
    End,
}

impl Connection {
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self {
            socket,
            received: Vec::new(),
            descriptors: VecDeque::new(),
            unsent: VecDeque::new(),
        })
    }

    /// Reads what is there, once.
    pub(crate) fn receive(&mut self) -> io::Result<Received> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let kept = self.received.len();
        self.received.resize(kept + CHUNK, 0);
        let result = rustix::net::recvmsg(
            &self.socket,
            &mut [IoSliceMut::new(&mut self.received[kept..])],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        );
        let read = result.as_ref().map_or(0, |message| message.bytes);
        self.received.truncate(kept + read);
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        match result {
            Ok(message) if message.flags.contains(ReturnFlags::CTRUNC) => {
                Err(invalid("too many descriptors in one message"))
            }
            Ok(message) if message.bytes == 0 => Ok(Received::End),
            Ok(_) => Ok(Received::Some),
            Err(Errno::AGAIN | Errno::INTR) => Ok(Received::Nothing),
            Err(Errno::CONNRESET) => Ok(Received::End),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes the next complete message out of what was read.
    pub(crate) fn next_message<T: DeserializeOwned>(
        &mut self,
    ) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let Some(header) = self.received.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let [a, b, c, d, e, f, g, h] = *header;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        let count = u32::from_le_bytes([e, f, g, h]) as usize;
        if length > MESSAGE_MAX || count > DESCRIPTORS_MAX {
            return Err(invalid("message too long"));
        }
        let Some(body) = self.received.get(HEADER..HEADER + length) else {
            return Ok(None);
        };
        if self.descriptors.len() < count {
            return Err(invalid("descriptors are missing"));
        }
        let message = serde_json::from_slice(body)?;
        let descriptors = self.descriptors.drain(..count).collect();
        self.received.drain(..HEADER + length);
        if self.received.is_empty() {
            // A launch is tens of kilobytes; a process that idles beside each container stays small.
            self.received = Vec::new();
        }
        Ok(Some((message, descriptors)))
    }

    /// Queues a message and sends what can be sent at once.
    pub(crate) fn send(
        &mut self,
        message: &impl Serialize,
        descriptors: Vec<OwnedFd>,
    ) -> io::Result<()> {
        let mut bytes = vec![0; HEADER];
        serde_json::to_writer(&mut bytes, message)?;
        let length = bytes.len() - HEADER;
        if length > MESSAGE_MAX || descriptors.len() > DESCRIPTORS_MAX {
            return Err(invalid("message too long"));
        }
        let small = |number: usize| u32::try_from(number).map_err(io::Error::other);
        bytes[..4].copy_from_slice(&small(length)?.to_le_bytes());
        bytes[4..HEADER].copy_from_slice(&small(descriptors.len())?.to_le_bytes());
        self.unsent.push_back(Unsent {
            bytes,
            sent: 0,
            descriptors,
        });
        self.flush()
    }

    /// Sends what is queued, as far as the socket takes it.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while let Some(unsent) = self.unsent.front_mut() {
            match send_once(&self.socket, unsent) {
                Ok(count) => {
                    unsent.sent += count;
                    unsent.descriptors.clear();
                    if unsent.sent == unsent.bytes.len() {
                        self.unsent.pop_front();
                    }
                }
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Whether everything was sent.
    pub(crate) fn is_flushed(&self) -> bool {
        self.unsent.is_empty()
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl std::os::fd::AsRawFd for Connection {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.socket.as_raw_fd()
    }
}

fn send_once(socket: &OwnedFd, unsent: &Unsent) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let borrowed: Vec<_> = unsent.descriptors.iter().map(AsFd::as_fd).collect();
    if !borrowed.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&borrowed)) {
        return Err(Errno::MSGSIZE);
    }
    let part = [IoSlice::new(&unsent.bytes[unsent.sent..])];
    rustix::net::sendmsg(socket, &part, &mut ancillary, SendFlags::NOSIGNAL)
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    use super::*;

    fn pair() -> (Connection, Connection) {
        let (a, b) = UnixStream::pair().expect("socketpair");
        let connection = |socket: UnixStream| Connection::new(socket.into()).expect("connection");
        (connection(a), connection(b))
    }

    #[test]
    fn messages_keep_their_own_descriptors() {
        let (mut here, mut there) = pair();
        let (mut read_end, write_end) = std::io::pipe().expect("pipe");
        here.send(&"without", Vec::new()).expect("send");
        here.send(&"with", vec![write_end.into()]).expect("send");
        here.send(&"last", Vec::new()).expect("send");
        let mut found = Vec::new();
        while found.len() < 3 {
            assert_eq!(there.receive().expect("receive"), Received::Some);
            while let Some((text, descriptors)) = there.next_message::<String>().expect("message") {
                found.push((text, descriptors));
            }
        }
        let counts: Vec<_> = found.iter().map(|(t, d)| (t.as_str(), d.len())).collect();
        assert_eq!(counts, [("without", 0), ("with", 1), ("last", 0)]);
        let mut write_end = std::fs::File::from(found.remove(1).1.remove(0));
        write_end.write_all(b"hello").expect("write");
        drop(write_end);
        let mut text = String::new();
        read_end.read_to_string(&mut text).expect("read");
        assert_eq!(text, "hello");
    }

    #[test]
    fn long_messages_arrive_in_pieces() {
        let (mut here, mut there) = pair();
        let long = "x".repeat(3 << 20);
        here.send(&long, Vec::new()).expect("send");
        let arrived = loop {
            here.flush().expect("flush");
            there.receive().expect("receive");
            if let Some((text, _)) = there.next_message::<String>().expect("message") {
                break text;
            }
        };
        assert!(here.is_flushed());
        assert_eq!(arrived, long);
    }

    #[test]
    fn a_length_beyond_the_bound_ends_the_connection() {
        let (here, mut there) = pair();
        let header = [0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0];
        rustix::io::write(&here, &header).expect("write");
        there.receive().expect("receive");
        assert!(there.next_message::<String>().is_err());
        drop(here);
        assert_eq!(there.receive().expect("receive"), Received::End);
    }
}
