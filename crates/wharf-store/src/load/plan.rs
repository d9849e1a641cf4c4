//! Which images an archive holds, read from its documents.
//!
//! Since version 25 `docker save` writes an OCI layout that also has `manifest.json`. The layout's
//! index is believed for what the images are, as its descriptors carry digests; `manifest.json`
//! adds names, and images of archives that have nothing else. All documents are bounded, indexes
//! may nest a few levels (attack G10: an index that names itself), and a document that could be
//! read as a manifest and as an index is refused (attack G4).
//!
//! An index within the layout's is one image for several platforms: it stays whole, with all that
//! the archive has of it, and its names mean this machine's image, or the first.

use wharf_oci::image::{ArchiveManifest, Descriptor, ImageConfig, Index, Manifest};
use wharf_types::{Digest, Reference};

use super::Platforms;
use super::members::{self, Members};
use crate::index::IndexMember;
use crate::plan::{
    DocumentKind, Plan, PlannedIndex, PlannedLayer, diff_ids, digest, host_platform, kind,
    layer_media_type, parse, refuse,
};
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

/// What an archive holds.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) images: Vec<Plan>,
    pub(super) indexes: Vec<ArchiveIndex>,
    /// Platforms of images that were not asked for.
    elsewhere: Vec<String>,
}

/// An image for several platforms.
pub(super) struct ArchiveIndex {
    pub(super) index: PlannedIndex,
    pub(super) images: Vec<Plan>,
    pub(super) names: Vec<Reference>,
}

impl ArchiveIndex {
    /// Returns the id of the image that the names mean.
    pub(super) fn chosen(&self) -> Option<Digest> {
        let host = host_platform();
        let runs_here = |plan: &&Plan| {
            parse::<ImageConfig>("the configuration", &plan.config_bytes).is_ok_and(|config| {
                config.os == host.os && config.architecture == host.architecture
            })
        };
        let chosen = self.images.iter().find(runs_here);
        chosen.or(self.images.first()).map(|plan| plan.id)
    }
}

impl Contents {
    /// Adds an image; the same one again only adds its names.
    fn add(&mut self, plan: Plan) {
        if !self.name(plan.id, &plan.names) {
            self.images.push(plan);
        }
    }

    /// Gives an image names if it is known.
    fn name(&mut self, id: Digest, names: &[Reference]) -> bool {
        let has = |index: &&mut ArchiveIndex| index.images.iter().any(|plan| plan.id == id);
        let known = match self.images.iter_mut().find(|plan| plan.id == id) {
            Some(plan) => &mut plan.names,
            None => match self.indexes.iter_mut().find(has) {
                Some(index) => &mut index.names,
                None => return false,
            },
        };
        for name in names {
            if !known.contains(name) {
                known.push(name.clone());
            }
        }
        true
    }
}

/// Returns the images of an archive, as far as they are asked for.
pub(super) fn contents(
    store: &Store,
    members: &Members,
    platforms: Platforms<'_>,
) -> Result<Contents, LoadError> {
    let reading = Reading {
        store,
        members,
        platforms,
    };
    let mut contents = Contents::default();
    if let Some(bytes) = members.document("index.json")? {
        reading.layout(&bytes, &mut contents)?;
    }
    if let Some(bytes) = members.document("manifest.json")? {
        let manifests: Vec<ArchiveManifest> = parse("manifest.json", &bytes)?;
        for manifest in &manifests {
            reading.archive_manifest(manifest, &mut contents)?;
        }
    }
    if contents.images.is_empty() && contents.indexes.is_empty() {
        return Err(match contents.elsewhere.is_empty() {
            true => LoadError::NoImage,
            false => LoadError::Platform(contents.elsewhere.join(", ")),
        });
    }
    Ok(contents)
}

struct Reading<'a> {
    store: &'a Store,
    members: &'a Members,
    platforms: Platforms<'a>,
}

