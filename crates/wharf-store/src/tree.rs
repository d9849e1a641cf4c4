//! Walking a tree that a container has written: by descriptors, in order of names, never
//! following a link.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, SeekFrom, Stat};
use rustix::io::Errno;

use crate::PathError;
use crate::extract::kept;
use crate::files::{failed, proc_path};
use crate::tar::Segment;

/// Levels that are gone down: each holds a descriptor.
const DEPTH_MAX: usize = 400;
const LISTING: usize = 32 << 10;
const OPAQUE: &str = "trusted.overlay.opaque";

/// An entry of a tree.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item<'a> {
    pub(crate) parent: BorrowedFd<'a>,
    pub(crate) name: &'a CStr,
    /// The path from the tree's root.
    pub(crate) path: &'a Path,
    pub(crate) stat: &'a Stat,
}

/// Extended attributes: names and values.
pub(crate) type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

/// Why a walk ended early.
#[derive(Debug)]
pub(crate) enum WalkError<E> {
    Path(PathError),
    TooDeep(PathBuf),
    Visitor(E),
}

impl Item<'_> {
    pub(crate) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    pub(crate) fn size(&self) -> u64 {
        u64::try_from(self.stat.st_size).unwrap_or(0)
    }

    /// Whether it is overlay's mark that something below is deleted.
    pub(crate) fn is_whiteout(&self) -> bool {
        self.kind() == FileType::CharacterDevice && self.stat.st_rdev == 0
    }

    pub(crate) fn open_directory(&self) -> Result<OwnedFd, PathError> {
        self.open(OFlags::DIRECTORY)
    }

    /// Opens a regular file for reading; what has become something else meanwhile is refused
    /// without waiting for it.
    pub(crate) fn open_file(&self) -> Result<OwnedFd, PathError> {
        let file = self.open(OFlags::NONBLOCK | OFlags::NOCTTY)?;
        let stat = rustix::fs::fstat(&file).map_err(failed("look at", self.path))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(failed("open", self.path)(Errno::STALE));
        }
        Ok(file)
    }

    fn open(&self, flags: OFlags) -> Result<OwnedFd, PathError> {
        let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(self.parent, self.name, flags, Mode::empty())
            .map_err(failed("open", self.path))
    }

    pub(crate) fn read_link(&self) -> Result<CString, PathError> {
        rustix::fs::readlinkat(self.parent, self.name, Vec::new())
            .map_err(failed("read link", self.path))
    }

    /// Returns the attributes that belong to the file, in order.
    pub(crate) fn attributes(&self) -> Result<Attributes, PathError> {
        let path = proc_path(self.parent).join(OsStr::from_bytes(self.name.to_bytes()));
        let list = match grow(|buffer| rustix::fs::llistxattr(&path, buffer)) {
            // No attributes on this file system, or on links and nodes.
            Err(Errno::OPNOTSUPP | Errno::PERM) => return Ok(Vec::new()),
            list => list.map_err(failed("list attributes of", self.path))?,
        };
        let mut attributes = Vec::new();
        for name in list.split(|byte| *byte == 0).filter(|name| kept(name)) {
            let name_os = OsStr::from_bytes(name);
            match grow(|buffer| rustix::fs::lgetxattr(&path, name_os, buffer)) {
                // Gone since it was listed.
                Err(Errno::NODATA) => {}
                value => attributes.push((
                    name.to_vec(),
                    value.map_err(failed("read attribute of", self.path))?,
                )),
            }
        }
        attributes.sort();
        Ok(attributes)
    }
}

/// Calls with a larger buffer until the answer fits.
fn grow(mut call: impl FnMut(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; 256];
    loop {
        match call(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            // The kernel's own limit on both is 64 KiB.
            Err(Errno::RANGE) if buffer.len() < 64 << 10 => buffer.resize(buffer.len() * 4, 0),
            Err(errno) => return Err(errno),
        }
    }
}

