//! The file with the engine's process id, which also says that the engine runs: it is locked as long as it does.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Why the file cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum PidFileError {
    /// Somebody holds it.
    #[error("another engine (process {holder}) holds the pid file {}", path.display())]
    Held {
        /// The file.
        path: PathBuf,
        /// What it says.
        holder: String,
    },
    /// It cannot be made or written.
    #[error("pid file {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The file, held.
#[derive(Debug)]
pub(super) struct PidFile {
    path: PathBuf,
    /// Holds the lock.
    _file: File,
}

impl PidFile {
    /// Takes the file. One that an engine left which was killed is taken over: its lock died with it.
    pub(super) fn take(path: &Path) -> Result<Self, PidFileError> {
        let failed = |source| PidFileError::Io {
            path: path.to_owned(),
            source,
        };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder).map_err(failed)?;
                return Err(PidFileError::Held {
                    path: path.to_owned(),
                    holder: holder.trim().to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .map_err(failed)?;
        file.write_all(std::process::id().to_string().as_bytes())
            .map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            _file: file,
        })
    }

    /// Removes the file, while it is still held.
    pub(super) fn remove(self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "could not remove the pid file");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_engine_holds_the_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("run/wharf.pid");
        let held = PidFile::take(&path).expect("a free file");
        let own = std::process::id().to_string();
        assert_eq!(fs::read_to_string(&path).expect("the file"), own);
        let error = PidFile::take(&path).expect_err("held").to_string();
        assert_eq!(
            error,
            format!(
                "another engine (process {own}) holds the pid file {}",
                path.display()
            )
        );
        held.remove();
        assert!(!path.exists());
    }

    #[test]
    fn a_file_left_behind_is_taken_over() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("wharf.pid");
        fs::write(&path, "99999999999").expect("a file");
        let _held = PidFile::take(&path).expect("nobody holds it");
        assert_eq!(
            fs::read_to_string(&path).expect("the file"),
            std::process::id().to_string()
        );
    }
}
