//! Writes entries to a stream: ustar headers, and pax records for what does not fit in them.
//!
//! The same tree gives the same bytes: no user names, no access times, records in a fixed order.

use std::io::{self, Read, Write};

use super::header::BLOCK;
use super::reader::padding;
use super::{Entry, Kind, Segment, Time};

/// Largest number that seven and eleven octal digits hold.
const ID_MAX: u32 = 0o7_777_777;
const SIZE_MAX: u64 = 0o77_777_777_777;

/// Writes an archive.
pub(crate) struct Writer<W> {
    output: W,
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(output: W) -> Self {
        Self { output }
    }

    /// Writes an entry; `data` gives the bytes it stores (of a sparse file: its segments).
    pub(crate) fn append(&mut self, entry: &Entry, data: &mut dyn Read) -> io::Result<()> {
        let map = entry.sparse.as_deref().map(map);
        let stored = entry.stored() + map.as_ref().map_or(0, |map| map.len() as u64);
        let records = records(entry, stored);
        if !records.is_empty() {
            let length = records.len() as u64;
            let mut name = b"PaxHeaders/".to_vec();
            name.extend_from_slice(last_component(&entry.path));
            self.output.write_all(&block(&Fields {
                name: &name,
                link: &[],
                flag: b'x',
                mode: 0o644,
                owner: (0, 0),
                size: length,
                mtime: 0,
                device: (0, 0),
            }))?;
            self.output.write_all(&records)?;
            self.pad(length)?;
        }
        self.output.write_all(&block(&Fields {
            name: &entry.path,
            link: &entry.link,
            flag: flag(entry.kind),
            mode: entry.mode,
            owner: (entry.uid, entry.gid),
            size: stored,
            mtime: entry.mtime.seconds,
            device: entry.device,
        }))?;
        if let Some(map) = &map {
            self.output.write_all(map)?;
        }
        let copied = io::copy(&mut data.take(entry.stored()), &mut self.output)?;
        if copied < entry.stored() {
            // A file that shrank while it was read: what its header promised must follow.
            io::copy(
                &mut io::repeat(0).take(entry.stored() - copied),
                &mut self.output,
            )?;
        }
        self.pad(stored)
    }

    /// Ends the archive and gives its stream back.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.output.write_all(&[0; 2 * BLOCK])?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn pad(&mut self, length: u64) -> io::Result<()> {
        io::copy(&mut io::repeat(0).take(padding(length)), &mut self.output)?;
        Ok(())
    }
}

struct Fields<'a> {
    name: &'a [u8],
    link: &'a [u8],
    flag: u8,
    mode: u32,
    owner: (u32, u32),
    size: u64,
    mtime: i64,
    device: (u32, u32),
}

/// Makes a header block; numbers and names that do not fit are cut, and stand in the records.
fn block(fields: &Fields<'_>) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut text = |at: usize, length: usize, value: &[u8]| {
        let length = length.min(value.len());
        block[at..at + length].copy_from_slice(&value[..length]);
    };
    let octal = |digits: usize, value: u64| format!("{value:0digits$o}\0");
    text(0, 100, fields.name);
    text(100, 8, octal(7, u64::from(fields.mode)).as_bytes());
    text(
        108,
        8,
        octal(7, u64::from(fields.owner.0.min(ID_MAX))).as_bytes(),
    );
    text(
        116,
        8,
        octal(7, u64::from(fields.owner.1.min(ID_MAX))).as_bytes(),
    );
    text(124, 12, octal(11, fields.size.min(SIZE_MAX)).as_bytes());
    let mtime = u64::try_from(fields.mtime).unwrap_or(0).min(SIZE_MAX);
    text(136, 12, octal(11, mtime).as_bytes());
    text(148, 8, b"        ");
    text(156, 1, &[fields.flag]);
    text(157, 100, fields.link);
    text(257, 8, b"ustar\x0000");
    text(
        329,
        8,
        octal(7, u64::from(fields.device.0.min(ID_MAX))).as_bytes(),
    );
    text(
        337,
        8,
        octal(7, u64::from(fields.device.1.min(ID_MAX))).as_bytes(),
    );
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Returns the pax records for what the header block cannot say.
fn records(entry: &Entry, stored: u64) -> Vec<u8> {
    let mut records = Vec::new();
    let mut add = |key: &[u8], value: &[u8]| record(&mut records, key, value);
    let sparse = entry.sparse.is_some();
    if sparse {
        add(b"GNU.sparse.major", b"1");
        add(b"GNU.sparse.minor", b"0");
        add(b"GNU.sparse.name", &entry.path);
        add(b"GNU.sparse.realsize", entry.size.to_string().as_bytes());
    } else if entry.path.len() > 100 || !entry.path.is_ascii() {
        add(b"path", &entry.path);
    }
    if entry.link.len() > 100 || !entry.link.is_ascii() {
        add(b"linkpath", &entry.link);
    }
    if stored > SIZE_MAX {
        add(b"size", stored.to_string().as_bytes());
    }
    if entry.uid > ID_MAX {
        add(b"uid", entry.uid.to_string().as_bytes());
    }
    if entry.gid > ID_MAX {
        add(b"gid", entry.gid.to_string().as_bytes());
    }
    let fits = u64::try_from(entry.mtime.seconds).is_ok_and(|seconds| seconds <= SIZE_MAX);
    if entry.mtime.nanoseconds != 0 || !fits {
        add(b"mtime", decimal(entry.mtime).as_bytes());
    }
    for (name, value) in &entry.xattrs {
        add(&[b"SCHILY.xattr.", name.as_slice()].concat(), value);
    }
    records
}

/// Adds a record; its length counts its own digits.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} ").as_bytes());
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn decimal(time: Time) -> String {
    let (sign, seconds, nanoseconds) = match time {
        Time {
            seconds,
            nanoseconds: 0,
        } => return seconds.to_string(),
        Time {
            seconds,
            nanoseconds,
        } if seconds < 0 => ("-", -(seconds + 1), 1_000_000_000 - nanoseconds),
        Time {
            seconds,
            nanoseconds,
        } => ("", seconds, nanoseconds),
    };
    let text = format!("{sign}{seconds}.{nanoseconds:09}");
    text.trim_end_matches('0').to_owned()
}

/// The map of pax form 1.0: decimal lines, filled up to a whole block.
fn map(segments: &[Segment]) -> Vec<u8> {
    let mut map = format!("{}\n", segments.len()).into_bytes();
    for segment in segments {
        map.extend_from_slice(format!("{}\n{}\n", segment.offset, segment.length).as_bytes());
    }
    map.resize(map.len().next_multiple_of(BLOCK), 0);
    map
}

fn flag(kind: Kind) -> u8 {
    match kind {
        Kind::Regular => b'0',
        Kind::HardLink => b'1',
        Kind::Symlink => b'2',
        Kind::Char => b'3',
        Kind::Block => b'4',
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
        Kind::Other(flag) => flag,
    }
}

fn last_component(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/')
        .find(|component| !component.is_empty())
        .unwrap_or(b"root")
}
