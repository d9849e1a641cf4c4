//! Connections taken over: the bytes of a process instead of HTTP.
//!
//! There are three ways, and in all of them the head of the answer goes out before the first byte of the process, and
//! the end of the client's sending side is the end of the process's input only.
//!
//! - The request is the first of its connection ([`serve`]): the socket itself is handed to the shim, and the engine
//!   is out of it. This is how Docker's clients come.
//! - The same, but the client has sent input along: it cannot be put back into the socket, so bytes are copied.
//! - The request came later on a connection that hyper serves ([`answer`]): copied after `101`, if the request has
//!   `Upgrade`. Without, only HTTP is left: the process's output is the body of the answer and its input the body of
//!   the request.
//!
//! A client is attached before it is told so: whoever has read `101` and then starts the container misses nothing.

use std::io;

use bytes::BytesMut;
use futures_util::future::BoxFuture;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue, UPGRADE};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use wharf_engine::{Attachment, Engine};
use wharf_wire::stdcopy::{self, Stream};
use wharf_wire::{AttachQuery, ExecStartBody};

use crate::answer::{self, Answer, common_headers};
use crate::body::Body;
use crate::call;
use crate::client::Client;
use crate::link::Link;
use crate::opening::Takeover;
use crate::version::ApiVersion;

/// Bytes copied at a time.
const PIECE: usize = 64 * 1024;

/// Patterns of the two routes that take connections over.
pub(crate) const ATTACH: &str = "/containers/{id}/attach";
pub(crate) const EXEC_START: &str = "/exec/{id}/start";

/// What a connection is taken over for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Attach,
    ExecStart,
}

impl Kind {
    /// Returns what the route of a pattern takes a connection over for, if it does.
    pub(crate) fn of(pattern: &str) -> Option<Self> {
        match pattern {
            ATTACH => Some(Self::Attach),
            EXEC_START => Some(Self::ExecStart),
            _ => None,
        }
    }
}

/// What is at the other end of a connection that is taken over.
pub(crate) enum Process {
    /// The process's streams.
    Attached(UnixStream),
    /// Nothing but the reason why there is no process, in the form of its output.
    Failed(Vec<u8>),
}

impl Process {
    /// Returns the end of an exec that could not be started. The client has been told by now that it would be, and
    /// Docker's clients expect the reason here.
    pub(crate) fn failed(error: &wharf_engine::Error, tty: bool) -> Self {
        let text = format!("{error}\r\n");
        let mut bytes = Vec::new();
        if tty {
            bytes.extend_from_slice(text.as_bytes());
        } else {
            stdcopy::encode(Stream::Stdout, text.as_bytes(), &mut bytes);
        }
        Self::Failed(bytes)
    }
}

/// Content type of a process's stream: framed output has one of its own from 1.42 on.
pub(crate) fn content_type(tty: bool, version: ApiVersion) -> HeaderValue {
    HeaderValue::from_static(if !tty && version >= ApiVersion::new(1, 42) {
        "application/vnd.docker.multiplexed-stream"
    } else {
        "application/vnd.docker.raw-stream"
    })
}

