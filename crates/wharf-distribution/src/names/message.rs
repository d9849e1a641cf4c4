//! The few parts of a DNS message that a stub needs: one question, and the addresses of its answer.
//!
//! Source: RFC 1035, section 4. Names in answers are stepped over, never decompressed: the server is
//! the one this machine trusts to follow aliases, and all addresses it answers with belong to the
//! question.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const HEADER: usize = 12;
const CLASS_IN: u16 = 1;
/// Recursion is wanted.
const WANTED: u16 = 0x0100;
const RESPONSE: u16 = 0x8000;
const TRUNCATED: u16 = 0x0200;
/// Longest name, without its last dot.
const NAME_MAX: usize = 253;
const LABEL_MAX: usize = 63;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// IPv4 addresses.
    A = 1,
    /// IPv6 addresses.
    Aaaa = 28,
}

/// What a server answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// These addresses, which may be none, for so many seconds.
    Found(Vec<IpAddr>, u32),
    /// There is no such name.
    NoSuchName,
    /// More than fits a datagram.
    Truncated,
    /// The server cannot tell.
    Failed,
}

/// Writes a question; nothing when the name is none that DNS can have.
pub(super) fn question(id: u16, name: &str, kind: Kind) -> Option<Vec<u8>> {
    if name.is_empty() || name.len() > NAME_MAX {
        return None;
    }
    let mut message = Vec::with_capacity(HEADER + name.len() + 6);
    for word in [id, WANTED, 1, 0, 0, 0] {
        message.extend(word.to_be_bytes());
    }
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok()?;
        if label.is_empty() || label.len() > LABEL_MAX {
            return None;
        }
        message.push(length);
        message.extend(label.bytes());
    }
    message.push(0);
    message.extend((kind as u16).to_be_bytes());
    message.extend(CLASS_IN.to_be_bytes());
    Some(message)
}

/// Reads the answer to a question; nothing when it is not one.
pub(super) fn reply(question: &[u8], bytes: &[u8]) -> Option<Reply> {
    let flags = word(bytes, 2)?;
    let asked = question.get(HEADER..)?;
    if bytes.get(..2) != question.get(..2) || flags & RESPONSE == 0 {
        return None;
    }
    let code = flags & 15;
    let answers_question = word(bytes, 4) == Some(1)
        && bytes
            .get(HEADER..HEADER + asked.len())
            .is_some_and(|own| own.eq_ignore_ascii_case(asked));
    if !answers_question {
        // A server that does not understand may leave the question out.
        return (code != 0 && word(bytes, 4) == Some(0)).then_some(Reply::Failed);
    }
    match code {
        0 if flags & TRUNCATED != 0 => return Some(Reply::Truncated),
        0 => {}
        3 => return Some(Reply::NoSuchName),
        _ => return Some(Reply::Failed),
    }
    let count = word(bytes, 6)?;
    let mut at = HEADER + asked.len();
    let (mut addresses, mut least) = (Vec::new(), u32::MAX);
    for _ in 0..count {
        at = after_name(bytes, at)?;
        let kind = word(bytes, at)?;
        let class = word(bytes, at + 2)?;
        let time = u32::from(word(bytes, at + 4)?) << 16 | u32::from(word(bytes, at + 6)?);
        let length = usize::from(word(bytes, at + 8)?);
        let data = bytes.get(at + 10..at + 10 + length)?;
        at += 10 + length;
        if class == CLASS_IN {
            // An alias that is short-lived makes the whole so.
            least = least.min(time);
            addresses.extend(address(kind, data));
        }
    }
    Some(Reply::Found(addresses, least))
}

fn address(kind: u16, data: &[u8]) -> Option<IpAddr> {
    if kind == Kind::A as u16 {
        return <[u8; 4]>::try_from(data)
            .ok()
            .map(|bytes| Ipv4Addr::from(bytes).into());
    }
    if kind == Kind::Aaaa as u16 {
        return <[u8; 16]>::try_from(data)
            .ok()
            .map(|bytes| Ipv6Addr::from(bytes).into());
    }
    None
}

/// Steps over a name: labels up to the root, or up to a pointer, which ends it.
fn after_name(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let length = *bytes.get(at)?;
        match length >> 6 {
            0 if length == 0 => return Some(at + 1),
            0 => at += 1 + usize::from(length),
            3 => return Some(at + 2),
            _ => return None,
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes([pair[0], pair[1]]))
}
