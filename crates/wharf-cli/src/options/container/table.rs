//! The table of `run`'s and `create`'s flags. Docker's order of the alphabet, Docker's texts.
//!
//! What the engine may not do is not decided here: every setting is sent, and the engine, which also serves
//! Docker's own client, refuses by name what it does not do. Refused here are the flags that mean nothing
//! on Linux and those the client itself would have to act on.

use wharf_wire::{ThrottleDevice, WeightDevice};

use super::super::{
    environment, flags, gpus, hosts, key_value, mount, network, number, size, ulimit,
};
use super::{ContainerArguments, Pull};
use crate::grammar::{Flag, Invalid};

type F = Flag<ContainerArguments>;
type Stored = Result<(), Invalid>;

/// Flags of `run` alone.
pub(crate) static RUN_ONLY: &[F] = &[
    F::switch(
        "detach",
        "Run container in background and print container ID",
        |a, on| a.detach = on,
    )
    .short('d'),
    flags::detach_keys(|a, v| {
        a.detach_keys = Some(v.to_owned());
        Ok(())
    }),
    flags::signal_proxy("Proxy received signals to the process", |a, on| {
        a.no_signal_proxy = !on;
    }),
];

/// Flags of `create` alone.
pub(crate) static CREATE_ONLY: &[F] = &[];

