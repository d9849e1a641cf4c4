//! Writing that needs no stream: manifests, deletions.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};
use wharf_types::{Digest, failpoint};

use super::Repository;
use super::fail::Doing;
use crate::auth::Scopes;
use crate::error::{AnswerFault, Error};
use crate::exchange::{self, Ask, Payload};
use crate::manifest::Target;

pub(crate) async fn has_blob(
    repository: &Repository,
    digest: &Digest,
    scopes: &Scopes,
) -> Result<bool, Error> {
    let endpoint = repository.endpoints().await?.for_push();
    let path = repository.path(&format!("blobs/{digest}"));
    let ask = Ask::new(Method::HEAD, &path, scopes);
    let mut answer = exchange::send(&repository.client, endpoint, &ask).await?;
    match answer.status {
        StatusCode::OK => {
            drop(answer.read(&repository.client, 0).await);
            Ok(true)
        }
        StatusCode::NOT_FOUND => Ok(false),
        _ => Err(repository.refused(&mut answer, Doing::Writing).await),
    }
}

pub(super) async fn put_manifest(
    repository: &Repository,
    target: &Target,
    media_type: &str,
    bytes: Bytes,
) -> Result<Digest, Error> {
    let endpoint = repository.endpoints().await?.for_push();
    let digest = Digest::of(&bytes);
    if let Target::Digest(wanted) = target
        && *wanted != digest
    {
        return Err(Error::Digest {
            endpoint: repository.familiar_name(),
            expected: *wanted,
            actual: digest,
        });
    }
    let path = repository.path(&format!("manifests/{target}"));
    let scopes = repository.scopes("pull,push");
    let content_type = HeaderValue::from_str(media_type).map_err(|_| Error::Manifest {
        name: repository.image(target),
        fault: crate::manifest::ManifestFault::MediaType(crate::refusal::harmless(media_type)),
    })?;
    let mut ask = Ask::new(Method::PUT, &path, &scopes).with(CONTENT_TYPE, content_type);
    ask.payload = Payload::Bytes(bytes);
    failpoint::hit("distribution.push.manifest");
    let mut answer = exchange::send(&repository.client, endpoint, &ask).await?;
    if !answer.status.is_success() {
        return Err(repository.refused(&mut answer, Doing::Writing).await);
    }
    // A registry that packed the document anew has another image than was pushed.
    if let Some(named) = answer.header("docker-content-digest") {
        let named: Digest = named.parse().map_err(|_| Error::Answer {
            endpoint: endpoint.name(),
            fault: AnswerFault::Header("Docker-Content-Digest"),
        })?;
        if named != digest {
            return Err(Error::Digest {
                endpoint: endpoint.name(),
                expected: digest,
                actual: named,
            });
        }
    }
    drop(
        answer
            .read(&repository.client, crate::refusal::BODY_MAX)
            .await,
    );
    Ok(digest)
}

pub(super) async fn delete(repository: &Repository, rest: &str) -> Result<(), Error> {
    let endpoint = repository.endpoints().await?.for_push();
    let path = repository.path(rest);
    let scopes = repository.scopes("delete,pull");
    let ask = Ask::new(Method::DELETE, &path, &scopes);
    let mut answer = exchange::send(&repository.client, endpoint, &ask).await?;
    if answer.status.is_success() {
        drop(
            answer
                .read(&repository.client, crate::refusal::BODY_MAX)
                .await,
        );
        return Ok(());
    }
    Err(repository.refused(&mut answer, Doing::Writing).await)
}
