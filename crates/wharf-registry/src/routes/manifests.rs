//! Manifests and indexes.

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use wharf_types::Repository;

use crate::access::Action;
use crate::body;
use crate::document::MAX_DOCUMENT;
use crate::proxy::{self, Freshness};
use crate::refusal::Refusal;
use crate::routes::{Answer, Call, bare, is_known, named, value};
use crate::storage::{ManifestName, Overwrite};

/// `GET` and `HEAD`.
pub(crate) async fn get(
    call: &Call,
    name: Repository,
    wanted: ManifestName,
) -> Result<Answer, Refusal> {
    let freshness = proxy::manifest(&call.registry, &name, &wanted).await?;
    let (digest, media_type, size) = call.registry.storage.manifest_head(&name, &wanted)?;
    if is_known(call, digest) {
        return Ok(named(bare(StatusCode::NOT_MODIFIED), digest));
    }
    let mut answer = named(bare(StatusCode::OK), digest);
    if freshness == Freshness::Stale {
        let text =
            HeaderValue::from_static("299 - \"upstream does not answer: this is what it had\"");
        answer.headers_mut().insert(header::WARNING, text);
    }
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, value(media_type));
    answer
        .headers_mut()
        .insert(header::CONTENT_LENGTH, value(size.to_string()));
    if call.method == Method::HEAD {
        return Ok(answer);
    }
    if let Some(bytes) = call.registry.storage.recent_manifest(digest) {
        return Ok(answer.map(|_| body::full(bytes)));
    }
    let exact = ManifestName::Digest(digest);
    let manifest = call
        .blocking(move |storage| storage.manifest(&name, &exact))
        .await?;
    Ok(answer.map(|_| body::full(manifest.bytes)))
}

/// `PUT`.
pub(crate) async fn put(
    call: &mut Call,
    name: Repository,
    wanted: ManifestName,
) -> Result<Answer, Refusal> {
    let bytes = document(call).await?;
    let media_type = call
        .header(header::CONTENT_TYPE)
        .map(|text| text.split(';').next().unwrap_or(text).trim().to_owned());
    let overwrite = if call.may(&name, Action::Overwrite) {
        Overwrite::Allowed
    } else {
        Overwrite::Refused
    };
    let (into, under) = (name.clone(), wanted.clone());
    let stored = call
        .blocking(move |storage| {
            storage.put_manifest(&into, &under, &bytes, media_type.as_deref(), overwrite)
        })
        .await?;
    let mut answer = named(bare(StatusCode::CREATED), stored.digest);
    let headers = answer.headers_mut();
    headers.insert(
        header::LOCATION,
        value(format!("/v2/{name}/manifests/{wanted}")),
    );
    if let Some(subject) = stored.subject {
        headers.insert("oci-subject", value(subject.to_string()));
    }
    warn_of_scarcity(call, &name, headers);
    Ok(answer)
}

/// "Warnings": tells a client's user that a quota is nearly used up.
fn warn_of_scarcity(call: &Call, name: &Repository, headers: &mut HeaderMap) {
    if let Some(text) = call.registry.storage.scarce(name) {
        headers.insert(header::WARNING, value(format!("299 - \"{text}\"")));
    }
}

async fn document(call: &mut Call) -> Result<Bytes, Refusal> {
    let Some(body) = call.body.take() else {
        return Ok(Bytes::new());
    };
    match Limited::new(body, MAX_DOCUMENT).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "SIZE_INVALID",
            format!("a manifest may have {MAX_DOCUMENT} bytes"),
        )),
        Err(error) => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "MANIFEST_INVALID",
            error.to_string(),
        )),
    }
}

/// `DELETE`.
pub(crate) async fn delete(
    call: &Call,
    name: Repository,
    wanted: ManifestName,
) -> Result<Answer, Refusal> {
    call.blocking(move |storage| storage.delete_manifest(&name, &wanted))
        .await?;
    Ok(bare(StatusCode::ACCEPTED))
}
