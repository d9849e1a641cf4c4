//! Proofs: which one a registry wants, and tokens from the servers that registries name.
//!
//! Sources: the token authentication of the CNCF registry (`docs/spec/auth/{token,oauth,scope}.md`),
//! RFC 7617 for basic authentication.
//!
//! A registry names its token server itself, so what it names is not believed: a realm is asked over
//! https only, unless it is the registry, or the registry is one that need not prove who it is and the
//! realm is on the same footing (attack G8, CVE-2020-15157). That the realm is another host is usual:
//! Docker Hub's is `auth.docker.io`.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use serde::Deserialize;
use tokio::time::Instant;

use crate::address::{self, Origin, encode};
use crate::challenge::Challenge;
use crate::client::Inner;
use crate::credentials::Credentials;
use crate::error::{AnswerFault, Error, RealmFault, RequestError};
use crate::exchange::{Answer, Ask, Payload, To};
use crate::hosts::{Capabilities, Endpoint};
use crate::insecure::is_loopback;
use crate::refusal::Refusal;

/// Who this is to a token server. Identity tokens are issued to a client by its name, and those people
/// have were issued to Docker's.
const CLIENT_ID: &str = "docker";
/// Most bytes of a token server's answer.
const ANSWER_MAX: usize = 1024 * 1024;
/// How long a token holds that does not say, and at least, as Docker has it.
const LEAST_TIME: u64 = 60;
/// The longest that one is kept.
const MOST_TIME: u64 = 24 * 3600;
/// Most tokens kept.
const TOKENS_MAX: usize = 1024;
/// Most scopes that are asked for at once.
const SCOPES_MAX: usize = 16;

/// What may be done, as scopes say it: `repository:library/debian:pull`.
pub(crate) type Scopes = BTreeSet<String>;

/// What a registry wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Demand {
    /// Name and password.
    Basic,
    /// A token of this server.
    Bearer(Realm),
}

/// A token server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Realm {
    origin: Origin,
    address: Uri,
    service: String,
}

/// What is known of registries' demands, and the tokens at hand.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    demands: Mutex<HashMap<Origin, Demand>>,
    kept: Mutex<HashMap<Key, Arc<Slot>>>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    realm: Realm,
    scopes: Scopes,
    who: [u8; 32],
}

/// A token that is there or being fetched: who wants it too waits.
type Slot = tokio::sync::Mutex<Option<Token>>;

struct Token {
    header: HeaderValue,
    until: Instant,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
    #[serde(default)]
    refresh_token: Option<String>,
}

/// What a token server gave.
pub(crate) struct Issued {
    token: Token,
    /// What to log in with from now on.
    pub(crate) refresh_token: Option<String>,
}

impl Demand {
    /// Returns what the challenges of an endpoint's answer demand: a token where that is possible.
    pub(crate) fn of(
        challenges: &[Challenge],
        endpoint: &Endpoint,
    ) -> Result<Option<Self>, RequestError> {
        let mut refused = None;
        for challenge in challenges.iter().filter(|one| one.is("bearer")) {
            let Some(realm) = challenge.parameter("realm") else {
                continue;
            };
            match realm_of(realm, endpoint) {
                Ok((origin, address)) => {
                    return Ok(Some(Self::Bearer(Realm {
                        origin,
                        address,
                        service: challenge
                            .parameter("service")
                            .unwrap_or_default()
                            .to_owned(),
                    })));
                }
                Err(reason) => {
                    refused = Some(RequestError::Realm {
                        realm: crate::refusal::harmless(realm),
                        reason,
                    });
                }
            }
        }
        if challenges.iter().any(|challenge| challenge.is("basic")) {
            return Ok(Some(Self::Basic));
        }
        refused.map_or(Ok(None), Err)
    }
}

/// Whether a realm may be asked; see the module.
fn realm_of(realm: &str, endpoint: &Endpoint) -> Result<(Origin, Uri), RealmFault> {
    let (origin, address) = address::parse(realm).ok_or(RealmFault::Invalid)?;
    let same_host = origin.host == endpoint.origin.host;
    let endpoint_is_plain = !endpoint.origin.secure || endpoint.insecure;
    let both_local = is_loopback(&origin.host) && is_loopback(&endpoint.origin.host);
    if origin.secure || (endpoint_is_plain && (same_host || both_local)) {
        return Ok((origin, address));
    }
    Err(RealmFault::Plain)
}

