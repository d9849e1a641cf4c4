//! Search, by the first version of the registry API, which all clients still use.

use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode};
use serde::Deserialize;
use wharf_types::DEFAULT_DOMAIN;

use crate::address::{Origin, encode};
use crate::auth;
use crate::client::Inner;
use crate::credentials::Credentials;
use crate::error::{AnswerFault, Error};
use crate::exchange::{self, Ask};
use crate::hosts::{Capabilities, Endpoint, Endpoints};
use crate::refusal::harmless;

/// Where Docker Hub is searched.
const DOCKER_INDEX: &str = "index.docker.io";
/// Most results, Docker's figure.
const LIMIT_MAX: u32 = 100;
/// How many are asked for when the caller does not say.
const LIMIT_DEFAULT: u32 = 25;
/// Most bytes of an answer.
const ANSWER_MAX: usize = 4 * 1024 * 1024;

/// An image that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SearchResult {
    /// Its name.
    pub name: String,
    /// What it is.
    #[serde(deserialize_with = "null_as_empty")]
    pub description: String,
    /// How many people starred it.
    pub star_count: i64,
    /// Whether it is an official image.
    pub is_official: bool,
    /// Whether it is built by the index; obsolete, always false at Docker's.
    pub is_automated: bool,
}

#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    results: Option<Vec<SearchResult>>,
}

fn null_as_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.unwrap_or_default())
}

pub(crate) async fn search(
    client: &Arc<Inner>,
    index: &str,
    term: &str,
    limit: u32,
    credentials: &Credentials,
) -> Result<Vec<SearchResult>, Error> {
    let endpoint = endpoint(client, index).await?;
    let limit = if limit == 0 { LIMIT_DEFAULT } else { limit };
    let path = format!("/search?q={}&n={}", encode(term), limit.min(LIMIT_MAX));
    let scopes = auth::Scopes::new();
    let ask = Ask::new(Method::GET, &path, &scopes);
    let header = match credentials.basic_header() {
        Some(header) => Some(auth::secret(&header).map_err(|reason| Error::Request {
            method: Method::GET,
            url: endpoint.origin.to_string(),
            reason,
        })?),
        None => None,
    };
    let mut answer = exchange::send_as(client, &endpoint, &ask, header.as_ref()).await?;
    if answer.status != StatusCode::OK {
        return Err(Error::Refused(answer.refusal(client).await));
    }
    let fault = |fault| Error::Answer {
        endpoint: endpoint.name(),
        fault,
    };
    let bytes = answer
        .read(client, ANSWER_MAX)
        .await?
        .ok_or_else(|| fault(AnswerFault::TooLong(ANSWER_MAX)))?;
    let found: Found = serde_json::from_slice(&bytes)
        .map_err(|error| fault(AnswerFault::Document(harmless(&error.to_string()))))?;
    let most = usize::try_from(limit.min(LIMIT_MAX)).unwrap_or(usize::MAX);
    Ok(found
        .results
        .unwrap_or_default()
        .into_iter()
        .take(most)
        .map(|result| SearchResult {
            name: harmless(&result.name),
            description: harmless(&result.description),
            ..result
        })
        .collect())
}

/// The index of a registry: at its host, below another prefix.
async fn endpoint(client: &Arc<Inner>, index: &str) -> Result<Endpoint, Error> {
    let endpoints = Endpoints::find(client, index, &Credentials::None).await?;
    let mut endpoint = Endpoint::clone(endpoints.registry());
    if index == DEFAULT_DOMAIN
        && let Some(origin) = Origin::parse(DOCKER_INDEX, true)
    {
        endpoint.origin = origin;
    }
    "/v1".clone_into(&mut endpoint.prefix);
    endpoint.headers = HeaderMap::new();
    endpoint.can = Capabilities::NONE;
    Ok(endpoint)
}
