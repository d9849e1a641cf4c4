//! Files that are whole and on the disk, or not there.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// A file operation that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {path}", path = path.display())]
pub struct FileError {
    operation: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Gives an error its context.
pub(crate) fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    move |source| FileError {
        operation,
        path: path.to_owned(),
        source,
    }
}

/// Makes a directory and those above it, each synced into the one that holds it.
pub(crate) fn ensure_directory(path: &Path) -> Result<(), FileError> {
    match std::fs::create_dir(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let above = path
                .parent()
                .ok_or(error)
                .map_err(failed("create directory", path))?;
            ensure_directory(above)?;
            return ensure_directory(path);
        }
        Err(error) => return Err(failed("create directory", path)(error)),
    }
    path.parent().map_or(Ok(()), sync_directory)
}

/// Syncs a directory: the names in it.
pub(crate) fn sync_directory(path: &Path) -> Result<(), FileError> {
    let directory = File::open(path).map_err(failed("open directory", path))?;
    directory.sync_all().map_err(failed("sync directory", path))
}

/// Replaces the file at `path` by one with `content`: readers see the old or the new, and so does
/// the next start.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let directory = path.parent().unwrap_or(path);
    ensure_directory(directory)?;
    // Writers of links take turns (`Storage::writing`), so that one name is enough.
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary).map_err(failed("create", &temporary))?;
    file.write_all(content)
        .map_err(failed("write", &temporary))?;
    file.sync_all().map_err(failed("sync", &temporary))?;
    std::fs::rename(&temporary, path).map_err(failed("rename to", path))?;
    sync_directory(directory)
}

/// Removes a directory with all in it and syncs the one above; one that is missing is removed.
pub(crate) fn remove_tree(path: &Path) -> Result<(), FileError> {
    match std::fs::remove_dir_all(path) {
        Ok(()) => path.parent().map_or(Ok(()), sync_directory),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("remove", path)(error)),
    }
}

/// Reads a file of at most `limit` bytes; `None` when it is missing or longer.
pub(crate) fn read_bounded(path: &Path, limit: usize) -> Result<Option<Vec<u8>>, FileError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("open", path)(error)),
    };
    let mut content = Vec::new();
    let read = file.take(limit as u64 + 1).read_to_end(&mut content);
    read.map_err(failed("read", path))?;
    Ok((content.len() <= limit).then_some(content))
}

/// Returns the names in a directory that are text; none when it is missing.
pub(crate) fn names(path: &Path) -> Result<Vec<String>, FileError> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(failed("read directory", path)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed("read directory", path))?;
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}
