//! Bodies, and the bridges between them and blocking reads and writes of files.

use std::fs::File;
use std::io::{self, Read};

use bytes::{Buf as _, Bytes};
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::sync::mpsc;

/// Bytes of a file read at a time.
const PIECE: usize = 256 * 1024;

/// Pieces that may wait between a thread and the network; with [`PIECE`] the bound of a request's memory.
const QUEUE: usize = 2;

/// The body of an answer.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

pub(crate) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// `length` bytes of a file from where it stands.
pub(crate) fn file(file: File, length: u64) -> Body {
    let (queue, pieces) = mpsc::channel(QUEUE);
    tokio::task::spawn_blocking(move || {
        let mut rest = file.take(length);
        loop {
            let mut piece = Vec::with_capacity(PIECE);
            let read = rest.by_ref().take(PIECE as u64).read_to_end(&mut piece);
            let (last, piece) = match read {
                Ok(0) if rest.limit() == 0 => return,
                Ok(0) => (true, Err(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => (false, Ok(Bytes::from(piece))),
                Err(error) => (true, Err(error)),
            };
            // A client that left is nobody's failure.
            if queue.blocking_send(piece).is_err() || last {
                return;
            }
        }
    });
    let frames = stream::unfold(pieces, |mut pieces| async {
        let piece: io::Result<Bytes> = pieces.recv().await?;
        Some((piece.map(Frame::data), pieces))
    });
    StreamBody::new(frames).boxed_unsync()
}

/// A request's body as a blocking reader, for a thread of its own.
pub(crate) struct BodyReader {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl BodyReader {
    pub(crate) fn new(mut body: Incoming) -> Self {
        let (queue, pieces) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            while let Some(frame) = body.frame().await {
                let piece = match frame {
                    Ok(frame) => frame.into_data().map_or_else(|_| Ok(Bytes::new()), Ok),
                    Err(error) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, error)),
                };
                // The reader gave up.
                if queue.send(piece).await.is_err() {
                    return;
                }
            }
        });
        Self {
            pieces,
            piece: Bytes::new(),
        }
    }
}

impl Read for BodyReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let length = out.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut out[..length]);
        Ok(length)
    }
}
