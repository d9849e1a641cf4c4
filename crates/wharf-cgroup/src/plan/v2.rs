//! Plans for v2: one hierarchy, and a program for the devices.

use wharf_oci::runtime::{BlockIo, BlockIoThrottle, Cpu, Memory, Resources};

use super::devices::Access;
use super::{Draft, Failure, PlanError, set, set_u16, set_u64};

/// Period of `cpu.max` when the configuration names none: the kernel's.
const DEFAULT_PERIOD: u64 = 100_000;

pub(super) fn draft(resources: &Resources, draft: &mut Draft<'_>) -> Result<(), PlanError> {
    if let Some(pids) = &resources.pids {
        draft.pids(pids.limit)?;
    }
    if let Some(memory) = &resources.memory {
        draft_memory(memory, draft)?;
    }
    if let Some(block_io) = &resources.block_io {
        draft_block_io(block_io, draft)?;
    }
    if let Some(cpu) = &resources.cpu {
        draft_cpu(cpu, draft)?;
        draft.cpuset(cpu)?;
    }
    draft.hugepages(&resources.hugepage_limits, "hugetlb", "max")?;
    for (device, limit) in &resources.rdma {
        draft.rdma(device, limit)?;
    }
    if let Some(network) = &resources.network {
        if network.class_id.is_some_and(|class| class != 0) {
            return Err(absent("network.classID"));
        }
        if !network.priorities.is_empty() {
            return Err(absent("network.priorities"));
        }
    }
    if draft.target.current.is_none() {
        let access = Access::of_container(&resources.devices)?;
        draft.plan.devices = access.program();
    }
    for (key, value) in &resources.unified {
        draft_unified(key, value, draft)?;
    }
    Ok(())
}

fn absent(key: &str) -> PlanError {
    PlanError::NotInThisVersion {
        key: key.to_owned(),
        version: 2,
    }
}

fn or_max(value: i64) -> String {
    if value < 0 {
        "max".to_owned()
    } else {
        value.to_string()
    }
}

fn draft_memory(memory: &Memory, draft: &mut Draft<'_>) -> Result<(), PlanError> {
    if memory.swappiness.is_some() {
        return Err(absent("memory.swappiness"));
    }
    if memory.disable_oom_killer == Some(true) {
        return Err(absent("memory.disableOOMKiller"));
    }
    if memory.use_hierarchy == Some(false) {
        return Err(absent("memory.useHierarchy"));
    }
    let limit = set(memory.limit);
    // The configuration limits memory and swap together, the kernel swap alone.
    let swap = match (limit, set(memory.swap)) {
        (Some(-1), None) => Some(-1),
        (_, None) => None,
        (_, Some(-1)) => Some(-1),
        (None, Some(_)) => return Err(PlanError::SwapWithoutMemory),
        (Some(-1), Some(swap)) => Some(swap),
        (Some(limit), Some(swap)) => Some(swap - limit),
    };
    if let Some(swap) = swap {
        // Without swap in the kernel there is none to limit, and none to forbid.
        let failure = match swap {
            ..=0 => Failure::SkipIfMissing,
            1.. => Failure::Fatal,
        };
        let value = or_max(swap);
        draft.write_or("memory.swap", "memory", "memory.swap.max", value, failure)?;
    }
    if let Some(limit) = limit {
        draft.write("memory.limit", "memory", "memory.max", or_max(limit))?;
    }
    if let Some(reservation) = set(memory.reservation) {
        draft.write(
            "memory.reservation",
            "memory",
            "memory.low",
            or_max(reservation),
        )?;
    }
    draft.warn_of_kernel_memory(memory);
    Ok(())
}

fn draft_cpu(cpu: &Cpu, draft: &mut Draft<'_>) -> Result<(), PlanError> {
    if set(cpu.realtime_runtime).is_some() {
        return Err(absent("cpu.realtimeRuntime"));
    }
    if set_u64(cpu.realtime_period).is_some() {
        return Err(absent("cpu.realtimePeriod"));
    }
    if let Some(idle) = cpu.idle {
        draft.write("cpu.idle", "cpu", "cpu.idle", idle)?;
    }
    // An idle group has no weight: the kernel refuses the write.
    if let Some(shares) = set_u64(cpu.shares).filter(|_| cpu.idle != Some(1)) {
        draft.write("cpu.shares", "cpu", "cpu.weight", weight_of_shares(shares))?;
    }
    let quota = set(cpu.quota);
    let period = set_u64(cpu.period);
    let limited = quota.is_some() || period.is_some();
    if let Some(burst) = cpu.burst {
        // The burst is checked against the quota.
        let failure = match limited {
            true => Failure::RetryAfterNext,
            false => Failure::Fatal,
        };
        draft.write_or("cpu.burst", "cpu", "cpu.max.burst", burst, failure)?;
    }
    if limited {
        let quota = quota.map_or_else(|| "max".to_owned(), or_max);
        let period = period.unwrap_or(DEFAULT_PERIOD);
        draft.write("cpu.quota", "cpu", "cpu.max", format!("{quota} {period}"))?;
    }
    Ok(())
}

