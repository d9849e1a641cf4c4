//! The engine's flags, by dockerd's names. Those that are not served yet are refused by name.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use wharf_cli::grammar::{Arity, Flag, Grammar, Invalid, Line, UsageError, flag_usages, parse_int};

use super::settings::Values;

/// What was typed.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) config_file: Option<String>,
    pub(super) validate: bool,
    /// Whether the engine leaves the session of whoever started it.
    pub(super) detached: bool,
    pub(super) version: bool,
    pub(super) values: Values,
}

/// What a line comes to.
pub(super) enum Typed {
    /// Settings to start with.
    Given(Box<Given>),
    /// A question that is answered already.
    Answered,
}

type F = Flag<Given>;

static FLAGS: &[F] = &[
    F::value("bip", "string", "Specify network bridge IP", |g, v| {
        text(&mut g.values.bip, v)
    }),
    F::value(
        "bridge",
        "string",
        "Attach containers to a network bridge",
        |g, v| text(&mut g.values.bridge, v),
    )
    .short('b')
    .default("\"wharf0\""),
    F::value(
        "cgroup-parent",
        "string",
        "Set parent cgroup for all containers",
        |g, v| text(&mut g.values.cgroup_parent, v),
    )
    .default("\"/wharf\", or \"/wharf-BRIDGE\" on a bridge of its own"),
    F::value(
        "config-file",
        "string",
        "Daemon configuration file",
        |g, v| text(&mut g.config_file, v),
    )
    .default("\"/etc/wharf/daemon.json\""),
    F::value(
        "data-root",
        "string",
        "Root directory of persistent state",
        |g, v| text(&mut g.values.data_root, v),
    )
    .default("\"/var/lib/wharf\""),
    F::switch("debug", "Enable debug mode", |g, on| {
        g.values.debug = Some(on);
    })
    .short('D'),
    F::value(
        "default-runtime",
        "string",
        "Default OCI runtime for containers",
        |g, v| text(&mut g.values.default_runtime, v),
    )
    .default("\"wharf\""),
    F::switch(
        "detached",
        "Leave the session of whoever starts the engine",
        |g, on| g.detached = on,
    )
    .hidden(),
    F::value("dns", "list", "DNS server to use", |g, v| {
        push(&mut g.values.dns, v)
    }),
    F::value("dns-opt", "list", "DNS options to use", |g, v| {
        push(&mut g.values.dns_opts, v)
    }),
    F::value("dns-search", "list", "DNS search domains to use", |g, v| {
        push(&mut g.values.dns_search, v)
    }),
    F::value(
        "exec-root",
        "string",
        "Root directory for execution state files",
        |g, v| text(&mut g.values.exec_root, v),
    )
    .default("\"/run/wharf\""),
    F::value("group", "string", "Group for the unix socket", |g, v| {
        text(&mut g.values.group, v)
    })
    .short('G')
    .default("\"wharf\", where there is one"),
    F::value(
        "host",
        "list",
        "Daemon socket(s) to connect to (unix:///path or fd://)",
        |g, v| push(&mut g.values.hosts, v),
    )
    .short('H')
    .default("unix:///run/wharf.sock"),
    F::switch(
        "init",
        "Run an init in the container to forward signals and reap processes",
        |g, on| g.values.init = Some(on),
    ),
    F::value(
        "label",
        "list",
        "Set key=value labels to the daemon",
        |g, v| push(&mut g.values.labels, v),
    ),
    F::switch(
        "live-restore",
        "Keep containers running while the engine does not: always so",
        |g, on| {
            g.values.live_restore = Some(on);
        },
    )
    .default("true"),
    F::value(
        "log-driver",
        "string",
        "Default driver for container logs",
        |g, v| text(&mut g.values.log_driver, v),
    )
    .default("\"json-file\""),
    F::value(
        "log-level",
        "string",
        "Set the logging level (\"debug\"|\"info\"|\"warn\"|\"error\"|\"fatal\")",
        |g, v| text(&mut g.values.log_level, v),
    )
    .short('l')
    .default("\"info\""),
    F::value(
        "mtu",
        "int",
        "Set the containers network MTU; without it that of the route out",
        |g, v| {
            let mtu = u32::try_from(parse_int(v)?)
                .map_err(|_| Invalid("an MTU is not negative".to_owned()))?;
            g.values.mtu = Some(mtu);
            Ok(())
        },
    ),
    F::value(
        "pidfile",
        "string",
        "Path to use for daemon PID file",
        |g, v| text(&mut g.values.pidfile, v),
    )
    .short('p')
    .default("wharf.pid in the exec root"),
    F::value(
        "storage-driver",
        "string",
        "Storage driver to use (overlay2 or vfs)",
        |g, v| text(&mut g.values.storage_driver, v),
    )
    .short('s'),
    F::switch(
        "userland-proxy",
        "Use a process for each published port: never so",
        |g, on| g.values.userland_proxy = Some(on),
    )
    .default("false"),
    F::switch(
        "validate",
        "Validate daemon configuration and exit",
        |g, on| g.validate = on,
    ),
    F::switch("version", "Print version information and quit", |g, on| {
        g.version = on;
    })
    .short('v'),
];

