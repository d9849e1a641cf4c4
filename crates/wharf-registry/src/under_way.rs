//! A request from its head to the last byte of its answer: what is counted and written down about it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};

use crate::access::Caller;
use crate::body::Body;
use crate::routes::Answer;
use crate::server::{Peer, Registry};
use crate::target::Target;

/// A request under way; it ends with the value.
#[derive(Debug)]
pub(crate) struct UnderWay {
    registry: Arc<Registry>,
    peer: Peer,
    method: Method,
    path: String,
    name: Option<String>,
    began: Instant,
    route: &'static str,
    /// Whether the whole answer was handed over.
    done: bool,
}

impl UnderWay {
    pub(crate) fn begin(registry: &Arc<Registry>, peer: Peer, request: &Request<Incoming>) -> Self {
        registry.metrics.in_flight.inc();
        Self {
            registry: Arc::clone(registry),
            peer,
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            name: None,
            began: Instant::now(),
            route: "none",
            done: false,
        }
    }

    /// Notes who it is from.
    pub(crate) fn is_from(&mut self, caller: &Caller) {
        self.name.clone_from(&caller.name);
    }

    /// Counts and writes down the answer, and follows its body to the end.
    pub(crate) fn answered(mut self, target: Option<&Target>, answer: Answer) -> Answer {
        let status = answer.status().as_u16();
        self.route = target.map_or("none", Target::route);
        self.registry
            .metrics
            .answered(&self.method, self.route, status);
        if let Some(target) = target {
            self.audit(target, &answer);
        }
        if self.registry.access_log {
            tracing::info!(
                method = %self.method,
                path = self.path,
                status,
                user = self.name.as_deref().unwrap_or_default(),
                client = %self.peer.address,
                "answered"
            );
        } else {
            tracing::debug!(method = %self.method, path = self.path, status, "answered");
        }
        let length = answer.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        answer.map(|body| {
            let whole = body.is_end_stream();
            self.done = whole;
            let followed = Followed {
                body,
                length,
                sent: 0,
                under_way: self,
            };
            followed.boxed_unsync()
        })
    }

    /// One line for each change that was made or refused: who, from where, what, and how it ended.
    fn audit(&self, target: &Target, answer: &Answer) {
        let Some(repository) = target.repository() else {
            return;
        };
        if matches!(self.method, Method::GET | Method::HEAD) {
            return;
        }
        let digest = answer.headers().get("docker-content-digest");
        tracing::info!(
            target: "audit",
            user = self.name.as_deref().unwrap_or_default(),
            client = %self.peer.address,
            action = %self.method,
            object = self.route,
            %repository,
            reference = target.reference().unwrap_or_default(),
            digest = digest.and_then(|digest| digest.to_str().ok()).unwrap_or_default(),
            status = answer.status().as_u16(),
            "write"
        );
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.registry.metrics.in_flight.dec();
        self.registry.metrics.took(self.route, self.began.elapsed());
        if !self.done && self.registry.is_draining() {
            tracing::warn!(
                method = %self.method,
                path = self.path,
                client = %self.peer.address,
                "a request was cut"
            );
        }
    }
}

/// A body that is followed to its end.
struct Followed {
    body: Body,
    length: Option<u64>,
    sent: u64,
    under_way: UnderWay,
}

impl hyper::body::Body for Followed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                self.sent += bytes;
                self.under_way.registry.metrics.sent.inc_by(bytes);
                // Nobody asks for the end of a body of known length.
                if self.length.is_some_and(|length| self.sent >= length) {
                    self.under_way.done = true;
                }
            }
            Poll::Ready(None) => self.under_way.done = true,
            Poll::Ready(Some(Err(error))) => {
                tracing::error!(path = self.under_way.path, %error, "an answer ended early");
            }
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
