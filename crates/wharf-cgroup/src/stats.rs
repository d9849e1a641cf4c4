//! What a group uses.

mod meter;
mod v1;
mod v2;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rustix::io::Errno;

use crate::files;
use crate::group::CgroupError;

pub use meter::Meter;
pub(crate) use v1::read as read_v1;
pub(crate) use v2::read as read_v2;

/// Use of all resources. Times are nanoseconds, sizes bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Processor time.
    pub cpu: CpuStats,
    /// Memory.
    pub memory: MemoryStats,
    /// Tasks.
    pub pids: PidsStats,
    /// Block devices.
    pub blkio: BlkioStats,
    /// Huge pages, by size (`2MB`).
    pub hugetlb: BTreeMap<String, HugetlbStats>,
}

/// Processor time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuStats {
    /// In all.
    pub total: u64,
    /// In the kernel.
    pub kernel: u64,
    /// In user space.
    pub user: u64,
    /// By CPU (v1 only).
    pub per_cpu: Vec<u64>,
    /// Enforcement periods passed.
    pub periods: u64,
    /// Periods in which the group was held back.
    pub throttled_periods: u64,
    /// Time it was held back.
    pub throttled_time: u64,
}

/// Memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// In use.
    pub usage: u64,
    /// Highest use (v2: 0 when the kernel does not say).
    pub max_usage: u64,
    /// Limit; `u64::MAX` when there is none.
    pub limit: u64,
    /// How often the limit was hit.
    pub failcnt: u64,
    /// Memory and swap in use (v1), or swap alone (v2).
    pub swap_usage: Option<u64>,
    /// Limit of the same.
    pub swap_limit: Option<u64>,
    /// Lines of `memory.stat`.
    pub stat: BTreeMap<String, u64>,
}

/// Tasks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PidsStats {
    /// Now.
    pub current: u64,
    /// Limit; absent: none.
    pub limit: Option<u64>,
}

/// Block devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlkioStats {
    /// Bytes, by device and operation.
    pub service_bytes: Vec<BlkioEntry>,
    /// Operations, by device and operation.
    pub serviced: Vec<BlkioEntry>,
}

/// What was done to a block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BlkioOperation {
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Any, waited for (v1 only).
    Sync,
    /// Any, not waited for (v1 only).
    Async,
    /// Giving space back.
    Discard,
    /// All of them (v1 only).
    Total,
}

impl BlkioOperation {
    /// The kernel's word on v1: `Read`, `Write` and so on.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "Read",
            Self::Write => "Write",
            Self::Sync => "Sync",
            Self::Async => "Async",
            Self::Discard => "Discard",
            Self::Total => "Total",
        }
    }
}

/// A number for one device and operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlkioEntry {
    /// Major number.
    pub major: u64,
    /// Minor number.
    pub minor: u64,
    /// The operation.
    pub operation: BlkioOperation,
    /// The number.
    pub value: u64,
}

/// Huge pages of one size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HugetlbStats {
    /// In use.
    pub usage: u64,
    /// Highest use.
    pub max_usage: u64,
    /// How often the limit was hit.
    pub failcnt: u64,
}

/// Numbers of `key value` lines; a line that is none is passed over, since kernels add lines.
fn key_values(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key, value.trim().parse().ok()?))
    })
}

/// Reads a file that not every kernel or machine has.
fn optional(path: &Path) -> Result<Option<String>, CgroupError> {
    match files::read(path) {
        Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => Ok(None),
        result => result.map(Some),
    }
}

fn optional_number(path: &Path) -> Result<Option<u64>, CgroupError> {
    optional(path)?
        .map(|text| {
            let number = text.trim_end();
            number.parse().map_err(|_| CgroupError::parse(path, number))
        })
        .transpose()
}

/// A limit that may be missing or `max`.
fn optional_limit(path: &Path) -> Result<Option<u64>, CgroupError> {
    match files::read_limit(path) {
        Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => Ok(None),
        result => result,
    }
}

fn pids(dir: &Path) -> Result<PidsStats, CgroupError> {
    Ok(PidsStats {
        current: optional_number(&dir.join("pids.current"))?.unwrap_or(0),
        limit: optional_limit(&dir.join("pids.max"))?,
    })
}

/// Sizes of huge pages, from the names of the files.
fn hugepage_sizes(dir: &Path, suffix: &str) -> Result<Vec<String>, CgroupError> {
    let failed = |source| CgroupError::read(dir, source);
    let mut sizes = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let size = name
            .to_str()
            .and_then(|name| name.strip_prefix("hugetlb.")?.strip_suffix(suffix))
            .filter(|size| !size.contains('.'));
        sizes.extend(size.map(str::to_owned));
    }
    Ok(sizes)
}

#[cfg(test)]
mod tests;
