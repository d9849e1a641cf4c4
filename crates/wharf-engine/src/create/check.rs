//! What a request may ask: checked whole before anything is made.
//!
//! A setting this engine does not carry out is refused by its name: an option that is accepted and
//! ignored is a promise not kept. Settings with no meaning on Linux (`CpuCount`, `Isolation`) are
//! refused too, unless they have the value every client sends.

use wharf_wire as wire;

use crate::error::Error;
use crate::{capabilities, ports, signals};

/// Least memory a container can have; below, the kernel kills it before it runs.
const MEMORY_MIN: i64 = 6 * 1024 * 1024;
/// Docker's size of /dev/shm.
pub(super) const SHM_SIZE: i64 = 64 * 1024 * 1024;

/// Checks the host's part of a request and gives unset members their defaults. Returns warnings.
pub(super) fn check_host(
    host: &mut wire::HostConfig,
    config: &wire::ContainerConfig,
) -> Result<Vec<String>, Error> {
    refuse_unsupported(host)?;
    check_modes(host)?;
    check_restart_policy(host)?;
    check_log(host)?;
    let warnings = check_limits(host)?;
    for ulimit in host.ulimits.iter().flatten() {
        check_ulimit(ulimit)?;
    }
    let words = |words: &Option<wire::Words>| words.as_deref().unwrap_or_default().to_vec();
    capabilities::resolve(&words(&host.cap_add), &words(&host.cap_drop))?;
    let nowhere = std::net::Ipv4Addr::UNSPECIFIED;
    ports::requests(host, config, nowhere, nowhere)?;
    if host.shm_size < 0 {
        return Err(Error::invalid("SHM size can not be less than 0"));
    }
    if host.shm_size == 0 {
        host.shm_size = SHM_SIZE;
    }
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        let value = host.oom_score_adj;
        return Err(Error::invalid(format!(
            "Invalid value {value}, range for oom score adj is [-1000, 1000]"
        )));
    }
    Ok(warnings)
}

/// Checks the part of a request that is independent of the host.
pub(super) fn check_config(config: &wire::ContainerConfig) -> Result<(), Error> {
    if !config.stop_signal.is_empty() {
        signals::parse(&config.stop_signal)?;
    }
    if !config.working_dir.is_empty() && !config.working_dir.starts_with('/') {
        let dir = &config.working_dir;
        return Err(Error::invalid(format!(
            "the working directory '{dir}' is invalid, it needs to be an absolute path"
        )));
    }
    let hostname = |text: &str| {
        text.len() <= 64
            && !text.starts_with(['-', '.'])
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
    };
    for name in [&config.hostname, &config.domainname] {
        if !hostname(name) {
            return Err(Error::invalid(format!("invalid hostname format: {name}")));
        }
    }
    if config
        .healthcheck
        .as_ref()
        .is_some_and(|check| check.test != ["NONE"])
    {
        return Err(unsupported("Healthcheck"));
    }
    if !config.mac_address.is_empty() {
        return Err(unsupported("MacAddress"));
    }
    for port in config.exposed_ports.keys() {
        ports::parse(port)?;
    }
    Ok(())
}

/// Checks what a request says about networks: nothing but what the network's mode says already.
pub(super) fn check_networking(networking: Option<&wire::NetworkingConfig>) -> Result<(), Error> {
    for (_, endpoint) in networking.iter().flat_map(|n| &n.endpoints_config) {
        let Some(endpoint) = endpoint else {
            continue;
        };
        let mut rest = endpoint.clone();
        // Clients send these two with every request.
        rest.network_id.clear();
        rest.dns_names = None;
        let empty = |list: &Option<Vec<String>>| list.as_ref().is_none_or(Vec::is_empty);
        if empty(&rest.links) && empty(&rest.aliases) {
            (rest.links, rest.aliases) = (None, None);
        }
        if rest
            .driver_opts
            .as_ref()
            .is_some_and(std::collections::BTreeMap::is_empty)
        {
            rest.driver_opts = None;
        }
        if rest.ipam_config == Some(wire::EndpointIpam::default()) {
            rest.ipam_config = None;
        }
        if rest != wire::EndpointSettings::default() {
            return Err(unsupported("NetworkingConfig.EndpointsConfig"));
        }
    }
    Ok(())
}

fn unsupported(member: &str) -> Error {
    Error::not_implemented(format!("{member} is not supported yet"))
}