impl Reading<'_> {
    /// Reads the layout's own index, which lists what the archive is about.
    fn layout(&self, bytes: &[u8], contents: &mut Contents) -> Result<(), LoadError> {
        let layout: Index = parse("index.json", bytes)?;
        for descriptor in &layout.manifests {
            if descriptor.annotations.contains_key(ATTESTATION_ANNOTATION) {
                continue;
            }
            let names = annotated_names(descriptor)?;
            let name = &descriptor.digest;
            let bytes = self.document(descriptor)?;
            match kind(name, &bytes, &descriptor.media_type)? {
                DocumentKind::Index => self.index(descriptor, bytes, names, contents)?,
                DocumentKind::Manifest => {
                    let plan = self.manifest(descriptor, bytes, names, &mut contents.elsewhere)?;
                    if let Some(plan) = plan {
                        contents.add(plan);
                    }
                }
                DocumentKind::Other => {}
            }
        }
        Ok(())
    }

    fn index(
        &self,
        descriptor: &Descriptor,
        bytes: Vec<u8>,
        names: Vec<Reference>,
        contents: &mut Contents,
    ) -> Result<(), LoadError> {
        let known = |known: &&mut ArchiveIndex| known.index.bytes == bytes;
        if let Some(known) = contents.indexes.iter_mut().find(known) {
            known.names.extend(names);
            return Ok(());
        }
        let mut index = ArchiveIndex {
            index: PlannedIndex {
                media_type: descriptor.media_type.clone(),
                members: Vec::new(),
                bytes: bytes.clone(),
            },
            images: Vec::new(),
            names,
        };
        self.members_of(
            &descriptor.digest,
            &bytes,
            0,
            &mut index,
            &mut contents.elsewhere,
        )?;
        if !index.images.is_empty() {
            contents.indexes.push(index);
        }
        Ok(())
    }

    /// Reads what an index lists, as far as the archive or the store has it.
    fn members_of(
        &self,
        name: &str,
        bytes: &[u8],
        depth: usize,
        index: &mut ArchiveIndex,
        elsewhere: &mut Vec<String>,
    ) -> Result<(), LoadError> {
        if depth > NESTING_MAX {
            return Err(refuse(name, DocumentRefusal::TooDeep));
        }
        let document: Index = parse(name, bytes)?;
        for descriptor in &document.manifests {
            let name = &descriptor.digest;
            let manifest = digest(name, name)?;
            let bytes = match self.document(descriptor) {
                // `docker save` leaves out what its engine has not.
                Err(LoadError::Missing(_)) => continue,
                bytes => bytes?,
            };
            let mut member = IndexMember {
                manifest,
                image: None,
                blobs: vec![manifest],
            };
            match kind(name, &bytes, &descriptor.media_type)? {
                DocumentKind::Index => {
                    self.members_of(name, &bytes, depth + 1, index, elsewhere)?;
                }
                DocumentKind::Manifest if is_image(descriptor) => {
                    let Some(plan) = self.manifest(descriptor, bytes, Vec::new(), elsewhere)?
                    else {
                        continue;
                    };
                    // Layers that had to be made anew are another manifest's.
                    if plan.manifest == manifest {
                        member.image = Some(plan.id);
                        member.blobs.clear();
                    }
                    index.images.push(plan);
                    if member.image.is_none() {
                        continue;
                    }
                }
                DocumentKind::Manifest => {
                    let Some(blobs) = self.blobs_of(name, &bytes)? else {
                        continue;
                    };
                    member.blobs.extend(blobs);
                }
                DocumentKind::Other => {}
            }
            index.index.members.push(member);
        }
        Ok(())
    }

    /// Returns the blobs of a manifest that is no image's; nothing when one is not there.
    fn blobs_of(&self, name: &str, manifest: &[u8]) -> Result<Option<Vec<Digest>>, LoadError> {
        let manifest: Manifest = parse(name, manifest)?;
        let mut blobs = Vec::new();
        for descriptor in manifest.layers.iter().chain([&manifest.config]) {
            let blob = digest(name, &descriptor.digest)?;
            let present = self.members.by_digest(&blob).is_some()
                || self.store.shared.blobs.find(&blob).is_some();
            if !present {
                return Ok(None);
            }
            blobs.push(blob);
        }
        Ok(Some(blobs))
    }

    fn manifest(
        &self,
        descriptor: &Descriptor,
        bytes: Vec<u8>,
        names: Vec<Reference>,
        elsewhere: &mut Vec<String>,
    ) -> Result<Option<Plan>, LoadError> {
        let name = &descriptor.digest;
        let manifest: Manifest = parse(name, &bytes)?;
        let config_bytes = self.document(&manifest.config)?;
        let config: ImageConfig = parse(&manifest.config.digest, &config_bytes)?;
        if !self.is_wanted(&config, elsewhere) {
            return Ok(None);
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
        if foreign {
            return Plan::generate(config_bytes, layers, names).map(Some);
        }
        let media_type = manifest.media_type;
        Ok(Some(Plan {
            id: Digest::of(&config_bytes),
            config_bytes,
            manifest: Digest::of(&bytes),
            media_type: media_type.unwrap_or_else(|| descriptor.media_type.clone()),
            manifest_bytes: bytes,
            generated: false,
            layers,
            names,
        }))
    }

    fn is_wanted(&self, config: &ImageConfig, elsewhere: &mut Vec<String>) -> bool {
        let wanted = self.platforms.is_none_or(|platforms| platforms(config));
        if !wanted {
            elsewhere.push(format!("{}/{}", config.os, config.architecture));
        }
        wanted
    }

    fn archive_manifest(
        &self,
        manifest: &ArchiveManifest,
        contents: &mut Contents,
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
        if contents.name(id, &names) {
            return Ok(());
        }
        let config: ImageConfig = parse(config_name, &config_bytes)?;
        if !self.is_wanted(&config, &mut contents.elsewhere) {
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
        contents.add(Plan::generate(config_bytes, layers, names)?);
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

/// Whether a manifest of an index is an image's.
fn is_image(descriptor: &Descriptor) -> bool {
    !descriptor.annotations.contains_key(ATTESTATION_ANNOTATION)
        && descriptor
            .platform
            .as_ref()
            .is_none_or(|platform| platform.os != "unknown" && platform.architecture != "unknown")
}

fn layer_of(member: &crate::ingest::Ingested, diff_id: Digest) -> PlannedLayer {
    PlannedLayer {
        diff_id,
        blob: member.blob.digest,
        size: member.blob.size,
        media_type: layer_media_type(member.compression).to_owned(),
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
