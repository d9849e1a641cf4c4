//! A request to an endpoint, until there is an answer worth reading: proofs, redirects, and trying again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, LOCATION, RETRY_AFTER, USER_AGENT,
    WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use hyper::body::Incoming;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::Instant;

use crate::address::{self, Origin};
use crate::auth::{self, AuthError, Demand, Scopes};
use crate::challenge::{self, Challenge};
use crate::client::Inner;
use crate::credentials::Credentials;
use crate::error::{Error, RedirectFault, RequestError, TlsError};
use crate::hosts::Endpoint;
use crate::refusal::{self, Refusal};
use crate::transport::{self, Body, Failed, Sent};
use crate::upload::{Progress, Source};

/// Most redirects that are followed, Go's figure.
const REDIRECTS_MAX: usize = 10;
/// How often a mirror is tried: there is somebody else to ask.
const MIRROR_TRIES: u32 = 2;
/// How long it is remembered that a host speaks plain HTTP.
const PLAIN_REMEMBERED: Duration = Duration::from_secs(600);
/// Most hosts of which that is remembered.
const PLAIN_MAX: usize = 256;

/// A request.
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    pub(crate) to: To<'a>,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload<'a>,
    /// What the request does, for a token that allows it.
    pub(crate) scopes: &'a Scopes,
    /// Whether it may be sent again when nobody knows what became of it.
    pub(crate) repeat: bool,
    /// How long the server may think, when longer than usual.
    pub(crate) patience: Option<Duration>,
}

/// Where to.
#[derive(Clone, Copy)]
pub(crate) enum To<'a> {
    /// A path below the endpoint's prefix.
    Path(&'a str),
    /// What an endpoint named as a place, possibly at another host.
    Address(&'a Uri),
}

/// What goes along.
pub(crate) enum Payload<'a> {
    None,
    Bytes(Bytes),
    Stream {
        source: &'a dyn Source,
        offset: u64,
        length: u64,
        progress: Progress,
        /// Where an error of the source is left, which HTTP knows no way to tell.
        fault: SourceFault,
    },
}

/// Where an error of a source is left.
pub(crate) type SourceFault = Arc<Mutex<Option<std::io::Error>>>;

/// An answer, its body still on the way.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Incoming,
    /// Who answered in the end.
    pub(crate) address: Uri,
    method: Method,
}

/// Hosts that were found to speak plain HTTP, so that they are not asked for TLS each time.
#[derive(Debug, Default)]
pub(crate) struct PlainHosts(Mutex<HashMap<String, Instant>>);

impl PlainHosts {
    fn knows(&self, origin: &Origin) -> bool {
        let hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hosts
            .get(&origin.authority())
            .is_some_and(|until| *until > Instant::now())
    }

    fn note(&self, origin: &Origin) {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if hosts.len() >= PLAIN_MAX {
            hosts.clear();
        }
        hosts.insert(origin.authority(), Instant::now() + PLAIN_REMEMBERED);
    }

    fn forget(&self, origin: &Origin) {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.remove(&origin.authority());
    }
}

impl<'a> Ask<'a> {
    /// A request without a body.
    pub(crate) fn new(method: Method, path: &'a str, scopes: &'a Scopes) -> Self {
        Self {
            method,
            to: To::Path(path),
            headers: HeaderMap::new(),
            payload: Payload::None,
            scopes,
            repeat: true,
            patience: None,
        }
    }

    /// Adds a header.
    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }
}

impl Answer {
    /// Returns a header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns how long the body is, as the head says.
    pub(crate) fn length(&self) -> Option<u64> {
        self.header(CONTENT_LENGTH.as_str())?.parse().ok()
    }

    /// Returns the challenges.
    pub(crate) fn challenges(&self) -> Vec<Challenge> {
        challenge::parse(
            self.headers
                .get_all(WWW_AUTHENTICATE)
                .iter()
                .filter_map(|value| value.to_str().ok()),
        )
    }

    /// Reads the body; nothing when it is longer than `max`.
    pub(crate) async fn read(
        &mut self,
        client: &Inner,
        max: usize,
    ) -> Result<Option<Bytes>, Error> {
        transport::read_all(&mut self.body, max, client.settings.limits.idle)
            .await
            .map_err(|reason| self.failed(reason))
    }

