//! `stats`: what containers use, as it changes.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use wharf_wire::query::encode;
use wharf_wire::{
    ContainerStats, ContainerSummary, Event, EventsQuery, Filters, ListQuery, StatsQuery,
};

use super::{Command, Context};
use crate::client::{Client, ClientError, Documents};
use crate::failure::{Failure, chain};
use crate::format::listing::{Kind, Row, Shape};
use crate::format::units;
use crate::grammar::{Arity, Flag, Grammar};
use crate::options::flags;

/// Between two pictures.
const PERIOD: Duration = Duration::from_millis(500);
/// How long the first numbers are waited for before the first picture.
const FIRST: Duration = Duration::from_millis(2500);

#[derive(Debug, Default)]
pub(super) struct Arguments {
    all: bool,
    format: Option<String>,
    no_stream: bool,
    no_trunc: bool,
}

type F = Flag<Arguments>;

pub(super) static COMMAND: Command<Arguments> = Command {
    names: &["container stats", "stats"],
    about: "Display a live stream of container(s) resource usage statistics",
    usage: "[OPTIONS] [CONTAINER...]",
    grammar: Grammar {
        flags: &[&[
            F::switch(
                "all",
                "Show all containers (default shows just running)",
                |a, on| a.all = on,
            )
            .short('a'),
            flags::format(|a, v| {
                a.format = Some(v.to_owned());
                Ok(())
            }),
            F::switch(
                "no-stream",
                "Disable streaming stats and only pull the first result",
                |a, on| a.no_stream = on,
            ),
            F::switch("no-trunc", "Do not truncate output", |a, on| {
                a.no_trunc = on;
            }),
        ]],
        interspersed: true,
        arity: Arity::AtLeast(0),
    },
    run,
};

static KIND: Kind = Kind {
    fields: &[
        ("BlockIO", "BLOCK I/O"),
        ("CPUPerc", "CPU %"),
        ("Container", "CONTAINER"),
        ("ID", "CONTAINER ID"),
        ("MemPerc", "MEM %"),
        ("MemUsage", "MEM USAGE / LIMIT"),
        ("Name", "NAME"),
        ("NetIO", "NET I/O"),
        ("PIDs", "PIDS"),
    ],
    go_type: "*container.statsContext",
    complaint: "template parsing error",
    raw: None,
};

const TABLE: &str = "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}";

/// One line of the picture.
#[derive(Default)]
struct Watched {
    /// As it is asked for.
    name: String,
    /// What it used last; nothing before the first numbers.
    last: Option<ContainerStats>,
    /// It is gone, and its line with it.
    gone: bool,
}

/// The lines, shared by those who fill them.
type Lines = Rc<RefCell<Vec<Watched>>>;

fn run(context: &Context, arguments: Arguments, names: Vec<String>) -> Result<u8, Failure> {
    let shape = Shape::new(&KIND, arguments.format.as_deref(), TABLE);
    let client = context.client()?;
    context.block_on(async {
        let picture = Picture {
            context,
            shape: &shape,
            arguments: &arguments,
            lines: Lines::default(),
        };
        if arguments.no_stream {
            picture.once(&client, names).await
        } else {
            picture.live(&client, names).await
        }
    })
}

struct Picture<'a> {
    context: &'a Context,
    shape: &'a Shape,
    arguments: &'a Arguments,
    lines: Lines,
}

