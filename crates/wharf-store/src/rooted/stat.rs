//! What is at a path inside a container.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, OFlags, Stat};

use super::{InsidePath, RootedDir};
use crate::PathError;
use crate::files::failed;

/// Links that are followed before a path is taken for a circle, as the kernel does.
const LINKS_MAX: usize = 40;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathStat {
    /// The last component as it was given.
    pub name: OsString,
    /// Bytes.
    pub size: i64,
    /// Type and permissions as the kernel has them.
    pub mode: u32,
    /// When it was changed: seconds and nanoseconds since 1970.
    pub modified: (i64, u32),
    /// Where a symbolic link leads, as an absolute path inside.
    pub link_target: Option<PathBuf>,
}

impl RootedDir {
    /// Returns what is at a path.
    ///
    /// # Errors
    /// What the kernel says: nothing is there, or something on the way is no directory.
    pub fn stat(&self, path: &InsidePath) -> Result<PathStat, PathError> {
        let (_, stat) = self.find(path)?;
        let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
        Ok(PathStat {
            name: path.shown().to_owned(),
            size: stat.st_size,
            mode: stat.st_mode,
            modified: (
                stat.st_mtime,
                u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
            ),
            link_target: is_link.then(|| link_target(self.root.as_fd(), path.clean())),
        })
    }

    /// Opens what a path means, for its identity only.
    pub(super) fn find(&self, path: &InsidePath) -> Result<(OwnedFd, Stat), PathError> {
        let flags = match path.is_directory() {
            true => OFlags::PATH | OFlags::DIRECTORY,
            false => OFlags::PATH | OFlags::NOFOLLOW,
        };
        let found = self.open_inside(path.clean(), flags)?;
        let stat = rustix::fs::fstat(&found).map_err(failed("look at", path.clean()))?;
        Ok((found, stat))
    }

    pub(super) fn open_inside(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, PathError> {
        wharf_sys::rooted::open(self.root.as_fd(), path, flags).map_err(failed("open", path))
    }
}

/// Follows a link as far as there is something to follow. What comes out is only told, never used
/// to open anything: the tree may have changed by then.
fn link_target(root: BorrowedFd<'_>, path: &Path) -> PathBuf {
    let mut rest: VecDeque<OsString> = components(path);
    let mut place = PathBuf::from("/");
    let mut links = 0;
    while let Some(name) = rest.pop_front() {
        if name == ".." {
            place.pop();
            continue;
        }
        let next = place.join(&name);
        match read_link(root, &next) {
            Some(target) if links < LINKS_MAX => {
                links += 1;
                let target = Path::new(&target);
                if target.is_absolute() {
                    place = PathBuf::from("/");
                }
                let mut queue = components(target);
                queue.append(&mut rest);
                rest = queue;
            }
            _ => place = next,
        }
    }
    place
}

fn read_link(root: BorrowedFd<'_>, path: &Path) -> Option<OsString> {
    let link = wharf_sys::rooted::open(root, path, OFlags::PATH | OFlags::NOFOLLOW).ok()?;
    let target = rustix::fs::readlinkat(&link, "", Vec::new()).ok()?;
    Some(OsString::from_vec(target.into_bytes()))
}

fn components(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name),
            Component::ParentDir => Some(OsStr::new("..")),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .map(OsStr::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::files::open_directory;

    #[test]
    fn links_are_told_with_where_they_lead() {
        let directory = tempfile::tempdir().expect("tempdir");
        let path = directory.path();
        std::fs::create_dir_all(path.join("d/sub")).expect("mkdir");
        std::fs::write(path.join("d/f"), b"hi\n").expect("write");
        symlink("f", path.join("d/lf")).expect("link");
        symlink("/d", path.join("ld")).expect("link");
        symlink("nowhere", path.join("d/dangling")).expect("link");
        symlink("../../../etc", path.join("d/up")).expect("link");
        symlink("circle", path.join("circle")).expect("link");
        let root = RootedDir::open(open_directory(path).expect("open"));
        let target = |given: &str| {
            let stat = root.stat(&InsidePath::new(Path::new(given))).expect(given);
            stat.link_target.map(|target| target.display().to_string())
        };
        assert_eq!(target("/d/f"), None);
        assert_eq!(target("/d/lf").as_deref(), Some("/d/f"));
        assert_eq!(target("/ld/lf").as_deref(), Some("/d/f"));
        assert_eq!(target("/ld").as_deref(), Some("/d"));
        assert_eq!(target("/ld/"), None);
        assert_eq!(target("/d/dangling").as_deref(), Some("/d/nowhere"));
        assert_eq!(target("/d/up").as_deref(), Some("/etc"));
        assert!(target("/circle").is_some());
        let error = |given: &str| {
            let path = InsidePath::new(Path::new(given));
            root.stat(&path).expect_err(given).source.kind()
        };
        assert_eq!(error("/d/f/"), std::io::ErrorKind::NotADirectory);
        assert_eq!(error("/d/none"), std::io::ErrorKind::NotFound);
    }
}