fn refuse_unsupported(host: &wire::HostConfig) -> Result<(), Error> {
    let some = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let refused = [
        ("HostConfig.VolumesFrom", some(&host.volumes_from)),
        (
            "HostConfig.VolumeDriver",
            !matches!(host.volume_driver.as_str(), "" | "local"),
        ),
        ("HostConfig.Links", some(&host.links)),
        ("HostConfig.Cgroup", !host.cgroup.is_empty()),
        (
            "HostConfig.UsernsMode",
            !matches!(host.userns_mode.as_str(), "" | "host"),
        ),
        ("HostConfig.StorageOpt", !host.storage_opt.is_empty()),
        (
            "HostConfig.Runtime",
            !matches!(host.runtime.as_str(), "" | "wharf"),
        ),
        (
            "HostConfig.Isolation",
            !matches!(host.isolation.as_str(), "" | "default"),
        ),
        (
            "HostConfig.DeviceRequests",
            host.device_requests.as_ref().is_some_and(|r| !r.is_empty()),
        ),
        ("HostConfig.KernelMemory", host.kernel_memory != 0),
        ("HostConfig.KernelMemoryTCP", host.kernel_memory_tcp != 0),
        ("HostConfig.CpuCount", host.cpu_count != 0),
        ("HostConfig.CpuPercent", host.cpu_percent != 0),
        ("HostConfig.IOMaximumIOps", host.io_maximum_iops != 0),
        (
            "HostConfig.IOMaximumBandwidth",
            host.io_maximum_bandwidth != 0,
        ),
    ];
    match refused.iter().find(|(_, asked)| *asked) {
        Some((member, _)) => Err(unsupported(member)),
        None => Ok(()),
    }
}

fn check_modes(host: &mut wire::HostConfig) -> Result<(), Error> {
    match host.network_mode.as_str() {
        "" | "default" | "bridge" => "bridge".clone_into(&mut host.network_mode),
        "none" | "host" => {}
        other if other.starts_with("container:") => {
            return Err(unsupported("HostConfig.NetworkMode \"container:\""));
        }
        // Whether there is such a network is asked when it is needed, at the start: clients take
        // "not found" here for a missing image.
        _ => {}
    }
    let modes = [
        (
            "HostConfig.PidMode",
            &mut host.pid_mode,
            &["", "host"][..],
            "",
        ),
        (
            "HostConfig.IpcMode",
            &mut host.ipc_mode,
            &["", "private", "none", "host"],
            "private",
        ),
        ("HostConfig.UTSMode", &mut host.uts_mode, &["", "host"], ""),
        (
            "HostConfig.CgroupnsMode",
            &mut host.cgroupns_mode,
            &["", "private", "host"],
            "private",
        ),
    ];
    for (member, value, known, default) in modes {
        if !known.contains(&value.as_str()) {
            return Err(unsupported(&format!("{member} \"{value}\"")));
        }
        if value.is_empty() {
            default.clone_into(value);
        }
    }
    "wharf".clone_into(&mut host.runtime);
    Ok(())
}

pub(crate) fn check_restart_policy(host: &mut wire::HostConfig) -> Result<(), Error> {
    let policy = &mut host.restart_policy;
    let invalid = |reason: String| Error::invalid(format!("invalid restart policy: {reason}"));
    match policy.name.as_str() {
        "" | "no" | "always" | "unless-stopped" | "on-failure" => {}
        other => {
            return Err(invalid(format!(
                "unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
            )));
        }
    }
    if policy.maximum_retry_count < 0 {
        return Err(invalid("maximum retry count cannot be negative".to_owned()));
    }
    if policy.maximum_retry_count > 0 && policy.name != "on-failure" {
        return Err(invalid(
            "maximum retry count can only be used with 'on-failure'".to_owned(),
        ));
    }
    if policy.name.is_empty() {
        "no".clone_into(&mut policy.name);
    }
    if host.auto_remove && policy.name != "no" {
        return Err(Error::invalid(
            "can't create 'AutoRemove' container with restart policy",
        ));
    }
    Ok(())
}