impl Picture<'_> {
    async fn names(&self, client: &Client, given: Vec<String>) -> Result<Vec<String>, ClientError> {
        if !given.is_empty() {
            return Ok(given);
        }
        let query = ListQuery {
            all: self.arguments.all,
            ..ListQuery::default()
        };
        let path = format!("/containers/json{}", query.write());
        let containers: Vec<ContainerSummary> = client.get(&path).await?;
        Ok(containers
            .into_iter()
            .map(|container| container.id)
            .collect())
    }

    fn add(&self, name: &str) -> usize {
        let mut lines = self.lines.borrow_mut();
        lines.push(Watched {
            name: name.to_owned(),
            ..Watched::default()
        });
        lines.len() - 1
    }

    /// One picture of all.
    async fn once(&self, client: &Client, given: Vec<String>) -> Result<u8, Failure> {
        let names = self.names(client, given).await?;
        let query = StatsQuery {
            stream: false,
            one_shot: false,
        };
        let reading = |name: String| {
            let at = self.add(&name);
            async move {
                let path = format!("/containers/{}/stats{}", encode(&name), query.write());
                (at, client.get::<ContainerStats>(&path).await)
            }
        };
        let mut pending: FuturesUnordered<_> = names.into_iter().map(reading).collect();
        let mut failures = Vec::new();
        while let Some((at, stats)) = pending.next().await {
            match stats {
                Ok(stats) => self.lines.borrow_mut()[at].last = Some(stats),
                Err(error) => {
                    self.lines.borrow_mut()[at].gone = true;
                    failures.push(chain(&error));
                }
            }
        }
        if !failures.is_empty() {
            return Err(Failure::message(failures.join("\n")));
        }
        self.context.printer.data(self.table()?.as_bytes())?;
        Ok(0)
    }

    /// A picture twice a second, until the last container that was named is gone, or for ever.
    async fn live(&self, client: &Client, given: Vec<String>) -> Result<u8, Failure> {
        let follows_all = given.is_empty();
        // Listening comes before the list: nothing falls between the two.
        let mut events = match follows_all {
            true => Some(listen(client, self.arguments.all).await?),
            false => None,
        };
        let mut streams: FuturesUnordered<LocalBoxFuture<'_, Result<(), ClientError>>> =
            FuturesUnordered::new();
        for name in self.names(client, given).await? {
            let at = self.add(&name);
            streams.push(Box::pin(follow(client, name, at, Rc::clone(&self.lines))));
        }
        let mut ticks = tokio::time::interval(PERIOD);
        let start = tokio::time::Instant::now();
        let mut shown = false;
        loop {
            tokio::select! {
                event = next_event(&mut events) => match event? {
                    Some(event) if event.action == "die" || event.action == "destroy" => {
                        self.leave(&event.actor.id);
                    }
                    Some(event) => {
                        if let Some(at) = self.join(&event.actor.id) {
                            let stream = follow(client, event.actor.id, at, Rc::clone(&self.lines));
                            streams.push(Box::pin(stream));
                        }
                    }
                    None => return Ok(0),
                },
                Some(ended) = streams.next(), if !streams.is_empty() => match ended {
                    Err(error) if !follows_all => return Err(error.into()),
                    _ => {}
                },
                _ = ticks.tick() => {
                    let known = |line: &Watched| line.last.is_some() || line.gone;
                    let ready = self.lines.borrow().iter().all(known);
                    if shown || ready || start.elapsed() > FIRST {
                        self.show(!shown)?;
                        shown = true;
                    }
                    let ended = self.lines.borrow().iter().all(|line| line.gone);
                    if !follows_all && ended {
                        return Ok(0);
                    }
                }
            }
        }
    }

    /// A container that comes gets a line, unless it has one.
    fn join(&self, id: &str) -> Option<usize> {
        let known = |line: &Watched| line.name == id && !line.gone;
        if self.lines.borrow().iter().any(known) {
            return None;
        }
        Some(self.add(id))
    }

    fn leave(&self, id: &str) {
        for line in self.lines.borrow_mut().iter_mut() {
            line.gone |= line.name == id;
        }
    }

    /// Draws over the last picture.
    fn show(&self, first: bool) -> Result<(), Failure> {
        let mut text = String::from(if first { "\x1b[2J\x1b[H" } else { "\x1b[H" });
        for line in self.table()?.lines() {
            text.push_str(line);
            text.push_str("\x1b[K\n");
        }
        text.push_str("\x1b[J");
        self.context.printer.data(text.as_bytes())?;
        Ok(())
    }

    fn table(&self) -> Result<String, Failure> {
        let lines = self.lines.borrow();
        let shown = lines.iter().filter(|line| !line.gone);
        let rows = shown
            .map(|line| row(line, !self.arguments.no_trunc))
            .collect();
        self.shape
            .show(&KIND, rows)
            .map_err(|error| Failure::of(&error))
    }
}

/// Containers that come and go.
async fn listen(client: &Client, all: bool) -> Result<Documents<'_>, ClientError> {
    let mut filters = Filters::default();
    filters.add("type", "container");
    let actions: &[&str] = if all {
        &["create", "start", "destroy"]
    } else {
        &["start", "die"]
    };
    for action in actions {
        filters.add("event", *action);
    }
    let query = EventsQuery {
        filters,
        ..EventsQuery::default()
    };
    let path = format!("/events{}", query.write());
    let reply = client.call(hyper::Method::GET, &path).await?;
    Ok(Documents::new(reply))
}

async fn next_event(events: &mut Option<Documents<'_>>) -> Result<Option<Event>, ClientError> {
    match events {
        Some(events) => events.next().await,
        None => std::future::pending().await,
    }
}

/// Fills one line until its container is gone.
async fn follow(client: &Client, name: String, at: usize, lines: Lines) -> Result<(), ClientError> {
    let query = StatsQuery {
        stream: true,
        one_shot: false,
    };
    let path = format!("/containers/{}/stats{}", encode(&name), query.write());
    let filled = async {
        let reply = client.call(hyper::Method::GET, &path).await?;
        let mut documents = Documents::new(reply);
        while let Some(stats) = documents.next().await? {
            lines.borrow_mut()[at].last = Some(stats);
        }
        Ok(())
    };
    let ended = filled.await;
    lines.borrow_mut()[at].gone = true;
    ended
}

