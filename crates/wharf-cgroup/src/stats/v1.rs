//! Numbers of v1 controllers.

use std::path::Path;

use super::{
    BlkioEntry, BlkioOperation, BlkioStats, CpuStats, HugetlbStats, MemoryStats, Stats, key_values,
    optional, optional_limit, optional_number,
};
use crate::files;
use crate::group::CgroupError;

/// Reads what is there: `dir` gives the directory of a controller, `unified` is that of the unified
/// hierarchy where it is used beside.
pub(crate) fn read<'a>(
    dir: impl Fn(&str) -> Option<&'a Path>,
    unified: Option<&Path>,
) -> Result<Stats, CgroupError> {
    let mut stats = Stats::default();
    if let Some(dir) = dir("cpuacct") {
        processor_time(dir, &mut stats.cpu)?;
    }
    if let Some(dir) = dir("cpu") {
        throttling(&files::read(&dir.join("cpu.stat"))?, &mut stats.cpu);
    }
    if let Some(dir) = dir("memory") {
        stats.memory = memory(dir)?;
    }
    if let Some(dir) = dir("pids") {
        stats.pids = super::pids(dir)?;
    }
    if let Some(dir) = dir("blkio") {
        stats.blkio = blkio(dir)?;
    }
    if let Some(dir) = dir("hugetlb") {
        for size in super::hugepage_sizes(dir, ".usage_in_bytes")? {
            let file = |name: &str| dir.join(format!("hugetlb.{size}.{name}"));
            let usage = HugetlbStats {
                usage: files::read_number(&file("usage_in_bytes"))?,
                max_usage: files::read_number(&file("max_usage_in_bytes"))?,
                failcnt: files::read_number(&file("failcnt"))?,
            };
            stats.hugetlb.insert(size, usage);
        }
    } else if let Some(dir) = unified {
        super::v2::hugetlb(dir, &mut stats.hugetlb)?;
    }
    Ok(stats)
}

/// Times in nanoseconds; `cpuacct.stat` has them in ticks, so it is not read.
fn processor_time(dir: &Path, cpu: &mut CpuStats) -> Result<(), CgroupError> {
    cpu.total = files::read_number(&dir.join("cpuacct.usage"))?;
    cpu.user = optional_number(&dir.join("cpuacct.usage_user"))?.unwrap_or(0);
    cpu.kernel = optional_number(&dir.join("cpuacct.usage_sys"))?.unwrap_or(0);
    let path = dir.join("cpuacct.usage_percpu");
    cpu.per_cpu = files::read(&path)?
        .split_ascii_whitespace()
        .map(|number| {
            number
                .parse()
                .map_err(|_| CgroupError::parse(&path, number))
        })
        .collect::<Result<_, _>>()?;
    Ok(())
}

pub(super) fn throttling(text: &str, cpu: &mut CpuStats) {
    for (key, value) in key_values(text) {
        match key {
            "nr_periods" => cpu.periods = value,
            "nr_throttled" => cpu.throttled_periods = value,
            "throttled_time" => cpu.throttled_time = value,
            _ => {}
        }
    }
}

fn memory(dir: &Path) -> Result<MemoryStats, CgroupError> {
    let swap_usage = optional_number(&dir.join("memory.memsw.usage_in_bytes"))?;
    let swap_limit = swap_usage
        .map(|_| optional_limit(&dir.join("memory.memsw.limit_in_bytes")))
        .transpose()?
        .map(|limit| limit.unwrap_or(u64::MAX));
    Ok(MemoryStats {
        usage: files::read_number(&dir.join("memory.usage_in_bytes"))?,
        max_usage: files::read_number(&dir.join("memory.max_usage_in_bytes"))?,
        limit: files::read_limit(&dir.join("memory.limit_in_bytes"))?.unwrap_or(u64::MAX),
        failcnt: files::read_number(&dir.join("memory.failcnt"))?,
        swap_usage,
        swap_limit,
        stat: key_values(&files::read(&dir.join("memory.stat"))?)
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    })
}

/// BFQ counts what goes through it, the throttling layer everything.
fn blkio(dir: &Path) -> Result<BlkioStats, CgroupError> {
    let read = |names: [&str; 2]| {
        for name in names {
            let text = optional(&dir.join(name))?;
            let found = text.map(|text| entries(&text)).unwrap_or_default();
            if !found.is_empty() {
                return Ok(found);
            }
        }
        Ok(Vec::new())
    };
    Ok(BlkioStats {
        service_bytes: read([
            "blkio.bfq.io_service_bytes_recursive",
            "blkio.throttle.io_service_bytes_recursive",
        ])?,
        serviced: read([
            "blkio.bfq.io_serviced_recursive",
            "blkio.throttle.io_serviced_recursive",
        ])?,
    })
}

/// Lines `8:0 Read 1282048`; the sum over all devices at the end is left out.
pub(super) fn entries(text: &str) -> Vec<BlkioEntry> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let (major, minor) = fields.next()?.split_once(':')?;
            let operation = match fields.next()? {
                "Read" => BlkioOperation::Read,
                "Write" => BlkioOperation::Write,
                "Sync" => BlkioOperation::Sync,
                "Async" => BlkioOperation::Async,
                "Discard" => BlkioOperation::Discard,
                "Total" => BlkioOperation::Total,
                _ => return None,
            };
            Some(BlkioEntry {
                major: major.parse().ok()?,
                minor: minor.parse().ok()?,
                operation,
                value: fields.next()?.parse().ok()?,
            })
        })
        .collect()
}
