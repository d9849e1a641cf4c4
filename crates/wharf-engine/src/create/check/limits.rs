//! Limits of resources: Docker's bounds and Docker's words.
//!
//! What the running kernel has no file for is taken out of the request with a warning, as in
//! Docker: the caller sees it, and inspect shows what holds.

use std::collections::BTreeSet;

use wharf_wire as wire;

use crate::controllers::{Controllers, Sets};
use crate::error::Error;

/// Least memory a container can have; below, the kernel kills it before it runs.
const MEMORY_MIN: i64 = 6 * 1024 * 1024;
/// Numbers a set of processors can go up to.
const SET_MAX: u32 = 8192;

/// Checks all limits and gives unset members their defaults. Returns warnings.
pub(crate) fn check(
    host: &mut wire::HostConfig,
    controllers: &Controllers,
) -> Result<Vec<String>, Error> {
    let mut warnings = Vec::new();
    check_memory(host, controllers, &mut warnings)?;
    check_kernel_memory(host, controllers, &mut warnings)?;
    check_cpu(host, controllers, &mut warnings)?;
    check_sets(host, controllers, &mut warnings)?;
    check_block_io(host, controllers, &mut warnings)?;
    if host.pids_limit.is_some_and(|limit| limit <= 0) {
        // No limit at all.
        host.pids_limit = None;
    }
    if host.pids_limit.is_some() && !controllers.pids {
        warnings.push(discarded("PIDs limit capabilities", "PIDs limit"));
        host.pids_limit = None;
    }
    for ulimit in host.ulimits.iter().flatten() {
        check_ulimit(ulimit)?;
    }
    Ok(warnings)
}

fn discarded(capability: &str, setting: &str) -> String {
    format!(
        "Your kernel does not support {capability} or the cgroup is not mounted. {setting} discarded."
    )
}

/// Takes a setting out when the kernel has no place for it.
fn discard<T: Default + PartialEq>(
    value: &mut T,
    possible: bool,
    (capability, setting): (&str, &str),
    warnings: &mut Vec<String>,
) {
    if !possible && *value != T::default() {
        *value = T::default();
        warnings.push(discarded(capability, setting));
    }
}

fn check_memory(
    host: &mut wire::HostConfig,
    controllers: &Controllers,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    if host.memory != 0 && host.memory < MEMORY_MIN {
        return Err(Error::invalid("Minimum memory limit allowed is 6MB"));
    }
    if host.memory > 0 && !controllers.memory {
        warnings.push(discarded("memory limit capabilities", "Limitation"));
        (host.memory, host.memory_swap) = (0, -1);
    }
    if host.memory > 0 && host.memory_swap != -1 && !controllers.swap {
        warnings.push(
            "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited \
             without swap."
                .to_owned(),
        );
        host.memory_swap = -1;
    }
    if host.memory > 0 && host.memory_swap > 0 && host.memory_swap < host.memory {
        return Err(Error::invalid(
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ));
    }
    if host.memory == 0 && host.memory_swap > 0 {
        return Err(Error::invalid(
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        ));
    }
    if host.memory > 0 && host.memory_swap == 0 {
        // As much swap as memory, as Docker gives.
        host.memory_swap = host.memory.saturating_mul(2);
    }
    if host.memory_swappiness == Some(-1) {
        // What clients send for nothing.
        host.memory_swappiness = None;
    }
    if let Some(swappiness) = host.memory_swappiness
        && !(0..=100).contains(&swappiness)
    {
        return Err(Error::invalid(format!(
            "Invalid value: {swappiness}, valid memory swappiness range is 0-100"
        )));
    }
    discard(
        &mut host.memory_swappiness,
        controllers.swappiness,
        ("memory swappiness capabilities", "Memory swappiness"),
        warnings,
    );
    discard(
        &mut host.memory_reservation,
        controllers.reservation,
        ("memory soft limit capabilities", "Limitation"),
        warnings,
    );
    if host.memory_reservation < 0
        || (host.memory_reservation > 0 && host.memory_reservation < MEMORY_MIN)
    {
        return Err(Error::invalid("Minimum memory reservation allowed is 6MB"));
    }
    if host.memory > 0 && host.memory < host.memory_reservation {
        return Err(Error::invalid(
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        ));
    }
    check_oom_kill(host, controllers, warnings);
    Ok(())
}

