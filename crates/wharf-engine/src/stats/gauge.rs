//! What one container is read with, and what all readings of a moment share.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::os::fd::AsFd as _;

use jiff::Timestamp;
use wharf_cgroup::{Cgroup, Meter};
use wharf_network::{Interface, Traffic, TrafficMeter};
use wharf_wire as wire;

use super::document;
use crate::inspect::nanoseconds;
use crate::state::Running;

/// Kernel's ticks a second in /proc/stat, the same on every architecture it is told on.
const TICKS: u64 = 100;

/// The machine at one moment.
#[derive(Debug, Default)]
pub(super) struct Machine {
    at: String,
    /// Processor time of all, idle too, in nanoseconds.
    processors: u64,
    online: u32,
    memory: u64,
    traffic: HashMap<u32, Traffic>,
}

impl Machine {
    /// Reads the machine. What cannot be read is zero: that is no reason to tell nothing.
    pub(super) fn read(with_traffic: bool) -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let (processors, online) = processor_time(&stat);
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let counted = |mut meter: TrafficMeter| meter.read();
        let traffic = with_traffic.then(|| TrafficMeter::open().and_then(counted));
        let traffic = traffic.map(|traffic| {
            traffic.unwrap_or_else(|error| {
                tracing::warn!(%error, "what goes through interfaces is not counted");
                HashMap::new()
            })
        });
        Self {
            at: nanoseconds(Timestamp::now()),
            processors,
            online,
            memory: u64::try_from(crate::host::memory(&memory)).unwrap_or_default(),
            traffic: traffic.unwrap_or_default(),
        }
    }
}

/// Sums the first line, and counts those of single processors.
fn processor_time(stat: &str) -> (u64, u32) {
    let mut lines = stat.lines();
    let first = lines.next().unwrap_or_default();
    // user, nice, system, idle, waiting, interrupts, soft interrupts: Docker's seven.
    let ticks: u64 = first
        .split_ascii_whitespace()
        .skip(1)
        .take(7)
        .filter_map(|number| number.parse::<u64>().ok())
        .sum();
    let online = lines.take_while(|line| line.starts_with("cpu")).count();
    (
        ticks.saturating_mul(1_000_000_000 / TICKS),
        u32::try_from(online).unwrap_or(u32::MAX),
    )
}

/// What a running container is read with.
#[derive(Debug)]
pub(super) struct Gauge {
    running: Running,
    meter: Meter,
    interfaces: Vec<Interface>,
    before: Option<(String, wire::CpuStats)>,
    memory: wire::MemoryStats,
}

impl Gauge {
    /// Opens everything; `None` when the container has ended.
    pub(super) fn open(cgroup: &Cgroup, running: Running) -> Option<Self> {
        let meter = cgroup.meter().ok()?;
        let netns = File::open(format!("/proc/{}/ns/net", running.pid));
        let interfaces = netns.map(|netns| wharf_network::interfaces(netns.as_fd()));
        Some(Self {
            running,
            meter,
            // With the host's network nothing is the container's own; without any there is nothing.
            interfaces: interfaces.ok()?.unwrap_or_default(),
            before: None,
            memory: wire::MemoryStats::default(),
        })
    }

    /// Whether it is for this run.
    pub(super) fn is_of(&self, running: &Running) -> bool {
        self.running == *running
    }

    /// Fills in the numbers; `None` when the container has ended.
    pub(super) fn read(
        &mut self,
        identity: wire::ContainerStats,
        machine: &Machine,
    ) -> Option<wire::ContainerStats> {
        let stats = self.meter.read().ok()?;
        let cpu = wire::CpuStats {
            system_cpu_usage: machine.processors,
            online_cpus: machine.online,
            ..document::cpu(&stats.cpu)
        };
        document::update_memory(&mut self.memory, &stats.memory, machine.memory);
        let networks: BTreeMap<_, _> = self
            .interfaces
            .iter()
            .filter_map(|interface| {
                let traffic = machine.traffic.get(&interface.peer)?;
                Some((interface.name.clone(), document::network(traffic)))
            })
            .collect();
        let mut reading = wire::ContainerStats {
            read: machine.at.clone(),
            pids_stats: document::pids(&stats.pids),
            blkio_stats: document::blkio(&stats.blkio),
            memory_stats: self.memory.clone(),
            networks,
            ..identity
        };
        if let Some((at, cpu)) = self.before.take() {
            (reading.preread, reading.precpu_stats) = (at, cpu);
        }
        self.before = Some((machine.at.clone(), cpu.clone()));
        reading.cpu_stats = cpu;
        Some(reading)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_summed_as_docker_sums_it() {
        let stat = "cpu  10 1 2 30 4 5 6 700 80 9\ncpu0 1\ncpu1 2\nintr 5\ncpu 9\n";
        assert_eq!(processor_time(stat), (580_000_000, 2));
        assert_eq!(processor_time(""), (0, 0));
    }
}
