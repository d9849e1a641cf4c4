//! Reads entries from a stream.

use std::io::{self, Read};

use super::header::{self, BLOCK, Header};
use super::pax::{self, Records};
use super::{Entry, Kind, NAME_MAX, PAX_MAX, SEGMENTS_MAX, Segment, TarError, Time, sparse};

/// Reads the entries of an archive, one after the other; between two calls of
/// [`next`](Reader::next), reading it gives the entry's data (of a sparse file: its segments).
pub(crate) struct Reader<R> {
    input: R,
    /// Bytes read so far, for messages.
    position: u64,
    /// Data of the current entry that has not been read, and the padding behind it.
    remaining: u64,
    padding: u64,
    finished: bool,
}

impl<R: Read> Reader<R> {
    pub(crate) fn new(input: R) -> Self {
        Self {
            input,
            position: 0,
            remaining: 0,
            padding: 0,
            finished: false,
        }
    }

    /// Returns the next entry; [`None`] at the end of the archive.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, TarError> {
        let mut records = Records::default();
        let mut long_name = None;
        let mut long_link = None;
        // Of all extended headers of one entry together: any number may come.
        let mut budget = PAX_MAX;
        loop {
            self.skip(self.remaining + self.padding)?;
            (self.remaining, self.padding) = (0, 0);
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            let size: u64 = header.unsigned(header::SIZE)?;
            match header.type_flag() {
                b'x' | b'X' => {
                    records.read(&self.extension(size, budget)?)?;
                    budget -= size;
                }
                // Records for all entries that follow are ignored, as dockerd does: no layer
                // needs them, and what one archive means must be the same everywhere.
                b'g' => (self.remaining, self.padding) = (size, padding(size)),
                b'L' => long_name = Some(self.long_name(size)?),
                b'K' => long_link = Some(self.long_name(size)?),
                _ => return self.entry(&header, records, long_name, long_link).map(Some),
            }
        }
    }

    /// Reads everything behind the end of the archive, so that who writes the stream is not cut
    /// off and a digest of it is complete.
    pub(crate) fn drain(&mut self) -> Result<(), TarError> {
        let mut buffer = [0; 8192];
        loop {
            match self.input.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(TarError::Read(error)),
            }
        }
    }

    fn entry(
        &mut self,
        header: &Header,
        records: Records,
        long_name: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> Result<Entry, TarError> {
        let size = match records.size {
            // What no file system can hold would also overflow the sum with its padding.
            Some(size) if i64::try_from(size).is_err() => return Err(TarError::Number("size")),
            Some(size) => size,
            None => header.unsigned(header::SIZE)?,
        };
        let path = records
            .sparse
            .name
            .clone()
            .or(records.path.clone())
            .or(long_name)
            .unwrap_or_else(|| header.name());
        let kind = kind(header, &path);
        // Only these carry data; what others claim as size is to be ignored (POSIX, "size").
        let stored = match kind {
            Kind::Regular | Kind::Other(_) => size,
            _ => 0,
        };
        self.remaining = stored;
        self.padding = padding(stored);
        let (size, sparse) = match self.sparse(header, &records, kind)? {
            Some((real_size, segments)) => {
                sparse::check(&segments, real_size, self.remaining)?;
                (real_size, Some(segments))
            }
            None => (stored, None),
        };
        let id = |record: Option<u32>, field| match record {
            Some(id) => Ok(id),
            None => header.unsigned(field),
        };
        let mtime = match records.mtime {
            Some(time) => time,
            None => Time {
                seconds: header.number(header::MTIME)?,
                nanoseconds: 0,
            },
        };
        Ok(Entry {
            link: records.link.or(long_link).unwrap_or_else(|| header.link()),
            mode: header.unsigned::<u32>(header::MODE)? & 0o7777,
            uid: id(records.uid, header::UID)?,
            gid: id(records.gid, header::GID)?,
            xattrs: records.xattrs,
            device: device(header, kind)?,
            path,
            kind,
            mtime,
            size,
            sparse,
        })
    }

    /// Returns the real size and the map when the entry is a sparse file, in whatever form.
    fn sparse(
        &mut self,
        header: &Header,
        records: &Records,
        kind: Kind,
    ) -> Result<Option<(u64, Vec<Segment>)>, TarError> {
        if kind != Kind::Regular {
            return Ok(None);
        }
        if header.type_flag() == b'S' {
            return self.gnu_sparse(header).map(Some);
        }
        if !records.sparse.used {
            return Ok(None);
        }
        let real_size = records.sparse.real_size.ok_or(TarError::Sparse)?;
        let segments = match records.sparse.major {
            Some(1) => self.leading_map()?,
            None | Some(0) => sparse::pairs(&records.sparse.numbers)?,
            Some(_) => return Err(TarError::Sparse),
        };
        Ok(Some((real_size, segments)))
    }

    fn gnu_sparse(&mut self, header: &Header) -> Result<(u64, Vec<Segment>), TarError> {
        let mut segments = Vec::new();
        let (fields, mut goes_on) = header.gnu_sparse();
        sparse::gnu(fields, &mut segments)?;
        // The blocks that continue the map stand before the data and do not count as such.
        while goes_on {
            let block = self.block()?.ok_or(TarError::Truncated)?;
            sparse::gnu(&block[..504], &mut segments)?;
            goes_on = block[504] != 0;
        }
        Ok((header.unsigned(header::GNU_REAL_SIZE)?, segments))
    }

    /// Reads the map that pax form 1.0 puts in front of the data: decimal lines, filled up to a
    /// whole block.
    fn leading_map(&mut self) -> Result<Vec<Segment>, TarError> {
        let mut text = Vec::new();
        let mut lines = 0_usize;
        let mut wanted = None;
        loop {
            if wanted.is_some_and(|wanted| lines > wanted) {
                break;
            }
            self.remaining = self
                .remaining
                .checked_sub(BLOCK as u64)
                .ok_or(TarError::Sparse)?;
            let block = self.block()?.ok_or(TarError::Truncated)?;
            lines += block.iter().filter(|byte| **byte == b'\n').count();
            text.extend_from_slice(&block);
            if wanted.is_none() && lines > 0 {
                let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
                let count: usize = pax::parse(first)?;
                if count > SEGMENTS_MAX {
                    return Err(TarError::TooLong("the map of a sparse file"));
                }
                wanted = Some(count * 2);
            }
            if text.len() > SEGMENTS_MAX * 48 || (wanted.is_none() && text.len() > BLOCK) {
                return Err(TarError::Sparse);
            }
        }
        let numbers: Vec<u64> = text
            .split(|byte| *byte == b'\n')
            .skip(1)
            .take(wanted.unwrap_or(0))
            .map(pax::parse)
            .collect::<Result<_, _>>()?;
        sparse::pairs(&numbers)
    }

    fn long_name(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        if size > NAME_MAX as u64 + 1 {
            return Err(TarError::TooLong("a name"));
        }
        let mut name = self.extension(size, size)?;
        if name.last() == Some(&0) {
            name.pop();
        }
        Ok(name)
    }

    /// Reads the data of an extended header whole.
    fn extension(&mut self, size: u64, limit: u64) -> Result<Vec<u8>, TarError> {
        if size > limit {
            return Err(TarError::TooLong("an extended header"));
        }
        self.remaining = size;
        self.padding = padding(size);
        let mut bytes = Vec::new();
        self.by_ref()
            .take(size)
            .read_to_end(&mut bytes)
            .map_err(reading)?;
        Ok(bytes)
    }

    /// Returns the next header; [`None`] at the end: two blocks of NULs, or the stream's end.
    fn header(&mut self) -> Result<Option<Header>, TarError> {
        if self.finished {
            return Ok(None);
        }
        for _ in 0..2 {
            let at = self.position;
            let block = match self.block() {
                Ok(Some(block)) => block,
                Ok(None) => break,
                // Too short for any archive.
                Err(TarError::Truncated) if at == 0 => return Err(TarError::Checksum(0)),
                Err(error) => return Err(error),
            };
            if block != [0; BLOCK] {
                return Header::parse(&block)
                    .map(Some)
                    .ok_or(TarError::Checksum(at));
            }
        }
        self.finished = true;
        Ok(None)
    }

    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.input.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(TarError::Truncated),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(TarError::Read(error)),
            }
        }
        self.position += BLOCK as u64;
        Ok(Some(block))
    }

    fn skip(&mut self, count: u64) -> Result<(), TarError> {
        let skipped = io::copy(&mut self.input.by_ref().take(count), &mut io::sink())
            .map_err(TarError::Read)?;
        self.position += skipped;
        if skipped < count {
            return Err(TarError::Truncated);
        }
        Ok(())
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        let most = most.min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let count = self.input.read(&mut buffer[..most])?;
        if count == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                TarError::Truncated,
            ));
        }
        self.remaining -= count as u64;
        self.position += count as u64;
        Ok(count)
    }
}

/// Returns what an entry is. Before ustar a directory was a file whose name ends in a slash: the
/// whole name, as the part of a long one that is in the header may end so by chance.
fn kind(header: &Header, path: &[u8]) -> Kind {
    match header.type_flag() {
        b'0' | 0 if path.ends_with(b"/") => Kind::Directory,
        _ => header.kind(),
    }
}

fn device(header: &Header, kind: Kind) -> Result<(u32, u32), TarError> {
    match kind {
        Kind::Char | Kind::Block => Ok((
            header.unsigned(header::MAJOR)?,
            header.unsigned(header::MINOR)?,
        )),
        _ => Ok((0, 0)),
    }
}

/// Takes a [`TarError`] out of the [`io::Error`] that carried it through [`Read`].
pub(crate) fn reading(error: io::Error) -> TarError {
    error.downcast::<TarError>().unwrap_or_else(TarError::Read)
}

/// Bytes up to the next whole block.
pub(super) fn padding(size: u64) -> u64 {
    let block = BLOCK as u64;
    (block - size % block) % block
}