/// Flags of both.
pub(crate) static SHARED: &[F] = &[
    F::value("add-host", "list", "Add a custom host-to-IP mapping (host:ip)", |a, v| {
        a.extra_hosts.push(hosts::extra_host(v)?);
        Ok(())
    }),
    F::value("annotation", "map", "Add an annotation to the container (passed through to the OCI runtime)", |a, v| {
        Ok(key_value::add_label(&mut a.annotations, v)?)
    })
    .default("map[]")
    .since(43),
    F::value("attach", "list", "Attach to STDIN, STDOUT or STDERR", |a, v| a.attach.add(v)).short('a'),
    F::value("blkio-weight", "uint16", "Block IO (relative weight), between 10 and 1000, or 0 to disable", |a, v| {
        store(&mut a.blkio_weight, number::parse(v)?)
    })
    .default("0"),
    F::value("blkio-weight-device", "list", "Block IO weight (relative device weight)", |a, v| {
        a.blkio_weight_devices.push(weight_device(v)?);
        Ok(())
    })
    .default("[]"),
    F::value("cap-add", "list", "Add Linux capabilities", |a, v| push(&mut a.cap_add, v)),
    F::value("cap-drop", "list", "Drop Linux capabilities", |a, v| push(&mut a.cap_drop, v)),
    F::value("cgroup-parent", "string", "Optional parent cgroup for the container", |a, v| text(&mut a.cgroup_parent, v)),
    F::value("cgroupns", "string", "Cgroup namespace to use (host|private)", |a, v| text(&mut a.cgroupns, v))
    .since(41),
    F::value("cidfile", "string", "Write the container ID to the file", |a, v| text(&mut a.cidfile, v)),
    F::value("cpu-count", "int", "CPU count (Windows only)", on_windows).windows(),
    F::value("cpu-percent", "int", "CPU percent (Windows only)", on_windows).windows(),
    F::value("cpu-period", "int", "Limit CPU CFS (Completely Fair Scheduler) period", |a, v| {
        store(&mut a.cpu_period, number::parse(v)?)
    }),
    F::value("cpu-quota", "int", "Limit CPU CFS (Completely Fair Scheduler) quota", |a, v| {
        store(&mut a.cpu_quota, number::parse(v)?)
    }),
    F::value("cpu-rt-period", "int", "Limit CPU real-time period in microseconds", |a, v| {
        store(&mut a.cpu_rt_period, number::parse(v)?)
    })
    .since(25),
    F::value("cpu-rt-runtime", "int", "Limit CPU real-time runtime in microseconds", |a, v| {
        store(&mut a.cpu_rt_runtime, number::parse(v)?)
    })
    .since(25),
    F::value("cpu-shares", "int", "CPU shares (relative weight)", |a, v| store(&mut a.cpu_shares, number::parse(v)?)).short('c'),
    F::value("cpus", "decimal", "Number of CPUs", |a, v| store(&mut a.nano_cpus, number::nano_cpus(v)?))
    .since(25),
    F::value("cpuset-cpus", "string", "CPUs in which to allow execution (0-3, 0,1)", |a, v| text(&mut a.cpuset_cpus, v)),
    F::value("cpuset-mems", "string", "MEMs in which to allow execution (0-3, 0,1)", |a, v| text(&mut a.cpuset_mems, v)),
    F::value("device", "list", "Add a host device to the container", |a, v| push(&mut a.devices, v)),
    F::value("device-cgroup-rule", "list", "Add a rule to the cgroup allowed devices list", |a, v| push(&mut a.device_rules, v)),
    F::value("device-read-bps", "list", "Limit read rate (bytes per second) from a device", |a, v| {
        a.read_bps.push(throttle_bytes(v)?);
        Ok(())
    })
    .default("[]"),
    F::value("device-read-iops", "list", "Limit read rate (IO per second) from a device", |a, v| {
        a.read_iops.push(throttle_operations(v)?);
        Ok(())
    })
    .default("[]"),
    F::value("device-write-bps", "list", "Limit write rate (bytes per second) to a device", |a, v| {
        a.write_bps.push(throttle_bytes(v)?);
        Ok(())
    })
    .default("[]"),
    F::value("device-write-iops", "list", "Limit write rate (IO per second) to a device", |a, v| {
        a.write_iops.push(throttle_operations(v)?);
        Ok(())
    })
    .default("[]"),
    flags::content_trust("Skip image verification", |a, on| a.no_content_trust = Some(on)),
    F::value("dns", "list", "Set custom DNS servers", |a, v| {
        a.dns.push(hosts::address(v)?);
        Ok(())
    }),
    F::value("dns-opt", "list", "Set DNS options", |a, v| push(&mut a.dns_options, v)).hidden(),
    F::value("dns-option", "list", "Set DNS options", |a, v| push(&mut a.dns_options, v)),
    F::value("dns-search", "list", "Set custom DNS search domains", |a, v| push(&mut a.dns_search, v)),
    F::value("domainname", "string", "Container NIS domain name", |a, v| text(&mut a.domainname, v)),
    F::value("entrypoint", "string", "Overwrite the default ENTRYPOINT of the image", |a, v| {
        a.entrypoint = Some(v.to_owned());
        Ok(())
    }),
    F::value("env", "list", "Set environment variables", |a, v| {
        a.environment.push(environment::variable(v)?);
        Ok(())
    })
    .short('e'),
    F::value("env-file", "list", "Read in a file of environment variables", |a, v| push(&mut a.environment_files, v)),
    F::value("expose", "list", "Expose a port or a range of ports", |a, v| push(&mut a.expose, v)),
    F::value("gpus", "gpu-request", "GPU devices to add to the container ('all' to pass all GPUs)", |a, v| {
        a.device_requests.push(gpus::parse(v)?);
        Ok(())
    })
    .since(40),
    F::value("group-add", "list", "Add additional groups to join", |a, v| push(&mut a.groups, v)),
    F::value("health-cmd", "string", "Command to run to check health", |a, v| {
        a.health.command = Some(v.to_owned());
        Ok(())
    }),
    F::value("health-interval", "duration", "Time between running the check (ms|s|m|h)", |a, v| {
        { let time = a.health.time("health-interval", v)?; store(&mut a.health.interval, time) }
    })
    .default("0s"),
    F::value("health-on-failure", "string", "Action when the container becomes unhealthy (none|kill|restart|stop)", |a, v| {
        text(&mut a.health.on_failure, v)
    }),
    F::value("health-retries", "int", "Consecutive failures needed to report unhealthy", |a, v| {
        store(&mut a.health.retries, number::parse(v)?)
    }),
    F::value("health-start-interval", "duration", "Time between running the check during the start period (ms|s|m|h)", |a, v| {
        { let time = a.health.time("health-start-interval", v)?; store(&mut a.health.start_interval, time) }
    })
    .default("0s")
    .since(44),
    F::value(
        "health-start-period",
        "duration",
        "Start period for the container to initialize before starting health-retries countdown (ms|s|m|h)",
        |a, v| { let time = a.health.time("health-start-period", v)?; store(&mut a.health.start_period, time) },
    )
    .default("0s")
    .since(29),
    F::value("health-timeout", "duration", "Maximum time to allow one check to run (ms|s|m|h)", |a, v| {
        { let time = a.health.time("health-timeout", v)?; store(&mut a.health.timeout, time) }
    })
    .default("0s"),
    F::value("hostname", "string", "Container host name", |a, v| text(&mut a.hostname, v)).short('h'),
    F::switch("init", "Run an init inside the container that forwards signals and reaps processes", |a, on| a.init = Some(on))
    .since(25),
    F::switch("interactive", "Keep STDIN open even if not attached", |a, on| a.interactive = on).short('i'),
    F::value(
        "io-maxbandwidth",
        "bytes",
        "Maximum IO bandwidth limit for the system drive (Windows only)",
        on_windows,
    )
    .windows(),
    F::value("io-maxiops", "uint", "Maximum IOps limit for the system drive (Windows only)", on_windows).windows(),
    F::value("ip", "string", "IPv4 address (e.g., 172.30.100.104)", |a, v| text(&mut a.ipv4, v)),
    F::value("ip6", "string", "IPv6 address (e.g., 2001:db8::33)", |a, v| text(&mut a.ipv6, v)),
    F::value("ipc", "string", "IPC mode to use", |a, v| text(&mut a.ipc, v)),
    F::value("isolation", "string", "Container isolation technology", |a, v| text(&mut a.isolation, v)),
    F::value("kernel-memory", "bytes", "Kernel memory limit", |a, v| store(&mut a.kernel_memory, size::parse(v)?)),
    F::value("label", "list", "Set meta data on a container", |a, v| Ok(key_value::add_label(&mut a.labels, v)?)).short('l'),
    F::value("label-file", "list", "Read in a line delimited file of labels", |a, v| push(&mut a.label_files, v)),
    F::value("link", "list", "Add link to another container", |a, v| push(&mut a.links, v)),
    F::value("link-local-ip", "list", "Container IPv4/IPv6 link-local addresses", |a, v| push(&mut a.link_local, v)),
    F::value("log-driver", "string", "Logging driver for the container", |a, v| text(&mut a.log_driver, v)),
    F::value("log-opt", "list", "Log driver options", |a, v| Ok(key_value::add_label(&mut a.log_options, v)?)),
    F::value("mac-address", "string", "Container MAC address (e.g., 92:d0:c6:0a:29:33)", |a, v| text(&mut a.mac, v)),
    F::value("memory", "bytes", "Memory limit", |a, v| store(&mut a.memory, size::parse(v)?)).short('m'),
    F::value("memory-reservation", "bytes", "Memory soft limit", |a, v| store(&mut a.memory_reservation, size::parse(v)?)),
    F::value("memory-swap", "bytes", "Swap limit equal to memory plus swap: '-1' to enable unlimited swap", |a, v| {
        store(&mut a.memory_swap, size::parse_or_unlimited(v)?)
    }),
    F::value("memory-swappiness", "int", "Tune container memory swappiness (0 to 100)", |a, v| {
        store(&mut a.memory_swappiness, Some(number::parse(v)?))
    })
    .default("-1"),
    F::value("mount", "mount", "Attach a filesystem mount to the container", |a, v| {
        a.mounts.push(mount::parse(v, std::env::current_dir().ok().as_deref())?);
        Ok(())
    }),
    F::value("name", "string", "Assign a name to the container", |a, v| text(&mut a.name, v)),
    F::value("net", "network", "Connect a container to a network", |a, v| {
        a.networks.push(network::parse(v)?);
        Ok(())
    })
    .hidden(),
    F::value("net-alias", "list", "Add network-scoped alias for the container", |a, v| push(&mut a.aliases, v)).hidden(),
    F::value("network", "network", "Connect a container to a network", |a, v| {
        a.networks.push(network::parse(v)?);
        Ok(())
    }),
    F::value("network-alias", "list", "Add network-scoped alias for the container", |a, v| push(&mut a.aliases, v)),
    F::switch("no-healthcheck", "Disable any container-specified HEALTHCHECK", |a, on| a.health.disabled = on),
    F::switch("oom-kill-disable", "Disable OOM Killer", |a, on| a.oom_kill_disable = Some(on)),
    F::value("oom-score-adj", "int", "Tune host's OOM preferences (-1000 to 1000)", |a, v| {
        store(&mut a.oom_score_adj, number::parse(v)?)
    }),
    F::value("pid", "string", "PID namespace to use", |a, v| text(&mut a.pid, v)),
    F::value("pids-limit", "int", "Tune container pids limit (set -1 for unlimited)", |a, v| {
        store(&mut a.pids_limit, number::parse(v)?)
    }),
    flags::platform(|a, v| text(&mut a.platform, v)),
    F::switch("privileged", "Give extended privileges to this container", |a, on| a.privileged = on),
    F::value("publish", "list", "Publish a container's port(s) to the host", |a, v| push(&mut a.publish, v)).short('p'),
    F::switch("publish-all", "Publish all exposed ports to random ports", |a, on| a.publish_all = on).short('P'),
    F::value("pull", "string", "Pull image before running (\"always\", \"missing\", \"never\")", |a, v| {
        a.pull = match v {
            "always" => Pull::Always,
            "missing" | "" => Pull::Missing,
            "never" => Pull::Never,
            other => Pull::Unknown(other.to_owned()),
        };
        Ok(())
    })
    .default("\"missing\""),
    F::switch("quiet", "Suppress the pull output", |a, on| a.quiet = on).short('q'),
    F::switch("read-only", "Mount the container's root filesystem as read only", |a, on| a.read_only = on),
    F::value("restart", "string", "Restart policy to apply when a container exits", |a, v| {
        a.restart = Some(v.to_owned());
        Ok(())
    })
    .default("\"no\""),
    F::switch("rm", "Automatically remove the container and its associated anonymous volumes when it exits", |a, on| {
        a.auto_remove = on;
    }),
    F::value("runtime", "string", "Runtime to use for this container", |a, v| text(&mut a.runtime, v)),
    F::value("security-opt", "list", "Security Options", |a, v| push(&mut a.security, v)),
    F::value("shm-size", "bytes", "Size of /dev/shm", |a, v| store(&mut a.shm_size, size::parse(v)?)),
    F::value("stop-signal", "string", "Signal to stop the container", |a, v| text(&mut a.stop_signal, v)),
    F::value("stop-timeout", "int", "Timeout (in seconds) to stop a container", |a, v| {
        store(&mut a.stop_timeout, Some(number::parse(v)?))
    })
    .since(25),
    F::value("storage-opt", "list", "Storage driver options for the container", |a, v| {
        push(&mut a.storage_options, v)
    }),
    F::value("sysctl", "map", "Sysctl options", |a, v| Ok(key_value::add_sysctl(&mut a.sysctls, v)?)).default("map[]"),
    F::value("tmpfs", "list", "Mount a tmpfs directory", |a, v| {
        let (path, options) = v.split_once(':').unwrap_or((v, ""));
        a.tmpfs.insert(path.to_owned(), options.to_owned());
        Ok(())
    }),
    F::switch("tty", "Allocate a pseudo-TTY", |a, on| a.tty = on).short('t'),
    F::value("ulimit", "ulimit", "Ulimit options", |a, v| {
        let limit = ulimit::parse(v)?;
        a.ulimits.retain(|earlier| earlier.name != limit.name);
        a.ulimits.push(limit);
        Ok(())
    })
    .default("[]"),
    F::switch("use-api-socket", "Bind mount Docker API socket and required auth", |a, on| a.api_socket = on),
    F::value("user", "string", "Username or UID (format: <name|uid>[:<group|gid>])", |a, v| text(&mut a.user, v)).short('u'),
    F::value("userns", "string", "User namespace to use", |a, v| text(&mut a.userns, v)),
    F::value("uts", "string", "UTS namespace to use", |a, v| text(&mut a.uts, v)),
    F::value("volume", "list", "Bind mount a volume", |a, v| push(&mut a.volumes, v)).short('v'),
    F::value("volume-driver", "string", "Optional volume driver for the container", |a, v| text(&mut a.volume_driver, v)),
    F::value("volumes-from", "list", "Mount volumes from the specified container(s)", |a, v| push(&mut a.volumes_from, v)),
    F::value("workdir", "string", "Working directory inside the container", |a, v| text(&mut a.workdir, v)).short('w'),
];

