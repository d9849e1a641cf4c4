//! Why the storage did not do something.

use wharf_types::{Digest, Repository, Tag};

use super::files::FileError;
use super::quota::QuotaExceeded;
use super::uploads::UploadError;
use crate::document::DocumentError;

/// Why content was not stored, found or removed.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The repository has never had anything, or no longer has.
    #[error("repository {0} is not known to this registry")]
    NoRepository(Repository),
    /// The repository has no such manifest.
    #[error("manifest {name} is not in {repository}")]
    NoManifest {
        /// The repository.
        repository: Repository,
        /// The tag or digest.
        name: String,
    },
    /// The repository has no such blob.
    #[error("blob {digest} is not in {repository}")]
    NoBlob {
        /// The repository.
        repository: Repository,
        /// The blob.
        digest: Digest,
    },
    /// A manifest needs blobs or manifests that are not there.
    #[error("the manifest needs {needed}, which {repository} does not have")]
    Incomplete {
        /// The repository.
        repository: Repository,
        /// The first that is missing.
        needed: Digest,
    },
    /// A blob cannot be removed while a manifest needs it.
    #[error("blob {digest} is needed by manifest {manifest}: delete that first")]
    InUse {
        /// The blob.
        digest: Digest,
        /// The manifest.
        manifest: Digest,
    },
    /// A manifest was pushed under a digest that is not its own.
    #[error("the manifest's digest is {found}, not {announced}")]
    Digest {
        /// As computed.
        found: Digest,
        /// As given.
        announced: Digest,
    },
    /// The tag names another manifest, and whoever pushes may not change that.
    #[error("tag {tag} of {repository} names {manifest} already, and may not be changed by you")]
    TagExists {
        /// The repository.
        repository: Repository,
        /// The tag.
        tag: Tag,
        /// What it names.
        manifest: Digest,
    },
    /// There is no room.
    #[error(transparent)]
    Quota(#[from] QuotaExceeded),
    /// A manifest that cannot be read.
    #[error(transparent)]
    Document(#[from] InvalidDocument),
    /// An upload that failed.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// The disk.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A manifest that cannot be read; the text says why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidDocument(pub(crate) DocumentError);
