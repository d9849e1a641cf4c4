//! An empty volume begins as what the image has at its place: owners, modes and attributes
//! included. The image's text names a place inside the root, whatever it says, and links in the
//! image lead nowhere else (attacks R17, R18).
//!
//! The copy is made beside the volume's directory and takes its place by one rename, so that a
//! volume is never half filled. Where somebody else has the volume already, or the directory is the
//! host's, there is no place to take, and the files are copied into it.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use wharf_types::failpoint;

use super::copy;

/// Name of the copy beside a volume's directory.
pub(super) const COPY: &str = "_copy";

/// Whether the directory can be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It is ours alone.
    Own,
    /// Somebody may be in it.
    Shared,
}

/// Fills `directory`, if it is empty, with what is at `inside` below `root`.
pub(super) fn fill(
    root: &OwnedFd,
    inside: &Path,
    directory: &Path,
    place: Place,
) -> io::Result<()> {
    if fs::read_dir(directory)?.next().is_some() {
        return Ok(());
    }
    let Some(source) = copy::source(root, inside)? else {
        return Ok(());
    };
    if place == Place::Shared {
        return copy::tree(source, directory);
    }
    let copied = directory.with_file_name(COPY);
    remove(&copied)?;
    DirBuilder::new().mode(0o700).create(&copied)?;
    copy::tree(source, &copied)?;
    // Before the volume is what it is to be, all of it is on the disk.
    rustix::fs::syncfs(File::open(&copied)?)?;
    failpoint::hit("engine.volume.copied");
    match fs::rename(&copied, directory) {
        // Somebody has written to it meanwhile: it is not empty, and stays.
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => remove(&copied),
        result => result,
    }
}

/// Removes a copy that was not finished.
pub(super) fn remove(copied: &Path) -> io::Result<()> {
    match fs::remove_dir_all(copied) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_an_empty_volume_is_filled() {
        let dir = tempfile::tempdir().expect("dir");
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("data")).expect("mkdir");
        fs::write(root.join("data/file"), "image").expect("write");
        symlink("/../../etc", root.join("outside")).expect("symlink");
        let opened = OwnedFd::from(File::open(&root).expect("open"));
        let volume = |name: &str| {
            let directory = dir.path().join(name).join("_data");
            fs::create_dir_all(&directory).expect("mkdir");
            directory
        };
        for place in [Place::Own, Place::Shared] {
            let empty = volume(&format!("empty{place:?}"));
            // What an interrupted copy has left.
            fs::create_dir_all(empty.with_file_name(COPY).join("old")).expect("mkdir");
            fill(&opened, Path::new("/data"), &empty, place).expect("fill");
            assert_eq!(
                fs::read_to_string(empty.join("file")).expect("read"),
                "image"
            );
            let full = volume(&format!("full{place:?}"));
            fs::write(full.join("own"), "own").expect("write");
            fill(&opened, Path::new("/data"), &full, place).expect("fill");
            assert_eq!(fs::read_dir(&full).expect("list").count(), 1);
            let outside = volume(&format!("outside{place:?}"));
            fill(&opened, Path::new("/outside"), &outside, place).expect("fill");
            assert_eq!(fs::read_dir(&outside).expect("list").count(), 0);
        }
    }
}
