//! Indexes: one name for the images of several platforms, in `indexes/<hex>.json`.
//!
//! An index that came in is kept byte by byte, with whatever of it the store has: images, and
//! documents that are no images, such as attestations. So what was loaded or pulled whole is saved
//! and pushed whole. The engine's names say which indexes are alive; an index that is keeps its
//! images.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use wharf_oci::image::{self, Descriptor};
use wharf_types::{Digest, failpoint};

use crate::files;
use crate::state::State;
use crate::{ImageError, PathError, RemovedLayer, Store};

/// What `indexes/<hex>.json` holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IndexRecord {
    pub(crate) version: u32,
    pub(crate) media_type: String,
    /// What of it is in the store.
    pub(crate) members: Vec<IndexMember>,
}

/// A manifest of an index, with what it stands for in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexMember {
    /// Digest of the manifest, or of an index within the index.
    pub manifest: Digest,
    /// Id of the image, when it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Digest>,
    /// Blobs that the store keeps for it and that are no image's, itself among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<Digest>,
}

impl IndexRecord {
    pub(crate) const VERSION: u32 = 1;

    /// Returns the blobs of the index of this digest that are not its images'.
    pub(crate) fn blobs(&self, digest: Digest) -> impl Iterator<Item = Digest> {
        let of_members = self.members.iter().flat_map(|member| &member.blobs);
        of_members.copied().chain([digest])
    }

    pub(crate) fn images(&self) -> impl Iterator<Item = Digest> {
        self.members.iter().filter_map(|member| member.image)
    }

    /// Adds what another attempt has brought of the same index.
    pub(crate) fn merge(&mut self, other: &Self) {
        for member in &other.members {
            let known = |known: &&mut IndexMember| known.manifest == member.manifest;
            match self.members.iter_mut().find(known) {
                Some(known) => *known = member.clone(),
                None => self.members.push(member.clone()),
            }
        }
    }
}

/// An index of the store.
#[derive(Debug, Clone)]
pub struct ImageIndex {
    /// Its digest.
    pub digest: Digest,
    /// Its type.
    pub media_type: String,
    /// The index, byte by byte.
    pub bytes: Vec<u8>,
    /// The same, read.
    pub document: image::Index,
    /// What of it is in the store.
    pub members: Vec<IndexMember>,
}

impl ImageIndex {
    /// Returns what the store has of a manifest of the index.
    #[must_use]
    pub fn member(&self, descriptor: &Descriptor) -> Option<&IndexMember> {
        let digest: Digest = descriptor.digest.parse().ok()?;
        self.members.iter().find(|member| member.manifest == digest)
    }

    /// Whether the store has all of it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let manifests = &self.document.manifests;
        manifests
            .iter()
            .all(|manifest| self.member(manifest).is_some())
    }
}

impl Store {
    /// Returns an index.
    ///
    /// # Errors
    /// [`ImageError::NotFound`], or that it cannot be read.
    pub fn index(&self, digest: &Digest) -> Result<ImageIndex, ImageError> {
        let record = self.state().indexes.get(digest).cloned();
        let record = record.ok_or(ImageError::NotFound(*digest))?;
        let bytes = self.shared.blobs.read(digest)?;
        let bytes = bytes.ok_or(ImageError::MissingBlob {
            image: *digest,
            blob: *digest,
        })?;
        let document = serde_json::from_slice(&bytes).map_err(|source| ImageError::Document {
            image: *digest,
            source,
        })?;
        Ok(ImageIndex {
            digest: *digest,
            media_type: record.media_type,
            bytes,
            document,
            members: record.members,
        })
    }

    /// Whether the store has an index.
    #[must_use]
    pub fn has_index(&self, digest: &Digest) -> bool {
        self.state().indexes.contains_key(digest)
    }

    /// Returns the digests of all indexes.
    #[must_use]
    pub fn indexes(&self) -> Vec<Digest> {
        self.state().indexes.keys().copied().collect()
    }

    /// Removes an index, and those of its images that are not in `kept` and in no other index;
    /// returns the layers that went. One that is not there is removed already.
    ///
    /// # Errors
    /// [`ImageError::Path`].
    pub fn remove_index(
        &self,
        digest: &Digest,
        kept: &BTreeSet<Digest>,
    ) -> Result<Vec<RemovedLayer>, ImageError> {
        let record = {
            let mut state = self.state();
            self.discard(&self.index_path(digest))?;
            state.indexes.remove(digest)
        };
        failpoint::hit("store.index.record-discarded");
        let Some(record) = record else {
            return Ok(Vec::new());
        };
        let blobs: Vec<_> = record.blobs(*digest).collect();
        let mut removed = self.release(&[], &blobs)?;
        for image in record.images().filter(|image| !kept.contains(image)) {
            let elsewhere = {
                let state = self.state();
                let mut others = state.indexes.values();
                others.any(|other| other.images().any(|of_other| of_other == image))
            };
            if !elsewhere {
                removed.extend(self.remove_image(&image)?);
            }
        }
        Ok(removed)
    }

    /// Has the indexes that list an image say that they have it no more.
    pub(crate) fn leave_indexes(&self, state: &mut State, image: &Digest) -> Result<(), PathError> {
        let has = |member: &IndexMember| member.image.as_ref() == Some(image);
        for (digest, record) in &mut state.indexes {
            if !record.members.iter().any(has) {
                continue;
            }
            let mut left = record.clone();
            left.members.retain(|member| !has(member));
            let (temporary, place) = (self.temporary(), self.index_path(digest));
            let bytes = serde_json::to_vec(&left).map_err(files::failed("encode", &place))?;
            files::write_synced(&temporary, &bytes)?;
            files::rename(&temporary, &place)?;
            *record = left;
            failpoint::hit("store.index.member-left");
        }
        Ok(())
    }

    pub(crate) fn index_path(&self, digest: &Digest) -> std::path::PathBuf {
        self.root()
            .join("indexes")
            .join(format!("{}.json", digest.hex()))
    }
}

/// Reads the indexes' records; as with images, one that cannot be read is left out.
pub(crate) fn read_all(
    directory: &std::path::Path,
) -> Result<std::collections::BTreeMap<Digest, IndexRecord>, PathError> {
    let mut indexes = std::collections::BTreeMap::new();
    for name in crate::store::names(directory)? {
        let digest = name
            .strip_suffix(".json")
            .and_then(|hex| Digest::from_hex(hex).ok());
        let path = directory.join(&name);
        let bytes = std::fs::read(&path).map_err(crate::files::failed("read", &path))?;
        let record = serde_json::from_slice::<IndexRecord>(&bytes).ok();
        if let (Some(digest), Some(record)) = (digest, record)
            && record.version == IndexRecord::VERSION
        {
            indexes.insert(digest, record);
        }
    }
    Ok(indexes)
}
