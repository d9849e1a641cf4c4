//! Lists: repositories, tags, referrers.

use http::StatusCode;
use http::header::{self, HeaderValue};
use serde_json::json;
use wharf_oci::image::media_type;
use wharf_types::{Digest, Repository};
use wharf_wire::query::QueryWriter;

use crate::proxy;
use crate::refusal::Refusal;
use crate::routes::{Answer, Call, json, value};

/// Most names in one answer, whatever is asked for (attack G3); the rest is a `Link` away.
const MOST_NAMES: usize = 1000;

/// `GET /v2/_catalog`.
pub(crate) fn catalog(call: &Call) -> Result<Answer, Refusal> {
    let limit = limit(call)?;
    let (names, more) = call
        .registry
        .storage
        .repositories(call.query.get("last"), limit, |name| call.sees(name));
    let next = more
        .then(|| names.last().map(|last| next("/v2/_catalog", last, limit)))
        .flatten();
    Ok(linked(
        json(StatusCode::OK, json!({"repositories": names}).to_string()),
        next,
    ))
}

/// `GET /v2/<name>/tags/list`.
pub(crate) async fn tags(call: &Call, name: &Repository) -> Result<Answer, Refusal> {
    let limit = limit(call)?;
    let last = call.query.get("last");
    let (tags, more) = match proxy::tags(&call.registry, name).await? {
        None => call.registry.storage.tags(name, last, limit)?,
        Some(mut tags) => {
            tags.retain(|tag| last.is_none_or(|last| tag.as_str() > last));
            let more = tags.len() > limit;
            tags.truncate(limit);
            (tags, more)
        }
    };
    let next = more
        .then(|| {
            tags.last()
                .map(|last| next(&format!("/v2/{name}/tags/list"), last, limit))
        })
        .flatten();
    Ok(linked(
        json(
            StatusCode::OK,
            json!({"name": name.as_str(), "tags": tags}).to_string(),
        ),
        next,
    ))
}

/// `GET /v2/<name>/referrers/<digest>`.
pub(crate) async fn referrers(
    call: &Call,
    name: Repository,
    subject: Digest,
) -> Result<Answer, Refusal> {
    let artifact_type = call.query.get("artifactType").map(str::to_owned);
    let filtered = artifact_type.is_some();
    let (asked, wanted) = (name.clone(), artifact_type.clone());
    let found = call.blocking(move |storage| {
        Ok::<_, Refusal>(storage.referrers(&asked, subject, wanted.as_deref()))
    });
    let mut index = found.await?;
    // "Listing Referrers": a list that is too long for a manifest comes in pages.
    if let Some(last) = call.query.get("last") {
        let seen = index.manifests.iter().position(|item| item.digest == last);
        index.manifests.drain(..seen.map_or(0, |at| at + 1));
    }
    let more = index.manifests.len() > MOST_NAMES;
    index.manifests.truncate(MOST_NAMES);
    let next = index.manifests.last().filter(|_| more).map(|last| {
        let kind = artifact_type.unwrap_or_default();
        let query = QueryWriter::new()
            .text("artifactType", &kind)
            .with("last", &last.digest);
        value(format!(
            "</v2/{name}/referrers/{subject}{}>; rel=\"next\"",
            query.finish()
        ))
    });
    let text = serde_json::to_vec(&index).map_err(|error| {
        Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "UNKNOWN",
            error.to_string(),
        )
    })?;
    let mut answer = json(StatusCode::OK, text);
    let headers = answer.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(media_type::INDEX),
    );
    if filtered {
        headers.insert(
            "oci-filters-applied",
            HeaderValue::from_static("artifactType"),
        );
    }
    Ok(linked(answer, next))
}

fn limit(call: &Call) -> Result<usize, Refusal> {
    let Some(text) = call.query.get("n") else {
        return Ok(MOST_NAMES);
    };
    let wanted: usize = text.parse().map_err(|_| {
        Refusal::new(
            StatusCode::BAD_REQUEST,
            "PAGINATION_NUMBER_INVALID",
            format!("n must be a number, not {text:?}"),
        )
    })?;
    Ok(wanted.min(MOST_NAMES))
}

fn next(path: &str, last: &str, limit: usize) -> HeaderValue {
    // Names and tags have no character that must be escaped in a query, but for the slash, which may stand.
    value(format!("<{path}?last={last}&n={limit}>; rel=\"next\""))
}

fn linked(mut answer: Answer, next: Option<HeaderValue>) -> Answer {
    if let Some(next) = next {
        answer.headers_mut().insert(header::LINK, next);
    }
    answer
}
