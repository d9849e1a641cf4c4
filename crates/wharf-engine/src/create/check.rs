//! What a request may ask: checked whole before anything is made.
//!
//! A setting this engine does not carry out is refused by its name: an option that is accepted and
//! ignored is a promise not kept. Settings with no meaning on Linux (`CpuCount`, `Isolation`) are
//! refused too, unless they have the value every client sends.

use std::net::{IpAddr, Ipv4Addr};

use wharf_wire as wire;

use crate::controllers::Controllers;
use crate::error::Error;
use crate::{capabilities, ports, signals};

pub(crate) mod limits;
pub(crate) mod modes;

/// Docker's size of /dev/shm.
pub(super) const SHM_SIZE: i64 = 64 * 1024 * 1024;

/// Checks the host's part of a request and gives unset members their defaults. Returns warnings.
pub(super) fn check_host(
    host: &mut wire::HostConfig,
    config: &wire::ContainerConfig,
    controllers: &Controllers,
) -> Result<Vec<String>, Error> {
    modes::check(host, config)?;
    refuse_unsupported(host)?;
    check_restart_policy(host)?;
    crate::logs::check(&mut host.log_config)?;
    let mut warnings = limits::check(host, controllers)?;
    let words = |words: &Option<wire::Words>| words.as_deref().unwrap_or_default().to_vec();
    capabilities::resolve(&words(&host.cap_add), &words(&host.cap_drop))?;
    let nowhere = Ipv4Addr::UNSPECIFIED;
    ports::requests(host, config, nowhere, nowhere)?;
    for entry in host.extra_hosts.iter().flatten() {
        check_extra_host(entry)?;
    }
    check_devices(host)?;
    if host.annotations.contains_key("") {
        return Err(Error::invalid(
            "invalid Annotations: the empty string is not permitted as an annotation key",
        ));
    }
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
    if host.network_mode == "host" && host.port_bindings.as_ref().is_some_and(|p| !p.is_empty()) {
        warnings.push("Published ports are discarded when using host network mode".to_owned());
    }
    Ok(warnings)
}

/// Which devices there are is looked up when the container starts; how they are written is seen now.
fn check_devices(host: &wire::HostConfig) -> Result<(), Error> {
    for device in host.devices.iter().flatten() {
        let mode = &device.cgroup_permissions;
        if mode
            .chars()
            .any(|letter| !matches!(letter, 'r' | 'w' | 'm'))
        {
            return Err(Error::invalid(format!("bad mode specified: {mode}")));
        }
        for path in [&device.path_on_host, &device.path_in_container] {
            if !path.starts_with('/') {
                return Err(Error::invalid(format!("{path} is not an absolute path")));
            }
        }
    }
    for rule in host.device_cgroup_rules.iter().flatten() {
        crate::spec::devices::rule(rule)?;
    }
    Ok(())
}

/// `name:address`, as clients send `--add-host`.
fn check_extra_host(entry: &str) -> Result<(), Error> {
    let Some((name, address)) = entry.split_once(':') else {
        return Err(Error::invalid(format!(
            "bad format for add-host: \"{entry}\""
        )));
    };
    if name.is_empty() {
        return Err(Error::invalid(format!(
            "bad format for add-host: \"{entry}\""
        )));
    }
    // The bridge's address, known when the container starts.
    if address == "host-gateway" || address.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "invalid IP address in add-host: \"{address}\""
    )))
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
    if let Some(check) = &config.healthcheck {
        crate::health::validate(check)?;
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
        if let Some(ipam) = &rest.ipam_config
            && (!ipam.ipv4_address.is_empty() || !ipam.ipv6_address.is_empty())
        {
            for (text, family) in [(&ipam.ipv4_address, "IPv4"), (&ipam.ipv6_address, "IPv6")] {
                if !text.is_empty() && text.parse::<IpAddr>().is_err() {
                    return Err(Error::invalid(format!("invalid {family} address: {text}")));
                }
            }
            return Err(Error::invalid(
                "user specified IP address is supported on user defined networks only",
            ));
        }
        if !empty(&rest.aliases) {
            return Err(Error::invalid(
                "network-scoped alias is supported only for containers in user defined networks",
            ));
        }
        if !empty(&rest.links) {
            return Err(unsupported("HostConfig.Links"));
        }
        if !rest.mac_address.is_empty() {
            return Err(unsupported("EndpointsConfig.MacAddress"));
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
    if !matches!(host.isolation.as_str(), "" | "default") {
        return Err(Error::invalid(format!(
            "Invalid isolation: \"{}\" - linux only supports 'default'",
            host.isolation
        )));
    }
    if let Some(option) = host.storage_opt.keys().next() {
        return Err(Error::invalid(match option.as_str() {
            "size" => {
                "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"
                    .to_owned()
            }
            other => format!("Unknown option {other}"),
        }));
    }
    let some = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let refused = [
        ("HostConfig.Links", some(&host.links)),
        ("HostConfig.Cgroup", !host.cgroup.is_empty()),
    ];
    match refused.iter().find(|(_, asked)| *asked) {
        Some((member, _)) => Err(unsupported(member)),
        None => Ok(()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut wire::HostConfig)) -> Result<wire::HostConfig, String> {
        let mut host = wire::HostConfig::default();
        change(&mut host);
        let config = wire::ContainerConfig::default();
        check_host(&mut host, &config, &Controllers::all())
            .map(|_| host)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_carried_out_is_refused_by_name() {
        type Change = fn(&mut wire::HostConfig);
        let cases: [(Change, &str); 8] = [
            (
                |host| host.links = Some(vec!["a:b".to_owned()]),
                "HostConfig.Links is not supported yet",
            ),
            (
                |host| "hyperv".clone_into(&mut host.isolation),
                "Invalid isolation: \"hyperv\" - linux only supports 'default'",
            ),
            (
                |host| drop(host.storage_opt.insert("x".to_owned(), String::new())),
                "Unknown option x",
            ),
            (
                |host| host.extra_hosts = Some(vec!["bogus".to_owned()]),
                "bad format for add-host: \"bogus\"",
            ),
            (
                |host| host.extra_hosts = Some(vec!["a:1.2.3".to_owned()]),
                "invalid IP address in add-host: \"1.2.3\"",
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
            (
                |host| host.oom_score_adj = 2000,
                "Invalid value 2000, range for oom score adj is [-1000, 1000]",
            ),
        ];
        for (change, message) in cases {
            assert_eq!(check(change).map(drop), Err(message.to_owned()));
        }
    }

    #[test]
    fn unset_members_get_dockers_defaults() {
        let host = check(|_| {}).expect("accepted");
        assert_eq!(host.shm_size, SHM_SIZE);
        assert_eq!(host.restart_policy.name, "no");
        assert_eq!(host.log_config.driver, "json-file");
    }
}
