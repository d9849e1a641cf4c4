//! Manifests and indexes: read strictly, because everything else follows from them.
//!
//! A document that could be read as two things is refused (attack G4, CVE-2021-41190), so are digests
//! of other algorithms (G5) and counts no image has (G10). Source: OCI image specification 1.1;
//! Docker image manifest version 2, schema 2.

use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use wharf_oci::image::{Descriptor, Index, Manifest as ImageManifest, Platform, media_type};
use wharf_types::{Digest, DigestError, Reference, Tag};

/// Most bytes of a manifest, what registries accept.
pub const MANIFEST_MAX: usize = 4 * 1024 * 1024;
/// Most layers of an image. Overlay takes 500.
pub const LAYERS_MAX: usize = 1000;
/// Most entries of an index.
pub const ENTRIES_MAX: usize = 1000;
/// How deep indexes may point to indexes; whoever walks them counts.
pub const NESTING_MAX: usize = 4;

/// What is asked for, as `Accept` lists it.
pub(crate) const ACCEPTED: [&str; 4] = [
    media_type::INDEX,
    media_type::DOCKER_INDEX,
    media_type::MANIFEST,
    media_type::DOCKER_MANIFEST,
];

/// Which manifest of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The one a tag names now.
    Tag(Tag),
    /// This one.
    Digest(Digest),
}

impl Target {
    /// Returns what a reference means: its digest, when it has one, whatever the tag; else its tag,
    /// else `latest`.
    #[must_use]
    pub fn of(reference: &Reference) -> Self {
        if let Some(digest) = reference.digest() {
            return Self::Digest(digest);
        }
        let reference = reference.clone().with_default_tag();
        let tag = reference.tag().unwrap_or(wharf_types::DEFAULT_TAG);
        Self::Tag(tag.parse().expect("a reference's tag follows the grammar"))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl From<Digest> for Target {
    fn from(digest: Digest) -> Self {
        Self::Digest(digest)
    }
}

/// A manifest or an index, as bytes that have the digest, and read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Digest of the bytes.
    pub digest: Digest,
    /// Type of the document.
    pub media_type: String,
    /// The document as it came; what is stored and pushed.
    pub bytes: Bytes,
    /// The document, read.
    pub document: Document,
    /// Host and port of who gave it: the registry or one of its mirrors.
    pub endpoint: String,
}

/// A document, read.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one at a time, and what it holds is elsewhere"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One image or artifact.
    Image(ImageManifest),
    /// Several.
    Index(Index),
}

/// Why a document is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestFault {
    /// It is no JSON, or members have the wrong type.
    #[error("{0}")]
    Json(String),
    /// It is longer than [`MANIFEST_MAX`].
    #[error("longer than {MANIFEST_MAX} bytes")]
    TooLong,
    /// It is of the first schema.
    #[error(
        "it is of schema 1, which is no longer supported: pull it with an older engine and push it again, or ask its publisher to rebuild it"
    )]
    Schema1,
    /// It is of another schema.
    #[error("schema version {0} is not supported")]
    Schema(u32),
    /// Its type is not one of those that are asked for.
    #[error("unsupported media type {0:?}")]
    MediaType(String),
    /// It says that it is something else than the registry does.
    #[error("it was sent as {sent:?} and says that it is {said:?}")]
    TypesDiffer {
        /// The registry's type.
        sent: String,
        /// Its own.
        said: String,
    },
    /// It can be read as a manifest and as an index.
    #[error("it has members of a manifest and of an index")]
    Ambiguous,
    /// A member that every such document has is missing.
    #[error("it has no {0}")]
    Missing(&'static str),
    /// A digest cannot be used.
    #[error("{0}")]
    Digest(#[from] DigestError),
    /// There is more than any image has.
    #[error("it has {count} {what}, more than {max}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// The sizes add up to more than there can be.
    #[error("its sizes add up to more than there can be")]
    Sizes,
}

/// Which members a document has. A member that is there twice is an error of serde's.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Members {
    #[serde(default)]
    schema_version: u32,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    config: Option<IgnoredAny>,
    #[serde(default)]
    layers: Option<IgnoredAny>,
    #[serde(default)]
    manifests: Option<IgnoredAny>,
    #[serde(default)]
    fs_layers: Option<IgnoredAny>,
}

