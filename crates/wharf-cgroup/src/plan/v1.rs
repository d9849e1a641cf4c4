//! Plans for v1: one hierarchy a controller.

use wharf_oci::runtime::{BlockIo, BlockIoThrottle, Cpu, Memory, Network, Resources};

use super::devices::Access;
use super::{Draft, Failure, PlanError, UNIFIED, set, set_u16, set_u64};

pub(super) fn draft(resources: &Resources, draft: &mut Draft<'_>) -> Result<(), PlanError> {
    if let Some(key) = resources.unified.keys().next() {
        return Err(PlanError::NotInThisVersion {
            key: format!("unified.{key}"),
            version: 1,
        });
    }
    if let Some(cpu) = &resources.cpu {
        draft_cpu(cpu, draft)?;
        draft.cpuset(cpu)?;
    }
    if let Some(memory) = &resources.memory {
        draft_memory(memory, draft)?;
    }
    if let Some(pids) = &resources.pids {
        draft.pids(pids.limit)?;
    }
    if let Some(block_io) = &resources.block_io {
        draft_block_io(block_io, draft)?;
    }
    // A controller is in one hierarchy only; some machines have this one in the unified.
    let here = |list: &[String]| list.iter().any(|one| one == "hugetlb");
    if here(&draft.target.unified) && !here(&draft.target.controllers) {
        draft.hugepages(&resources.hugepage_limits, UNIFIED, "max")?;
    } else {
        draft.hugepages(&resources.hugepage_limits, "hugetlb", "limit_in_bytes")?;
    }
    if let Some(network) = &resources.network {
        draft_network(network, draft)?;
    }
    for (device, limit) in &resources.rdma {
        draft.rdma(device, limit)?;
    }
    if draft.target.current.is_none() {
        draft_devices(resources, draft)?;
    }
    Ok(())
}

fn draft_cpu(cpu: &Cpu, draft: &mut Draft<'_>) -> Result<(), PlanError> {
    if let Some(shares) = set_u64(cpu.shares) {
        draft.write("cpu.shares", "cpu", "cpu.shares", shares)?;
    }
    let retry = |later: bool| match later {
        true => Failure::RetryAfterNext,
        false => Failure::Fatal,
    };
    // Period and quota are checked against the parent's together, in the state between the two
    // writes too.
    let quota = set(cpu.quota);
    if let Some(period) = set_u64(cpu.period) {
        let failure = retry(quota.is_some());
        draft.write_or("cpu.period", "cpu", "cpu.cfs_period_us", period, failure)?;
    }
    if let Some(burst) = cpu.burst {
        let failure = retry(quota.is_some());
        draft.write_or("cpu.burst", "cpu", "cpu.cfs_burst_us", burst, failure)?;
    }
    if let Some(quota) = quota {
        draft.write("cpu.quota", "cpu", "cpu.cfs_quota_us", quota.max(-1))?;
    }
    let runtime = set(cpu.realtime_runtime);
    if let Some(period) = set_u64(cpu.realtime_period) {
        let failure = retry(runtime.is_some());
        draft.write_or(
            "cpu.realtimePeriod",
            "cpu",
            "cpu.rt_period_us",
            period,
            failure,
        )?;
    }
    if let Some(runtime) = runtime {
        draft.write("cpu.realtimeRuntime", "cpu", "cpu.rt_runtime_us", runtime)?;
    }
    if let Some(idle) = cpu.idle {
        draft.write("cpu.idle", "cpu", "cpu.idle", idle)?;
    }
    Ok(())
}

