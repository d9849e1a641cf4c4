//! What happened: a bounded memory of the past, and a broadcast of the present.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use futures_util::stream::{self, StreamExt as _};
use jiff::Timestamp;
use tokio::sync::broadcast;
use wharf_wire as wire;

use crate::{Error, EventStream};

/// Events kept for those who ask for the past; Docker keeps as many.
const PAST_MAX: usize = 256;
/// Events a slow reader may lag behind.
const LAG_MAX: usize = 1024;
/// Filters of `GET /events`.
const FILTERS: [&str; 14] = [
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];

/// The events of an engine.
#[derive(Debug)]
pub(crate) struct Events {
    past: Mutex<VecDeque<wire::Event>>,
    present: broadcast::Sender<wire::Event>,
}

impl Events {
    pub(crate) fn new() -> Self {
        Self {
            past: Mutex::new(VecDeque::with_capacity(PAST_MAX)),
            present: broadcast::Sender::new(LAG_MAX),
        }
    }

    /// Tells an event of a container or an image. Containers' events carry the image's name.
    pub(crate) fn tell(
        &self,
        kind: &str,
        action: &str,
        id: &str,
        attributes: BTreeMap<String, String>,
    ) {
        let now = Timestamp::now();
        let from = match kind {
            "container" => attributes.get("image").cloned().unwrap_or_default(),
            _ => String::new(),
        };
        let event = wire::Event {
            status: action.to_owned(),
            id: id.to_owned(),
            from,
            kind: kind.to_owned(),
            action: action.to_owned(),
            actor: wire::Actor {
                id: id.to_owned(),
                attributes,
            },
            scope: "local".to_owned(),
            time: now.as_second(),
            time_nano: i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX),
        };
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        if past.len() == PAST_MAX {
            past.pop_front();
        }
        past.push_back(event.clone());
        // Under the lock, so that a reader gets each event once: from the past or the present.
        // Nobody may be listening.
        self.present.send(event).ok();
    }

    /// How many read along.
    pub(crate) fn listeners(&self) -> usize {
        self.present.receiver_count()
    }

    pub(crate) fn stream(&self, query: &wire::EventsQuery) -> Result<EventStream, Error> {
        query
            .filters
            .validate(&FILTERS)
            .map_err(|error| Error::invalid(error.to_string()))?;
        let past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        let receiver = self.present.subscribe();
        let since = query.since.map(nanoseconds);
        let until = query.until.map(nanoseconds);
        let known: Vec<_> = match since {
            None => Vec::new(),
            Some(since) => {
                let wanted = |event: &&wire::Event| {
                    i128::from(event.time_nano) >= since
                        && until.is_none_or(|until| i128::from(event.time_nano) <= until)
                };
                past.iter().filter(wanted).cloned().collect()
            }
        };
        drop(past);
        let live = stream::unfold(receiver, |mut receiver| async move {
            // A reader that lags behind too far is cut off, rather than given a stream with holes.
            let event = receiver.recv().await.ok()?;
            Some((event, receiver))
        });
        let live = match until {
            None => live.boxed(),
            Some(until) => live.take_until(sleep_until(until)).boxed(),
        };
        let filters = query.filters.clone();
        let wanted = move |event: &wire::Event| std::future::ready(matches(&filters, event));
        Ok(EventStream(
            stream::iter(known).chain(live).filter(wanted).boxed(),
        ))
    }
}

async fn sleep_until(until: i128) {
    let left = until - Timestamp::now().as_nanosecond();
    if let Ok(left) = u64::try_from(left) {
        tokio::time::sleep(std::time::Duration::from_nanos(left)).await;
    }
}

fn nanoseconds(time: wire::UnixTime) -> i128 {
    i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanoseconds)
}

fn matches(filters: &wire::Filters, event: &wire::Event) -> bool {
    let attribute = |name: &str| event.actor.attributes.get(name).map_or("", String::as_str);
    // Actions such as `exec_start: sh` are asked for by their first word.
    let action = event.action.split(':').next().unwrap_or_default();
    let object = |kind: &str| {
        !filters.contains(kind)
            || (event.kind == kind
                && filters.matches_by(kind, |wanted| {
                    event.actor.id == wanted
                        || (wanted.len() >= 12 && event.actor.id.starts_with(wanted))
                        || attribute("name") == wanted
                }))
    };
    let image = || {
        let name = match event.kind.as_str() {
            "image" => attribute("name"),
            _ => attribute("image"),
        };
        let without_tag = name
            .rsplit_once(':')
            .map_or(name, |(repository, _)| repository);
        filters.matches_by("image", |wanted| {
            wanted == name || wanted == without_tag || wanted == event.actor.id
        })
    };
    filters.matches("type", &event.kind)
        && filters.matches_by("event", |wanted| wanted == event.action || wanted == action)
        && filters.matches("scope", &event.scope)
        && filters.matches_labels("label", &event.actor.attributes)
        && object("container")
        && object("volume")
        && object("network")
        && object("daemon")
        && (!filters.contains("image") || image())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(name: &str) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("image".to_owned(), "busybox:latest".to_owned()),
            ("name".to_owned(), name.to_owned()),
        ])
    }

    fn actions(events: Vec<wire::Event>) -> Vec<String> {
        events.into_iter().map(|event| event.action).collect()
    }

    #[tokio::test]
    async fn the_past_comes_first_and_once() {
        let events = Events::new();
        events.tell("container", "create", "1", attributes("a"));
        let query = wire::EventsQuery {
            since: Some(wire::UnixTime {
                seconds: 0,
                nanoseconds: 0,
            }),
            ..Default::default()
        };
        let stream = events.stream(&query).expect("stream");
        events.tell("container", "start", "1", attributes("a"));
        let seen = stream.take(2).collect().await;
        assert_eq!(actions(seen), ["create", "start"]);
    }

    #[tokio::test]
    async fn filters_choose() {
        let events = Events::new();
        for (text, expected) in [
            (r#"{"event":["exec_start"]}"#, vec!["exec_start: sh"]),
            (r#"{"container":["a"]}"#, vec!["start", "exec_start: sh"]),
            (
                r#"{"image":["busybox"]}"#,
                vec!["start", "exec_start: sh", "die"],
            ),
            (r#"{"type":["image"]}"#, vec!["tag"]),
        ] {
            let query = wire::EventsQuery {
                filters: wire::Filters::parse(text).expect(text),
                ..Default::default()
            };
            let stream = events.stream(&query).expect("stream");
            events.tell("container", "start", "1", attributes("a"));
            events.tell("container", "exec_start: sh", "1", attributes("a"));
            events.tell("container", "die", "2", attributes("b"));
            events.tell("image", "tag", "sha256:1", BTreeMap::new());
            let seen = stream.take(expected.len()).collect().await;
            assert_eq!(actions(seen), expected, "{text}");
        }
    }

    #[test]
    fn an_unknown_filter_is_refused() {
        let query = wire::EventsQuery {
            filters: wire::Filters::parse(r#"{"zzz":["1"]}"#).expect("parse"),
            ..Default::default()
        };
        let error = Events::new().stream(&query).expect_err("refused");
        assert_eq!(error.to_string(), "invalid filter 'zzz'");
    }
}
