//! Reads a log, from the beginning or from its last lines, also while it grows and rotates.
//!
//! A file that was rotated keeps its number ([`crate::segments`]) and grows no more. So the reader
//! reads what it holds to its end; when the log's path leads to another file by then, it reads to the
//! end once more, for what was written before the rotation, and goes on with the file of the next
//! number. What has been removed meanwhile is passed over.

use std::fs;
use std::io;
use std::path::PathBuf;

use jiff::Timestamp;

use crate::entry::{Entry, Scratch};
use crate::plan::Format;
use crate::segment::{Segment, identity};
use crate::segments::{self, Rotated};

/// How often the files are looked at again when they rotate meanwhile.
const LOOKS_MAX: u32 = 100;

/// A place in a log, between two entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// Device of the file.
    pub device: u64,
    /// Number of the file on it.
    pub inode: u64,
    /// Bytes of the file that are before.
    pub offset: u64,
}

/// Why a log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file of it.
    #[error("cannot read the log {}", path.display())]
    File {
        /// Where the log is.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Reads the entries of a log in order. At its end it returns `None`, and can be asked again once the
/// log has grown.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    format: Format,
    /// The file that is read.
    segment: Option<Segment>,
    /// The file grows no more.
    complete: bool,
    /// Number of the file that is read, or was last.
    number: u64,
    /// Files that nothing was written to since are passed over.
    since: Option<Timestamp>,
    /// Where reading ends.
    until: Option<Position>,
    scratch: Scratch,
}

impl LogReader {
    /// Begins at the oldest entry. Nothing is opened before the first is asked for, so that the log
    /// need not be there yet.
    #[must_use]
    pub fn new(path: PathBuf, format: Format) -> Self {
        Self {
            path,
            format,
            segment: None,
            complete: false,
            number: 0,
            since: None,
            until: None,
            scratch: Scratch::default(),
        }
    }

    /// Passes over files that are certainly older; entries of before may come all the same.
    pub fn skip_before(&mut self, since: Timestamp) {
        self.since = Some(since);
    }

    /// Ends at a place in the log.
    pub fn end_at(&mut self, position: Position) {
        self.until = Some(position);
    }

