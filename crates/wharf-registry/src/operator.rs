//! The second address, for those who run the registry: metrics and health, and nothing of its content.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::body;
use crate::routes::{self, Answer, bare, json};
use crate::server::Registry;

/// Connections at a time.
const MAX_CONNECTIONS: usize = 64;

/// Longest time a head may take to arrive; also how long an idle connection is kept.
const HEAD_TIME: Duration = Duration::from_secs(60);

/// Pause after a failed accept, which would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until it is dropped.
pub(crate) async fn serve(registry: Arc<Registry>, listener: TcpListener) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let serving = connection(Arc::clone(&registry), stream);
                    connections.spawn(async move {
                        serving.await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

async fn connection(registry: Arc<Registry>, stream: TcpStream) {
    let service = service_fn(|request| {
        let answer = answer(&registry, &request);
        async { Ok::<_, Infallible>(answer) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended badly");
    }
}

/// The CNCF registry's path for health on this address is known too.
fn answer(registry: &Registry, request: &Request<Incoming>) -> Answer {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return bare(StatusCode::METHOD_NOT_ALLOWED);
    }
    match request.uri().path() {
        "/healthz" => json(StatusCode::OK, b"{}".as_slice()),
        "/readyz" | "/debug/health" => routes::ready(registry),
        "/metrics" => {
            let text = registry.metrics.text(registry.storage.totals());
            let mut answer = Response::new(body::full(text));
            answer.headers_mut().insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static(
                    "application/openmetrics-text; version=1.0.0; charset=utf-8",
                ),
            );
            answer
        }
        _ => bare(StatusCode::NOT_FOUND),
    }
}
