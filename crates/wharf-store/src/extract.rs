//! Turns a layer's tar into a directory tree that can be a lower layer of an overlay.
//!
//! Nothing in the archive is trusted. The tree is private while it grows (its parent is 0700),
//! and every name is resolved by the kernel beneath its root: parents by `openat2` with
//! `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS`, then one `*at` call on the last component, which
//! never follows a link. Archives do write through their own symbolic links (`bin -> usr/bin`,
//! then `bin/sh`), and other engines follow them inside the root; so a parent that holds links is
//! resolved again by `RESOLVE_IN_ROOT`, which confines them. `..` in a name is refused.
//!
//! The same code unpacks into a tree that is there and in use ([`extract_in_place`], `PUT archive`).
//! Then somebody may change it meanwhile: nothing is done by a name that has been looked at before,
//! only by what a call has opened or made itself, and a parent that holds links is resolved
//! inside the container's whole root. Names that mean something in a layer mean nothing there.
//!
//! What becomes of the special entries in a layer:
//!
//! | entry | in the tree |
//! |---|---|
//! | `.wh.NAME` | a character device 0:0 named NAME: overlay's whiteout |
//! | `.wh..wh..opq` | `trusted.overlay.opaque=y` on the directory |
//! | `.wh..wh.*` (aufs) | nothing |
//! | a whiteout and the thing itself in one layer, in either order | the thing; a directory is opaque |
//! | the same name again | the last one; directories merge |
//! | `trusted.overlay.*` attributes | refused: they would be orders to the kernel |
//! | `user.*`, `security.capability`, `system.posix_acl_*` | kept |
//! | other attributes (labels, checksums of the host they come from) | dropped |

mod attributes;
mod place;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use crate::PathError;
use crate::owners::{IdMaps, Owners};
use crate::rooted::Renamed;
use crate::tar::{Entry, Kind, Reader, TarError, Time, reading};

use attributes::Given;
pub(crate) use attributes::kept;
use place::{Place, Root};

/// Most components of a path.
const DEPTH_MAX: usize = 512;
const OPAQUE: &str = "trusted.overlay.opaque";
const COPY_BUFFER: usize = 128 << 10;
/// Bytes of directories' names that are kept for the end.
const TIMES_MAX: usize = 64 << 20;
/// NULs in a row that are worth a hole.
const HOLE: usize = 32 << 10;

/// An archive cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// It is not an archive, or damaged.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// An entry's name is refused.
    #[error("entry {name:?} {reason}")]
    Name {
        /// The name.
        name: String,
        /// Why.
        reason: NameRefusal,
    },
    /// A hard link's target is not a file of the same layer.
    #[error("hard link {name:?} to {target:?}, which is not a file of this layer")]
    HardLink {
        /// The link.
        name: String,
        /// Its target.
        target: String,
    },
    /// An entry has an attribute that only the kernel's overlay may set.
    #[error("entry {name:?} has the reserved attribute {attribute:?}")]
    Attribute {
        /// The entry.
        name: String,
        /// The attribute.
        attribute: String,
    },
    /// An entry's owner does not exist in the container's user namespace.
    #[error("entry {name:?} belongs to {uid}:{gid}, for which the container has no ids")]
    Owner {
        /// The entry.
        name: String,
        /// Its user.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// An entry would replace a directory, which was forbidden.
    #[error("cannot overwrite directory {path:?} with non-directory {place:?}")]
    ReplacesDirectory {
        /// The directory.
        path: PathBuf,
        /// Where the archive is unpacked.
        place: PathBuf,
    },
    /// An entry would replace something by a directory, which was forbidden.
    #[error("cannot overwrite non-directory {path:?} with directory {place:?}")]
    ReplacedByDirectory {
        /// What is there.
        path: PathBuf,
        /// Where the archive is unpacked.
        place: PathBuf,
    },
    /// An entry is of a kind that has no place in a root file system.
    #[error("entry {name:?} is of an unknown kind ({flag:?})")]
    Kind {
        /// The entry.
        name: String,
        /// The kind's letter.
        flag: char,
    },
    /// It holds more than is allowed.
    #[error(transparent)]
    Exceeded(#[from] Exceeded),
    /// The tree cannot be written.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// Why a name is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameRefusal {
    /// It goes up.
    #[error("goes up with \"..\"")]
    Parent,
    /// It holds a NUL.
    #[error("holds a NUL")]
    Nul,
    /// It, or a component of it, is too long.
    #[error("is too long")]
    TooLong,
    /// It has too many components.
    #[error("is too deep")]
    TooDeep,
    /// It names the root where a file is meant.
    #[error("names no file")]
    Empty,
    /// On the way to it is something else than a directory.
    #[error("has a parent that is not a directory")]
    ParentNotDirectory,
}

/// A limit on what an archive may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Exceeded {
    /// Its files are too large.
    #[error("the layer holds more than {0} bytes")]
    Bytes(u64),
    /// It has too many entries.
    #[error("the layer holds more than {0} entries")]
    Entries(u64),
    /// It expands suspiciously.
    #[error("the layer expands beyond {ratio} times its compressed size after {floor} bytes")]
    Expansion {
        /// Bytes that are never suspicious.
        floor: u64,
        /// Bytes out of one byte beyond them.
        ratio: u64,
    },
}

