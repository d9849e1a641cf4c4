//! Containers as a list shows them, and which of them it shows.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use wharf_types::Digest;
use wharf_wire as wire;

use crate::container::{Container, Status};
use crate::error::Error;
use crate::images::Images;
use crate::inspect::networks;
use crate::ports;
use crate::registry::Registry;
use crate::regular::Pattern;
use crate::state::State;

const FILTERS: [&str; 15] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];

const STATES: [&str; 7] = [
    "created",
    "dead",
    "exited",
    "paused",
    "removing",
    "restarting",
    "running",
];

/// Returns the containers that `query` asks for, newest first, without their sizes.
pub(crate) fn list(
    registry: &Registry,
    images: &Images,
    query: &wire::ListQuery,
) -> Result<Vec<(Arc<Container>, wire::ContainerSummary)>, Error> {
    let mut selection = Selection::read(registry, images, query)?;
    let mut containers = registry.all();
    containers.sort_by_key(|container| std::cmp::Reverse(container.definition.created));
    let now = Timestamp::now();
    let mut names = ImageNames {
        images,
        known: HashMap::new(),
    };
    let mut shown = Vec::new();
    for container in containers {
        if selection.left == Some(0) {
            break;
        }
        let status = container.status().clone();
        // Gone since the list of all was taken.
        if matches!(status.state, State::Removed(_))
            || !selection.wants_before_summary(&container, &status)
        {
            continue;
        }
        let summary = summary(&container, &status, &mut names, now);
        if selection.wants_summary(&summary) {
            selection.left = selection.left.map(|left| left - 1);
            shown.push((container, summary));
        }
    }
    Ok(shown)
}

/// Names of images as a list shows them, each looked up once: containers are many, their images few.
struct ImageNames<'a> {
    images: &'a Images,
    /// What is shown for an image, by what was asked for.
    known: HashMap<Digest, Vec<(String, String)>>,
}

impl ImageNames<'_> {
    fn shown(&mut self, asked: &str, id: &Digest) -> String {
        let known = self.known.entry(*id).or_default();
        if let Some((_, shown)) = known.iter().find(|(name, _)| name == asked) {
            return shown.clone();
        }
        let shown = self.images.shown_name(asked, id);
        known.push((asked.to_owned(), shown.clone()));
        shown
    }
}

/// What a list is to show.
#[derive(Debug)]
struct Selection<'a> {
    filters: &'a wire::Filters,
    /// Whether containers that do not run are shown.
    all: bool,
    /// How many may still be shown.
    left: Option<usize>,
    names: Patterns,
    ids: Patterns,
    exit_codes: BTreeSet<i32>,
    before: Option<Timestamp>,
    since: Option<Timestamp>,
    images: Option<Vec<Digest>>,
    exposed: BTreeSet<(u16, String)>,
    published: BTreeSet<(u16, String)>,
    no_tasks: bool,
}

impl<'a> Selection<'a> {
    fn read(
        registry: &Registry,
        images: &Images,
        query: &'a wire::ListQuery,
    ) -> Result<Self, Error> {
        let filters = &query.filters;
        let invalid = |error: wire::FilterError| Error::invalid(error.to_string());
        filters.validate(&FILTERS).map_err(invalid)?;
        if let Some(state) = filters.get("status").find(|state| !STATES.contains(state)) {
            return Err(Error::invalid(format!("invalid filter 'status={state}'")));
        }
        let code = |text: &str| {
            text.parse::<i32>()
                .map_err(|_| Error::invalid(format!("invalid filter 'exited={text}'")))
        };
        let created = |key: &str, keep: fn(Timestamp, Timestamp) -> Timestamp| {
            filters
                .get(key)
                .try_fold(None, |bound: Option<Timestamp>, name| {
                    let created = registry.find(name)?.definition.created;
                    Ok::<_, Error>(Some(bound.map_or(created, |bound| keep(bound, created))))
                })
        };
        let limit = query
            .limit
            .and_then(|limit| usize::try_from(limit).ok())
            .filter(|limit| *limit > 0);
        Ok(Self {
            filters,
            all: query.all || limit.is_some() || filters.contains("status"),
            left: limit,
            names: Patterns::read(filters, "name"),
            ids: Patterns::read(filters, "id"),
            exit_codes: filters.get("exited").map(code).collect::<Result<_, _>>()?,
            before: created("before", Timestamp::min)?,
            since: created("since", Timestamp::max)?,
            images: filters.contains("ancestor").then(|| {
                // An image that is not there has no containers.
                filters
                    .get("ancestor")
                    .filter_map(|name| images.id_of(name).ok())
                    .collect()
            }),
            exposed: port_set(filters, "expose")?,
            published: port_set(filters, "publish")?,
            no_tasks: filters.flag("is-task").map_err(invalid)? == Some(true),
        })
    }

