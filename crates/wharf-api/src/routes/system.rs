//! The engine itself: ping, version, info, events, disk usage.

use std::io;

use futures_util::StreamExt;
use http::header::{CACHE_CONTROL, HeaderName, HeaderValue, PRAGMA};
use http::{Method, StatusCode};
use wharf_wire::query::QueryError;
use wharf_wire::{EventsQuery, Filters};

use crate::answer::{Answer, Failure, json, json_stream, line, typed};
use crate::body::Body;
use crate::call::{Call, blocking};
use crate::dialect;
use crate::router::{Route, route};

pub(super) const ROUTES: &[Route] = &[
    route!(GET "/_ping" since (1, 24) => ping),
    route!(HEAD "/_ping" since (1, 24) => ping),
    route!(GET "/version" since (1, 24) => version),
    route!(GET "/info" since (1, 24) => info),
    route!(GET "/events" since (1, 24) => events),
    route!(GET "/system/df" since (1, 25) => disk_usage),
    route!(POST "/networks/prune" since (1, 25) => networks_prune),
    route!(POST "/build/prune" since (1, 31) => build_prune),
];

async fn ping(call: Call) -> Result<Answer, Failure> {
    let body = if *call.request.method() == Method::HEAD {
        Body::empty()
    } else {
        Body::full("OK")
    };
    let mut answer = typed(
        StatusCode::OK,
        HeaderValue::from_static("text/plain; charset=utf-8"),
        body,
    );
    let headers = answer.headers_mut();
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-store, must-revalidate"),
    );
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(
        HeaderName::from_static("builder-version"),
        HeaderValue::from_static("1"),
    );
    headers.insert(
        HeaderName::from_static("swarm"),
        HeaderValue::from_static("inactive"),
    );
    Ok(answer)
}

async fn version(call: Call) -> Result<Answer, Failure> {
    Ok(json(&call.engine.version()))
}

async fn info(call: Call) -> Result<Answer, Failure> {
    Ok(json(&dialect::info(call.version, &call.engine.info())))
}

async fn events(call: Call) -> Result<Answer, Failure> {
    let events = call.engine.events(&EventsQuery::read(&call.query)?)?;
    Ok(json_stream(Body::endless(
        events.map(|event| line(&event).map_err(io::Error::other)),
    )))
}

async fn networks_prune(call: Call) -> Result<Answer, Failure> {
    let filters =
        Filters::parse(call.query.get("filters").unwrap_or_default()).map_err(QueryError::from)?;
    Ok(json(&call.engine.networks_prune(&filters)?))
}

async fn build_prune(call: Call) -> Result<Answer, Failure> {
    let filters =
        Filters::parse(call.query.get("filters").unwrap_or_default()).map_err(QueryError::from)?;
    Ok(json(&call.engine.build_prune(&filters)?))
}

async fn disk_usage(call: Call) -> Result<Answer, Failure> {
    let engine = call.engine.clone();
    // Not Docker's: accounts for every byte below the data root.
    if call.query.flag("verify") {
        let report = blocking("verify the data root", move || Ok(engine.verify()?)).await?;
        return Ok(json(&report));
    }
    let kinds = call.query.all("type");
    let known = ["container", "image", "volume", "build-cache"];
    if let Some(kind) = kinds.iter().find(|kind| !known.contains(&kind.as_str())) {
        return Err(Failure::invalid(format!("unknown object type: {kind}")));
    }
    let mut usage = blocking("measure disk usage", move || Ok(engine.disk_usage()?)).await?;
    let asked = |kind: &str| kinds.is_empty() || kinds.iter().any(|asked| asked == kind);
    if !asked("image") {
        usage.images.clear();
        usage.layers_size = 0;
    }
    if !asked("container") {
        usage.containers.clear();
    }
    if !asked("volume") {
        usage.volumes.clear();
    }
    if !asked("build-cache") {
        usage.build_cache.clear();
    }
    Ok(json(&usage))
}