fn check_oom_kill(
    host: &mut wire::HostConfig,
    controllers: &Controllers,
    warnings: &mut Vec<String>,
) {
    if host.oom_kill_disable != Some(true) {
        return;
    }
    if !controllers.oom_kill_disable {
        warnings.push(
            "Your kernel does not support OomKillDisable. OomKillDisable discarded.".to_owned(),
        );
        host.oom_kill_disable = None;
    } else if host.memory == 0 {
        warnings.push(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the \
             system running out of resources."
                .to_owned(),
        );
    }
}

/// The kernel gave up limiting its own memory apart; what was asked is taken out, and said so.
fn check_kernel_memory(
    host: &mut wire::HostConfig,
    controllers: &Controllers,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    if host.kernel_memory > 0 && host.kernel_memory < MEMORY_MIN {
        return Err(Error::invalid("Minimum kernel memory limit allowed is 6MB"));
    }
    if host.kernel_memory > 0 {
        warnings.push(
            "Specifying a kernel memory limit is deprecated and will be removed in a future release."
                .to_owned(),
        );
        warnings.push(discarded("kernel memory limit capabilities", "Limitation"));
    }
    host.kernel_memory = 0;
    discard(
        &mut host.kernel_memory_tcp,
        controllers.kernel_memory_tcp,
        ("kernel memory TCP limit capabilities", "Limitation"),
        warnings,
    );
    Ok(())
}

fn check_cpu(
    host: &mut wire::HostConfig,
    controllers: &Controllers,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    if host.nano_cpus != 0 {
        let both = |other: &str| {
            Error::invalid(format!(
                "Conflicting options: Nano CPUs and CPU {other} cannot both be set"
            ))
        };
        if host.cpu_period > 0 {
            return Err(both("Period"));
        }
        if host.cpu_quota > 0 {
            return Err(both("Quota"));
        }
        if !controllers.cpu_quota {
            return Err(Error::invalid(
                "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not \
                 mounted",
            ));
        }
        let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let most = i64::try_from(count)
            .unwrap_or(i64::MAX)
            .saturating_mul(1_000_000_000);
        if host.nano_cpus < 0 || host.nano_cpus > most {
            return Err(Error::invalid(format!(
                "range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available"
            )));
        }
    }
    if host.cpu_shares < 0 {
        return Err(Error::invalid(format!(
            "invalid CPU shares ({}): value must be a positive integer",
            host.cpu_shares
        )));
    }
    discard(
        &mut host.cpu_shares,
        controllers.cpu_shares,
        ("CPU shares", "Shares"),
        warnings,
    );
    let scheduler = ("CPU CFS scheduler", "CPU period/quota");
    discard(
        &mut host.cpu_period,
        controllers.cpu_quota,
        scheduler,
        warnings,
    );
    discard(
        &mut host.cpu_quota,
        controllers.cpu_quota,
        scheduler,
        warnings,
    );
    if host.cpu_period != 0 && !(1000..=1_000_000).contains(&host.cpu_period) {
        return Err(Error::invalid(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ));
    }
    if host.cpu_quota > 0 && host.cpu_quota < 1000 {
        return Err(Error::invalid(
            "CPU cfs quota can not be less than 1ms (i.e. 1000)",
        ));
    }
    check_realtime(host, controllers)?;
    for (value, name) in [
        (&mut host.cpu_percent, "percent"),
        (&mut host.cpu_count, "count"),
    ] {
        if *value > 0 {
            let title = format!("{}{}", name[..1].to_uppercase(), &name[1..]);
            warnings.push(format!(
                "linux does not support CPU {name}. {title} discarded."
            ));
        }
        *value = 0;
    }
    Ok(())
}

fn check_realtime(host: &wire::HostConfig, controllers: &Controllers) -> Result<(), Error> {
    let (period, runtime) = (host.cpu_realtime_period, host.cpu_realtime_runtime);
    if period == 0 && runtime == 0 {
        return Ok(());
    }
    if !controllers.cpu_realtime {
        return Err(Error::invalid(
            "kernel does not support CPU real-time scheduler",
        ));
    }
    if period != 0 && runtime != 0 && runtime > period {
        return Err(Error::invalid(
            "cpu real-time runtime cannot be higher than cpu real-time period",
        ));
    }
    Ok(())
}

