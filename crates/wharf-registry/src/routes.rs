//! From a request to its answer.

mod blobs;
mod gate;
mod listing;
mod manifests;
mod search;
mod token;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use wharf_types::{Digest, Repository, UploadId};
use wharf_wire::query::Query;

use crate::access::{Action, Caller};
use crate::body::{self, Body};
use crate::page;
use crate::refusal::Refusal;
use crate::server::{Peer, Registry};
use crate::storage::Storage;
use crate::target::Target;
use crate::under_way::UnderWay;

/// A request that may do what it asks for.
pub(crate) struct Call {
    pub(crate) registry: Arc<Registry>,
    pub(crate) peer: Peer,
    pub(crate) caller: Caller,
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) query: Query,
    /// Taken by what reads it.
    pub(crate) body: Option<Incoming>,
}

pub(crate) type Answer = Response<Body>;

impl Call {
    /// Runs work that waits for the disk on a thread that may.
    pub(crate) async fn blocking<T: Send + 'static, E: Into<Refusal> + Send + 'static>(
        &self,
        work: impl FnOnce(&Storage) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Refusal> {
        let registry = Arc::clone(&self.registry);
        let done = tokio::task::spawn_blocking(move || work(&registry.storage)).await;
        done.map_err(|error| Refusal::unknown(error.to_string()))?
            .map_err(Into::into)
    }

    pub(crate) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns whether the caller may do this.
    pub(crate) fn may(&self, repository: &Repository, action: Action) -> bool {
        self.registry
            .access
            .allows(&self.caller, repository, action)
    }

    /// Returns whether the caller may see that a repository is there.
    pub(crate) fn sees(&self, repository: &Repository) -> bool {
        self.registry.access.shows(&self.caller, repository)
    }

    /// Returns where the client reached this server, `https://host:port`.
    pub(crate) fn origin(&self) -> String {
        self.registry.origin(self.peer, &self.headers)
    }
}

/// Answers a request.
pub(crate) async fn answer(
    registry: Arc<Registry>,
    peer: Peer,
    request: Request<Incoming>,
) -> Answer {
    let mut under_way = UnderWay::begin(&registry, peer, &request);
    let target = Target::read(request.uri().path());
    let mut answer = match dispatch(registry, peer, &mut under_way, &target, request).await {
        Ok(answer) => answer,
        Err(refusal) => refused(&refusal),
    };
    let headers = answer.headers_mut();
    headers.insert(
        "docker-distribution-api-version",
        HeaderValue::from_static("registry/2.0"),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    under_way.answered(target.as_ref().ok(), answer)
}

async fn dispatch(
    registry: Arc<Registry>,
    peer: Peer,
    under_way: &mut UnderWay,
    target: &Result<Target, Refusal>,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    gate::limit(&registry, peer, target)?;
    let target = target.as_ref().map_err(Clone::clone)?;
    match target {
        Target::Health => return Ok(json(StatusCode::OK, b"{}".as_slice())),
        Target::Ready => return Ok(ready(&registry)),
        _ => {}
    }
    let query = Query::parse(request.uri().query().unwrap_or_default())
        .map_err(|error| Refusal::name(error.to_string()))?;
    let (head, body) = request.into_parts();
    let caller = gate::identify(&registry, peer, target, &head.headers).await?;
    under_way.is_from(&caller);
    let call = Call {
        registry,
        peer,
        caller,
        method: head.method,
        headers: head.headers,
        query,
        body: Some(body),
    };
    gate::authorize(&call, target)?;
    route(call, target.clone()).await
}

async fn route(mut call: Call, target: Target) -> Result<Answer, Refusal> {
    let read = matches!(call.method, Method::GET | Method::HEAD);
    match (target, call.method.clone()) {
        (Target::Base, _) if read => Ok(json(StatusCode::OK, b"{}".as_slice())),
        (Target::Token, Method::GET) => token::issue(&call),
        (Target::Search, Method::GET) => search::search(&call),
        (Target::Page(page), _) if read => page::answer(&call, page).await,
        (Target::Catalog, Method::GET) => listing::catalog(&call),
        (Target::Tags(name), Method::GET) => listing::tags(&call, &name).await,
        (Target::Referrers(name, subject), Method::GET) => {
            listing::referrers(&call, name, subject).await
        }
        (Target::Manifest(name, wanted), _) if read => manifests::get(&call, name, wanted).await,
        (Target::Manifest(name, wanted), Method::PUT) => {
            manifests::put(&mut call, name, wanted).await
        }
        (Target::Manifest(name, wanted), Method::DELETE) => {
            manifests::delete(&call, name, wanted).await
        }
        (Target::Blob(name, digest), _) if read => blobs::get(&call, name, digest).await,
        (Target::Blob(name, digest), Method::DELETE) => blobs::delete(&call, name, digest).await,
        (Target::Uploads(name), Method::POST) => blobs::begin(&mut call, name).await,
        (Target::Upload(name, id), Method::GET) => blobs::status(&call, name, id).await,
        (Target::Upload(name, id), Method::PATCH) => blobs::append(&mut call, name, id).await,
        (Target::Upload(name, id), Method::PUT) => blobs::finish(&mut call, name, id).await,
        (Target::Upload(name, id), Method::DELETE) => blobs::cancel(&call, name, id).await,
        (_, method) => Err(Refusal::unsupported(format!(
            "{method} is not possible here"
        ))),
    }
}

/// Whether a balancer should send more requests here.
pub(crate) fn ready(registry: &Registry) -> Answer {
    if registry.is_draining() {
        return json(StatusCode::SERVICE_UNAVAILABLE, r#"{"state":"draining"}"#);
    }
    match registry.storage.is_there() {
        Ok(()) => json(StatusCode::OK, r#"{"state":"ready"}"#),
        Err(error) => {
            tracing::warn!(%error, "the storage is not there");
            json(StatusCode::SERVICE_UNAVAILABLE, r#"{"state":"no storage"}"#)
        }
    }
}

fn refused(refusal: &Refusal) -> Answer {
    let mut answer = json(refusal.status, refusal.body());
    let headers = answer.headers_mut();
    if let Some(value) = refusal
        .challenge
        .as_deref()
        .and_then(|text| HeaderValue::from_str(text).ok())
    {
        headers.insert(header::WWW_AUTHENTICATE, value);
    }
    if let Some(offset) = refusal.offset {
        headers.insert(header::RANGE, range(offset));
    }
    if let Some(seconds) = refusal.retry_after {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    answer
}

/// An answer with a JSON document.
pub(crate) fn json(status: StatusCode, document: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(body::full(document));
    *answer.status_mut() = status;
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    answer
}

/// An answer without a body.
pub(crate) fn bare(status: StatusCode) -> Answer {
    let mut answer = Response::new(body::empty());
    *answer.status_mut() = status;
    answer
}

/// The value of a header made of characters that headers may have.
pub(crate) fn value(text: impl Into<String>) -> HeaderValue {
    HeaderValue::try_from(text.into()).unwrap_or(HeaderValue::from_static(""))
}

/// What an upload has, `0-<last byte>`; nothing yet is `0-0`, as clients expect.
pub(crate) fn range(offset: u64) -> HeaderValue {
    value(format!("0-{}", offset.saturating_sub(1)))
}

/// Adds what names a piece of content: its digest, which is its entity tag too.
pub(crate) fn named(mut answer: Answer, digest: Digest) -> Answer {
    let headers = answer.headers_mut();
    headers.insert("docker-content-digest", value(digest.to_string()));
    headers.insert(header::ETAG, value(format!("\"{digest}\"")));
    answer
}

/// Whether the client says it has this content already (`If-None-Match`).
pub(crate) fn is_known(call: &Call, digest: Digest) -> bool {
    let known = call.header(header::IF_NONE_MATCH).unwrap_or_default();
    let text = digest.to_string();
    known.split(',').any(|tag| {
        let tag = tag.trim().trim_start_matches("W/").trim_matches('"');
        tag == text || tag == "*"
    })
}

/// The path of an upload.
pub(crate) fn upload_path(name: &Repository, id: &UploadId) -> HeaderValue {
    value(format!("/v2/{name}/blobs/uploads/{id}"))
}
