//! What happened: a bounded memory of the past, which outlives the engine, and a broadcast of the
//! present.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::stream::{self, StreamExt as _};
use jiff::Timestamp;
use tokio::sync::broadcast;
use wharf_wire as wire;

use crate::{Error, EventStream};

mod history;
mod networks;

use history::History;

pub(crate) use history::FILE;

/// Events kept for those who ask for the past; Docker keeps 256.
const PAST_MAX: usize = 1024;
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
    past: Mutex<Past>,
    present: broadcast::Sender<Arc<wire::Event>>,
}

#[derive(Debug, Default)]
struct Past {
    events: VecDeque<Arc<wire::Event>>,
    /// Where they are kept for the next engine, until this one closes.
    history: Option<History>,
}

impl Events {
    /// Opens the events that are kept in a directory.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        let (history, events) = History::open(directory, PAST_MAX)?;
        Ok(Self::with(Past {
            events,
            history: Some(history),
        }))
    }

    fn with(past: Past) -> Self {
        Self {
            past: Mutex::new(past),
            present: broadcast::Sender::new(LAG_MAX),
        }
    }

    /// Puts on the disk what has been told, and keeps no more.
    pub(crate) fn close(&self) {
        let history = self.past().history.take();
        drop(history);
    }

    fn past(&self) -> MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
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
        let event = Arc::new(event);
        let mut past = self.past();
        if past.events.len() == PAST_MAX {
            past.events.pop_front();
        }
        past.events.push_back(Arc::clone(&event));
        if let Some(history) = &past.history {
            history.keep(&event);
        }
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
        let past = self.past();
        let receiver = self.present.subscribe();
        let since = query.since.map(nanoseconds);
        let until = query.until.map(nanoseconds);
        let known: Vec<_> = match since {
            None => Vec::new(),
            Some(since) => {
                let wanted = |event: &&Arc<wire::Event>| {
                    i128::from(event.time_nano) >= since
                        && until.is_none_or(|until| i128::from(event.time_nano) <= until)
                };
                past.events.iter().filter(wanted).cloned().collect()
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
        let wanted = move |event: &Arc<wire::Event>| std::future::ready(matches(&filters, event));
        Ok(EventStream(
            stream::iter(known)
                .chain(live)
                .filter(wanted)
                .map(Arc::unwrap_or_clone)
                .boxed(),
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
        let events = Events::with(Past::default());
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
        let events = Events::with(Past::default());
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
        let error = Events::with(Past::default())
            .stream(&query)
            .expect_err("refused");
        assert_eq!(error.to_string(), "invalid filter 'zzz'");
    }
}
