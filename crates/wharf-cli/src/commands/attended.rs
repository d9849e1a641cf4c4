//! A session with the user's signals and terminal around it.

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rustix::process::Signal;
use wharf_wire::ResizeQuery;
use wharf_wire::query::{QueryWriter, encode};

use super::run::outcome;
use crate::client::{Client, ClientError, Reply};
use crate::failure::{Failure, chain};
use crate::streams::session::{End, Session};
use crate::streams::signals::{self, Resizes, Signals};
use crate::terminal::escape::{DEFAULT, Escape};

/// What a session is with.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target<'a> {
    Container(&'a str),
    Exec(&'a str),
}

impl Target<'_> {
    fn path(self, action: &str) -> String {
        match self {
            Self::Container(id) => format!("/containers/{}/{action}", encode(id)),
            Self::Exec(id) => format!("/exec/{}/{action}", encode(id)),
        }
    }
}

/// What becomes of the user's signals.
pub(super) enum Attention {
    /// They go on to the container.
    PassOn(Signals),
    /// They end the client.
    End(Signals),
}

impl Attention {
    /// Catches signals from here on.
    pub(super) fn new(pass_on: bool) -> Result<Self, Failure> {
        let caught = if pass_on {
            Signals::to_pass_on().map(Self::PassOn)
        } else {
            Signals::ending().map(Self::End)
        };
        caught.map_err(|error| Failure::message(format!("cannot catch signals: {error}")))
    }

    /// The next signal, whatever becomes of it.
    pub(super) async fn next(&mut self) -> Signal {
        match self {
            Self::PassOn(signals) | Self::End(signals) => signals.next().await,
        }
    }
}

/// Reads the keys to leave by; `None` stands for the default ones.
pub(super) fn escape(keys: Option<&str>) -> Result<Escape, Failure> {
    Escape::parse(keys.filter(|keys| !keys.is_empty()).unwrap_or(DEFAULT))
        .map_err(|error| Failure::message(format!("invalid detach keys provided: {error}")))
}

/// Runs a session to its end; meanwhile signals and sizes of the terminal go where they belong.
pub(super) async fn attend(
    client: &Client,
    target: Target<'_>,
    session: Session,
    connection: TokioIo<Upgraded>,
    attention: &mut Attention,
) -> Result<End, Failure> {
    let follow_size = session.terminal;
    let ended = tokio::select! {
        biased;
        ended = session.run(connection) => ended,
        signal = heed(client, target, attention) => return Err(Failure::Silent(code(signal))),
        failure = resizes(client, target, follow_size) => return Err(failure),
    };
    ended.map_err(|error| {
        if error.is_broken_pipe() {
            Failure::Silent(141)
        } else {
            Failure::message(chain(&error))
        }
    })
}

/// Passes signals on, and returns the one that ends the client: any when none are passed on, else the first that
/// the container does not take because it has ended.
async fn heed(client: &Client, target: Target<'_>, attention: &mut Attention) -> Signal {
    loop {
        let signal = attention.next().await;
        if matches!(attention, Attention::End(_)) || !pass_on(client, target, signal).await {
            return signal;
        }
    }
}

/// Passes a signal on; false when there is nobody who takes it.
pub(super) async fn pass_on(client: &Client, target: Target<'_>, signal: Signal) -> bool {
    let query = QueryWriter::new()
        .with("signal", &signals::name(signal))
        .finish();
    match tell(client, &format!("{}{query}", target.path("kill"))).await {
        Ok(()) => true,
        Err(error) => {
            if error.status().is_none() {
                crate::printer::say(&format!("{}\n", chain(&error)));
            }
            false
        }
    }
}

/// Waits for the container's exit code, which comes after its streams have ended.
pub(super) async fn last_word(
    client: &Client,
    target: Target<'_>,
    waiting: Reply<'_>,
    attention: &mut Attention,
) -> Result<u8, Failure> {
    tokio::select! {
        biased;
        status = outcome(waiting) => status,
        signal = heed(client, target, attention) => Ok(code(signal)),
    }
}

/// The exit code of a program that a signal ended.
pub(super) fn code(signal: Signal) -> u8 {
    u8::try_from(128 + signal.as_raw()).unwrap_or(128)
}

/// Tells the engine every new size, for ever.
async fn resizes(client: &Client, target: Target<'_>, follow: bool) -> Failure {
    if !follow {
        return std::future::pending().await;
    }
    let mut changes = match Resizes::new() {
        Ok(changes) => changes,
        Err(error) => {
            return Failure::message(format!("cannot follow the terminal's size: {error}"));
        }
    };
    loop {
        let (height, width) = changes.next().await;
        resize(client, target, height, width).await;
    }
}

/// Tells the engine the terminal's size. A process that has ended meanwhile has none.
pub(super) async fn resize(client: &Client, target: Target<'_>, height: u16, width: u16) {
    let query = ResizeQuery { height, width }.write();
    if let Err(error) = tell(client, &format!("{}{query}", target.path("resize"))).await
        && error.status().is_none()
    {
        crate::printer::say(&format!("{}\r\n", chain(&error)));
    }
}

async fn tell(client: &Client, path: &str) -> Result<(), ClientError> {
    client.post(path).await?.bytes().await?;
    Ok(())
}
