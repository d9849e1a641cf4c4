//! Docker's `json-file` format: one JSON object a line, written by the shim and read by the engine.
//!
//! A line of output becomes `{"log":"text\n","stream":"stdout","time":"2026-01-31T12:00:00.5Z"}`.
//! A line longer than [`LINE_MAX`] is cut into several entries, of which only the last ends in a
//! line feed; so does Docker, and so a reader knows that they belong together. Bytes that are not
//! UTF-8 become U+FFFD: the format has no place for them.
//!
//! The writer never makes its caller wait for more than one write(2): all lines of one read from the
//! container go to the file at once. When the file cannot be written (a full disk), lines are lost
//! and counted, and the container goes on.

mod entry;
mod reader;
mod writer;

pub use entry::{Entry, Stream};
pub use reader::{LogReader, ReadError};
pub use writer::LogWriter;

/// Longest text of one entry, Docker's 16 KiB.
pub const LINE_MAX: usize = 16 * 1024;
