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

/// A remark that is set apart from what goes on around it, as Docker sets them apart; in colours on a terminal.
pub(crate) fn remark(text: &str, terminal: bool) -> String {
    const HEAD: &str = " Info -> ";
    const BRIGHT_HEAD: &str =
        "\x1b[1m\x1b[106m\x1b[30mi\x1b[0m\x1b[0m \x1b[96mInfo → \x1b[0m\x1b[0m";
    let mut remark = format!("\n{}", if terminal { BRIGHT_HEAD } else { HEAD });
    for (at, line) in text.split('\n').enumerate() {
        if at > 0 {
            remark.push_str(&" ".repeat(HEAD.len()));
        }
        if terminal {
            let line = line.replace("--platform", "\x1b[1m--platform\x1b[0m");
            remark.push_str(&format!("\x1b[3m{line}\x1b[0m\n"));
        } else {
            remark.push_str(&format!("{line}\n"));
        }
    }
    remark
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remark_is_set_apart() {
        assert_eq!(
            remark("one\ntwo\n", false),
            "\n Info -> one\n         two\n         \n"
        );
        assert_eq!(
            remark("without --platform", true),
            "\n\x1b[1m\x1b[106m\x1b[30mi\x1b[0m\x1b[0m \x1b[96mInfo → \x1b[0m\x1b[0m\
             \x1b[3mwithout \x1b[1m--platform\x1b[0m\x1b[0m\n"
        );
    }
}