impl Document {
    /// Reads a document that was sent under a media type (empty when none was), and returns the type
    /// it has.
    ///
    /// # Errors
    /// The first rule of this module that it breaks.
    pub fn parse(sent_as: &str, bytes: &[u8]) -> Result<(String, Self), ManifestFault> {
        if bytes.len() > MANIFEST_MAX {
            return Err(ManifestFault::TooLong);
        }
        let sent_as = sent_as.split(';').next().unwrap_or_default().trim();
        if sent_as.starts_with("application/vnd.docker.distribution.manifest.v1+") {
            return Err(ManifestFault::Schema1);
        }
        let members: Members = read(bytes)?;
        if members.schema_version == 1 || members.fs_layers.is_some() {
            return Err(ManifestFault::Schema1);
        }
        if members.schema_version != 2 {
            return Err(ManifestFault::Schema(members.schema_version));
        }
        let is_index = members.manifests.is_some();
        let media_type = agreed_type(sent_as, members.media_type, is_index)?;
        match media_type.as_str() {
            media_type::INDEX | media_type::DOCKER_INDEX => {
                // The list may be empty, and an empty one may be absent or null.
                if members.config.is_some() || members.layers.is_some() {
                    return Err(ManifestFault::Ambiguous);
                }
                let index = read::<Index>(bytes)?;
                check_index(&index)?;
                Ok((media_type, Self::Index(index)))
            }
            media_type::MANIFEST | media_type::DOCKER_MANIFEST => {
                if is_index {
                    return Err(ManifestFault::Ambiguous);
                }
                if members.config.is_none() {
                    return Err(ManifestFault::Missing("config"));
                }
                let manifest = read::<ImageManifest>(bytes)?;
                check_image(&manifest)?;
                Ok((media_type, Self::Image(manifest)))
            }
            _ => Err(ManifestFault::MediaType(crate::refusal::harmless(
                &media_type,
            ))),
        }
    }
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, ManifestFault> {
    serde_json::from_slice(bytes)
        .map_err(|error| ManifestFault::Json(crate::refusal::harmless(&error.to_string())))
}

/// The type the sender and the document agree on. A server that serves files knows no better than a
/// generic type; then the document's own counts, and an OCI document need not have one.
fn agreed_type(
    sent_as: &str,
    said: Option<String>,
    is_index: bool,
) -> Result<String, ManifestFault> {
    let said = said.unwrap_or_default();
    let generic = matches!(
        sent_as,
        "" | "application/json" | "application/octet-stream" | "text/plain"
    );
    match (generic, said.is_empty()) {
        (false, false) if said != sent_as => Err(ManifestFault::TypesDiffer {
            sent: crate::refusal::harmless(sent_as),
            said: crate::refusal::harmless(&said),
        }),
        (false, _) => Ok(sent_as.to_owned()),
        (true, false) => Ok(said),
        (true, true) if is_index => Ok(media_type::INDEX.to_owned()),
        (true, true) => Ok(media_type::MANIFEST.to_owned()),
    }
}

fn check_index(index: &Index) -> Result<(), ManifestFault> {
    check_count("entries", index.manifests.len(), ENTRIES_MAX)?;
    for entry in index.manifests.iter().chain(&index.subject) {
        entry.digest.parse::<Digest>()?;
    }
    Ok(())
}

fn check_image(manifest: &ImageManifest) -> Result<(), ManifestFault> {
    check_count("layers", manifest.layers.len(), LAYERS_MAX)?;
    let mut total = 0_u64;
    let parts = std::iter::once(&manifest.config).chain(&manifest.layers);
    for descriptor in parts.chain(&manifest.subject) {
        descriptor.digest.parse::<Digest>()?;
        // What is summed up later, for a bar or a check of free space, stays in the signed numbers.
        total = total
            .checked_add(descriptor.size)
            .filter(|total| i64::try_from(*total).is_ok())
            .ok_or(ManifestFault::Sizes)?;
    }
    Ok(())
}

fn check_count(what: &'static str, count: usize, max: usize) -> Result<(), ManifestFault> {
    if count > max {
        return Err(ManifestFault::TooMany { what, count, max });
    }
    Ok(())
}

/// Returns the entry of an index that suits a platform best, as containerd and Docker choose: the
/// same variant, else the next older one; on `amd64` a `386` image when there is no other.
#[must_use]
pub fn choose<'a>(index: &'a Index, wanted: &Platform) -> Option<&'a Descriptor> {
    index
        .manifests
        .iter()
        .filter_map(|entry| Some((rank(entry.platform.as_ref()?, wanted)?, entry)))
        // The first of equals, as the order of an index is its publisher's preference.
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, entry)| entry)
}

/// Returns a platform as Docker writes it, `os/architecture` and the variant.
#[must_use]
pub fn platform_name(platform: &Platform) -> String {
    let Platform {
        os,
        architecture,
        variant,
        ..
    } = platform;
    match variant {
        Some(variant) if !variant.is_empty() => format!("{os}/{architecture}/{variant}"),
        _ => format!("{os}/{architecture}"),
    }
}

/// How far a platform is from the wanted one; nothing when it cannot run there.
fn rank(offered: &Platform, wanted: &Platform) -> Option<u32> {
    const OTHER_ARCHITECTURE: u32 = 100;
    if offered.os != wanted.os {
        return None;
    }
    if offered.architecture == wanted.architecture {
        let (Some(offered), Some(wanted)) = (generation(offered), generation(wanted)) else {
            let variant = |p: &Platform| p.variant.clone().unwrap_or_default();
            return (variant(offered) == variant(wanted)).then_some(0);
        };
        return wanted.checked_sub(offered);
    }
    match (wanted.architecture.as_str(), offered.architecture.as_str()) {
        ("amd64", "386") => Some(OTHER_ARCHITECTURE),
        // Every arm64 engine of Docker's accepts 32-bit ARM, the newest variant first.
        ("arm64", "arm") => Some(OTHER_ARCHITECTURE + 8_u32.checked_sub(generation(offered)?)?),
        _ => None,
    }
}

/// The number of a variant; of none the one that it means.
fn generation(platform: &Platform) -> Option<u32> {
    let variant = platform.variant.as_deref().unwrap_or_default();
    if !variant.is_empty() {
        return variant.strip_prefix('v')?.parse().ok();
    }
    match platform.architecture.as_str() {
        "amd64" => Some(1),
        "arm" => Some(7),
        "arm64" => Some(8),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
