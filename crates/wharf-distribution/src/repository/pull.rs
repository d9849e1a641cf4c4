//! Reading: what a tag leads to, and manifests.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use wharf_oci::image::Descriptor;
use wharf_types::Digest;

use super::Repository;
use super::fail::Doing;
use crate::error::{AnswerFault, Error};
use crate::exchange::{self, Answer, Ask};
use crate::hosts::Endpoint;
use crate::manifest::{ACCEPTED, Document, MANIFEST_MAX, Manifest, Target};

/// The header with the digest of what is asked for.
const DIGEST: &str = "docker-content-digest";

pub(super) async fn resolve(repository: &Repository, target: &Target) -> Result<Manifest, Error> {
    let mut first_to_ask = true;
    let mut last = None;
    for endpoint in candidates(repository, target).await? {
        if !first_to_ask {
            tracing::debug!(endpoint = endpoint.name(), "asking the next endpoint");
        }
        first_to_ask = false;
        match fetch(repository, &endpoint, target).await {
            Ok(manifest) => return Ok(manifest),
            Err(error) => last = Some(note(&endpoint, error)),
        }
    }
    Err(last.expect("the registry was asked"))
}

pub(super) async fn head(
    repository: &Repository,
    target: &Target,
) -> Result<Option<Descriptor>, Error> {
    let mut last = None;
    for endpoint in candidates(repository, target).await? {
        match describe(repository, &endpoint, target).await {
            Ok(Some(descriptor)) => return Ok(Some(descriptor)),
            Ok(None) => last = None,
            Err(error) => last = Some(note(&endpoint, error)),
        }
    }
    last.map_or(Ok(None), Err)
}

/// Who is asked: mirrors in order, the registry last. When there is nobody else, the registry, whatever
/// the operator's file says it can.
async fn candidates(repository: &Repository, target: &Target) -> Result<Vec<Arc<Endpoint>>, Error> {
    let endpoints = repository.endpoints().await?;
    let found: Vec<Arc<Endpoint>> = match target {
        Target::Tag(_) => endpoints.for_resolve().cloned().collect(),
        Target::Digest(digest) => endpoints
            .for_pull()
            .filter(|endpoint| !repository.is_distrusted(digest, endpoint))
            .cloned()
            .collect(),
    };
    if found.is_empty() {
        return Ok(vec![Arc::clone(endpoints.registry())]);
    }
    Ok(found)
}

/// Notes why an endpoint did not do, for the operator: the next one may.
pub(crate) fn note(endpoint: &Endpoint, error: Error) -> Error {
    if !endpoint.is_registry {
        tracing::info!(endpoint = endpoint.name(), %error, "a mirror did not do");
    }
    error
}

async fn ask(
    repository: &Repository,
    endpoint: &Endpoint,
    target: &Target,
    method: Method,
) -> Result<Answer, Error> {
    let path = repository.path(&format!("manifests/{target}"));
    let scopes = repository.scopes("pull");
    let accept = HeaderValue::from_str(&ACCEPTED.join(", ")).expect("media types");
    let ask = Ask::new(method, &path, &scopes).with(ACCEPT, accept);
    exchange::send(&repository.client, endpoint, &ask).await
}

async fn fetch(
    repository: &Repository,
    endpoint: &Endpoint,
    target: &Target,
) -> Result<Manifest, Error> {
    let mut answer = ask(repository, endpoint, target, Method::GET).await?;
    if answer.status != StatusCode::OK {
        return Err(repository
            .refused(&mut answer, Doing::Manifest(target))
            .await);
    }
    let fault = |fault| Error::Answer {
        endpoint: endpoint.name(),
        fault,
    };
    let bytes = answer
        .read(&repository.client, MANIFEST_MAX)
        .await?
        .ok_or_else(|| fault(AnswerFault::TooLong(MANIFEST_MAX)))?;
    let digest = Digest::of(&bytes);
    let named = named_digest(&answer).map_err(fault)?;
    let expected = match target {
        Target::Digest(wanted) => Some(*wanted),
        Target::Tag(_) => named,
    };
    if let Some(expected) = expected
        && expected != digest
    {
        return Err(Error::Digest {
            endpoint: endpoint.name(),
            expected,
            actual: digest,
        });
    }
    let sent_as = answer.header(CONTENT_TYPE.as_str()).unwrap_or_default();
    read(repository, endpoint, target, sent_as, bytes, digest)
}

fn read(
    repository: &Repository,
    endpoint: &Endpoint,
    target: &Target,
    sent_as: &str,
    bytes: Bytes,
    digest: Digest,
) -> Result<Manifest, Error> {
    let (media_type, document) =
        Document::parse(sent_as, &bytes).map_err(|fault| Error::Manifest {
            name: repository.image(target),
            fault,
        })?;
    Ok(Manifest {
        digest,
        media_type,
        bytes,
        document,
        endpoint: endpoint.name(),
    })
}

/// The digest that an answer names. One of another algorithm is refused, not passed over (attack G5).
fn named_digest(answer: &Answer) -> Result<Option<Digest>, AnswerFault> {
    match answer.headers.get(DIGEST) {
        None => Ok(None),
        Some(value) => value
            .to_str()
            .ok()
            .and_then(|text| text.parse().ok())
            .map(Some)
            .ok_or(AnswerFault::Header("Docker-Content-Digest")),
    }
}

async fn describe(
    repository: &Repository,
    endpoint: &Endpoint,
    target: &Target,
) -> Result<Option<Descriptor>, Error> {
    let mut answer = ask(repository, endpoint, target, Method::HEAD).await?;
    match answer.status {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Ok(None),
        // An answer to HEAD has no body to say why, so a GET is asked for the reason.
        _ => {
            return fetch(repository, endpoint, target)
                .await
                .map(|manifest| Some(descriptor(&manifest)));
        }
    }
    let named = named_digest(&answer).map_err(|fault| Error::Answer {
        endpoint: endpoint.name(),
        fault,
    })?;
    let media_type = answer
        .header(CONTENT_TYPE.as_str())
        .and_then(|text| text.split(';').next())
        .map(str::trim)
        .filter(|text| ACCEPTED.contains(text))
        .map(str::to_owned);
    let (Some(digest), Some(size), Some(media_type)) = (named, answer.length(), media_type) else {
        // A registry that does not tell all of it, or an old document: the document itself does.
        return fetch(repository, endpoint, target)
            .await
            .map(|manifest| Some(descriptor(&manifest)));
    };
    if let Target::Digest(wanted) = target
        && *wanted != digest
    {
        return Err(Error::Digest {
            endpoint: endpoint.name(),
            expected: *wanted,
            actual: digest,
        });
    }
    // The connection is free again once the end of the empty body was seen.
    drop(answer.read(&repository.client, 0).await);
    Ok(Some(Descriptor {
        media_type,
        digest: digest.to_string(),
        size,
        ..Descriptor::default()
    }))
}

fn descriptor(manifest: &Manifest) -> Descriptor {
    Descriptor {
        media_type: manifest.media_type.clone(),
        digest: manifest.digest.to_string(),
        size: manifest.bytes.len() as u64,
        ..Descriptor::default()
    }
}