fn row(line: &Watched, short: bool) -> Row {
    let none = || "--".to_owned();
    let Some(stats) = &line.last else {
        return Row::new([
            ("BlockIO", none()),
            ("CPUPerc", none()),
            ("Container", line.name.clone()),
            ("ID", none()),
            ("MemPerc", none()),
            ("MemUsage", "-- / --".to_owned()),
            ("Name", none()),
            ("NetIO", none()),
            ("PIDs", none()),
        ]);
    };
    let id = if short {
        stats.id.chars().take(12).collect()
    } else {
        stats.id.clone()
    };
    let (usage, limit) = (memory(stats), stats.memory_stats.limit);
    let [received, sent] = traffic(stats);
    let [read, written] = blocks(stats);
    let pair = |one: u64, other: u64| {
        format!(
            "{} / {}",
            units::size(signed(one)),
            units::size(signed(other))
        )
    };
    Row::new([
        ("BlockIO", pair(read, written)),
        ("CPUPerc", format!("{:.2}%", processor_share(stats))),
        ("Container", line.name.clone()),
        ("ID", id),
        ("MemPerc", format!("{:.2}%", percent(usage, limit))),
        (
            "MemUsage",
            format!(
                "{} / {}",
                units::binary(signed(usage)),
                units::binary(signed(limit))
            ),
        ),
        ("Name", stats.name.trim_start_matches('/').to_owned()),
        ("NetIO", pair(received, sent)),
        ("PIDs", stats.pids_stats.current.to_string()),
    ])
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    part as f64 / whole as f64 * 100.0
}

/// The container's share of one processor since the reading before.
fn processor_share(stats: &ContainerStats) -> f64 {
    let (now, before) = (&stats.cpu_stats, &stats.precpu_stats);
    let used = now
        .cpu_usage
        .total_usage
        .saturating_sub(before.cpu_usage.total_usage);
    let passed = now.system_cpu_usage.saturating_sub(before.system_cpu_usage);
    let online = match now.online_cpus {
        0 => u32::try_from(now.cpu_usage.percpu_usage.len()).unwrap_or(1),
        online => online,
    };
    percent(used, passed) * f64::from(online)
}

/// Memory without what the kernel can take back at once.
fn memory(stats: &ContainerStats) -> u64 {
    let memory = &stats.memory_stats;
    let idle = memory
        .stats
        .get("total_inactive_file")
        .or_else(|| memory.stats.get("inactive_file"));
    match idle {
        Some(idle) if *idle < memory.usage => memory.usage - idle,
        _ => memory.usage,
    }
}

fn traffic(stats: &ContainerStats) -> [u64; 2] {
    let networks = stats.networks.values();
    networks.fold([0, 0], |[received, sent], network| {
        [received + network.rx_bytes, sent + network.tx_bytes]
    })
}

fn blocks(stats: &ContainerStats) -> [u64; 2] {
    let of = |letter: &str| {
        let entries = stats
            .blkio_stats
            .io_service_bytes_recursive
            .iter()
            .flatten();
        entries
            .filter(|entry| {
                entry
                    .op
                    .get(..1)
                    .is_some_and(|first| first.eq_ignore_ascii_case(letter))
            })
            .map(|entry| entry.value)
            .sum()
    };
    [of("r"), of("w")]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn shares_are_of_one_processor() {
        let mut stats = ContainerStats::default();
        stats.cpu_stats.cpu_usage.total_usage = 3_000;
        stats.cpu_stats.system_cpu_usage = 20_000;
        stats.cpu_stats.online_cpus = 4;
        stats.precpu_stats.cpu_usage.total_usage = 1_000;
        stats.precpu_stats.system_cpu_usage = 10_000;
        assert!((processor_share(&stats) - 80.0).abs() < 1e-9);
        assert!(processor_share(&ContainerStats::default()).abs() < 1e-9);
    }

    #[test]
    fn idle_files_are_not_counted_as_memory() {
        let mut stats = ContainerStats::default();
        stats.memory_stats.usage = 100;
        assert_eq!(memory(&stats), 100);
        stats.memory_stats.stats = Arc::new([("inactive_file".to_owned(), 30)].into());
        assert_eq!(memory(&stats), 70);
        stats.memory_stats.stats = Arc::new([("total_inactive_file".to_owned(), 200)].into());
        assert_eq!(memory(&stats), 100);
    }
}
