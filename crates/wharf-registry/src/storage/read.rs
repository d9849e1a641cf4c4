//! What is answered from the storage without changing it.

use std::fs::File;
use std::io::ErrorKind;
use std::ops::Bound;
use std::time::SystemTime;

use bytes::Bytes;
use wharf_oci::image::{Descriptor, Index};
use wharf_types::{Digest, Repository};

use super::files::{self, FileError, failed};
use super::{Manifest, ManifestName, Storage, StorageError, find, no_manifest};
use crate::document::{Document, MAX_DOCUMENT};
use crate::metrics::Totals;

/// Most repositories that a search finds; who wants others says more.
const MOST_FOUND: usize = 10_000;

/// How much a repository has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Tags.
    pub tags: usize,
    /// Manifests and indexes.
    pub manifests: usize,
    /// Bytes of its blobs and manifests, each counted once.
    pub bytes: u64,
}

/// What a manifest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overview {
    /// Its digest.
    pub digest: Digest,
    /// Layers, of a manifest.
    pub layers: usize,
    /// Manifests, of an index.
    pub manifests: usize,
    /// Bytes of what it needs.
    pub bytes: u64,
}

impl Storage {
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
        match File::open(&path) {
            Ok(file) => Ok((file, size)),
            // Collected since the catalogue was asked.
            Err(error) if error.kind() == ErrorKind::NotFound => Err(missing()),
            Err(error) => Err(failed("open", &path)(error).into()),
        }
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
        if let Some(bytes) = self.documents.get(digest) {
            return Ok(Manifest {
                digest,
                media_type,
                bytes,
            });
        }
        let bytes = files::read_bounded(&self.layout.blob(digest), MAX_DOCUMENT)?;
        let bytes = Bytes::from(bytes.ok_or_else(|| no_manifest(name, wanted))?);
        self.documents.keep(digest, &bytes);
        Ok(Manifest {
            digest,
            media_type,
            bytes,
        })
    }

    /// Returns a manifest's bytes if they are in memory.
    #[must_use]
    pub fn recent_manifest(&self, digest: Digest) -> Option<Bytes> {
        self.documents.get(digest)
    }

    /// Returns how much there is.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let catalog = self.read();
        let (blobs, bytes, manifests) = catalog.totals();
        Totals {
            repositories: catalog.repositories().len(),
            manifests,
            blobs,
            bytes,
            uploads: self.uploads.count(),
        }
    }

    /// Makes sure that the directory is there to be read.
    ///
    /// # Errors
    /// It is not.
    pub fn is_there(&self) -> Result<(), FileError> {
        let root = self.layout.base();
        std::fs::metadata(root).map_err(failed("look at", root))?;
        Ok(())
    }

    /// Returns the repositories with a term in their name that the caller may see, in order.
    #[must_use]
    pub fn search(&self, term: &str, sees: impl Fn(&Repository) -> bool) -> Vec<Repository> {
        let catalog = self.read();
        let names = catalog.repositories().keys();
        let found = names.filter(|name| name.as_str().contains(term) && sees(name));
        found.take(MOST_FOUND).cloned().collect()
    }

    /// Returns how much a repository has.
    #[must_use]
    pub fn summary(&self, name: &str) -> Option<Summary> {
        let catalog = self.read();
        let contents = catalog.repositories().get(name)?;
        let blobs = contents.layers.iter().chain(contents.manifests.keys());
        let sizes = blobs.filter_map(|digest| catalog.blob(*digest));
        Some(Summary {
            tags: contents.tags.len(),
            manifests: contents.manifests.len(),
            bytes: sizes.map(|blob| blob.size).sum(),
        })
    }

    /// Returns every manifest of the repositories that are wanted.
    #[must_use]
    pub fn manifests(&self, wanted: impl Fn(&Repository) -> bool) -> Vec<(Repository, Digest)> {
        let catalog = self.read();
        let repositories = catalog.repositories().iter();
        let wanted = repositories.filter(|(name, _)| wanted(name));
        let manifests = wanted.flat_map(|(name, contents)| {
            let digests = contents.manifests.keys();
            digests.map(|digest| (name.clone(), *digest))
        });
        manifests.collect()
    }

    /// Returns what a manifest is, without reading it.
    #[must_use]
    pub fn overview(&self, name: &Repository, wanted: &ManifestName) -> Option<Overview> {
        let catalog = self.read();
        let (digest, document) = find(&catalog, name, wanted).ok()?;
        let contents = catalog.repository(name)?;
        let of = |document: &Document| {
            let sizes = document
                .blobs
                .iter()
                .filter_map(|digest| catalog.blob(*digest));
            sizes.map(|blob| blob.size).sum::<u64>()
        };
        let inner = document.manifests.iter();
        let inner = inner.filter_map(|digest| contents.manifests.get(digest));
        Some(Overview {
            digest,
            layers: document.blobs.len().saturating_sub(1),
            manifests: document.manifests.len(),
            bytes: of(document) + inner.map(of).sum::<u64>(),
        })
    }

    /// Returns the content of a blob that is not longer than `limit`.
    ///
    /// # Errors
    /// The repository does not serve it, or the disk.
    pub fn small_blob(
        &self,
        name: &Repository,
        digest: Digest,
        limit: usize,
    ) -> Result<Option<Vec<u8>>, StorageError> {
        self.open_blob(name, digest)?;
        Ok(files::read_bounded(&self.layout.blob(digest), limit)?)
    }

    /// Returns what to say about a quota of the repository that is nearly used up.
    #[must_use]
    pub fn scarce(&self, name: &Repository) -> Option<String> {
        let (room, quota) = self.read().accounts().room(name)?;
        (room < quota.limit / 10).then(|| format!("{room} of {} bytes are left", quota.limit))
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
        let tags = contents.tags.range::<str, _>(after(last));
        Ok(page(tags.map(|(tag, _)| tag.as_str()), limit))
    }

    /// Returns up to `limit` repositories after `last` that the caller may see, in order, and whether there are more.
    #[must_use]
    pub fn repositories(
        &self,
        last: Option<&str>,
        limit: usize,
        sees: impl Fn(&Repository) -> bool,
    ) -> (Vec<String>, bool) {
        let catalog = self.read();
        let names = catalog.repositories().range::<str, _>(after(last));
        let seen = names.filter(|(name, _)| sees(name));
        page(seen.map(|(name, _)| name.as_str()), limit)
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
}

fn after(last: Option<&str>) -> (Bound<&str>, Bound<&str>) {
    (
        last.map_or(Bound::Unbounded, Bound::Excluded),
        Bound::Unbounded,
    )
}

fn page<'a>(mut names: impl Iterator<Item = &'a str>, limit: usize) -> (Vec<String>, bool) {
    let page = names.by_ref().take(limit).map(str::to_owned).collect();
    (page, names.next().is_some())
}
