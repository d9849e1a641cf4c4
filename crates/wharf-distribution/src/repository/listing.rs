//! Lists: tags, and what refers to a manifest.

use http::header::{ACCEPT, LINK};
use http::{HeaderValue, Method, StatusCode, Uri};
use serde::Deserialize;
use wharf_oci::image::{Index, media_type};
use wharf_types::Digest;

use super::Repository;
use super::fail::Doing;
use crate::address::{self, encode};
use crate::auth::Scopes;
use crate::error::{AnswerFault, Error};
use crate::exchange::{self, Answer, Ask, To};
use crate::hosts::Endpoint;
use crate::manifest::{Document, MANIFEST_MAX, Target};

/// Most pages of a list.
const PAGES_MAX: usize = 1000;
/// Most tags of a repository.
const TAGS_MAX: usize = 100_000;
/// Most manifests that refer to one.
const REFERRERS_MAX: usize = 10_000;
/// How many tags are asked for at once.
const PAGE: usize = 1000;
/// Most bytes of a page of tags.
const PAGE_MAX: usize = 4 * 1024 * 1024;

#[derive(Deserialize)]
struct Tags {
    // A repository without tags has `null`.
    #[serde(default)]
    tags: Option<Vec<String>>,
}

pub(super) async fn tags(repository: &Repository) -> Result<Vec<String>, Error> {
    let endpoint = repository.endpoints().await?.registry();
    let scopes = repository.scopes("pull");
    let mut next = Place::Path(repository.path(&format!("tags/list?n={PAGE}")));
    let mut tags = Vec::new();
    for _ in 0..PAGES_MAX {
        let mut answer = get(repository, endpoint, &next, &scopes, "application/json").await?;
        if answer.status != StatusCode::OK {
            return Err(repository.refused(&mut answer, Doing::Reading).await);
        }
        let bytes = page(repository, endpoint, &mut answer).await?;
        let page: Tags = serde_json::from_slice(&bytes).map_err(|error| Error::Answer {
            endpoint: endpoint.name(),
            fault: AnswerFault::Document(crate::refusal::harmless(&error.to_string())),
        })?;
        // What is no tag could not be asked for; it is not shown either.
        tags.extend(
            page.tags
                .unwrap_or_default()
                .into_iter()
                .filter(|tag| tag.parse::<wharf_types::Tag>().is_ok()),
        );
        if tags.len() > TAGS_MAX {
            break;
        }
        match following(endpoint, &answer)? {
            Some(place) => next = place,
            None => return Ok(tags),
        }
    }
    Err(endless(endpoint))
}

pub(super) async fn referrers(
    repository: &Repository,
    digest: &Digest,
    artifact_type: Option<&str>,
) -> Result<Index, Error> {
    let endpoint = repository.endpoints().await?.registry();
    let scopes = repository.scopes("pull");
    let mut path = format!("referrers/{digest}");
    if let Some(artifact_type) = artifact_type {
        path = format!("{path}?artifactType={}", encode(artifact_type));
    }
    let mut next = Place::Path(repository.path(&path));
    let mut index: Option<Index> = None;
    for _ in 0..PAGES_MAX {
        let mut answer = get(repository, endpoint, &next, &scopes, media_type::INDEX).await?;
        match answer.status {
            StatusCode::OK => {}
            // A registry without that API, which is how it is found out.
            StatusCode::NOT_FOUND if index.is_none() => {
                return from_tag(repository, digest, artifact_type).await;
            }
            _ => return Err(repository.refused(&mut answer, Doing::Reading).await),
        }
        let bytes = page(repository, endpoint, &mut answer).await?;
        let page = read(repository, digest, &bytes)?;
        let all = match &mut index {
            None => index.insert(page),
            Some(all) => {
                all.manifests.extend(page.manifests);
                all
            }
        };
        if all.manifests.len() > REFERRERS_MAX {
            break;
        }
        match following(endpoint, &answer)? {
            Some(place) => next = place,
            None => return Ok(filtered(index.unwrap_or_default(), artifact_type)),
        }
    }
    Err(endless(endpoint))
}

/// OCI distribution specification 1.1, "Referrers Tag Schema".
async fn from_tag(
    repository: &Repository,
    digest: &Digest,
    artifact_type: Option<&str>,
) -> Result<Index, Error> {
    let tag = format!("sha256-{}", digest.hex());
    let target = Target::Tag(tag.parse().expect("such a tag follows the grammar"));
    match repository.resolve(&target).await {
        Ok(manifest) => match manifest.document {
            Document::Index(index) => Ok(filtered(index, artifact_type)),
            // Somebody's image that happens to have this tag.
            Document::Image(_) => Ok(Index::default()),
        },
        Err(Error::ManifestUnknown { .. } | Error::RepositoryUnknown { .. }) => {
            Ok(Index::default())
        }
        Err(error) => Err(error),
    }
}

/// The registry may have filtered, and may not.
fn filtered(mut index: Index, artifact_type: Option<&str>) -> Index {
    if let Some(wanted) = artifact_type {
        index
            .manifests
            .retain(|entry| entry.artifact_type.as_deref() == Some(wanted));
    }
    index
}

fn read(repository: &Repository, digest: &Digest, bytes: &[u8]) -> Result<Index, Error> {
    let fault = |fault| Error::Manifest {
        name: format!("{}@{digest}", repository.familiar_name()),
        fault,
    };
    match Document::parse(media_type::INDEX, bytes).map_err(fault)?.1 {
        Document::Index(index) => Ok(index),
        Document::Image(_) => Err(fault(crate::manifest::ManifestFault::Missing("manifests"))),
    }
}

enum Place {
    Path(String),
    Address(Uri),
}

async fn get(
    repository: &Repository,
    endpoint: &Endpoint,
    place: &Place,
    scopes: &Scopes,
    accept: &'static str,
) -> Result<Answer, Error> {
    let mut ask = Ask::new(Method::GET, "", scopes).with(ACCEPT, HeaderValue::from_static(accept));
    ask.to = match place {
        Place::Path(path) => To::Path(path),
        Place::Address(address) => To::Address(address),
    };
    exchange::send(&repository.client, endpoint, &ask).await
}

async fn page(
    repository: &Repository,
    endpoint: &Endpoint,
    answer: &mut Answer,
) -> Result<bytes::Bytes, Error> {
    answer
        .read(&repository.client, PAGE_MAX.min(MANIFEST_MAX))
        .await?
        .ok_or_else(|| Error::Answer {
            endpoint: endpoint.name(),
            fault: AnswerFault::TooLong(PAGE_MAX),
        })
}

/// Where the next page is, which must be at the same registry.
fn following(endpoint: &Endpoint, answer: &Answer) -> Result<Option<Place>, Error> {
    let links = answer.headers.get_all(LINK);
    let Some(target) = links
        .iter()
        .filter_map(|value| value.to_str().ok())
        .find_map(crate::link::next)
    else {
        return Ok(None);
    };
    match address::join(&answer.address, &target) {
        Some((origin, address)) if exchange::is_own(endpoint, &origin) => {
            Ok(Some(Place::Address(address)))
        }
        _ => Err(Error::Answer {
            endpoint: endpoint.name(),
            fault: AnswerFault::Header("Link"),
        }),
    }
}

fn endless(endpoint: &Endpoint) -> Error {
    Error::Answer {
        endpoint: endpoint.name(),
        fault: AnswerFault::Endless,
    }
}
