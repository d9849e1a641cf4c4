//! The list of changes, for each driver.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::files::{self, failed};
use crate::snapshot::{Overlay, Parts};
use crate::tree::{self, Attributes, Item};
use crate::{Change, ChangeKind, DiffError, PathError};

/// Reads the changes out of an overlay's upper directory.
pub(super) fn of_upper(overlay: &Overlay, parts: &Parts) -> Result<Vec<Change>, DiffError> {
    let upper = files::open_directory(&parts.fs)?;
    let image = overlay.view(&parts.layers)?;
    let mut changes = Vec::new();
    tree::walk::<DiffError>(upper.as_fd(), &mut |item| {
        let below = image_stat(image.as_fd(), item.path)?;
        let mut add = |kind| changes.push(change(item.path, kind));
        match (item.is_whiteout(), &below) {
            (true, Some(_)) => add(ChangeKind::Deleted),
            // It hides nothing: made and deleted within the snapshot.
            (true, None) => {}
            (false, Some(_)) => add(ChangeKind::Modified),
            (false, None) => add(ChangeKind::Added),
        }
        let both_directories = item.kind() == FileType::Directory
            && below.is_some_and(|stat| kind(&stat) == FileType::Directory);
        if both_directories {
            let directory = item.open_directory()?;
            if tree::is_opaque(directory.as_fd(), item.path)? {
                deleted_below(image.as_fd(), directory.as_fd(), item.path, &mut changes)?;
            }
        }
        Ok(true)
    })?;
    Ok(changes)
}

/// Of a directory that was replaced: what the image has in it and the new one has not.
fn deleted_below(
    image: BorrowedFd<'_>,
    directory: BorrowedFd<'_>,
    path: &Path,
    changes: &mut Vec<Change>,
) -> Result<(), PathError> {
    let Some(hidden) = open_image_directory(image, path)? else {
        return Ok(());
    };
    for name in tree::names(hidden.as_fd(), path)? {
        match rustix::fs::statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {
                let path = path.join(OsStr::from_bytes(name.to_bytes()));
                changes.push(change(&path, ChangeKind::Deleted));
            }
            found => {
                found.map_err(failed("look at", path))?;
            }
        }
    }
    Ok(())
}

fn image_stat(image: BorrowedFd<'_>, path: &Path) -> Result<Option<Stat>, PathError> {
    let opened = open_image(image, path, OFlags::PATH | OFlags::NOFOLLOW)?;
    opened
        .map(|fd| rustix::fs::fstat(&fd).map_err(failed("look at", path)))
        .transpose()
}

fn open_image_directory(image: BorrowedFd<'_>, path: &Path) -> Result<Option<OwnedFd>, PathError> {
    open_image(image, path, OFlags::RDONLY | OFlags::DIRECTORY)
}

fn open_image(
    image: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
) -> Result<Option<OwnedFd>, PathError> {
    let opened = rustix::fs::openat2(
        image,
        path,
        flags | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    );
    match opened {
        Ok(fd) => Ok(Some(fd)),
        // On the way there the image has a file or a link where the snapshot has a directory.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(failed("look at", path)(errno)),
    }
}

/// What of an entry is compared.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    mode: u32,
    owner: (u32, u32),
    device: u64,
    /// Of a directory neither is: both change with its entries.
    size: i64,
    modified: (i64, i64),
    attributes: Attributes,
}

/// Compares a copy with the layers it was made of.
pub(super) fn of_copy(parts: &Parts) -> Result<Vec<Change>, DiffError> {
    let mut image = BTreeMap::new();
    for layer in parts.layers.iter().rev() {
        apply(layer, &mut image)?;
    }
    let mut changes = Vec::new();
    let fs = files::open_directory(&parts.fs)?;
    tree::walk::<DiffError>(fs.as_fd(), &mut |item| {
        let found = facts(item)?;
        match image.remove(item.path) {
            None => changes.push(change(item.path, ChangeKind::Added)),
            Some(known) if known != found => {
                changes.push(change(item.path, ChangeKind::Modified));
            }
            Some(_) => {}
        }
        Ok(true)
    })?;
    // Of a tree that is gone, only its root is listed, as an overlay's whiteout does.
    let mut last: Option<PathBuf> = None;
    for path in image.into_keys() {
        if last.as_ref().is_some_and(|last| path.starts_with(last)) {
            continue;
        }
        changes.push(change(&path, ChangeKind::Deleted));
        last = Some(path);
    }
    add_parents(&mut changes);
    Ok(changes)
}

/// Overlay copies the directories above a change up, so they are listed as changed.
fn add_parents(changes: &mut Vec<Change>) {
    let known: std::collections::BTreeSet<PathBuf> =
        changes.iter().map(|change| change.path.clone()).collect();
    let parents: std::collections::BTreeSet<PathBuf> = changes
        .iter()
        .flat_map(|change| change.path.ancestors().skip(1))
        .filter(|path| *path != Path::new("/") && !known.contains(*path))
        .map(Path::to_owned)
        .collect();
    changes.extend(parents.into_iter().map(|path| Change {
        path,
        kind: ChangeKind::Modified,
    }));
}

/// Adds a layer's entries to what the layers below it make.
fn apply(layer: &Path, image: &mut BTreeMap<PathBuf, Facts>) -> Result<(), DiffError> {
    let root = files::open_directory(layer)?;
    tree::walk::<DiffError>(root.as_fd(), &mut |item| {
        let hides = match item.kind() {
            FileType::Directory => {
                let directory = item.open_directory()?;
                tree::is_opaque(directory.as_fd(), item.path)?
            }
            _ => true,
        };
        if hides {
            let below: Vec<PathBuf> = image
                .range(item.path.to_owned()..)
                .take_while(|(path, _)| path.starts_with(item.path))
                .map(|(path, _)| path.clone())
                .collect();
            for path in below {
                image.remove(&path);
            }
        }
        if !item.is_whiteout() {
            image.insert(item.path.to_owned(), facts(item)?);
        }
        Ok(true)
    })?;
    Ok(())
}

fn facts(item: &Item<'_>) -> Result<Facts, PathError> {
    let directory = item.kind() == FileType::Directory;
    let stat = item.stat;
    Ok(Facts {
        mode: stat.st_mode,
        owner: (stat.st_uid, stat.st_gid),
        device: stat.st_rdev,
        size: if directory { 0 } else { stat.st_size },
        modified: if directory {
            (0, 0)
        } else {
            (
                stat.st_mtime,
                i64::try_from(stat.st_mtime_nsec).unwrap_or(0),
            )
        },
        attributes: item.attributes()?,
    })
}

fn change(path: &Path, kind: ChangeKind) -> Change {
    Change {
        path: Path::new("/").join(path),
        kind,
    }
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}
