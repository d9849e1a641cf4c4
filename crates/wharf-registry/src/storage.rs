//! The registry's content: a tree on the disk, and its catalogue in memory.
//!
//! # Rules
//! - A file becomes visible by a rename after it was synced; links are written only to what is there.
//!   What a crash leaves is a blob without a link, an upload, or a `.tmp` file: collection finds them.
//! - The disk changes first, the catalogue after it. Whoever changes links holds [`Storage::writing`],
//!   so what was checked under it still holds when the link is written.
//! - A manifest enters a repository only when every blob it needs is in that repository, and a blob
//!   leaves only when no manifest needs it; both under `writing`. So no manifest that can be pulled
//!   lacks a blob, whatever is pushed, deleted and collected at the same time (attack G11).

mod catalog;
mod collect;
mod files;
mod layout;
mod open;
mod uploads;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::SystemTime;

use wharf_oci::image::{Descriptor, Index};
use wharf_types::{Digest, Repository, Tag, UploadId, failpoint};

pub use self::collect::{Collected, Retention};
pub use self::files::FileError;
pub use self::open::OpenError;
pub use self::uploads::{Expected, UploadError};

use self::catalog::{Catalog, Contents};
use self::files::failed;
use self::layout::Layout;
use self::uploads::Uploads;
use crate::document::{Document, DocumentError, MAX_DOCUMENT};

/// The content of a registry. One process owns a directory; a lock file holds the second one off.
#[derive(Debug)]
pub struct Storage {
    layout: Layout,
    catalog: RwLock<Catalog>,
    writing: Mutex<()>,
    uploads: Uploads,
    /// Held as long as this process owns the directory.
    _owner: File,
}

/// A manifest as it is served.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Its digest.
    pub digest: Digest,
    /// Its type.
    pub media_type: String,
    /// Its bytes, as they came.
    pub bytes: Vec<u8>,
}

/// What a manifest is asked by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestName {
    /// By tag.
    Tag(Tag),
    /// By digest.
    Digest(Digest),
}

/// A manifest that was taken in.
#[derive(Debug, Clone, Copy)]
pub struct Stored {
    /// Its digest.
    pub digest: Digest,
    /// The manifest it is about.
    pub subject: Option<Digest>,
}

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
pub struct InvalidDocument(DocumentError);

impl Storage {
    /// Opens the tree below `root`, which is made when it is missing, and reads what is there.
    ///
    /// # Errors
    /// Another process owns the directory, or it cannot be read.
    pub fn open(root: &Path) -> Result<Self, OpenError> {
        let layout = Layout::new(root);
        let owner = open::own(root)?;
        let catalog = open::read(&layout)?;
        Ok(Self {
            uploads: Uploads::new(layout.clone()),
            layout,
            catalog: RwLock::new(catalog),
            writing: Mutex::default(),
            _owner: owner,
        })
    }

    /// Begins an upload into a repository.
    ///
    /// # Errors
    /// The disk.
    pub fn begin_upload(&self, name: &Repository) -> Result<UploadId, UploadError> {
        self.uploads.begin(name)
    }

    /// Returns the bytes an upload has.
    ///
    /// # Errors
    /// It is unknown, or being written.
    pub fn upload_offset(&self, name: &Repository, id: &UploadId) -> Result<u64, UploadError> {
        self.uploads.offset(name, id)
    }

    /// Adds to an upload; returns the bytes it has then.
    ///
    /// # Errors
    /// As [`UploadError`] says; what came before an error stays.
    pub fn append(
        &self,
        name: &Repository,
        id: &UploadId,
        expected: Expected,
        body: impl Read,
    ) -> Result<u64, UploadError> {
        self.uploads.append(name, id, expected, body)
    }

    /// Forgets an upload.
    ///
    /// # Errors
    /// It is unknown, or the disk.
    pub fn cancel_upload(&self, name: &Repository, id: &UploadId) -> Result<(), UploadError> {
        self.uploads.end(name, id)
    }

