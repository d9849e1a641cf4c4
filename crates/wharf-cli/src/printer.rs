//! What reaches the user: data on standard output, talk on standard error.

use std::io::{self, Write};

/// Writes for the user.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Printer;

impl Printer {
    /// Writes data and its end of line.
    pub(crate) fn line(self, text: &str) -> io::Result<()> {
        self.data(format!("{text}\n").as_bytes())
    }

    /// Writes data as it is, at once.
    pub(crate) fn data(self, bytes: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()
    }

    /// Says something.
    pub(crate) fn note(self, text: &str) {
        say(&format!("{text}\n"));
    }
}

/// Says what the client does, for those who debug it.
pub(crate) fn trace(text: &str) {
    say(&format!("debug: {text}\n"));
}

/// Writes to standard error. When that is gone there is nobody left to tell.
pub(crate) fn say(text: &str) {
    if io::stderr().lock().write_all(text.as_bytes()).is_err() {
        // Nobody listens.
    }
}