/// Whether a directory of a layer hides what is below it.
pub(crate) fn is_opaque(directory: BorrowedFd<'_>, path: &Path) -> Result<bool, PathError> {
    let mut value = [0; 4];
    match rustix::fs::fgetxattr(directory, OPAQUE, &mut value) {
        Ok(length) => Ok(value[..length] == *b"y"),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
        Err(errno) => Err(failed("read attribute of", path)(errno)),
    }
}

/// Returns the names in a directory, in order.
pub(crate) fn names(directory: BorrowedFd<'_>, path: &Path) -> Result<Vec<CString>, PathError> {
    // A descriptor of its own: where a listing is belongs to the open directory.
    let listed = rustix::fs::openat(
        directory,
        c".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(failed("open directory", path))?;
    let mut buffer = vec![MaybeUninit::uninit(); LISTING];
    let mut entries = RawDir::new(&listed, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(failed("list", path))?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Visits everything below a directory, each directory before its entries; the visitor says
/// whether to go into one.
pub(crate) fn walk<E>(
    root: BorrowedFd<'_>,
    visit: &mut dyn FnMut(&Item<'_>) -> Result<bool, E>,
) -> Result<(), WalkError<E>> {
    walk_as(root, PathBuf::new(), visit)
}

/// As [`walk`], with the tree's root called `name` in the paths.
pub(crate) fn walk_as<E>(
    root: BorrowedFd<'_>,
    mut name: PathBuf,
    visit: &mut dyn FnMut(&Item<'_>) -> Result<bool, E>,
) -> Result<(), WalkError<E>> {
    descend(root, &mut name, 0, visit)
}

/// Whether an entry went away, or became something else, after it was listed.
pub(crate) fn has_gone(error: &PathError) -> bool {
    let gone = [
        Errno::NOENT,
        Errno::NOTDIR,
        Errno::LOOP,
        Errno::STALE,
        Errno::NXIO,
    ];
    error
        .source
        .raw_os_error()
        .is_some_and(|errno| gone.iter().any(|gone| gone.raw_os_error() == errno))
}

fn descend<E>(
    directory: BorrowedFd<'_>,
    path: &mut PathBuf,
    depth: usize,
    visit: &mut dyn FnMut(&Item<'_>) -> Result<bool, E>,
) -> Result<(), WalkError<E>> {
    if depth > DEPTH_MAX {
        return Err(WalkError::TooDeep(path.clone()));
    }
    for name in names(directory, path).map_err(WalkError::Path)? {
        path.push(OsStr::from_bytes(name.to_bytes()));
        let stat = match rustix::fs::statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
            // Gone since it was listed: the tree may be in use.
            Err(Errno::NOENT) => {
                path.pop();
                continue;
            }
            stat => stat.map_err(|errno| WalkError::Path(failed("look at", path)(errno)))?,
        };
        let item = Item {
            parent: directory,
            name: &name,
            path,
            stat: &stat,
        };
        let enter = visit(&item).map_err(WalkError::Visitor)?;
        if enter && item.kind() == FileType::Directory {
            match item.open_directory() {
                Ok(below) => descend(below.as_fd(), path, depth + 1, visit)?,
                Err(error) if has_gone(&error) => {}
                Err(error) => return Err(WalkError::Path(error)),
            }
        }
        path.pop();
    }
    Ok(())
}

/// Returns the parts of a file that hold data.
pub(crate) fn segments(file: BorrowedFd<'_>, size: u64) -> io::Result<Vec<Segment>> {
    let whole = |offset| {
        vec![Segment {
            offset,
            length: size,
        }]
    };
    let mut segments = Vec::new();
    let mut offset = 0;
    while offset < size {
        let start = match rustix::fs::seek(file, SeekFrom::Data(offset)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            // The file system knows of no holes.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(whole(0)),
            Err(errno) => return Err(errno.into()),
        };
        let end = rustix::fs::seek(file, SeekFrom::Hole(start))?.min(size);
        if start >= end {
            break;
        }
        segments.push(Segment {
            offset: start,
            length: end - start,
        });
        offset = end;
    }
    rustix::fs::seek(file, SeekFrom::Start(0))?;
    Ok(segments)
}
