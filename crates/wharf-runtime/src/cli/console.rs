//! Terminals and signals of a process that is waited for.

use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use rustix::process::Signal;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};
use wharf_sys::signal::SignalFd;

use super::{Failure, Outcome};

/// Somebody has to hold the other end of a terminal.
pub(super) const NO_CONSOLE_SOCKET: &str =
    "cannot allocate tty if the runtime will detach without setting console socket";

/// There is nothing to send.
pub(super) const USELESS_CONSOLE_SOCKET: &str =
    "cannot use console socket if the runtime will not detach or allocate tty";

/// Added to a signal's number for the exit code.
const SIGNALLED: i32 = 128;

/// Sends the master of a terminal to whoever listens at `socket`.
pub(super) fn send_master(socket: &Path, master: &OwnedFd) -> Result<(), Failure> {
    let connection = UnixStream::connect(socket)
        .map_err(|error| format!("cannot connect to {}: {error}", socket.display()))?;
    let fds = [master.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    // The text is the terminal's name, for whoever wants to show one.
    let name = [IoSlice::new(b"/dev/ptmx")];
    rustix::net::sendmsg(&connection, &name, &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Signals that are passed on to the process.
#[derive(Debug)]
pub(super) struct Signals(SignalFd);

impl Signals {
    /// Keeps the signals from acting on this process.
    pub(super) fn block() -> Result<Self, Failure> {
        Ok(Self(SignalFd::block(&[
            Signal::HUP,
            Signal::INT,
            Signal::QUIT,
            Signal::TERM,
            Signal::USR1,
            Signal::USR2,
            Signal::WINCH,
            Signal::CONT,
        ])?))
    }
}

/// Waits for the process: signals go to it, and with a terminal this one's input and output.
/// Returns its exit code.
pub(super) fn accompany(
    pidfd: BorrowedFd<'_>,
    terminal: Option<OwnedFd>,
    signals: &Signals,
) -> Outcome {
    let raw = terminal
        .as_ref()
        .map(|_| RawTerminal::enter())
        .transpose()?
        .flatten();
    let mut relay = Relay {
        pidfd,
        terminal: terminal.map(std::fs::File::from),
        signals,
        input: true,
    };
    relay.resize()?;
    relay.run()?;
    drop(raw);
    let status = crate::reap::reap(pidfd)?.ok_or("the process has no status")?;
    let code = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => SIGNALLED + signal,
        (None, None) => return Err("the process ended in no known way".into()),
    };
    Ok(u8::try_from(code & 0xff)?)
}

/// This process's terminal in raw mode, until dropped.
struct RawTerminal(Termios);

impl RawTerminal {
    /// Nothing to do where standard input is no terminal.
    fn enter() -> Result<Option<Self>, Failure> {
        let Ok(before) = tcgetattr(rustix::stdio::stdin()) else {
            return Ok(None);
        };
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &raw)?;
        Ok(Some(Self(before)))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // A terminal that went away needs no restoring.
        match tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.0) {
            Ok(()) | Err(_) => {}
        }
    }
}

struct Relay<'a> {
    pidfd: BorrowedFd<'a>,
    terminal: Option<std::fs::File>,
    signals: &'a Signals,
    input: bool,
}

impl Relay<'_> {
    /// Copies until the process has ended and its terminal is drained.
    fn run(&mut self) -> Result<(), Failure> {
        loop {
            let nothing = PollFlags::empty();
            let input = if self.input && self.terminal.is_some() {
                PollFlags::IN
            } else {
                nothing
            };
            let output = self.terminal.as_ref().map_or(self.pidfd, AsFd::as_fd);
            let reads = if self.terminal.is_some() {
                PollFlags::IN
            } else {
                nothing
            };
            let mut polled = [
                PollFd::from_borrowed_fd(self.pidfd, PollFlags::IN),
                PollFd::new(&self.signals.0, PollFlags::IN),
                PollFd::from_borrowed_fd(output, reads),
                PollFd::from_borrowed_fd(rustix::stdio::stdin(), input),
            ];
            match poll(&mut polled, None) {
                Err(Errno::INTR) => continue,
                result => result?,
            };
            let [ended, signalled, output, input] = polled.map(|fd| fd.revents());
            if !signalled.is_empty() {
                self.pass_signals()?;
            }
            if self.input && !input.is_empty() && self.terminal.is_some() {
                self.pass_input()?;
            }
            let drained = output.is_empty() || self.terminal.is_none() || !self.pass_output()?;
            if !ended.is_empty() && drained {
                return Ok(());
            }
        }
    }

    fn pass_signals(&mut self) -> Result<(), Failure> {
        while let Some(taken) = self.signals.0.take()? {
            if taken.number == Signal::WINCH.as_raw() {
                self.resize()?;
                continue;
            }
            match wharf_sys::signal::send_to(self.pidfd, taken.number) {
                Err(error) if error.raw_os_error() != Some(Errno::SRCH.raw_os_error()) => {
                    return Err(error.into());
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn pass_input(&mut self) -> Result<(), Failure> {
        let mut bytes = [0; 4096];
        let length =
            rustix::io::retry_on_intr(|| rustix::io::read(rustix::stdio::stdin(), &mut bytes))?;
        self.input = length > 0;
        if let Some(terminal) = &mut self.terminal {
            match terminal.write_all(&bytes[..length]) {
                // Nobody has the other end open any more.
                Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => {
                    self.input = false;
                }
                result => result?,
            }
        }
        Ok(())
    }

    /// Copies what the process has written; whether there may be more.
    fn pass_output(&mut self) -> Result<bool, Failure> {
        let Some(terminal) = &mut self.terminal else {
            return Ok(false);
        };
        let mut bytes = [0; 4096];
        let length = match terminal.read(&mut bytes) {
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(true),
            // The kernel's word for a terminal whose other end is closed.
            Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => 0,
            Err(error) => return Err(error.into()),
        };
        if length == 0 {
            self.terminal = None;
            return Ok(false);
        }
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(&bytes[..length])?;
        stdout.flush()?;
        Ok(true)
    }

    /// Gives the terminal the size of this process's.
    fn resize(&self) -> Result<(), Failure> {
        if let Some(terminal) = &self.terminal
            && let Ok(size) = tcgetwinsize(rustix::stdio::stdin())
        {
            tcsetwinsize(terminal, size)?;
        }
        Ok(())
    }
}
