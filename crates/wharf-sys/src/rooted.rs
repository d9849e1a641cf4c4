//! Paths inside a root that is not trusted.
//!
//! Whoever owns the tree may change it while it is walked: swap a directory for a symbolic link,
//! move it away, put a link to `/proc/self/fd` in its place. So a path is never built as a string
//! and checked; it is resolved to a descriptor, and the work is done through that descriptor.
//! What exists is resolved by the kernel with `RESOLVE_IN_ROOT`. What has to be made is walked here,
//! one component at a time without following links: a link is read and its text goes through the same
//! walk, `..` goes back to the descriptor the walk came from, so neither can leave the root.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// As the kernel (`MAXSYMLINKS`).
const MAX_LINKS: usize = 40;

/// `openat2` gives up with EAGAIN when a rename elsewhere could have confused `..`.
const MAX_RETRIES: usize = 128;

/// What the last component of a path is made as when it does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Make {
    /// A directory with this mode.
    Directory(Mode),
    /// An empty file with this mode; directories on the way are 0755.
    File(Mode),
}

/// Opens `path` inside `root`, links followed inside.
///
/// # Errors
/// What openat2(2) says; EXDEV never, for nothing leads outside.
pub fn open(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    open_resolved(root, path, flags, ResolveFlags::IN_ROOT)
}

/// As [`open`], but a symbolic link anywhere in the path is ELOOP.
///
/// # Errors
/// What openat2(2) says.
pub fn open_without_links(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    open_resolved(
        root,
        path,
        flags,
        ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS,
    )
}

fn open_resolved(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    resolve: ResolveFlags,
) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() {
        Path::new("/")
    } else {
        path
    };
    let resolve = resolve | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..MAX_RETRIES {
        match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
    Err(Errno::AGAIN.into())
}

/// Opens `path` inside `root` with `O_PATH`, making what is missing.
///
/// # Errors
/// ENOTDIR when a file is in the way, ELOOP for too many links, what mkdirat(2) says.
pub fn open_or_make(root: BorrowedFd<'_>, path: &Path, make: Make) -> io::Result<OwnedFd> {
    match open(root, path, OFlags::PATH) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => walk(root, path, make),
        result => result,
    }
}

/// Resolves `path` inside `root` up to its last component, making missing directories, and
/// returns the directory and that component, which may be a link.
///
/// # Errors
/// EINVAL for a path without a last component, such as `/` or `a/..`.
pub fn open_parent(root: BorrowedFd<'_>, path: &Path) -> io::Result<(OwnedFd, OsString)> {
    let name = path.file_name().ok_or(Errno::INVAL)?;
    let parent = path.parent().unwrap_or(Path::new("/"));
    let parent = open_or_make(root, parent, Make::Directory(directory_mode()))?;
    Ok((parent, name.to_owned()))
}

/// 0755.
fn directory_mode() -> Mode {
    Mode::from_raw_mode(0o755)
}

/// The walk: `place` are the directories from the root to where it stands.
fn walk(root: BorrowedFd<'_>, path: &Path, make: Make) -> io::Result<OwnedFd> {
    let mut rest = components(path);
    let mut place: Vec<OwnedFd> = Vec::new();
    let mut links = 0;
    while let Some(name) = rest.pop_front() {
        if name == ".." {
            place.pop();
            continue;
        }
        let here = place.last().map_or(root, AsFd::as_fd);
        let last = rest.is_empty();
        let (fd, stat) = step(here, &name, if last { make } else { parents(make) })?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::LOOP.into());
                }
                let target = rustix::fs::readlinkat(&fd, "", Vec::new())?.into_bytes();
                let target = OsString::from_vec(target);
                let target = Path::new(&target);
                if target.is_absolute() {
                    place.clear();
                }
                let mut queue = components(target);
                queue.append(&mut rest);
                rest = queue;
            }
            FileType::Directory => place.push(fd),
            _ if last => return Ok(fd),
            _ => return Err(Errno::NOTDIR.into()),
        }
    }
    match place.pop() {
        Some(fd) => Ok(fd),
        None => open(root, Path::new("/"), OFlags::PATH),
    }
}