    /// Makes an upload a blob of its repository.
    ///
    /// # Errors
    /// The content is not what was announced, or the disk. The upload stays then.
    pub fn finish_upload(
        &self,
        name: &Repository,
        id: &UploadId,
        announced: Digest,
    ) -> Result<(), StorageError> {
        let (data, size) = self.uploads.finish(name, id, announced)?;
        {
            let _writing = self.writing();
            if self.read().blob(announced).is_none() {
                let directory = self.layout.blob_directory(announced);
                files::ensure_directory(&directory)?;
                let blob = self.layout.blob(announced);
                std::fs::rename(&data, &blob).map_err(failed("rename to", &blob))?;
                files::sync_directory(&directory)?;
                failpoint::hit("registry.blob.renamed");
                self.write().add_blob(announced, size, SystemTime::now());
            }
            self.link_layer(name, announced)?;
        }
        failpoint::hit("registry.blob.linked");
        self.uploads.end(name, id)?;
        Ok(())
    }

    /// Makes a blob of `from` one of `name` too, without its bytes travelling; `false` when `from` does not serve it.
    ///
    /// # Errors
    /// The disk.
    pub fn mount(
        &self,
        name: &Repository,
        from: &Repository,
        digest: Digest,
    ) -> Result<bool, StorageError> {
        let _writing = self.writing();
        if self.read().served(from, digest).is_none() {
            return Ok(false);
        }
        self.link_layer(name, digest)?;
        Ok(true)
    }

    /// Returns the size of a blob that a repository serves, and keeps it from collection for a while.
    #[must_use]
    pub fn blob_size(&self, name: &Repository, digest: Digest) -> Option<u64> {
        let size = self.read().served(name, digest)?;
        self.write().touch(digest, SystemTime::now());
        Some(size)
    }

    /// Opens a blob that a repository serves.
    ///
    /// # Errors
    /// It does not serve it, or the disk.
    pub fn open_blob(
        &self,
        name: &Repository,
        digest: Digest,
    ) -> Result<(File, u64), StorageError> {
        let missing = || StorageError::NoBlob {
            repository: name.clone(),
            digest,
        };
        let size = self.read().served(name, digest).ok_or_else(missing)?;
        let path = self.layout.blob(digest);
        let file = File::open(&path).map_err(failed("open", &path))?;
        Ok((file, size))
    }

    /// Takes a blob out of a repository.
    ///
    /// # Errors
    /// It is not there, or a manifest needs it, or the disk.
    pub fn delete_blob(&self, name: &Repository, digest: Digest) -> Result<(), StorageError> {
        let _writing = self.writing();
        {
            let catalog = self.read();
            if !catalog
                .repository(name)
                .is_some_and(|contents| contents.layers.contains(&digest))
            {
                return Err(StorageError::NoBlob {
                    repository: name.clone(),
                    digest,
                });
            }
            if let Some(manifest) = catalog.user_of(name, digest) {
                return Err(StorageError::InUse { digest, manifest });
            }
        }
        self.unlink_layer(name, digest)
    }

    /// Takes a manifest in.
    ///
    /// # Errors
    /// It is malformed, not what was announced, or lacks something it needs; or the disk.
    pub fn put_manifest(
        &self,
        name: &Repository,
        wanted: &ManifestName,
        bytes: &[u8],
        media_type: Option<&str>,
    ) -> Result<Stored, StorageError> {
        let document = Document::read(bytes, media_type).map_err(InvalidDocument)?;
        let digest = Digest::of(bytes);
        if let ManifestName::Digest(announced) = wanted
            && *announced != digest
        {
            return Err(StorageError::Digest {
                found: digest,
                announced: *announced,
            });
        }
        let _writing = self.writing();
        self.check_complete(name, &document)?;
        self.write_document(digest, bytes)?;
        failpoint::hit("registry.manifest.written");
        files::replace(
            &self.layout.revision_link(name, digest),
            link(digest).as_bytes(),
        )?;
        failpoint::hit("registry.manifest.linked");
        let subject = document.subject;
        self.write().add_manifest(name, digest, document);
        if let ManifestName::Tag(tag) = wanted {
            files::replace(
                &self.layout.tag_history_link(name, tag, digest),
                link(digest).as_bytes(),
            )?;
            files::replace(&self.layout.tag_link(name, tag), link(digest).as_bytes())?;
            failpoint::hit("registry.manifest.tagged");
            self.write().set_tag(name, tag.clone(), digest);
        }
        Ok(Stored { digest, subject })
    }