fn check_log(host: &mut wire::HostConfig) -> Result<(), Error> {
    let log = &mut host.log_config;
    match log.driver.as_str() {
        "" => "json-file".clone_into(&mut log.driver),
        "json-file" | "none" => {}
        other => {
            return Err(Error::invalid(format!(
                "logger: no log driver named '{other}' is registered"
            )));
        }
    }
    match log.config.keys().next() {
        Some(option) => Err(unsupported(&format!(
            "log opt '{option}' for {} log driver",
            log.driver
        ))),
        None => Ok(()),
    }
}

pub(crate) fn check_limits(host: &mut wire::HostConfig) -> Result<Vec<String>, Error> {
    let mut warnings = Vec::new();
    if host.memory < 0 || (host.memory > 0 && host.memory < MEMORY_MIN) {
        return Err(Error::invalid("Minimum memory limit allowed is 6MB"));
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
    if host.memory_reservation > 0 && host.memory > 0 && host.memory < host.memory_reservation {
        return Err(Error::invalid(
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        ));
    }
    if let Some(swappiness) = host.memory_swappiness
        && !(-1..=100).contains(&swappiness)
    {
        return Err(Error::invalid(format!(
            "Invalid value: {swappiness}, valid memory swappiness range is 0-100"
        )));
    }
    check_cpu(host)?;
    if host.oom_kill_disable == Some(true) && host.memory == 0 {
        warnings.push(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the \
             system running out of resources."
                .to_owned(),
        );
    }
    if host.network_mode == "host" && host.port_bindings.as_ref().is_some_and(|p| !p.is_empty()) {
        warnings.push("Published ports are discarded when using host network mode".to_owned());
    }
    Ok(warnings)
}

fn check_cpu(host: &wire::HostConfig) -> Result<(), Error> {
    if host.nano_cpus != 0 {
        if host.cpu_period != 0 || host.cpu_quota != 0 {
            return Err(Error::invalid(
                "Conflicting options: Nano CPUs and CPU Period or Quota cannot both be set",
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
        return Err(Error::invalid("CPU shares cannot be negative"));
    }
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
    Ok(())
}

fn check_ulimit(ulimit: &wire::Ulimit) -> Result<(), Error> {
    const KNOWN: [&str; 16] = [
        "as",
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ];
    if !KNOWN.contains(&ulimit.name.as_str()) {
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
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut wire::HostConfig)) -> Result<wire::HostConfig, String> {
        let mut host = wire::HostConfig::default();
        change(&mut host);
        check_host(&mut host, &wire::ContainerConfig::default())
            .map(|_| host)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_carried_out_is_refused_by_name() {
        let refused = |change: fn(&mut wire::HostConfig)| check(change).expect_err("refused");
        assert_eq!(
            refused(|host| host.links = Some(vec!["a:b".to_owned()])),
            "HostConfig.Links is not supported yet"
        );
        assert_eq!(
            refused(|host| host.pid_mode = "container:x".to_owned()),
            "HostConfig.PidMode \"container:x\" is not supported yet"
        );
        assert_eq!(
            refused(|host| host.log_config.driver = "syslog".to_owned()),
            "logger: no log driver named 'syslog' is registered"
        );
    }

    #[test]
    fn unset_members_get_dockers_defaults() {
        let host = check(|host| host.memory = 64 << 20).expect("accepted");
        assert_eq!(host.memory_swap, 128 << 20);
        assert_eq!(
            (
                host.network_mode.as_str(),
                host.ipc_mode.as_str(),
                host.shm_size
            ),
            ("bridge", "private", SHM_SIZE)
        );
        assert_eq!(host.restart_policy.name, "no");
        assert_eq!(host.log_config.driver, "json-file");
    }

    #[test]
    fn limits_are_checked() {
        for (change, message) in [
            (
                (|host: &mut wire::HostConfig| host.memory = 1) as fn(&mut wire::HostConfig),
                "Minimum memory limit allowed is 6MB",
            ),
            (
                |host| host.memory_swap = 1,
                "You should always set the Memory limit when using Memoryswap limit, see usage",
            ),
            (
                |host| {
                    host.restart_policy.name = "always".to_owned();
                    host.auto_remove = true;
                },
                "can't create 'AutoRemove' container with restart policy",
            ),
            (
                |host| host.restart_policy.name = "sometimes".to_owned(),
                "invalid restart policy: unknown policy 'sometimes'; use one of 'no', 'always', 'on-failure', \
                 or 'unless-stopped'",
            ),
        ] {
            assert_eq!(check(change).map(drop), Err(message.to_owned()));
        }
    }
}
