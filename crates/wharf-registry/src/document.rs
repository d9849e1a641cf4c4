//! Manifests and indexes as the server reads them: what they are, and what they point at.
//!
//! A document is stored and served as the bytes it came in; this is only what must be known to keep
//! its promises. Sources: OCI image specification 1.1 (`manifest.md`, `image-index.md`), Docker's
//! image manifest version 2, schema 2.

use std::collections::BTreeMap;

use serde_json::Value;
use wharf_oci::image::{Descriptor, Index, Manifest, media_type};
use wharf_types::Digest;

/// Largest document accepted, in bytes: what the distribution specification asks for at least.
pub(crate) const MAX_DOCUMENT: usize = 4 * 1024 * 1024;

/// A document of a repository, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Document {
    pub(crate) media_type: String,
    /// Bytes.
    pub(crate) size: u64,
    /// The configuration and layers that must be there.
    pub(crate) blobs: Vec<Digest>,
    /// The manifests that must be there.
    pub(crate) manifests: Vec<Digest>,
    /// The manifest this one is about; it need not be there.
    pub(crate) subject: Option<Digest>,
    /// What a list of referrers shows as its type.
    pub(crate) artifact_type: Option<String>,
    pub(crate) annotations: BTreeMap<String, String>,
}

/// Why a document is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DocumentError {
    #[error("manifest is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("manifest is no JSON object")]
    NoObject,
    #[error(
        "schema version 1 manifests are not accepted: push the image again with a client of this decade"
    )]
    Schema1,
    #[error("schemaVersion must be 2")]
    SchemaVersion,
    /// Attack G4 (CVE-2021-41190): readers would disagree on what it is.
    #[error("a manifest may not have both {0:?} and {1:?}")]
    Ambiguous(&'static str, &'static str),
    #[error("mediaType is {inside:?}, but it was pushed as {outside:?}")]
    MediaType { inside: String, outside: String },
    #[error("media type {0:?} is not that of a manifest or an index")]
    Unknown(String),
    #[error("{what}: {source}")]
    Digest {
        what: &'static str,
        source: wharf_types::DigestError,
    },
}

impl Document {
    /// Reads a document that came under `declared`, the request's `Content-Type`, or from the disk,
    /// where nothing is declared.
    pub(crate) fn read(bytes: &[u8], declared: Option<&str>) -> Result<Self, DocumentError> {
        let value: Value = serde_json::from_slice(bytes)?;
        let object = value.as_object().ok_or(DocumentError::NoObject)?;
        let version = object.get("schemaVersion").and_then(Value::as_u64);
        if version == Some(1) {
            return Err(DocumentError::Schema1);
        }
        if version != Some(2) {
            return Err(DocumentError::SchemaVersion);
        }
        for (one, other) in [
            ("manifests", "layers"),
            ("manifests", "config"),
            ("fsLayers", "layers"),
        ] {
            if object.contains_key(one) && object.contains_key(other) {
                return Err(DocumentError::Ambiguous(one, other));
            }
        }
        let inside = object.get("mediaType").and_then(Value::as_str);
        let media_type = match (inside, declared) {
            (Some(inside), Some(outside)) if inside != outside => {
                return Err(DocumentError::MediaType {
                    inside: inside.to_owned(),
                    outside: outside.to_owned(),
                });
            }
            (Some(known), _) | (None, Some(known)) => known.to_owned(),
            (None, None) if object.contains_key("manifests") => media_type::INDEX.to_owned(),
            (None, None) => media_type::MANIFEST.to_owned(),
        };
        match media_type.as_str() {
            media_type::INDEX | media_type::DOCKER_INDEX => Self::index(bytes, media_type),
            media_type::MANIFEST | media_type::DOCKER_MANIFEST => Self::manifest(bytes, media_type),
            _ => Err(DocumentError::Unknown(media_type)),
        }
    }

    fn index(bytes: &[u8], media_type: String) -> Result<Self, DocumentError> {
        let index: Index = serde_json::from_slice(bytes)?;
        Ok(Self {
            media_type,
            size: bytes.len() as u64,
            blobs: Vec::new(),
            manifests: digests("manifests", &index.manifests)?,
            subject: subject(index.subject.as_ref())?,
            artifact_type: index.artifact_type,
            annotations: index.annotations,
        })
    }

