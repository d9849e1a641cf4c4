//! Compresses files that were rotated.
//!
//! The engine's business, not the shim's: it takes seconds of a processor. What is left uncompressed
//! when an engine ends is done by the next; the bound on the files' number holds in any case.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use wharf_types::failpoint;

use crate::segments::{self, Rotated};

/// A file could not be compressed.
#[derive(Debug, thiserror::Error)]
#[error("cannot compress {}", path.display())]
pub struct CompressError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Compresses the files that were rotated of the log at `path`, and are not compressed. Blocks.
///
/// # Errors
/// A file cannot be read or written; the others wait for the next time.
pub fn compress(path: &Path) -> Result<(), CompressError> {
    let failed = |path: &Path, source| CompressError {
        path: path.to_owned(),
        source,
    };
    let rotated = segments::rotated(path).map_err(|error| failed(path, error))?;
    for file in rotated.iter().filter(|file| !file.compressed) {
        match compress_one(path, file) {
            // Removed meanwhile: there were enough newer ones.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other.map_err(|error| failed(&file.path, error))?,
        }
    }
    Ok(())
}

fn compress_one(path: &Path, file: &Rotated) -> io::Result<()> {
    let mut source = File::open(&file.path)?;
    let unfinished = segments::unfinished(path, file.number);
    let target = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o640)
        .open(&unfinished)?;
    let mut encoder = GzEncoder::new(target, Compression::fast());
    let target = io::copy(&mut source, &mut encoder).and_then(|_| encoder.finish());
    let target = match target {
        Ok(target) => target,
        Err(error) => {
            fs::remove_file(&unfinished)?;
            return Err(error);
        }
    };
    // Whoever asks for entries since a time looks at it.
    target.set_modified(source.metadata()?.modified()?)?;
    target.sync_all()?;
    failpoint::hit("log.compress.written");
    fs::rename(&unfinished, segments::compressed(path, file.number))?;
    failpoint::hit("log.compress.renamed");
    fs::remove_file(&file.path)
}