impl Tokens {
    /// Notes what an endpoint demands.
    pub(crate) fn note(&self, endpoint: &Endpoint, demand: &Demand) {
        let mut demands = lock(&self.demands);
        if demands.len() >= TOKENS_MAX {
            demands.clear();
        }
        demands.insert(endpoint.origin.clone(), demand.clone());
    }

    /// Returns what an endpoint demanded before.
    pub(crate) fn demand(&self, endpoint: &Endpoint) -> Option<Demand> {
        lock(&self.demands).get(&endpoint.origin).cloned()
    }

    /// Returns the slot of a token.
    fn slot(&self, key: Key) -> Arc<Slot> {
        let mut kept = lock(&self.kept);
        if kept.len() >= TOKENS_MAX {
            let now = Instant::now();
            kept.retain(|_, slot| match slot.try_lock() {
                Ok(token) => token.as_ref().is_some_and(|token| token.until > now),
                Err(_) => true,
            });
            if kept.len() >= TOKENS_MAX {
                kept.clear();
            }
        }
        Arc::clone(kept.entry(key).or_default())
    }
}

/// Returns what to send in `Authorization` to an endpoint that demands this; nothing when nothing can
/// be shown that was not refused already.
pub(crate) async fn header(
    client: &Arc<Inner>,
    endpoint: &Endpoint,
    demand: &Demand,
    scopes: &Scopes,
    refused: Option<&HeaderValue>,
) -> Result<Option<HeaderValue>, AuthError> {
    let found = match demand {
        Demand::Basic => {
            let header = endpoint
                .credentials
                .basic_header()
                .ok_or(RequestError::NoCredentials)?;
            Some(secret(&header)?)
        }
        Demand::Bearer(realm) => Some(token(client, endpoint, realm, scopes, refused).await?),
    };
    Ok(found.filter(|header| Some(header) != refused))
}

/// Why there is no proof: of the registry's request, or with an address of its own.
pub(crate) enum AuthError {
    /// The registry's request is told to have failed.
    Reason(RequestError),
    /// The request to the token server failed.
    Whole(Error),
}

impl From<RequestError> for AuthError {
    fn from(reason: RequestError) -> Self {
        Self::Reason(reason)
    }
}

async fn token(
    client: &Arc<Inner>,
    endpoint: &Endpoint,
    realm: &Realm,
    scopes: &Scopes,
    refused: Option<&HeaderValue>,
) -> Result<HeaderValue, AuthError> {
    let slot = client.tokens.slot(Key {
        realm: realm.clone(),
        scopes: scopes.clone(),
        who: endpoint.credentials.fingerprint(),
    });
    let mut slot = slot.lock().await;
    if let Some(token) = &*slot
        && token.until > Instant::now()
        && Some(&token.header) != refused
    {
        return Ok(token.header.clone());
    }
    let issued = fetch(client, endpoint, realm, scopes, false).await?;
    let header = issued.token.header.clone();
    *slot = Some(issued.token);
    Ok(header)
}

/// Asks a token server.
pub(crate) async fn fetch(
    client: &Arc<Inner>,
    endpoint: &Endpoint,
    realm: &Realm,
    scopes: &Scopes,
    for_login: bool,
) -> Result<Issued, AuthError> {
    // As any host: with the authorities of the registry, without what it alone is shown.
    let server = Endpoint {
        origin: realm.origin.clone(),
        prefix: String::new(),
        stands_for: None,
        trusted: if realm.origin == endpoint.origin {
            endpoint.trusted.clone()
        } else {
            endpoint.trusted.for_others()
        },
        insecure: false,
        credentials: Credentials::None,
        headers: HeaderMap::new(),
        is_registry: true,
        can: Capabilities::NONE,
    };
    let (ask_method, address, payload, mut headers) = match &endpoint.credentials {
        Credentials::IdentityToken(identity) => {
            let form = refresh_form(realm, scopes, identity);
            let payload = Payload::Bytes(Bytes::from(form));
            (Method::POST, realm.address.clone(), payload, form_headers())
        }
        credentials => {
            let address = query(realm, scopes, credentials, for_login)
                .ok_or_else(|| fault(realm, AnswerFault::Header("WWW-Authenticate")))?;
            let mut headers = HeaderMap::new();
            if let Some(header) = credentials.basic_header() {
                headers.insert(AUTHORIZATION, secret(&header)?);
            }
            (Method::GET, address, Payload::None, headers)
        }
    };
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let authorization = headers.remove(AUTHORIZATION);
    let ask = Ask {
        method: ask_method,
        to: To::Address(&address),
        headers,
        payload,
        scopes: &Scopes::new(),
        repeat: true,
        patience: None,
    };
    let answer = crate::exchange::send_as(client, &server, &ask, authorization.as_ref())
        .await
        .map_err(AuthError::Whole)?;
    read(client, realm, answer).await
}

