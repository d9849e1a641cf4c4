//! A log file that rotates.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use wharf_types::failpoint;

use crate::plan::{Files, Format, Front};
use crate::reader::Position;
use crate::segments;

/// Bytes read at a time when a file's end is looked for.
const CHUNK: usize = 64 * 1024;

/// Appends to a log file, and rotates it.
#[derive(Debug)]
pub(crate) struct RotatingFile {
    path: PathBuf,
    format: Format,
    limit: u64,
    keep: u64,
    file: File,
    /// The file's length.
    size: u64,
    /// The number this file gets when it is full.
    number: u64,
    /// Files have been rotated since this was asked the last time.
    rotated: bool,
}

impl RotatingFile {
    /// Opens the file, made when missing. What a crash of the machine left of an entry at its end is
    /// cut off.
    pub(crate) fn open(files: &Files) -> io::Result<Self> {
        if let Some(directory) = files.path.parent() {
            match DirBuilder::new().mode(0o700).create(directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        let file = create(&files.path)?;
        let last = segments::rotated(&files.path)?.pop();
        let size = whole_entries(&file, files.format)?;
        if size < file.metadata()?.len() {
            file.set_len(size)?;
        }
        Ok(Self {
            path: files.path.clone(),
            format: files.format,
            limit: files.max_size.unwrap_or(u64::MAX),
            keep: u64::from(files.max_files.max(1)),
            file,
            size,
            number: last.map_or(0, |last| last.number) + 1,
            rotated: false,
        })
    }

    /// Appends whole entries. On an error the file is as if what could not be written had never been
    /// tried; returns how many bytes that is along with it.
    pub(crate) fn append(&mut self, mut entries: &[u8]) -> Result<(), (io::Error, usize)> {
        let mut unpruned = Ok(());
        while !entries.is_empty() {
            let room = usize::try_from(self.limit.saturating_sub(self.size)).unwrap_or(usize::MAX);
            let length = match entries.len() {
                all if all <= room => all,
                _ => self.format.fitting(entries, room).max(1),
            };
            if length > room && self.size > 0 {
                self.rotate().map_err(|error| (error, entries.len()))?;
                // What is left now is removed with the next.
                unpruned = self.prune();
                continue;
            }
            let (now, rest) = entries.split_at(length);
            self.write(now).map_err(|error| (error, entries.len()))?;
            entries = rest;
        }
        unpruned.map_err(|error| (error, 0))
    }

    /// Whether files have been rotated since this was asked the last time.
    pub(crate) fn take_rotated(&mut self) -> bool {
        std::mem::take(&mut self.rotated)
    }

    /// Where the next entry will be.
    pub(crate) fn position(&self) -> io::Result<Position> {
        let metadata = self.file.metadata()?;
        Ok(Position {
            device: metadata.dev(),
            inode: metadata.ino(),
            offset: metadata.len(),
        })
    }

    fn write(&mut self, entries: &[u8]) -> io::Result<()> {
        let mut written = 0;
        let error = loop {
            if written == entries.len() {
                self.size += written as u64;
                return Ok(());
            }
            match rustix::io::write(&self.file, &entries[written..]) {
                Ok(0) => break io::ErrorKind::WriteZero.into(),
                Ok(count) => written += count,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => break error.into(),
            }
        };
        // Counted from the end, because somebody may have truncated the file to make room.
        let length = self.file.metadata()?.len();
        self.file.set_len(length.saturating_sub(written as u64))?;
        Err(error)
    }

    fn rotate(&mut self) -> io::Result<()> {
        let full = segments::plain(&self.path, self.number);
        fs::rename(&self.path, &full)?;
        failpoint::hit("log.rotate.renamed");
        match create(&self.path) {
            Ok(file) => self.file = file,
            Err(error) => {
                // What was full is written on rather than nothing.
                fs::rename(&full, &self.path)?;
                return Err(error);
            }
        }
        failpoint::hit("log.rotate.created");
        self.size = 0;
        self.rotated = true;
        self.number += 1;
        Ok(())
    }

    /// Removes what is more than is to be kept.
    fn prune(&self) -> io::Result<()> {
        segments::remove_up_to(&self.path, self.number.saturating_sub(self.keep))?;
        failpoint::hit("log.rotate.pruned");
        Ok(())
    }
}

fn create(path: &std::path::Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
}

/// The length of the whole entries at the beginning of a file.
fn whole_entries(file: &File, format: Format) -> io::Result<u64> {
    let length = file.metadata()?.len();
    match format {
        Format::Json => last_line_feed(file, length),
        Format::Local => last_message(file, length),
    }
}

fn last_line_feed(file: &File, mut end: u64) -> io::Result<u64> {
    let mut buffer = vec![0; 1];
    while end > 0 {
        let length = usize::try_from(end).map_or(buffer.len(), |end| end.min(buffer.len()));
        let part = &mut buffer[..length];
        file.read_exact_at(part, end - length as u64)?;
        if let Some(at) = part.iter().rposition(|byte| *byte == b'\n') {
            return Ok(end - length as u64 + at as u64 + 1);
        }
        end -= length as u64;
        // The last byte is one, unless the machine crashed.
        buffer.resize(CHUNK, 0);
    }
    Ok(0)
}

/// A length at the file's end proves nothing about what is before it, so all of them are followed.
fn last_message(file: &File, length: u64) -> io::Result<u64> {
    let mut whole = 0;
    let mut buffer = Vec::new();
    let mut offset = 0;
    while offset < length {
        let kept = buffer.len();
        let more = usize::try_from(length - offset).map_or(CHUNK, |left| left.min(CHUNK));
        buffer.resize(kept + more, 0);
        file.read_exact_at(&mut buffer[kept..], offset)?;
        offset += more as u64;
        let mut used = 0;
        loop {
            match Format::Local.front(&buffer[used..]) {
                Front::Entry { total, .. } => used += total,
                Front::Incomplete => break,
                Front::Garbage => return Ok(whole + used as u64),
            }
        }
        whole += used as u64;
        buffer.drain(..used);
    }
    Ok(whole)
}