    /// What can be told from the container itself.
    fn wants_before_summary(&self, container: &Container, status: &Status) -> bool {
        let definition = &container.definition;
        let state = &status.state;
        let lives = matches!(
            state,
            State::Running(_) | State::Paused(_) | State::Restarting(_)
        );
        let id = definition.id.to_string();
        let name = status.name.to_string();
        let labels = definition.config.labels.as_ref();
        (lives || self.all)
            && !self.no_tasks
            && (self.names.matches(&name) || self.names.matches(&format!("/{name}")))
            && self.ids.matches(&id)
            && self.filters.matches("status", state.name())
            && self.filters.matches(
                "health",
                status
                    .health
                    .as_ref()
                    .map_or("none", |health| health.verdict.as_str()),
            )
            && (self.exit_codes.is_empty()
                || state
                    .ended()
                    .is_some_and(|ended| !lives && self.exit_codes.contains(&ended.code)))
            && self.before.is_none_or(|before| definition.created < before)
            && self.since.is_none_or(|since| definition.created > since)
            && self
                .images
                .as_ref()
                .is_none_or(|images| images.contains(&definition.image))
            && labels.map_or_else(
                || self.filters.matches_labels("label", &BTreeMap::new()),
                |labels| self.filters.matches_labels("label", labels),
            )
    }

    /// What can be told only from how the container is shown.
    fn wants_summary(&self, summary: &wire::ContainerSummary) -> bool {
        let any_mount = |wanted: &str| {
            summary.mounts.iter().any(|mount| {
                let name = if mount.name.is_empty() {
                    &mount.source
                } else {
                    &mount.name
                };
                name == wanted || mount.destination == wanted
            })
        };
        let any_network = |wanted: &str| {
            let networks = summary.network_settings.as_ref();
            networks.is_some_and(|settings| {
                settings
                    .networks
                    .iter()
                    .any(|(name, end)| name == wanted || end.network_id == wanted)
            })
        };
        let any_port = |set: &BTreeSet<(u16, String)>, number: fn(&wire::PortSummary) -> u16| {
            summary
                .ports
                .iter()
                .any(|port| set.contains(&(number(port), port.protocol.clone())))
        };
        let no_ports = self.exposed.is_empty() && self.published.is_empty();
        self.filters.matches_by("volume", any_mount)
            && self.filters.matches_by("network", any_network)
            && (no_ports
                || any_port(&self.published, |port| port.public_port)
                || any_port(&self.exposed, |port| port.private_port))
    }
}

/// Values of a filter that are expressions; the value itself matches too, whatever it means as an expression.
#[derive(Debug)]
struct Patterns(Option<Vec<(String, Option<Pattern>)>>);

impl Patterns {
    fn read(filters: &wire::Filters, key: &str) -> Self {
        let values = || {
            filters
                .get(key)
                .map(|value| (value.to_owned(), Pattern::new(value).ok()))
                .collect()
        };
        Self(filters.contains(key).then(values))
    }

    fn matches(&self, text: &str) -> bool {
        self.0.as_ref().is_none_or(|patterns| {
            patterns.iter().any(|(value, pattern)| {
                value == text
                    || pattern
                        .as_ref()
                        .is_some_and(|pattern| pattern.matches(text))
            })
        })
    }
}

