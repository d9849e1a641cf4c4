//! Bodies of answers, and the bridges between async bodies and the engine's blocking readers and writers.
//!
//! Work that writes (export, save, load's progress) runs on a blocking thread and sends what it writes through a
//! bounded queue, so that a slow client slows the work and holds no memory. The status is decided by what comes first:
//! an error before the first byte is an answer of its own, an error after it cuts the stream off, so that the client
//! cannot take half an archive for a whole one.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, Stream, StreamExt};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::answer::Failure;
use crate::call::blocking;
use crate::link::Link;

/// Pieces a writer may be ahead of the client.
const QUEUE: usize = 4;

/// Bytes a writer gathers before they are sent.
const PIECE: usize = 64 * 1024;

/// Bytes of a refused body that are read: as many as Go's server reads.
const SKIMMED: u64 = 256 << 10;

/// Body of an answer.
pub(crate) struct Body(Content);

enum Content {
    Empty,
    Full(Bytes),
    Stream(BoxStream<'static, io::Result<Bytes>>),
    Endless(BoxStream<'static, io::Result<Bytes>>),
}

/// Ends `pieces` with an error once `end` completes, so that nobody takes what came for all there is.
fn cut_by(
    mut end: BoxFuture<'static, ()>,
    mut pieces: BoxStream<'static, io::Result<Bytes>>,
) -> impl Stream<Item = io::Result<Bytes>> {
    let mut cut = false;
    futures_util::stream::poll_fn(move |context| {
        if cut {
            return Poll::Ready(None);
        }
        if end.as_mut().poll(context).is_ready() {
            cut = true;
            return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())));
        }
        pieces.poll_next_unpin(context)
    })
}

impl Body {
    pub(crate) fn empty() -> Self {
        Self(Content::Empty)
    }

    pub(crate) fn full(bytes: impl Into<Bytes>) -> Self {
        Self(Content::Full(bytes.into()))
    }

