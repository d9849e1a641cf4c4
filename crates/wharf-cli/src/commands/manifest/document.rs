//! What is known of an image that goes into a list, and the list.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use wharf_oci::image::media_type;
use wharf_types::{Digest, Reference};
use wharf_wire::{ImageDescriptor, ImagePlatform, base64};

use crate::format::json;

/// A manifest that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum DocumentError {
    /// There is only a description.
    #[error("{0} has no payload")]
    NoPayload(String),
    /// The text is not what the digest says.
    #[error("internal digest mismatch for {reference}: expected {expected}, got {actual}")]
    Digest {
        /// The image.
        reference: String,
        /// What it should be.
        expected: String,
        /// What it is.
        actual: Digest,
    },
    /// It is no JSON.
    #[error("cannot understand the manifest of {0}")]
    Json(String, #[source] serde_json::Error),
    /// Its members are not what they should be.
    #[error("{0} is no digest")]
    NoDigest(String),
    /// The platform is needed and not known.
    #[error("manifest {0} must have an OS and Architecture to be pushed to a registry")]
    NoPlatform(String),
    /// An image cannot be described in the list.
    #[error("failed to assemble ManifestDescriptor")]
    Descriptor(#[source] Box<DocumentError>),
    /// An image of another registry cannot be in the list.
    #[error("cannot use source images from a different registry than the target image: {0} != {1}")]
    OtherRegistry(String, String),
}

/// An image: a description of its manifest, and the manifest. Docker's client keeps and shows the same members.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Image {
    #[serde(rename = "Ref")]
    pub(super) reference: String,
    pub(super) descriptor: ImageDescriptor,
    /// The text as it came, in base64. Docker's client did not keep it before 2023.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    raw: Option<String>,
    #[serde(
        rename = "SchemaV2Manifest",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    dockers: Option<Box<RawValue>>,
    #[serde(
        rename = "OCIManifest",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    ocis: Option<Box<RawValue>>,
}

/// The parts of a manifest.
#[derive(Debug, Deserialize)]
pub(super) struct Parts {
    pub(super) config: ImageDescriptor,
    #[serde(default)]
    pub(super) layers: Vec<ImageDescriptor>,
}

impl Image {
    /// An image whose manifest has just come.
    pub(super) fn new(
        reference: String,
        descriptor: ImageDescriptor,
        text: &str,
    ) -> Result<Self, DocumentError> {
        let member = RawValue::from_string(json::escape_html(&json::compact(text)))
            .map_err(|error| DocumentError::Json(reference.clone(), error))?;
        let dockers = descriptor.media_type == media_type::DOCKER_MANIFEST;
        let (dockers, ocis) = if dockers {
            (Some(member), None)
        } else {
            (None, Some(member))
        };
        Ok(Self {
            reference,
            descriptor,
            raw: Some(base64::encode(text.as_bytes())),
            dockers,
            ocis,
        })
    }

    /// Whether the text is kept, so that it need not be fetched.
    pub(super) fn has_text(&self) -> bool {
        self.raw.as_ref().is_some_and(|raw| !raw.is_empty())
    }

    /// The manifest's text, which has its digest. Of what older clients kept it is made anew: they laid it out in one
    /// way each.
    pub(super) fn text(&self) -> Result<String, DocumentError> {
        let missing = || DocumentError::NoPayload(self.reference.clone());
        let text = match (&self.raw, &self.dockers, &self.ocis) {
            (Some(raw), ..) if !raw.is_empty() => base64::decode(raw)
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .ok_or_else(missing)?,
            (_, Some(member), _) => json::indent(member.get(), "   "),
            (.., Some(member)) => json::indent(member.get(), "  "),
            _ => return Err(missing()),
        };
        let actual = Digest::of(text.as_bytes());
        if actual.to_string() == self.descriptor.digest {
            Ok(text)
        } else {
            Err(DocumentError::Digest {
                reference: self.reference.clone(),
                expected: self.descriptor.digest.clone(),
                actual,
            })
        }
    }