    /// Reads what the registry says about a failure.
    pub(crate) async fn refusal(&mut self, client: &Inner) -> Refusal {
        // A body that does not come says as little as one that is not there.
        let body = match self.read(client, refusal::BODY_MAX).await {
            Ok(body) => body.unwrap_or_default(),
            Err(_) => Bytes::new(),
        };
        Refusal::read(self.status, &self.challenges(), &body)
    }

    /// Says that the body broke off.
    pub(crate) fn failed(&self, reason: RequestError) -> Error {
        Error::Request {
            method: self.method.clone(),
            url: address::shown(&self.address),
            reason,
        }
    }

    /// Reads what is left of a short body, so that the connection can be used again.
    async fn finish(mut self, client: &Inner) {
        drop(self.read(client, refusal::BODY_MAX).await);
    }
}

/// Sends a request with what proves who asks, and again where that makes sense.
pub(crate) async fn send(
    client: &Arc<Inner>,
    endpoint: &Endpoint,
    ask: &Ask<'_>,
) -> Result<Answer, Error> {
    repeated(client, endpoint, ask, Proof::Found).await
}

/// Sends a request with a proof of the caller's own.
pub(crate) async fn send_as(
    client: &Arc<Inner>,
    endpoint: &Endpoint,
    ask: &Ask<'_>,
    authorization: Option<&HeaderValue>,
) -> Result<Answer, Error> {
    repeated(client, endpoint, ask, Proof::Given(authorization)).await
}

#[derive(Clone, Copy)]
enum Proof<'a> {
    Given(Option<&'a HeaderValue>),
    Found,
}

async fn repeated(
    client: &Arc<Inner>,
    endpoint: &Endpoint,
    ask: &Ask<'_>,
    proof: Proof<'_>,
) -> Result<Answer, Error> {
    let limits = &client.settings.limits;
    let tries = if endpoint.is_registry {
        limits.tries
    } else {
        limits.tries.min(MIRROR_TRIES)
    };
    let mut tried = 0;
    loop {
        let result = match proof {
            Proof::Given(authorization) => follow(client, endpoint, ask, authorization).await,
            // A token server's own request comes by here too: boxed, because that is a circle.
            Proof::Found => Box::pin(authorized(client, endpoint, ask)).await,
        };
        tried += 1;
        if !ask.repeat || tried >= tries {
            return result;
        }
        let pause = match &result {
            Ok(answer) if is_passing(answer.status) => match wanted_pause(&answer.headers) {
                Some(wanted) if wanted > limits.longest_retry_after => return result,
                Some(wanted) => wanted,
                None => pause(client, tried),
            },
            Err(Error::Request { reason, .. }) if reason.is_passing() => pause(client, tried),
            _ => return result,
        };
        if let Ok(answer) = result {
            answer.finish(client).await;
        }
        tokio::time::sleep(pause).await;
    }
}

