//! Netlink, synchronously: messages are built in memory, sent several at a time, and answered
//! before the send returns.
//!
//! The kernel handles a request inside `sendmsg`, so its answers can be read at once and without
//! waiting. Only the last message of a send asks for an acknowledgement: refusals are answered in
//! any case. Sequence numbers tell which message an answer is for.
//!
//! An attribute's length is a 16-bit number. A longer value is an error here, before the kernel
//! sees anything: cut off silently, the rest of the value would be read as further attributes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

/// The kernel answers it (`NLM_F_REQUEST`).
const REQUEST: u16 = 0x1;
/// The kernel acknowledges it even if all went well (`NLM_F_ACK`).
const ACKNOWLEDGE: u16 = 0x4;
/// All objects, in several messages (`NLM_F_DUMP`).
const DUMP: u16 = 0x300;
/// Refuse what exists (`NLM_F_EXCL`).
pub(crate) const EXCLUSIVE: u16 = 0x200;
/// Make what does not exist (`NLM_F_CREATE`).
pub(crate) const CREATE: u16 = 0x400;
/// Put at the end (`NLM_F_APPEND`).
pub(crate) const APPEND: u16 = 0x800;

const DUMP_INTERRUPTED: u16 = 0x10;
const ERROR_CAPPED: u16 = 0x100;
const ERROR_EXPLAINED: u16 = 0x200;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const ERROR_MESSAGE_ATTRIBUTE: u16 = 1;

const HEADER: usize = 16;
const NESTED: u16 = 0x8000;
const KIND_MASK: u16 = 0x3fff;

/// Room for an answer; the kernel makes its dumps' messages 32 KiB at most.
const RECEIVE_BUFFER: usize = 64 * 1024;
/// Room for a request: ten thousand map elements fit.
const SEND_BUFFER: usize = 8 * 1024 * 1024;
/// How often a dump is begun anew because the objects changed under it.
const DUMP_ATTEMPTS: usize = 10;

/// Why the kernel did not do what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It said no.
    #[error("{}{}", errno, explained(.explanation))]
    Kernel {
        /// The kernel's answer.
        errno: Errno,
        /// The kernel's words, when it has some.
        explanation: String,
    },
    /// A value is too long to be said in netlink, so it was not asked.
    #[error("a value of {length} bytes is too long for a netlink attribute")]
    TooLong {
        /// The length of the value.
        length: usize,
    },
    /// It could not be asked, or the answer could not be read.
    #[error("netlink socket: {0}")]
    Socket(Errno),
    /// Its answer makes no sense.
    #[error("the kernel's answer is malformed")]
    Malformed,
    /// What was asked for changed again and again while it was being read.
    #[error("the kernel's objects keep changing")]
    Restless,
}

fn explained(explanation: &str) -> String {
    if explanation.is_empty() {
        String::new()
    } else {
        format!(" ({explanation})")
    }
}

impl Refusal {
    /// The kernel's answer, when it gave one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Kernel { errno, .. } | Self::Socket(errno) => Some(*errno),
            Self::TooLong { .. } | Self::Malformed | Self::Restless => None,
        }
    }
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    bytes: Vec<u8>,
    too_long: Option<usize>,
}

impl Message {
    /// A request of this type, with this family's header after netlink's own.
    pub(crate) fn new(kind: u16, flags: u16, header: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(header);
        let mut message = Self {
            bytes,
            too_long: None,
        };
        message.pad();
        message
    }

    /// Adds an attribute with these bytes as its value.
    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let start = self.open(kind);
        self.bytes.extend_from_slice(value);
        self.close(start);
        self
    }

    /// Adds a number in the machine's byte order, as rtnetlink wants them.
    pub(crate) fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// Adds a number in network byte order, as netfilter wants them.
    pub(crate) fn be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Adds a string with the zero at its end.
    pub(crate) fn string(&mut self, kind: u16, value: &str) -> &mut Self {
        let start = self.open(kind);
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
        self.close(start);
        self
    }

    /// Adds an attribute made of a fixed header and what `fill` adds.
    pub(crate) fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.open(kind | NESTED);
        fill(self);
        self.close(start);
        self
    }

    /// Adds bytes that are no attribute: a fixed header inside a nested one.
    pub(crate) fn raw(&mut self, value: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(value);
        self.pad();
        self
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        start
    }

    fn close(&mut self, start: usize) {
        let length = self.bytes.len() - start;
        match u16::try_from(length) {
            Ok(short) => self.bytes[start..start + 2].copy_from_slice(&short.to_ne_bytes()),
            Err(_) => self.too_long = Some(length - 4),
        }
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn append_to(
        &self,
        buffer: &mut Vec<u8>,
        sequence: u32,
        more_flags: u16,
    ) -> Result<(), Refusal> {
        if let Some(length) = self.too_long {
            return Err(Refusal::TooLong { length });
        }
        let length = u32::try_from(self.bytes.len()).map_err(|_| Refusal::TooLong {
            length: self.bytes.len(),
        })?;
        let start = buffer.len();
        buffer.extend_from_slice(&self.bytes);
        let flags = u16::from_ne_bytes([self.bytes[6], self.bytes[7]]) | more_flags;
        buffer[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        buffer[start + 6..start + 8].copy_from_slice(&flags.to_ne_bytes());
        buffer[start + 8..start + 12].copy_from_slice(&sequence.to_ne_bytes());
        Ok(())
    }
}

/// A message from the kernel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer<'a> {
    /// Its type.
    pub(crate) kind: u16,
    /// The port of the socket whose request it answers or tells others about.
    pub(crate) port: u32,
    flags: u16,
    sequence: u32,
    /// Everything after netlink's own header.
    pub(crate) body: &'a [u8],
}