    pub(crate) fn stream(pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Self {
        Self(Content::Stream(pieces.boxed()))
    }

    /// Returns a body of pieces that come as they happen, and that nobody expects to end by itself soon.
    pub(crate) fn endless(pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Self {
        Self(Content::Endless(pieces.boxed()))
    }

    /// Cuts a stream off when its link says so: none outlives its client, and an endless one not the server either.
    pub(crate) fn tied_to(self, link: Link) -> Self {
        match self.0 {
            Content::Stream(pieces) => {
                let end = async move { link.hung_up().await };
                Self(Content::Stream(cut_by(end.boxed(), pieces).boxed()))
            }
            Content::Endless(pieces) => {
                let end = async move { link.over().await };
                Self(Content::Endless(cut_by(end.boxed(), pieces).boxed()))
            }
            content => Self(content),
        }
    }

    #[cfg(test)]
    pub(crate) fn as_full(&self) -> Option<&Bytes> {
        match &self.0 {
            Content::Full(bytes) => Some(bytes),
            Content::Empty | Content::Stream(_) | Content::Endless(_) => None,
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match &mut self.0 {
            Content::Empty => Poll::Ready(None),
            Content::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.0 = Content::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Content::Stream(pieces) | Content::Endless(pieces) => pieces
                .poll_next_unpin(context)
                .map(|piece| piece.map(|piece| piece.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Content::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Content::Empty => SizeHint::with_exact(0),
            Content::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Stream(_) | Content::Endless(_) => SizeHint::default(),
        }
    }
}

/// The writing end of a body, for blocking work.
pub(crate) struct BodyWriter {
    queue: mpsc::Sender<Bytes>,
    gathered: Vec<u8>,
}

impl BodyWriter {
    /// Sends `bytes` at once, apart from what is gathered.
    pub(crate) fn send(&self, bytes: Bytes) -> io::Result<()> {
        self.queue
            .blocking_send(bytes)
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for BodyWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let gathered = std::mem::take(&mut self.gathered);
        self.send(gathered.into())
    }
}

/// How the error of work that has begun to answer reaches the client.
#[derive(Clone, Copy)]
pub(crate) enum LateError {
    /// As the last line of a stream of progress.
    Told,
    /// As a body cut off before its end.
    Cut,
}

/// Runs `work` on a blocking thread, and returns what it writes as a body.
pub(crate) async fn written(
    name: &'static str,
    late: LateError,
    work: impl FnOnce(&mut BodyWriter) -> Result<(), Failure> + Send + 'static,
) -> Result<Body, Failure> {
    let (queue, pieces) = mpsc::channel(QUEUE);
    let working = tokio::spawn(blocking(name, move || {
        let mut writer = BodyWriter {
            queue,
            gathered: Vec::with_capacity(PIECE),
        };
        work(&mut writer)?;
        // A client that is gone is not a failure of the work, which is done.
        if let Err(error) = writer.flush() {
            tracing::debug!(%error, work = name, "the client left before the end");
        }
        Ok(())
    }));
    begun(name, late, pieces, working, Ok).await
}

/// Lines of progress that work may be ahead of the client.
const LINES: usize = 64;

/// Runs asynchronous `work`, and returns the progress it tells as a body of lines. The work is given up
/// when the client leaves: the receiver of its progress is dropped then.
pub(crate) async fn told<W>(
    name: &'static str,
    work: impl FnOnce(mpsc::Sender<wharf_wire::Progress>) -> W,
) -> Result<Body, Failure>
where
    W: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let (sender, lines) = mpsc::channel(LINES);
    let working = tokio::spawn(work(sender));
    let line = |progress| crate::answer::line(&progress).map_err(io::Error::other);
    begun(name, LateError::Told, lines, working, line).await
}

/// Returns a body of pieces that work sends, once the first has come: an error before it is an answer
/// of its own.
async fn begun<P: Send + 'static>(
    name: &'static str,
    late: LateError,
    mut pieces: mpsc::Receiver<P>,
    working: tokio::task::JoinHandle<Result<(), Failure>>,
    encode: impl Fn(P) -> io::Result<Bytes> + Copy + Send + 'static,
) -> Result<Body, Failure> {
    let Some(first) = pieces.recv().await else {
        ended(working.await)?;
        return Ok(Body::empty());
    };
    let state = (Some(first), pieces, Some(working));
    Ok(Body::stream(futures_util::stream::unfold(
        state,
        move |(first, mut pieces, mut working)| async move {
            let next = match first {
                Some(first) => Some(first),
                None => pieces.recv().await,
            };
            if let Some(piece) = next {
                return Some((encode(piece), (None, pieces, working)));
            }
            let failure = ended(working.take()?.await).err()?;
            tracing::warn!(
                work = name,
                error = failure.message(),
                "failed after its answer had begun"
            );
            Some((last_piece(late, &failure), (None, pieces, None)))
        },
    )))
}

fn last_piece(late: LateError, failure: &Failure) -> io::Result<Bytes> {
    match late {
        LateError::Told => {
            let line = crate::answer::line(&wharf_wire::Progress::failure(failure.message()));
            line.map_err(io::Error::other)
        }
        LateError::Cut => Err(io::Error::other(failure.message().to_owned())),
    }
}

fn ended(result: Result<Result<(), Failure>, tokio::task::JoinError>) -> Result<(), Failure> {
    result.unwrap_or_else(|error| {
        Err(Failure::new(
            http::StatusCode::INTERNAL_SERVER_ERROR,
            format!("internal error: {error}"),
        ))
    })
}

/// A request's body as a blocking reader. To be used on a blocking thread.
pub(crate) struct BodyReader {
    body: Incoming,
    runtime: Handle,
    piece: Bytes,
}

impl BodyReader {
    /// Takes a body over; call it on the runtime that serves the connection.
    pub(crate) fn new(body: Incoming) -> Self {
        Self {
            body,
            runtime: Handle::current(),
            piece: Bytes::new(),
        }
    }
}

impl BodyReader {
    /// Reads a little further after a refusal: a client that is still sending when the connection ends would not
    /// see why.
    pub(crate) fn skim(&mut self) {
        let mut rest = self.take(SKIMMED);
        if let Err(error) = io::copy(&mut rest, &mut io::sink()) {
            tracing::debug!(%error, "the client left while it was refused");
        }
    }
}

impl Read for BodyReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.runtime.block_on(self.body.frame()) {
                None => return Ok(0),
                // Trailers are of no interest.
                Some(Ok(frame)) => self.piece = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, error));
                }
            }
        }
        let length = out.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut out[..length]);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    async fn collected(body: Body) -> Result<Vec<u8>, String> {
        Ok(body
            .collect()
            .await
            .map_err(|error| error.to_string())?
            .to_bytes()
            .to_vec())
    }

    #[tokio::test]
    async fn what_is_written_is_the_body() {
        let body = written("test", LateError::Cut, |writer| {
            for number in 0..100_000_u32 {
                writer
                    .write_all(&number.to_be_bytes())
                    .map_err(|error| Failure::invalid(error.to_string()))?;
            }
            Ok(())
        });
        let bytes = collected(body.await.expect("the work succeeds"))
            .await
            .expect("a whole body");
        let expected: Vec<u8> = (0..100_000_u32).flat_map(u32::to_be_bytes).collect();
        assert_eq!(bytes, expected);
    }

    #[tokio::test]
    async fn an_error_before_the_first_byte_is_an_answer_of_its_own() {
        let failed = written("test", LateError::Cut, |_| {
            Err(Failure::new(StatusCode::NOT_FOUND, "no such image"))
        });
        let failure = failed.await.err().expect("the work fails");
        assert_eq!(
            (failure.status(), failure.message()),
            (StatusCode::NOT_FOUND, "no such image")
        );
    }

    #[tokio::test]
    async fn an_error_after_the_first_byte_cuts_the_body_off() {
        let body = written("test", LateError::Cut, |writer| {
            writer
                .send(Bytes::from_static(b"half"))
                .map_err(|error| Failure::invalid(error.to_string()))?;
            Err(Failure::invalid("disk full"))
        });
        assert_eq!(
            collected(body.await.expect("it begins well")).await,
            Err("disk full".to_owned())
        );
    }

    #[tokio::test]
    async fn an_error_after_progress_is_its_last_line() {
        let body = written("test", LateError::Told, |writer| {
            writer
                .send(Bytes::from_static(b"{}\n"))
                .map_err(|error| Failure::invalid(error.to_string()))?;
            Err(Failure::invalid("disk full"))
        });
        let bytes = collected(body.await.expect("it begins well"))
            .await
            .expect("a whole body");
        let expected =
            "{}\n{\"errorDetail\":{\"message\":\"disk full\"},\"error\":\"disk full\"}\n";
        assert_eq!(String::from_utf8_lossy(&bytes), expected);
    }

    #[tokio::test]
    async fn work_whose_client_left_ends() {
        let (told, ended) = tokio::sync::oneshot::channel();
        let body = written("test", LateError::Cut, move |writer| {
            while writer.write_all(&[0; 4096]).is_ok() {}
            told.send(()).map_err(|()| Failure::invalid("nobody waits"))
        });
        drop(body.await.expect("it begins well"));
        ended.await.expect("the work has ended");
    }
}
