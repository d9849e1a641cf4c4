//! Where things are on the disk.
//!
//! The tree is that of the CNCF's `distribution` registry (`registry/storage/paths.go`), so that a
//! directory may be handed from one to the other, and read with `tree`:
//!
//! ```text
//! docker/registry/v2/
//!   blobs/sha256/<aa>/<hex>/data
//!   repositories/<name>/
//!     _layers/sha256/<hex>/link              this repository has the blob
//!     _manifests/revisions/sha256/<hex>/link this repository has the manifest
//!     _manifests/tags/<tag>/current/link     what the tag is now
//!     _manifests/tags/<tag>/index/sha256/<hex>/link   what it has been
//!     _uploads/<id>/{data,startedat}
//! ```
//!
//! Every part comes from a type whose text cannot hold a slash too many or begin with `_`.

use std::path::{Path, PathBuf};

use wharf_types::{Digest, Repository, Tag, UploadId};

/// The paths below a root directory.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    base: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            base: root.join("docker/registry/v2"),
        }
    }

    /// The directory that has all the others.
    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.base.join("blobs/sha256")
    }

    pub(crate) fn repositories(&self) -> PathBuf {
        self.base.join("repositories")
    }

    pub(crate) fn blob_directory(&self, digest: Digest) -> PathBuf {
        let hex = digest.hex();
        self.blobs().join(&hex[..2]).join(&hex)
    }

    pub(crate) fn blob(&self, digest: Digest) -> PathBuf {
        self.blob_directory(digest).join("data")
    }

    pub(crate) fn repository(&self, name: &Repository) -> PathBuf {
        self.repositories().join(name.as_str())
    }

    pub(crate) fn layers(&self, name: &Repository) -> PathBuf {
        self.repository(name).join("_layers/sha256")
    }

    pub(crate) fn layer_link(&self, name: &Repository, digest: Digest) -> PathBuf {
        self.layers(name).join(digest.hex()).join("link")
    }

    pub(crate) fn revisions(&self, name: &Repository) -> PathBuf {
        self.repository(name).join("_manifests/revisions/sha256")
    }

    pub(crate) fn revision_link(&self, name: &Repository, digest: Digest) -> PathBuf {
        self.revisions(name).join(digest.hex()).join("link")
    }

    pub(crate) fn tags(&self, name: &Repository) -> PathBuf {
        self.repository(name).join("_manifests/tags")
    }

    pub(crate) fn tag(&self, name: &Repository, tag: &Tag) -> PathBuf {
        self.tags(name).join(tag.as_str())
    }

    pub(crate) fn tag_link(&self, name: &Repository, tag: &Tag) -> PathBuf {
        self.tag(name, tag).join("current/link")
    }

    pub(crate) fn tag_history_link(&self, name: &Repository, tag: &Tag, digest: Digest) -> PathBuf {
        self.tag(name, tag)
            .join("index/sha256")
            .join(digest.hex())
            .join("link")
    }

    pub(crate) fn uploads(&self, name: &Repository) -> PathBuf {
        self.repository(name).join("_uploads")
    }

    pub(crate) fn upload(&self, name: &Repository, id: &UploadId) -> PathBuf {
        self.uploads(name).join(id.to_string())
    }
}