/// What is made on the way to the last component.
fn parents(make: Make) -> Make {
    match make {
        Make::Directory(mode) => Make::Directory(mode),
        Make::File(_) => Make::Directory(directory_mode()),
    }
}

fn components(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsString::from("..")),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

/// Opens one component without following it, making it when it is missing.
fn step(here: BorrowedFd<'_>, name: &OsStr, make: Make) -> io::Result<(OwnedFd, Stat)> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for _ in 0..MAX_RETRIES {
        match rustix::fs::openat(here, name, flags, Mode::empty()) {
            Ok(fd) => {
                let stat = rustix::fs::fstat(&fd)?;
                return Ok((fd, stat));
            }
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let made = match make {
            Make::Directory(mode) => rustix::fs::mkdirat(here, name, mode),
            Make::File(mode) => rustix::fs::mknodat(here, name, FileType::RegularFile, mode, 0),
        };
        match made {
            // Somebody else made something there: look again what it is.
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Errno::AGAIN.into())
}

/// Removes the file `path` inside `root`; its last component is not followed.
///
/// # Errors
/// What unlinkat(2) says.
pub fn remove_file(root: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let (parent, name) = open_parent(root, path)?;
    Ok(rustix::fs::unlinkat(parent, name, AtFlags::empty())?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("wt-rooted-{}-{name}", std::process::id()));
            fs::create_dir_all(path.join("root")).expect("temporary directory");
            Self(path)
        }

        fn root(&self) -> OwnedFd {
            fs::File::open(self.0.join("root")).expect("root").into()
        }

        fn make(&self, path: &str) -> io::Result<OwnedFd> {
            let mode = directory_mode();
            open_or_make(self.root().as_fd(), Path::new(path), Make::Directory(mode))
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).expect("clean up");
        }
    }

    #[test]
    fn missing_directories_are_made() {
        let tree = Tree::new("missing");
        tree.make("/a/b/../c").expect("made");
        assert!(tree.0.join("root/a/b").is_dir());
        assert!(tree.0.join("root/a/c").is_dir());
    }

    #[test]
    fn links_and_dots_stay_inside() {
        let tree = Tree::new("inside");
        symlink("/../../out", tree.0.join("root/absolute")).expect("link");
        symlink("../../../up", tree.0.join("root/relative")).expect("link");
        tree.make("/absolute/x").expect("made");
        tree.make("/relative/y").expect("made");
        tree.make("../../dots").expect("made");
        assert!(tree.0.join("root/out/x").is_dir());
        assert!(tree.0.join("root/up/y").is_dir());
        assert!(tree.0.join("root/dots").is_dir());
        assert_eq!(fs::read_dir(&tree.0).expect("listing").count(), 1);
    }

    #[test]
    fn a_dangling_link_to_a_file_is_made_where_it_points() {
        let tree = Tree::new("dangling");
        fs::create_dir(tree.0.join("root/etc")).expect("etc");
        symlink("../run/resolve/stub", tree.0.join("root/etc/resolv.conf")).expect("link");
        let make = Make::File(Mode::from_raw_mode(0o644));
        open_or_make(tree.root().as_fd(), Path::new("/etc/resolv.conf"), make).expect("made");
        assert!(tree.0.join("root/run/resolve/stub").is_file());
    }

    #[test]
    fn loops_and_files_in_the_way_are_errors() {
        let tree = Tree::new("loops");
        symlink("b", tree.0.join("root/a")).expect("link");
        symlink("a", tree.0.join("root/b")).expect("link");
        fs::write(tree.0.join("root/file"), "").expect("file");
        let errno = |path| tree.make(path).expect_err("refused").raw_os_error();
        assert_eq!(errno("/a/x"), Some(Errno::LOOP.raw_os_error()));
        assert_eq!(errno("/file/x"), Some(Errno::NOTDIR.raw_os_error()));
    }
}
