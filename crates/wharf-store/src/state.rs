//! What the store knows in memory: its images, layers and snapshots, and what is in use.
//!
//! Read once when the store is opened, then kept in step with the directory under one lock that is
//! held for short sections only. Whoever brings something in pins the layers and blobs it puts
//! in place until its image's record is written: an image that is removed meanwhile, and shares
//! them, leaves them alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use wharf_types::Digest;

use crate::SnapshotId;
use crate::index::IndexRecord;
use crate::layer::LayerRecord;
use crate::store::Driver;

/// What `images/<id hex>.json` holds: enough to know what an image uses without reading blobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageRecord {
    pub(crate) version: u32,
    pub(crate) manifest: Digest,
    pub(crate) media_type: String,
    pub(crate) layers: Vec<LayerUse>,
}

/// A layer of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerUse {
    pub(crate) chain: Digest,
    pub(crate) diff_id: Digest,
    pub(crate) blob: Digest,
    pub(crate) blob_size: u64,
    pub(crate) media_type: String,
}

impl ImageRecord {
    pub(crate) const VERSION: u32 = 1;

    pub(crate) fn chains(&self) -> impl Iterator<Item = Digest> {
        self.layers.iter().map(|layer| layer.chain)
    }

    /// Returns the blobs of the image of this id.
    pub(crate) fn blobs(&self, id: Digest) -> impl Iterator<Item = Digest> {
        self.layers
            .iter()
            .map(|layer| layer.blob)
            .chain([id, self.manifest])
    }
}

/// What is known of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SnapshotRecord {
    /// The layer it stands on; none for an image without layers.
    pub(crate) top: Option<Digest>,
    /// The driver that made it.
    pub(crate) driver: Driver,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) images: BTreeMap<Digest, ImageRecord>,
    pub(crate) indexes: BTreeMap<Digest, IndexRecord>,
    pub(crate) layers: HashMap<Digest, LayerRecord>,
    pub(crate) snapshots: BTreeMap<SnapshotId, SnapshotRecord>,
    /// Blobs whose files in `incoming/` are somebody's.
    pub(crate) receiving: BTreeSet<Digest>,
    /// Digests of blobs as they rest, where that is another form than they came in.
    pub(crate) packed: HashMap<Digest, Digest>,
    /// Layers and blobs that are being brought in, and by how many.
    pins: HashMap<Digest, usize>,
}

/// The layers and blobs that something uses.
#[derive(Debug, Default)]
pub(crate) struct Used {
    pub(crate) chains: BTreeSet<Digest>,
    pub(crate) blobs: BTreeSet<Digest>,
}

impl State {
    pub(crate) fn new(
        images: BTreeMap<Digest, ImageRecord>,
        indexes: BTreeMap<Digest, IndexRecord>,
        layers: HashMap<Digest, LayerRecord>,
        snapshots: BTreeMap<SnapshotId, SnapshotRecord>,
    ) -> Self {
        Self {
            images,
            indexes,
            layers,
            snapshots,
            receiving: BTreeSet::new(),
            packed: HashMap::new(),
            pins: HashMap::new(),
        }
    }

    /// Returns how some image uses a layer.
    pub(crate) fn layer_use(&self, chain: &Digest) -> Option<&LayerUse> {
        self.images
            .values()
            .flat_map(|image| &image.layers)
            .find(|layer| layer.chain == *chain)
    }

    /// Whether some image has this blob as a layer of this diff id.
    pub(crate) fn is_known(&self, blob: &Digest, diff_id: &Digest) -> bool {
        self.images
            .values()
            .flat_map(|image| &image.layers)
            .any(|layer| layer.blob == *blob && layer.diff_id == *diff_id)
    }

    pub(crate) fn pin(&mut self, digest: Digest) {
        *self.pins.entry(digest).or_default() += 1;
    }

    pub(crate) fn unpin(&mut self, digest: &Digest) {
        if let Some(count) = self.pins.get_mut(digest) {
            *count -= 1;
            if *count == 0 {
                self.pins.remove(digest);
            }
        }
    }

    /// Returns the layers below and including `top`, top first; [`None`] when one is unknown.
    pub(crate) fn stack(&self, top: Option<Digest>) -> Option<Vec<Digest>> {
        let mut stack = Vec::new();
        let mut next = top;
        while let Some(chain) = next {
            stack.push(chain);
            next = self.layers.get(&chain)?.parent;
        }
        Some(stack)
    }

    /// Returns what the images and snapshots use, and what is being brought in.
    pub(crate) fn used(&self) -> Used {
        let mut used = self.pinned();
        for (id, image) in &self.images {
            used.chains.extend(image.chains());
            used.blobs.extend(image.blobs(*id));
        }
        for (digest, index) in &self.indexes {
            used.blobs.extend(index.blobs(*digest));
        }
        for snapshot in self.snapshots.values() {
            used.chains
                .extend(self.stack(snapshot.top).unwrap_or_default());
        }
        used
    }

    /// Returns what is being brought in. A pin does not say what it is of; a digest that is a
    /// blob's is no chain's, unless it is both.
    pub(crate) fn pinned(&self) -> Used {
        Used {
            chains: self.pins.keys().copied().collect(),
            blobs: self.pins.keys().copied().collect(),
        }
    }
}
