//! From the flags to the request: files are read, paths made absolute, contradictions found.

use std::collections::BTreeMap;

use wharf_wire::{
    ContainerConfig, ContainerCreateBody, DeviceRequest, Empty, EndpointIpam, EndpointSettings,
    HostConfig, LogConfig, NetworkingConfig, PortMap, Words,
};

use super::super::device;
use super::super::environment::{self, EnvironmentError};
use super::super::health::HealthError;
use super::super::key_value::{self, PairError};
use super::super::network::Attachment;
use super::super::publish::{self, PortError};
use super::super::restart::RestartError;
use super::super::security::{self, Security, SecurityError};
use super::super::volume::{self, Volume, VolumeError};
use super::{ContainerArguments, Pull, Streams};
use crate::grammar::Invalid;

/// Flags that do not make a container together.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("{0}")]
    Device(Invalid),
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    #[error(transparent)]
    Health(#[from] HealthError),
    #[error(transparent)]
    Label(#[from] PairError),
    #[error(transparent)]
    Port(#[from] PortError),
    #[error(transparent)]
    Reference(#[from] wharf_types::ReferenceError),
    #[error(transparent)]
    Restart(#[from] RestartError),
    #[error(transparent)]
    Security(#[from] SecurityError),
    #[error(transparent)]
    Volume(#[from] VolumeError),
    #[error("--{flag}: invalid {namespace} mode")]
    Mode {
        flag: &'static str,
        namespace: &'static str,
    },
    #[error("invalid value: {0}. Valid memory swappiness range is 0-100")]
    Swappiness(i64),
    #[error("invalid logging opts for driver {0}")]
    LogOptions(String),
    #[error("network-scoped aliases are only supported for user-defined networks")]
    Aliases,
    #[error("network {0:?} is specified multiple times")]
    SameNetwork(String),
    #[error("{0} is not a valid mac address")]
    Mac(String),
    #[error("invalid storage option")]
    StorageOption,
    #[error("invalid pull option: '{0}': must be one of \"always\", \"missing\" or \"never\"")]
    Pull(String),
    #[error("conflicting options: cannot specify both --restart and --rm")]
    RestartAndRemove,
    #[error("conflicting options: cannot specify both {0} and per-network {1}")]
    TwiceForNetwork(&'static str, &'static str),
}

/// A container to be made.
#[derive(Debug)]
pub(crate) struct Created {
    /// The request's body.
    pub(crate) body: ContainerCreateBody,
    /// The streams to be attached to.
    pub(crate) streams: Streams,
    /// The user's credentials, which are put into the container before it starts.
    pub(crate) configuration: Option<String>,
}

/// Makes the request for a container of `image`.
pub(crate) fn body(
    arguments: &ContainerArguments,
    image: &str,
    command: Vec<String>,
) -> Result<Created, BodyError> {
    if !is_id(image) {
        image.parse::<wharf_types::Reference>()?;
    }
    if let Pull::Unknown(other) = &arguments.pull {
        return Err(BodyError::Pull(other.clone()));
    }
    if !arguments.mac.is_empty() && !is_mac(&arguments.mac) {
        return Err(BodyError::Mac(arguments.mac.clone()));
    }
    let streams = streams(arguments);
    let mut binds = Vec::new();
    let mut volumes = BTreeMap::new();
    let here = std::env::current_dir().ok();
    for text in &arguments.volumes {
        match volume::parse(text, here.as_deref())? {
            Volume::Anonymous(path) => {
                volumes.insert(path, Empty);
            }
            Volume::Bind(bind) => binds.push(bind),
        }
    }
    let mut ports = PortMap::new();
    for text in &arguments.publish {
        publish::publish(&mut ports, text)?;
    }
    let config = config(arguments, image, command, streams, volumes, &ports)?;
    let host_config = host_config(arguments, binds, ports)?;
    let networking_config = networking(arguments)?;
    Ok(Created {
        body: ContainerCreateBody {
            config,
            host_config,
            networking_config,
        },
        streams,
        configuration: None,
    })
}

/// Whether an image is named by its whole id, which is no reference.
fn is_id(image: &str) -> bool {
    let digits = image.strip_prefix("sha256:").unwrap_or(image);
    digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The streams to attach to: those named; else output, and input when it is kept open.
fn streams(arguments: &ContainerArguments) -> Streams {
    if arguments.attach.any() {
        return arguments.attach;
    }
    if arguments.detach {
        return Streams::default();
    }
    Streams {
        stdin: arguments.interactive,
        stdout: true,
        stderr: true,
    }
}

fn config(
    arguments: &ContainerArguments,
    image: &str,
    command: Vec<String>,
    streams: Streams,
    volumes: BTreeMap<String, Empty>,
    ports: &PortMap,
) -> Result<ContainerConfig, BodyError> {
    let mut exposed: BTreeMap<String, Empty> =
        ports.keys().map(|port| (port.clone(), Empty)).collect();
    for text in &arguments.expose {
        exposed.extend(publish::expose(text)?.into_iter().map(|port| (port, Empty)));
    }
    let mut variables = Vec::new();
    for file in &arguments.environment_files {
        variables.extend(environment::variables_file(file)?);
    }
    variables.extend(arguments.environment.iter().cloned());
    let mut labels = BTreeMap::new();
    for file in &arguments.label_files {
        for label in environment::labels_file(file)? {
            key_value::add_label(&mut labels, &label)?;
        }
    }
    labels.extend(arguments.labels.clone());
    Ok(ContainerConfig {
        hostname: arguments.hostname.clone(),
        domainname: arguments.domainname.clone(),
        user: arguments.user.clone(),
        attach_stdin: streams.stdin,
        attach_stdout: streams.stdout,
        attach_stderr: streams.stderr,
        exposed_ports: exposed,
        tty: arguments.tty,
        open_stdin: arguments.interactive,
        stdin_once: arguments.interactive && streams.stdin,
        env: some_unless_empty(variables),
        cmd: some_unless_empty(command).map(Words),
        healthcheck: arguments.health.resolve()?,
        image: image.to_owned(),
        volumes: Some(volumes),
        working_dir: arguments.workdir.clone(),
        // An empty entrypoint is one empty word: it clears the image's.
        entrypoint: arguments
            .entrypoint
            .as_ref()
            .map(|word| Words(vec![word.clone()])),
        mac_address: String::new(),
        labels: Some(labels),
        stop_signal: arguments.stop_signal.clone(),
        stop_timeout: arguments.stop_timeout,
        ..ContainerConfig::default()
    })
}

fn host_config(
    arguments: &ContainerArguments,
    binds: Vec<String>,
    ports: PortMap,
) -> Result<HostConfig, BodyError> {
    check_modes(arguments)?;
    let (cap_add, cap_drop) = security::capabilities(&arguments.cap_add, &arguments.cap_drop);
    let restart_policy = arguments.restart_policy()?;
    if arguments.auto_remove && restart_policy.name != "no" {
        return Err(BodyError::RestartAndRemove);
    }
    if arguments.log_driver == "none" && !arguments.log_options.is_empty() {
        return Err(BodyError::LogOptions(arguments.log_driver.clone()));
    }
    let Security {
        options,
        open_system_paths,
    } = security::resolve(&arguments.security)?;
    let network_mode = match arguments.networks.first() {
        Some(attachment) if !attachment.network.is_empty() => attachment.network.clone(),
        _ => "default".to_owned(),
    };
    let system_paths = open_system_paths.then(Vec::new);
    Ok(HostConfig {
        binds: some_unless_empty(binds),
        container_id_file: arguments.cidfile.clone(),
        log_config: LogConfig {
            driver: arguments.log_driver.clone(),
            config: arguments.log_options.clone(),
        },
        network_mode,
        port_bindings: Some(ports),
        restart_policy,
        auto_remove: arguments.auto_remove,
        volume_driver: arguments.volume_driver.clone(),
        volumes_from: some_unless_empty(arguments.volumes_from.clone()),
        annotations: arguments.annotations.clone(),
        cap_add: some_unless_empty(cap_add).map(Words),
        cap_drop: some_unless_empty(cap_drop).map(Words),
        cgroupns_mode: arguments.cgroupns.clone(),
        dns: Some(arguments.dns.clone()),
        dns_options: Some(arguments.dns_options.clone()),
        dns_search: Some(arguments.dns_search.clone()),
        extra_hosts: some_unless_empty(arguments.extra_hosts.clone()),
        group_add: some_unless_empty(arguments.groups.clone()),
        ipc_mode: arguments.ipc.clone(),
        links: some_unless_empty(arguments.links.clone()),
        oom_score_adj: arguments.oom_score_adj,
        pid_mode: arguments.pid.clone(),
        privileged: arguments.privileged,
        publish_all_ports: arguments.publish_all,
        readonly_rootfs: arguments.read_only,
        security_opt: some_unless_empty(options),
        storage_opt: storage_options(&arguments.storage_options)?,
        tmpfs: arguments.tmpfs.clone(),
        uts_mode: arguments.uts.clone(),
        userns_mode: arguments.userns.clone(),
        shm_size: arguments.shm_size,
        sysctls: arguments.sysctls.clone(),
        isolation: arguments.isolation.clone(),
        runtime: arguments.runtime.clone(),
        mounts: arguments.mounts.clone(),
        masked_paths: system_paths.clone(),
        readonly_paths: system_paths,
        init: arguments.init,
        ..resources(arguments)?
    })
}

fn storage_options(pairs: &[String]) -> Result<BTreeMap<String, String>, BodyError> {
    pairs
        .iter()
        .map(|pair| {
            let (name, value) = pair.split_once('=').ok_or(BodyError::StorageOption)?;
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect()
}

/// Whether a text is an address as Go's `net.ParseMAC` takes it: 6, 8 or 20 bytes in hexadecimal.
fn is_mac(text: &str) -> bool {
    let hex = |group: &str, digits: usize| {
        group.len() == digits && group.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let groups = |separator: char, digits: usize, counts: [usize; 3]| {
        let groups: Vec<&str> = text.split(separator).collect();
        counts.contains(&groups.len()) && groups.iter().all(|group| hex(group, digits))
    };
    groups(':', 2, [6, 8, 20]) || groups('-', 2, [6, 8, 20]) || groups('.', 4, [3, 4, 10])
}

/// The part of the host configuration that limits resources.
fn resources(arguments: &ContainerArguments) -> Result<HostConfig, BodyError> {
    if let Some(swappiness) = arguments.memory_swappiness
        && !(-1..=100).contains(&swappiness)
    {
        return Err(BodyError::Swappiness(swappiness));
    }
    let (qualified, paths): (Vec<_>, Vec<_>) = arguments
        .devices
        .iter()
        .partition(|text| device::is_qualified(text));
    let devices = paths.into_iter().map(|text| device::parse(text));
    let devices = devices
        .collect::<Result<Vec<_>, _>>()
        .map_err(BodyError::Device)?;
    let mut requests = arguments.device_requests.clone();
    if !qualified.is_empty() {
        requests.push(DeviceRequest {
            driver: "cdi".to_owned(),
            device_ids: Some(qualified.into_iter().cloned().collect()),
            ..DeviceRequest::default()
        });
    }
    Ok(HostConfig {
        cpu_shares: arguments.cpu_shares,
        memory: arguments.memory,
        nano_cpus: arguments.nano_cpus,
        cgroup_parent: arguments.cgroup_parent.clone(),
        blkio_weight: arguments.blkio_weight,
        blkio_weight_device: Some(arguments.blkio_weight_devices.clone()),
        blkio_device_read_bps: Some(arguments.read_bps.clone()),
        blkio_device_write_bps: Some(arguments.write_bps.clone()),
        blkio_device_read_iops: Some(arguments.read_iops.clone()),
        blkio_device_write_iops: Some(arguments.write_iops.clone()),
        cpu_period: arguments.cpu_period,
        cpu_quota: arguments.cpu_quota,
        cpu_realtime_period: arguments.cpu_rt_period,
        cpu_realtime_runtime: arguments.cpu_rt_runtime,
        cpuset_cpus: arguments.cpuset_cpus.clone(),
        cpuset_mems: arguments.cpuset_mems.clone(),
        devices: Some(devices),
        device_cgroup_rules: some_unless_empty(arguments.device_rules.clone()),
        device_requests: some_unless_empty(requests),
        kernel_memory: arguments.kernel_memory,
        memory_reservation: arguments.memory_reservation,
        memory_swap: arguments.memory_swap,
        memory_swappiness: Some(arguments.memory_swappiness.unwrap_or(-1)),
        oom_kill_disable: Some(arguments.oom_kill_disable.unwrap_or(false)),
        pids_limit: Some(arguments.pids_limit),
        ulimits: Some(arguments.ulimits.clone()),
        ..HostConfig::default()
    })
}

fn check_modes(arguments: &ContainerArguments) -> Result<(), BodyError> {
    let of_container = |mode: &str| {
        mode.strip_prefix("container:")
            .is_some_and(|name| !name.is_empty())
    };
    let check = |flag, namespace, good| {
        if good {
            Ok(())
        } else {
            Err(BodyError::Mode { flag, namespace })
        }
    };
    check(
        "pid",
        "PID",
        matches!(arguments.pid.as_str(), "" | "host") || of_container(&arguments.pid),
    )?;
    check("uts", "UTS", matches!(arguments.uts.as_str(), "" | "host"))?;
    let userns = arguments.userns.split(':').next().unwrap_or_default();
    check(
        "userns",
        "USER",
        matches!(userns, "" | "host" | "auto" | "keep-id"),
    )?;
    check(
        "cgroupns",
        "CGROUP",
        matches!(arguments.cgroupns.as_str(), "" | "host" | "private"),
    )
}

/// The ends of the networks named. Flags for "the" network (`--ip`, `--network-alias`) are the first's.
fn networking(arguments: &ContainerArguments) -> Result<Option<NetworkingConfig>, BodyError> {
    let mut attachments = arguments.networks.clone();
    if attachments.is_empty() {
        attachments.push(Attachment {
            network: "default".to_owned(),
            ..Attachment::default()
        });
    }
    if let Some(first) = attachments.first_mut() {
        let clash = |single: bool, per_network: bool, flag, field| {
            if single && per_network {
                Err(BodyError::TwiceForNetwork(flag, field))
            } else {
                Ok(())
            }
        };
        clash(
            !arguments.aliases.is_empty(),
            !first.aliases.is_empty(),
            "--network-alias",
            "alias",
        )?;
        clash(
            !arguments.ipv4.is_empty(),
            !first.ipv4.is_empty(),
            "--ip",
            "IPv4 address",
        )?;
        clash(
            !arguments.ipv6.is_empty(),
            !first.ipv6.is_empty(),
            "--ip6",
            "IPv6 address",
        )?;
        clash(
            !arguments.mac.is_empty(),
            !first.mac.is_empty(),
            "--mac-address",
            "MAC address",
        )?;
        first.aliases.extend(arguments.aliases.iter().cloned());
        first
            .link_local
            .extend(arguments.link_local.iter().cloned());
        let built_in = matches!(
            first.network.as_str(),
            "default" | "bridge" | "host" | "none"
        );
        if !first.aliases.is_empty() && (built_in || first.network.starts_with("container:")) {
            return Err(BodyError::Aliases);
        }
        for (single, place) in [
            (&arguments.ipv4, &mut first.ipv4),
            (&arguments.ipv6, &mut first.ipv6),
            (&arguments.mac, &mut first.mac),
        ] {
            if !single.is_empty() {
                place.clone_from(single);
            }
        }
    }
    let mut endpoints = BTreeMap::new();
    for attachment in attachments {
        let name = attachment.network.clone();
        if endpoints
            .insert(name.clone(), Some(endpoint(attachment, &arguments.links)))
            .is_some()
        {
            return Err(BodyError::SameNetwork(name));
        }
    }
    Ok(Some(NetworkingConfig {
        endpoints_config: endpoints,
    }))
}

fn endpoint(attachment: Attachment, links: &[String]) -> EndpointSettings {
    let ipam = EndpointIpam {
        ipv4_address: attachment.ipv4,
        ipv6_address: attachment.ipv6,
        link_local_ips: attachment.link_local,
    };
    EndpointSettings {
        ipam_config: (ipam != EndpointIpam::default()).then_some(ipam),
        links: some_unless_empty(links.to_vec()),
        aliases: some_unless_empty(attachment.aliases),
        mac_address: attachment.mac,
        driver_opts: (!attachment.driver_options.is_empty()).then_some(attachment.driver_options),
        gw_priority: attachment.gateway_priority,
        ..EndpointSettings::default()
    }
}

fn some_unless_empty<T>(values: Vec<T>) -> Option<Vec<T>> {
    (!values.is_empty()).then_some(values)
}

#[cfg(test)]
mod tests;
