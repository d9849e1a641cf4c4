//! Bodies, and the bridges between them and files.
//!
//! Files are read and written on threads that may wait, a piece at a time: between two pieces no thread
//! is held, so that slow clients, however many, hold up nobody else.

use std::fs::File;
use std::io::{self, Read as _};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::task::JoinHandle;

/// Bytes of a file read at a time.
const PIECE: usize = 256 * 1024;

/// Bytes of a body that are written to a file at a time. As many again may arrive meanwhile: the bound
/// of an upload's memory is twice this, and the connection's own buffer.
pub(crate) const BATCH: usize = 256 * 1024;

/// Longest time a body may stand still: whoever holds an upload must go on with it, or let go.
const STALL: Duration = Duration::from_secs(60);

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

/// `length` bytes of a file from where it stands. While one piece is sent the next is read.
pub(crate) fn file(file: File, length: u64) -> Body {
    let first = (length > 0).then(|| read(file, length));
    let pieces = stream::try_unfold((first, length), |(next, rest)| async move {
        let Some(next) = next else {
            return Ok(None);
        };
        let (file, piece) = next.await.map_err(io::Error::other)??;
        let rest = rest.saturating_sub(piece.len() as u64);
        let next = (rest > 0).then(|| read(file, rest));
        Ok(Some((Frame::data(piece), (next, rest))))
    });
    StreamBody::new(pieces).boxed_unsync()
}

fn read(file: File, rest: u64) -> JoinHandle<io::Result<(File, Bytes)>> {
    tokio::task::spawn_blocking(move || piece(file, rest))
}

fn piece(mut file: File, rest: u64) -> io::Result<(File, Bytes)> {
    let length = usize::try_from(rest).unwrap_or(PIECE).min(PIECE);
    let mut piece = Vec::with_capacity(length);
    file.by_ref().take(length as u64).read_to_end(&mut piece)?;
    if piece.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((file, piece.into()))
}

/// Returns the next bytes of a request's body; `None` at its end.
pub(crate) async fn next(body: &mut Incoming) -> io::Result<Option<Bytes>> {
    loop {
        let Ok(frame) = tokio::time::timeout(STALL, body.frame()).await else {
            return Err(io::ErrorKind::TimedOut.into());
        };
        match frame.transpose() {
            Ok(None) => return Ok(None),
            Ok(Some(frame)) => {
                // Trailers say nothing here.
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
            Err(error) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, error)),
        }
    }
}