/// The messages in what one `recv` brought.
pub(crate) fn answers(mut bytes: &[u8]) -> impl Iterator<Item = Answer<'_>> {
    std::iter::from_fn(move || {
        let header: &[u8; HEADER] = bytes.first_chunk()?;
        let length = usize::try_from(u32_at(header, 0)?).ok()?;
        let body = bytes.get(HEADER..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Answer {
            kind: u16::from_ne_bytes([header[4], header[5]]),
            flags: u16::from_ne_bytes([header[6], header[7]]),
            sequence: u32_at(header, 8)?,
            port: u32_at(header, 12)?,
            body,
        })
    })
}

/// The attributes in these bytes, without the flags in their types.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let header: &[u8; 4] = bytes.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((
            u16::from_ne_bytes([header[2], header[3]]) & KIND_MASK,
            value,
        ))
    })
}

/// The value of one attribute.
pub(crate) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes)
        .find(|(found, _)| *found == kind)
        .map(|(_, value)| value)
}

/// A number in the machine's byte order.
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes
        .get(offset..)?
        .first_chunk()
        .map(|word| u32::from_ne_bytes(*word))
}

/// A string without the zero at its end.
pub(crate) fn text(value: &[u8]) -> &str {
    let end = value
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(value.len());
    std::str::from_utf8(&value[..end]).unwrap_or_default()
}

