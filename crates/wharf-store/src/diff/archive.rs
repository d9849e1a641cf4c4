//! Trees as archives: holes, hard links and attributes kept, links stored as links (attack A8).

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{FileType, Stat};

use crate::DiffError;
use crate::files::failed;
use crate::owners::IdMaps;
use crate::tar::{Entry, Kind, Segment, Time, Writer};
use crate::tree::{self, Item};

/// Holes smaller than this in all are written as NULs: not every reader knows sparse entries.
const HOLES_WORTH: u64 = 1 << 20;

/// Writes entries of a tree.
pub(crate) struct Archive<W: Write> {
    writer: Writer<io::BufWriter<W>>,
    /// Files of several names that have been written, and under which.
    links: HashMap<(u64, u64), Vec<u8>>,
    holes: Holes,
    ids: IdMaps,
}

/// What becomes of the holes of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holes {
    /// They stay holes, where they are worth it.
    Kept,
    /// They are written as NULs: dockerd cannot save an image of which a layer has sparse entries.
    Written,
}

impl<W: Write> Archive<W> {
    pub(crate) fn new(writer: W, holes: Holes) -> Self {
        Self {
            writer: Writer::new(io::BufWriter::with_capacity(64 << 10, writer)),
            links: HashMap::new(),
            holes,
            ids: IdMaps::default(),
        }
    }

    /// Writes the owners of a tree that has these ids.
    pub(crate) fn with_ids(self, ids: &IdMaps) -> Self {
        Self {
            ids: ids.clone(),
            ..self
        }
    }

    /// Writes an entry of a tree as it is. A socket is left out: it means nothing without its
    /// process, and the format has none. So is what went away, or became something else, after it
    /// was listed: the tree may be in use.
    pub(crate) fn item(&mut self, item: &Item<'_>) -> Result<(), DiffError> {
        match self.present(item) {
            Err(DiffError::Path(error)) if tree::has_gone(&error) => Ok(()),
            written => written,
        }
    }

    /// Nothing of an entry is written before all of it is open.
    fn present(&mut self, item: &Item<'_>) -> Result<(), DiffError> {
        let kind = match item.kind() {
            FileType::RegularFile => Kind::Regular,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            FileType::CharacterDevice => Kind::Char,
            FileType::BlockDevice => Kind::Block,
            FileType::Fifo => Kind::Fifo,
            _ => return Ok(()),
        };
        let mut entry = described(item, kind, &self.ids);
        // Of a hard link too: dockerd gives the file what the link's entry says, and loses the
        // attributes that it does not say.
        entry.xattrs = item.attributes()?;
        if kind != Kind::Directory && item.stat.st_nlink > 1 {
            let inode = (item.stat.st_dev, item.stat.st_ino);
            if let Some(first) = self.links.get(&inode) {
                entry.kind = Kind::HardLink;
                entry.link.clone_from(first);
                entry.size = 0;
                return self.append(&entry, &mut io::empty());
            }
            self.links.insert(inode, entry.path.clone());
        }
        match kind {
            Kind::Regular => return self.file(item, entry),
            Kind::Symlink => entry.link = item.read_link()?.into_bytes(),
            Kind::Directory if !entry.path.ends_with(b"/") => entry.path.push(b'/'),
            _ => {}
        }
        self.append(&entry, &mut io::empty())
    }

    fn file(&mut self, item: &Item<'_>, mut entry: Entry) -> Result<(), DiffError> {
        let file = item.open_file()?;
        let allocated = u64::try_from(item.stat.st_blocks).unwrap_or(0) * 512;
        if allocated < entry.size && self.holes == Holes::Kept {
            let mut segments =
                tree::segments(file.as_fd(), entry.size).map_err(failed("read", item.path))?;
            let held: u64 = segments.iter().map(|segment| segment.length).sum();
            if entry.size - held >= HOLES_WORTH {
                // GNU tar takes the file's length from where the last segment ends.
                segments.push(Segment {
                    offset: entry.size,
                    length: 0,
                });
                entry.sparse = Some(segments);
            }
        }
        let mut data = Segments {
            file: File::from(file),
            segments: entry.sparse.clone().unwrap_or_else(|| {
                vec![Segment {
                    offset: 0,
                    length: entry.size,
                }]
            }),
            next: 0,
            remaining: 0,
        };
        self.append(&entry, &mut data)
    }

    /// Writes that what the layers below have of this name is deleted.
    pub(super) fn whiteout(&mut self, path: &Path) -> Result<(), DiffError> {
        let name = path.file_name().unwrap_or_default().as_bytes();
        self.mark(path.parent(), &[b".wh.", name].concat())
    }

    /// Writes that nothing the layers below have in this directory is seen.
    pub(super) fn opaque(&mut self, path: &Path) -> Result<(), DiffError> {
        self.mark(Some(path), b".wh..wh..opq")
    }

    fn mark(&mut self, directory: Option<&Path>, name: &[u8]) -> Result<(), DiffError> {
        let mut path = directory
            .map(|path| path.as_os_str().as_bytes().to_vec())
            .unwrap_or_default();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        let entry = Entry {
            path,
            link: Vec::new(),
            kind: Kind::Regular,
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: Time::default(),
            device: (0, 0),
            size: 0,
            sparse: None,
            xattrs: Vec::new(),
        };
        self.append(&entry, &mut io::empty())
    }

    fn append(&mut self, entry: &Entry, data: &mut dyn Read) -> Result<(), DiffError> {
        self.writer.append(entry, data).map_err(DiffError::Write)
    }

    pub(crate) fn finish(self) -> Result<(), DiffError> {
        let mut buffer = self.writer.finish().map_err(DiffError::Write)?;
        buffer.flush().map_err(DiffError::Write)
    }
}

fn described(item: &Item<'_>, kind: Kind, ids: &IdMaps) -> Entry {
    let stat: &Stat = item.stat;
    let (uid, gid) = ids.outward(stat.st_uid, stat.st_gid);
    let device = match kind {
        Kind::Char | Kind::Block => (
            rustix::fs::major(stat.st_rdev),
            rustix::fs::minor(stat.st_rdev),
        ),
        _ => (0, 0),
    };
    Entry {
        path: item.path.as_os_str().as_bytes().to_vec(),
        link: Vec::new(),
        kind,
        mode: stat.st_mode & 0o7777,
        uid,
        gid,
        mtime: Time {
            seconds: stat.st_mtime,
            nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        },
        device,
        size: if kind == Kind::Regular {
            item.size()
        } else {
            0
        },
        sparse: None,
        xattrs: Vec::new(),
    }
}

/// Reads the parts of a file that hold data, one after the other.
struct Segments {
    file: File,
    segments: Vec<Segment>,
    next: usize,
    remaining: u64,
}

impl Read for Segments {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.remaining == 0 {
            let Some(segment) = self.segments.get(self.next) else {
                return Ok(0);
            };
            self.file.seek(SeekFrom::Start(segment.offset))?;
            self.remaining = segment.length;
            self.next += 1;
        }
        let most = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        let most = most.min(buffer.len());
        let count = match self.file.read(&mut buffer[..most])? {
            // It shrank while it was read: NULs stand for what its header has promised.
            0 => {
                buffer[..most].fill(0);
                most
            }
            count => count,
        };
        self.remaining -= count as u64;
        Ok(count)
    }
}