/// Flags of dockerd's that are not served yet; the keys of its file are the same words.
pub(super) static REFUSED: &[F] = &[
    F::refused("add-runtime"),
    F::refused("allow-direct-routing"),
    F::refused("allow-nondistributable-artifacts"),
    F::refused("api-cors-header"),
    F::refused("authorization-plugin"),
    F::refused("bip6"),
    F::refused("bridge-accept-fwmark"),
    F::refused("cdi-spec-dir"),
    F::refused("containerd"),
    F::refused("containerd-namespace"),
    F::refused("containerd-plugins-namespace"),
    F::refused("cpu-rt-period"),
    F::refused("cpu-rt-runtime"),
    F::refused("cri-containerd"),
    F::refused("default-address-pool"),
    F::refused("default-cgroupns-mode"),
    F::refused("default-gateway"),
    F::refused("default-gateway-v6"),
    F::refused("default-ipc-mode"),
    F::refused("default-network-opt"),
    F::refused("default-shm-size"),
    F::refused("default-ulimit"),
    F::refused("exec-opt"),
    F::refused("experimental"),
    F::refused("feature"),
    F::refused("firewall-backend"),
    F::refused("fixed-cidr"),
    F::refused("fixed-cidr-v6"),
    F::refused("host-gateway-ip"),
    F::refused("http-proxy"),
    F::refused("https-proxy"),
    F::refused("icc"),
    F::refused("init-path"),
    F::refused("insecure-registry"),
    F::refused("ip"),
    F::refused("ip-forward"),
    F::refused("ip-forward-no-drop"),
    F::refused("ip-masq"),
    F::refused("ip6tables"),
    F::refused("iptables"),
    F::refused("ipv6"),
    F::refused("log-format"),
    F::refused("log-opt"),
    F::refused("max-concurrent-downloads"),
    F::refused("max-concurrent-uploads"),
    F::refused("max-download-attempts"),
    F::refused("metrics-addr"),
    F::refused("network-control-plane-mtu"),
    F::refused("no-new-privileges"),
    F::refused("no-proxy"),
    F::refused("node-generic-resource"),
    F::refused("oom-score-adjust"),
    F::refused("raw-logs"),
    F::refused("registry-mirror"),
    F::refused("rootless"),
    F::refused("seccomp-profile"),
    F::refused("selinux-enabled"),
    F::refused("shutdown-timeout"),
    F::refused("storage-opt"),
    F::refused("swarm-default-advertise-addr"),
    F::refused("tls"),
    F::refused("tlscacert"),
    F::refused("tlscert"),
    F::refused("tlskey"),
    F::refused("tlsverify"),
    F::refused("userland-proxy-path"),
    F::refused("userns-remap"),
];

static GRAMMAR: Grammar<Given> = Grammar {
    flags: &[FLAGS, REFUSED],
    interspersed: true,
    arity: Arity::None,
};

/// Columns of the help.
const WIDTH: usize = 100;

/// Reads the line; what is wrong with it is told, and the code to exit with returned.
pub(super) fn read(
    name: &str,
    arguments: impl Iterator<Item = OsString>,
) -> Result<Typed, ExitCode> {
    let mut words = Vec::new();
    for argument in arguments {
        match argument.into_string() {
            Ok(word) => words.push(word),
            Err(argument) => {
                say(&format!("{name}: argument {argument:?} is not UTF-8"));
                return Err(ExitCode::FAILURE);
            }
        }
    }
    match GRAMMAR.parse(&words) {
        Ok(Line::Help) => {
            let options = flag_usages(&GRAMMAR.help_entries(), WIDTH);
            answer(&format!(
                "Usage:  {name} [OPTIONS]\n\nRun the engine\n\nOptions:\n{options}"
            ))
        }
        Ok(Line::Arguments(given, _)) if given.version => {
            answer(&format!("Wharf version {}\n", env!("CARGO_PKG_VERSION")))
        }
        Ok(Line::Arguments(given, _)) => Ok(Typed::Given(Box::new(given))),
        Err(problem) => {
            let error = UsageError {
                problem,
                command: name.to_owned(),
                usage: format!("{name} [OPTIONS]"),
            };
            say(error.text().trim_end());
            Err(ExitCode::from(error.exit_code()))
        }
    }
}

fn answer(text: &str) -> Result<Typed, ExitCode> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => Ok(Typed::Answered),
        Err(_) => Err(ExitCode::FAILURE),
    }
}

/// Says something before there is a log.
pub(super) fn say(text: &str) {
    if writeln!(std::io::stderr().lock(), "{text}").is_err() {
        // Nobody listens.
    }
}

fn text(place: &mut Option<String>, value: &str) -> Result<(), Invalid> {
    *place = Some(value.to_owned());
    Ok(())
}

fn push(place: &mut Option<Vec<String>>, value: &str) -> Result<(), Invalid> {
    place.get_or_insert_default().push(value.to_owned());
    Ok(())
}

/// Whether dockerd has such a flag, or such a key in its file, that is not served.
pub(super) fn is_refused(key: &str) -> bool {
    let long = format!("--{}", key.strip_suffix('s').unwrap_or(key));
    let exact = format!("--{key}");
    REFUSED
        .iter()
        .any(|flag| flag.name() == exact || flag.name() == long)
}