/// A socket for requests. It belongs to the network namespace it was opened in.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    sequence: u32,
    port: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// For links, addresses and routes.
    pub(crate) fn route() -> Result<Self, Refusal> {
        Self::open(None, 0)
    }

    /// For nftables and connection tracking.
    pub(crate) fn netfilter() -> Result<Self, Refusal> {
        let socket = Self::open(Some(rustix::net::netlink::NETFILTER), 0)?;
        sockopt::set_socket_send_buffer_size_force(&socket.fd, SEND_BUFFER)
            .map_err(Refusal::Socket)?;
        Ok(socket)
    }

    /// For being told of changes to this netfilter group.
    pub(crate) fn netfilter_changes(group: u32) -> Result<Self, Refusal> {
        Self::open(Some(rustix::net::netlink::NETFILTER), 1 << (group - 1))
    }

    fn open(protocol: Option<rustix::net::Protocol>, groups: u32) -> Result<Self, Refusal> {
        let fd = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            protocol,
        )
        .map_err(Refusal::Socket)?;
        wharf_sys::netlink::explain_errors(&fd).map_err(Refusal::Socket)?;
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, groups)).map_err(Refusal::Socket)?;
        let address = rustix::net::getsockname(&fd).map_err(Refusal::Socket)?;
        let port = SocketAddrNetlink::try_from(address)
            .map_err(Refusal::Socket)?
            .pid();
        Ok(Self {
            fd,
            sequence: 0,
            port,
            buffer: Vec::new(),
        })
    }

    /// The number the kernel knows this socket by.
    pub(crate) fn port(&self) -> u32 {
        self.port
    }

    /// Sends these requests and reads the answers. The first refusal is returned; the kernel has
    /// nevertheless gone on with the messages after it, unless they are an nftables batch.
    pub(crate) fn request(&mut self, messages: &[Message]) -> Result<(), Refusal> {
        let Some((last, others)) = messages.split_last() else {
            return Ok(());
        };
        let mut bytes = std::mem::take(&mut self.buffer);
        bytes.clear();
        let before = self.sequence;
        for message in others {
            message.append_to(&mut bytes, self.next_sequence(), 0)?;
        }
        let acknowledged = self.next_sequence();
        last.append_to(&mut bytes, acknowledged, ACKNOWLEDGE)?;
        self.send(&bytes)?;
        self.buffer = bytes;
        self.read_refusal(before, acknowledged)
    }

    /// As [`request`](Self::request), for a whole transaction: `first` and `last` frame it and get
    /// no acknowledgement of their own.
    pub(crate) fn transaction(
        &mut self,
        first: &Message,
        messages: &[Message],
        last: &Message,
    ) -> Result<(), Refusal> {
        let mut bytes = std::mem::take(&mut self.buffer);
        bytes.clear();
        let before = self.sequence;
        first.append_to(&mut bytes, self.next_sequence(), 0)?;
        let mut acknowledged = 0;
        for (index, message) in messages.iter().enumerate() {
            acknowledged = self.next_sequence();
            let flags = if index + 1 == messages.len() {
                ACKNOWLEDGE
            } else {
                0
            };
            message.append_to(&mut bytes, acknowledged, flags)?;
        }
        last.append_to(&mut bytes, self.next_sequence(), 0)?;
        self.send(&bytes)?;
        self.buffer = bytes;
        self.read_refusal(before, acknowledged)
    }

    /// Asks for all objects of a kind and hands each answer to `each`.
    ///
    /// `each` starts from nothing when the kernel says that the objects changed while it told us:
    /// what it collects is made new for every attempt.
    pub(crate) fn dump<T: Default>(
        &mut self,
        request: &Message,
        mut each: impl FnMut(&mut T, Answer<'_>),
    ) -> Result<T, Refusal> {
        for _ in 0..DUMP_ATTEMPTS {
            let mut bytes = Vec::new();
            let sequence = self.next_sequence();
            request.append_to(&mut bytes, sequence, DUMP)?;
            self.send(&bytes)?;
            let mut collected = T::default();
            if self.read_dump(sequence, |answer| each(&mut collected, answer))? {
                return Ok(collected);
            }
        }
        Err(Refusal::Restless)
    }

    /// Asks for one object; `None` when there is none.
    pub(crate) fn get<T>(
        &mut self,
        request: &Message,
        read: impl FnOnce(Answer<'_>) -> T,
    ) -> Result<Option<T>, Refusal> {
        let mut bytes = Vec::new();
        let sequence = self.next_sequence();
        request.append_to(&mut bytes, sequence, 0)?;
        self.send(&bytes)?;
        let mut buffer = vec![0; RECEIVE_BUFFER];
        let length = self
            .receive(&mut buffer, RecvFlags::empty())?
            .ok_or(Refusal::Malformed)?;
        let answer = answers(&buffer[..length])
            .find(|answer| answer.sequence == sequence)
            .ok_or(Refusal::Malformed)?;
        match refusal(&answer) {
            Some(refusal) if refusal.errno() == Some(Errno::NOENT) => Ok(None),
            Some(refusal) if refusal.errno() == Some(Errno::NODEV) => Ok(None),
            Some(refusal) => Err(refusal),
            None => Ok(Some(read(answer))),
        }
    }

    /// Waits for a message to be told, and hands over what came. `Err(Errno::NOBUFS)` within
    /// [`Refusal::Socket`] says that some were lost.
    pub(crate) fn listen(&self, buffer: &mut Vec<u8>) -> Result<Option<usize>, Refusal> {
        buffer.resize(RECEIVE_BUFFER, 0);
        self.receive(buffer, RecvFlags::DONTWAIT)
    }

    fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    fn send(&self, bytes: &[u8]) -> Result<(), Refusal> {
        let sent =
            rustix::io::retry_on_intr(|| rustix::net::send(&self.fd, bytes, SendFlags::empty()));
        sent.map(drop).map_err(Refusal::Socket)
    }

    fn receive(&self, buffer: &mut [u8], flags: RecvFlags) -> Result<Option<usize>, Refusal> {
        let received = rustix::io::retry_on_intr(|| {
            rustix::net::recv(&self.fd, &mut *buffer, flags | RecvFlags::TRUNC)
        });
        match received {
            Ok((_, length)) if length > buffer.len() => Err(Refusal::Malformed),
            Ok((_, length)) => Ok(Some(length)),
            Err(Errno::AGAIN) => Ok(None),
            Err(errno) => Err(Refusal::Socket(errno)),
        }
    }

    /// Reads what the kernel has answered to the messages after `before`, until it has answered the
    /// one that asked for an acknowledgement.
    fn read_refusal(&self, before: u32, acknowledged: u32) -> Result<(), Refusal> {
        let mut buffer = [0; 4096];
        let mut first = None;
        while let Some(length) = self.receive(&mut buffer, RecvFlags::DONTWAIT)? {
            for answer in answers(&buffer[..length]) {
                let age = answer.sequence.wrapping_sub(before.wrapping_add(1));
                if age > self.sequence.wrapping_sub(before) {
                    continue;
                }
                first = first.or_else(|| refusal(&answer));
                if answer.sequence == acknowledged && answer.kind == ERROR {
                    return first.map_or(Ok(()), Err);
                }
            }
        }
        Err(first.unwrap_or(Refusal::Malformed))
    }

    /// Reads a dump; false when it has to be asked for again.
    fn read_dump(&self, sequence: u32, mut each: impl FnMut(Answer<'_>)) -> Result<bool, Refusal> {
        let mut buffer = vec![0; RECEIVE_BUFFER];
        let mut whole = true;
        loop {
            let length = self
                .receive(&mut buffer, RecvFlags::empty())?
                .unwrap_or_default();
            for answer in answers(&buffer[..length]).filter(|answer| answer.sequence == sequence) {
                whole &= answer.flags & DUMP_INTERRUPTED == 0;
                if let Some(refusal) = refusal(&answer) {
                    return Err(refusal);
                }
                match answer.kind {
                    DONE => return Ok(whole),
                    _ => each(answer),
                }
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The refusal this answer is, if it is one.
fn refusal(answer: &Answer<'_>) -> Option<Refusal> {
    if answer.kind != ERROR && answer.kind != DONE {
        return None;
    }
    let code = u32_at(answer.body, 0)?.cast_signed();
    if code >= 0 {
        return None;
    }
    let errno = Errno::from_raw_os_error(-code);
    // After the code comes the header of the refused request, and the request itself where the
    // kernel was not told to leave it out.
    let request = match answer.kind {
        DONE => 0,
        _ if answer.flags & ERROR_CAPPED != 0 => HEADER,
        _ => usize::try_from(u32_at(answer.body, 4)?)
            .ok()?
            .next_multiple_of(4),
    };
    let explanation = (answer.flags & ERROR_EXPLAINED != 0)
        .then(|| attribute(answer.body.get(4 + request..)?, ERROR_MESSAGE_ATTRIBUTE))
        .flatten();
    Some(Refusal::Kernel {
        errno,
        explanation: explanation.map(text).unwrap_or_default().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn attack_r14_long_attribute_is_an_error_before_the_kernel_call() {
        let mut fits = Message::new(16, 0, &[]);
        fits.bytes(1, &vec![0; 65531]);
        assert_eq!(fits.append_to(&mut Vec::new(), 1, 0), Ok(()));

        let mut long = Message::new(16, 0, &[]);
        long.bytes(1, &vec![0; 65532]);
        assert_eq!(
            long.append_to(&mut Vec::new(), 1, 0),
            Err(Refusal::TooLong { length: 65532 })
        );

        let mut sum = Message::new(16, 0, &[]);
        sum.nested(2, |message| {
            message.bytes(1, &vec![0; 40000]).bytes(1, &vec![0; 40000]);
        });
        // Refused by us: an own socket would answer with the kernel's words instead.
        let refused = Socket::route().unwrap().request(&[sum]);
        assert_eq!(refused, Err(Refusal::TooLong { length: 80008 }));
    }

    #[test]
    fn refusal_carries_the_kernels_words() {
        let mut socket = Socket::route().unwrap();
        let mut message = Message::new(16, CREATE | EXCLUSIVE, &[0; 16]);
        message.string(3, "a-name-longer-than-any-interface-may-have");
        let refused = socket.request(&[message]).unwrap_err();
        assert_ne!(refused.errno(), None, "{refused}");
        assert!(refused.to_string().contains('('), "{refused}");
    }

    proptest! {
        #[test]
        fn attributes_come_back_as_they_went(
            values in prop::collection::vec((0_u16..0x3fff, prop::collection::vec(any::<u8>(), 0..300)), 0..20)
        ) {
            let mut message = Message::new(77, 0, &[1, 2, 3]);
            for (kind, value) in &values {
                message.bytes(*kind, value);
            }
            let mut wire = Vec::new();
            message.append_to(&mut wire, 5, ACKNOWLEDGE).unwrap();
            let answers: Vec<_> = answers(&wire).collect();
            prop_assert_eq!(answers.len(), 1);
            prop_assert_eq!(answers[0].kind, 77);
            prop_assert_eq!(answers[0].sequence, 5);
            prop_assert_eq!(answers[0].flags, REQUEST | ACKNOWLEDGE);
            prop_assert_eq!(&answers[0].body[..3], &[1, 2, 3]);
            let read: Vec<_> =
                attributes(&answers[0].body[4..]).map(|(kind, value)| (kind, value.to_vec())).collect();
            prop_assert_eq!(read, values);
        }

        #[test]
        fn foreign_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            for answer in answers(&bytes) {
                refusal(&answer);
                attributes(answer.body).count();
            }
            attributes(&bytes).count();
            text(&bytes);
        }
    }
}
