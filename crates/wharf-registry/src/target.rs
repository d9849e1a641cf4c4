//! What a request's path names.

use wharf_types::{Digest, Repository, UploadId};

use crate::refusal::Refusal;
use crate::storage::ManifestName;

/// The parts of the registry's tree of paths.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// `/readyz`: whether it should be sent more.
    Ready,
    /// `/token`.
    Token,
    /// `/v1/search`.
    Search,
    /// A page for people.
    Page(PageTarget),
}

/// The pages for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PageTarget {
    /// `/`: the repositories.
    Repositories,
    /// `/-/<name>`: the tags of one.
    Repository(Repository),
    /// `/-/<name>:<tag>` and `/-/<name>@<digest>`: one image.
    Image(Repository, ManifestName),
}

impl Target {
    /// The repository it is about.
    pub(crate) fn repository(&self) -> Option<&Repository> {
        match self {
            Self::Tags(name)
            | Self::Manifest(name, _)
            | Self::Blob(name, _)
            | Self::Uploads(name)
            | Self::Upload(name, _)
            | Self::Referrers(name, _)
            | Self::Page(PageTarget::Repository(name) | PageTarget::Image(name, _)) => Some(name),
            _ => None,
        }
    }

    /// What it names within its repository, for the log.
    pub(crate) fn reference(&self) -> Option<String> {
        match self {
            Self::Manifest(_, wanted) => Some(wanted.to_string()),
            Self::Blob(_, digest) => Some(digest.to_string()),
            Self::Upload(_, id) => Some(id.to_string()),
            _ => None,
        }
    }

    /// The kind of target, in one word, for counting.
    pub(crate) fn route(&self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Catalog => "catalog",
            Self::Tags(_) => "tags",
            Self::Manifest(..) => "manifest",
            Self::Blob(..) => "blob",
            Self::Uploads(_) | Self::Upload(..) => "upload",
            Self::Referrers(..) => "referrers",
            Self::Health | Self::Ready => "health",
            Self::Token => "token",
            Self::Search => "search",
            Self::Page(_) => "page",
        }
    }

    /// Reads a path as it was sent.
    pub(crate) fn read(path: &str) -> Result<Self, Refusal> {
        let path = wharf_wire::query::decode_path(path)
            .map_err(|error| Refusal::name(error.to_string()))?;
        match path.as_str() {
            "/v2" | "/v2/" => return Ok(Self::Base),
            "/v2/_catalog" => return Ok(Self::Catalog),
            "/healthz" => return Ok(Self::Health),
            "/readyz" => return Ok(Self::Ready),
            "/token" => return Ok(Self::Token),
            "/v1/search" => return Ok(Self::Search),
            "/" => return Ok(Self::Page(PageTarget::Repositories)),
            _ => {}
        }
        if let Some(rest) = path.strip_prefix("/-/") {
            return page(rest).map(Self::Page);
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

/// Reads the rest of a page's path: a reference without its host.
fn page(rest: &str) -> Result<PageTarget, Refusal> {
    if let Some((name, hash)) = rest.split_once('@') {
        let wanted = ManifestName::Digest(digest(hash)?);
        return Ok(PageTarget::Image(repository(&[name])?, wanted));
    }
    match rest.split_once(':') {
        Some((name, tag)) => Ok(PageTarget::Image(repository(&[name])?, manifest(tag)?)),
        None => Ok(PageTarget::Repository(repository(&[rest])?)),
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
                format!("/-/a/b@{hash}"),
                Target::Page(PageTarget::Image(name("a/b"), ManifestName::Digest(hash))),
            ),
            (
                "/-/a/b:1".to_owned(),
                Target::Page(PageTarget::Image(
                    name("a/b"),
                    ManifestName::Tag("1".parse().expect("a tag")),
                )),
            ),
            (
                "/-/a/b".to_owned(),
                Target::Page(PageTarget::Repository(name("a/b"))),
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
            "/v1/searches",
            "/-/",
            "/-/a:",
            "/-/a:b:c",
            "/-/../a",
            "/v2/a%ff/tags/list",
        ] {
            assert!(Target::read(path).is_err(), "{path}");
        }
        let upper = Digest::of(b"x").hex().to_uppercase();
        assert!(Target::read(&format!("/v2/a/blobs/sha256:{upper}")).is_err());
        assert!(Target::read(&format!("/v2/{}/tags/list", "a".repeat(256))).is_err());
    }
}
