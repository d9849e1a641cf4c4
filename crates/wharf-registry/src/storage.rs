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
mod documents;
mod error;
mod files;
mod layout;
mod open;
mod quota;
mod read;
mod uploads;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::SystemTime;

use bytes::Bytes;
use wharf_types::{Digest, Repository, Tag, UploadId, failpoint};

pub use self::collect::{Collected, Retention};
pub use self::error::{InvalidDocument, StorageError};
pub use self::files::FileError;
pub use self::open::OpenError;
pub use self::quota::{Quota, QuotaExceeded};
pub use self::read::{Overview, Summary};
pub use self::uploads::{Expected, UploadError, UploadWriter};

use self::catalog::{Catalog, Contents};
use self::documents::Documents;
use self::files::failed;
use self::layout::Layout;
use self::uploads::Uploads;
use crate::document::Document;

/// The content of a registry. One process owns a directory; a lock file holds the second one off.
#[derive(Debug)]
pub struct Storage {
    layout: Layout,
    catalog: RwLock<Catalog>,
    writing: Mutex<()>,
    uploads: Uploads,
    documents: Documents,
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
    pub bytes: Bytes,
}

/// What a manifest is asked by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestName {
    /// By tag.
    Tag(Tag),
    /// By digest.
    Digest(Digest),
}

impl std::fmt::Display for ManifestName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// Whether a push may take a tag from another manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// It may.
    Allowed,
    /// It may not (attack G2).
    Refused,
}

/// A manifest that was taken in.
#[derive(Debug, Clone, Copy)]
pub struct Stored {
    /// Its digest.
    pub digest: Digest,
    /// The manifest it is about.
    pub subject: Option<Digest>,
}

impl Storage {
    /// Opens the tree below `root`, which is made when it is missing, and reads what is there.
    ///
    /// # Errors
    /// Another process owns the directory, or it cannot be read.
    pub fn open(root: &Path) -> Result<Self, OpenError> {
        let layout = Layout::new(root);
        let owner = open::own(root)?;
        files::ensure_directory(layout.base())?;
        let catalog = open::read(&layout)?;
        Ok(Self {
            uploads: Uploads::new(layout.clone()),
            layout,
            catalog: RwLock::new(catalog),
            writing: Mutex::default(),
            documents: Documents::default(),
            _owner: owner,
        })
    }

    /// Limits what repositories may hold from now on.
    #[must_use]
    pub fn with_quotas(self, quotas: Vec<Quota>) -> Self {
        self.write().set_quotas(quotas);
        self
    }

    /// Begins an upload into a repository; only its owner can go on with it, or everybody when it has none.
    ///
    /// # Errors
    /// The disk.
    pub fn begin_upload(
        &self,
        name: &Repository,
        owner: Option<&str>,
    ) -> Result<UploadId, UploadError> {
        self.uploads.begin(name, owner)
    }

    /// Makes sure that an upload is this caller's to go on with (attack G7).
    ///
    /// # Errors
    /// It is somebody else's, or unknown.
    pub fn check_owner(
        &self,
        name: &Repository,
        id: &UploadId,
        caller: Option<&str>,
    ) -> Result<(), UploadError> {
        self.uploads.check_owner(name, id, caller)
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
        let writer = self.upload_writer(name, id, expected)?;
        self.uploads.append(writer, body)
    }

    /// Takes an upload for adding to it piece by piece.
    ///
    /// # Errors
    /// It is unknown, or somebody else has it, or the bytes do not begin where it ends.
    pub fn upload_writer(
        &self,
        name: &Repository,
        id: &UploadId,
        expected: Expected,
    ) -> Result<UploadWriter, UploadError> {
        let room = self.read().accounts().room(name);
        self.uploads.writer(name, id, expected, room)
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
            self.read().accounts().admit(name, announced, size)?;
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
        let Some(size) = self.read().served(from, digest) else {
            return Ok(false);
        };
        self.read().accounts().admit(name, digest, size)?;
        self.link_layer(name, digest)?;
        Ok(true)
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
    /// It is malformed, not what was announced, lacks something it needs, or would take a tag from
    /// another one when that is not allowed; or the disk.
    pub fn put_manifest(
        &self,
        name: &Repository,
        wanted: &ManifestName,
        bytes: &[u8],
        media_type: Option<&str>,
        overwrite: Overwrite,
    ) -> Result<Stored, StorageError> {
        let document = Document::read(bytes, media_type).map_err(InvalidDocument)?;
        let digest = Digest::of(bytes);
        announced(wanted, digest)?;
        let _writing = self.writing();
        self.check_complete(name, &document)?;
        if let (ManifestName::Tag(tag), Overwrite::Refused) = (wanted, overwrite) {
            self.check_untaken(name, tag, digest)?;
        }
        self.admit_document(name, wanted, bytes, document, digest)
    }

    /// Takes a manifest in whose blobs may come later, each when it is asked for: one of a pull-through repository.
    ///
    /// # Errors
    /// It is malformed or not what was announced; or the disk.
    pub fn put_cached_manifest(
        &self,
        name: &Repository,
        wanted: &ManifestName,
        bytes: &[u8],
        media_type: Option<&str>,
    ) -> Result<Stored, StorageError> {
        let document = Document::read(bytes, media_type).map_err(InvalidDocument)?;
        let digest = Digest::of(bytes);
        announced(wanted, digest)?;
        let _writing = self.writing();
        self.admit_document(name, wanted, bytes, document, digest)
    }

    /// Writes a manifest, its link, and its tag's. The caller holds `writing`.
    fn admit_document(
        &self,
        name: &Repository,
        wanted: &ManifestName,
        bytes: &[u8],
        document: Document,
        digest: Digest,
    ) -> Result<Stored, StorageError> {
        self.read()
            .accounts()
            .admit(name, digest, bytes.len() as u64)?;
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

    /// Makes sure that a tag is free, or names this manifest already.
    fn check_untaken(
        &self,
        name: &Repository,
        tag: &Tag,
        digest: Digest,
    ) -> Result<(), StorageError> {
        let catalog = self.read();
        let contents = catalog.repository(name);
        match contents.and_then(|contents| contents.tags.get(tag)) {
            Some(manifest) if *manifest != digest => Err(StorageError::TagExists {
                repository: name.clone(),
                tag: tag.clone(),
                manifest: *manifest,
            }),
            _ => Ok(()),
        }
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

/// Makes sure that a manifest pushed under a digest has that digest.
fn announced(wanted: &ManifestName, found: Digest) -> Result<(), StorageError> {
    match wanted {
        ManifestName::Digest(announced) if *announced != found => Err(StorageError::Digest {
            found,
            announced: *announced,
        }),
        _ => Ok(()),
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
        name: wanted.to_string(),
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

#[cfg(test)]
mod tests;
