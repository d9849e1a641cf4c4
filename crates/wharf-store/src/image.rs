//! Images as the store knows them.

use std::path::{Path, PathBuf};

use wharf_oci::image::ImageConfig;
use wharf_types::{Digest, Reference, failpoint};

use crate::{ImageError, Store};

/// An image of the store.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its id: the digest of its configuration.
    pub id: Digest,
    /// The digest of its manifest: what registries know it by.
    pub manifest: Digest,
    /// Type of the manifest.
    pub manifest_media_type: String,
    /// The manifest, byte by byte.
    pub manifest_bytes: Vec<u8>,
    /// Its configuration.
    pub config: ImageConfig,
    /// The configuration, byte by byte.
    pub config_bytes: Vec<u8>,
    /// Its layers, lowest first.
    pub layers: Vec<ImageLayer>,
}

impl Image {
    /// Returns the bytes of all its layers unpacked.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).sum()
    }
}

/// A layer of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageLayer {
    /// Identifies this layer on top of those below it.
    pub chain: Digest,
    /// Digest of the layer's plain tar.
    pub diff_id: Digest,
    /// Digest of the layer as the manifest names it, compressed or not.
    pub blob: Digest,
    /// Bytes of that blob.
    pub blob_size: u64,
    /// Type of that blob.
    pub media_type: String,
    /// Bytes of the layer's files unpacked.
    pub size: u64,
}

/// A layer that has gone with its last image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemovedLayer {
    /// Identified it on top of those below it.
    pub chain: Digest,
    /// Bytes of its files.
    pub size: u64,
}

/// An image that has come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedImage {
    /// The digest of its configuration.
    pub id: Digest,
    /// The digest of its manifest.
    pub manifest: Digest,
    /// The names the archive gives it.
    pub names: Vec<Reference>,
    /// The index that these names mean, when it came as one of several platforms' images.
    pub index: Option<Digest>,
}

/// What happens while an archive comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadEvent<'a> {
    /// So much of a layer has been read.
    Layer {
        /// The layer's digest or diff id, the first twelve digits.
        id: &'a str,
        /// Bytes read.
        current: u64,
        /// Bytes in all.
        total: u64,
    },
    /// An image is complete.
    Loaded(&'a LoadedImage),
}

/// An image to write out, and the names to write with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaveImage {
    /// The image.
    pub id: Digest,
    /// Its names in the archive.
    pub names: Vec<Reference>,
    /// The index to write with it, with the images that the store has of it.
    pub index: Option<Digest>,
}

/// A file of the host that becomes part of an image.
#[derive(Debug)]
pub struct HostFile<'a> {
    /// Where it will be inside the image, `usr/bin/wharf`.
    pub path: &'a Path,
    /// Its permission bits.
    pub mode: u32,
    /// Its content.
    pub source: HostSource<'a>,
}

/// Where the content of a [`HostFile`] comes from.
#[derive(Debug)]
pub enum HostSource<'a> {
    /// A file.
    Path(PathBuf),
    /// Bytes at hand.
    Bytes(&'a [u8]),
    /// None: it is a directory.
    Directory,
}

impl Store {
    /// Returns an image.
    ///
    /// # Errors
    /// [`ImageError::NotFound`], or that it cannot be read.
    pub fn image(&self, id: &Digest) -> Result<Image, ImageError> {
        let (record, layers) = {
            let state = self.state();
            let record = state.images.get(id).ok_or(ImageError::NotFound(*id))?;
            let layers = record
                .layers
                .iter()
                .map(|layer| ImageLayer {
                    chain: layer.chain,
                    diff_id: layer.diff_id,
                    blob: layer.blob,
                    blob_size: layer.blob_size,
                    media_type: layer.media_type.clone(),
                    size: state.layers.get(&layer.chain).map_or(0, |layer| layer.size),
                })
                .collect();
            (record.clone(), layers)
        };
        let config_bytes = self.document(id, id)?;
        let config = serde_json::from_slice(&config_bytes)
            .map_err(|source| ImageError::Document { image: *id, source })?;
        Ok(Image {
            id: *id,
            manifest: record.manifest,
            manifest_media_type: record.media_type,
            manifest_bytes: self.document(id, &record.manifest)?,
            config,
            config_bytes,
            layers,
        })
    }

    fn document(&self, image: &Digest, blob: &Digest) -> Result<Vec<u8>, ImageError> {
        self.shared
            .blobs
            .read(blob)?
            .ok_or(ImageError::MissingBlob {
                image: *image,
                blob: *blob,
            })
    }

    /// Returns the ids of all images, in order.
    #[must_use]
    pub fn images(&self) -> Vec<Digest> {
        self.state().images.keys().copied().collect()
    }

    /// Returns the bytes of an image's layers unpacked.
    ///
    /// # Errors
    /// [`ImageError::NotFound`].
    pub fn image_size(&self, id: &Digest) -> Result<u64, ImageError> {
        let state = self.state();
        let record = state.images.get(id).ok_or(ImageError::NotFound(*id))?;
        let sizes = record
            .chains()
            .filter_map(|chain| state.layers.get(&chain).map(|layer| layer.size));
        Ok(sizes.sum())
    }

    /// Removes an image, and those of its layers and blobs that no other image and no snapshot
    /// uses; returns the layers, top first. Its space comes back with [`Self::empty_trash`]. An image that is not there is
    /// removed already.
    ///
    /// # Errors
    /// [`ImageError::Path`].
    pub fn remove_image(&self, id: &Digest) -> Result<Vec<RemovedLayer>, ImageError> {
        let record = {
            let mut state = self.state();
            // First no index says any more that it has the image: then an interruption leaves both right.
            self.leave_indexes(&mut state, id)?;
            self.discard(&self.image_path(id))?;
            state.images.remove(id)
        };
        failpoint::hit("store.image.record-discarded");
        let Some(record) = record else {
            return Ok(Vec::new());
        };
        let chains: Vec<_> = record.chains().collect();
        let blobs: Vec<_> = record.blobs(*id).collect();
        Ok(self.release(&chains, &blobs)?)
    }
}
