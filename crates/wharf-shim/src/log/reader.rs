//! Reads a log, from the beginning or from its last lines, also while it grows.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::Entry;

/// Bytes read at a time.
const CHUNK: usize = 64 * 1024;
/// Longest line read: an entry of [`super::LINE_MAX`] bytes, each escaped as six, and the rest.
const ENTRY_MAX: usize = 6 * super::LINE_MAX + 1024;

/// Reads the entries of a log file in order. At the end of the file it returns `None`, and can be
/// asked again once the file has grown.
#[derive(Debug)]
pub struct LogReader {
    file: File,
    offset: u64,
    buffer: Vec<u8>,
    /// Bytes of `buffer` already returned.
    used: usize,
}

/// Why a log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file.
    #[error("cannot read the log")]
    File(#[source] io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

impl LogReader {
    /// Opens the log at its beginning.
    ///
    /// # Errors
    /// What open(2) returns.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        Ok(Self {
            file: File::open(path)?,
            offset: 0,
            buffer: Vec::new(),
            used: 0,
        })
    }

    /// Goes to the first of the last `count` lines of output. A line cut into several entries
    /// counts as one.
    ///
    /// # Errors
    /// What read(2) returns.
    pub fn seek_tail(&mut self, count: u64) -> Result<(), ReadError> {
        let end = self.file.metadata()?.len();
        self.buffer.clear();
        self.used = 0;
        self.offset = end;
        if count == 0 {
            return Ok(());
        }
        let mut wanted = count;
        let mut start = end;
        for line_start in LineStarts::new(&self.file, end) {
            let line_start = line_start?;
            let ends_line = self.ends_output_line(line_start, start)?;
            // The last entry of the file counts also when its line has not ended.
            if ends_line || start == end {
                if wanted == 0 {
                    break;
                }
                wanted -= 1;
            }
            start = line_start;
        }
        self.offset = start;
        Ok(())
    }

    /// Whether the entry between two offsets ends a line of output.
    fn ends_output_line(&self, from: u64, to: u64) -> Result<bool, ReadError> {
        let length = usize::try_from(to - from)
            .unwrap_or(ENTRY_MAX)
            .min(ENTRY_MAX);
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, from)?;
        // The text ends where the stream's member begins; no text contains an unescaped quote.
        let needle = b"\",\"stream\":\"";
        let end = bytes
            .windows(needle.len())
            .position(|window| window == needle);
        Ok(end.is_none_or(|end| bytes[..end].ends_with(b"\\n")))
    }

    /// Returns the next entry, or `None` at the end of what has been written so far.
    ///
    /// A line that is no entry (cut by a crash of the machine) is passed over.
    ///
    /// # Errors
    /// What read(2) returns.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, ReadError> {
        loop {
            let rest = &self.buffer[self.used..];
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let parsed = serde_json::from_slice(&rest[..end]);
                self.used += end + 1;
                match parsed {
                    Ok(entry) => return Ok(Some(entry)),
                    Err(_) => continue,
                }
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Reads more; false at the end of the file.
    fn fill(&mut self) -> Result<bool, ReadError> {
        self.buffer.drain(..self.used);
        self.used = 0;
        if self.buffer.len() > ENTRY_MAX {
            // No entry is that long: garbage without a line feed is passed over.
            self.buffer.clear();
        }
        let kept = self.buffer.len();
        self.buffer.resize(kept + CHUNK, 0);
        let read = self.file.read_at(&mut self.buffer[kept..], self.offset);
        self.buffer
            .truncate(kept + read.as_ref().map_or(0, |read| *read));
        let read = read?;
        self.offset += read as u64;
        Ok(read > 0)
    }
}

/// Offsets at which the lines of a file begin, last first.
struct LineStarts<'a> {
    file: &'a File,
    /// Bytes of the file from `base`, not yet searched up to `searched`.
    window: Vec<u8>,
    base: u64,
    searched: usize,
    done: bool,
}

impl<'a> LineStarts<'a> {
    fn new(file: &'a File, end: u64) -> Self {
        Self {
            file,
            window: Vec::new(),
            base: end,
            // The line feed that ends the last line begins no line.
            searched: 0,
            done: end == 0,
        }
        .skip_last()
    }

    fn skip_last(mut self) -> Self {
        if !self.done && self.back().is_ok() {
            self.searched = self.searched.saturating_sub(1);
        }
        self
    }

    /// Reads the part of the file before `base`.
    fn back(&mut self) -> io::Result<()> {
        let length = usize::try_from(self.base).unwrap_or(CHUNK).min(CHUNK);
        self.base -= length as u64;
        self.window.resize(length, 0);
        self.file.read_exact_at(&mut self.window, self.base)?;
        self.searched = length;
        Ok(())
    }
}

impl Iterator for LineStarts<'_> {
    type Item = io::Result<u64>;

    fn next(&mut self) -> Option<io::Result<u64>> {
        if self.done {
            return None;
        }
        loop {
            let part = &self.window[..self.searched];
            if let Some(at) = part.iter().rposition(|byte| *byte == b'\n') {
                self.searched = at;
                return Some(Ok(self.base + at as u64 + 1));
            }
            if self.base == 0 {
                self.done = true;
                return Some(Ok(0));
            }
            if let Err(error) = self.back() {
                self.done = true;
                return Some(Err(error));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LINE_MAX, LogWriter, Stream};
    use super::*;

    fn rest(log: &mut LogReader) -> Vec<String> {
        std::iter::from_fn(|| log.next_entry().expect("read"))
            .map(|entry| entry.text)
            .collect()
    }

    #[test]
    fn the_tail_counts_lines_of_output_not_entries() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("log");
        let mut log = LogWriter::open(&path).expect("open");
        log.push(Stream::Stdout, b"1\n2\n");
        let mut long = vec![b'x'; LINE_MAX + 1];
        long.push(b'\n');
        log.push(Stream::Stdout, &long);
        log.push(Stream::Stdout, b"last\n");
        let mut reader = LogReader::open(&path).expect("open");
        for (count, entries) in [(0, 0), (1, 1), (2, 3), (3, 4), (4, 5), (9, 5)] {
            reader.seek_tail(count).expect("seek");
            assert_eq!(rest(&mut reader).len(), entries, "tail {count}");
        }
    }

    #[test]
    fn the_tail_of_a_long_log_is_found_across_chunks() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("log");
        let mut log = LogWriter::open(&path).expect("open");
        for number in 0..5000 {
            log.push(Stream::Stdout, format!("line {number}\n").as_bytes());
        }
        let mut reader = LogReader::open(&path).expect("open");
        reader.seek_tail(3000).expect("seek");
        let texts = rest(&mut reader);
        assert_eq!(texts.len(), 3000);
        assert_eq!(texts[0], "line 2000\n");
    }

    #[test]
    fn a_growing_log_is_read_on() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("log");
        let mut log = LogWriter::open(&path).expect("open");
        let mut reader = LogReader::open(&path).expect("open");
        assert_eq!(reader.next_entry().expect("read"), None);
        log.push(Stream::Stderr, b"now\n");
        assert_eq!(rest(&mut reader), ["now\n"]);
    }
}
