//! Collection: giving back the space of what nothing names, while others push and pull.
//!
//! A blob goes when no manifest of any repository needs it and nobody has pushed it, or asked whether
//! it is there, for a while: a client that was told a layer is there has that long to push the manifest.
//! Each is decided and removed under [`Storage::writing`](super::Storage), one at a time, so a push waits
//! for one removal at most.

use std::time::{Duration, SystemTime};

use wharf_types::{Digest, Repository, failpoint};

use crate::storage::{Storage, StorageError, files};

/// How long what nothing names is kept.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// A blob that no manifest needs, since it was pushed or asked for.
    pub blobs: Duration,
    /// An upload, since it got bytes.
    pub uploads: Duration,
    /// Whether manifests without a tag go too, unless an index needs them or they are about one that stays.
    pub untagged: bool,
}

impl Default for Retention {
    /// A day for blobs, a week for uploads, untagged manifests stay.
    fn default() -> Self {
        Self {
            blobs: Duration::from_secs(24 * 3600),
            uploads: Duration::from_secs(7 * 24 * 3600),
            untagged: false,
        }
    }
}

/// What a collection removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Manifests.
    pub manifests: usize,
    /// Blobs.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Uploads.
    pub uploads: usize,
}

impl Storage {
    /// Removes what `retention` does not keep.
    ///
    /// # Errors
    /// The disk; what was removed until then is gone.
    pub fn collect(
        &self,
        retention: Retention,
        now: SystemTime,
    ) -> Result<Collected, StorageError> {
        let mut collected = Collected::default();
        let before = |kept: Duration| now.checked_sub(kept).unwrap_or(SystemTime::UNIX_EPOCH);
        let names: Vec<Repository> = self.read().repositories().keys().cloned().collect();
        for name in &names {
            if retention.untagged {
                collected.manifests += self.collect_untagged(name)?;
            }
            collected.uploads += self.uploads.expire(name, before(retention.uploads))?;
        }
        let unused: Vec<Digest> = {
            let catalog = self.read();
            let blobs = catalog
                .blobs()
                .filter(|(digest, _)| catalog.uses(*digest) == 0);
            blobs.map(|(digest, _)| digest).collect()
        };
        for digest in unused {
            if let Some(bytes) = self.collect_blob(digest, before(retention.blobs))? {
                collected.blobs += 1;
                collected.bytes += bytes;
            }
        }
        Ok(collected)
    }

    /// Removes the manifests of a repository that nothing names, and those that only they named.
    fn collect_untagged(&self, name: &Repository) -> Result<usize, StorageError> {
        let mut removed = 0;
        loop {
            let _writing = self.writing();
            let unnamed = {
                let catalog = self.read();
                catalog.repository(name).and_then(|contents| {
                    let named = |digest: &Digest| {
                        contents.tags.values().any(|tagged| tagged == digest)
                            || contents
                                .manifests
                                .values()
                                .any(|document| document.manifests.contains(digest))
                            || contents.manifests.get(digest).is_some_and(|document| {
                                document.subject.is_some_and(|subject| {
                                    contents.manifests.contains_key(&subject)
                                })
                            })
                    };
                    contents
                        .manifests
                        .keys()
                        .find(|digest| !named(digest))
                        .copied()
                })
            };
            let Some(digest) = unnamed else {
                return Ok(removed);
            };
            let link = self.layout.revision_link(name, digest);
            files::remove_tree(link.parent().unwrap_or(&link))?;
            failpoint::hit("registry.collect.unlinked");
            self.write().remove_manifest(name, digest);
            removed += 1;
        }
    }

    /// Removes one blob if it is still unused and was not touched since `before`; returns its bytes.
    fn collect_blob(
        &self,
        digest: Digest,
        before: SystemTime,
    ) -> Result<Option<u64>, StorageError> {
        let _writing = self.writing();
        let (blob, used, holders) = {
            let catalog = self.read();
            let Some(blob) = catalog.blob(digest) else {
                return Ok(None);
            };
            let holds = catalog
                .repositories()
                .iter()
                .filter(|(_, contents)| contents.layers.contains(&digest));
            (
                blob,
                catalog.uses(digest) > 0,
                holds.map(|(name, _)| name.clone()).collect::<Vec<_>>(),
            )
        };
        if used || blob.touched >= before {
            return Ok(None);
        }
        // Links first: a link without its blob would be a promise nobody keeps.
        for name in &holders {
            self.unlink_layer(name, digest)?;
        }
        failpoint::hit("registry.collect.links-removed");
        files::remove_tree(&self.layout.blob_directory(digest))?;
        failpoint::hit("registry.collect.removed");
        self.write().remove_blob(digest);
        Ok(Some(blob.size))
    }
}
