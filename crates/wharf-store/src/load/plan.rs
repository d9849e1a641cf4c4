//! Which images an archive holds, read from its documents.
//!
//! Since version 25 `docker save` writes an OCI layout that also has `manifest.json`. The layout's
//! index is believed for what the images are, as its descriptors carry digests; `manifest.json`
//! adds names, and images of archives that have nothing else. All documents are bounded, indexes
//! may nest a few levels (attack G10: an index that names itself), and a document that could be
//! read as a manifest and as an index is refused (attack G4).

use wharf_oci::image::{
    ArchiveManifest, Descriptor, ImageConfig, Index, Manifest, Platform, media_type,
};
use wharf_types::{Digest, Reference};

use super::members::{self, Members};
use super::{LAYERS_MAX, encode};
use crate::compress::Compression;
use crate::{DocumentRefusal, LoadError, Store};

/// Indexes within indexes.
const NESTING_MAX: usize = 4;
/// The names that containerd and Docker put on a manifest.
const NAME_ANNOTATIONS: [&str; 2] = [
    "io.containerd.image.name",
    "org.opencontainers.image.ref.name",
];
/// Marks the manifests that say how an image was built, which are no images.
const ATTESTATION_ANNOTATION: &str = "vnd.docker.reference.type";

/// An image that can be put in place.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) id: Digest,
    pub(super) config_bytes: Vec<u8>,
    pub(super) manifest: Digest,
    pub(super) manifest_bytes: Vec<u8>,
    pub(super) media_type: String,
    /// Whether the manifest is ours and not the archive's.
    pub(super) generated: bool,
    pub(super) layers: Vec<PlannedLayer>,
    pub(super) names: Vec<Reference>,
}

/// A layer of it.
#[derive(Debug, Clone)]
pub(super) struct PlannedLayer {
    pub(super) diff_id: Digest,
    pub(super) blob: Digest,
    pub(super) size: u64,
    pub(super) media_type: String,
}

impl Plan {
    /// Makes an image of a configuration and layers that came without a manifest.
    pub(super) fn generate(
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
pub(super) fn layer_media_type(compression: Compression) -> &'static str {
    match compression {
        Compression::Gzip => media_type::LAYER_GZIP,
        Compression::Zstd => media_type::LAYER_ZSTD,
        Compression::None | Compression::Xz | Compression::Bzip2 => media_type::LAYER,
    }
}

/// Returns what this machine runs, in Go's words.
pub(super) fn host_platform() -> Platform {
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

/// Returns the images of an archive.
pub(super) fn plans(store: &Store, members: &mut Members) -> Result<Vec<Plan>, LoadError> {
    let reading = Reading { store, members };
    let mut plans = Vec::new();
    let mut elsewhere = Vec::new();
    let index = members.document("index.json")?;
    if let Some(bytes) = &index {
        reading.index("index.json", bytes, &[], 0, &mut plans, &mut elsewhere)?;
    }
    let manifests = members.document("manifest.json")?;
    if let Some(bytes) = &manifests {
        let manifests: Vec<ArchiveManifest> = parse("manifest.json", bytes)?;
        for manifest in &manifests {
            reading.archive_manifest(manifest, &mut plans, &mut elsewhere)?;
        }
    }
    if !plans.is_empty() {
        return Ok(plans);
    }
    match elsewhere.first() {
        Some(_) => Err(LoadError::Platform {
            found: elsewhere.join(", "),
            host: platform_text(&host_platform()),
        }),
        None => Err(LoadError::NoImage),
    }
}

struct Reading<'a> {
    store: &'a Store,
    members: &'a Members,
}

impl Reading<'_> {
    fn index(
        &self,
        name: &str,
        bytes: &[u8],
        names: &[Reference],
        depth: usize,
        plans: &mut Vec<Plan>,
        elsewhere: &mut Vec<String>,
    ) -> Result<(), LoadError> {
        if depth > NESTING_MAX {
            return Err(refuse(name, DocumentRefusal::TooDeep));
        }
        let index: Index = parse(name, bytes)?;
        for descriptor in &index.manifests {
            if descriptor.annotations.contains_key(ATTESTATION_ANNOTATION) {
                continue;
            }
            if let Some(platform) = &descriptor.platform
                && !runs_here(&platform.os, &platform.architecture)
            {
                // `unknown/unknown` marks documents that are no images.
                if platform.os != "unknown" {
                    elsewhere.push(platform_text(platform));
                }
                continue;
            }
            let own = annotated_names(descriptor)?;
            let names = if own.is_empty() { names } else { &own };
            let bytes = self.document(descriptor)?;
            let name = &descriptor.digest;
            match kind(name, &bytes, &descriptor.media_type)? {
                DocumentKind::Index => {
                    self.index(name, &bytes, names, depth + 1, plans, elsewhere)?;
                }
                DocumentKind::Manifest => {
                    self.manifest(descriptor, bytes, names, plans, elsewhere)?;
                }
                DocumentKind::Other => {}
            }
        }
        Ok(())
    }

