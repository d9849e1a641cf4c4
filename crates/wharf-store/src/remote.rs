//! Images from registries: what their documents say is needed, what of it the store has, and how
//! the layers that have come make an image.
//!
//! ```text
//! RemoteImage::new    documents checked against each other
//! Store::assemble     what the store has already is held; the rest is missing
//! Store::receive      once for each missing layer, in any order, at the same time
//! Assembly::finish    everything in place, then the image's record, then the index's
//! ```

use wharf_oci::image::{ImageConfig, Manifest, Platform};
use wharf_types::Digest;

use crate::image::LoadedImage;
use crate::index::IndexMember;
use crate::layer::chain_id;
use crate::load::Members;
use crate::plan::{self, DocumentKind, Plan, PlannedIndex, PlannedLayer};
use crate::session::{LAYERS_MAX, Session};
use crate::{DocumentRefusal, LoadError, Received, RemoteBlob, Store};

/// An image as a registry's documents describe it.
#[derive(Debug, Clone)]
pub struct RemoteImage {
    plan: Plan,
    platform: Platform,
}

/// A layer of a remote image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteLayer {
    /// The blob.
    pub blob: RemoteBlob,
    /// Digest of its plain tar.
    pub diff_id: Digest,
}

/// An index as a registry gave it.
#[derive(Debug, Clone)]
pub struct RemoteIndex {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its type.
    pub media_type: String,
}

impl RemoteImage {
    /// Reads the documents of an image. Both are as their digests say; that is the caller's promise.
    ///
    /// # Errors
    /// [`LoadError::Document`] and [`LoadError::Json`] when they are not an image's.
    pub fn new(manifest: Vec<u8>, media_type: &str, config: Vec<u8>) -> Result<Self, LoadError> {
        let name = "the manifest";
        if plan::kind(name, &manifest, media_type)? != DocumentKind::Manifest {
            return Err(plan::refuse(name, DocumentRefusal::NotAnImage));
        }
        let document: Manifest = plan::parse(name, &manifest)?;
        if document.layers.len() > LAYERS_MAX {
            return Err(plan::refuse(name, DocumentRefusal::TooManyLayers));
        }
        let parsed: ImageConfig = plan::parse("the configuration", &config)?;
        let diff_ids = plan::diff_ids("the configuration", &parsed)?;
        if diff_ids.len() != document.layers.len() {
            return Err(plan::refuse(name, DocumentRefusal::LayerCount));
        }
        let layers = document.layers.iter().zip(diff_ids);
        let layers = layers.map(|(layer, diff_id)| {
            Ok(PlannedLayer {
                diff_id,
                blob: plan::digest(name, &layer.digest)?,
                size: layer.size,
                media_type: layer.media_type.clone(),
            })
        });
        let layers = layers.collect::<Result<_, LoadError>>()?;
        Ok(Self {
            plan: Plan {
                id: Digest::of(&config),
                config_bytes: config,
                manifest: Digest::of(&manifest),
                manifest_bytes: manifest,
                media_type: media_type.to_owned(),
                generated: false,
                layers,
                names: Vec::new(),
            },
            platform: Platform {
                os: parsed.os,
                architecture: parsed.architecture,
                variant: parsed.variant,
                os_version: parsed.os_version,
                os_features: Vec::new(),
            },
        })
    }

    /// Returns the image's id.
    #[must_use]
    pub fn id(&self) -> Digest {
        self.plan.id
    }

    /// Returns what its configuration says it runs on.
    #[must_use]
    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    /// Returns its layers, lowest first.
    pub fn layers(&self) -> impl Iterator<Item = RemoteLayer> + '_ {
        self.plan.layers.iter().map(|layer| RemoteLayer {
            blob: RemoteBlob {
                digest: layer.blob,
                size: layer.size,
            },
            diff_id: layer.diff_id,
        })
    }
}

/// An image that is being put together; what it needs of the store stays there meanwhile.
#[derive(Debug)]
pub struct Assembly {
    session: Session,
    image: RemoteImage,
    missing: Vec<RemoteLayer>,
}

impl Store {
    /// Begins to put an image together.
    ///
    /// # Errors
    /// The disk's.
    pub fn assemble(&self, image: RemoteImage) -> Result<Assembly, LoadError> {
        let mut session = Session::begin(self)?;
        let mut parent = None;
        let mut missing: Vec<RemoteLayer> = Vec::new();
        for layer in image.layers() {
            let chain = chain_id(parent.as_ref(), &layer.diff_id);
            // Held before it is looked for: what is there then stays.
            session.pin(chain);
            session.pin(layer.blob.digest);
            let known = self.state().is_known(&layer.blob.digest, &layer.diff_id);
            let present = known && self.shared.blobs.find(&layer.blob.digest).is_some();
            let twice = missing.iter().any(|other| other.blob == layer.blob);
            if !present && !twice {
                missing.push(layer);
            }
            parent = Some(chain);
        }
        Ok(Assembly {
            session,
            image,
            missing,
        })
    }
}

impl Assembly {
    /// Returns the image.
    #[must_use]
    pub fn image(&self) -> &RemoteImage {
        &self.image
    }

    /// Returns the layers the store lacks, each once, lowest first.
    #[must_use]
    pub fn missing(&self) -> &[RemoteLayer] {
        &self.missing
    }

    /// Puts the image in place, and the index it came by. Blocks.
    ///
    /// # Errors
    /// [`LoadError::DiffId`] when a layer's content is not what the configuration says,
    /// [`LoadError::Missing`] when one has not come, or the disk's.
    pub fn finish<'a>(
        mut self,
        layers: impl IntoIterator<Item = &'a Received>,
        index: Option<RemoteIndex>,
    ) -> Result<LoadedImage, LoadError> {
        let mut members = Members::of_layers(layers.into_iter().map(Received::ingested));
        let manifest = self.image.plan.manifest;
        let mut image = self.session.commit(self.image.plan, &mut members)?;
        if let Some(index) = index {
            // An image that the store has by another manifest is not this part of the index.
            let member = (image.manifest == manifest).then_some(IndexMember {
                manifest,
                image: Some(image.id),
                blobs: Vec::new(),
            });
            let planned = PlannedIndex {
                bytes: index.bytes,
                media_type: index.media_type,
                members: member.into_iter().collect(),
            };
            image.index = Some(self.session.commit_index(&planned, &members)?);
        }
        Ok(image)
    }
}

#[cfg(test)]
mod tests;
