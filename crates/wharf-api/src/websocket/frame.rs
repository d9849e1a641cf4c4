//! Frames of the WebSocket protocol (RFC 6455, section 5): those of a client taken apart, those of ours put together.

use thiserror::Error;

/// Longest payload of a frame that is not part of a message.
const MAX_CONTROL: usize = 125;

/// Longest header: two bytes, eight of length, four of mask.
pub(super) const MAX_HEADER: usize = 14;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
const CONTROL: u8 = 0x08;
const CONTINUATION: u8 = 0x00;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xa,
}

/// What a client must not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum FrameError {
    #[error("a reserved bit is set")]
    Reserved,
    #[error("a frame of unknown kind {0}")]
    UnknownKind(u8),
    #[error("a frame of a client without mask")]
    Unmasked,
    #[error("a message within a message, or the middle of none")]
    Order,
    #[error("a control frame in pieces or too long")]
    Control,
    #[error("a length that is not written as it must be")]
    Length,
}

/// What a client has sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// A piece of a message.
    Data(&'a [u8]),
    Ping(Vec<u8>),
    Close,
}

/// A frame whose payload is being read.
#[derive(Debug)]
struct Open {
    opcode: u8,
    left: u64,
    mask: [u8; 4],
    /// Where in the mask the next byte is.
    at: usize,
}

/// Takes a client's frames apart.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    header: Vec<u8>,
    open: Option<Open>,
    /// Payload of a control frame so far.
    control: Vec<u8>,
    /// Whether a message is not at its end.
    message: bool,
}

impl Decoder {
    /// Takes the next part from the front of `input`, and returns what is left of it; no part: `input` is used up.
    pub(super) fn next<'a>(
        &mut self,
        mut input: &'a mut [u8],
    ) -> Result<(Option<Part<'a>>, &'a mut [u8]), FrameError> {
        loop {
            let Some(open) = &mut self.open else {
                match self.fill_header(&mut input)? {
                    true => continue,
                    false => return Ok((None, input)),
                }
            };
            let length = usize::try_from(open.left)
                .unwrap_or(usize::MAX)
                .min(input.len());
            let (payload, rest) = std::mem::take(&mut input).split_at_mut(length);
            for byte in payload.iter_mut() {
                *byte ^= open.mask[open.at];
                open.at = (open.at + 1) % open.mask.len();
            }
            open.left -= length as u64;
            let (opcode, at_end) = (open.opcode, open.left == 0);
            if at_end {
                self.open = None;
            }
            input = rest;
            if opcode & CONTROL == 0 {
                if !payload.is_empty() {
                    return Ok((Some(Part::Data(payload)), input));
                }
            } else {
                self.control.extend_from_slice(payload);
                if at_end {
                    let payload = std::mem::take(&mut self.control);
                    match opcode {
                        opcode if opcode == Kind::Close as u8 => {
                            return Ok((Some(Part::Close), input));
                        }
                        opcode if opcode == Kind::Ping as u8 => {
                            return Ok((Some(Part::Ping(payload)), input));
                        }
                        _ => {}
                    }
                }
            }
            if !at_end {
                return Ok((None, input));
            }
        }
    }

    /// Reads on in a header; true once it is whole.
    fn fill_header(&mut self, input: &mut &mut [u8]) -> Result<bool, FrameError> {
        loop {
            let needed = self.header_length();
            if self.header.len() == needed {
                self.open = Some(self.read_header()?);
                self.header.clear();
                return Ok(true);
            }
            let length = (needed - self.header.len()).min(input.len());
            if length == 0 {
                return Ok(false);
            }
            let (taken, rest) = std::mem::take(input).split_at_mut(length);
            self.header.extend_from_slice(taken);
            *input = rest;
        }
    }

    /// How long the header is, as far as can be told.
    fn header_length(&self) -> usize {
        let extended = match self.header.get(1).map(|byte| byte & !MASKED) {
            None => return 2,
            Some(126) => 2,
            Some(127) => 8,
            Some(_) => 0,
        };
        2 + extended + 4
    }

    fn read_header(&mut self) -> Result<Open, FrameError> {
        let (first, second) = (self.header[0], self.header[1]);
        let (opcode, fin) = (first & OPCODE, first & FIN != 0);
        if first & RESERVED != 0 {
            return Err(FrameError::Reserved);
        }
        if second & MASKED == 0 {
            return Err(FrameError::Unmasked);
        }
        let (extended, mask) = self.header[2..].split_at(self.header.len() - 6);
        let length = match extended.len() {
            0 => u64::from(second & !MASKED),
            _ => extended
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        };
        let shortest = match extended.len() {
            0 => 0,
            2 => 126,
            _ => 1 << 16,
        };
        if length < shortest || length > i64::MAX as u64 {
            return Err(FrameError::Length);
        }
        match opcode {
            CONTINUATION | 1 | 2 => {
                if (opcode == CONTINUATION) != self.message {
                    return Err(FrameError::Order);
                }
                self.message = !fin;
            }
            8..=10 => {
                if !fin || length > MAX_CONTROL as u64 {
                    return Err(FrameError::Control);
                }
            }
            other => return Err(FrameError::UnknownKind(other)),
        }
        let mut bytes = [0; 4];
        bytes.copy_from_slice(mask);
        Ok(Open {
            opcode,
            left: length,
            mask: bytes,
            at: 0,
        })
    }
}