    /// Refuses an image of another registry than the list's.
    pub(super) fn is_of(&self, registry: &str) -> Result<(), DocumentError> {
        let domain = self
            .reference
            .parse()
            .map(|reference: Reference| reference.domain().to_owned())
            .unwrap_or_default();
        if domain == registry {
            Ok(())
        } else {
            Err(DocumentError::OtherRegistry(domain, registry.to_owned()))
        }
    }

    /// Refuses an image that nobody could choose.
    pub(super) fn has_platform(&self) -> Result<(), DocumentError> {
        let platform = self.descriptor.platform.as_ref();
        let known =
            |platform: &ImagePlatform| !platform.os.is_empty() && !platform.architecture.is_empty();
        if platform.is_some_and(known) {
            Ok(())
        } else {
            Err(DocumentError::NoPlatform(self.reference.clone()))
        }
    }

    /// What the manifest is made of.
    pub(super) fn parts(&self) -> Result<Parts, DocumentError> {
        serde_json::from_str(&self.text()?)
            .map_err(|error| DocumentError::Json(self.reference.clone(), error))
    }

    /// What Docker's client shows of it.
    pub(super) fn shown(&self) -> Result<String, DocumentError> {
        let member = self.dockers.as_ref().or(self.ocis.as_ref());
        match member {
            // As it came, not as it is kept.
            Some(_) if self.has_text() => Ok(json::indent(&self.text()?, "\t")),
            Some(member) => Ok(json::indent(member.get(), "\t")),
            None => Err(DocumentError::NoPayload(self.reference.clone())),
        }
    }
}

/// What is shown at length: one image, or several.
pub(super) fn at_length(value: &impl Serialize) -> serde_json::Result<String> {
    let text = serde_json::to_string(value)?;
    Ok(json::indent(&json::escape_html(&text), "\t"))
}

/// A list of images for several platforms: its type and its text.
pub(super) struct List {
    pub(super) media_type: &'static str,
    pub(super) text: String,
}

/// Members as Docker writes them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Members<'a> {
    schema_version: u32,
    media_type: &'a str,
    manifests: Vec<Entry<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    media_type: &'a str,
    size: i64,
    digest: &'a str,
    platform: ImagePlatform,
}

impl List {
    /// Makes a list of descriptions; it is of OCI's type when the first of them is.
    pub(super) fn of<'a>(
        descriptors: impl Iterator<Item = &'a ImageDescriptor>,
    ) -> Result<Self, DocumentError> {
        let mut manifests = Vec::new();
        for descriptor in descriptors {
            if descriptor.digest.parse::<Digest>().is_err() {
                return Err(DocumentError::NoDigest(descriptor.digest.clone()));
            }
            manifests.push(Entry {
                media_type: &descriptor.media_type,
                size: descriptor.size,
                digest: &descriptor.digest,
                platform: descriptor.platform.clone().unwrap_or_default(),
            });
        }
        let first = manifests.first().map(|entry| entry.media_type);
        let media_type = if first == Some(media_type::MANIFEST) {
            media_type::INDEX
        } else {
            media_type::DOCKER_INDEX
        };
        let members = Members {
            schema_version: 2,
            media_type,
            manifests,
        };
        let text = serde_json::to_string(&members)
            .map_err(|error| DocumentError::Json("the list".to_owned(), error))?;
        Ok(Self {
            media_type,
            text: json::indent(&json::escape_html(&text), "   "),
        })
    }
}