/// Weight of a number of shares, as runc 1.3 converts it: a curve through the least, the default and the
/// greatest of both scales (2, 1024, 262144 and 1, 100, 10000), so that a default stays one.
fn weight_of_shares(shares: u64) -> u64 {
    match shares {
        ..=2 => 1,
        262_144.. => 10_000,
        shares => {
            #[expect(clippy::cast_precision_loss, reason = "below 2^18, exact")]
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 1 and 10000"
            )]
            let weight = 10_f64.powf(exponent).ceil() as u64;
            weight
        }
    }
}

fn draft_block_io(block_io: &BlockIo, draft: &mut Draft<'_>) -> Result<(), PlanError> {
    let leaf = |device: &wharf_oci::runtime::BlockIoDeviceWeight| set_u16(device.leaf_weight);
    if set_u16(block_io.leaf_weight).is_some()
        || block_io.weight_device.iter().any(|one| leaf(one).is_some())
    {
        return Err(absent("blockIO.leafWeight"));
    }
    if let Some(weight) = set_u16(block_io.weight) {
        let failure = Failure::InsteadIfMissing {
            file: "io.weight".to_owned(),
            value: io_weight(weight).to_string(),
        };
        draft.write_or("blockIO.weight", "io", "io.bfq.weight", weight, failure)?;
    }
    for device in &block_io.weight_device {
        let Some(weight) = set_u16(device.weight) else {
            continue;
        };
        let node = format!("{}:{}", device.major, device.minor);
        let failure = Failure::InsteadIfMissing {
            file: "io.weight".to_owned(),
            value: format!("{node} {}", io_weight(weight)),
        };
        let value = format!("{node} {weight}");
        draft.write_or(
            "blockIO.weightDevice",
            "io",
            "io.bfq.weight",
            value,
            failure,
        )?;
    }
    let mut throttle = |kind: &str, limits: &[BlockIoThrottle]| {
        limits.iter().try_for_each(|limit| {
            // 0 takes the limit away on v1; here that is a word.
            let rate = match limit.rate {
                0 => "max".to_owned(),
                rate => rate.to_string(),
            };
            let value = format!("{}:{} {kind}={rate}", limit.major, limit.minor);
            draft.write("blockIO.throttle", "io", "io.max", value)
        })
    };
    throttle("rbps", &block_io.throttle_read_bps_device)?;
    throttle("wbps", &block_io.throttle_write_bps_device)?;
    throttle("riops", &block_io.throttle_read_iops_device)?;
    throttle("wiops", &block_io.throttle_write_iops_device)
}

/// From 10..1000 to 1..10000, linearly.
fn io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight) - 10) * 9999 / 990
}

/// Files that a configuration may write by name: those of controllers, and limits of the core. The
/// rest of the core's files moves or kills processes.
fn draft_unified(key: &str, value: &str, draft: &mut Draft<'_>) -> Result<(), PlanError> {
    const CONTROLLERS: &[&str] = &[
        "cpu", "cpuset", "io", "memory", "pids", "hugetlb", "rdma", "misc", "dmem",
    ];
    const CORE: &[&str] = &[
        "cgroup.max.depth",
        "cgroup.max.descendants",
        "cgroup.pressure",
    ];
    let name = format!("unified.{key}");
    let malformed = |form| PlanError::Malformed {
        key: name.clone(),
        value: key.to_owned(),
        form,
    };
    if key.contains('/') {
        return Err(malformed("a file name without slashes"));
    }
    let Some((prefix, _)) = key.split_once('.') else {
        return Err(malformed("of the form controller.parameter"));
    };
    let controller = match CONTROLLERS.iter().find(|&&one| one == prefix) {
        Some(controller) => *controller,
        None if CORE.contains(&key) => "cgroup",
        None => return Err(malformed("a file that may be written")),
    };
    for line in value.lines().filter(|line| !line.is_empty()) {
        if controller == "cgroup" {
            draft.core(key, line);
        } else {
            draft.write(&name, controller, key, line)?;
        }
    }
    Ok(())
}