    fn manifest(bytes: &[u8], media_type: String) -> Result<Self, DocumentError> {
        let manifest: Manifest = serde_json::from_slice(bytes)?;
        let mut blobs = digests("config", std::slice::from_ref(&manifest.config))?;
        // Layers that live elsewhere (`urls`) are the client's to fetch.
        let own: Vec<Descriptor> = manifest
            .layers
            .into_iter()
            .filter(|layer| layer.urls.is_empty())
            .collect();
        blobs.extend(digests("layers", &own)?);
        // "Listing referrers": without a type of its own an artifact has its configuration's.
        let artifact_type = manifest.artifact_type.or(Some(manifest.config.media_type));
        Ok(Self {
            media_type,
            size: bytes.len() as u64,
            blobs,
            manifests: Vec::new(),
            subject: subject(manifest.subject.as_ref())?,
            artifact_type,
            annotations: manifest.annotations,
        })
    }

    /// Returns the entry of this document in a list of referrers.
    pub(crate) fn as_referrer(&self, digest: Digest) -> Descriptor {
        Descriptor {
            media_type: self.media_type.clone(),
            digest: digest.to_string(),
            size: self.size,
            artifact_type: self.artifact_type.clone(),
            annotations: self.annotations.clone(),
            ..Descriptor::default()
        }
    }
}

fn digests(what: &'static str, descriptors: &[Descriptor]) -> Result<Vec<Digest>, DocumentError> {
    let read = |descriptor: &Descriptor| {
        descriptor
            .digest
            .parse()
            .map_err(|source| DocumentError::Digest { what, source })
    };
    descriptors.iter().map(read).collect()
}

fn subject(descriptor: Option<&Descriptor>) -> Result<Option<Digest>, DocumentError> {
    let read = |descriptor: &Descriptor| {
        descriptor
            .digest
            .parse()
            .map_err(|source| DocumentError::Digest {
                what: "subject",
                source,
            })
    };
    descriptor.map(read).transpose()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifest() -> Value {
        let digest = Digest::of(b"x");
        json!({
            "schemaVersion": 2,
            "mediaType": media_type::MANIFEST,
            "config": {"mediaType": media_type::CONFIG, "digest": digest, "size": 1},
            "layers": [
                {"mediaType": media_type::LAYER, "digest": digest, "size": 1},
                {"mediaType": media_type::LAYER, "digest": Digest::of(b"y"), "size": 1, "urls": ["https://elsewhere"]},
            ],
        })
    }

    fn read(value: &Value, declared: Option<&str>) -> Result<Document, DocumentError> {
        Document::read(value.to_string().as_bytes(), declared)
    }

    #[test]
    fn a_manifest_needs_its_configuration_and_its_own_layers() {
        let document = read(&manifest(), Some(media_type::MANIFEST)).expect("a manifest");
        assert_eq!(document.blobs, [Digest::of(b"x"), Digest::of(b"x")]);
        assert_eq!(document.artifact_type.as_deref(), Some(media_type::CONFIG));
    }

    #[test]
    fn attack_g4_a_document_that_is_two_things_is_refused() {
        let mut both = manifest();
        both["manifests"] = json!([]);
        assert!(matches!(
            read(&both, None),
            Err(DocumentError::Ambiguous(..))
        ));
        assert!(matches!(
            read(&manifest(), Some(media_type::INDEX)),
            Err(DocumentError::MediaType { .. })
        ));
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        for (text, declared) in [
            ("", None),
            ("[]", None),
            ("{}", None),
            (r#"{"schemaVersion":1,"fsLayers":[]}"#, None),
            (r#"{"schemaVersion":2}"#, Some("text/plain")),
            (
                r#"{"schemaVersion":2,"config":{"digest":"sha256:../../x"}}"#,
                None,
            ),
            (
                r#"{"schemaVersion":2,"manifests":[{"digest":"md5:00"}]}"#,
                None,
            ),
        ] {
            assert!(Document::read(text.as_bytes(), declared).is_err(), "{text}");
        }
    }

    #[test]
    fn a_document_without_a_type_is_what_it_looks_like() {
        let index = json!({"schemaVersion": 2, "manifests": [{"digest": Digest::of(b"m")}]});
        let document = read(&index, None).expect("an index");
        assert_eq!(document.media_type, media_type::INDEX);
        assert_eq!(document.manifests, [Digest::of(b"m")]);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            drop(Document::read(&bytes, None));
        }
    }
}