/// Whether Go is known to make programs for the two.
pub(super) fn is_known(platform: &ImagePlatform) -> bool {
    let architectures: &[&str] = match platform.os.as_str() {
        "darwin" => &["386", "amd64", "arm", "arm64"],
        "dragonfly" | "solaris" => &["amd64"],
        "freebsd" | "netbsd" | "openbsd" => &["386", "amd64", "arm"],
        "linux" => &[
            "386", "amd64", "arm", "arm64", "ppc64le", "mips64", "mips64le", "riscv64", "s390x",
        ],
        "plan9" | "windows" => &["386", "amd64"],
        _ => &[],
    };
    architectures.contains(&platform.architecture.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "{\n   \"schemaVersion\": 2,\n   \"config\": {\n      \"mediaType\": \"c\",\n      \"size\": 1,\n      \"digest\": \"d\"\n   },\n   \"layers\": []\n}";

    fn image(media_type: &str, text: &str) -> Image {
        let descriptor = ImageDescriptor {
            media_type: media_type.to_owned(),
            digest: Digest::of(text.as_bytes()).to_string(),
            size: i64::try_from(text.len()).expect("short"),
            platform: Some(ImagePlatform {
                architecture: "amd64".to_owned(),
                os: "linux".to_owned(),
                ..ImagePlatform::default()
            }),
            ..ImageDescriptor::default()
        };
        Image::new("r/a:1".to_owned(), descriptor, text).expect("a good manifest")
    }

    #[test]
    fn an_image_is_kept_as_docker_keeps_it() {
        let image = image(media_type::DOCKER_MANIFEST, TEXT);
        let kept = serde_json::to_string(&image).expect("JSON");
        assert_eq!(
            kept,
            format!(
                r#"{{"Ref":"r/a:1","Descriptor":{{"mediaType":"application/vnd.docker.distribution.manifest.v2+json","digest":"{}","size":{},"platform":{{"architecture":"amd64","os":"linux"}}}},"Raw":"{}","SchemaV2Manifest":{{"schemaVersion":2,"config":{{"mediaType":"c","size":1,"digest":"d"}},"layers":[]}}}}"#,
                image.descriptor.digest,
                TEXT.len(),
                base64::encode(TEXT.as_bytes())
            )
        );
        let read: Image = serde_json::from_str(&kept).expect("ours");
        assert_eq!(read.text().expect("its text"), TEXT);
        assert_eq!(read.parts().expect("parts").config.digest, "d");
        assert!(
            read.shown()
                .expect("JSON")
                .starts_with("{\n\t\"schemaVersion\": 2")
        );
    }

    #[test]
    fn what_older_clients_kept_is_made_anew_or_refused() {
        let mut image = image(media_type::DOCKER_MANIFEST, TEXT);
        image.raw = None;
        assert!(!image.has_text());
        assert_eq!(image.text().expect("laid out the same"), TEXT);
        image.descriptor.digest = Digest::of(b"other").to_string();
        assert!(
            image
                .text()
                .expect_err("another digest")
                .to_string()
                .starts_with("internal digest mismatch for r/a:1: expected sha256:")
        );
        image.dockers = None;
        assert_eq!(
            image.shown().expect_err("nothing").to_string(),
            "r/a:1 has no payload"
        );
        image.raw = Some("!".to_owned());
        assert!(image.text().is_err());
    }

    #[test]
    fn the_list_is_dockers() {
        let image = image(media_type::DOCKER_MANIFEST, TEXT);
        let list = List::of([&image.descriptor].into_iter()).expect("a list");
        assert_eq!(list.media_type, media_type::DOCKER_INDEX);
        assert_eq!(
            list.text,
            format!(
                "{{\n   \"schemaVersion\": 2,\n   \"mediaType\": \"application/vnd.docker.distribution.manifest.list.v2+json\",\n   \"manifests\": [\n      {{\n         \"mediaType\": \"application/vnd.docker.distribution.manifest.v2+json\",\n         \"size\": {},\n         \"digest\": \"{}\",\n         \"platform\": {{\n            \"architecture\": \"amd64\",\n            \"os\": \"linux\"\n         }}\n      }}\n   ]\n}}",
                TEXT.len(),
                image.descriptor.digest
            )
        );
        let empty = List::of([].into_iter()).expect("a list");
        assert!(empty.text.ends_with("\"manifests\": []\n}"));
        let mut bad = image.descriptor.clone();
        bad.digest = "sha256:x".to_owned();
        assert!(List::of([&bad].into_iter()).is_err());
        let ocis = super::tests::image(media_type::MANIFEST, TEXT);
        let list = List::of([&ocis.descriptor].into_iter()).expect("a list");
        assert_eq!(list.media_type, media_type::INDEX);
    }
}