fn draft_memory(memory: &Memory, draft: &mut Draft<'_>) -> Result<(), PlanError> {
    const LIMIT: &str = "memory.limit_in_bytes";
    const SWAP: &str = "memory.memsw.limit_in_bytes";
    let limit = set(memory.limit);
    let swap = match (limit, set(memory.swap)) {
        // Unlimited memory under a limit of memory and swap would not be unlimited.
        (Some(-1), None) if draft.target.swap => Some(-1),
        (_, Some(-1)) if !draft.target.swap => None,
        (_, Some(_)) if !draft.target.swap => return Err(PlanError::NoSwapAccounting),
        (_, swap) => swap,
    };
    // The kernel keeps memory <= memory and swap at each write: grow the outer limit first, shrink
    // the inner one first.
    let memory_now = draft
        .target
        .current
        .map_or(u64::MAX, |current| current.memory_limit.unwrap_or(u64::MAX));
    let swap_first = swap.is_some_and(|swap| swap == -1 || memory_now < swap.unsigned_abs());
    if let Some(swap) = swap.filter(|_| swap_first) {
        draft.write("memory.swap", "memory", SWAP, swap)?;
    }
    if let Some(limit) = limit {
        draft.write("memory.limit", "memory", LIMIT, limit)?;
    }
    if let Some(swap) = swap.filter(|_| !swap_first) {
        draft.write("memory.swap", "memory", SWAP, swap)?;
    }
    if let Some(reservation) = set(memory.reservation) {
        let file = "memory.soft_limit_in_bytes";
        draft.write("memory.reservation", "memory", file, reservation)?;
    }
    if let Some(swappiness) = memory.swappiness {
        if swappiness > 100 {
            return Err(PlanError::OutOfRange {
                key: "memory.swappiness",
                value: i64::try_from(swappiness).unwrap_or(i64::MAX),
                range: "0 to 100",
            });
        }
        draft.write(
            "memory.swappiness",
            "memory",
            "memory.swappiness",
            swappiness,
        )?;
    }
    // A new group has the killer.
    if let Some(disable) = memory
        .disable_oom_killer
        .filter(|disable| *disable || draft.target.current.is_some())
    {
        let value = u8::from(disable);
        draft.write(
            "memory.disableOOMKiller",
            "memory",
            "memory.oom_control",
            value,
        )?;
    }
    if memory.use_hierarchy == Some(false) {
        draft.write("memory.useHierarchy", "memory", "memory.use_hierarchy", 0)?;
    }
    draft.warn_of_kernel_memory(memory);
    Ok(())
}

fn draft_block_io(block_io: &BlockIo, draft: &mut Draft<'_>) -> Result<(), PlanError> {
    // CFQ's files went with it in 5.0; BFQ has its own beside.
    let or_bfq = |file: &str, value: &str| Failure::InsteadIfMissing {
        file: format!("blkio.bfq.{file}"),
        value: value.to_owned(),
    };
    let key = "blockIO.weight";
    if let Some(weight) = set_u16(block_io.weight) {
        let value = weight.to_string();
        let failure = or_bfq("weight", &value);
        draft.write_or(key, "blkio", "blkio.weight", value, failure)?;
    }
    if let Some(weight) = set_u16(block_io.leaf_weight) {
        draft.write("blockIO.leafWeight", "blkio", "blkio.leaf_weight", weight)?;
    }
    for device in &block_io.weight_device {
        let node = format!("{}:{}", device.major, device.minor);
        if let Some(weight) = set_u16(device.weight) {
            let value = format!("{node} {weight}");
            let failure = or_bfq("weight_device", &value);
            draft.write_or(key, "blkio", "blkio.weight_device", value, failure)?;
        }
        if let Some(weight) = set_u16(device.leaf_weight) {
            let value = format!("{node} {weight}");
            draft.write(
                "blockIO.leafWeight",
                "blkio",
                "blkio.leaf_weight_device",
                value,
            )?;
        }
    }
    let mut throttle = |file: &str, limits: &[BlockIoThrottle]| {
        limits.iter().try_for_each(|limit| {
            let value = format!("{}:{} {}", limit.major, limit.minor, limit.rate);
            draft.write("blockIO.throttle", "blkio", file, value)
        })
    };
    throttle(
        "blkio.throttle.read_bps_device",
        &block_io.throttle_read_bps_device,
    )?;
    throttle(
        "blkio.throttle.write_bps_device",
        &block_io.throttle_write_bps_device,
    )?;
    throttle(
        "blkio.throttle.read_iops_device",
        &block_io.throttle_read_iops_device,
    )?;
    throttle(
        "blkio.throttle.write_iops_device",
        &block_io.throttle_write_iops_device,
    )
}

fn draft_network(network: &Network, draft: &mut Draft<'_>) -> Result<(), PlanError> {
    if let Some(class) = network.class_id.filter(|&class| class != 0) {
        draft.write("network.classID", "net_cls", "net_cls.classid", class)?;
    }
    for priority in &network.priorities {
        let value = format!("{} {}", priority.name, priority.priority);
        draft.write(
            "network.priorities",
            "net_prio",
            "net_prio.ifpriomap",
            value,
        )?;
    }
    Ok(())
}

/// A new group starts with its parent's rules, so that allowing everything is no write at all.
fn draft_devices(resources: &Resources, draft: &mut Draft<'_>) -> Result<(), PlanError> {
    let access = Access::of_container(&resources.devices)?.for_v1()?;
    if access.default_allow && access.exceptions.is_empty() {
        return Ok(());
    }
    let key = "devices";
    let (whole, exceptions) = match access.default_allow {
        true => ("devices.allow", "devices.deny"),
        false => ("devices.deny", "devices.allow"),
    };
    draft.write(key, "devices", whole, "a")?;
    for exception in &access.exceptions {
        draft.write(key, "devices", exceptions, exception)?;
    }
    Ok(())
}
