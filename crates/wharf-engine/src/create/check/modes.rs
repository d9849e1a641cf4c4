//! Namespaces: which a container shares with the host or with another container, and what does not
//! go together with that.

use wharf_wire as wire;

use crate::error::Error;

/// How a mode names another container.
const CONTAINER: &str = "container:";

/// The container another one shares a namespace with, if the mode says so.
pub(crate) fn joined(mode: &str) -> Option<&str> {
    mode.strip_prefix(CONTAINER)
}

/// Checks the modes and gives unset ones their defaults.
pub(super) fn check(
    host: &mut wire::HostConfig,
    config: &wire::ContainerConfig,
) -> Result<(), Error> {
    check_network(host, config)?;
    let of_container = |mode: &str| joined(mode).is_some_and(|name| !name.is_empty());
    if !matches!(
        host.ipc_mode.as_str(),
        "" | "private" | "shareable" | "none" | "host"
    ) && !of_container(&host.ipc_mode)
    {
        return Err(invalid("IPC", &host.ipc_mode));
    }
    if !matches!(host.pid_mode.as_str(), "" | "host") && !of_container(&host.pid_mode) {
        return Err(invalid("PID", &host.pid_mode));
    }
    if !matches!(host.uts_mode.as_str(), "" | "host") {
        return Err(invalid("UTS", &host.uts_mode));
    }
    if !matches!(host.cgroupns_mode.as_str(), "" | "private" | "host") {
        return Err(invalid("cgroup namespace", &host.cgroupns_mode));
    }
    if host.uts_mode == "host" && !config.hostname.is_empty() {
        return Err(conflict("hostname and the UTS mode"));
    }
    if host.uts_mode == "host" && !config.domainname.is_empty() {
        return Err(conflict("domain name and the UTS mode"));
    }
    for (mode, default) in [
        (&mut host.ipc_mode, "private"),
        (&mut host.cgroupns_mode, "private"),
    ] {
        if mode.is_empty() {
            default.clone_into(mode);
        }
    }
    check_cgroup_parent(&host.cgroup_parent)
}

fn check_network(host: &mut wire::HostConfig, config: &wire::ContainerConfig) -> Result<(), Error> {
    if matches!(host.network_mode.as_str(), "" | "default") {
        "bridge".clone_into(&mut host.network_mode);
    }
    // Whether there is such a network is asked when it is needed, at the start: clients take "not
    // found" here for a missing image.
    let Some(name) = joined(&host.network_mode) else {
        return Ok(());
    };
    if name.is_empty() {
        return Err(Error::invalid(
            "Invalid network mode: invalid container format container:<name|id>",
        ));
    }
    let some = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let published = host.port_bindings.as_ref().is_some_and(|p| !p.is_empty());
    for (given, what) in [
        (!config.hostname.is_empty(), "hostname and the network mode"),
        (
            some(&host.links),
            "container type network can't be used with links. This would result in undefined behavior",
        ),
        (some(&host.dns), "dns and the network mode"),
        (
            some(&host.extra_hosts),
            "custom host-to-IP mapping and the network mode",
        ),
        (
            !config.mac_address.is_empty(),
            "mac-address and the network mode",
        ),
        (
            published || host.publish_all_ports,
            "port publishing and the container type network mode",
        ),
        (
            !config.exposed_ports.is_empty(),
            "port exposing and the container type network mode",
        ),
    ] {
        if given {
            return Err(conflict(what));
        }
    }
    Ok(())
}

/// Cgroups are driven by their files here; a slice would be systemd's to make.
fn check_cgroup_parent(parent: &str) -> Result<(), Error> {
    if parent.ends_with(".slice") {
        return Err(Error::invalid(format!(
            "invalid cgroup parent \"{parent}\": a slice is systemd's to make, and the cgroup driver of this engine is \
             cgroupfs: name a path"
        )));
    }
    if parent.split('/').any(|part| part == "..") {
        return Err(Error::invalid(format!(
            "invalid cgroup parent \"{parent}\": it leaves the hierarchy"
        )));
    }
    Ok(())
}

fn invalid(namespace: &str, mode: &str) -> Error {
    Error::invalid(format!("invalid {namespace} mode: {mode}"))
}

fn conflict(what: &str) -> Error {
    Error::invalid(format!("conflicting options: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(
        change: impl FnOnce(&mut wire::HostConfig, &mut wire::ContainerConfig),
    ) -> Result<wire::HostConfig, String> {
        let mut host = wire::HostConfig::default();
        let mut config = wire::ContainerConfig::default();
        change(&mut host, &mut config);
        check(&mut host, &config)
            .map(|()| host)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn unset_modes_are_dockers() {
        let host = with(|_, _| {}).expect("accepted");
        assert_eq!(host.network_mode, "bridge");
        assert_eq!((&*host.ipc_mode, &*host.pid_mode), ("private", ""));
        assert_eq!(host.cgroupns_mode, "private");
    }

    #[test]
    fn modes_are_known_or_refused() {
        type Change = fn(&mut wire::HostConfig, &mut wire::ContainerConfig);
        let cases: [(Change, &str); 9] = [
            (
                |h, _| "bogus".clone_into(&mut h.ipc_mode),
                "invalid IPC mode: bogus",
            ),
            (
                |h, _| "container:".clone_into(&mut h.pid_mode),
                "invalid PID mode: container:",
            ),
            (
                |h, _| "container:x".clone_into(&mut h.uts_mode),
                "invalid UTS mode: container:x",
            ),
            (
                |h, _| "x".clone_into(&mut h.cgroupns_mode),
                "invalid cgroup namespace mode: x",
            ),
            (
                |h, _| "container:".clone_into(&mut h.network_mode),
                "Invalid network mode: invalid container format container:<name|id>",
            ),
            (
                |h, c| {
                    "container:x".clone_into(&mut h.network_mode);
                    "name".clone_into(&mut c.hostname);
                },
                "conflicting options: hostname and the network mode",
            ),
            (
                |h, _| {
                    "container:x".clone_into(&mut h.network_mode);
                    h.publish_all_ports = true;
                },
                "conflicting options: port publishing and the container type network mode",
            ),
            (
                |h, c| {
                    "host".clone_into(&mut h.uts_mode);
                    "name".clone_into(&mut c.hostname);
                },
                "conflicting options: hostname and the UTS mode",
            ),
            (
                |h, _| "/a/../..".clone_into(&mut h.cgroup_parent),
                "invalid cgroup parent \"/a/../..\": it leaves the hierarchy",
            ),
        ];
        for (change, message) in cases {
            assert_eq!(with(change).map(drop), Err(message.to_owned()));
        }
        let slice = with(|host, _| "user.slice".clone_into(&mut host.cgroup_parent));
        assert!(slice.expect_err("refused").contains("systemd's to make"));
    }
}