    fn manifest(
        &self,
        descriptor: &Descriptor,
        bytes: Vec<u8>,
        names: &[Reference],
        plans: &mut Vec<Plan>,
        elsewhere: &mut Vec<String>,
    ) -> Result<(), LoadError> {
        let name = &descriptor.digest;
        let manifest: Manifest = parse(name, &bytes)?;
        let config_bytes = self.document(&manifest.config)?;
        let config: ImageConfig = parse(&manifest.config.digest, &config_bytes)?;
        if !runs_here(&config.os, &config.architecture) {
            elsewhere.push(config_text(&config));
            return Ok(());
        }
        let diff_ids = diff_ids(&manifest.config.digest, &config)?;
        if diff_ids.len() != manifest.layers.len() {
            return Err(refuse(name, DocumentRefusal::LayerCount));
        }
        let mut layers = Vec::new();
        let mut foreign = false;
        for (layer, diff_id) in manifest.layers.iter().zip(diff_ids) {
            let digest = digest(name, &layer.digest)?;
            let mut planned = PlannedLayer {
                diff_id,
                blob: digest,
                size: layer.size,
                media_type: layer.media_type.clone(),
            };
            if let Some(member) = self.members.by_digest(&digest)
                && member.blob.digest != digest
            {
                foreign = true;
                planned = layer_of(member, diff_id);
            }
            layers.push(planned);
        }
        let plan = if foreign {
            Plan::generate(config_bytes, layers, names.to_vec())?
        } else {
            Plan {
                id: Digest::of(&config_bytes),
                config_bytes,
                manifest: Digest::of(&bytes),
                media_type: manifest_media_type(&manifest, descriptor),
                manifest_bytes: bytes,
                generated: false,
                layers,
                names: names.to_vec(),
            }
        };
        add(plans, plan);
        Ok(())
    }

    fn archive_manifest(
        &self,
        manifest: &ArchiveManifest,
        plans: &mut Vec<Plan>,
        elsewhere: &mut Vec<String>,
    ) -> Result<(), LoadError> {
        let names = manifest
            .repo_tags
            .iter()
            .map(|name| reference(name))
            .collect::<Result<Vec<_>, _>>()?;
        let config_name = manifest.config.as_str();
        let config_bytes = self
            .members
            .document(config_name)?
            .ok_or_else(|| LoadError::Missing(format!("{config_name:?}")))?;
        let id = Digest::of(&config_bytes);
        // `<id>.json`: what the name claims must be so.
        if let Some(claimed) = config_name
            .strip_suffix(".json")
            .and_then(|hex| Digest::from_hex(hex).ok())
            && claimed != id
        {
            return Err(LoadError::Digest {
                name: config_name.to_owned(),
                expected: claimed,
                actual: id,
            });
        }
        if let Some(known) = plans.iter_mut().find(|plan| plan.id == id) {
            merge_names(known, names);
            return Ok(());
        }
        let config: ImageConfig = parse(config_name, &config_bytes)?;
        if !runs_here(&config.os, &config.architecture) {
            elsewhere.push(config_text(&config));
            return Ok(());
        }
        let diff_ids = diff_ids(config_name, &config)?;
        if diff_ids.len() != manifest.layers.len() {
            return Err(refuse("manifest.json", DocumentRefusal::LayerCount));
        }
        let layers = manifest
            .layers
            .iter()
            .zip(diff_ids)
            .map(|(name, diff_id)| self.archive_layer(name, diff_id))
            .collect::<Result<Vec<_>, _>>()?;
        add(plans, Plan::generate(config_bytes, layers, names)?);
        Ok(())
    }