    /// Returns a manifest's digest, type and size, without its bytes.
    ///
    /// # Errors
    /// It is not there.
    pub fn manifest_head(
        &self,
        name: &Repository,
        wanted: &ManifestName,
    ) -> Result<(Digest, String, u64), StorageError> {
        let catalog = self.read();
        let (digest, document) = find(&catalog, name, wanted)?;
        Ok((digest, document.media_type.clone(), document.size))
    }

    /// Returns a manifest.
    ///
    /// # Errors
    /// It is not there, or the disk.
    pub fn manifest(
        &self,
        name: &Repository,
        wanted: &ManifestName,
    ) -> Result<Manifest, StorageError> {
        let (digest, media_type, _) = self.manifest_head(name, wanted)?;
        let bytes = files::read_bounded(&self.layout.blob(digest), MAX_DOCUMENT)?;
        let bytes = bytes.ok_or_else(|| no_manifest(name, wanted))?;
        Ok(Manifest {
            digest,
            media_type,
            bytes,
        })
    }

    /// Removes a tag, or a manifest with all its tags.
    ///
    /// # Errors
    /// It is not there, or the disk.
    pub fn delete_manifest(
        &self,
        name: &Repository,
        wanted: &ManifestName,
    ) -> Result<(), StorageError> {
        let _writing = self.writing();
        let tags: Vec<Tag> = {
            let catalog = self.read();
            let (digest, _) = find(&catalog, name, wanted)?;
            match wanted {
                ManifestName::Tag(tag) => vec![tag.clone()],
                ManifestName::Digest(_) => tags_of(&catalog, name, digest),
            }
        };
        for tag in tags {
            files::remove_tree(&self.layout.tag(name, &tag))?;
            failpoint::hit("registry.delete.untagged");
            self.write().remove_tag(name, &tag);
        }
        if let ManifestName::Digest(digest) = wanted {
            let link = self.layout.revision_link(name, *digest);
            files::remove_tree(link.parent().unwrap_or(&link))?;
            failpoint::hit("registry.delete.unlinked");
            self.write().remove_manifest(name, *digest);
        }
        Ok(())
    }

    /// Returns up to `limit` tags of a repository after `last`, in order, and whether there are more.
    ///
    /// # Errors
    /// There is no such repository.
    pub fn tags(
        &self,
        name: &Repository,
        last: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<String>, bool), StorageError> {
        let catalog = self.read();
        let contents = catalog
            .repository(name)
            .ok_or_else(|| StorageError::NoRepository(name.clone()))?;
        Ok(page(contents.tags.keys().map(Tag::as_str), last, limit))
    }

    /// Returns up to `limit` repositories after `last`, in order, and whether there are more.
    #[must_use]
    pub fn repositories(&self, last: Option<&str>, limit: usize) -> (Vec<String>, bool) {
        page(
            self.read().repositories().keys().map(Repository::as_str),
            last,
            limit,
        )
    }

    /// Returns the list of manifests that are about `subject`, with those named by the index that clients
    /// keep under the tag `sha256-<hex>` when a registry has no such list ("Referrers Tag Schema").
    #[must_use]
    pub fn referrers(
        &self,
        name: &Repository,
        subject: Digest,
        artifact_type: Option<&str>,
    ) -> Index {
        let mut index = Index {
            schema_version: 2,
            media_type: Some(wharf_oci::image::media_type::INDEX.to_owned()),
            ..Index::default()
        };
        let fallback = format!("sha256-{}", subject.hex())
            .parse()
            .map(ManifestName::Tag);
        if let Ok(Ok(manifest)) = fallback.map(|tag| self.manifest(name, &tag))
            && let Ok(kept) = serde_json::from_slice::<Index>(&manifest.bytes)
        {
            index.manifests = kept.manifests;
        }
        if let Some(contents) = self.read().repository(name) {
            let about = |(_, document): &(&Digest, &Document)| document.subject == Some(subject);
            for (digest, document) in contents.manifests.iter().filter(about) {
                let text = digest.to_string();
                index
                    .manifests
                    .retain(|descriptor: &Descriptor| descriptor.digest != text);
                index.manifests.push(document.as_referrer(*digest));
            }
        }
        if let Some(wanted) = artifact_type {
            index
                .manifests
                .retain(|descriptor| descriptor.artifact_type.as_deref() == Some(wanted));
        }
        index
    }

