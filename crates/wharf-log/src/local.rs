//! The format of Docker's driver `local`: protobuf messages, each between two copies of its length.
//!
//! ```text
//! length (4 bytes, big-endian) │ LogEntry │ length (4 bytes, big-endian)
//!
//! LogEntry                          PartialLogEntryMetadata
//!   1 source        string            1 last     bool
//!   2 time_nano     int64             2 id       string
//!   3 line          bytes             3 ordinal  int32
//!   4 partial       bool
//!   5 partial_log_metadata
//! ```
//!
//! The line has no line feed. A reader gives it one unless the entry is a part that is not the last;
//! Docker's own gives none to the last part either, and so loses it.

use crate::LINE_MAX;
use crate::entry::{Piece, Scratch, ScratchTime, Stream};

/// Bytes of a length.
pub(crate) const LENGTH: usize = 4;
/// Longest message read.
pub(crate) const MESSAGE_MAX: usize = LINE_MAX + 1024;

const SOURCE: u64 = 1;
const TIME: u64 = 2;
const LINE: u64 = 3;
const PARTIAL: u64 = 4;
const METADATA: u64 = 5;
const LAST: u64 = 1;
const ID: u64 = 2;
const ORDINAL: u64 = 3;

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

/// Appends the entry of `piece` to `out`.
pub(crate) fn encode(piece: &Piece<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH]);
    bytes(SOURCE, piece.stream.name().as_bytes(), out);
    varint_field(TIME, piece.time.nanoseconds.cast_unsigned(), out);
    if !piece.text.is_empty() {
        bytes(LINE, piece.text, out);
    }
    if let Some(part) = piece.part {
        varint_field(PARTIAL, 1, out);
        let mut metadata = Vec::with_capacity(80);
        if part.last {
            varint_field(LAST, 1, &mut metadata);
        }
        bytes(ID, part.id.as_bytes(), &mut metadata);
        varint_field(
            ORDINAL,
            u64::from(part.ordinal.cast_unsigned()),
            &mut metadata,
        );
        bytes(METADATA, &metadata, out);
    }
    let length = u32::try_from(out.len() - start - LENGTH).expect("an entry is short");
    let length = length.to_be_bytes();
    out[start..start + LENGTH].copy_from_slice(&length);
    out.extend_from_slice(&length);
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

fn varint_field(field: u64, number: u64, out: &mut Vec<u8>) {
    varint(field << 3 | VARINT, out);
    varint(number, out);
}

fn bytes(field: u64, content: &[u8], out: &mut Vec<u8>) {
    varint(field << 3 | BYTES, out);
    varint(content.len() as u64, out);
    out.extend_from_slice(content);
}

/// Returns the length of the message at the beginning of `bytes`, if it is one that is believed.
pub(crate) fn message_length(bytes: &[u8]) -> Option<usize> {
    let length = u32::from_be_bytes(*bytes.first_chunk()?) as usize;
    (length <= MESSAGE_MAX).then_some(length)
}

/// Reads an entry, a message without its lengths; `None` when it is none.
pub(crate) fn decode(message: &[u8], into: &mut Scratch) -> Option<()> {
    into.text.clear();
    into.attributes.clear();
    let (mut stream, mut time, mut partial, mut last) = (None, 0, false, false);
    for field in Fields(message) {
        match field? {
            (SOURCE, Field::Bytes(b"stdout")) => stream = Some(Stream::Stdout),
            (SOURCE, Field::Bytes(b"stderr")) => stream = Some(Stream::Stderr),
            (TIME, Field::Number(number)) => time = number.cast_signed(),
            (LINE, Field::Bytes(line)) => {
                into.text.clear();
                into.text.extend_from_slice(line);
            }
            (PARTIAL, Field::Number(number)) => partial = number != 0,
            (METADATA, Field::Bytes(metadata)) => {
                for field in Fields(metadata) {
                    if let (LAST, Field::Number(number)) = field? {
                        last = number != 0;
                    }
                }
            }
            _ => {}
        }
    }
    if !partial || last {
        into.text.push(b'\n');
    }
    into.stream = stream?;
    into.time = ScratchTime::Nanoseconds(time);
    Some(())
}

/// The fields of a message; ends with `None` as its last item when the message is malformed.
struct Fields<'a>(&'a [u8]);

enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Other,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, Field<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u64, Field<'a>)> {
        let key = self.varint()?;
        let field = match key & 7 {
            VARINT => Field::Number(self.varint()?),
            BYTES => {
                let length = usize::try_from(self.varint()?).ok()?;
                Field::Bytes(self.take(length)?)
            }
            FIXED64 => self.take(8).map(|_| Field::Other)?,
            FIXED32 => self.take(4).map(|_| Field::Other)?,
            _ => return None,
        };
        Some((key >> 3, field))
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::entry::{Part, Stamp, Time};

    fn encoded(text: &[u8], ends: bool, part: Option<Part<'_>>) -> Vec<u8> {
        let time = Stamp {
            nanoseconds: 1_769_860_800_000_000_001,
            text: String::new(),
        };
        let piece = Piece {
            text,
            ends,
            stream: Stream::Stderr,
            time: &time,
            part,
        };
        let mut out = Vec::new();
        encode(&piece, &mut out);
        out
    }

    #[test]
    fn written_as_docker_writes_it() {
        let part = Part {
            id: "ab",
            ordinal: 2,
            last: true,
        };
        let found = encoded(b"hi", true, Some(part));
        let message = b"\x0a\x06stderr\x10\x81\x80\x8e\xef\xd3\xe0\xf3\xc7\x18\x1a\x02hi\x20\x01\x2a\x08\x08\x01\x12\x02ab\x18\x02";
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        assert_eq!(found, [&length[..], message, &length[..]].concat());
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(text: Vec<u8>, kind in 0..3) {
            let last = kind == 1;
            let part = (kind > 0).then_some(Part { id: "x", ordinal: 1, last });
            let found = encoded(&text, kind < 2, part);
            let length = message_length(&found).unwrap();
            prop_assert_eq!(length + 2 * LENGTH, found.len());
            let mut scratch = Scratch::default();
            decode(&found[LENGTH..LENGTH + length], &mut scratch).unwrap();
            let entry = scratch.entry();
            let expected = if kind < 2 { [&text[..], b"\n"].concat() } else { text };
            prop_assert_eq!(entry.text, expected);
            prop_assert_eq!(entry.stream, Stream::Stderr);
            prop_assert_eq!(entry.time, Time::Nanoseconds(1_769_860_800_000_000_001));
        }

        #[test]
        fn garbage_is_none_or_an_entry(message: Vec<u8>) {
            let mut scratch = Scratch::default();
            if decode(&message, &mut scratch).is_some() {
                prop_assert!(scratch.text.len() <= message.len() + 1);
            }
        }
    }
}
