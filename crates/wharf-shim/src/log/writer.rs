//! Appends output to the log.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use jiff::Timestamp;

use super::entry::encode;
use super::{LINE_MAX, Stream};

/// Appends output to a log file, line by line.
#[derive(Debug)]
pub struct LogWriter {
    file: File,
    /// Beginnings of lines whose end has not come yet, standard output's and standard error's.
    begun: [Vec<u8>; 2],
    /// Entries of the current call.
    batch: Vec<u8>,
    lost: u64,
}

impl LogWriter {
    /// Opens the log at `path`, made when missing, for appending.
    ///
    /// A last line cut by a crash of the machine is ended first, so that what follows is readable.
    ///
    /// # Errors
    /// What open(2) returns.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .append(true)
            .read(true)
            .create(true)
            .mode(0o640)
            .open(path)?;
        let mut writer = Self {
            file,
            begun: [Vec::new(), Vec::new()],
            batch: Vec::new(),
            lost: 0,
        };
        if !writer.ends_in_line_feed()? {
            writer.file.write_all(b"\n")?;
        }
        Ok(writer)
    }

    fn ends_in_line_feed(&self) -> io::Result<bool> {
        use std::os::unix::fs::FileExt as _;
        let length = self.file.metadata()?.len();
        let mut last = [b'\n'];
        if let Some(offset) = length.checked_sub(1) {
            self.file.read_exact_at(&mut last, offset)?;
        }
        Ok(last == *b"\n")
    }

    /// Adds output: complete lines are written now, the rest when its line ends or grows too long.
    pub fn push(&mut self, stream: Stream, mut bytes: &[u8]) {
        let time = Timestamp::now().to_string();
        let mut batch = std::mem::take(&mut self.batch);
        let begun = &mut self.begun[usize::from(stream == Stream::Stderr)];
        while !bytes.is_empty() {
            let room = LINE_MAX - begun.len();
            let window = &bytes[..bytes.len().min(room)];
            let (taken, whole) = match window.iter().position(|byte| *byte == b'\n') {
                Some(end) => (end + 1, true),
                None => (window.len(), window.len() == room),
            };
            let (piece, rest) = bytes.split_at(taken);
            bytes = rest;
            if !whole {
                begun.extend_from_slice(piece);
            } else if begun.is_empty() {
                encode(piece, stream, &time, &mut batch);
            } else {
                begun.extend_from_slice(piece);
                encode(begun, stream, &time, &mut batch);
                begun.clear();
            }
        }
        self.write(batch);
    }

    /// Writes what has been begun and will not be ended: the output is at its end.
    pub fn finish(&mut self) {
        let time = Timestamp::now().to_string();
        let mut batch = std::mem::take(&mut self.batch);
        for (begun, stream) in self.begun.iter_mut().zip([Stream::Stdout, Stream::Stderr]) {
            if !begun.is_empty() {
                encode(begun, stream, &time, &mut batch);
                begun.clear();
            }
        }
        self.write(batch);
    }

    /// Returns how many bytes of the log could not be written.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn write(&mut self, mut batch: Vec<u8>) {
        if !batch.is_empty() && self.file.write_all(&batch).is_err() {
            self.lost += batch.len() as u64;
        }
        batch.clear();
        // A burst may have grown it; a process that idles beside each container stays small.
        batch.shrink_to(2 * LINE_MAX);
        self.batch = batch;
    }
}

#[cfg(test)]
mod tests {
    use super::super::Entry;
    use super::*;

    fn entries(path: &Path) -> Vec<Entry> {
        let text = std::fs::read_to_string(path).expect("log");
        let parse = |line| serde_json::from_str(line).expect("entry");
        text.lines().map(parse).collect()
    }

    #[test]
    fn lines_are_joined_across_reads_and_kept_apart_by_stream() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("log");
        let mut log = LogWriter::open(&path).expect("open");
        log.push(Stream::Stdout, b"one\ntw");
        log.push(Stream::Stderr, b"oops");
        log.push(Stream::Stdout, b"o\nend");
        log.finish();
        let found = entries(&path);
        let texts: Vec<_> = found.iter().map(|e| (e.stream, e.text.as_str())).collect();
        assert_eq!(
            texts,
            [
                (Stream::Stdout, "one\n"),
                (Stream::Stdout, "two\n"),
                (Stream::Stdout, "end"),
                (Stream::Stderr, "oops"),
            ]
        );
    }

    #[test]
    fn long_lines_are_cut_at_sixteen_kibibytes() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("log");
        let mut log = LogWriter::open(&path).expect("open");
        let mut line = vec![b'x'; LINE_MAX * 2 + 5];
        line.push(b'\n');
        for piece in line.chunks(1000) {
            log.push(Stream::Stdout, piece);
        }
        let lengths: Vec<_> = entries(&path).iter().map(|e| e.text.len()).collect();
        assert_eq!(lengths, [LINE_MAX, LINE_MAX, 6]);
    }

    #[test]
    fn a_line_cut_by_a_crash_does_not_spoil_the_next() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("log");
        std::fs::write(&path, "{\"log\":\"ha").expect("write");
        LogWriter::open(&path)
            .expect("open")
            .push(Stream::Stdout, b"new\n");
        let text = std::fs::read_to_string(&path).expect("log");
        let last = text.lines().next_back().expect("a line");
        let entry: Entry = serde_json::from_str(last).expect("entry");
        assert_eq!(entry.text, "new\n");
    }
}