    fn check_complete(&self, name: &Repository, document: &Document) -> Result<(), StorageError> {
        let catalog = self.read();
        let empty = Contents::default();
        let contents = catalog.repository(name).unwrap_or(&empty);
        let missing_blob = document
            .blobs
            .iter()
            .find(|digest| !contents.layers.contains(digest));
        let missing_manifest = document
            .manifests
            .iter()
            .find(|digest| !contents.manifests.contains_key(digest));
        match missing_blob.or(missing_manifest) {
            None => Ok(()),
            Some(needed) => Err(StorageError::Incomplete {
                repository: name.clone(),
                needed: *needed,
            }),
        }
    }

    /// Writes a manifest's bytes as a blob, unless they are there.
    fn write_document(&self, digest: Digest, bytes: &[u8]) -> Result<(), FileError> {
        if self.read().blob(digest).is_none() {
            files::replace(&self.layout.blob(digest), bytes)?;
            self.write()
                .add_blob(digest, bytes.len() as u64, SystemTime::now());
        }
        Ok(())
    }

    fn link_layer(&self, name: &Repository, digest: Digest) -> Result<(), StorageError> {
        files::replace(
            &self.layout.layer_link(name, digest),
            link(digest).as_bytes(),
        )?;
        let mut catalog = self.write();
        catalog.add_layer(name, digest);
        catalog.touch(digest, SystemTime::now());
        Ok(())
    }

    fn unlink_layer(&self, name: &Repository, digest: Digest) -> Result<(), StorageError> {
        let link = self.layout.layer_link(name, digest);
        files::remove_tree(link.parent().unwrap_or(&link))?;
        failpoint::hit("registry.blob.unlinked");
        self.write().remove_layer(name, digest);
        Ok(())
    }

    fn read(&self) -> RwLockReadGuard<'_, Catalog> {
        self.catalog.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Catalog> {
        self.catalog.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a link file holds.
fn link(digest: Digest) -> String {
    digest.to_string()
}

fn find<'a>(
    catalog: &'a Catalog,
    name: &Repository,
    wanted: &ManifestName,
) -> Result<(Digest, &'a Document), StorageError> {
    let digest = match wanted {
        ManifestName::Digest(digest) => Some(*digest),
        ManifestName::Tag(tag) => catalog
            .repository(name)
            .and_then(|contents| contents.tags.get(tag).copied()),
    };
    digest
        .and_then(|digest| {
            catalog
                .document(name, digest)
                .map(|document| (digest, document))
        })
        .ok_or_else(|| no_manifest(name, wanted))
}

fn no_manifest(name: &Repository, wanted: &ManifestName) -> StorageError {
    StorageError::NoManifest {
        repository: name.clone(),
        name: match wanted {
            ManifestName::Tag(tag) => tag.to_string(),
            ManifestName::Digest(digest) => digest.to_string(),
        },
    }
}

fn tags_of(catalog: &Catalog, name: &Repository, digest: Digest) -> Vec<Tag> {
    let tags = catalog
        .repository(name)
        .map(|contents| contents.tags.iter());
    let names = tags
        .into_iter()
        .flatten()
        .filter(|(_, tagged)| **tagged == digest);
    names.map(|(tag, _)| tag.clone()).collect()
}

fn page<'a>(
    names: impl Iterator<Item = &'a str>,
    last: Option<&str>,
    limit: usize,
) -> (Vec<String>, bool) {
    let mut after = names.skip_while(|name| last.is_some_and(|last| *name <= last));
    let page = after.by_ref().take(limit).map(str::to_owned).collect();
    (page, after.next().is_some())
}

#[cfg(test)]
mod tests;
