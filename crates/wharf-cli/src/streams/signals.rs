//! Signals the client gets while it is attached.
//!
//! They go on to the process, which then decides when it and so the client ends. Nothing that would end the
//! client by default is left to the default, so that the terminal is always restored.

use std::io;

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Signals that are passed on: all that have a meaning from outside. Not those a program gets for its own mistakes,
/// nor SIGCHLD, SIGPIPE, SIGURG and SIGWINCH, which speak of the client's own affairs.
const PASSED_ON: [Signal; 15] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::ABORT,
    Signal::USR1,
    Signal::USR2,
    Signal::ALARM,
    Signal::TERM,
    Signal::CONT,
    Signal::TSTP,
    Signal::TTIN,
    Signal::TTOU,
    Signal::XCPU,
    Signal::VTALARM,
    Signal::POWER,
];

/// Signals that end a client that passes none on.
const ENDING: [Signal; 4] = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];

/// Caught signals, in the order they come.
pub(crate) struct Signals(mpsc::Receiver<Signal>);

impl Signals {
    /// Catches every signal that is passed on to a process.
    pub(crate) fn to_pass_on() -> io::Result<Self> {
        Self::catch(&PASSED_ON)
    }

    /// Catches the signals that end the client.
    pub(crate) fn ending() -> io::Result<Self> {
        Self::catch(&ENDING)
    }

    fn catch(signals: &[Signal]) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel(signals.len());
        for &kind in signals {
            let mut caught = signal(SignalKind::from_raw(kind.as_raw()))?;
            let sender = sender.clone();
            // Ends with the runtime, or when nobody asks for signals any more.
            tokio::spawn(async move {
                while caught.recv().await.is_some() {
                    if sender.send(kind).await.is_err() {
                        break;
                    }
                }
            });
        }
        Ok(Self(receiver))
    }

    /// The next signal.
    pub(crate) async fn next(&mut self) -> Signal {
        match self.0.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }
}

/// Changes of the terminal's size.
pub(crate) struct Resizes(tokio::signal::unix::Signal);

impl Resizes {
    /// Catches them.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(signal(SignalKind::window_change())?))
    }

    /// The next size.
    pub(crate) async fn next(&mut self) -> (u16, u16) {
        loop {
            if self.0.recv().await.is_none() {
                return std::future::pending().await;
            }
            if let Some(size) = crate::terminal::size() {
                return size;
            }
        }
    }
}

/// The name of a signal as the API takes it.
pub(crate) fn name(signal: Signal) -> String {
    signal.as_raw().to_string()
}
