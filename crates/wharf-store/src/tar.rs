//! The tar format: ustar, POSIX pax, and GNU's long names and sparse files.
//!
//! Our own reader and writer rather than a crate's: layers come from strangers, the general
//! crates had three advisories in a year, and what we need of the format (pax sparse maps,
//! `SCHILY.xattr`, times in nanoseconds, hard limits on everything that is kept in memory) is
//! what they lack. The reader knows the format only; whether a name or a kind is acceptable is
//! decided by the extractor.
//!
//! Sources: POSIX.1-2017 `pax`, GNU tar manual "Tar Internals", libarchive `tar(5)`.

mod header;
mod pax;
mod reader;
mod sparse;
mod writer;

pub(crate) use header::{BLOCK, Header};
pub(crate) use reader::{Reader, reading};
pub(crate) use writer::Writer;

use std::io;

/// Longest path or link target that is read or written.
pub(crate) const NAME_MAX: usize = 4096;
/// Most bytes of pax records before one entry, extended attributes included.
const PAX_MAX: u64 = 1 << 20;
/// Most data segments of one sparse file.
const SEGMENTS_MAX: usize = 1 << 20;

/// A stream that is not a tar archive, or a damaged one.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The stream cannot be read.
    #[error("read the archive")]
    Read(#[source] io::Error),
    /// It ends within an entry.
    #[error("the archive is cut short")]
    Truncated,
    /// What should be a header has a wrong checksum.
    #[error("not a tar archive, or damaged: wrong header checksum at byte {0}")]
    Checksum(u64),
    /// A field should hold a number.
    #[error("invalid number in the header field {0}")]
    Number(&'static str),
    /// The extended headers are malformed.
    #[error("malformed extended header")]
    Extended,
    /// The map of a sparse file contradicts itself or its size.
    #[error("malformed map of a sparse file")]
    Sparse,
    /// Something that is kept in memory is larger than is reasonable.
    #[error("{0} in the archive is too long")]
    TooLong(&'static str),
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Regular,
    HardLink,
    Symlink,
    Char,
    Block,
    Directory,
    Fifo,
    Other(u8),
}

/// A point in time, seconds and nanoseconds since 1970; the nanoseconds count forward.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Time {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
}

/// A part of a sparse file that holds data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// An entry: everything but its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Time,
    pub(crate) device: (u32, u32),
    /// Bytes of the file, holes included.
    pub(crate) size: u64,
    /// Where its data lies; [`None`] when it has no holes.
    pub(crate) sparse: Option<Vec<Segment>>,
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Entry {
    /// Returns the bytes of data that follow in the archive.
    pub(crate) fn stored(&self) -> u64 {
        match &self.sparse {
            Some(segments) => segments.iter().map(|segment| segment.length).sum(),
            None => self.size,
        }
    }
}

#[cfg(test)]
mod tests;
