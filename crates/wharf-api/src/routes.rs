//! The routes: a table for each resource, and what is the same for all of them.
//!
//! A function of a route does three things: it decodes the request, calls one method of the engine, and encodes what
//! that returns. What the API means is the engine's business.

mod archive;
mod checkpoints;
mod containers;
mod exec;
mod images;
mod system;
mod volumes;

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use wharf_engine::Engine;
use wharf_wire::query::Query;

use crate::answer::{Answer, Failure, common_headers, empty, typed};
use crate::body::Body;
use crate::call::Call;
use crate::guard::{self, Reach};
use crate::link::Link;
use crate::router::{self, Found, Route};
use crate::version::VersionError;

/// Every route.
pub(crate) const TABLES: &[&[Route]] = &[
    system::ROUTES,
    containers::ROUTES,
    checkpoints::ROUTES,
    archive::ROUTES,
    exec::ROUTES,
    images::ROUTES,
    volumes::ROUTES,
];

/// Answers a request, whatever it is.
pub(crate) async fn answer(engine: Engine, request: Request<Incoming>) -> Answer {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let link = request.extensions().get::<Link>().cloned();
    let reach = link.as_ref().map_or(Reach::Local, Link::reach);
    let answered = match guard::check(reach, request.headers()) {
        Ok(()) => dispatch(engine, request).await,
        Err(refused) => Err(refused),
    };
    let mut answer = match answered {
        Ok(answer) => {
            tracing::debug!(%method, path, status = answer.status().as_u16(), "answered");
            answer
        }
        Err(refused) => {
            let (status, message) = (refused.status(), refused.message());
            if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED {
                tracing::error!(%method, path, status = status.as_u16(), message, "failed");
            } else {
                tracing::debug!(%method, path, status = status.as_u16(), message, "refused");
            }
            refused.into_answer()
        }
    };
    answer.headers_mut().extend(common_headers());
    match link {
        // hyper does not read while it answers: that nobody listens it would find when it writes, if it ever does.
        // Work that is not a stream goes on to its end, listened to or not.
        Some(link) => answer.map(|body| body.tied_to(link)),
        None => answer,
    }
}

async fn dispatch(engine: Engine, request: Request<Incoming>) -> Result<Answer, Failure> {
    if request.method() == Method::OPTIONS {
        return Ok(empty(StatusCode::OK));
    }
    let (route, version, params) = match router::find(request.method(), request.uri().path()) {
        Ok(Found::Route {
            route,
            version,
            params,
        }) => (route, version, params),
        Ok(Found::Unserved(row)) => {
            let (method, pattern) = (&row.method, row.pattern);
            return Err(Failure::not_implemented(format!(
                "{method} {pattern} is not supported by this engine yet"
            )));
        }
        Ok(Found::Nothing) => return Err(Failure::new(StatusCode::NOT_FOUND, "page not found")),
        // Clients this old expect bare text.
        Err(error @ VersionError::TooOld(_)) => {
            return Ok(typed(
                StatusCode::BAD_REQUEST,
                http::HeaderValue::from_static("text/plain; charset=utf-8"),
                Body::full(format!("{error}\n")),
            ));
        }
        Err(error @ VersionError::TooNew(_)) => return Err(Failure::invalid(error.to_string())),
    };
    if version < route.since {
        let (method, pattern, since) = (&route.method, route.pattern, route.since);
        let message =
            format!("{method} {pattern} requires API version {since}, but {version} was asked for");
        return Err(Failure::new(StatusCode::NOT_FOUND, message));
    }
    let query = Query::parse(request.uri().query().unwrap_or_default())?;
    (route.handler)(Call {
        engine,
        version,
        params,
        query,
        request,
    })
    .await
}