/// Head of the answer, written by hand where hyper is not asked.
fn head(upgrade: bool, tty: bool, version: ApiVersion) -> Vec<u8> {
    let mut head = Vec::with_capacity(256);
    if upgrade {
        head.extend_from_slice(b"HTTP/1.1 101 UPGRADED\r\nContent-Type: ");
        head.extend_from_slice(content_type(tty, version).as_bytes());
        head.extend_from_slice(b"\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n");
    } else {
        // Clients that do not ask for 101 are older than the other type.
        head.extend_from_slice(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n",
        );
    }
    for (name, value) in common_headers() {
        title_case(name.as_str(), &mut head);
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// Writes a header's name in Docker's case, as hyper is told to write it.
fn title_case(name: &str, out: &mut Vec<u8>) {
    let mut first = true;
    for byte in name.bytes() {
        out.push(if first {
            byte.to_ascii_uppercase()
        } else {
            byte
        });
        first = byte == b'-';
    }
}

/// How a takeover went.
pub(crate) enum Served {
    /// The connection is not ours any more, or has ended.
    Done,
    /// The request is refused, and nothing is written yet: hyper, given the connection from its first byte, will find
    /// the same reason and has the words for it.
    GivenBack(Client),
}

/// Answers a request that takes its connection over.
pub(crate) async fn serve(
    engine: &Engine,
    client: Client,
    link: &Link,
    takeover: Takeover,
) -> io::Result<Served> {
    let read = takeover.read.clone();
    let given_back = client.clone();
    let taken = match takeover.kind {
        Kind::Attach => attach(engine, client, link, &takeover).await?,
        Kind::ExecStart => exec_start(engine, client, link, &takeover).await?,
    };
    Ok(if taken {
        Served::Done
    } else {
        Served::GivenBack(given_back.with_unread(read))
    })
}

async fn attach(
    engine: &Engine,
    mut client: Client,
    link: &Link,
    takeover: &Takeover,
) -> io::Result<bool> {
    let name = takeover.params.name();
    let query = AttachQuery::read(&takeover.query);
    let (upgrade, version) = (takeover.upgrade, takeover.version);
    if takeover.early.is_empty() {
        let socket = client.duplicate()?;
        let attached = engine
            .attach_socket(name, &query, socket, move |tty| head(upgrade, tty, version))
            .await;
        return Ok(attached.is_ok());
    }
    let Ok(Attachment { tty, mut socket }) = engine.attach(name, &query).await else {
        return Ok(false);
    };
    client.write_all(&head(upgrade, tty, version)).await?;
    socket.write_all(&takeover.early).await?;
    join(client, Process::Attached(socket), link.over()).await?;
    Ok(true)
}

async fn exec_start(
    engine: &Engine,
    mut client: Client,
    link: &Link,
    takeover: &Takeover,
) -> io::Result<bool> {
    let id = takeover.params.name();
    let Ok(body) = call::document::<ExecStartBody>(&takeover.headers, &takeover.body) else {
        return Ok(false);
    };
    let Ok(tty) = engine.exec_tty(id) else {
        return Ok(false);
    };
    if body.detach {
        return Ok(false);
    }
    client
        .write_all(&head(takeover.upgrade, tty, takeover.version))
        .await?;
    client.caught_up().await;
    let process = if takeover.early.is_empty() {
        match engine
            .exec_start_socket(id, &body, client.duplicate()?)
            .await
        {
            Ok(()) => return Ok(true),
            Err(error) => Process::failed(&error, tty),
        }
    } else {
        match engine.exec_start(id, &body).await {
            Ok(Some(Attachment { mut socket, .. })) => {
                socket.write_all(&takeover.early).await?;
                Process::Attached(socket)
            }
            Ok(None) => Process::Failed(Vec::new()),
            Err(error) => Process::failed(&error, tty),
        }
    };
    join(client, process, link.over()).await?;
    Ok(true)
}

/// Copies both ways until the process has said all it has to say, or nobody is there to hear it.
pub(crate) async fn join<C>(
    client: C,
    process: Process,
    over: impl Future<Output = ()>,
) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    let (from_client, mut to_client) = tokio::io::split(client);
    let socket = match process {
        Process::Attached(socket) => socket,
        Process::Failed(reason) => {
            to_client.write_all(&reason).await?;
            return to_client.shutdown().await;
        }
    };
    let (from_process, mut to_process) = socket.into_split();
    let input = async {
        tokio::io::copy_buf(
            &mut BufReader::with_capacity(PIECE, from_client),
            &mut to_process,
        )
        .await?;
        to_process.shutdown().await
    };
    let output = async {
        tokio::io::copy_buf(
            &mut BufReader::with_capacity(PIECE, from_process),
            &mut to_client,
        )
        .await?;
        to_client.shutdown().await
    };
    tokio::pin!(input, output, over);
    let mut input_open = true;
    loop {
        tokio::select! {
            biased;
            result = &mut output => return result,
            () = &mut over => return Ok(()),
            result = &mut input, if input_open => {
                // A process that takes no more input, or a client that sends no more, may have more to say or to hear.
                if let Err(error) = result {
                    tracing::debug!(%error, "input ended early");
                }
                input_open = false;
            }
        }
    }
}

/// Answers a request to take a connection over that hyper has read.
pub(crate) fn answer(
    mut request: Request<Incoming>,
    tty: bool,
    version: ApiVersion,
    process: Process,
) -> Answer {
    let link = request.extensions().get::<Link>().cloned();
    let Some(link) = link.filter(|_| request.headers().contains_key(UPGRADE)) else {
        return answer::typed(
            StatusCode::OK,
            content_type(tty, version),
            as_body(request, process),
        );
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let watched = link.watched();
    link.set_afterwards(Box::pin(async move {
        let upgraded = upgrade.await.map_err(io::Error::other)?;
        watched.caught_up().await;
        join(TokioIo::new(upgraded), process, watched.over()).await
    }));
    let mut answer = answer::empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, content_type(tty, version));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("tcp"));
    answer
}

/// Returns a process's output as a body, and gives it the request's body as input meanwhile.
fn as_body(request: Request<Incoming>, process: Process) -> Body {
    let socket = match process {
        Process::Attached(socket) => socket,
        Process::Failed(reason) => return Body::full(reason),
    };
    let (mut from_process, mut to_process) = socket.into_split();
    let mut body = request.into_body();
    let mut input: Option<BoxFuture<'static, io::Result<()>>> = Some(Box::pin(async move {
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame.map_err(io::Error::other)?.into_data() {
                to_process.write_all(&data).await?;
            }
        }
        to_process.shutdown().await
    }));
    Body::endless(futures_util::stream::poll_fn(move |context| {
        if let Some(feeding) = &mut input
            && let std::task::Poll::Ready(result) = feeding.as_mut().poll(context)
        {
            if let Err(error) = result {
                tracing::debug!(%error, "input ended early");
            }
            input = None;
        }
        let mut piece = BytesMut::with_capacity(PIECE);
        let reading = std::pin::pin!(from_process.read_buf(&mut piece));
        reading.poll(context).map(|result| match result {
            Ok(0) => None,
            Ok(_) => Some(Ok(piece.freeze())),
            Err(error) => Some(Err(error)),
        })
    }))
}

#[cfg(test)]
mod tests;
