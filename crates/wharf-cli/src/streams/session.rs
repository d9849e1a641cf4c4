//! Being attached: the user's keys go to a process, what it writes comes back.
//!
//! A process with a terminal has one stream, which is passed on as it is; one without has two, which come
//! multiplexed. The session ends when the engine closes the connection, which it does when the process has ended and all
//! it wrote is sent; or when the user leaves by the escape keys.

use std::io;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use wharf_wire::stdcopy::{Decoder, FrameError, Stream};

use super::stdio::{Input, Output};
use crate::terminal::Modes;
use crate::terminal::escape::Escape;

/// Bytes moved at once.
const PIECE: usize = 64 << 10;

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The engine closed it.
    Closed,
    /// The user left.
    Detached,
}

/// Why a session broke.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// The engine cannot be heard any more.
    #[error("the connection to the engine broke")]
    Connection(#[source] io::Error),
    /// The user cannot be reached any more.
    #[error("write to standard output")]
    Output(#[source] io::Error),
    /// Standard input failed.
    #[error("read standard input")]
    Input(#[source] io::Error),
    /// The engine sends no streams.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl SessionError {
    /// Whether it is only that nobody reads what the process writes.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// What a session connects.
pub(crate) struct Session {
    /// Whether the process has a terminal.
    pub(crate) terminal: bool,
    /// Whether standard input goes to it.
    pub(crate) input: bool,
    /// The keys to leave by; only looked for in what is typed on a terminal.
    pub(crate) escape: Option<Escape>,
}

impl Session {
    /// Copies both ways until the session ends. The user's terminal is in raw mode meanwhile when the process has one.
    pub(crate) async fn run(self, connection: TokioIo<Upgraded>) -> Result<End, SessionError> {
        let raw = (self.terminal && self.input && crate::terminal::input_is_terminal())
            .then(|| Modes::raw(rustix::stdio::stdin()))
            .transpose()
            .map_err(SessionError::Input)?;
        let (reader, writer) = split(connection);
        let end = if self.input {
            let input = Input::new().map_err(SessionError::Input)?;
            let escape = self.escape.filter(|_| raw.is_some());
            tokio::select! {
                biased;
                outcome = receive(reader, self.terminal) => outcome.map(|()| End::Closed),
                outcome = send(writer, input, escape) => outcome.map(|()| End::Detached),
            }
        } else {
            let outcome = receive(reader, self.terminal).await;
            drop(writer);
            outcome.map(|()| End::Closed)
        };
        drop(raw);
        end
    }
}

/// Passes on what the process writes, to the end.
async fn receive(reader: impl AsyncRead + Unpin, terminal: bool) -> Result<(), SessionError> {
    let mut demultiplexer = Demultiplexer::new(terminal);
    let mut reader = reader;
    let mut buffer = vec![0; PIECE];
    loop {
        let length = match reader.read(&mut buffer).await {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            // An engine that ends while we are attached resets the connection.
            Err(error) => return Err(SessionError::Connection(error)),
        };
        demultiplexer.pass_on(&buffer[..length]).await?;
    }
}

/// Sends what is typed. Returns when the user leaves; at the end of the input it tells the process so, and
/// then waits to be dropped.
async fn send(
    mut writer: impl AsyncWrite + Unpin,
    mut input: Input,
    mut escape: Option<Escape>,
) -> Result<(), SessionError> {
    let mut buffer = vec![0; PIECE];
    loop {
        let length = input.read(&mut buffer).await.map_err(SessionError::Input)?;
        let typed = &buffer[..length];
        let written = match &mut escape {
            _ if length == 0 => writer.shutdown().await,
            None => writer.write_all(typed).await,
            Some(escape) => {
                let filtered = escape.filter(typed);
                let written = writer.write_all(&filtered.pass).await;
                if filtered.escaped {
                    return Ok(());
                }
                written
            }
        };
        // A process that does not read its input any more may still write: its end is told by the other side.
        if length == 0 || written.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Sorts what an engine sends into standard output and standard error.
pub(crate) struct Demultiplexer {
    stdout: Output,
    stderr: Output,
    /// `None`: there is one stream, as it is.
    decoder: Option<Decoder>,
    /// What goes to one stream, of many frames.
    gathered: Vec<u8>,
}

impl Demultiplexer {
    /// Returns one for a process with or without a terminal.
    pub(crate) fn new(terminal: bool) -> Self {
        let decoder = (!terminal).then(Decoder::new);
        Self {
            stdout: Output::stdout(),
            stderr: Output::stderr(),
            decoder,
            gathered: Vec::new(),
        }
    }

    /// Passes a piece on.
    pub(crate) async fn pass_on(&mut self, piece: &[u8]) -> Result<(), SessionError> {
        let Self {
            stdout,
            stderr,
            decoder,
            gathered,
        } = self;
        let Some(decoder) = decoder else {
            return stdout.write(piece).await.map_err(SessionError::Output);
        };
        let mut rest = piece;
        // Lines of a log are a frame each: they are written together.
        let mut to_stderr = false;
        loop {
            let next = decoder.next(&mut rest);
            let payload = next.as_ref().is_ok_and(Option::is_some);
            let other = matches!(next, Ok(Some((Stream::Stderr | Stream::System, _))));
            if !payload || other != to_stderr {
                let output = if to_stderr {
                    &mut *stderr
                } else {
                    &mut *stdout
                };
                let written = output.write(gathered).await;
                gathered.clear();
                written.map_err(SessionError::Output)?;
                to_stderr = other;
            }
            match next? {
                Some((_, payload)) => gathered.extend_from_slice(payload),
                None => return Ok(()),
            }
        }
    }
}
