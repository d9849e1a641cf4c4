//! How much a volume holds. A container may write to it meanwhile: each directory is opened by its
//! own name in its parent, and links are not followed.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};

/// Directories deeper than this are not counted: each costs two descriptors.
const DEPTH_MAX: usize = 200;

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Bytes of all regular files below a directory, as Docker sums them up.
pub(super) fn of(directory: &Path) -> u64 {
    match rustix::fs::openat(CWD, directory, DIRECTORY, Mode::empty()) {
        Ok(directory) => below(directory, 0),
        Err(_) => 0,
    }
}

/// What goes away while it is counted counts for nothing.
fn below(directory: OwnedFd, depth: usize) -> u64 {
    let Ok(entries) = Dir::read_from(&directory) else {
        return 0;
    };
    let mut bytes: u64 = 0;
    for entry in entries.flatten() {
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let Ok(stat) = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) else {
            continue;
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                bytes = bytes.saturating_add(u64::try_from(stat.st_size).unwrap_or(0));
            }
            FileType::Directory if depth < DEPTH_MAX => {
                let opened = rustix::fs::openat(directory.as_fd(), name, DIRECTORY, Mode::empty());
                bytes = bytes.saturating_add(opened.map_or(0, |inner| below(inner, depth + 1)));
            }
            _ => {}
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_count_for_nothing() {
        let dir = tempfile::tempdir().expect("dir");
        fs::create_dir(dir.path().join("sub")).expect("mkdir");
        fs::write(dir.path().join("sub/file"), [0; 100]).expect("write");
        fs::write(dir.path().join("file"), [0; 10]).expect("write");
        symlink("/usr", dir.path().join("link")).expect("symlink");
        assert_eq!(of(dir.path()), 110);
        assert_eq!(of(&dir.path().join("link")), 0);
    }
}
