//! Cuts a process's output into entries.

use crate::entry::{Part, Piece, Stamp, Stream};
use crate::{LINE_MAX, scan};

/// The beginning of a line whose end has not come yet, of each output.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    begun: [Begun; 2],
}

#[derive(Debug, Default)]
struct Begun {
    bytes: Vec<u8>,
    /// Of the line's first entry: all of them bear its time, as Docker has it.
    time: Stamp,
    /// Entries made of this line so far.
    parts: i32,
    id: String,
}

impl Lines {
    /// Hands every entry that `bytes` complete to `emit`, and keeps the rest.
    pub(crate) fn push(
        &mut self,
        stream: Stream,
        mut bytes: &[u8],
        now: &Stamp,
        mut emit: impl FnMut(Piece<'_>),
    ) {
        let begun = &mut self.begun[index(stream)];
        while !bytes.is_empty() {
            if begun.bytes.is_empty() && begun.parts == 0 {
                let window = &bytes[..bytes.len().min(LINE_MAX + 1)];
                // The common case: a whole line, which is not copied.
                if let Some(end) = scan::line_feed(window) {
                    emit(Piece {
                        text: &bytes[..end],
                        ends: true,
                        stream,
                        time: now,
                        part: None,
                    });
                    bytes = &bytes[end + 1..];
                    continue;
                }
            }
            bytes = begun.take(bytes, stream, now, &mut emit);
        }
        begun.release();
    }

    /// Hands over what has been begun and will not be ended: the output is at its end.
    pub(crate) fn finish(&mut self, now: &Stamp, mut emit: impl FnMut(Piece<'_>)) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let begun = &mut self.begun[index(stream)];
            if begun.bytes.is_empty() {
                continue;
            }
            let length = begun.bytes.len();
            begun.cut(length, false, stream, now, &mut emit);
            *begun = Begun::default();
        }
    }

    /// Returns what has been kept of an output.
    pub(crate) fn begun(&self, stream: Stream) -> &[u8] {
        &self.begun[index(stream)].bytes
    }
}

fn index(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
    }
}

impl Begun {
    /// Takes bytes of the line, up to its end or an entry's length; returns the rest.
    fn take<'a>(
        &mut self,
        bytes: &'a [u8],
        stream: Stream,
        now: &Stamp,
        emit: &mut impl FnMut(Piece<'_>),
    ) -> &'a [u8] {
        // One more: a line of exactly an entry's length is no part if its line feed is there.
        let room = LINE_MAX + 1 - self.bytes.len();
        let window = &bytes[..bytes.len().min(room)];
        if let Some(end) = scan::line_feed(window) {
            self.bytes.extend_from_slice(&window[..end]);
            let length = self.bytes.len();
            self.cut(length, true, stream, now, emit);
            self.parts = 0;
            return &bytes[end + 1..];
        }
        self.bytes.extend_from_slice(window);
        if self.bytes.len() > LINE_MAX {
            let length = character_end(&self.bytes[..=LINE_MAX]);
            self.cut(length, false, stream, now, emit);
        }
        &bytes[window.len()..]
    }

    fn cut(
        &mut self,
        length: usize,
        ends: bool,
        stream: Stream,
        now: &Stamp,
        emit: &mut impl FnMut(Piece<'_>),
    ) {
        let alone = self.parts == 0 && ends;
        if self.parts == 0 {
            self.time = now.clone();
            if !alone {
                self.id = part_id();
            }
        }
        self.parts = self.parts.saturating_add(1);
        emit(Piece {
            text: &self.bytes[..length],
            ends,
            stream,
            time: &self.time,
            part: (!alone).then_some(Part {
                id: &self.id,
                ordinal: self.parts,
                last: ends,
            }),
        });
        self.bytes.drain(..length);
    }

    /// Gives the memory of a long line back once nothing of it is left.
    fn release(&mut self) {
        if self.bytes.is_empty() && self.bytes.capacity() > 1024 {
            self.bytes = Vec::new();
        }
    }
}

