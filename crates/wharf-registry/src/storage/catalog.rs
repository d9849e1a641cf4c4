//! What the registry has, in memory: read from the disk once, and changed after the disk was.
//!
//! Questions are answered from here; only the bytes of blobs and manifests come from the disk. It is
//! also what makes collection safe while others push: whether a blob is in use is known, not searched for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::SystemTime;

use wharf_types::{Digest, Repository, Tag};

use crate::document::Document;
use crate::storage::quota::{Accounts, Quota};

/// Everything.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    repositories: BTreeMap<Repository, Contents>,
    blobs: HashMap<Digest, Blob>,
    /// Manifests that are a blob or need it, counted once for each repository they are in. The blob
    /// itself need not be here: a pull-through repository gets it when somebody asks for it.
    uses: HashMap<Digest, usize>,
    /// Manifests, once for each repository that has them.
    manifests: usize,
    /// Bytes of all blobs.
    bytes: u64,
    accounts: Accounts,
}

/// What one repository has.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) manifests: BTreeMap<Digest, Document>,
    pub(crate) tags: BTreeMap<Tag, Digest>,
    /// Blobs that may be had from this repository; those a manifest needs and others.
    pub(crate) layers: BTreeSet<Digest>,
}

/// A blob of the registry, in however many repositories.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blob {
    /// Bytes.
    pub(crate) size: u64,
    /// When somebody last pushed it or asked whether it is there: who was told "yes" may push a
    /// manifest that needs it.
    pub(crate) touched: SystemTime,
}

impl Catalog {
    pub(crate) fn repositories(&self) -> &BTreeMap<Repository, Contents> {
        &self.repositories
    }

    pub(crate) fn repository(&self, name: &Repository) -> Option<&Contents> {
        self.repositories.get(name)
    }

    pub(crate) fn document(&self, name: &Repository, digest: Digest) -> Option<&Document> {
        self.repositories.get(name)?.manifests.get(&digest)
    }

    pub(crate) fn blob(&self, digest: Digest) -> Option<Blob> {
        self.blobs.get(&digest).copied()
    }

    /// Returns how many blobs there are, their bytes, and how many manifests.
    pub(crate) fn totals(&self) -> (usize, u64, usize) {
        (self.blobs.len(), self.bytes, self.manifests)
    }

    /// Returns how many manifests are a blob or need it.
    pub(crate) fn uses(&self, digest: Digest) -> usize {
        self.uses.get(&digest).copied().unwrap_or_default()
    }

    /// Sets the quotas, and counts what is there.
    pub(crate) fn set_quotas(&mut self, quotas: Vec<Quota>) {
        let mut accounts = Accounts::new(quotas);
        for (name, contents) in &self.repositories {
            for digest in contents.layers.iter().chain(contents.manifests.keys()) {
                if let Some(blob) = self.blobs.get(digest) {
                    accounts.hold(name, *digest, blob.size);
                }
            }
        }
        self.accounts = accounts;
    }

    /// Returns what the quotas say.
    pub(crate) fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    pub(crate) fn blobs(&self) -> impl Iterator<Item = (Digest, Blob)> {
        self.blobs.iter().map(|(digest, blob)| (*digest, *blob))
    }

    /// Returns whether a repository serves a blob, and its size.
    pub(crate) fn served(&self, name: &Repository, digest: Digest) -> Option<u64> {
        let contents = self.repositories.get(name)?;
        let served = contents.layers.contains(&digest) || contents.manifests.contains_key(&digest);
        served.then(|| self.blob(digest).map(|blob| blob.size))?
    }

    pub(crate) fn touch(&mut self, digest: Digest, now: SystemTime) {
        if let Some(blob) = self.blobs.get_mut(&digest) {
            blob.touched = now;
        }
    }

    pub(crate) fn add_blob(&mut self, digest: Digest, size: u64, touched: SystemTime) {
        let bytes = &mut self.bytes;
        let blob = self.blobs.entry(digest).or_insert_with(|| {
            *bytes = bytes.saturating_add(size);
            Blob { size, touched }
        });
        blob.touched = blob.touched.max(touched);
    }

    pub(crate) fn remove_blob(&mut self, digest: Digest) {
        if let Some(blob) = self.blobs.remove(&digest) {
            self.bytes = self.bytes.saturating_sub(blob.size);
        }
    }

    /// Adds a blob that is there to a repository.
    pub(crate) fn add_layer(&mut self, name: &Repository, digest: Digest) {
        if self.contents(name).layers.insert(digest) {
            self.hold(name, digest);
        }
    }

    pub(crate) fn remove_layer(&mut self, name: &Repository, digest: Digest) {
        if self.contents(name).layers.remove(&digest) {
            self.accounts.release(name, digest);
        }
        self.forget_if_empty(name);
    }

    /// Adds a manifest whose own bytes were added as a blob before.
    pub(crate) fn add_manifest(&mut self, name: &Repository, digest: Digest, document: Document) {
        let blobs: Vec<Digest> = needed(digest, &document).collect();
        if self
            .contents(name)
            .manifests
            .insert(digest, document)
            .is_none()
        {
            self.manifests += 1;
            for blob in blobs {
                *self.uses.entry(blob).or_default() += 1;
            }
            self.hold(name, digest);
        }
    }

    /// Removes a manifest with the tags that name it.
    pub(crate) fn remove_manifest(&mut self, name: &Repository, digest: Digest) {
        let contents = self.contents(name);
        contents.tags.retain(|_, tagged| *tagged != digest);
        if let Some(document) = contents.manifests.remove(&digest) {
            self.manifests = self.manifests.saturating_sub(1);
            for blob in needed(digest, &document) {
                if let Some(uses) = self.uses.get_mut(&blob) {
                    *uses = uses.saturating_sub(1);
                    if *uses == 0 {
                        self.uses.remove(&blob);
                    }
                }
            }
            self.accounts.release(name, digest);
        }
        self.forget_if_empty(name);
    }

    pub(crate) fn set_tag(&mut self, name: &Repository, tag: Tag, digest: Digest) {
        self.contents(name).tags.insert(tag, digest);
    }

    pub(crate) fn remove_tag(&mut self, name: &Repository, tag: &Tag) {
        self.contents(name).tags.remove(tag);
    }

    /// Returns the manifest of a repository that needs a blob.
    pub(crate) fn user_of(&self, name: &Repository, digest: Digest) -> Option<Digest> {
        let manifests = &self.repositories.get(name)?.manifests;
        let needs = |(_, document): &(&Digest, &Document)| document.blobs.contains(&digest);
        manifests.iter().find(needs).map(|(manifest, _)| *manifest)
    }

    fn contents(&mut self, name: &Repository) -> &mut Contents {
        self.repositories.entry(name.clone()).or_default()
    }

    fn hold(&mut self, name: &Repository, digest: Digest) {
        if let Some(blob) = self.blobs.get(&digest) {
            self.accounts.hold(name, digest, blob.size);
        }
    }

    /// A repository exists as long as it has something.
    fn forget_if_empty(&mut self, name: &Repository) {
        let empty =
            |contents: &Contents| contents.manifests.is_empty() && contents.layers.is_empty();
        if self.repositories.get(name).is_some_and(empty) {
            self.repositories.remove(name);
        }
    }
}

/// The blobs a manifest keeps: itself and what it is made of, each once.
fn needed(digest: Digest, document: &Document) -> impl Iterator<Item = Digest> + use<> {
    let mut needed: BTreeSet<Digest> = document.blobs.iter().copied().collect();
    needed.insert(digest);
    needed.into_iter()
}
