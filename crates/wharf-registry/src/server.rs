//! Connections.
//!
//! Bounds: [`MAX_CONNECTIONS`] at a time (more wait in the kernel's queue), [`HEAD_TIME`] for a request's
//! head to arrive, [`MAX_HEAD`] for its size. When told to stop, nothing more is accepted, idle
//! connections end, and requests under way get [`GRACE`].

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::access::Access;
use crate::routes::{self, Registry};
use crate::storage::{Collected, Retention, Storage};

/// Connections at a time.
const MAX_CONNECTIONS: usize = 4096;

/// Longest time a head may take to arrive; also how long an idle connection is kept.
const HEAD_TIME: Duration = Duration::from_secs(120);

/// Longest head of a request, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// How long requests under way are waited for at the end.
const GRACE: Duration = Duration::from_secs(30);

/// Pause after a failed accept, which would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A registry, and how it is kept.
#[derive(Debug)]
pub struct Service {
    /// Its content.
    pub storage: Storage,
    /// Who may do what.
    pub access: Access,
    /// How often what nothing names is removed; `None`: never.
    pub collect_every: Option<Duration>,
    /// What is kept then.
    pub retention: Retention,
}

/// Serves a registry on a listener until `shutdown` completes.
pub async fn serve(service: Service, listener: TcpListener, shutdown: impl Future<Output = ()>) {
    let Service {
        storage,
        access,
        collect_every,
        retention,
    } = service;
    let registry = Arc::new(Registry { storage, access });
    let collecting =
        collect_every.map(|every| tokio::spawn(collect(Arc::clone(&registry), every, retention)));
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let (stop, stopping) = watch::channel(false);
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            accepted = async { (Arc::clone(&slots).acquire_owned().await, listener.accept().await) } => match accepted {
                (Ok(slot), Ok((stream, _))) => {
                    let serving = connection(Arc::clone(&registry), stream, stopping.clone());
                    connections.spawn(async move {
                        serving.await;
                        drop(slot);
                    });
                }
                (Ok(_), Err(error)) => {
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                (Err(_), _) => break,
            },
        }
    }
    drop(listener);
    if let Some(collecting) = collecting {
        // A round under way ends on its own thread; every step of it may be the last.
        collecting.abort();
    }
    stop.send_replace(true);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, all_ended).await.is_err() {
        tracing::warn!(connections = connections.len(), "connections were cut");
        connections.shutdown().await;
    }
}

async fn collect(registry: Arc<Registry>, every: Duration, retention: Retention) {
    loop {
        tokio::time::sleep(every).await;
        let registry = Arc::clone(&registry);
        let round = tokio::task::spawn_blocking(move || {
            registry.storage.collect(retention, SystemTime::now())
        });
        match round.await {
            Ok(Ok(removed)) if removed == Collected::default() => {}
            Ok(Ok(removed)) => tracing::info!(
                manifests = removed.manifests,
                blobs = removed.blobs,
                bytes = removed.bytes,
                uploads = removed.uploads,
                "collected"
            ),
            Ok(Err(error)) => tracing::error!(%error, "collection failed"),
            Err(error) => tracing::error!(%error, "collection ended badly"),
        }
    }
}

async fn connection(
    registry: Arc<Registry>,
    stream: TcpStream,
    mut stopping: watch::Receiver<bool>,
) {
    // Answers are written whole; waiting for more would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "could not set TCP_NODELAY");
    }
    let service = service_fn(|request| {
        let answer = routes::answer(Arc::clone(&registry), request);
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
        _ = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended badly");
    }
}
