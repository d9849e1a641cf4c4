//! Connections.
//!
//! Bounds: [`MAX_CONNECTIONS`] at a time (more wait in the kernel's queue), [`HEAD_TIME`] for a request's
//! head to arrive, [`MAX_HEAD`] for its size. When told to stop, nothing more is accepted, idle
//! connections end, and requests under way get [`Service::grace`].
//!
//! Tasks: one for each connection, one that collects, one that serves the second address with its
//! connections, one for each blob on its way from upstream; [`serve`] owns them all and they end with it.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use wharf_types::Repository;

use crate::access::Access;
use crate::metrics::Metrics;
use crate::operator;
use crate::proxy::Proxies;
use crate::rate::{Allowances, Rate};
use crate::routes;
use crate::storage::{Collected, Retention, Storage, StorageError};
use crate::tls::Tls;

/// Connections at a time.
const MAX_CONNECTIONS: usize = 4096;

/// Longest time a head may take to arrive; also how long an idle connection is kept.
const HEAD_TIME: Duration = Duration::from_secs(120);

/// Longest head of a request, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// Pause after a failed accept, which would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A registry, and how it is kept.
#[derive(Debug)]
pub struct Service {
    /// Its content.
    pub storage: Storage,
    /// Who may do what.
    pub access: Access,
    /// TLS, if clients are to speak it.
    pub tls: Option<Tls>,
    /// How clients reach it, `https://host`, when that is not what they say themselves.
    pub url: Option<String>,
    /// How often one client may ask.
    pub rate: Option<Rate>,
    /// Whether nothing may be changed.
    pub read_only: bool,
    /// Whether something may be removed.
    pub deletes: bool,
    /// Whether each request is written to the log.
    pub access_log: bool,
    /// How often what nothing names is removed; `None`: never.
    pub collect_every: Option<Duration>,
    /// What is kept then.
    pub retention: Retention,
    /// How long requests under way are waited for at the end.
    pub grace: Duration,
    /// Which repositories are copies of other registries'.
    pub proxies: Option<Proxies>,
}

impl Service {
    /// A service with everything that is optional left out.
    #[must_use]
    pub fn new(storage: Storage, access: Access) -> Self {
        Self {
            storage,
            access,
            tls: None,
            url: None,
            rate: None,
            read_only: false,
            deletes: true,
            access_log: false,
            collect_every: None,
            retention: Retention::default(),
            grace: Duration::from_secs(30),
            proxies: None,
        }
    }
}

/// Where a registry listens.
#[derive(Debug)]
pub struct Listeners {
    /// For clients.
    pub clients: TcpListener,
    /// For its operators: metrics and health.
    pub operators: Option<TcpListener>,
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) encrypted: bool,
}

/// What a registry answers from.
#[derive(Debug)]
pub(crate) struct Registry {
    pub(crate) storage: Storage,
    pub(crate) access: Access,
    pub(crate) metrics: Metrics,
    pub(crate) allowances: Option<Allowances>,
    pub(crate) read_only: bool,
    pub(crate) deletes: bool,
    pub(crate) access_log: bool,
    pub(crate) proxies: Option<Proxies>,
    url: Option<String>,
    draining: AtomicBool,
}

impl Registry {
    /// Returns whether the server has been told to stop.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Returns whether a repository is a copy of another registry's.
    pub(crate) fn is_cached(&self, name: &Repository) -> bool {
        self.proxies
            .as_ref()
            .is_some_and(|proxies| proxies.has(name))
    }

    /// Returns where a client reached this server, `https://host:port`. It is told to that client only, so
    /// that its own word for the host will do.
    pub(crate) fn origin(&self, peer: Peer, headers: &HeaderMap) -> String {
        if let Some(url) = &self.url {
            return url.trim_end_matches('/').to_owned();
        }
        let scheme = if peer.encrypted { "https" } else { "http" };
        let host = headers.get(http::header::HOST);
        let host = host.and_then(|host| host.to_str().ok()).filter(|host| {
            let known = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
            !host.is_empty() && host.chars().all(known)
        });
        format!("{scheme}://{}", host.unwrap_or("localhost"))
    }
}

