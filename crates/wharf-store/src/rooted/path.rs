//! Paths inside a container as clients name them, with Docker's meaning of what they end in.
//!
//! `/a/b` is what is there, a link itself; `/a/b/` and `/a/b/.` are the directory it leads to. What
//! an archive calls it is the last component as it was given: `b`, `b` and `.`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// A path inside a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InsidePath {
    clean: PathBuf,
    shown: OsString,
    directory: bool,
}

impl InsidePath {
    /// Reads a path; it is absolute inside the container whether it says so or not.
    #[must_use]
    pub fn new(given: &Path) -> Self {
        let clean = clean(given);
        let bytes = given.as_os_str().as_bytes();
        let dot = bytes == b"." || bytes.ends_with(b"/.") || bytes.ends_with(b"/./");
        let shown = match clean.file_name() {
            _ if dot => OsStr::new("."),
            Some(name) => name,
            None => OsStr::new("/"),
        };
        Self {
            shown: shown.to_owned(),
            directory: dot || bytes.ends_with(b"/"),
            clean,
        }
    }

    /// Lets archives call it something else.
    #[must_use]
    pub fn shown_as(self, shown: OsString) -> Self {
        Self { shown, ..self }
    }

    /// Returns the path without `.`, `..` and what follows the last component.
    #[must_use]
    pub fn clean(&self) -> &Path {
        &self.clean
    }

    /// Returns what archives call it.
    #[must_use]
    pub fn shown(&self) -> &OsStr {
        &self.shown
    }

    /// Whether it ends in `/` or `/.`: it is a directory, and links are followed to it.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.directory
    }
}

/// Takes out `.`, `..` and doubled slashes, as Go's `filepath.Clean` does for an absolute path.
fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => cleaned.push(name),
            Component::ParentDir => drop(cleaned.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_path_ends_in_says_what_is_meant() {
        for (given, clean, shown, directory) in [
            ("/d/f", "/d/f", "f", false),
            ("d/f", "/d/f", "f", false),
            ("/d/", "/d", "d", true),
            ("/d/.", "/d", ".", true),
            ("/d/./", "/d", ".", true),
            ("/", "/", "/", true),
            (".", "/", ".", true),
            ("/d/../../e", "/e", "e", false),
            ("/d//sub", "/d/sub", "sub", false),
        ] {
            let path = InsidePath::new(Path::new(given));
            assert_eq!(
                (path.clean(), path.shown(), path.is_directory()),
                (Path::new(clean), OsStr::new(shown), directory),
                "{given}"
            );
        }
    }
}
