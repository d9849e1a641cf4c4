//! What a request's path names.

use wharf_types::{Digest, Repository, UploadId};

use crate::refusal::Refusal;
use crate::storage::ManifestName;

/// The parts of the registry's tree of paths.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// `/v2/`: whether this is a registry, and who is asking.
    Base,
    /// `/v2/_catalog`.
    Catalog,
    Tags(Repository),
    Manifest(Repository, ManifestName),
    Blob(Repository, Digest),
    /// `/v2/<name>/blobs/uploads/`.
    Uploads(Repository),
    Upload(Repository, UploadId),
    Referrers(Repository, Digest),
    /// `/healthz`: whether the process serves.
    Health,
}

impl Target {
    /// Reads a path as it was sent.
    pub(crate) fn read(path: &str) -> Result<Self, Refusal> {
        let path = wharf_wire::query::decode_path(path)
            .map_err(|error| Refusal::name(error.to_string()))?;
        match path.as_str() {
            "/v2" | "/v2/" => return Ok(Self::Base),
            "/v2/_catalog" => return Ok(Self::Catalog),
            "/healthz" => return Ok(Self::Health),
            _ => {}
        }
        let rest = path.strip_prefix("/v2/").ok_or_else(Refusal::not_found)?;
        // A name may hold any of these words, so the end decides.
        let parts: Vec<&str> = rest.split('/').collect();
        match parts.as_slice() {
            [name @ .., "tags", "list"] => Ok(Self::Tags(repository(name)?)),
            [name @ .., "blobs", "uploads", ""] | [name @ .., "blobs", "uploads"] => {
                Ok(Self::Uploads(repository(name)?))
            }
            [name @ .., "blobs", "uploads", id] => Ok(Self::Upload(repository(name)?, upload(id)?)),
            [name @ .., "blobs", hash] => Ok(Self::Blob(repository(name)?, digest(hash)?)),
            [name @ .., "referrers", hash] => Ok(Self::Referrers(repository(name)?, digest(hash)?)),
            [name @ .., "manifests", wanted] => {
                Ok(Self::Manifest(repository(name)?, manifest(wanted)?))
            }
            _ => Err(Refusal::not_found()),
        }
    }
}

pub(crate) fn repository(parts: &[&str]) -> Result<Repository, Refusal> {
    let name = parts.join("/");
    name.parse()
        .map_err(|error| Refusal::name(format!("{error}: {name:?}")))
}

pub(crate) fn digest(text: &str) -> Result<Digest, Refusal> {
    text.parse()
        .map_err(|error: wharf_types::DigestError| Refusal::digest(error.to_string()))
}

fn upload(text: &str) -> Result<UploadId, Refusal> {
    text.parse().map_err(|_| {
        Refusal::new(
            http::StatusCode::NOT_FOUND,
            "BLOB_UPLOAD_UNKNOWN",
            format!("upload {text:?} is not known here"),
        )
    })
}

fn manifest(text: &str) -> Result<ManifestName, Refusal> {
    if text.contains(':') {
        return Ok(ManifestName::Digest(digest(text)?));
    }
    let tag = text
        .parse()
        .map_err(|_| Refusal::tag(format!("invalid tag {text:?}")))?;
    Ok(ManifestName::Tag(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Repository {
        text.parse().expect("a name")
    }

    #[test]
    fn paths_name_what_the_specification_says() {
        let hash = Digest::of(b"x");
        for (path, target) in [
            ("/v2/".to_owned(), Target::Base),
            ("/v2/_catalog".to_owned(), Target::Catalog),
            ("/v2/a/b/tags/list".to_owned(), Target::Tags(name("a/b"))),
            (
                "/v2/blobs/tags/list".to_owned(),
                Target::Tags(name("blobs")),
            ),
            (format!("/v2/a/blobs/{hash}"), Target::Blob(name("a"), hash)),
            (
                format!("/v2/a/blobs/sha256%3A{}", hash.hex()),
                Target::Blob(name("a"), hash),
            ),
            (
                "/v2/a/blobs/uploads/".to_owned(),
                Target::Uploads(name("a")),
            ),
            (
                format!("/v2/a/referrers/{hash}"),
                Target::Referrers(name("a"), hash),
            ),
            (
                format!("/v2/a/manifests/{hash}"),
                Target::Manifest(name("a"), ManifestName::Digest(hash)),
            ),
            (
                "/v2/a/manifests/1".to_owned(),
                Target::Manifest(name("a"), ManifestName::Tag("1".parse().expect("a tag"))),
            ),
        ] {
            assert_eq!(Target::read(&path).expect(&path), target);
        }
    }

    #[test]
    fn attack_g5_g6_what_breaks_the_grammar_is_refused() {
        for path in [
            "/v2/../manifests/1",
            "/v2/..%2fa/manifests/1",
            "/v2/a/..%2f..%2f/manifests/1",
            "/v2/A/tags/list",
            "/v2//tags/list",
            "/v2/a/manifests/t%0a",
            "/v2/a/blobs/sha512:00",
            "/v2/a/blobs/uploads/..",
            "/v2/a%00/tags/list",
            "/v1/search",
            "/v2/a%ff/tags/list",
        ] {
            assert!(Target::read(path).is_err(), "{path}");
        }
        let upper = Digest::of(b"x").hex().to_uppercase();
        assert!(Target::read(&format!("/v2/a/blobs/sha256:{upper}")).is_err());
        assert!(Target::read(&format!("/v2/{}/tags/list", "a".repeat(256))).is_err());
    }
}
