//! Names of an archive, and the places in the tree they mean.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{DEPTH_MAX, ExtractError, NameRefusal, lossy};
use crate::PathError;
use crate::tar::NAME_MAX;

/// Most bytes of one component: what every file system allows.
const COMPONENT_MAX: usize = 255;

/// Splits a name; `/` at the start, `.` and empty components mean nothing.
pub(super) fn components(name: &[u8]) -> Result<Vec<&[u8]>, ExtractError> {
    let refuse = |reason| ExtractError::Name {
        name: lossy(name),
        reason,
    };
    if name.contains(&0) {
        return Err(refuse(NameRefusal::Nul));
    }
    if name.len() >= NAME_MAX {
        return Err(refuse(NameRefusal::TooLong));
    }
    let mut components = Vec::new();
    for component in name.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return Err(refuse(NameRefusal::Parent)),
            _ if component.len() > COMPONENT_MAX => return Err(refuse(NameRefusal::TooLong)),
            _ => components.push(component),
        }
    }
    if components.len() > DEPTH_MAX {
        return Err(refuse(NameRefusal::TooDeep));
    }
    Ok(components)
}

/// A name in an open directory.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) parent: Rc<OwnedFd>,
    name: Vec<u8>,
    /// The directory's path in the tree, for messages.
    parent_path: Rc<Vec<u8>>,
}

impl Place {
    pub(super) fn name(&self) -> &OsStr {
        OsStr::from_bytes(&self.name)
    }

    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(OsStr::from_bytes(&self.parent_path)).join(self.name())
    }

    pub(super) fn error(&self, operation: &'static str, source: io::Error) -> PathError {
        PathError {
            operation,
            path: self.path(),
            source,
        }
    }

    /// Returns what is here.
    pub(super) fn kind(&self) -> Result<Option<FileType>, PathError> {
        Ok(self
            .stat()?
            .map(|stat| FileType::from_raw_mode(stat.st_mode)))
    }

    pub(super) fn inode(&self) -> Result<Option<u64>, PathError> {
        Ok(self.stat()?.map(|stat| stat.st_ino))
    }

    fn stat(&self) -> Result<Option<rustix::fs::Stat>, PathError> {
        match rustix::fs::statat(&self.parent, self.name(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.error("look at", errno.into())),
        }
    }

    /// Opens what is here for its identity only, a link itself.
    pub(super) fn open_identity(&self) -> Result<OwnedFd, PathError> {
        rustix::fs::openat(
            &self.parent,
            self.name(),
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|errno| self.error("open", errno.into()))
    }

    pub(super) fn open_directory(&self) -> Result<OwnedFd, PathError> {
        rustix::fs::openat(
            &self.parent,
            self.name(),
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|errno| self.error("open directory", errno.into()))
    }
}

/// The directory that is unpacked into.
pub(super) struct Root<'a> {
    root: BorrowedFd<'a>,
    /// The root that links are followed in, and the directory's path in it.
    scope: BorrowedFd<'a>,
    prefix: Vec<u8>,
    /// The last parent: archives go directory by directory.
    last: Option<(Rc<Vec<u8>>, Rc<OwnedFd>)>,
}

impl<'a> Root<'a> {
    pub(super) fn new(root: BorrowedFd<'a>) -> Self {
        Self {
            root,
            scope: root,
            prefix: Vec::new(),
            last: None,
        }
    }

    /// Lets links lead anywhere in `scope`, which has this directory at `prefix`.
    pub(super) fn within(self, scope: BorrowedFd<'a>, prefix: Vec<u8>) -> Self {
        Self {
            scope,
            prefix,
            ..self
        }
    }

    pub(super) fn path_of(&self, path: &[u8]) -> PathBuf {
        PathBuf::from(OsStr::from_bytes(if path.is_empty() { b"." } else { path }))
    }

    /// Returns the place a name means, having made the directories on the way to it.
    pub(super) fn place(&mut self, components: &[&[u8]]) -> Result<Place, ExtractError> {
        let Some((name, parents)) = components.split_last() else {
            return Err(ExtractError::Name {
                name: String::new(),
                reason: NameRefusal::Empty,
            });
        };
        let path = parents.join(&b'/');
        if let Some((known, parent)) = &self.last
            && **known == path
        {
            return Ok(Place {
                parent: Rc::clone(parent),
                name: name.to_vec(),
                parent_path: Rc::clone(known),
            });
        }
        let parent = Rc::new(self.make_directory(parents)?);
        let path = Rc::new(path);
        self.last = Some((Rc::clone(&path), Rc::clone(&parent)));
        Ok(Place {
            parent,
            name: name.to_vec(),
            parent_path: path,
        })
    }