/// The value of a flag for Windows. It is not looked at: no engine of ours takes the flag.
fn on_windows(_: &mut ContainerArguments, _: &str) -> Stored {
    Ok(())
}

fn store<T>(place: &mut T, value: T) -> Stored {
    *place = value;
    Ok(())
}

fn text(place: &mut String, value: &str) -> Stored {
    value.clone_into(place);
    Ok(())
}

fn push(place: &mut Vec<String>, value: &str) -> Stored {
    place.push(value.to_owned());
    Ok(())
}

/// `device:weight`.
fn weight_device(value: &str) -> Result<WeightDevice, Invalid> {
    let bad = || Invalid(format!("bad format: {value}"));
    let (path, weight) = value.split_once(':').ok_or_else(bad)?;
    if !path.starts_with("/dev/") {
        return Err(Invalid(format!("bad format for device path: {value}")));
    }
    let weight = weight
        .parse()
        .map_err(|_| Invalid(format!("invalid weight for device: {value}")))?;
    if weight > 0 && !(10..=1000).contains(&weight) {
        return Err(Invalid(format!("invalid weight for device: {value}")));
    }
    Ok(WeightDevice {
        path: path.to_owned(),
        weight,
    })
}

/// `device:rate`, the rate a size.
fn throttle_bytes(value: &str) -> Result<ThrottleDevice, Invalid> {
    throttle(
        value,
        |rate| {
            size::parse(rate)
                .ok()
                .and_then(|rate| u64::try_from(rate).ok())
        },
        |value| {
            format!(
                "invalid rate for device: {value}. The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
            )
        },
    )
}

/// `device:rate`, the rate a number.
fn throttle_operations(value: &str) -> Result<ThrottleDevice, Invalid> {
    throttle(
        value,
        |rate| rate.parse().ok(),
        |value| {
            format!(
                "invalid rate for device: {value}. The correct format is <device-path>:<number>. Number must be a positive integer"
            )
        },
    )
}

fn throttle(
    value: &str,
    rate: fn(&str) -> Option<u64>,
    complaint: fn(&str) -> String,
) -> Result<ThrottleDevice, Invalid> {
    let (path, number) = value
        .split_once(':')
        .ok_or_else(|| Invalid(format!("bad format: {value}")))?;
    if !path.starts_with("/dev/") {
        return Err(Invalid(format!("bad format for device path: {value}")));
    }
    let rate = rate(number).ok_or_else(|| Invalid(complaint(value)))?;
    Ok(ThrottleDevice {
        path: path.to_owned(),
        rate,
    })
}
