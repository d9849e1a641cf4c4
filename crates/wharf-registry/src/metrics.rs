//! What the server counts, for Prometheus.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Upper ends of the histogram's buckets, in seconds: from an answer out of memory to a large push.
const DURATIONS: [f64; 9] = [0.0005, 0.002, 0.01, 0.05, 0.25, 1.0, 5.0, 30.0, 300.0];

/// What tells one kind of answer from another. Each has few values: no name of anybody's is in here.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    method: &'static str,
    route: &'static str,
    status: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// How much there is, as of now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Repositories.
    pub repositories: usize,
    /// Manifests, once for each repository that has them.
    pub manifests: usize,
    /// Blobs, manifests' among them.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Uploads that were written to since the start and have not ended.
    pub uploads: usize,
}

/// The counters.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    answers: Family<Kind, Counter>,
    durations: Family<Route, Histogram, fn() -> Histogram>,
    pub(crate) in_flight: Gauge,
    pub(crate) sent: Counter,
    pub(crate) received: Counter,
    pub(crate) limited: Counter,
    pub(crate) unauthorized: Counter,
    pub(crate) collected: Counter,
    cached: Family<Outcome, Counter>,
    repositories: Gauge,
    manifests: Gauge,
    blobs: Gauge,
    stored: Gauge,
    uploads: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("wharf_registry"),
            answers: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(DURATIONS)),
            in_flight: Gauge::default(),
            sent: Counter::default(),
            received: Counter::default(),
            limited: Counter::default(),
            unauthorized: Counter::default(),
            collected: Counter::default(),
            cached: Family::default(),
            repositories: Gauge::default(),
            manifests: Gauge::default(),
            blobs: Gauge::default(),
            stored: Gauge::default(),
            uploads: Gauge::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let all = &mut self.registry;
        all.register("answers", "Requests answered", self.answers.clone());
        all.register_with_unit(
            "request_duration",
            "Time from a request's head to the last byte of its answer",
            Unit::Seconds,
            self.durations.clone(),
        );
        all.register(
            "requests_in_flight",
            "Requests under way",
            self.in_flight.clone(),
        );
        all.register_with_unit("sent", "Bodies sent", Unit::Bytes, self.sent.clone());
        all.register_with_unit(
            "received",
            "Bodies received",
            Unit::Bytes,
            self.received.clone(),
        );
        all.register(
            "limited",
            "Requests over the rate limit",
            self.limited.clone(),
        );
        all.register(
            "unauthorized",
            "Requests answered with 401",
            self.unauthorized.clone(),
        );
        all.register_with_unit(
            "collected",
            "Blobs removed by collection",
            Unit::Bytes,
            self.collected.clone(),
        );
        all.register(
            "cache",
            "Pull-through requests by outcome",
            self.cached.clone(),
        );
        all.register("repositories", "Repositories", self.repositories.clone());
        all.register("manifests", "Manifests", self.manifests.clone());
        all.register("blobs", "Blobs", self.blobs.clone());
        all.register_with_unit("stored", "Blobs stored", Unit::Bytes, self.stored.clone());
        all.register("uploads", "Uploads under way", self.uploads.clone());
    }

    pub(crate) fn answered(&self, method: &http::Method, route: &'static str, status: u16) {
        let method = match method.as_str() {
            "GET" => "GET",
            "HEAD" => "HEAD",
            "PUT" => "PUT",
            "POST" => "POST",
            "PATCH" => "PATCH",
            "DELETE" => "DELETE",
            _ => "other",
        };
        let kind = Kind {
            method,
            route,
            status: status.into(),
        };
        self.answers.get_or_create(&kind).inc();
        if status == 401 {
            self.unauthorized.inc();
        }
    }

    pub(crate) fn took(&self, route: &'static str, time: Duration) {
        self.durations
            .get_or_create(&Route { route })
            .observe(time.as_secs_f64());
    }

    /// Counts a request to a pull-through repository: `hit`, `miss`, `stale` or `failed`.
    pub(crate) fn cache(&self, outcome: &'static str) {
        self.cached.get_or_create(&Outcome { outcome }).inc();
    }

    /// Returns everything in Prometheus' text format.
    pub(crate) fn text(&self, totals: Totals) -> String {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.repositories.set(number(totals.repositories));
        self.manifests.set(number(totals.manifests));
        self.blobs.set(number(totals.blobs));
        self.uploads.set(number(totals.uploads));
        self.stored
            .set(i64::try_from(totals.bytes).unwrap_or(i64::MAX));
        let mut text = String::new();
        // Writing to a string does not fail.
        encode(&mut text, &self.registry).unwrap_or_default();
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_told() {
        let metrics = Metrics::new();
        metrics.answered(&http::Method::GET, "manifest", 200);
        metrics.answered(&http::Method::GET, "manifest", 200);
        metrics.answered(&"BREW".parse().expect("a method"), "blob", 401);
        metrics.took("manifest", Duration::from_millis(1));
        let text = metrics.text(Totals {
            bytes: 7,
            ..Totals::default()
        });
        for line in [
            r#"wharf_registry_answers_total{method="GET",route="manifest",status="200"} 2"#,
            r#"wharf_registry_answers_total{method="other",route="blob",status="401"} 1"#,
            "wharf_registry_unauthorized_total 1",
            "wharf_registry_stored_bytes 7",
            r#"wharf_registry_request_duration_seconds_bucket{le="0.002",route="manifest"} 1"#,
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