    fn archive_layer(&self, name: &str, diff_id: Digest) -> Result<PlannedLayer, LoadError> {
        if let Some(member) = self.members.by_name(name) {
            return Ok(layer_of(member, diff_id));
        }
        // A blob that was not kept because the store has it.
        let known = name
            .strip_prefix("blobs/sha256/")
            .and_then(|hex| Digest::from_hex(hex).ok())
            .and_then(|digest| {
                let state = self.store.state();
                let mut layers = state.images.values().flat_map(|image| &image.layers);
                layers.find(|layer| layer.blob == digest).cloned()
            })
            .ok_or_else(|| LoadError::Missing(format!("{name:?}")))?;
        Ok(PlannedLayer {
            diff_id,
            blob: known.blob,
            size: known.blob_size,
            media_type: known.media_type,
        })
    }

    /// Reads the document a descriptor points at, from the archive or from the store.
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, LoadError> {
        let name = &descriptor.digest;
        let digest = digest(name, name)?;
        let bytes = match self.members.by_digest(&digest) {
            Some(member) => members::read_document(name, member)?,
            None => self
                .store
                .shared
                .blobs
                .read(&digest)?
                .ok_or_else(|| LoadError::Missing(name.clone()))?,
        };
        if bytes.len() as u64 != descriptor.size {
            return Err(refuse(name, DocumentRefusal::Size));
        }
        Ok(bytes)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DocumentKind {
    Manifest,
    Index,
    Other,
}

/// Tells manifest and index apart by the media type, and by what the document has.
fn kind(name: &str, bytes: &[u8], media_type: &str) -> Result<DocumentKind, LoadError> {
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

fn layer_of(member: &crate::ingest::Ingested, diff_id: Digest) -> PlannedLayer {
    PlannedLayer {
        diff_id,
        blob: member.blob.digest,
        size: member.blob.size,
        media_type: layer_media_type(member.compression).to_owned(),
    }
}

/// Adds an image; the same one again only adds its names.
fn add(plans: &mut Vec<Plan>, plan: Plan) {
    match plans.iter_mut().find(|known| known.id == plan.id) {
        Some(known) => merge_names(known, plan.names),
        None => plans.push(plan),
    }
}

fn merge_names(plan: &mut Plan, names: Vec<Reference>) {
    for name in names {
        if !plan.names.contains(&name) {
            plan.names.push(name);
        }
    }
}

/// Returns the names a descriptor is annotated with. A bare tag names no repository.
fn annotated_names(descriptor: &Descriptor) -> Result<Vec<Reference>, LoadError> {
    let full = NAME_ANNOTATIONS.iter().find_map(|key| {
        descriptor
            .annotations
            .get(*key)
            .filter(|name| name.contains([':', '/']))
    });
    full.map(|name| reference(name).map(|name| vec![name]))
        .unwrap_or_else(|| Ok(Vec::new()))
}

fn reference(name: &str) -> Result<Reference, LoadError> {
    name.parse::<Reference>()
        .map(Reference::with_default_tag)
        .map_err(|source| LoadError::Reference {
            name: name.to_owned(),
            source,
        })
}

fn diff_ids(name: &str, config: &ImageConfig) -> Result<Vec<Digest>, LoadError> {
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

fn manifest_media_type(manifest: &Manifest, descriptor: &Descriptor) -> String {
    manifest
        .media_type
        .clone()
        .unwrap_or_else(|| descriptor.media_type.clone())
}

/// Old images say nothing about where they run.
fn runs_here(os: &str, architecture: &str) -> bool {
    let host = host_platform();
    (os.is_empty() || os == host.os)
        && (architecture.is_empty() || architecture == host.architecture)
}

fn platform_text(platform: &Platform) -> String {
    let variant = platform
        .variant
        .as_deref()
        .map(|variant| format!("/{variant}"));
    format!(
        "{}/{}{}",
        platform.os,
        platform.architecture,
        variant.unwrap_or_default()
    )
}

fn config_text(config: &ImageConfig) -> String {
    format!("{}/{}", config.os, config.architecture)
}

fn digest(name: &str, text: &str) -> Result<Digest, LoadError> {
    text.parse()
        .map_err(|_| refuse(name, DocumentRefusal::Digest))
}

fn refuse(name: &str, reason: DocumentRefusal) -> LoadError {
    LoadError::Document {
        name: name.to_owned(),
        reason,
    }
}

fn parse<T: serde::de::DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, LoadError> {
    serde_json::from_slice(bytes).map_err(|source| LoadError::Json {
        name: name.to_owned(),
        source,
    })
}
