//! One request and its answer, over connections that are kept.
//!
//! HTTP/1.1 alone: every registry speaks it, and layers that come in parallel come faster over
//! connections of their own than as streams that share one window.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::{HeaderValue, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::OnceCell;

use crate::address;
use crate::client::Inner;
use crate::dial::Dialer;
use crate::error::{Error, RequestError};
use crate::tls::{self, Trusted};
use crate::upload::{Chunks, Progress};

/// How long an idle connection is kept. Servers close theirs after 60 s or later.
const KEPT_IDLE: Duration = Duration::from_secs(30);
/// Most idle connections kept to one host.
const KEPT_COUNT: usize = 8;
/// Most kinds of trust whose connections are kept.
const POOLS_MAX: usize = 64;

/// The body of a request.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Connections that are kept, by whom they trust.
#[derive(Default)]
pub(crate) struct Transport {
    pools: Mutex<HashMap<Trusted, Pool<Dialer, Body>>>,
    roots: OnceCell<Arc<rustls::RootCertStore>>,
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Transport")
    }
}

/// Counts what has gone out of a body, so that a long one is not taken for a silent server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sent(Arc<AtomicU64>);

impl Transport {
    /// Sends a request to where its address says and returns the answer's head.
    ///
    /// `patience` is how long nothing may happen: no byte of the request leaves and no answer comes.
    pub(crate) async fn round_trip(
        &self,
        client: &Arc<Inner>,
        trusted: &Trusted,
        mut request: Request<Body>,
        sent: &Sent,
        patience: Duration,
    ) -> Result<Response<Incoming>, Failed> {
        let pool = self.pool(client, trusted).await?;
        prepare(client, &mut request);
        let mut answer = pool.request(request);
        loop {
            let before = sent.0.load(Ordering::Relaxed);
            match tokio::time::timeout(patience, &mut answer).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) => return Err(Failed::Request(explain(&error))),
                Err(_) if sent.0.load(Ordering::Relaxed) == before => {
                    return Err(Failed::Request(RequestError::Timeout));
                }
                Err(_) => {}
            }
        }
    }

    async fn pool(
        &self,
        client: &Arc<Inner>,
        trusted: &Trusted,
    ) -> Result<Pool<Dialer, Body>, Failed> {
        if let Some(pool) = self.lock().get(trusted) {
            return Ok(pool.clone());
        }
        let roots = self.roots(client).await;
        let wanted = trusted.clone();
        let made = tokio::task::spawn_blocking(move || {
            let proxy_tls = tls::configuration(&Trusted::default(), &roots)?;
            Ok((tls::configuration(&wanted, &roots)?, proxy_tls))
        });
        let (tls, proxy_tls) = match made.await {
            Ok(made) => made.map_err(|error| Failed::Files(Box::new(error)))?,
            Err(_) => return Err(Failed::Request(RequestError::Broken("it ends".to_owned()))),
        };
        let dialer = Dialer {
            client: Arc::downgrade(client),
            tls: Arc::new(tls),
            proxy_tls: Arc::new(proxy_tls),
        };
        let pool = Pool::builder(TokioExecutor::new())
            .pool_idle_timeout(KEPT_IDLE)
            .pool_max_idle_per_host(KEPT_COUNT)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .set_host(false)
            .build(dialer);
        let mut pools = self.lock();
        if pools.len() >= POOLS_MAX {
            // Files that changed leave the pools of what they were before.
            pools.clear();
        }
        Ok(pools.entry(trusted.clone()).or_insert(pool).clone())
    }

    async fn roots(&self, client: &Arc<Inner>) -> Arc<rustls::RootCertStore> {
        let read = || async {
            let files = client.settings.root_certificates.clone();
            let read = tokio::task::spawn_blocking(move || tls::roots(&files));
            Arc::new(
                read.await
                    .unwrap_or_else(|_| rustls::RootCertStore::empty()),
            )
        };
        Arc::clone(self.roots.get_or_init(read).await)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Trusted, Pool<Dialer, Body>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why there was no answer, before anybody says to which request.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The request did not succeed.
    Request(RequestError),
    /// A file that the connection needs cannot be used.
    Files(Box<Error>),
}