    /// Opens a directory that an earlier entry made.
    pub(super) fn open_directory(&self, path: &[u8]) -> Result<OwnedFd, PathError> {
        self.open(path, OFlags::RDONLY | OFlags::DIRECTORY)
            .map_err(|errno| PathError {
                operation: "open directory",
                path: self.path_of(path),
                source: errno.into(),
            })
    }

    /// Opens anything, without following a link in the last component, for its identity only.
    pub(super) fn open_file(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        self.open(path, OFlags::PATH | OFlags::NOFOLLOW)
    }

    fn open(&self, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let path = if path.is_empty() { b"." } else { path };
        let opened = rustix::fs::openat2(
            self.root,
            OsStr::from_bytes(path),
            flags | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
        );
        if opened.as_ref().err() != Some(&Errno::LOOP) {
            return opened;
        }
        let path = [&self.prefix, &b"/"[..], path].concat();
        let path = Path::new(OsStr::from_bytes(&path));
        wharf_sys::rooted::open(self.scope, path, flags)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }

    /// Opens a directory, making it and those above it where they are not there.
    pub(super) fn make_directory(&mut self, components: &[&[u8]]) -> Result<OwnedFd, ExtractError> {
        let directory = OFlags::RDONLY | OFlags::DIRECTORY;
        let path = components.join(&b'/');
        match self.open(&path, directory) {
            Ok(parent) => return Ok(parent),
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(errno) => return Err(self.parent_error(&path, errno)),
        }
        let mut known = self.open(b"", directory);
        for depth in 1..=components.len() {
            let path = components[..depth].join(&b'/');
            let parent = known.map_err(|errno| self.parent_error(&path, errno))?;
            known = match self.open(&path, directory) {
                Err(Errno::NOENT) => self.make_component(parent.as_fd(), components[depth - 1]),
                Err(Errno::NOTDIR) => self.uncover(parent.as_fd(), components[depth - 1]),
                opened => opened,
            };
        }
        known.map_err(|errno| self.parent_error(&path, errno))
    }

    fn make_component(&self, parent: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
        let name = OsStr::from_bytes(name);
        // A dangling link is not replaced by what is written through it.
        match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
            Err(Errno::EXIST) => return Err(Errno::NOTDIR),
            made => made?,
        }
        let directory = rustix::fs::openat(
            parent,
            name,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        // Whatever the process's umask says.
        rustix::fs::fchmod(&directory, Mode::from_raw_mode(0o755))?;
        Ok(directory)
    }

    /// Puts an opaque directory where this layer has a whiteout so far.
    fn uncover(&self, parent: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
        let stat = rustix::fs::statat(parent, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW)?;
        if !whiteout(&stat) {
            return Err(Errno::NOTDIR);
        }
        rustix::fs::unlinkat(parent, OsStr::from_bytes(name), AtFlags::empty())?;
        let directory = self.make_component(parent, name)?;
        rustix::fs::fsetxattr(
            &directory,
            super::OPAQUE,
            b"y",
            rustix::fs::XattrFlags::empty(),
        )?;
        Ok(directory)
    }

    fn parent_error(&self, path: &[u8], errno: Errno) -> ExtractError {
        match errno {
            Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::NOENT => ExtractError::Name {
                name: lossy(path),
                reason: NameRefusal::ParentNotDirectory,
            },
            errno => PathError {
                operation: "open directory",
                path: self.path_of(path),
                source: errno.into(),
            }
            .into(),
        }
    }

    pub(super) fn is_whiteout(&self, place: &Place) -> Result<bool, PathError> {
        Ok(place.stat()?.as_ref().is_some_and(whiteout))
    }

    /// Removes what is at a place, with all below it.
    pub(super) fn remove(&mut self, place: &Place) -> Result<(), PathError> {
        self.last = None;
        crate::remove::remove_at(place.parent.as_fd(), place.name(), &place.path())
    }
}

fn whiteout(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}
