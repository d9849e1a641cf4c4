//! The user's terminal: its modes and its size.

pub(crate) mod escape;

use std::io;
use std::os::fd::BorrowedFd;

use rustix::termios::{self, LocalModes, OptionalActions, Termios};

/// A terminal whose modes were changed; dropping it brings the terminal back to what it was.
///
/// The program must not end past its drop: signals that would end it are caught by whoever holds one, and
/// `process::exit` is called in `main` alone.
pub(crate) struct Modes {
    stream: BorrowedFd<'static>,
    before: Termios,
}

impl Modes {
    /// Puts a terminal into raw mode.
    pub(crate) fn raw(stream: BorrowedFd<'static>) -> io::Result<Self> {
        Self::change(stream, Termios::make_raw)
    }

    /// Keeps a terminal from showing what is typed.
    pub(crate) fn silent(stream: BorrowedFd<'static>) -> io::Result<Self> {
        Self::change(stream, |modes| modes.local_modes.remove(LocalModes::ECHO))
    }

    fn change(stream: BorrowedFd<'static>, change: fn(&mut Termios)) -> io::Result<Self> {
        let before = termios::tcgetattr(stream)?;
        let mut modes = before.clone();
        change(&mut modes);
        termios::tcsetattr(stream, OptionalActions::Now, &modes)?;
        Ok(Self { stream, before })
    }
}

impl Drop for Modes {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        if termios::tcsetattr(self.stream, OptionalActions::Now, &self.before).is_err() {
            crate::printer::say("the terminal could not be restored\r\n");
        }
    }
}

/// Rows and columns of standard output's terminal.
pub(crate) fn size() -> Option<(u16, u16)> {
    let size = termios::tcgetwinsize(rustix::stdio::stdout()).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

/// Columns of a stream's terminal, if it is one; none where a terminal does not know its size.
pub(crate) fn columns(stream: BorrowedFd<'_>) -> Option<usize> {
    termios::tcgetwinsize(stream)
        .ok()
        .map(|size| usize::from(size.ws_col))
}

/// Whether standard input is a terminal.
pub(crate) fn input_is_terminal() -> bool {
    termios::isatty(rustix::stdio::stdin())
}

/// Whether standard output is a terminal.
pub(crate) fn output_is_terminal() -> bool {
    termios::isatty(rustix::stdio::stdout())
}

/// Whether standard error is a terminal.
pub(crate) fn error_is_terminal() -> bool {
    termios::isatty(rustix::stdio::stderr())
}