fn check_sets(
    host: &mut wire::HostConfig,
    controllers: &Controllers,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    let Some(Sets { cpus, mems }) = &controllers.sets else {
        if !host.cpuset_cpus.is_empty() || !host.cpuset_mems.is_empty() {
            warnings.push(discarded("cpuset", "CPUset"));
            host.cpuset_cpus.clear();
            host.cpuset_mems.clear();
        }
        return Ok(());
    };
    check_set(&host.cpuset_cpus, cpus, "cpus", "CPUs")?;
    check_set(&host.cpuset_mems, mems, "mems", "memory nodes")
}

fn check_set(asked: &str, available: &str, member: &str, what: &str) -> Result<(), Error> {
    let numbers = read_set(asked).ok_or_else(|| {
        Error::invalid(format!(
            "Invalid value {asked} for cpuset {member}: invalid format: {asked}"
        ))
    })?;
    // What the kernel itself says is readable; if it were not, nothing is there to compare with.
    let there = read_set(available).unwrap_or_default();
    if numbers.is_subset(&there) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "Requested {what} are not available - requested {asked}, available: {available}"
    )))
}

/// Reads `0-3,8`.
fn read_set(text: &str) -> Option<BTreeSet<u32>> {
    let mut numbers = BTreeSet::new();
    if text.is_empty() {
        return Some(numbers);
    }
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.then(|| text.parse::<u32>().ok()).flatten()?;
        (number <= SET_MAX).then_some(number)
    };
    for part in text.split(',') {
        let (first, last) = match part.split_once('-') {
            None => (number(part)?, number(part)?),
            Some((first, last)) => (number(first)?, number(last)?),
        };
        if last < first {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

fn check_block_io(
    host: &mut wire::HostConfig,
    controllers: &Controllers,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    discard(
        &mut host.blkio_weight,
        controllers.block_io_weight,
        ("Block I/O weight", "Weight"),
        warnings,
    );
    if host.blkio_weight > 0 && !(10..=1000).contains(&host.blkio_weight) {
        return Err(Error::invalid("Range of blkio weight is from 10 to 1000"));
    }
    if host.io_maximum_bandwidth != 0 || host.io_maximum_iops != 0 {
        let what = if host.io_maximum_iops != 0 {
            "IOPs"
        } else {
            "bandwidth"
        };
        return Err(Error::invalid(format!(
            "Invalid QoS settings: linux does not support configuration of maximum {what}"
        )));
    }
    let list =
        |list: &Option<Vec<wire::ThrottleDevice>>| list.as_ref().is_some_and(|l| !l.is_empty());
    if !controllers.block_io_weight_device
        && host
            .blkio_weight_device
            .as_ref()
            .is_some_and(|devices| !devices.is_empty())
    {
        warnings.push(discarded("Block I/O weight_device", "Weight-device"));
        host.blkio_weight_device = Some(Vec::new());
    }
    if !controllers.block_io {
        for (devices, capability, setting) in [
            (
                &mut host.blkio_device_read_bps,
                "BPS Block I/O read limit",
                "Block I/O BPS read limit",
            ),
            (
                &mut host.blkio_device_write_bps,
                "BPS Block I/O write limit",
                "Block I/O BPS write limit",
            ),
            (
                &mut host.blkio_device_read_iops,
                "IOPS Block read limit",
                "Block I/O IOPS read limit",
            ),
            (
                &mut host.blkio_device_write_iops,
                "IOPS Block write limit",
                "Block I/O IOPS write limit",
            ),
        ] {
            if list(devices) {
                warnings.push(discarded(capability, setting));
                *devices = Some(Vec::new());
            }
        }
    }
    Ok(())
}

fn check_ulimit(ulimit: &wire::Ulimit) -> Result<(), Error> {
    if !wire::ULIMIT_NAMES.contains(&ulimit.name.as_str()) {
        return Err(Error::invalid(format!(
            "invalid ulimit type: {}",
            ulimit.name
        )));
    }
    if ulimit.hard != -1 && (ulimit.soft == -1 || ulimit.soft > ulimit.hard) {
        return Err(Error::invalid(format!(
            "ulimit soft limit must be less than or equal to hard limit: {} > {}",
            ulimit.soft, ulimit.hard
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
