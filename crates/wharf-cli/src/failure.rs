//! How a command fails: what is said on standard error and the code the program ends with.

use crate::client::ClientError;
use crate::grammar::UsageError;

/// Why a command ends without success.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The line was wrong.
    Usage(UsageError),
    /// A text for standard error, and the code to end with.
    Message {
        /// The text, without an end of line.
        text: String,
        /// The code.
        code: u8,
    },
    /// All is said; only the code is left.
    Silent(u8),
}

impl Failure {
    /// A text with code 1.
    pub(crate) fn message(text: impl Into<String>) -> Self {
        Self::Message {
            text: text.into(),
            code: 1,
        }
    }

    /// A text with a code of its own.
    pub(crate) fn with_code(text: impl Into<String>, code: u8) -> Self {
        Self::Message {
            text: text.into(),
            code,
        }
    }

    /// An error with its causes, as one line, with code 1.
    pub(crate) fn of(error: &dyn std::error::Error) -> Self {
        Self::message(chain(error))
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::message(chain(&error))
    }
}

impl From<std::io::Error> for Failure {
    /// An error of standard output, which is the only stream whose errors come here as they are: a reader that
    /// left is not worth a word.
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            // As the shell reports a program that SIGPIPE ended.
            return Self::Silent(141);
        }
        Self::message(format!("write to standard output: {}", errno_text(&error)))
    }
}

/// An error and its causes, joined by colons.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// What went wrong, in the words and small letters of Go's errors, which Docker's users know.
pub(crate) fn errno_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    match letters.next() {
        // "Is a directory", but "I/O error" stays.
        Some(first)
            if letters
                .as_str()
                .starts_with(|c: char| c.is_lowercase() || c == ' ') =>
        {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}
