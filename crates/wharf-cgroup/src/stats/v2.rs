//! Numbers of a v2 group.

use std::collections::BTreeMap;
use std::path::Path;

use super::{
    BlkioEntry, BlkioOperation, BlkioStats, CpuStats, HugetlbStats, MemoryStats, Stats, key_values,
    optional, optional_limit, optional_number,
};
use crate::files;
use crate::group::CgroupError;

/// Reads what is there: files of controllers that were not handed down are missing.
pub(crate) fn read(dir: &Path) -> Result<Stats, CgroupError> {
    let mut stats = Stats {
        cpu: processor_time(&files::read(&dir.join("cpu.stat"))?),
        memory: memory(dir)?,
        pids: super::pids(dir)?,
        blkio: blkio(&optional(&dir.join("io.stat"))?.unwrap_or_default()),
        hugetlb: BTreeMap::new(),
    };
    hugetlb(dir, &mut stats.hugetlb)?;
    Ok(stats)
}

pub(super) fn processor_time(text: &str) -> CpuStats {
    let mut cpu = CpuStats::default();
    for (key, value) in key_values(text) {
        match key {
            "usage_usec" => cpu.total = value * 1000,
            "user_usec" => cpu.user = value * 1000,
            "system_usec" => cpu.kernel = value * 1000,
            "nr_periods" => cpu.periods = value,
            "nr_throttled" => cpu.throttled_periods = value,
            "throttled_usec" => cpu.throttled_time = value * 1000,
            _ => {}
        }
    }
    cpu
}

fn memory(dir: &Path) -> Result<MemoryStats, CgroupError> {
    let Some(usage) = optional_number(&dir.join("memory.current"))? else {
        return Ok(MemoryStats::default());
    };
    let swap_usage = optional_number(&dir.join("memory.swap.current"))?;
    let swap_limit = swap_usage
        .map(|_| optional_limit(&dir.join("memory.swap.max")))
        .transpose()?
        .map(|limit| limit.unwrap_or(u64::MAX));
    Ok(MemoryStats {
        usage,
        max_usage: optional_number(&dir.join("memory.peak"))?.unwrap_or(0),
        limit: files::read_limit(&dir.join("memory.max"))?.unwrap_or(u64::MAX),
        failcnt: files::read_value(&dir.join("memory.events"), "max")?.unwrap_or(0),
        swap_usage,
        swap_limit,
        stat: key_values(&files::read(&dir.join("memory.stat"))?)
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    })
}

/// Lines `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6`.
pub(super) fn blkio(text: &str) -> BlkioStats {
    let mut stats = BlkioStats::default();
    for line in text.lines() {
        let mut fields = line.split(' ');
        let Some((major, minor)) = fields.next().and_then(|device| device.split_once(':')) else {
            continue;
        };
        let (Ok(major), Ok(minor)) = (major.parse(), minor.parse()) else {
            continue;
        };
        for (key, value) in fields.filter_map(|field| field.split_once('=')) {
            let (list, operation) = match key {
                "rbytes" => (&mut stats.service_bytes, BlkioOperation::Read),
                "wbytes" => (&mut stats.service_bytes, BlkioOperation::Write),
                "dbytes" => (&mut stats.service_bytes, BlkioOperation::Discard),
                "rios" => (&mut stats.serviced, BlkioOperation::Read),
                "wios" => (&mut stats.serviced, BlkioOperation::Write),
                "dios" => (&mut stats.serviced, BlkioOperation::Discard),
                _ => continue,
            };
            let Ok(value) = value.parse() else {
                continue;
            };
            list.push(BlkioEntry {
                major,
                minor,
                operation,
                value,
            });
        }
    }
    stats
}

/// The kernel counts no highest use here.
pub(super) fn hugetlb(
    dir: &Path,
    sizes: &mut BTreeMap<String, HugetlbStats>,
) -> Result<(), CgroupError> {
    for size in super::hugepage_sizes(dir, ".current")? {
        let file = |name: &str| dir.join(format!("hugetlb.{size}.{name}"));
        let usage = HugetlbStats {
            usage: files::read_number(&file("current"))?,
            max_usage: 0,
            failcnt: files::read_value(&file("events"), "max")?.unwrap_or(0),
        };
        sizes.insert(size, usage);
    }
    Ok(())
}