fn prepare(client: &Inner, request: &mut Request<Body>) {
    let Some(origin) = address::origin(request.uri()) else {
        return;
    };
    if let Ok(host) = HeaderValue::from_str(&origin.authority()) {
        request.headers_mut().insert(HOST, host);
    }
    // A plain request is the proxy's to read, so what it wants to know goes along.
    if !origin.secure
        && let Some(proxy) = client.proxies.proxy_for(&origin)
        && let Some(authorization) = &proxy.authorization
    {
        request
            .headers_mut()
            .insert(PROXY_AUTHORIZATION, authorization.clone());
    }
}

/// Finds what is behind an error of the pool.
fn explain(error: &(dyn std::error::Error + 'static)) -> RequestError {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(fault) = error.downcast_ref::<RequestError>() {
            return fault.clone();
        }
        if let Some(fault) = error.downcast_ref::<hyper::Error>()
            && fault.is_incomplete_message()
        {
            return RequestError::Cut;
        }
        if let Some(fault) = error.downcast_ref::<io::Error>() {
            return broken(fault);
        }
        cause = error.source();
    }
    RequestError::Broken(crate::refusal::harmless(&deepest(error)))
}

fn broken(error: &io::Error) -> RequestError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => RequestError::Cut,
        io::ErrorKind::ConnectionReset => {
            RequestError::Broken("read: connection reset by peer".to_owned())
        }
        io::ErrorKind::BrokenPipe => RequestError::Broken("write: broken pipe".to_owned()),
        _ => RequestError::Broken(crate::refusal::harmless(&error.to_string())),
    }
}

fn deepest(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// Returns the next piece of an answer's body, nothing after the last.
pub(crate) async fn next_piece(
    body: &mut Incoming,
    idle: Duration,
) -> Result<Option<Bytes>, RequestError> {
    loop {
        match tokio::time::timeout(idle, body.frame()).await {
            Err(_) => return Err(RequestError::Timeout),
            Ok(None) => return Ok(None),
            Ok(Some(Err(error))) => return Err(explain(&error)),
            // Trailers say nothing that is needed.
            Ok(Some(Ok(frame))) => {
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}

/// Reads a body of a bounded length; nothing when it is longer.
pub(crate) async fn read_all(
    body: &mut Incoming,
    max: usize,
    idle: Duration,
) -> Result<Option<Bytes>, RequestError> {
    if body.size_hint().lower() > max as u64 {
        return Ok(None);
    }
    let mut all = Vec::new();
    while let Some(bytes) = next_piece(body, idle).await? {
        if all.len() + bytes.len() > max {
            return Ok(None);
        }
        all.extend_from_slice(&bytes);
    }
    Ok(Some(all.into()))
}

/// A body without a byte.
pub(crate) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body that is in memory.
pub(crate) fn full(bytes: Bytes) -> Body {
    Full::new(bytes)
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// A body of so many bytes that are read while it goes out.
pub(crate) fn streamed(
    chunks: Chunks,
    offset: u64,
    length: u64,
    sent: Sent,
    progress: Progress,
) -> Body {
    Streamed {
        chunks,
        position: offset,
        left: length,
        sent,
        progress,
    }
    .boxed_unsync()
}

struct Streamed {
    chunks: Chunks,
    position: u64,
    left: u64,
    sent: Sent,
    progress: Progress,
}

impl hyper::body::Body for Streamed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        if this.left == 0 {
            return Poll::Ready(None);
        }
        let Poll::Ready(next) = this.chunks.as_mut().poll_next(context) else {
            return Poll::Pending;
        };
        let mut bytes = match next {
            Some(Ok(bytes)) => bytes,
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
        };
        let most = usize::try_from(this.left).unwrap_or(usize::MAX);
        bytes.truncate(most);
        let length = bytes.len() as u64;
        this.left -= length;
        this.position += length;
        this.sent.0.fetch_add(length, Ordering::Relaxed);
        (this.progress)(this.position);
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
