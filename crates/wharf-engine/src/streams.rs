//! What operations return that goes on: attached processes, logs, events.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream::{BoxStream, Stream, StreamExt as _};
use tokio::net::UnixStream;
use wharf_wire as wire;

/// A connection to a process's streams.
///
/// What is read is the process's output, framed as [`wire::stdcopy`] says unless `tty`; what is
/// written is its input, ended by shutting down the write side. The end of the output is the end of
/// the process, or of the connection to it.
#[derive(Debug)]
pub struct Attachment {
    /// Whether the process has a terminal: its output is raw.
    pub tty: bool,
    /// The connection. To hand over the client's own instead, see
    /// [`crate::Engine::attach_socket`].
    pub socket: UnixStream,
}

/// Lines of a log, framed as [`wire::stdcopy`] says unless the container has a terminal.
pub struct LogStream {
    /// Whether the container has a terminal: the stream is raw.
    pub tty: bool,
    pub(crate) chunks: BoxStream<'static, io::Result<Bytes>>,
}

impl std::fmt::Debug for LogStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogStream")
            .field("tty", &self.tty)
            .finish_non_exhaustive()
    }
}

impl Stream for LogStream {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.chunks.poll_next_unpin(cx)
    }
}

/// What a container uses, a document a second; it ends with the container.
pub struct StatsStream(pub(crate) BoxStream<'static, Arc<wire::ContainerStats>>);

impl std::fmt::Debug for StatsStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StatsStream")
    }
}

impl Stream for StatsStream {
    type Item = Arc<wire::ContainerStats>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

/// Events, those asked for of the past first; it ends at `until`, or when its reader lags behind by
/// more than the engine keeps.
pub struct EventStream(pub(crate) BoxStream<'static, wire::Event>);

impl std::fmt::Debug for EventStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EventStream")
    }
}

impl Stream for EventStream {
    type Item = wire::Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}
