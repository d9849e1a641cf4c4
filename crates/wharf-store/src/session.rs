//! An image on its way into the store: what it needs on the disk meanwhile, and how it is put in
//! place.
//!
//! Blobs and layers are brought to the disk first and renamed into place, then the image's record,
//! whose rename makes it visible. A session that dies leaves its temporary directory, and at most
//! blobs and layers no record names, which [`Store::collect`] removes.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use wharf_oci::image::{ImageConfig, RootFs};
use wharf_types::{Digest, failpoint};

use crate::blob::{BlobWriter, Resting, WrittenBlob};
use crate::files::{self, failed};
use crate::image::{Image, LoadedImage};
use crate::index::IndexRecord;
use crate::ingest::{self, Destination, Ingested, Tree};
use crate::layer::chain_id;
use crate::load::Members;
use crate::plan::{self, Plan, PlannedIndex, PlannedLayer};
use crate::state::{ImageRecord, LayerUse};
use crate::tar::TarError;
use crate::{LoadError, PathError, Store, remove};

/// Most layers of an image: overlay stacks 500 (`OVL_MAX_STACK`), and a view of a snapshot has the
/// upper directory as one more.
pub(crate) const LAYERS_MAX: usize = 499;

/// One load: its temporary directory, and what it keeps others from removing.
#[derive(Debug)]
pub(crate) struct Session {
    store: Store,
    directory: PathBuf,
    pins: Pins,
    counter: u32,
}

/// Layers and blobs that nobody removes while this lives.
#[derive(Debug)]
pub(crate) struct Pins {
    store: Store,
    pins: Vec<Digest>,
}

impl Pins {
    pub(crate) fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
            pins: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, digest: Digest) {
        self.store.state().pin(digest);
        self.pins.push(digest);
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let mut state = self.store.state();
        for digest in &self.pins {
            state.unpin(digest);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.store.clear(&self.directory);
        // Chunks and decoders were megabytes; an engine that idles now gives them back.
        wharf_sys::allocator::trim();
    }
}

impl Store {
    /// Deletes a directory of `tmp/`. The space must be free when an error is told; what resists goes
    /// at the next opening.
    pub(crate) fn clear(&self, directory: &Path) {
        let removed = files::open_directory(&self.root().join("tmp")).and_then(|tmp| {
            let name = directory.file_name().unwrap_or_default();
            remove::remove_at(tmp.as_fd(), name, directory)
        });
        drop(removed);
    }
}

