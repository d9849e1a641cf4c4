//! The driver for where overlay is missing: each snapshot is a full copy of its image.
//!
//! Layers are copied lowest first, each applying its whiteouts to what is there. Data is shared
//! with the layer where the file system can (reflink), else copied inside the kernel, holes kept.

use std::collections::HashMap;
use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use crate::PathError;
use crate::files::{self, failed};
use crate::tree::{self, Item};

/// Copies layers, top first, into an empty directory.
pub(super) fn fill(layers: &[PathBuf], fs: &Path) -> Result<(), PathError> {
    let target = files::open_directory(fs)?;
    for layer in layers.iter().rev() {
        let source = files::open_directory(layer)?;
        let mut copier = Copier {
            root: target.as_fd(),
            links: HashMap::new(),
        };
        copier.directory(source.as_fd(), target.as_fd(), &mut PathBuf::new())?;
    }
    Ok(())
}

struct Copier<'a> {
    root: BorrowedFd<'a>,
    /// Files of the layer with several names, and the first name each was copied to.
    links: HashMap<u64, PathBuf>,
}

impl Copier<'_> {
    /// Copies the entries of a layer's directory into the directory of the same path.
    fn directory(
        &mut self,
        source: BorrowedFd<'_>,
        target: BorrowedFd<'_>,
        path: &mut PathBuf,
    ) -> Result<(), PathError> {
        for name in tree::names(source, path)? {
            path.push(OsStr::from_bytes(name.to_bytes()));
            let stat = rustix::fs::statat(source, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(failed("look at", path))?;
            let item = Item {
                parent: source,
                name: &name,
                path,
                stat: &stat,
            };
            let below = self.entry(&item, target)?;
            if let Some((source, into)) = below {
                self.directory(source.as_fd(), into.as_fd(), path)?;
                set_times(target, &name, &stat, path)?;
            }
            path.pop();
        }
        Ok(())
    }

    /// Copies one entry; of a directory, returns it on both sides for its entries to follow.
    fn entry(
        &mut self,
        item: &Item<'_>,
        target: BorrowedFd<'_>,
    ) -> Result<Option<(OwnedFd, OwnedFd)>, PathError> {
        let present = match rustix::fs::statat(target, item.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Some(FileType::from_raw_mode(stat.st_mode)),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(failed("look at", item.path)(errno)),
        };
        let is_directory = item.kind() == FileType::Directory;
        let source = is_directory.then(|| item.open_directory()).transpose()?;
        let merges = present == Some(FileType::Directory)
            && match &source {
                Some(source) => !tree::is_opaque(source.as_fd(), item.path)?,
                None => false,
            };
        if present.is_some() && !merges {
            let name = OsStr::from_bytes(item.name.to_bytes());
            crate::remove::remove_at(target, name, item.path)?;
        }
        if item.is_whiteout() {
            return Ok(None);
        }
        if let Some(source) = source {
            let into = self.make_directory(item, target, merges)?;
            return Ok(Some((source, into)));
        }
        if item.stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&item.stat.st_ino) {
                rustix::fs::linkat(self.root, first, target, item.name, AtFlags::empty())
                    .map_err(failed("create hard link", item.path))?;
                return Ok(None);
            }
            self.links.insert(item.stat.st_ino, item.path.to_owned());
        }
        if item.kind() == FileType::RegularFile {
            self.file(item, target)?;
        } else {
            make_special(item, target)?;
        }
        Ok(None)
    }

    fn make_directory(
        &self,
        item: &Item<'_>,
        target: BorrowedFd<'_>,
        merges: bool,
    ) -> Result<OwnedFd, PathError> {
        if !merges {
            rustix::fs::mkdirat(target, item.name, Mode::RWXU)
                .map_err(failed("create directory", item.path))?;
        }
        let made = rustix::fs::openat(
            target,
            item.name,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(failed("open directory", item.path))?;
        set_owner_and_mode(made.as_fd(), item)?;
        copy_attributes(item, target)?;
        Ok(made)
    }

    fn file(&self, item: &Item<'_>, target: BorrowedFd<'_>) -> Result<(), PathError> {
        let source = item.open_file()?;
        let made = rustix::fs::openat(
            target,
            item.name,
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::RUSR | Mode::WUSR,
        )
        .map_err(failed("create", item.path))?;
        copy_data(source.as_fd(), made.as_fd(), item.size()).map_err(failed("copy", item.path))?;
        set_owner_and_mode(made.as_fd(), item)?;
        copy_attributes(item, target)?;
        rustix::fs::futimens(&made, &times(item.stat)).map_err(failed("set time of", item.path))
    }
}