/// The longest beginning of at most [`LINE_MAX`] bytes that cuts no UTF-8 character; the bytes have one
/// more.
fn character_end(bytes: &[u8]) -> usize {
    let longest = bytes.len() - 1;
    for end in (longest.saturating_sub(3)..=longest).rev() {
        let continues = bytes[end] & 0xc0 == 0x80;
        if !continues {
            return end;
        }
    }
    // No character is that long: these are other bytes.
    longest
}

/// As many random bits as Docker's ids of parts have.
fn part_id() -> String {
    let mut bytes = [0u8; 32];
    // The pool is initialised long before any container; a short read leaves zeros, which are an id.
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).ok();
    let mut text = String::with_capacity(64);
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Text, whether it ends its line, ordinal.
    type Cut = (Vec<u8>, bool, Option<i32>);

    fn cut(pieces: &[&[u8]]) -> Vec<Cut> {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        let mut emit = |piece: Piece<'_>| {
            let ordinal = piece.part.map(|part| part.ordinal);
            found.push((piece.text.to_vec(), piece.ends, ordinal));
        };
        for piece in pieces {
            lines.push(Stream::Stdout, piece, &Stamp::now(), &mut emit);
        }
        lines.finish(&Stamp::now(), emit);
        found
    }

    fn joined(cuts: &[Cut]) -> Vec<u8> {
        let feed = |ends: bool| if ends { b"\n".as_slice() } else { b"" };
        let all = cuts
            .iter()
            .map(|(text, ends, _)| [text, feed(*ends)].concat());
        all.collect::<Vec<_>>().concat()
    }

    #[test]
    fn lines_are_joined_across_reads() {
        assert_eq!(
            cut(&[b"one\ntw", b"o\nend"]),
            [
                (b"one".to_vec(), true, None),
                (b"two".to_vec(), true, None),
                (b"end".to_vec(), false, Some(1)),
            ]
        );
    }

    #[test]
    fn long_lines_are_cut_at_sixteen_kibibytes() {
        let mut line = vec![b'x'; LINE_MAX * 2 + 5];
        line.push(b'\n');
        for size in [1000, LINE_MAX, LINE_MAX + 1, line.len()] {
            let pieces: Vec<_> = line.chunks(size).collect();
            let found = cut(&pieces);
            let lengths: Vec<_> = found
                .iter()
                .map(|(t, ends, n)| (t.len(), *ends, *n))
                .collect();
            assert_eq!(
                lengths,
                [
                    (LINE_MAX, false, Some(1)),
                    (LINE_MAX, false, Some(2)),
                    (5, true, Some(3))
                ]
            );
        }
    }

    #[test]
    fn a_line_of_just_that_length_is_whole() {
        let line = [vec![b'x'; LINE_MAX], b"\n".to_vec()].concat();
        assert_eq!(cut(&[&line]), [(vec![b'x'; LINE_MAX], true, None)]);
        assert_eq!(
            cut(&[&line[..9], &line[9..]]),
            [(vec![b'x'; LINE_MAX], true, None)]
        );
    }

    #[test]
    fn characters_are_not_cut() {
        let text = "€".repeat(LINE_MAX);
        let found = cut(&[text.as_bytes()]);
        assert!(found.len() > 3);
        assert!(
            found
                .iter()
                .all(|(text, ..)| std::str::from_utf8(text).is_ok())
        );
        assert_eq!(joined(&found), text.as_bytes());
    }

    proptest! {
        #[test]
        fn nothing_is_lost(
            output in prop::collection::vec(
                prop_oneof![
                    prop::collection::vec(any::<u8>(), 0..50),
                    (0u8..255, 16_300usize..16_500).prop_map(|(byte, count)| vec![byte; count]),
                    Just(b"\n".to_vec()),
                ],
                0..12,
            ),
        ) {
            let pieces: Vec<_> = output.iter().map(Vec::as_slice).collect();
            let found = cut(&pieces);
            prop_assert_eq!(joined(&found), output.concat());
            prop_assert!(found.iter().all(|(text, ..)| text.len() <= LINE_MAX));
        }
    }
}
