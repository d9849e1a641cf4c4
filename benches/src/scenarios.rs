//! What is measured.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use crate::memory;
use crate::options::Options;
use crate::peers::{Operation, Peer, Peers, unique};
use crate::sample::{Samples, time};
use crate::table::{Figure, Row};
use crate::travel;

/// Runs in one turn of a peer.
const BURST: usize = 10;

/// The pause that lets RCU and timers settle, as between two commands of a script that works.
const APART: Duration = Duration::from_millis(30);

/// Containers in a listing.
const LISTED: usize = 500;

/// Clients at once.
const AT_ONCE: usize = 100;

/// A group of measurements.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) measure: fn(&mut Peers, &Options) -> Result<Vec<Row>>,
}

/// All of them, in the order of the table.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "run",
        measure: run,
    },
    Scenario {
        name: "sequence",
        measure: sequence,
    },
    Scenario {
        name: "lifecycle",
        measure: lifecycle,
    },
    Scenario {
        name: "crowded",
        measure: crowded,
    },
    Scenario {
        name: "restart",
        measure: restart,
    },
    Scenario {
        name: "listing",
        measure: listing,
    },
    Scenario {
        name: "execs",
        measure: execs,
    },
    Scenario {
        name: "travel",
        measure: travel::travel,
    },
    Scenario {
        name: "travel-own",
        measure: travel::travel_own,
    },
];

/// Gives every peer its turn, round after round; each turn returns its samples.
fn rounds<'p>(
    peers: impl Iterator<Item = &'p Peer> + Clone,
    runs: usize,
    mut turn: impl FnMut(&Peer, usize) -> Result<Vec<Duration>>,
) -> Result<Vec<(&'p Peer, Samples)>> {
    let mut collected: Vec<(&Peer, Samples)> =
        peers.map(|peer| (peer, Samples::default())).collect();
    let mut done = 0;
    while done < runs {
        let burst = BURST.min(runs - done);
        for (peer, samples) in &mut collected {
            for sample in turn(peer, burst)? {
                samples.push(sample);
            }
        }
        done += burst;
    }
    Ok(collected)
}

fn rows(measure: &str, collected: Vec<(&Peer, Samples)>) -> Vec<Row> {
    collected
        .into_iter()
        .filter(|(_, samples)| samples.len() > 0)
        .map(|(peer, samples)| Row {
            measure: measure.to_owned(),
            peer: peer.name.to_owned(),
            figure: Figure::Time(samples),
        })
        .collect()
}

/// Times an operation `count` times, after a pause each.
fn repeat(
    peer: &Peer,
    operation: Operation<'_>,
    count: usize,
    pause: Duration,
) -> Result<Vec<Duration>> {
    let mut samples = Vec::with_capacity(count);
    for _ in 0..count {
        let Some(command) = peer.command(operation) else {
            break;
        };
        std::thread::sleep(pause);
        samples.push(time(command)?);
    }
    Ok(samples)
}

fn run(peers: &mut Peers, options: &Options) -> Result<Vec<Row>> {
    let mut table = Vec::new();
    for (measure, pause) in [
        ("run --rm busybox true, 30 ms apart", APART),
        ("run --rm busybox true, back to back", Duration::ZERO),
    ] {
        let collected = rounds(peers.list.iter(), options.runs, |peer, burst| {
            repeat(peer, Operation::RunTrue, burst, pause)
        })?;
        table.extend(rows(measure, collected));
    }
    Ok(table)
}

fn sequence(peers: &mut Peers, _: &Options) -> Result<Vec<Row>> {
    let collected = rounds(peers.list.iter(), 5, |peer, burst| {
        let mut totals = Vec::new();
        for _ in 0..burst {
            let start = Instant::now();
            repeat(peer, Operation::RunEcho, 20, Duration::ZERO)?;
            totals.push(start.elapsed());
        }
        Ok(totals)
    })?;
    Ok(rows("20 times run --rm debian echo, in all", collected))
}

/// Creates, starts, enters and removes containers one after the other.
fn lifecycle(peers: &mut Peers, options: &Options) -> Result<Vec<Row>> {
    let mut operations: [Vec<(&Peer, Samples)>; 3] = Default::default();
    let able = || {
        peers
            .list
            .iter()
            .filter(|peer| peer.command(Operation::Create("x")).is_some())
    };
    for peer in able() {
        for operation in &mut operations {
            operation.push((peer, Samples::default()));
        }
    }
    for _ in 0..options.runs.min(50) {
        for (index, peer) in able().enumerate() {
            let name = unique("life");
            let [starts, execs, removals] = &mut operations;
            repeat(peer, Operation::Create(&name), 1, Duration::ZERO)?;
            let sample = |operation, samples: &mut Samples| -> Result<()> {
                repeat(peer, operation, 1, APART)?
                    .into_iter()
                    .for_each(|time| samples.push(time));
                Ok(())
            };
            sample(Operation::Start(&name), &mut starts[index].1)?;
            sample(Operation::ExecTrue(&name), &mut execs[index].1)?;
            sample(Operation::Remove(&name), &mut removals[index].1)?;
        }
    }
    let [starts, execs, removals] = operations;
    let mut table = rows("start", starts);
    table.extend(rows("exec true", execs));
    table.extend(rows("rm --force", removals));
    Ok(table)
}

