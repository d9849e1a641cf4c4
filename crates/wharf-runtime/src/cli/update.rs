//! `update`.

use std::io::Read;
use std::path::Path;

use wharf_cgroup::{Hierarchies, Target};
use wharf_oci::runtime::{BlockIo, Cpu, Memory, Pids, Resources, Status};

use super::args::Update;
use super::container::Container;
use super::{Failure, Outcome};

/// `update`: changes the limits of a container, now and in its configuration.
pub(super) fn update(root: &Path, args: &Update) -> Outcome {
    if args.kernel_memory.is_some() {
        return Err("--kernel-memory is not supported: the kernel has no such limit".into());
    }
    let mut container = Container::open(root, &args.id)?;
    if container.status()? == Status::Stopped {
        return Err("container not running".into());
    }
    let change = match args.resources.as_deref() {
        Some(path) => read(path)?,
        None => from_options(args)?,
    };
    let hierarchies = Hierarchies::detect()?;
    let cgroup = container.cgroup()?;
    let target = Target {
        current: Some(cgroup.current()?),
        ..hierarchies.target()
    };
    let plan = wharf_cgroup::plan(&change, &target)?;
    cgroup.apply(&plan)?;
    let linux = container.record.spec.linux.get_or_insert_default();
    merge(linux.resources.get_or_insert_default(), change);
    container.save()?;
    Ok(0)
}

fn read(path: &Path) -> Result<Resources, Failure> {
    let text = if path == Path::new("-") {
        let mut text = Vec::new();
        std::io::stdin().read_to_end(&mut text)?;
        text
    } else {
        std::fs::read(path)?
    };
    let mut resources: Resources = serde_json::from_slice(&text)?;
    // Access to devices is not changed here: an empty list, as engines send, would take all away.
    resources.devices.clear();
    Ok(resources)
}

fn from_options(args: &Update) -> Result<Resources, Failure> {
    let bytes = |text: &Option<String>| text.as_deref().map(size).transpose();
    let memory = Memory {
        limit: bytes(&args.memory)?,
        reservation: bytes(&args.memory_reservation)?,
        swap: bytes(&args.memory_swap)?,
        kernel_tcp: bytes(&args.kernel_memory_tcp)?,
        ..Memory::default()
    };
    let cpu = Cpu {
        shares: args.cpu_share,
        quota: args.cpu_quota,
        burst: args.cpu_burst,
        period: args.cpu_period,
        realtime_runtime: args.cpu_rt_runtime,
        realtime_period: args.cpu_rt_period,
        cpus: args.cpuset_cpus.clone(),
        mems: args.cpuset_mems.clone(),
        idle: args.cpu_idle,
    };
    let given = |value: Option<u16>| value.filter(|&weight| weight != 0);
    let weight = given(args.blkio_weight);
    Ok(Resources {
        memory: (memory != Memory::default()).then_some(memory),
        cpu: (cpu != Cpu::default()).then_some(cpu),
        pids: args.pids_limit.map(|limit| Pids { limit }),
        block_io: weight.map(|weight| BlockIo {
            weight: Some(weight),
            ..BlockIo::default()
        }),
        ..Resources::default()
    })
}

/// Bytes, with an optional unit of 1024 to a power (`64m`, `1g`).
fn size(text: &str) -> Result<i64, Failure> {
    let invalid = || format!("invalid size {text:?}");
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match lower[digits.len()..]
        .trim_end_matches("ib")
        .trim_end_matches('b')
    {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1 << 40,
        _ => return Err(invalid().into()),
    };
    let number: i64 = digits.parse().map_err(|_| invalid())?;
    Ok(number.checked_mul(unit).ok_or_else(invalid)?)
}

/// Puts a change into the limits that are kept.
fn merge(kept: &mut Resources, change: Resources) {
    fn set<T>(kept: &mut Option<T>, change: Option<T>) {
        if change.is_some() {
            *kept = change;
        }
    }
    if let Some(change) = change.memory {
        let memory = kept.memory.get_or_insert_default();
        set(&mut memory.limit, change.limit);
        set(&mut memory.reservation, change.reservation);
        set(&mut memory.swap, change.swap);
        set(&mut memory.kernel, change.kernel);
        set(&mut memory.kernel_tcp, change.kernel_tcp);
        set(&mut memory.swappiness, change.swappiness);
        set(&mut memory.disable_oom_killer, change.disable_oom_killer);
    }
    if let Some(change) = change.cpu {
        let cpu = kept.cpu.get_or_insert_default();
        set(&mut cpu.shares, change.shares);
        set(&mut cpu.quota, change.quota);
        set(&mut cpu.burst, change.burst);
        set(&mut cpu.period, change.period);
        set(&mut cpu.realtime_runtime, change.realtime_runtime);
        set(&mut cpu.realtime_period, change.realtime_period);
        set(&mut cpu.cpus, change.cpus);
        set(&mut cpu.mems, change.mems);
        set(&mut cpu.idle, change.idle);
    }
    set(&mut kept.pids, change.pids);
    set(&mut kept.block_io, change.block_io);
    if !change.hugepage_limits.is_empty() {
        kept.hugepage_limits = change.hugepage_limits;
    }
    kept.unified.extend(change.unified);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        let read = |text| size(text).ok();
        assert_eq!(read("64m"), Some(64 << 20));
        assert_eq!(read("1GiB"), Some(1 << 30));
        assert_eq!(read("-1"), Some(-1));
        for text in ["", "m", "1x", "99999999999g"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
