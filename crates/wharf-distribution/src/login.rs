//! Logging in: whether credentials are good, and what to keep in the place of a password.

use std::sync::Arc;

use http::{Method, StatusCode};

use crate::auth::{self, AuthError, Demand, Scopes};
use crate::client::{Inner, LoggedIn};
use crate::credentials::Credentials;
use crate::error::{Error, RequestError};
use crate::exchange::{self, Ask};
use crate::hosts::Endpoints;

/// The path below the prefix that every registry has, and answers to whom it knows.
const PING: &str = "/";

pub(crate) async fn login(
    client: &Arc<Inner>,
    registry: &str,
    credentials: &Credentials,
) -> Result<LoggedIn, Error> {
    // Docker's command line keeps Docker Hub's credentials under this address.
    let registry = match registry
        .trim_start_matches("https://")
        .trim_end_matches('/')
    {
        "index.docker.io/v1" | "index.docker.io" | "registry-1.docker.io" => "docker.io",
        _ => registry,
    };
    let endpoints = Endpoints::find(client, registry, credentials).await?;
    let endpoint = endpoints.registry();
    let scopes = Scopes::new();
    let ask = Ask::new(Method::GET, PING, &scopes);
    let mut answer = exchange::send_as(client, endpoint, &ask, None).await?;
    let failed = |reason| answer.failed(reason);
    let demand = Demand::of(&answer.challenges(), endpoint).map_err(failed)?;
    let mut logged_in = LoggedIn::default();
    let header = match (answer.status, demand) {
        // A registry for everybody: it has nothing to check.
        (StatusCode::OK, _) => return Ok(logged_in),
        (StatusCode::UNAUTHORIZED, Some(Demand::Bearer(realm))) => {
            let issued = auth::fetch(client, endpoint, &realm, &scopes, true)
                .await
                .map_err(|error| match error {
                    AuthError::Whole(error) => error,
                    AuthError::Reason(reason) => failed(reason),
                })?;
            let header = issued.header().clone();
            logged_in.identity_token = issued.refresh_token;
            header
        }
        (StatusCode::UNAUTHORIZED, Some(Demand::Basic)) => {
            let header = credentials
                .basic_header()
                .ok_or_else(|| failed(RequestError::NoCredentials))?;
            auth::secret(&header).map_err(failed)?
        }
        _ => {
            let refusal = answer.refusal(client).await;
            return Err(answer.failed(RequestError::Token(refusal)));
        }
    };
    let mut answer = exchange::send_as(client, endpoint, &ask, Some(&header)).await?;
    if answer.status.is_success() {
        return Ok(logged_in);
    }
    let refusal = answer.refusal(client).await;
    let failed = answer.failed(RequestError::Token(refusal));
    match failed {
        Error::Request {
            url,
            reason: RequestError::Token(refusal),
            ..
        } => Err(Error::NotLetIn { url, refusal }),
        failed => Err(failed),
    }
}
