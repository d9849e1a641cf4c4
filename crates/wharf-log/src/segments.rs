//! The files of one log.
//!
//! `PATH` is the one that is written to. When it is full it is renamed to `PATH.1`, the next to `PATH.2`,
//! and so on: a file that was rotated keeps its name, so that a reader that holds number 7 goes on with
//! number 8, whatever happens meanwhile, and nobody has to lock anything. (Docker counts the other way
//! and renames all of them each time.) `PATH.7.gz` is the same as `PATH.7`; while one becomes the other
//! both may be there.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const COMPRESSED: &str = ".gz";
/// Ends the name of a file that is being compressed.
const UNFINISHED: &str = ".gz.new";

/// A file that was rotated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rotated {
    pub(crate) number: u64,
    pub(crate) compressed: bool,
    pub(crate) path: PathBuf,
}

/// Returns the files that were rotated, oldest first, each number once.
pub(crate) fn rotated(path: &Path) -> io::Result<Vec<Rotated>> {
    let mut found = files(path)?;
    found.retain(|file| {
        !file
            .path
            .as_os_str()
            .as_encoded_bytes()
            .ends_with(UNFINISHED.as_bytes())
    });
    found.sort_by_key(|file| (file.number, file.compressed));
    found.dedup_by_key(|file| file.number);
    Ok(found)
}

/// Removes what belongs to numbers up to `last`, whatever state it is in.
pub(crate) fn remove_up_to(path: &Path, last: u64) -> io::Result<()> {
    for file in files(path)? {
        if file.number <= last {
            fs::remove_file(&file.path)?;
        }
    }
    Ok(())
}

pub(crate) fn plain(path: &Path, number: u64) -> PathBuf {
    with(path, &format!(".{number}"))
}

pub(crate) fn compressed(path: &Path, number: u64) -> PathBuf {
    with(path, &format!(".{number}{COMPRESSED}"))
}

pub(crate) fn unfinished(path: &Path, number: u64) -> PathBuf {
    with(path, &format!(".{number}{UNFINISHED}"))
}

fn with(path: &Path, more: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(more);
    PathBuf::from(name)
}

/// All files that have a number.
fn files(path: &Path) -> io::Result<Vec<Rotated>> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(Vec::new());
    };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let own = entry?.file_name();
        let rest = own.as_encoded_bytes().strip_prefix(name.as_encoded_bytes());
        let Some(rest) = rest.and_then(|rest| std::str::from_utf8(rest).ok()) else {
            continue;
        };
        let stem = rest.strip_suffix(UNFINISHED);
        let stem = stem.or_else(|| rest.strip_suffix(COMPRESSED));
        let number = stem.unwrap_or(rest).strip_prefix('.');
        if let Some(number) = number.and_then(|number| number.parse().ok()) {
            found.push(Rotated {
                number,
                compressed: stem.is_some(),
                path: directory.join(&own),
            });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_by_their_numbers() {
        let dir = tempfile::tempdir().expect("dir");
        let log = dir.path().join("x-json.log");
        for name in [
            "",
            ".2",
            ".10",
            ".3.gz",
            ".2.gz",
            ".4.gz.new",
            ".x",
            ".5.bz2",
            "5",
        ] {
            fs::write(with(&log, name), "").expect("write");
        }
        let numbers = |log: &Path| {
            let found = rotated(log).expect("list");
            found
                .iter()
                .map(|file| (file.number, file.compressed))
                .collect::<Vec<_>>()
        };
        assert_eq!(numbers(&log), [(2, false), (3, true), (10, false)]);
        remove_up_to(&log, 4).expect("remove");
        assert_eq!(numbers(&log), [(10, false)]);
        assert!(!unfinished(&log, 4).exists() && log.exists());
        assert_eq!(numbers(&dir.path().join("none/log")), []);
    }
}
