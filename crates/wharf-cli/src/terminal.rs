//! The user's terminal: raw mode and size.

pub(crate) mod escape;

use std::io;
use std::os::fd::BorrowedFd;

use rustix::termios::{self, OptionalActions, Termios};

/// A terminal in raw mode; dropping it brings the terminal back to what it was.
///
/// The program must not end past its drop: signals that would end it are caught by whoever holds one, and
/// `process::exit` is called in `main` alone.
pub(crate) struct RawMode {
    stream: BorrowedFd<'static>,
    before: Termios,
}

impl RawMode {
    /// Puts a terminal into raw mode.
    pub(crate) fn enter(stream: BorrowedFd<'static>) -> io::Result<Self> {
        let before = termios::tcgetattr(stream)?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(stream, OptionalActions::Now, &raw)?;
        Ok(Self { stream, before })
    }
}

impl Drop for RawMode {
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