/// What may come out of an archive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
}

/// What came out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Extracted {
    /// Bytes of file data in the archive.
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
    /// Whether the archive says who owns the root directory and how.
    pub(crate) root: bool,
}

/// What unpacking into a tree that is there needs to know of it.
#[derive(Debug)]
pub(crate) struct InPlace<'a> {
    /// The root that links are followed in.
    pub(crate) scope: BorrowedFd<'a>,
    /// Where in it the archive is unpacked.
    pub(crate) place: PathBuf,
    /// Whether a directory may only replace a directory, and a file only a file.
    pub(crate) keep_kinds: bool,
    pub(crate) owners: Owners,
    pub(crate) renamed: Option<&'a Renamed>,
    /// Which ids it has.
    pub(crate) ids: &'a IdMaps,
}

/// Unpacks a layer's archive into the empty directory `root` and reads the stream to its end.
pub(crate) fn extract(
    input: impl Read,
    root: BorrowedFd<'_>,
    bounds: Bounds,
) -> Result<Extracted, ExtractError> {
    run(input, Root::new(root), bounds, None)
}

/// Unpacks an archive into the directory `root`, among what is there, and reads the stream to its
/// end.
pub(crate) fn extract_in_place(
    input: impl Read,
    root: BorrowedFd<'_>,
    bounds: Bounds,
    in_place: InPlace<'_>,
) -> Result<(), ExtractError> {
    let place = in_place.place.as_os_str().as_bytes().to_vec();
    let root = Root::new(root).within(in_place.scope, place);
    run(input, root, bounds, Some(&in_place)).map(drop)
}

fn run(
    input: impl Read,
    root: Root<'_>,
    bounds: Bounds,
    in_place: Option<&InPlace<'_>>,
) -> Result<Extracted, ExtractError> {
    let mut extractor = Extractor {
        root,
        in_place,
        bounds,
        done: Extracted::default(),
        logical: 0,
        times: Vec::new(),
        times_bytes: 0,
        buffer: vec![0; COPY_BUFFER],
        skipped: false,
    };
    let mut reader = Reader::new(input);
    while let Some(mut entry) = reader.next().map_err(limits)? {
        if let Some(renamed) = in_place.and_then(|in_place| in_place.renamed) {
            entry.path = renamed.apply(&entry.path);
            if entry.kind == Kind::HardLink {
                entry.link = renamed.apply(&entry.link);
            }
        }
        extractor.entry(&entry, &mut reader)?;
    }
    reader.drain().map_err(limits)?;
    extractor.set_directory_times()?;
    Ok(extractor.done)
}

/// Finds the limit behind a read error: the decoder below can only report one that way.
fn limits(error: TarError) -> ExtractError {
    match error {
        TarError::Read(error) => match error.downcast::<Exceeded>() {
            Ok(exceeded) => ExtractError::Exceeded(exceeded),
            Err(error) => ExtractError::Tar(TarError::Read(error)),
        },
        other => ExtractError::Tar(other),
    }
}

struct Extractor<'a> {
    root: Root<'a>,
    /// Set when the tree was there before; else it is a layer's.
    in_place: Option<&'a InPlace<'a>>,
    bounds: Bounds,
    done: Extracted,
    /// Bytes of all files, holes included.
    logical: u64,
    /// Directories get their times at the end: making their entries changes them.
    times: Vec<(Vec<u8>, Time)>,
    times_bytes: usize,
    buffer: Vec<u8>,
    /// Whether the file being written ends in a hole that its length does not cover yet.
    skipped: bool,
}