/// Copies a file's data: by sharing it, or extent by extent so that holes stay holes.
fn copy_data(source: BorrowedFd<'_>, target: BorrowedFd<'_>, size: u64) -> Result<(), io::Error> {
    if rustix::fs::ioctl_ficlone(target, source).is_ok() {
        return Ok(());
    }
    rustix::fs::ftruncate(target, size)?;
    for segment in tree::segments(source, size)? {
        rustix::fs::seek(target, SeekFrom::Start(segment.offset))?;
        let mut offset = segment.offset;
        let end = segment.offset + segment.length;
        while offset < end {
            let length = usize::try_from(end - offset).unwrap_or(usize::MAX);
            if rustix::fs::copy_file_range(source, Some(&mut offset), target, None, length)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
    Ok(())
}

/// Makes a link, a device, a FIFO or a socket.
fn make_special(item: &Item<'_>, target: BorrowedFd<'_>) -> Result<(), PathError> {
    let kind = item.kind();
    if kind == FileType::Symlink {
        let link = item.read_link()?;
        rustix::fs::symlinkat(link.as_c_str(), target, item.name)
            .map_err(failed("create symbolic link", item.path))?;
    } else {
        rustix::fs::mknodat(target, item.name, kind, Mode::empty(), item.stat.st_rdev)
            .map_err(failed("create device", item.path))?;
    }
    let (uid, gid) = owner(item.stat);
    rustix::fs::chownat(target, item.name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(failed("set owner of", item.path))?;
    if kind != FileType::Symlink {
        let mode = Mode::from_raw_mode(item.stat.st_mode);
        rustix::fs::chmodat(target, item.name, mode, AtFlags::empty())
            .map_err(failed("set mode of", item.path))?;
    }
    copy_attributes(item, target)?;
    set_times(target, item.name, item.stat, item.path)
}

fn copy_attributes(item: &Item<'_>, target: BorrowedFd<'_>) -> Result<(), PathError> {
    let path = files::proc_path(target).join(OsStr::from_bytes(item.name.to_bytes()));
    for (name, value) in item.attributes()? {
        rustix::fs::lsetxattr(
            &path,
            OsStr::from_bytes(&name),
            &value,
            rustix::fs::XattrFlags::empty(),
        )
        .map_err(failed("set attribute of", item.path))?;
    }
    Ok(())
}

fn set_owner_and_mode(file: BorrowedFd<'_>, item: &Item<'_>) -> Result<(), PathError> {
    let (uid, gid) = owner(item.stat);
    rustix::fs::fchown(file, uid, gid).map_err(failed("set owner of", item.path))?;
    rustix::fs::fchmod(file, Mode::from_raw_mode(item.stat.st_mode))
        .map_err(failed("set mode of", item.path))
}

fn set_times(
    parent: BorrowedFd<'_>,
    name: &CStr,
    stat: &Stat,
    path: &Path,
) -> Result<(), PathError> {
    rustix::fs::utimensat(parent, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(failed("set time of", path))
}

fn times(stat: &Stat) -> Timestamps {
    let time = Timespec {
        tv_sec: stat.st_mtime,
        tv_nsec: i64::try_from(stat.st_mtime_nsec).unwrap_or(0),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

fn owner(stat: &Stat) -> (Option<Uid>, Option<Gid>) {
    (
        Some(Uid::from_raw(stat.st_uid)),
        Some(Gid::from_raw(stat.st_gid)),
    )
}
