//! What can go wrong, one type an operation.

use std::io;
use std::path::PathBuf;

use wharf_types::Digest;

use crate::SnapshotId;

/// A file operation inside the store that failed.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {}", path.display())]
pub struct PathError {
    /// What was tried, as a verb.
    pub operation: &'static str,
    /// On what.
    pub path: PathBuf,
    /// Why it failed.
    #[source]
    pub source: io::Error,
}

/// The store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file operation failed.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// An image is not there or is damaged.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The store has no such image.
    #[error("no such image: {0}")]
    NotFound(Digest),
    /// A file operation failed.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// An archive cannot be taken in.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file operation failed.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// Images cannot be written out.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// One of them is not there or is damaged.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A file operation failed.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// A snapshot cannot be made, mounted or removed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// There is one of this id already.
    #[error("snapshot {0} exists already")]
    Exists(SnapshotId),
    /// There is none of this id.
    #[error("no such snapshot: {0}")]
    NotFound(SnapshotId),
    /// Its image is not there or is damaged.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A file operation failed.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// A snapshot cannot be compared with its image or written out.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// The snapshot is not there.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A file operation failed.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The other side does not take the archive.
    #[error("write the archive")]
    Write(#[source] io::Error),
}

/// The store's files cannot be read for checking or collecting.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A file operation failed.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// A file inside a root file system cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RootedError {
    /// It is not a regular file (attack R22: a FIFO would block its reader for ever).
    #[error("{} is not a regular file", .0.display())]
    NotRegular(PathBuf),
    /// It is larger than its reader takes.
    #[error("{} is larger than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What the reader takes.
        limit: u64,
    },
    /// A file operation failed; [`io::ErrorKind::NotFound`] tells that it is not there.
    #[error(transparent)]
    Path(#[from] PathError),
}