/// Serves a registry until `shutdown` completes.
pub async fn serve(service: Service, listeners: Listeners, shutdown: impl Future<Output = ()>) {
    let registry = Arc::new(Registry {
        storage: service.storage,
        access: service.access,
        metrics: Metrics::new(),
        allowances: service.rate.map(Allowances::new),
        read_only: service.read_only,
        deletes: service.deletes,
        access_log: service.access_log,
        proxies: service.proxies,
        url: service.url,
        draining: AtomicBool::new(false),
    });
    let (stop, stopping) = watch::channel(false);
    let mut beside = JoinSet::new();
    if let Some(every) = service.collect_every {
        beside.spawn(collect(Arc::clone(&registry), every, service.retention));
    }
    if let Some(listener) = listeners.operators {
        beside.spawn(operator::serve(Arc::clone(&registry), listener));
    }
    let tls = service.tls.map(Arc::new);
    let mut connections = JoinSet::new();
    tokio::select! {
        () = shutdown => {}
        () = accept(&registry, &listeners.clients, tls, &stopping, &mut connections) => {}
    }
    drop(listeners.clients);
    registry.draining.store(true, Ordering::Relaxed);
    stop.send_replace(true);
    drain(connections, service.grace).await;
    if let Some(proxies) = &registry.proxies {
        proxies.downloads.stop();
    }
    // A collection's round under way ends on its own thread; every step of it may be the last.
    beside.shutdown().await;
}

/// Accepts connections for ever.
async fn accept(
    registry: &Arc<Registry>,
    listener: &TcpListener,
    tls: Option<Arc<Tls>>,
    stopping: &watch::Receiver<bool>,
    connections: &mut JoinSet<()>,
) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = async { (Arc::clone(&slots).acquire_owned().await, listener.accept().await) } => match accepted {
                (Ok(slot), Ok((stream, address))) => {
                    let peer = Peer { address, encrypted: tls.is_some() };
                    let serving = connection(Arc::clone(registry), stream, peer, tls.clone(), stopping.clone());
                    connections.spawn(async move {
                        serving.await;
                        drop(slot);
                    });
                }
                (Ok(_), Err(error)) => {
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                (Err(_), _) => return,
            },
        }
    }
}

/// Waits for what is under way; what is left after `grace` is cut, and said to be.
async fn drain(mut connections: JoinSet<()>, grace: Duration) {
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(grace, all_ended).await.is_err() {
        let cut = connections.len();
        connections.shutdown().await;
        tracing::warn!(connections = cut, "connections were cut");
    }
}

async fn collect(registry: Arc<Registry>, every: Duration, retention: Retention) {
    loop {
        tokio::time::sleep(every).await;
        let collecting = Arc::clone(&registry);
        let round = tokio::task::spawn_blocking(move || {
            let expired = match &collecting.proxies {
                Some(proxies) => proxies.expire(&collecting.storage)?,
                None => 0,
            };
            let mut removed = collecting.storage.collect(retention, SystemTime::now())?;
            removed.manifests += expired;
            Ok::<_, StorageError>(removed)
        });
        match round.await {
            Ok(Ok(removed)) if removed == Collected::default() => {}
            Ok(Ok(removed)) => {
                registry.metrics.collected.inc_by(removed.bytes);
                tracing::info!(
                    manifests = removed.manifests,
                    blobs = removed.blobs,
                    bytes = removed.bytes,
                    uploads = removed.uploads,
                    "collected"
                );
            }
            Ok(Err(error)) => {
                tracing::error!(error = crate::refusal::chain(&error), "collection failed");
            }
            Err(error) => tracing::error!(%error, "collection ended badly"),
        }
    }
}

async fn connection(
    registry: Arc<Registry>,
    stream: TcpStream,
    peer: Peer,
    tls: Option<Arc<Tls>>,
    stopping: watch::Receiver<bool>,
) {
    // Answers are written whole; waiting for more would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "could not set TCP_NODELAY");
    }
    let Some(tls) = tls else {
        return speak(registry, stream, peer, stopping).await;
    };
    match tls.accept(stream).await {
        Ok(stream) => speak(registry, stream, peer, stopping).await,
        Err(error) => tracing::debug!(client = %peer.address, %error, "no TLS was agreed on"),
    }
}

async fn speak(
    registry: Arc<Registry>,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: Peer,
    mut stopping: watch::Receiver<bool>,
) {
    let service = service_fn(|request| {
        let answer = routes::answer(Arc::clone(&registry), peer, request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .half_close(true)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let served = tokio::select! {
        served = &mut connection => served,
        () = async { drop(stopping.wait_for(|stop| *stop).await) } => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended badly");
    }
}