/// Appends a frame that is a whole message, or a control frame.
pub(super) fn encode(kind: Kind, payload: &[u8], out: &mut Vec<u8>) {
    out.push(FIN | kind as u8);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..126), _) => out.push(length),
        (_, Ok(length)) => {
            out.push(126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A client's frame.
    fn sent(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [7, 0, 255, 129];
        let mut bytes = Vec::new();
        encode(Kind::Binary, payload, &mut bytes);
        bytes[0] = first;
        bytes[1] |= MASKED;
        let at = bytes.len() - payload.len();
        for (byte, mask) in bytes[at..].iter_mut().zip(mask.iter().cycle()) {
            *byte ^= mask;
        }
        bytes.splice(at..at, mask);
        bytes
    }

    /// Everything that comes of `bytes` in pieces of `piece`: data joined, controls in their order.
    fn taken(bytes: &[u8], piece: usize) -> Result<(Vec<u8>, Vec<String>), FrameError> {
        let mut decoder = Decoder::default();
        let (mut data, mut controls) = (Vec::new(), Vec::new());
        for chunk in bytes.chunks(piece) {
            let mut chunk = chunk.to_vec();
            let mut rest = &mut chunk[..];
            loop {
                let (part, left) = decoder.next(rest)?;
                rest = left;
                match part {
                    None => break,
                    Some(Part::Data(bytes)) => data.extend_from_slice(bytes),
                    Some(part) => controls.push(format!("{part:?}")),
                }
            }
        }
        Ok((data, controls))
    }

    #[test]
    fn messages_come_in_pieces_with_controls_between() {
        let stream = [
            sent(0x02, b"on"),
            sent(0x89, b"hi"),
            sent(0x00, b""),
            sent(0x80, b"e"),
            sent(0x8a, b"unasked"),
            sent(0x81, &[b'x'; 300]),
            sent(0x88, b"\x03\xe8"),
        ]
        .concat();
        for piece in [1, 2, 3, 7, 1000] {
            let (data, controls) = taken(&stream, piece).expect("good frames");
            assert_eq!(data, [b"one".to_vec(), vec![b'x'; 300]].concat());
            assert_eq!(controls, ["Ping([104, 105])", "Close"]);
        }
    }

    #[test]
    fn what_breaks_the_protocol_is_an_error() {
        let mut unmasked = Vec::new();
        encode(Kind::Text, b"x", &mut unmasked);
        for (bytes, expected) in [
            ([unmasked, vec![0; 8]].concat(), FrameError::Unmasked),
            (sent(0xc1, b"x"), FrameError::Reserved),
            (sent(0x83, b"x"), FrameError::UnknownKind(3)),
            (sent(0x80, b"x"), FrameError::Order),
            (
                [sent(0x01, b"x"), sent(0x81, b"x")].concat(),
                FrameError::Order,
            ),
            (sent(0x09, b"x"), FrameError::Control),
            (sent(0x89, &[0; 126]), FrameError::Control),
            (vec![0x82, 0xfe, 0, 5, 0, 0, 0, 0], FrameError::Length),
            (
                vec![0x82, 0xff, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                FrameError::Length,
            ),
        ] {
            assert_eq!(taken(&bytes, 3), Err(expected), "{bytes:?}");
        }
    }

    #[test]
    fn lengths_are_written_shortest() {
        for (length, header) in [
            (0, vec![0x82, 0]),
            (125, vec![0x82, 125]),
            (126, vec![0x82, 126, 0, 126]),
            (65535, vec![0x82, 126, 255, 255]),
            (65536, vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = Vec::new();
            encode(Kind::Binary, &vec![0; length], &mut out);
            assert_eq!(out[..header.len()], header, "{length}");
            assert_eq!(out.len(), header.len() + length);
        }
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), piece in 1usize..40) {
            drop(taken(&bytes, piece));
        }

        #[test]
        fn what_is_sent_arrives(payload in proptest::collection::vec(any::<u8>(), 0..70_000), piece in 1usize..5000) {
            let (data, _) = taken(&sent(0x82, &payload), piece).expect("a good frame");
            prop_assert_eq!(data, payload);
        }
    }
}
