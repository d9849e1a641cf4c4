//! What a container may use.

use wharf_oci::runtime::{BlockIo, Cpu, Memory, Pids, Resources};
use wharf_wire as wire;

use super::devices;
use crate::error::Error;

/// Period of the CPU bandwidth controller that `--cpus` is expressed in.
const CPU_PERIOD: u64 = 100_000;

pub(crate) fn resources(host: &wire::HostConfig) -> Result<Resources, Error> {
    Ok(Resources {
        devices: devices::rules(host)?,
        memory: Some(memory(host)).filter(|memory| *memory != Memory::default()),
        cpu: Some(cpu(host)).filter(|cpu| *cpu != Cpu::default()),
        pids: host
            .pids_limit
            .filter(|limit| *limit > 0)
            .map(|limit| Pids { limit }),
        block_io: block_io(host)?,
        ..Default::default()
    })
}

fn memory(host: &wire::HostConfig) -> Memory {
    let set = |value: i64| Some(value).filter(|value| *value != 0);
    Memory {
        limit: set(host.memory),
        reservation: set(host.memory_reservation),
        swap: set(host.memory_swap),
        swappiness: host
            .memory_swappiness
            .and_then(|value| u64::try_from(value).ok()),
        disable_oom_killer: host.oom_kill_disable.filter(|disable| *disable),
        ..Default::default()
    }
}

fn cpu(host: &wire::HostConfig) -> Cpu {
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let positive = |value: i64| u64::try_from(value).ok().filter(|value| *value > 0);
    let set = |value: i64| Some(value).filter(|value| *value != 0);
    let (quota, period) = if host.nano_cpus > 0 {
        // Nanoseconds of processor time a second, as microseconds in a tenth of one.
        (Some(host.nano_cpus / 10_000), Some(CPU_PERIOD))
    } else {
        (set(host.cpu_quota), positive(host.cpu_period))
    };
    Cpu {
        shares: positive(host.cpu_shares),
        quota,
        period,
        realtime_runtime: set(host.cpu_realtime_runtime),
        realtime_period: positive(host.cpu_realtime_period),
        cpus: text(&host.cpuset_cpus),
        mems: text(&host.cpuset_mems),
        ..Default::default()
    }
}

fn block_io(host: &wire::HostConfig) -> Result<Option<BlockIo>, Error> {
    let throttles = |list: &Option<Vec<wire::ThrottleDevice>>| {
        let devices = list.iter().flatten();
        devices
            .map(devices::throttle)
            .collect::<Result<Vec<_>, Error>>()
    };
    let weights = host.blkio_weight_device.iter().flatten();
    let limits = BlockIo {
        weight: Some(host.blkio_weight).filter(|weight| *weight != 0),
        weight_device: weights.map(devices::weight).collect::<Result<_, Error>>()?,
        throttle_read_bps_device: throttles(&host.blkio_device_read_bps)?,
        throttle_write_bps_device: throttles(&host.blkio_device_write_bps)?,
        throttle_read_iops_device: throttles(&host.blkio_device_read_iops)?,
        throttle_write_iops_device: throttles(&host.blkio_device_write_iops)?,
        ..Default::default()
    };
    Ok(Some(limits).filter(|limits| *limits != BlockIo::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_become_a_quota() {
        let host = wire::HostConfig {
            nano_cpus: 1_500_000_000,
            ..Default::default()
        };
        let cpu = cpu(&host);
        assert_eq!((cpu.quota, cpu.period), (Some(150_000), Some(100_000)));
    }
}
