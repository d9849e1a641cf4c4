//! One entry of a log.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Which output of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// Returns the stream's number in the framing of multiplexed output.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Stdout => 1,
            Self::Stderr => 2,
        }
    }

    /// Returns the header that goes before `length` bytes in the framing of multiplexed output.
    #[must_use]
    pub fn header(self, length: u32) -> [u8; 8] {
        let [a, b, c, d] = length.to_be_bytes();
        [self.number(), 0, 0, 0, a, b, c, d]
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// One entry of the log, as a reader lends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The text, with its line feed unless it is a part of a longer line.
    pub text: &'a [u8],
    /// Where it was written.
    pub stream: Stream,
    /// When its line was begun.
    pub time: Time<'a>,
    /// What was asked to be kept beside the text, as a JSON object; empty when nothing was.
    pub attributes: &'a [u8],
}

/// A time as it stands in the file: most readers do not need to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time<'a> {
    /// As RFC 3339 writes it.
    Text(&'a str),
    /// Nanoseconds of the Unix epoch.
    Nanoseconds(i64),
}

impl Time<'_> {
    /// Returns the time; that of the epoch when the file holds none.
    #[must_use]
    pub fn timestamp(self) -> Timestamp {
        match self {
            Self::Text(text) => text.parse().unwrap_or(Timestamp::UNIX_EPOCH),
            Self::Nanoseconds(nanoseconds) => {
                Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or(Timestamp::UNIX_EPOCH)
            }
        }
    }
}

/// An entry that has been read; its room is used again for the next.
#[derive(Debug)]
pub(crate) struct Scratch {
    pub(crate) text: Vec<u8>,
    pub(crate) attributes: Vec<u8>,
    pub(crate) stream: Stream,
    pub(crate) time: ScratchTime,
    pub(crate) time_text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScratchTime {
    /// In [`Scratch::time_text`].
    Text,
    Nanoseconds(i64),
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            text: Vec::new(),
            attributes: Vec::new(),
            stream: Stream::Stdout,
            time: ScratchTime::Text,
            time_text: String::new(),
        }
    }
}

impl Scratch {
    pub(crate) fn entry(&self) -> Entry<'_> {
        Entry {
            text: &self.text,
            stream: self.stream,
            time: match self.time {
                ScratchTime::Text => Time::Text(&self.time_text),
                ScratchTime::Nanoseconds(nanoseconds) => Time::Nanoseconds(nanoseconds),
            },
            attributes: &self.attributes,
        }
    }
}

/// An entry to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece<'a> {
    /// The text, without the line feed that ends its line.
    pub(crate) text: &'a [u8],
    /// Whether it ends its line.
    pub(crate) ends: bool,
    pub(crate) stream: Stream,
    pub(crate) time: &'a Stamp,
    /// Set when the line is longer than an entry.
    pub(crate) part: Option<Part<'a>>,
}

/// Which part of a line longer than an entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<'a> {
    /// The same for all parts of a line.
    pub(crate) id: &'a str,
    /// From 1.
    pub(crate) ordinal: i32,
    pub(crate) last: bool,
}

/// The time of entries, in both its forms.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stamp {
    pub(crate) nanoseconds: i64,
    pub(crate) text: String,
}

impl Stamp {
    pub(crate) fn now() -> Self {
        let now = Timestamp::now();
        Self {
            // Until the year 2262.
            nanoseconds: i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX),
            text: now.to_string(),
        }
    }
}