/// Reads `80`, `80/tcp`, `8000-8010/udp`.
fn port_set(filters: &wire::Filters, key: &str) -> Result<BTreeSet<(u16, String)>, Error> {
    let mut set = BTreeSet::new();
    for value in filters.get(key) {
        let (range, protocol) = value.split_once('/').unwrap_or((value, "tcp"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let bounds = first
            .parse::<u16>()
            .ok()
            .zip(last.parse::<u16>().ok())
            .filter(|(first, last)| first <= last);
        let Some((first, last)) = bounds else {
            return Err(Error::invalid(format!("invalid filter '{key}={value}'")));
        };
        set.extend((first..=last).map(|number| (number, protocol.to_ascii_lowercase())));
    }
    Ok(set)
}

fn summary(
    container: &Container,
    status: &Status,
    names: &mut ImageNames<'_>,
    now: Timestamp,
) -> wire::ContainerSummary {
    let definition = &container.definition;
    let endpoint = status.endpoint.as_ref();
    wire::ContainerSummary {
        id: definition.id.to_string(),
        names: vec![format!("/{}", status.name)],
        image: names.shown(&definition.image_name, &definition.image),
        image_id: definition.image.to_string(),
        command: command_line(&definition.command),
        created: definition.created.as_second(),
        ports: ports::summaries(&definition.config, endpoint),
        labels: definition.config.labels.clone().unwrap_or_default(),
        state: status.state.name().to_owned(),
        status: with_health(status_text(&status.state, now), status),
        host_config: wire::HostConfigSummary {
            network_mode: definition.host.network_mode.clone(),
            annotations: definition.host.annotations.clone(),
        },
        network_settings: Some(wire::NetworkSettingsSummary {
            networks: networks(container, status),
        }),
        mounts: definition
            .mounts
            .iter()
            .filter_map(crate::mounts::Mount::to_wire)
            .collect(),
        ..wire::ContainerSummary::default()
    }
}

/// Program and arguments, those with blanks in quotes.
fn command_line(command: &[String]) -> String {
    let mut words = command.iter();
    let program = words.next().cloned().unwrap_or_default();
    words.fold(program, |line, word| {
        if word.contains(' ') {
            format!("{line} '{word}'")
        } else {
            format!("{line} {word}")
        }
    })
}

/// Adds the health of a container that runs.
fn with_health(text: String, status: &Status) -> String {
    match (&status.state, &status.health) {
        (State::Running(_), Some(health)) => format!("{text} ({})", health.verdict.suffix()),
        _ => text,
    }
}

/// The state in words: `Up 3 minutes`.
pub(crate) fn status_text(state: &State, now: Timestamp) -> String {
    let since = |then: Timestamp| words_for(now.as_second().saturating_sub(then.as_second()));
    match state {
        State::Created(_) => "Created".to_owned(),
        State::Starting(before) => status_text(before, now),
        State::Running(running) => format!("Up {}", since(running.started)),
        State::Paused(running) => format!("Up {} (Paused)", since(running.started)),
        State::Restarting(ended) => {
            format!("Restarting ({}) {} ago", ended.code, since(ended.finished))
        }
        State::Exited(ended) => format!("Exited ({}) {} ago", ended.code, since(ended.finished)),
        State::Removing(_) | State::Removed(_) => "Removal In Progress".to_owned(),
        State::Dead(_) => "Dead".to_owned(),
    }
}

/// A number of seconds in Docker's words.
fn words_for(seconds: i64) -> String {
    let minutes = seconds / 60;
    // Rounded to the nearest.
    let hours = (seconds + 1800) / 3600;
    match (seconds, minutes, hours) {
        (..=0, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, ..60, _) => format!("{minutes} minutes"),
        (.., 1) => "About an hour".to_owned(),
        (.., ..48) => format!("{hours} hours"),
        (.., ..336) => format!("{} days", hours / 24),
        (.., ..1440) => format!("{} weeks", hours / 24 / 7),
        (.., ..17_520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Ended, Running};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("a time")
    }

    #[test]
    fn durations_are_in_dockers_words() {
        for (seconds, expected) in [
            (-5, "Less than a second"),
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3_599, "59 minutes"),
            (3_600, "About an hour"),
            (5_399, "About an hour"),
            (5_400, "2 hours"),
            (171_000 - 1, "47 hours"),
            (172_800, "2 days"),
            (1_209_600, "2 weeks"),
            (5_184_000, "2 months"),
            (63_072_000, "2 years"),
        ] {
            assert_eq!(words_for(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn states_are_told_in_words() {
        let running = Running {
            pid: 1,
            started: at(0),
        };
        let ended = Ended {
            code: 137,
            oom_killed: false,
            started: at(0),
            finished: at(60),
            error: String::new(),
        };
        for (state, expected) in [
            (State::Created(None), "Created"),
            (State::Starting(Box::new(State::Created(None))), "Created"),
            (State::Running(running.clone()), "Up 3 minutes"),
            (State::Paused(running), "Up 3 minutes (Paused)"),
            (
                State::Restarting(ended.clone()),
                "Restarting (137) 2 minutes ago",
            ),
            (State::Exited(ended.clone()), "Exited (137) 2 minutes ago"),
            (State::Removing(None), "Removal In Progress"),
            (State::Dead(Some(ended)), "Dead"),
        ] {
            assert_eq!(status_text(&state, at(180)), expected, "{state:?}");
        }
    }

    #[test]
    fn commands_show_their_blanks() {
        let command = ["sh", "-c", "echo a b"].map(str::to_owned);
        assert_eq!(command_line(&command), "sh -c 'echo a b'");
        assert_eq!(command_line(&[]), "");
    }

    #[test]
    fn patterns_match_as_expressions_and_as_they_are() {
        let filters = |json| wire::Filters::parse(json).expect(json);
        for (json, text, expected) in [
            ("{}", "web", true),
            (r#"{"name":["eb"]}"#, "web", true),
            (r#"{"name":["^eb"]}"#, "web", false),
            (r#"{"name":["(","^/web$"]}"#, "/web", true),
            (r#"{"name":["a**"]}"#, "a**", true),
        ] {
            assert_eq!(
                Patterns::read(&filters(json), "name").matches(text),
                expected,
                "{json} {text}"
            );
        }
    }

    #[test]
    fn ports_are_read_as_ranges() {
        let set = |json| {
            port_set(&wire::Filters::parse(json).expect(json), "publish")
                .map_err(|error| error.to_string())
        };
        let port = |number, protocol: &str| (number, protocol.to_owned());
        assert_eq!(
            set(r#"{"publish":["80"]}"#),
            Ok(BTreeSet::from([port(80, "tcp")]))
        );
        assert_eq!(
            set(r#"{"publish":["8-9/UDP"]}"#),
            Ok(BTreeSet::from([port(8, "udp"), port(9, "udp")]))
        );
        assert_eq!(
            set(r#"{"publish":["9-8"]}"#),
            Err("invalid filter 'publish=9-8'".to_owned())
        );
    }
}
