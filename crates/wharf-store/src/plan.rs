//! An image that can be put in place: its documents, and the layers they name.

use wharf_oci::image::{Descriptor, ImageConfig, Manifest, Platform, media_type};
use wharf_types::{Digest, Reference};

use crate::compress::Compression;
use crate::index::IndexMember;
use crate::session::{LAYERS_MAX, encode};
use crate::{DocumentRefusal, LoadError};

/// An image that can be put in place.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) id: Digest,
    pub(crate) config_bytes: Vec<u8>,
    pub(crate) manifest: Digest,
    pub(crate) manifest_bytes: Vec<u8>,
    pub(crate) media_type: String,
    /// Whether the manifest is ours and not the archive's.
    pub(crate) generated: bool,
    pub(crate) layers: Vec<PlannedLayer>,
    pub(crate) names: Vec<Reference>,
}

/// A layer of it.
#[derive(Debug, Clone)]
pub(crate) struct PlannedLayer {
    pub(crate) diff_id: Digest,
    pub(crate) blob: Digest,
    pub(crate) size: u64,
    pub(crate) media_type: String,
}

impl Plan {
    /// Makes an image of a configuration and layers that came without a manifest.
    pub(crate) fn generate(
        config_bytes: Vec<u8>,
        layers: Vec<PlannedLayer>,
        names: Vec<Reference>,
    ) -> Result<Self, LoadError> {
        let id = Digest::of(&config_bytes);
        let descriptor = |media_type: &str, digest: &Digest, size| Descriptor {
            media_type: media_type.to_owned(),
            digest: digest.to_string(),
            size,
            ..Descriptor::default()
        };
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(media_type::MANIFEST.to_owned()),
            config: descriptor(media_type::CONFIG, &id, config_bytes.len() as u64),
            layers: layers
                .iter()
                .map(|layer| descriptor(&layer.media_type, &layer.blob, layer.size))
                .collect(),
            ..Manifest::default()
        };
        let manifest_bytes = encode("the manifest", &manifest)?;
        Ok(Self {
            id,
            config_bytes,
            manifest: Digest::of(&manifest_bytes),
            manifest_bytes,
            media_type: media_type::MANIFEST.to_owned(),
            generated: true,
            layers,
            names,
        })
    }
}

/// Returns the media type of a layer; xz and bzip2 have none and are kept as if plain.
pub(crate) fn layer_media_type(compression: Compression) -> &'static str {
    match compression {
        Compression::Gzip => media_type::LAYER_GZIP,
        Compression::Zstd => media_type::LAYER_ZSTD,
        Compression::None | Compression::Xz | Compression::Bzip2 => media_type::LAYER,
    }
}

/// Returns what this machine runs, in Go's words.
pub(crate) fn host_platform() -> Platform {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    Platform {
        architecture: architecture.to_owned(),
        os: "linux".to_owned(),
        ..Platform::default()
    }
}

/// An index that can be put in place, after its images.
#[derive(Debug, Clone)]
pub(crate) struct PlannedIndex {
    pub(crate) bytes: Vec<u8>,
    pub(crate) media_type: String,
    pub(crate) members: Vec<IndexMember>,
}

/// Returns the diff ids of a configuration.
pub(crate) fn diff_ids(name: &str, config: &ImageConfig) -> Result<Vec<Digest>, LoadError> {
    if config.rootfs.diff_ids.len() > LAYERS_MAX {
        return Err(refuse(name, DocumentRefusal::TooManyLayers));
    }
    config
        .rootfs
        .diff_ids
        .iter()
        .map(|id| digest(name, id))
        .collect()
}

/// Reads a digest that a document names.
pub(crate) fn digest(name: &str, text: &str) -> Result<Digest, LoadError> {
    text.parse()
        .map_err(|_| refuse(name, DocumentRefusal::Digest))
}

/// Refuses a document.
pub(crate) fn refuse(name: &str, reason: DocumentRefusal) -> LoadError {
    LoadError::Document {
        name: name.to_owned(),
        reason,
    }
}

/// Reads a document as JSON.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(
    name: &str,
    bytes: &[u8],
) -> Result<T, LoadError> {
    serde_json::from_slice(bytes).map_err(|source| LoadError::Json {
        name: name.to_owned(),
        source,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DocumentKind {
    Manifest,
    Index,
    Other,
}

/// Tells manifest and index apart by the media type, and by what the document has.
pub(crate) fn kind(name: &str, bytes: &[u8], media_type: &str) -> Result<DocumentKind, LoadError> {
    #[derive(serde::Deserialize)]
    struct Shape {
        config: Option<serde::de::IgnoredAny>,
        layers: Option<serde::de::IgnoredAny>,
        manifests: Option<serde::de::IgnoredAny>,
    }
    let shape: Shape = parse(name, bytes)?;
    let manifest = shape.config.is_some() || shape.layers.is_some();
    if manifest && shape.manifests.is_some() {
        return Err(refuse(name, DocumentRefusal::Ambiguous));
    }
    Ok(match media_type {
        media_type::INDEX | media_type::DOCKER_INDEX if !manifest => DocumentKind::Index,
        media_type::MANIFEST | media_type::DOCKER_MANIFEST if shape.config.is_some() => {
            DocumentKind::Manifest
        }
        _ => DocumentKind::Other,
    })
}