/// Whether a status is one that may be another the next time.
fn is_passing(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// How long to wait after so many failures: twice as long each time, a quarter of it by chance, so that
/// many clients do not come back at the same moment.
pub(crate) fn pause(client: &Inner, failures: u32) -> Duration {
    let limits = &client.settings.limits;
    let full = limits
        .first_pause
        .saturating_mul(1 << failures.saturating_sub(1).min(16))
        .min(limits.longest_pause);
    let mut chance = [0];
    if SystemRandom::new().fill(&mut chance).is_err() {
        return full;
    }
    full - full.mul_f64(0.25 * f64::from(chance[0]) / 255.0)
}

/// `Retry-After`: seconds or a date.
fn wanted_pause(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    let seconds = date.timestamp().as_second() - jiff::Timestamp::now().as_second();
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// Sends a request with the proof the endpoint wanted before, and answers what it wants now.
async fn authorized(
    client: &Arc<Inner>,
    endpoint: &Endpoint,
    ask: &Ask<'_>,
) -> Result<Answer, Error> {
    let failed = |error: AuthError| match error {
        AuthError::Whole(error) => error,
        AuthError::Reason(reason) => Error::Request {
            method: ask.method.clone(),
            url: address::shown(&place(client, endpoint, ask.to).1),
            reason,
        },
    };
    let mut shown = match &endpoint.credentials {
        Credentials::RegistryToken(token) => {
            Some(auth::secret(&format!("Bearer {token}")).map_err(|reason| failed(reason.into()))?)
        }
        _ => match client.tokens.demand(endpoint) {
            Some(demand) => auth::header(client, endpoint, &demand, ask.scopes, None)
                .await
                .map_err(failed)?,
            None => None,
        },
    };
    let answer = follow(client, endpoint, ask, shown.as_ref()).await?;
    let refused_here = answer.status == StatusCode::UNAUTHORIZED
        && address::origin(&answer.address).is_some_and(|origin| is_own(endpoint, &origin));
    if !refused_here || matches!(endpoint.credentials, Credentials::RegistryToken(_)) {
        return Ok(answer);
    }
    let challenges = answer.challenges();
    let demand = Demand::of(&challenges, endpoint).map_err(|reason| failed(reason.into()))?;
    let Some(demand) = demand else {
        return Ok(answer);
    };
    client.tokens.note(endpoint, &demand);
    let scopes = with_demanded(ask.scopes, &challenges);
    let refused = shown.take();
    let header = auth::header(client, endpoint, &demand, &scopes, refused.as_ref())
        .await
        .map_err(failed)?;
    let Some(header) = header else {
        return Ok(answer);
    };
    answer.finish(client).await;
    follow(client, endpoint, ask, Some(&header)).await
}

/// The request's scopes, and those the registry says that it takes.
fn with_demanded(scopes: &Scopes, challenges: &[Challenge]) -> Scopes {
    let demanded = challenges
        .iter()
        .filter(|challenge| challenge.is("bearer"))
        .filter_map(|challenge| challenge.parameter("scope"))
        .flat_map(str::split_ascii_whitespace);
    let mut all = scopes.clone();
    for scope in demanded {
        // What one of ours covers is not asked for twice.
        if !all.iter().any(|own| covers(own, scope)) {
            all.insert(scope.to_owned());
        }
    }
    all
}

fn covers(own: &str, other: &str) -> bool {
    match (own.rsplit_once(':'), other.rsplit_once(':')) {
        (Some((resource, actions)), Some((wanted, needed))) => {
            resource == wanted
                && needed
                    .split(',')
                    .all(|action| actions.split(',').any(|own| own == action))
        }
        _ => own == other,
    }
}

/// Where a request goes first.
fn place(client: &Inner, endpoint: &Endpoint, to: To<'_>) -> (Origin, Uri) {
    let own = effective(client, endpoint);
    match to {
        To::Path(path) => {
            let uri = endpoint.uri(&own, path);
            (own, uri)
        }
        To::Address(address) => {
            let origin = address::origin(address).unwrap_or(own);
            (origin, address.clone())
        }
    }
}

/// The endpoint's origin, over plain HTTP when that is all it speaks.
fn effective(client: &Inner, endpoint: &Endpoint) -> Origin {
    if endpoint.insecure && endpoint.origin.secure && client.plain.knows(&endpoint.origin) {
        return endpoint.origin.with_secure(false);
    }
    endpoint.origin.clone()
}

/// Whether an origin is the endpoint's, and so may see what is meant for it.
pub(crate) fn is_own(endpoint: &Endpoint, origin: &Origin) -> bool {
    *origin == endpoint.origin
        || (endpoint.insecure && origin.with_secure(true) == endpoint.origin.with_secure(true))
}

/// Sends a request and follows where it is sent on to.
async fn follow(
    client: &Arc<Inner>,
    endpoint: &Endpoint,
    ask: &Ask<'_>,
    authorization: Option<&HeaderValue>,
) -> Result<Answer, Error> {
    let (mut origin, mut uri) = place(client, endpoint, ask.to);
    for _ in 0..=REDIRECTS_MAX {
        let answer = match once(client, endpoint, ask, (&origin, &uri), authorization).await {
            Err(error) if may_be_plain(endpoint, &origin, &error) => {
                let plain = origin.with_secure(false);
                let path = uri.path_and_query().map_or("/", |path| path.as_str());
                let address = plain.at(path).unwrap_or_else(|| uri.clone());
                let tried = once(client, endpoint, ask, (&plain, &address), authorization).await;
                match tried {
                    Ok(answer) => {
                        client.plain.note(&endpoint.origin);
                        Ok(answer)
                    }
                    // Nobody listens for either: Docker tells of the last.
                    Err(plain_error) if is_dial(&error) => Err(plain_error),
                    Err(_) => Err(error),
                }
            }
            Err(error) => {
                if !origin.secure && is_own(endpoint, &origin) {
                    client.plain.forget(&endpoint.origin);
                }
                Err(error)
            }
            answer => answer,
        }?;
        let is_read = matches!(ask.method, Method::GET | Method::HEAD);
        let Some(location) = redirect(&answer).filter(|_| is_read) else {
            return Ok(answer);
        };
        let refuse = |to: String, reason| answer.failed(RequestError::Redirect { to, reason });
        let Some((next_origin, next)) = address::join(&answer.address, location) else {
            return Err(refuse(refusal::harmless(location), RedirectFault::Invalid));
        };
        let from_secure = address::origin(&answer.address).is_some_and(|origin| origin.secure);
        if from_secure && !next_origin.secure && !is_own(endpoint, &next_origin) {
            return Err(refuse(address::shown(&next), RedirectFault::Downgrade));
        }
        answer.finish(client).await;
        (origin, uri) = (next_origin, next);
    }
    Err(Error::Request {
        method: ask.method.clone(),
        url: address::shown(&place(client, endpoint, ask.to).1),
        reason: RequestError::Redirect {
            to: address::shown(&uri),
            reason: RedirectFault::TooMany,
        },
    })
}

fn redirect(answer: &Answer) -> Option<&str> {
    matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308)
        .then(|| answer.header(LOCATION.as_str()))
        .flatten()
}

/// Whether plain HTTP is worth a try where TLS failed.
fn may_be_plain(endpoint: &Endpoint, origin: &Origin, error: &Error) -> bool {
    let Error::Request { reason, .. } = error else {
        return false;
    };
    endpoint.insecure
        && origin.secure
        && *origin == endpoint.origin
        && matches!(
            reason,
            RequestError::PlainAnswer
                | RequestError::Dial { .. }
                | RequestError::Tls(TlsError::Other(_))
        )
}

fn is_dial(error: &Error) -> bool {
    matches!(
        error,
        Error::Request {
            reason: RequestError::Dial { .. },
            ..
        }
    )
}

/// Sends a request to one place. What is meant for the endpoint goes along only there.
async fn once(
    client: &Arc<Inner>,
    endpoint: &Endpoint,
    ask: &Ask<'_>,
    (origin, uri): (&Origin, &Uri),
    authorization: Option<&HeaderValue>,
) -> Result<Answer, Error> {
    let own = is_own(endpoint, origin);
    let failed = |failed: Failed| match failed {
        Failed::Files(error) => *error,
        Failed::Request(reason) => {
            let (method, url) = if reason.is_about_connection() && !endpoint.prefix.is_empty() {
                // Docker asks for this first, so that is what people know.
                (Method::GET, format!("{origin}/v2/"))
            } else {
                (ask.method.clone(), address::shown(uri))
            };
            Error::Request {
                method,
                url,
                reason,
            }
        }
    };
    let sent = Sent::default();
    let body = body(ask, &sent).map_err(|error| {
        if let Payload::Stream { fault, .. } = &ask.payload {
            *fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
        failed(Failed::Request(RequestError::Broken(
            "the source cannot be read".to_owned(),
        )))
    })?;
    let mut request = Request::new(body);
    *request.method_mut() = ask.method.clone();
    *request.uri_mut() = uri.clone();
    let headers = request.headers_mut();
    headers.insert(USER_AGENT, client.user_agent.clone());
    // A blob is what its digest says; nothing on the way packs it again.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.extend(ask.headers.clone());
    if own {
        headers.extend(endpoint.headers.clone());
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
    }
    let trusted = if own {
        endpoint.trusted.clone()
    } else {
        endpoint.trusted.for_others()
    };
    let patience = ask.patience.unwrap_or(client.settings.limits.answer);
    let response = client
        .transport
        .round_trip(client, &trusted, request, &sent, patience)
        .await
        .map_err(failed)?;
    let (head, body) = response.into_parts();
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body,
        address: uri.clone(),
        method: ask.method.clone(),
    })
}

fn body(ask: &Ask<'_>, sent: &Sent) -> std::io::Result<Body> {
    match &ask.payload {
        Payload::None => Ok(transport::empty()),
        Payload::Bytes(bytes) => Ok(transport::full(bytes.clone())),
        Payload::Stream {
            source,
            offset,
            length,
            progress,
            fault,
        } => {
            let chunks = crate::upload::noting(source.open(*offset)?, Arc::clone(fault));
            let progress = Arc::clone(progress);
            Ok(transport::streamed(
                chunks,
                *offset,
                *length,
                sent.clone(),
                progress,
            ))
        }
    }
}
