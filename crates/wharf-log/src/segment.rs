//! Reads the entries of one file of a log.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::backwards::Backwards;
use crate::entry::Scratch;
use crate::plan::{Format, Front};
use crate::segments::Rotated;
use crate::{json, local};

/// Bytes read at a time.
const CHUNK: usize = 128 * 1024;

/// One file of a log, opened.
#[derive(Debug)]
pub(crate) struct Segment {
    source: Source,
    format: Format,
    /// Device and number.
    pub(crate) identity: (u64, u64),
    /// Bytes read of it, unpacked.
    offset: u64,
    buffer: Vec<u8>,
    /// Bytes of `buffer` already returned.
    used: usize,
}

#[derive(Debug)]
enum Source {
    Plain(File),
    Compressed(Box<MultiGzDecoder<File>>),
}

impl Segment {
    /// Opens the file that is written to; `None` when there is none.
    pub(crate) fn current(path: &Path, format: Format) -> io::Result<Option<Self>> {
        match File::open(path) {
            Ok(file) => Self::new(file, format, false).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens a file that was rotated; `None` when it has gone.
    pub(crate) fn rotated(file: &Rotated, format: Format) -> io::Result<Option<Self>> {
        match File::open(&file.path) {
            Ok(opened) => Self::new(opened, format, file.compressed).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn new(file: File, format: Format, compressed: bool) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            source: if compressed {
                Source::Compressed(Box::new(MultiGzDecoder::new(file)))
            } else {
                Source::Plain(file)
            },
            format,
            identity: (metadata.dev(), metadata.ino()),
            offset: 0,
            buffer: Vec::new(),
            used: 0,
        })
    }

    /// Reads the next entry into `into`; false at the end of what has been written so far.
    pub(crate) fn next(&mut self, into: &mut Scratch) -> io::Result<bool> {
        loop {
            match self.format.front(&self.buffer[self.used..]) {
                Front::Entry { start, end, total } => {
                    let bytes = &self.buffer[self.used + start..self.used + end];
                    let known = match self.format {
                        Format::Json => json::decode(bytes, into),
                        Format::Local => local::decode(bytes, into),
                    };
                    self.used += total;
                    if known.is_some() {
                        return Ok(true);
                    }
                }
                Front::Garbage => self.used = self.buffer.len(),
                Front::Incomplete => {
                    if !self.fill()? {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// Where the next entry begins, in bytes of what is written.
    pub(crate) fn position(&self) -> u64 {
        self.offset - (self.buffer.len() - self.used) as u64
    }

    /// Reads more; false at the end.
    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.used);
        self.used = 0;
        let kept = self.buffer.len();
        self.buffer.resize(kept + CHUNK, 0);
        let read = match &mut self.source {
            Source::Plain(file) => file.read_at(&mut self.buffer[kept..], self.offset),
            Source::Compressed(decoder) => decoder.read(&mut self.buffer[kept..]),
        };
        let count = *read.as_ref().unwrap_or(&0);
        self.buffer.truncate(kept + count);
        self.offset += count as u64;
        if read? > 0 {
            return Ok(true);
        }
        if let Source::Plain(file) = &self.source {
            // The beginning of an entry may turn out to be another one: its writer takes back what
            // it could not write whole.
            self.offset -= kept as u64;
            self.buffer.clear();
            if file.metadata()?.len() < self.offset {
                // Somebody truncated it to make room.
                self.offset = 0;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Goes to the first of the last `wanted` lines of output and returns true; or, when there are no
    /// more than that, to the beginning, takes from `wanted` what there are, and returns false.
    ///
    /// An entry that ends no line belongs to the next that does; at the log's very end (`newest`) it
    /// counts as a line of its own.
    pub(crate) fn seek_tail(
        &mut self,
        wanted: &mut u64,
        newest: bool,
        into: &mut Scratch,
    ) -> io::Result<bool> {
        if let Source::Plain(file) = &self.source {
            let mut entries = Backwards::new(file, self.format, file.metadata()?.len());
            let mut start = entries.start();
            let mut left = *wanted;
            let mut first = newest;
            while entries.previous(into)? {
                if into.text.ends_with(b"\n") || first {
                    if left == 0 {
                        self.offset = start;
                        return Ok(true);
                    }
                    left -= 1;
                }
                first = false;
                start = entries.start();
            }
            if start == 0 {
                *wanted = left;
                return Ok(false);
            }
        }
        self.seek_tail_forwards(wanted, newest, into)
    }

    /// The same for what cannot be read from its end: reads it twice.
    fn seek_tail_forwards(
        &mut self,
        wanted: &mut u64,
        newest: bool,
        into: &mut Scratch,
    ) -> io::Result<bool> {
        let (mut lines, mut ended) = (0, true);
        while self.next(into)? {
            ended = into.text.ends_with(b"\n");
            lines += u64::from(ended);
        }
        lines += u64::from(newest && !ended);
        self.rewind()?;
        let Some(mut skipped) = lines.checked_sub(*wanted).filter(|skipped| *skipped > 0) else {
            *wanted -= lines;
            return Ok(false);
        };
        while skipped > 0 && self.next(into)? {
            skipped -= u64::from(into.text.ends_with(b"\n"));
        }
        Ok(true)
    }

    fn rewind(&mut self) -> io::Result<()> {
        self.buffer.clear();
        self.used = 0;
        self.offset = 0;
        if let Source::Compressed(decoder) = &mut self.source {
            let file = decoder.get_ref().try_clone()?;
            rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0))?;
            **decoder = MultiGzDecoder::new(file);
        }
        Ok(())
    }
}

/// Device and number of the file at a path; `None` when there is none.
pub(crate) fn identity(path: &Path) -> io::Result<Option<(u64, u64)>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some((metadata.dev(), metadata.ino()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
