//! Attaching over a WebSocket (RFC 6455), for programs that have nothing else, in browsers mostly.
//!
//! Unlike other connections taken over, output is not framed by stream: both outputs come as messages in their order,
//! and messages of either kind are input. Nothing is held: pieces of a message go on as they come, whatever length it
//! claims. One answer to a ping may wait to be sent; the next takes its place.

mod frame;
mod handshake;

use std::io;
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use wharf_engine::Attachment;
use wharf_wire::stdcopy;

use crate::answer::{self, Answer, Failure};
use crate::link::Link;
use crate::version::ApiVersion;
use frame::{Decoder, Kind, Part};

pub(crate) use handshake::Handshake;

/// Bytes read at a time.
const PIECE: usize = 16 * 1024;

/// How long a client may take to answer the end of a conversation.
const CLOSE_TIME: Duration = Duration::from_secs(2);

/// Output was text before this version.
const BINARY: ApiVersion = ApiVersion::new(1, 28);

/// Why a conversation ends (RFC 6455, section 7.4.1).
const NORMAL: u16 = 1000;
const PROTOCOL_ERROR: u16 = 1002;

/// Answers a request whose container is attached.
pub(crate) fn answer(
    mut request: Request<Incoming>,
    handshake: &Handshake,
    version: ApiVersion,
    attachment: Attachment,
) -> Result<Answer, Failure> {
    let link = request.extensions().get::<Link>().cloned();
    let link = link.ok_or_else(|| Failure::invalid("there is no connection to take over"))?;
    let kind = if version >= BINARY {
        Kind::Binary
    } else {
        Kind::Text
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let watched = link.watched();
    link.set_afterwards(Box::pin(async move {
        let upgraded = upgrade.await.map_err(io::Error::other)?;
        converse(TokioIo::new(upgraded), attachment, kind, watched.over()).await
    }));
    let mut answer = answer::empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert("sec-websocket-accept", handshake.accept());
    Ok(answer)
}

/// What the reading side has the writing side say.
enum Reply {
    Pong(Vec<u8>),
    Close(u16),
}

/// How the client's side ended.
enum Ended {
    /// With a message, to which there is a reply under way.
    Closed,
    /// Without.
    Gone,
}

async fn converse<C>(
    client: C,
    attachment: Attachment,
    kind: Kind,
    over: impl Future<Output = ()>,
) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    let (from_client, to_client) = tokio::io::split(client);
    let (from_process, to_process) = attachment.socket.into_split();
    let (replies, replying) = mpsc::channel(1);
    let input = hear(from_client, to_process, replies);
    let output = say(from_process, to_client, replying, attachment.tty, kind);
    tokio::pin!(input, output, over);
    let mut hearing = true;
    loop {
        tokio::select! {
            biased;
            result = &mut output => {
                result?;
                break;
            }
            () = &mut over => return Ok(()),
            ended = &mut input, if hearing => match ended {
                Ok(Ended::Closed) => hearing = false,
                Ok(Ended::Gone) => return Ok(()),
                Err(error) => return Err(error),
            },
        }
    }
    if hearing {
        // A connection closed with something unread is torn down, and what was said last may be lost.
        drop(tokio::time::timeout(CLOSE_TIME, input).await);
    }
    Ok(())
}

/// Reads the client's messages and gives them to the process.
async fn hear(
    mut client: impl AsyncRead + Unpin,
    mut process: impl AsyncWrite + Unpin,
    replies: mpsc::Sender<Reply>,
) -> io::Result<Ended> {
    let mut decoder = Decoder::default();
    let mut buffer = vec![0; PIECE];
    let mut taken = true;
    loop {
        let length = client.read(&mut buffer).await?;
        if length == 0 {
            return Ok(Ended::Gone);
        }
        let mut rest = &mut buffer[..length];
        loop {
            let (part, left) = match decoder.next(rest) {
                Ok(decoded) => decoded,
                Err(error) => {
                    tracing::debug!(%error, "a client does not keep to the protocol");
                    return close(&replies, PROTOCOL_ERROR).await;
                }
            };
            rest = left;
            match part {
                None => break,
                // A process that takes no more input may have more to say.
                Some(Part::Data(bytes)) => taken = taken && process.write_all(bytes).await.is_ok(),
                Some(Part::Ping(bytes)) => drop(replies.try_send(Reply::Pong(bytes))),
                Some(Part::Close) => return close(&replies, NORMAL).await,
            }
        }
    }
}

async fn close(replies: &mpsc::Sender<Reply>, code: u16) -> io::Result<Ended> {
    let sent = replies.send(Reply::Close(code)).await;
    Ok(if sent.is_ok() {
        Ended::Closed
    } else {
        Ended::Gone
    })
}

/// Sends the process's output as messages, and the replies between them, until one of the sides has ended.
async fn say(
    mut process: impl AsyncRead + Unpin,
    mut client: impl AsyncWrite + Unpin,
    mut replies: mpsc::Receiver<Reply>,
    tty: bool,
    kind: Kind,
) -> io::Result<()> {
    let mut frames = stdcopy::Decoder::new();
    let mut buffer = vec![0; PIECE];
    let mut out = Vec::with_capacity(PIECE + frame::MAX_HEADER);
    let code = loop {
        out.clear();
        tokio::select! {
            biased;
            Some(reply) = replies.recv() => match reply {
                Reply::Pong(bytes) => frame::encode(Kind::Pong, &bytes, &mut out),
                Reply::Close(code) => break code,
            },
            length = process.read(&mut buffer) => match length? {
                0 => break NORMAL,
                length if tty => frame::encode(kind, &buffer[..length], &mut out),
                length => {
                    let mut rest = &buffer[..length];
                    while let Some((_, piece)) = frames.next(&mut rest).map_err(io::Error::other)? {
                        frame::encode(kind, piece, &mut out);
                    }
                }
            },
        }
        client.write_all(&out).await?;
    };
    frame::encode(Kind::Close, &code.to_be_bytes(), &mut out);
    client.write_all(&out).await?;
    client.shutdown().await
}

#[cfg(test)]
mod tests;
