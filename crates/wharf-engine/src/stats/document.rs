//! The numbers as the API has them.

use std::sync::Arc;

use wharf_cgroup as cgroup;
use wharf_network::Traffic;
use wharf_wire as wire;

pub(super) fn cpu(cpu: &cgroup::CpuStats) -> wire::CpuStats {
    wire::CpuStats {
        cpu_usage: wire::CpuUsage {
            total_usage: cpu.total,
            percpu_usage: cpu.per_cpu.clone(),
            usage_in_kernelmode: cpu.kernel,
            usage_in_usermode: cpu.user,
        },
        throttling_data: wire::ThrottlingData {
            periods: cpu.periods,
            throttled_periods: cpu.throttled_periods,
            throttled_time: cpu.throttled_time,
        },
        ..Default::default()
    }
}

/// A container without a limit of its own has the machine's memory for one.
pub(super) fn update_memory(
    document: &mut wire::MemoryStats,
    memory: &cgroup::MemoryStats,
    machine: u64,
) {
    document.usage = memory.usage;
    document.max_usage = memory.max_usage;
    document.failcnt = memory.failcnt;
    document.limit = memory.limit.min(machine);
    if *document.stats != memory.stat {
        document.stats = Arc::new(memory.stat.clone());
    }
}

pub(super) fn pids(pids: &cgroup::PidsStats) -> wire::PidsStats {
    wire::PidsStats {
        current: pids.current,
        limit: pids.limit.unwrap_or_default(),
    }
}

pub(super) fn blkio(blkio: &cgroup::BlkioStats) -> wire::BlkioStats {
    let entries = |entries: &[cgroup::BlkioEntry]| {
        let entry = |entry: &cgroup::BlkioEntry| wire::BlkioEntry {
            major: entry.major,
            minor: entry.minor,
            op: entry.operation.as_str().to_owned(),
            value: entry.value,
        };
        Some(entries.iter().map(entry).collect())
    };
    wire::BlkioStats {
        io_service_bytes_recursive: entries(&blkio.service_bytes),
        io_serviced_recursive: entries(&blkio.serviced),
        ..Default::default()
    }
}

pub(super) fn network(traffic: &Traffic) -> wire::NetworkStats {
    let (received, sent) = (&traffic.received, &traffic.sent);
    wire::NetworkStats {
        rx_bytes: received.bytes,
        rx_packets: received.packets,
        rx_errors: received.errors,
        rx_dropped: received.dropped,
        tx_bytes: sent.bytes,
        tx_packets: sent.packets,
        tx_errors: sent.errors,
        tx_dropped: sent.dropped,
    }
}
