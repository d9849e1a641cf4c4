//! `events`: statistics and out-of-memory notices, one JSON document a line, as runc's.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};
use wharf_cgroup::{BlkioEntry, Stats};

use super::args::Events;
use super::container::Container;
use super::{Failure, Outcome, print};

/// `events`: once with `--stats`, else until the container ends.
pub(super) fn events(root: &Path, args: &Events) -> Outcome {
    let interval = duration(&args.interval)?;
    let container = Container::look(root, &args.id)?;
    let process = container.process()?.ok_or("container is not running")?;
    let cgroup = container.cgroup()?;
    let id = container.record.id.clone();
    drop(container);
    if args.stats {
        emit("stats", &id, Some(stats(&cgroup.stats()?)))?;
        return Ok(0);
    }
    let mut memory = cgroup.watch_oom()?;
    let mut next = Instant::now() + interval;
    loop {
        let left = next.saturating_duration_since(Instant::now());
        let left = Timespec {
            tv_sec: i64::try_from(left.as_secs())?,
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut polled = [
            PollFd::new(&process, PollFlags::IN),
            PollFd::new(&memory, PollFlags::IN),
        ];
        match poll(&mut polled, Some(&left)) {
            Err(rustix::io::Errno::INTR) => continue,
            result => result?,
        };
        let [ended, out_of_memory] = polled.map(|fd| !fd.revents().is_empty());
        if out_of_memory {
            for _ in 0..memory.take()? {
                emit("oom", &id, None)?;
            }
        }
        if ended {
            return Ok(0);
        }
        if Instant::now() >= next {
            emit("stats", &id, Some(stats(&cgroup.stats()?)))?;
            next += interval;
        }
    }
}

fn emit(kind: &str, id: &str, data: Option<Value>) -> Result<(), Failure> {
    let mut event = json!({ "type": kind, "id": id });
    if let Some(data) = data {
        event["data"] = data;
    }
    Ok(print(&format!("{event}\n"))?)
}

/// A duration as Go writes it: `5s`, `1m30s`, `250ms`.
fn duration(text: &str) -> Result<Duration, Failure> {
    let invalid = || Failure::from(format!("invalid duration {text:?}"));
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .ok_or_else(invalid)?;
        let (number, after) = rest.split_at(digits);
        let unit = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let number: u64 = number.parse().map_err(|_| invalid())?;
        let milliseconds = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(invalid()),
        };
        let part = Duration::from_millis(number.checked_mul(milliseconds).ok_or_else(invalid)?);
        total = total.checked_add(part).ok_or_else(invalid)?;
        rest = after;
    }
    if total.is_zero() {
        return Err("duration interval must be greater than 0".into());
    }
    Ok(total)
}

/// The statistics in runc's shape.
fn stats(stats: &Stats) -> Value {
    let memory = &stats.memory;
    let mut usage = json!({
        "limit": memory.limit,
        "usage": memory.usage,
        "max": memory.max_usage,
        "failcnt": memory.failcnt,
    });
    let swap = json!({
        "limit": memory.swap_limit.unwrap_or(0),
        "usage": memory.swap_usage.unwrap_or(0),
        "failcnt": 0,
    });
    if memory.limit == 0 {
        usage["limit"] = json!(u64::MAX);
    }
    let entries = |entries: &[BlkioEntry]| {
        let entry = |entry: &BlkioEntry| {
            json!({
                "major": entry.major,
                "minor": entry.minor,
                "op": entry.operation.as_str(),
                "value": entry.value,
            })
        };
        Value::Array(entries.iter().map(entry).collect())
    };
    let pages = stats.hugetlb.iter().map(|(size, stats)| {
        let stats = json!({
            "usage": stats.usage,
            "max": stats.max_usage,
            "failcnt": stats.failcnt,
        });
        (size.clone(), stats)
    });
    json!({
        "cpu": {
            "usage": {
                "total": stats.cpu.total,
                "percpu": stats.cpu.per_cpu,
                "kernel": stats.cpu.kernel,
                "user": stats.cpu.user,
            },
            "throttling": {
                "periods": stats.cpu.periods,
                "throttledPeriods": stats.cpu.throttled_periods,
                "throttledTime": stats.cpu.throttled_time,
            },
        },
        "memory": {
            "usage": usage,
            "swap": swap,
            "cache": memory.stat.get("cache").copied().unwrap_or(0),
            "raw": memory.stat,
        },
        "pids": { "current": stats.pids.current, "limit": stats.pids.limit.unwrap_or(0) },
        "blkio": {
            "ioServiceBytesRecursive": entries(&stats.blkio.service_bytes),
            "ioServicedRecursive": entries(&stats.blkio.serviced),
        },
        "hugetlb": pages.collect::<serde_json::Map<_, _>>(),
        "intel_rdt": {},
        "network_interfaces": null,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_go_s() {
        assert_eq!(duration("1m30s").ok(), Some(Duration::from_secs(90)));
        assert_eq!(duration("250ms").ok(), Some(Duration::from_millis(250)));
        for text in ["", "0s", "5", "s", "5x", "99999999999999999999s"] {
            duration(text).expect_err(text);
        }
    }
}