async fn read(client: &Arc<Inner>, realm: &Realm, mut answer: Answer) -> Result<Issued, AuthError> {
    let status = answer.status;
    let body = answer
        .read(client, ANSWER_MAX)
        .await
        .map_err(AuthError::Whole)?;
    if !status.is_success() {
        let body = body.unwrap_or_default();
        let challenges = answer.challenges();
        let refusal = match Refusal::read(status, &challenges, &body) {
            // A token server that says no and nothing else.
            refusal if refusal.code().is_empty() && status == StatusCode::BAD_REQUEST => {
                Refusal::of(status, "UNAUTHORIZED", "authentication required")
            }
            refusal => refusal,
        };
        return Err(RequestError::Token(refusal).into());
    }
    let body = body.ok_or_else(|| fault(realm, AnswerFault::TooLong(ANSWER_MAX)))?;
    let parsed: TokenAnswer = serde_json::from_slice(&body).map_err(|error| {
        // The text of a JSON error has none of the document but what it stands at.
        fault(
            realm,
            AnswerFault::Document(crate::refusal::harmless(&error.to_string())),
        )
    })?;
    let token = parsed
        .token
        .filter(|token| !token.is_empty())
        .or(parsed.access_token)
        .filter(|token| !token.is_empty())
        .ok_or_else(|| {
            fault(
                realm,
                AnswerFault::Document(
                    "authorization server did not include a token in the response".to_owned(),
                ),
            )
        })?;
    let seconds = parsed
        .expires_in
        .unwrap_or(LEAST_TIME)
        .clamp(LEAST_TIME, MOST_TIME);
    Ok(Issued {
        token: Token {
            header: secret(&format!("Bearer {token}"))?,
            // A token that ends while the request is on its way would cost a round trip.
            until: Instant::now() + Duration::from_secs(seconds * 9 / 10),
        },
        refresh_token: parsed.refresh_token.filter(|token| !token.is_empty()),
    })
}

impl Issued {
    /// Returns what to send in `Authorization`.
    pub(crate) fn header(&self) -> &HeaderValue {
        &self.token.header
    }
}

/// A header value that is not shown.
pub(crate) fn secret(text: &str) -> Result<HeaderValue, RequestError> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| RequestError::Broken("credentials that no header can hold".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn fault(realm: &Realm, fault: AnswerFault) -> RequestError {
    RequestError::TokenAnswer {
        realm: address::shown(&realm.address),
        fault,
    }
}

fn query(
    realm: &Realm,
    scopes: &Scopes,
    credentials: &Credentials,
    for_login: bool,
) -> Option<Uri> {
    let mut text = realm.address.path_and_query()?.as_str().to_owned();
    let mut separator = if text.contains('?') { '&' } else { '?' };
    let mut add = |name: &str, value: &str| {
        text.push(separator);
        text.push_str(name);
        text.push('=');
        text.push_str(&encode(value));
        separator = '&';
    };
    if let Some(name) = credentials.username() {
        add("account", name);
    }
    if for_login {
        add("client_id", CLIENT_ID);
        add("offline_token", "true");
    }
    if !realm.service.is_empty() {
        add("service", &realm.service);
    }
    for scope in scopes.iter().take(SCOPES_MAX) {
        add("scope", scope);
    }
    realm.origin.at(&text)
}

fn refresh_form(realm: &Realm, scopes: &Scopes, identity: &str) -> String {
    let scopes: Vec<&str> = scopes.iter().take(SCOPES_MAX).map(String::as_str).collect();
    format!(
        "grant_type=refresh_token&client_id={CLIENT_ID}&service={}&scope={}&refresh_token={}",
        encode(&realm.service),
        encode(&scopes.join(" ")),
        encode(identity)
    )
}

fn form_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/x-www-form-urlencoded"),
    );
    headers
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
