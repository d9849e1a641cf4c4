//! Containers' logs: drivers and their options, files that rotate, their readers.
//!
//! The engine reads a container's options ([`Options`]) and makes a [`Plan`] of them; the shim opens
//! the plan and writes what the container prints ([`LogWriter`]); the engine reads it back
//! ([`LogReader`]), from the beginning or from its last lines, also while it grows and rotates.
//!
//! *Entries.* Output is cut at line feeds; a line longer than [`LINE_MAX`] becomes several entries,
//! of which only the last ends in a line feed. So does Docker, and so a reader knows that they belong
//! together. What the entries of one output say, one after the other, is that output, byte for byte;
//! except that `json-file` has no place for bytes that are not UTF-8, which become U+FFFD.
//!
//! *Drivers.* `json-file` and `local` keep files in Docker's own formats. `syslog` and `journald` send
//! to a socket, and keep a bounded cache in the format of `local`, unless told not to, so that they can
//! be read too. `none` keeps nothing.
//!
//! *Bounds.* Files rotate whether or not anybody asked (see [`Rotation`]); queues have a length. A
//! file that cannot be written (a full disk) loses entries and counts them, and the container goes on.

#![forbid(unsafe_code)]

mod backwards;
mod compress;
mod entry;
mod file;
mod journald;
mod json;
mod lines;
mod local;
mod options;
mod plan;
mod queue;
mod reader;
mod scan;
mod segment;
mod segments;
mod syslog;
mod tls;
mod writer;

pub use compress::{CompressError, compress};
pub use entry::{Entry, Stream, Time};
pub use journald::Journald;
pub use options::{DRIVERS, Driver, Mode, OptionError, Options, Rotation, check};
pub use plan::{Files, Format, Plan, Remote};
pub use reader::{LogReader, Position, ReadError};
pub use syslog::{Address as SyslogAddress, Format as SyslogFormat, Host, Syslog};
pub use tls::{Tls, TlsError};
pub use writer::{LogWriter, OpenError, Trouble};

/// Longest text of one entry, Docker's 16 KiB.
pub const LINE_MAX: usize = 16 * 1024;