impl Session {
    pub(crate) fn begin(store: &Store) -> Result<Self, PathError> {
        let directory = store.temporary();
        files::make_directory(&directory)?;
        Ok(Self {
            pins: Pins::new(store),
            store: store.clone(),
            directory,
            counter: 0,
        })
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn destination<'b>(&'b self, name: &'b str) -> Destination<'b> {
        Destination {
            directory: &self.directory,
            name,
            limits: &self.store.limits,
            kept: None,
        }
    }

    fn new_path(&mut self) -> PathBuf {
        self.counter += 1;
        self.directory.join(format!("new-{}", self.counter))
    }

    pub(crate) fn pin(&mut self, digest: Digest) {
        self.pins.add(digest);
    }

    /// Makes an image of a single layer.
    pub(crate) fn commit_single(
        &mut self,
        layer: Ingested,
        config: ImageConfig,
    ) -> Result<LoadedImage, LoadError> {
        self.commit_layers(Vec::new(), Some(layer), config)
    }

    /// Makes an image of another's layers and one more, if there is one.
    pub(crate) fn commit_upon(
        &mut self,
        base: &Image,
        layer: Option<Ingested>,
        config: ImageConfig,
    ) -> Result<LoadedImage, LoadError> {
        let below = base.layers.iter().map(|layer| PlannedLayer {
            diff_id: layer.diff_id,
            blob: layer.blob,
            size: layer.blob_size,
            media_type: layer.media_type.clone(),
        });
        self.commit_layers(below.collect(), layer, config)
    }

    fn commit_layers(
        &mut self,
        mut layers: Vec<PlannedLayer>,
        layer: Option<Ingested>,
        mut config: ImageConfig,
    ) -> Result<LoadedImage, LoadError> {
        if let Some(layer) = &layer {
            let Some(tree) = &layer.tree else {
                return Err(TarError::Checksum(0).into());
            };
            layers.push(PlannedLayer {
                diff_id: tree.diff_id,
                blob: layer.blob.digest,
                size: layer.blob.size,
                media_type: plan::layer_media_type(layer.compression).to_owned(),
            });
        }
        let host = plan::host_platform();
        if config.os.is_empty() {
            config.os = host.os;
        }
        if config.architecture.is_empty() {
            config.architecture = host.architecture;
        }
        let diff_ids = layers.iter().map(|layer| layer.diff_id.to_string());
        config.rootfs = RootFs {
            kind: "layers".to_owned(),
            diff_ids: diff_ids.collect(),
        };
        if layers.len() > LAYERS_MAX {
            return Err(LoadError::Document {
                name: "the configuration".to_owned(),
                reason: crate::DocumentRefusal::TooManyLayers,
            });
        }
        let config_bytes = encode("the configuration", &config)?;
        let plan = Plan::generate(config_bytes, layers, Vec::new())?;
        let mut members = Members::of_layers(layer);
        self.commit(plan, &mut members)
    }

    /// Puts an image in place.
    pub(crate) fn commit(
        &mut self,
        mut plan: Plan,
        members: &mut Members,
    ) -> Result<LoadedImage, LoadError> {
        self.pin(plan.id);
        let known = self.store.state().images.get(&plan.id).cloned();
        if let Some(record) = known {
            return Ok(LoadedImage {
                id: plan.id,
                manifest: record.manifest,
                names: plan.names,
                index: None,
            });
        }
        self.reuse_blobs(&mut plan)?;
        let mut staged = Staged::default();
        let mut parent = None;
        for (index, layer) in plan.layers.iter().enumerate() {
            let chain = chain_id(parent.as_ref(), &layer.diff_id);
            self.pin(chain);
            self.pin(layer.blob);
            self.stage_blob(layer.blob, members, &mut staged)?;
            self.stage_layer(index, layer, parent, chain, members, &mut staged)?;
            parent = Some(chain);
        }
        self.stage_document(&plan.config_bytes, &mut staged)?;
        self.stage_document(&plan.manifest_bytes, &mut staged)?;
        failpoint::hit("store.load.staged");
        self.sync()?;
        self.publish(staged)?;
        self.record(&plan)?;
        Ok(LoadedImage {
            id: plan.id,
            manifest: plan.manifest,
            names: plan.names,
            index: None,
        })
    }

    /// Where the manifest is ours to write, takes blobs that the store has of the same layers.
    fn reuse_blobs(&mut self, plan: &mut Plan) -> Result<(), LoadError> {
        if !plan.generated {
            return Ok(());
        }
        let mut parent = None;
        let mut layers = plan.layers.clone();
        for layer in &mut layers {
            let chain = chain_id(parent.as_ref(), &layer.diff_id);
            let known = {
                let mut state = self.store.state();
                let known = state.layer_use(&chain).cloned();
                // Held before it is looked for: what is there then stays.
                if let Some(known) = &known {
                    state.pin(known.blob);
                    self.pins.pins.push(known.blob);
                }
                known
            };
            if let Some(known) = known
                && self.store.shared.blobs.find(&known.blob).is_some()
            {
                layer.blob = known.blob;
                layer.size = known.blob_size;
                layer.media_type = known.media_type;
            }
            parent = Some(chain);
        }
        let (bytes, names) = (plan.config_bytes.clone(), std::mem::take(&mut plan.names));
        *plan = Plan::generate(bytes, layers, names)?;
        Ok(())
    }

    /// Puts an index in place, after its images. What is known of it already stays known.
    pub(crate) fn commit_index(
        &mut self,
        index: &PlannedIndex,
        members: &Members,
    ) -> Result<Digest, LoadError> {
        let digest = Digest::of(&index.bytes);
        let mut record = IndexRecord {
            version: IndexRecord::VERSION,
            media_type: index.media_type.clone(),
            members: index.members.clone(),
        };
        let mut staged = Staged::default();
        self.stage_document(&index.bytes, &mut staged)?;
        for blob in index.members.iter().flat_map(|member| &member.blobs) {
            self.pin(*blob);
            self.stage_blob(*blob, members, &mut staged)?;
        }
        failpoint::hit("store.index.staged");
        self.sync()?;
        self.publish(staged)?;
        let temporary = self.new_path();
        let place = self.store.index_path(&digest);
        {
            let mut state = self.store.state();
            if let Some(known) = state.indexes.get(&digest) {
                let mut merged = known.clone();
                merged.merge(&record);
                record = merged;
            }
            files::write_synced(&temporary, &encode("the record", &record)?)?;
            failpoint::hit("store.index.record-written");
            files::rename(&temporary, &place)?;
            state.indexes.insert(digest, record);
        }
        failpoint::hit("store.index.record-renamed");
        files::sync_directory(&self.store.root().join("indexes"))?;
        Ok(digest)
    }

    fn stage_document(&mut self, bytes: &[u8], staged: &mut Staged) -> Result<(), LoadError> {
        let mut blob = BlobWriter::create(self.new_path(), Resting::AsItIs)?;
        blob.write(bytes)?;
        let blob = blob.finish()?;
        self.pin(blob.digest);
        staged.blobs.insert(blob.digest, blob);
        Ok(())
    }

    fn stage_blob(
        &self,
        digest: Digest,
        members: &Members,
        staged: &mut Staged,
    ) -> Result<(), LoadError> {
        if staged.blobs.contains_key(&digest) || self.store.shared.blobs.find(&digest).is_some() {
            return Ok(());
        }
        let member = members
            .by_digest(&digest)
            .ok_or_else(|| LoadError::Missing(format!("the layer {digest}")))?;
        staged.blobs.insert(digest, member.blob.clone());
        Ok(())
    }

    /// Makes a layer's directory, unless the store has it; always from content of its diff id.
    fn stage_layer(
        &mut self,
        index: usize,
        layer: &PlannedLayer,
        parent: Option<Digest>,
        chain: Digest,
        members: &mut Members,
        staged: &mut Staged,
    ) -> Result<(), LoadError> {
        let check = |tree: &Tree| {
            if tree.diff_id == layer.diff_id {
                return Ok(());
            }
            Err(LoadError::DiffId {
                index,
                expected: layer.diff_id,
                actual: tree.diff_id,
            })
        };
        // What the archive brought is checked even where it is not needed, and so is a blob of
        // the store that the archive only names.
        let brought = members
            .by_digest(&layer.blob)
            .and_then(|member| member.tree.as_ref());
        let checked = match brought {
            Some(tree) => check(tree).map(|()| true)?,
            None => self.store.state().is_known(&layer.blob, &layer.diff_id),
        };
        let present =
            staged.layers.contains_key(&chain) || self.store.state().layers.contains_key(&chain);
        if present && checked {
            return Ok(());
        }
        let tree = match members.take_tree(&layer.blob) {
            Some(tree) => tree,
            None => self.unpack_again(&layer.blob, staged)?,
        };
        check(&tree)?;
        if present {
            return Ok(());
        }
        let parent_diff = parent.map(|parent| match staged.layers.get(&parent) {
            Some((path, _)) => path.join(crate::layer::DIFF),
            None => self.store.shared.layers.diff(&parent),
        });
        let path = self.new_path();
        let record =
            crate::layer::prepare(&tree, parent, parent_diff.as_deref(), layer.blob, &path)?;
        staged.layers.insert(chain, (path, record));
        staged.order.push(chain);
        Ok(())
    }

    /// Unpacks a blob whose tree is used already, for a layer on another base, or that the store
    /// has and the archive only names.
    fn unpack_again(&mut self, digest: &Digest, staged: &Staged) -> Result<Tree, LoadError> {
        let blob = match staged.blobs.get(digest) {
            Some(written) => written.open()?,
            None => self
                .store
                .shared
                .blobs
                .open(digest)?
                .ok_or_else(|| LoadError::Missing(format!("the layer {digest}")))?,
        };
        ingest::unpack(blob, self.new_path(), &self.store.limits)
    }

    /// Brings everything of this load to the disk: one call for all files, as they may be many.
    fn sync(&self) -> Result<(), LoadError> {
        let directory = files::open_directory(&self.directory)?;
        rustix::fs::syncfs(&directory).map_err(failed("sync", &self.directory))?;
        failpoint::hit("store.load.synced");
        Ok(())
    }

    fn publish(&self, staged: Staged) -> Result<(), LoadError> {
        let shared = &self.store.shared;
        for blob in staged.blobs.values() {
            blob.publish(&shared.blobs)?;
            failpoint::hit("store.load.blob-renamed");
        }
        let mut layers = staged.layers;
        for chain in staged.order {
            let Some((path, record)) = layers.remove(&chain) else {
                continue;
            };
            let place = shared.layers.path(&chain);
            let mut state = self.store.state();
            // Another load may have brought the same layer meanwhile; pinned, it stays.
            if let Entry::Vacant(unknown) = state.layers.entry(chain) {
                // A directory that the store has and does not know is damaged.
                self.store.discard(&place)?;
                files::rename(&path, &place)?;
                unknown.insert(record);
            }
            drop(state);
            failpoint::hit("store.load.layer-renamed");
        }
        files::sync_directory(shared.layers.directory())?;
        files::sync_directory(shared.blobs.directory())?;
        Ok(())
    }

    /// Writes the image's record: from here on it is in the store.
    fn record(&mut self, plan: &Plan) -> Result<(), LoadError> {
        let mut parent = None;
        let layers = plan
            .layers
            .iter()
            .map(|layer| {
                let chain = chain_id(parent.as_ref(), &layer.diff_id);
                parent = Some(chain);
                LayerUse {
                    chain,
                    diff_id: layer.diff_id,
                    blob: layer.blob,
                    blob_size: layer.size,
                    media_type: layer.media_type.clone(),
                }
            })
            .collect();
        let record = ImageRecord {
            version: ImageRecord::VERSION,
            manifest: plan.manifest,
            media_type: plan.media_type.clone(),
            layers,
        };
        let temporary = self.new_path();
        files::write_synced(&temporary, &encode("the record", &record)?)?;
        failpoint::hit("store.load.record-written");
        let place = self.store.image_path(&plan.id);
        {
            let mut state = self.store.state();
            files::rename(&temporary, &place)?;
            state.images.insert(plan.id, record);
        }
        failpoint::hit("store.load.record-renamed");
        files::sync_directory(&self.store.root().join("images"))?;
        Ok(())
    }
}

/// What is ready to be put in place.
#[derive(Default)]
struct Staged {
    blobs: BTreeMap<Digest, WrittenBlob>,
    layers: HashMap<Digest, (PathBuf, crate::layer::LayerRecord)>,
    /// The layers' chains, lowest first.
    order: Vec<Digest>,
}

pub(crate) fn encode<T: serde::Serialize>(name: &str, value: &T) -> Result<Vec<u8>, LoadError> {
    serde_json::to_vec(value).map_err(|source| LoadError::Json {
        name: name.to_owned(),
        source,
    })
}
