//! Reads the entries of a file from its end.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use crate::entry::Scratch;
use crate::plan::Format;
use crate::{json, local};

/// Bytes read at a time.
const CHUNK: usize = 64 * 1024;

/// Entries of a file, last first.
#[derive(Debug)]
pub(crate) struct Backwards<'a> {
    file: &'a File,
    format: Format,
    /// Bytes of the file from `base` on.
    bytes: Vec<u8>,
    base: u64,
    /// Where the entry begins that was returned last.
    start: u64,
}

impl<'a> Backwards<'a> {
    /// From `end`, where an entry ends, or something that is none.
    pub(crate) fn new(file: &'a File, format: Format, end: u64) -> Self {
        Self {
            file,
            format,
            bytes: Vec::new(),
            base: end,
            start: end,
        }
    }

    /// Where the entry begins that was read last.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// Reads the entry before; false at the file's beginning, or where there is nothing that can be
    /// followed.
    pub(crate) fn previous(&mut self, into: &mut Scratch) -> io::Result<bool> {
        while self.start > 0 {
            let known = match self.format {
                Format::Json => self.previous_line(into)?,
                Format::Local => {
                    let known = self.previous_message(into)?;
                    if known.is_none() {
                        return Ok(false);
                    }
                    known
                }
            };
            if known.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn previous_line(&mut self, into: &mut Scratch) -> io::Result<Option<()>> {
        let end = self.start;
        let mut length = CHUNK;
        let start = loop {
            self.load(end, length)?;
            let before = &self.bytes[..self.index(end) - 1];
            if let Some(at) = before.iter().rposition(|byte| *byte == b'\n') {
                break self.base + at as u64 + 1;
            }
            if self.base == 0 {
                break 0;
            }
            length = length.saturating_mul(2);
        };
        self.start = start;
        let line = &self.bytes[self.index(start)..self.index(end)];
        Ok(json::decode(line.strip_suffix(b"\n").unwrap_or(line), into))
    }

    fn previous_message(&mut self, into: &mut Scratch) -> io::Result<Option<()>> {
        let end = self.start;
        let frame = 2 * local::LENGTH;
        self.load(end, frame)?;
        let length = self.index(end).checked_sub(local::LENGTH);
        let length = length.and_then(|at| local::message_length(&self.bytes[at..]));
        let Some(start) = length.and_then(|length| end.checked_sub((length + frame) as u64)) else {
            return Ok(None);
        };
        self.load(end, usize::try_from(end - start).map_err(io::Error::other)?)?;
        let (from, to) = (self.index(start), self.index(end));
        let message = &self.bytes[from + local::LENGTH..to - local::LENGTH];
        self.start = start;
        Ok(local::decode(message, into))
    }

    fn index(&self, offset: u64) -> usize {
        usize::try_from(offset - self.base).unwrap_or(self.bytes.len())
    }

    /// Sees to it that `length` bytes before `end` are there, or all there are.
    fn load(&mut self, end: u64, length: usize) -> io::Result<()> {
        let wanted = end.saturating_sub(length as u64);
        let held = self.base + self.bytes.len() as u64;
        if self.base <= wanted && end <= held && !self.bytes.is_empty() {
            return Ok(());
        }
        let from = end.saturating_sub(length.max(CHUNK) as u64);
        self.bytes
            .resize(usize::try_from(end - from).map_err(io::Error::other)?, 0);
        self.base = from;
        self.file.read_exact_at(&mut self.bytes, from)
    }
}
