//! Docker's framing of a container's output streams over one connection.
//!
//! A frame is a header of eight bytes and its payload: the stream's number, three zero bytes, the payload's length in
//! network order. Both sides here are pure: [`header`] writes, [`Decoder`] reads whatever pieces the connection
//! yields and hands the payload on in pieces as they come, so that no frame is ever held, whatever length it claims.

use thiserror::Error;

/// Length of a frame's header.
pub const HEADER_LEN: usize = 8;

/// The stream a frame belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard input, written by nobody but allowed.
    Stdin,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// An error of the engine's own, in the middle of a stream.
    System,
}

impl Stream {
    /// Returns the stream's number in the header.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Stdin => 0,
            Self::Stdout => 1,
            Self::Stderr => 2,
            Self::System => 3,
        }
    }

    fn from_number(number: u8) -> Result<Self, FrameError> {
        match number {
            0 => Ok(Self::Stdin),
            1 => Ok(Self::Stdout),
            2 => Ok(Self::Stderr),
            3 => Ok(Self::System),
            number => Err(FrameError::UnknownStream { number }),
        }
    }
}

/// The bytes are not a framed stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The first byte of a header is no stream's number.
    #[error("unrecognized stream: {number}")]
    UnknownStream {
        /// The byte.
        number: u8,
    },
}

/// Returns the header of a frame with `length` bytes of payload.
#[must_use]
pub fn header(stream: Stream, length: u32) -> [u8; HEADER_LEN] {
    let [a, b, c, d] = length.to_be_bytes();
    [stream.number(), 0, 0, 0, a, b, c, d]
}

/// Appends `payload` to `out` as frames, one unless it is longer than a frame can be.
pub fn encode(stream: Stream, payload: &[u8], out: &mut Vec<u8>) {
    for piece in payload.chunks(u32::MAX as usize) {
        let length = u32::try_from(piece.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&header(stream, length));
        out.extend_from_slice(piece);
    }
}

/// Takes a framed stream apart, piece by piece.
#[derive(Debug, Clone, Default)]
pub struct Decoder {
    header: [u8; HEADER_LEN],
    /// Bytes of the header already seen; meaningful while `payload` is `None`.
    filled: usize,
    /// The frame being read: its stream and the bytes of it still to come.
    payload: Option<(Stream, u32)>,
}

impl Decoder {
    /// Returns a decoder at the beginning of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next piece of payload from the front of `input`, and moves `input` past it.
    /// `None`: `input` is used up.
    ///
    /// # Errors
    /// The bytes are not a frame's header.
    pub fn next<'a>(
        &mut self,
        input: &mut &'a [u8],
    ) -> Result<Option<(Stream, &'a [u8])>, FrameError> {
        loop {
            if let Some((stream, left)) = self.payload {
                if left == 0 {
                    self.payload = None;
                    continue;
                }
                if input.is_empty() {
                    return Ok(None);
                }
                let (piece, rest) = input.split_at(input.len().min(left as usize));
                *input = rest;
                let taken = u32::try_from(piece.len()).unwrap_or(left);
                self.payload = Some((stream, left - taken));
                return Ok(Some((stream, piece)));
            }
            if !self.fill_header(input)? {
                return Ok(None);
            }
        }
    }

    /// Whether the stream may end here: between two frames.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        match self.payload {
            Some((_, left)) => left == 0,
            None => self.filled == 0,
        }
    }

    fn fill_header(&mut self, input: &mut &[u8]) -> Result<bool, FrameError> {
        let (piece, rest) = input.split_at(input.len().min(HEADER_LEN - self.filled));
        self.header[self.filled..self.filled + piece.len()].copy_from_slice(piece);
        self.filled += piece.len();
        *input = rest;
        if self.filled < HEADER_LEN {
            return Ok(false);
        }
        self.filled = 0;
        let [number, _, _, _, a, b, c, d] = self.header;
        self.payload = Some((
            Stream::from_number(number)?,
            u32::from_be_bytes([a, b, c, d]),
        ));
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn streams() -> impl Strategy<Value = Stream> {
        prop_oneof![
            Just(Stream::Stdin),
            Just(Stream::Stdout),
            Just(Stream::Stderr),
            Just(Stream::System)
        ]
    }

    /// Decodes `bytes` cut at `cuts`, joining pieces of one stream that follow each other.
    fn decode(bytes: &[u8], cuts: &[usize]) -> Result<Vec<(Stream, Vec<u8>)>, FrameError> {
        let mut decoder = Decoder::new();
        let mut joined: Vec<(Stream, Vec<u8>)> = Vec::new();
        let mut rest = bytes;
        let mut cuts = cuts.iter().cycle();
        while !rest.is_empty() {
            let take = cuts.next().map_or(rest.len(), |cut| (*cut).min(rest.len()));
            let (mut now, later) = rest.split_at(take);
            rest = later;
            while let Some((stream, piece)) = decoder.next(&mut now)? {
                match joined.last_mut() {
                    Some((last, bytes)) if *last == stream => bytes.extend_from_slice(piece),
                    _ => joined.push((stream, piece.to_vec())),
                }
            }
            assert!(now.is_empty());
        }
        assert!(decoder.at_boundary());
        Ok(joined)
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_however_it_is_cut(
            frames in prop::collection::vec((streams(), prop::collection::vec(any::<u8>(), 0..40)), 0..12),
            cuts in prop::collection::vec(1_usize..20, 1..6),
        ) {
            let mut bytes = Vec::new();
            let mut expected: Vec<(Stream, Vec<u8>)> = Vec::new();
            for (stream, payload) in &frames {
                if payload.is_empty() {
                    bytes.extend_from_slice(&header(*stream, 0));
                    continue;
                }
                encode(*stream, payload, &mut bytes);
                match expected.last_mut() {
                    Some((last, joined)) if last == stream => joined.extend_from_slice(payload),
                    _ => expected.push((*stream, payload.clone())),
                }
            }
            prop_assert_eq!(decode(&bytes, &cuts), Ok(expected));
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut decoder = Decoder::new();
            let mut input = bytes.as_slice();
            while let Ok(Some(_)) = decoder.next(&mut input) {}
        }
    }

    #[test]
    fn a_frame_is_as_docker_writes_it() {
        let mut bytes = Vec::new();
        encode(Stream::Stdout, b"hi\n", &mut bytes);
        assert_eq!(bytes, b"\x01\x00\x00\x00\x00\x00\x00\x03hi\n");
    }

    #[test]
    fn an_unknown_stream_is_an_error() {
        let mut input: &[u8] = b"HTTP/1.1 400";
        assert_eq!(
            Decoder::new().next(&mut input),
            Err(FrameError::UnknownStream { number: b'H' })
        );
    }

    #[test]
    fn a_cut_frame_is_not_a_boundary() {
        let mut decoder = Decoder::new();
        let mut input: &[u8] = b"\x01\x00\x00\x00\x00\x00\x00\x03h";
        assert_eq!(
            decoder.next(&mut input),
            Ok(Some((Stream::Stdout, b"h".as_slice())))
        );
        assert_eq!(decoder.next(&mut input), Ok(None));
        assert!(!decoder.at_boundary());
    }
}