impl Extractor<'_> {
    fn entry<R: Read>(
        &mut self,
        entry: &Entry,
        reader: &mut Reader<R>,
    ) -> Result<(), ExtractError> {
        self.count(entry)?;
        let components = place::components(&entry.path)?;
        let Some(name) = components.last() else {
            return self.root_entry(entry);
        };
        let hidden = name.strip_prefix(b".wh.");
        if let (Some(hidden), None) = (hidden, self.in_place) {
            return self.whiteout(&components[..components.len() - 1], hidden);
        }
        let place = self.root.place(&components)?;
        match entry.kind {
            Kind::Regular => self.regular(&place, entry, reader)?,
            Kind::Directory => return self.directory(&place, entry, components.join(&b'/')),
            Kind::HardLink => return self.hard_link(&place, entry),
            Kind::Symlink => self.symlink(&place, entry)?,
            // A device 0:0 is a whiteout in all but name, and overlay takes it for one.
            Kind::Char if entry.device == (0, 0) && self.in_place.is_none() => {
                return self.hide(&place);
            }
            Kind::Char => self.node(&place, entry, FileType::CharacterDevice)?,
            Kind::Block => self.node(&place, entry, FileType::BlockDevice)?,
            Kind::Fifo => self.node(&place, entry, FileType::Fifo)?,
            Kind::Other(flag) => {
                return Err(ExtractError::Kind {
                    name: lossy(&entry.path),
                    flag: char::from(flag),
                });
            }
        }
        if entry.kind != Kind::Regular {
            attributes::set_by_name(&place, entry, self.given(entry)?)?;
        }
        Ok(())
    }

    fn given(&self, entry: &Entry) -> Result<Given, ExtractError> {
        let owner = match self.in_place {
            Some(in_place) => in_place.ids.inward(in_place.owners, entry.uid, entry.gid),
            None => IdMaps::default().inward(Owners::AsGiven, entry.uid, entry.gid),
        };
        let (uid, gid) = owner.ok_or_else(|| ExtractError::Owner {
            name: String::from_utf8_lossy(&entry.path).into_owned(),
            uid: entry.uid,
            gid: entry.gid,
        })?;
        Ok(Given {
            uid,
            gid,
            // A volume's file system may have no attributes, and a caller no right to set them.
            lenient: self.in_place.is_some(),
        })
    }

    fn count(&mut self, entry: &Entry) -> Result<(), ExtractError> {
        self.done.entries += 1;
        if self.done.entries > self.bounds.entries {
            return Err(Exceeded::Entries(self.bounds.entries).into());
        }
        self.logical = self.logical.saturating_add(entry.size);
        if self.logical > self.bounds.bytes {
            return Err(Exceeded::Bytes(self.bounds.bytes).into());
        }
        attributes::check(entry)
    }

    /// The entry `./`: the layer's own directory.
    fn root_entry(&mut self, entry: &Entry) -> Result<(), ExtractError> {
        if entry.kind != Kind::Directory {
            return Err(ExtractError::Name {
                name: lossy(&entry.path),
                reason: NameRefusal::Empty,
            });
        }
        // A directory that was there before keeps what it is.
        if self.in_place.is_some() {
            return Ok(());
        }
        let root = self.root.open_directory(b"")?;
        let path = self.root.path_of(b"");
        attributes::set(root.as_fd(), entry, self.given(entry)?, &path)?;
        self.done.root = true;
        self.remember_time(Vec::new(), entry.mtime)
    }

    fn regular<R: Read>(
        &mut self,
        place: &Place,
        entry: &Entry,
        reader: &mut Reader<R>,
    ) -> Result<(), ExtractError> {
        let file = self.make(place, "create file", |place| {
            rustix::fs::openat(
                &place.parent,
                place.name(),
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                Mode::RUSR | Mode::WUSR,
            )
        })?;
        let mut file = File::from(file);
        let written = self.fill(place, entry, reader, &mut file);
        if written.is_err() {
            // The space must be free when the error is told; that there is none is the reason.
            rustix::fs::unlinkat(&place.parent, place.name(), AtFlags::empty()).ok();
        }
        written
    }

    /// Gives a new file its content, and everything that belongs to it.
    fn fill<R: Read>(
        &mut self,
        place: &Place,
        entry: &Entry,
        reader: &mut Reader<R>,
        file: &mut File,
    ) -> Result<(), ExtractError> {
        let fail = |source| place.error("write", source);
        match &entry.sparse {
            None => self.copy(reader, file, entry.size, place)?,
            Some(segments) => {
                for segment in segments {
                    file.seek(SeekFrom::Start(segment.offset)).map_err(fail)?;
                    self.copy(reader, file, segment.length, place)?;
                }
            }
        }
        if entry.sparse.is_some() || self.skipped {
            file.set_len(entry.size).map_err(fail)?;
        }
        attributes::set(file.as_fd(), entry, self.given(entry)?, &place.path())?;
        rustix::fs::futimens(&*file, &attributes::timestamps(entry.mtime))
            .map_err(|errno| place.error("set time of", errno.into()))?;
        Ok(())
    }

    fn copy<R: Read>(
        &mut self,
        reader: &mut Reader<R>,
        file: &mut File,
        mut length: u64,
        place: &Place,
    ) -> Result<(), ExtractError> {
        self.skipped = false;
        while length > 0 {
            let most = usize::try_from(length).unwrap_or(usize::MAX);
            let most = most.min(self.buffer.len());
            let count = match reader.read(&mut self.buffer[..most]) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(limits(reading(error))),
            };
            let bytes = &self.buffer[..count];
            // Layers have their holes written out, since dockerd cannot save an image with sparse
            // entries; here they become holes again.
            self.skipped = count >= HOLE && bytes.iter().all(|byte| *byte == 0);
            if self.skipped {
                let forward = SeekFrom::Current(i64::try_from(count).unwrap_or(i64::MAX));
                file.seek(forward).map(drop)
            } else {
                file.write_all(bytes)
            }
            .map_err(|source| place.error("write", source))?;
            length -= count as u64;
            self.done.bytes += count as u64;
        }
        Ok(())
    }

    fn directory(
        &mut self,
        place: &Place,
        entry: &Entry,
        path: Vec<u8>,
    ) -> Result<(), ExtractError> {
        let made = rustix::fs::mkdirat(&place.parent, place.name(), Mode::RWXU);
        if made == Err(rustix::io::Errno::EXIST) {
            let found = place.kind()?;
            if found != Some(FileType::Directory) {
                self.may_replace(place, Kind::Directory)?;
                let hidden = self.in_place.is_none() && self.root.is_whiteout(place)?;
                self.root.remove(place)?;
                rustix::fs::mkdirat(&place.parent, place.name(), Mode::RWXU)
                    .map_err(|errno| place.error("create directory", errno.into()))?;
                if hidden {
                    self.opaque(place)?;
                }
            }
        } else {
            made.map_err(|errno| place.error("create directory", errno.into()))?;
        }
        attributes::set_by_name(place, entry, self.given(entry)?)?;
        self.remember_time(path, entry.mtime)
    }

    fn symlink(&mut self, place: &Place, entry: &Entry) -> Result<(), ExtractError> {
        if entry.link.contains(&0) || entry.link.len() >= crate::tar::NAME_MAX {
            return Err(ExtractError::Name {
                name: lossy(&entry.path),
                reason: NameRefusal::TooLong,
            });
        }
        self.make(place, "create symbolic link", |place| {
            rustix::fs::symlinkat(OsStr::from_bytes(&entry.link), &place.parent, place.name())
        })
    }

    fn node(&mut self, place: &Place, entry: &Entry, kind: FileType) -> Result<(), ExtractError> {
        let device = rustix::fs::makedev(entry.device.0, entry.device.1);
        self.make(place, "create device", |place| {
            rustix::fs::mknodat(
                &place.parent,
                place.name(),
                kind,
                Mode::RUSR | Mode::WUSR,
                device,
            )
        })
    }

    fn hard_link(&mut self, place: &Place, entry: &Entry) -> Result<(), ExtractError> {
        let refuse = || ExtractError::HardLink {
            name: lossy(&entry.path),
            target: lossy(&entry.link),
        };
        let components = place::components(&entry.link).map_err(|_| refuse())?;
        let target = self
            .root
            .open_file(&components.join(&b'/'))
            .map_err(|_| refuse())?;
        let stat = rustix::fs::fstat(&target)
            .map_err(|errno| place.error("look at the target of", errno.into()))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let whiteout = kind == FileType::CharacterDevice && stat.st_rdev == 0;
        if kind == FileType::Directory || whiteout {
            return Err(refuse());
        }
        if place.inode()? == Some(stat.st_ino) {
            return Ok(());
        }
        // Through /proc, so that the link is to what was looked at and not to a name.
        let descriptor = crate::files::proc_path(target.as_fd());
        self.make(place, "create hard link", |place| {
            rustix::fs::linkat(
                rustix::fs::CWD,
                &descriptor,
                &place.parent,
                place.name(),
                AtFlags::SYMLINK_FOLLOW,
            )
        })
    }

    fn whiteout(&mut self, parent: &[&[u8]], hidden: &[u8]) -> Result<(), ExtractError> {
        if hidden == b".wh..opq" {
            let directory = self.root.make_directory(parent)?;
            let path = self.root.path_of(&parent.join(&b'/'));
            return set_opaque(directory.as_fd(), path);
        }
        // Other names of this form are aufs's own bookkeeping (`.wh..wh.plnk`, `.wh..wh.aufs`).
        if hidden.starts_with(b".wh.") {
            return Ok(());
        }
        if hidden.is_empty() || hidden == b"." || hidden == b".." {
            return Err(ExtractError::Name {
                name: format!(".wh.{}", lossy(hidden)),
                reason: NameRefusal::Empty,
            });
        }
        let components: Vec<&[u8]> = parent.iter().copied().chain([hidden]).collect();
        let place = self.root.place(&components)?;
        self.hide(&place)
    }

    /// Hides what the layers below have here. What this layer has here itself stays (image
    /// specification, "Whiteouts": they apply to lower layers only).
    fn hide(&mut self, place: &Place) -> Result<(), ExtractError> {
        match place.kind()? {
            None => rustix::fs::mknodat(
                &place.parent,
                place.name(),
                FileType::CharacterDevice,
                Mode::empty(),
                0,
            )
            .map_err(|errno| place.error("create whiteout", errno.into()).into()),
            Some(FileType::Directory) => self.opaque(place),
            Some(_) => Ok(()),
        }
    }

    fn opaque(&self, place: &Place) -> Result<(), ExtractError> {
        let directory = place.open_directory()?;
        set_opaque(directory.as_fd(), place.path())
    }

    /// Makes an entry; one of that name from earlier in the archive makes room.
    fn make<T>(
        &mut self,
        place: &Place,
        operation: &'static str,
        make: impl Fn(&Place) -> rustix::io::Result<T>,
    ) -> Result<T, ExtractError> {
        let made = match make(place) {
            Err(rustix::io::Errno::EXIST) => {
                self.may_replace(place, Kind::Regular)?;
                self.root.remove(place)?;
                make(place)
            }
            made => made,
        };
        made.map_err(|errno| place.error(operation, errno.into()).into())
    }

    /// Refuses what would replace a directory by something else, or the other way round, where that
    /// is forbidden.
    fn may_replace(&self, place: &Place, kind: Kind) -> Result<(), ExtractError> {
        let Some(in_place) = self.in_place.filter(|in_place| in_place.keep_kinds) else {
            return Ok(());
        };
        let is_directory = place.kind()? == Some(FileType::Directory);
        let path = in_place.place.join(place.path());
        let place = in_place.place.clone();
        match (is_directory, kind) {
            (true, Kind::Regular) => Err(ExtractError::ReplacesDirectory { path, place }),
            (false, Kind::Directory) => Err(ExtractError::ReplacedByDirectory { path, place }),
            _ => Ok(()),
        }
    }

    fn remember_time(&mut self, path: Vec<u8>, time: Time) -> Result<(), ExtractError> {
        self.times_bytes += path.len();
        self.times.push((path, time));
        if self.times_bytes > TIMES_MAX {
            // Times may come out wrong then; an honest archive does not get here.
            self.set_directory_times()?;
        }
        Ok(())
    }

    fn set_directory_times(&mut self) -> Result<(), ExtractError> {
        self.times_bytes = 0;
        for (path, time) in std::mem::take(&mut self.times) {
            // A directory that a later entry has replaced is none any more.
            let Ok(directory) = self.root.open_directory(&path) else {
                continue;
            };
            rustix::fs::futimens(&directory, &attributes::timestamps(time)).map_err(|errno| {
                PathError {
                    operation: "set time of",
                    path: self.root.path_of(&path),
                    source: errno.into(),
                }
            })?;
        }
        Ok(())
    }
}

fn set_opaque(directory: BorrowedFd<'_>, path: PathBuf) -> Result<(), ExtractError> {
    rustix::fs::fsetxattr(directory, OPAQUE, b"y", rustix::fs::XattrFlags::empty()).map_err(
        |errno| {
            PathError {
                operation: "mark as opaque",
                path,
                source: errno.into(),
            }
            .into()
        },
    )
}

fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(&name[..name.len().min(256)]).into_owned()
}

#[cfg(test)]
mod tests;