/// The same with many containers beside, and what they cost in memory.
fn crowded(peers: &mut Peers, options: &Options) -> Result<Vec<Row>> {
    let count = options.containers;
    let mut table = Vec::new();
    let idle: Vec<u64> = peers.list.iter().map(footprint).collect();
    for (peer, kilobytes) in peers.list.iter().zip(&idle) {
        if peer.engine_pid().is_some() {
            table.push(memory_row("memory of the idle engine", peer, *kilobytes));
        }
    }
    let engines = || peers.list.iter().filter(|peer| peer.engine_pid().is_some());
    let names: Vec<String> = (0..count).map(|_| unique("crowd")).collect();
    for peer in engines() {
        for name in &names {
            repeat(peer, Operation::RunDetached(name), 1, Duration::ZERO)?;
        }
    }
    for (peer, before) in peers.list.iter().zip(&idle) {
        if peer.engine_pid().is_some() {
            let each = footprint(peer).saturating_sub(*before) / u64::try_from(count.max(1))?;
            table.push(memory_row(
                "memory per container beyond its own process",
                peer,
                each,
            ));
        }
    }
    let collected = rounds(engines(), options.runs, |peer, burst| {
        repeat(peer, Operation::RunTrue, burst, APART)
    })?;
    table.extend(rows(
        &format!("run --rm busybox true, {count} beside"),
        collected,
    ));
    for peer in engines() {
        for name in &names {
            repeat(peer, Operation::Remove(name), 1, Duration::ZERO)?;
        }
    }
    Ok(table)
}

fn memory_row(measure: &str, peer: &Peer, kilobytes: u64) -> Row {
    Row {
        measure: measure.to_owned(),
        peer: peer.name.to_owned(),
        figure: Figure::Memory(kilobytes),
    }
}

/// The memory of all of a peer's processes but the containers' own.
fn footprint(peer: &Peer) -> u64 {
    let Some(engine) = peer.engine_pid() else {
        return 0;
    };
    let mut processes = memory::family(engine);
    if let Some(directory) = peer.directory() {
        processes.extend(memory::mentioning(&directory.to_string_lossy()));
    }
    processes.remove(&std::process::id());
    processes
        .into_iter()
        .filter(|pid| !memory::is_payload(*pid))
        .map(memory::pss)
        .sum()
}

/// How long an engine takes to its first answer with many containers on record.
fn restart(peers: &mut Peers, options: &Options) -> Result<Vec<Row>> {
    let names: Vec<String> = (0..options.containers).map(|_| unique("record")).collect();
    let mut table = Vec::new();
    for peer in &mut peers.list {
        if peer.engine_pid().is_none() {
            continue;
        }
        for name in &names {
            repeat(peer, Operation::Create(name), 1, Duration::ZERO)?;
        }
        let mut samples = Samples::default();
        for _ in 0..5 {
            peer.restart()?
                .into_iter()
                .for_each(|time| samples.push(time));
        }
        for name in &names {
            repeat(peer, Operation::Remove(name), 1, Duration::ZERO)?;
        }
        let measure = format!(
            "engine start to first answer, {} on record",
            options.containers
        );
        table.extend(rows(&measure, vec![(peer, samples)]));
    }
    Ok(table)
}

/// A listing of many containers.
fn listing(peers: &mut Peers, options: &Options) -> Result<Vec<Row>> {
    let names: Vec<String> = (0..LISTED).map(|_| unique("listed")).collect();
    let engines = || peers.list.iter().filter(|peer| peer.engine_pid().is_some());
    for peer in engines() {
        for name in &names {
            repeat(peer, Operation::Create(name), 1, Duration::ZERO)?;
        }
    }
    let collected = rounds(engines(), options.runs, |peer, burst| {
        repeat(peer, Operation::List, burst, APART)
    })?;
    for peer in engines() {
        for name in &names {
            repeat(peer, Operation::Remove(name), 1, Duration::ZERO)?;
        }
    }
    Ok(rows(&format!("ps --all of {LISTED}"), collected))
}

/// Many further processes of one container at once; the time until the last has ended.
fn execs(peers: &mut Peers, _: &Options) -> Result<Vec<Row>> {
    let engines = || peers.list.iter().filter(|peer| peer.engine_pid().is_some());
    let name = unique("entered");
    for peer in engines() {
        repeat(peer, Operation::RunDetached(&name), 1, Duration::ZERO)?;
    }
    let collected = rounds(engines(), 5, |peer, _| {
        let start = Instant::now();
        let results = std::thread::scope(|scope| {
            let enter = || repeat(peer, Operation::ExecTrue(&name), 1, Duration::ZERO);
            let clients: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(enter)).collect();
            clients
                .into_iter()
                .map(|client| client.join().map_err(|_| anyhow!("a client panicked")))
                .collect::<Result<Vec<_>>>()
        });
        results?.into_iter().collect::<Result<Vec<_>>>()?;
        Ok(vec![start.elapsed()])
    })?;
    for peer in engines() {
        repeat(peer, Operation::Remove(&name), 1, Duration::ZERO)?;
    }
    Ok(rows(
        &format!("{AT_ONCE} times exec true at once, in all"),
        collected,
    ))
}