    /// Goes to the first of the last `count` lines of output. A line cut into several entries counts
    /// as one.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn seek_tail(&mut self, count: u64) -> Result<(), ReadError> {
        let result = self.find_tail(count);
        result.map_err(|source| self.error(source))
    }

    /// Returns the next entry, or `None` at the end of what has been written so far.
    ///
    /// What is no entry (cut by a crash of the machine) is passed over.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn next_entry(&mut self) -> Result<Option<Entry<'_>>, ReadError> {
        match self.advance() {
            Ok(true) => Ok(Some(self.scratch.entry())),
            Ok(false) => Ok(None),
            Err(source) => Err(self.error(source)),
        }
    }

    fn error(&self, source: io::Error) -> ReadError {
        ReadError::File {
            path: self.path.clone(),
            source,
        }
    }

    /// Reads the next entry; false at the end.
    fn advance(&mut self) -> io::Result<bool> {
        loop {
            let Some(segment) = &mut self.segment else {
                if self.open_next()? {
                    continue;
                }
                return Ok(false);
            };
            let at_limit = self.until.is_some_and(|until| {
                segment.identity == (until.device, until.inode)
                    && segment.position() >= until.offset
            });
            if at_limit {
                return Ok(false);
            }
            if segment.next(&mut self.scratch)? {
                return Ok(true);
            }
            if self.complete {
                self.segment = None;
            } else if identity(&self.path)? == Some(segment.identity) {
                return Ok(false);
            } else {
                // Once more to its end, for what was written before it was rotated.
                self.complete = true;
            }
        }
    }

    /// Opens the file after the last one; false while there is none.
    fn open_next(&mut self) -> io::Result<bool> {
        for _ in 0..LOOKS_MAX {
            let rotated = segments::rotated(&self.path)?;
            let mut later = rotated.iter().filter(|file| file.number > self.number);
            if let Some(next) = later.find(|file| !self.is_old(file)) {
                if let Some(segment) = self.open_rotated(next)? {
                    self.segment = Some(segment);
                    self.complete = true;
                    self.number = next.number;
                    return Ok(true);
                }
                continue;
            }
            match self.open_current(&rotated)? {
                Current::Opened => return Ok(true),
                Current::Absent => return Ok(false),
                Current::Rotated => {}
            }
        }
        Err(io::Error::other("the log's files change too quickly"))
    }

    /// Opens the file that is written to, which comes after those of `rotated` if no other was rotated
    /// since that list was made.
    fn open_current(&mut self, rotated: &[Rotated]) -> io::Result<Current> {
        let Some(segment) = Segment::current(&self.path, self.format)? else {
            return Ok(Current::Absent);
        };
        let last = |files: &[Rotated]| files.last().map_or(0, |file| file.number);
        let now = segments::rotated(&self.path)?;
        let in_place = identity(&self.path)? == Some(segment.identity);
        if !in_place || last(&now) != last(rotated) {
            return Ok(Current::Rotated);
        }
        // Where every full file is removed at once, none tells the number: it stays what it was.
        self.number = self.number.max(last(rotated) + 1);
        self.segment = Some(segment);
        self.complete = false;
        Ok(Current::Opened)
    }

    /// Opens a file that was rotated, also if it has been compressed since it was listed; `None` when
    /// it has gone.
    fn open_rotated(&self, file: &Rotated) -> io::Result<Option<Segment>> {
        let opened = Segment::rotated(file, self.format)?;
        if opened.is_some() || file.compressed {
            return Ok(opened);
        }
        let compressed = Rotated {
            number: file.number,
            compressed: true,
            path: segments::compressed(&self.path, file.number),
        };
        Segment::rotated(&compressed, self.format)
    }

    fn is_old(&self, file: &Rotated) -> bool {
        let Some(since) = self.since else {
            return false;
        };
        let modified = fs::metadata(&file.path).and_then(|metadata| metadata.modified());
        let modified = modified
            .ok()
            .and_then(|time| Timestamp::try_from(time).ok());
        modified.is_some_and(|modified| modified < since)
    }

    fn find_tail(&mut self, mut wanted: u64) -> io::Result<()> {
        if !self.open_newest()? {
            return Ok(());
        }
        // What ends the log counts also when its line has not ended.
        let mut newest = true;
        while let Some(segment) = &mut self.segment {
            if segment.seek_tail(&mut wanted, newest, &mut self.scratch)? {
                break;
            }
            newest = false;
            let rotated = segments::rotated(&self.path)?;
            let mut earlier = rotated.iter().rev();
            let Some(previous) = earlier.find(|file| file.number < self.number) else {
                break;
            };
            let Some(segment) = self.open_rotated(previous)? else {
                break;
            };
            self.segment = Some(segment);
            self.complete = true;
            self.number = previous.number;
        }
        Ok(())
    }

    /// Opens the newest file there is; false when there is none.
    fn open_newest(&mut self) -> io::Result<bool> {
        self.number = 0;
        for _ in 0..LOOKS_MAX {
            let rotated = segments::rotated(&self.path)?;
            match self.open_current(&rotated)? {
                Current::Opened => return Ok(true),
                Current::Rotated => {}
                Current::Absent => {
                    let Some(last) = rotated.last() else {
                        return Ok(false);
                    };
                    self.segment = self.open_rotated(last)?;
                    self.complete = true;
                    self.number = last.number;
                    return Ok(self.segment.is_some());
                }
            }
        }
        Err(io::Error::other("the log's files change too quickly"))
    }
}

/// What became of opening the file that is written to.
enum Current {
    Opened,
    /// There is none at this moment.
    Absent,
    /// It has just been rotated.
    Rotated,
}
