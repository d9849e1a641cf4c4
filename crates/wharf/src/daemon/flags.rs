//! The engine's flags, by dockerd's names. What they say stands under their keys in the configuration file.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use serde_json::json;
use wharf_cli::grammar::{
    Arity, Flag, Grammar, Invalid, Line, UsageError, UsageProblem, flag_usages, parse_int,
};
use wharf_cli::options::ulimit;

use super::keys::{REFUSED_FLAGS, refused_flag};
use super::values::Values;

/// What was typed.
#[derive(Debug, Clone, Default)]
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

/// A flag whose value is a text.
macro_rules! text {
    ($flag:literal, $kind:literal, $about:literal) => {
        F::value($flag, $kind, $about, |given, value| {
            given.values.set($flag, value);
            Ok(())
        })
    };
}

/// A flag that is on or off.
macro_rules! switch {
    ($flag:literal, $about:literal) => {
        F::switch($flag, $about, |given, on| given.values.set($flag, on))
    };
}

/// A flag that may be given several times, under a key in the plural.
macro_rules! list {
    ($flag:literal, $key:literal, $about:literal) => {
        F::value($flag, "list", $about, |given, value| {
            given.values.push($key, value);
            Ok(())
        })
    };
}

/// A flag whose value is a number.
macro_rules! number {
    ($flag:literal, $about:literal) => {
        F::value($flag, "int", $about, |given, value| {
            given.values.set($flag, parse_int(value)?);
            Ok(())
        })
    };
}

static FLAGS: &[F] = &[
    F::value(
        "add-runtime",
        "runtime",
        "Register an additional OCI compatible runtime",
        add_runtime,
    ),
    switch!(
        "allow-insecure-tcp",
        "Listen on TCP without knowing who connects: whoever can is root on this machine"
    ),
    text!("bip", "string", "Specify network bridge IP"),
    text!("bridge", "string", "Attach containers to a network bridge")
        .short('b')
        .default("\"wharf0\""),
    list!(
        "cdi-spec-dir",
        "cdi-spec-dirs",
        "CDI specification directories to use"
    )
    .default("/etc/cdi and /var/run/cdi"),
    text!(
        "cgroup-parent",
        "string",
        "Set parent cgroup for all containers"
    )
    .default("\"/wharf\", or \"/wharf-BRIDGE\" on a bridge of its own"),
    F::value(
        "config-file",
        "string",
        "Daemon configuration file",
        |given, path| {
            given.config_file = Some(path.to_owned());
            Ok(())
        },
    )
    .default("\"/etc/wharf/daemon.json\""),
    text!("data-root", "string", "Root directory of persistent state")
        .default("\"/var/lib/wharf\""),
    switch!("debug", "Enable debug mode").short('D'),
    F::value(
        "default-address-pool",
        "pool-options",
        "Default address pools for local networks",
        add_pool,
    ),
    list!(
        "certs-directory",
        "certs-directories",
        "Directory with certificates and hosts.toml for registries"
    )
    .default("/etc/wharf/certs.d, /etc/docker/certs.d, /etc/containerd/certs.d"),
    text!(
        "default-cgroupns-mode",
        "string",
        "Default mode for containers cgroup namespace (\"host\" | \"private\")"
    )
    .default("\"private\""),
    text!(
        "default-ipc-mode",
        "string",
        "Default mode for containers ipc (\"shareable\" | \"private\")"
    )
    .default("\"private\""),
    text!(
        "default-runtime",
        "string",
        "Default OCI runtime for containers"
    )
    .default("\"wharf\""),
    text!(
        "default-shm-size",
        "bytes",
        "Default shm size for containers"
    )
    .default("64MiB"),
    F::value(
        "default-ulimit",
        "ulimit",
        "Default ulimits for containers",
        add_ulimit,
    ),
    F::switch(
        "detached",
        "Leave the session of whoever starts the engine",
        |given, on| given.detached = on,
    )
    .hidden(),
    list!("dns", "dns", "DNS server to use"),
    list!("dns-opt", "dns-opts", "DNS options to use"),
    list!("dns-search", "dns-search", "DNS search domains to use"),
    list!("exec-opt", "exec-opts", "Runtime execution options"),
    text!(
        "exec-root",
        "string",
        "Root directory for execution state files"
    )
    .default("\"/run/wharf\""),
    switch!(
        "experimental",
        "Enable experimental features: there are none"
    ),
    F::value(
        "feature",
        "map",
        "Enable feature in the daemon",
        add_feature,
    ),
    text!(
        "firewall-backend",
        "string",
        "Firewall backend to use: nftables"
    )
    .default("\"nftables\""),
    text!("group", "string", "Group for the unix socket")
        .short('G')
        .default("\"wharf\", where there is one"),
    list!(
        "host",
        "hosts",
        "Daemon socket(s) to connect to (unix:///path, fd:// or tcp://address:port)"
    )
    .short('H')
    .default("unix:///run/wharf.sock"),
    text!(
        "host-gateway-ip",
        "ip",
        "IP address that the special 'host-gateway' string in --add-host resolves to"
    )
    .default("the address of the default bridge"),
    F::value(
        "http-proxy",
        "string",
        "HTTP proxy URL to use for outgoing traffic",
        |given, value| add_proxy(given, "http-proxy", value),
    ),
    F::value(
        "https-proxy",
        "string",
        "HTTPS proxy URL to use for outgoing traffic",
        |given, value| add_proxy(given, "https-proxy", value),
    ),
    switch!("icc", "Enable inter-container communication: always so").default("true"),
    switch!(
        "init",
        "Run an init in the container to forward signals and reap processes"
    ),
    list!(
        "insecure-registry",
        "insecure-registries",
        "Enable insecure registry communication"
    ),
    text!("ip", "ip", "Default IP when binding container ports").default("0.0.0.0"),
    switch!("ip-forward", "Enable net.ipv4.ip_forward: always so").default("true"),
    switch!("ip-masq", "Enable IP masquerading: always so").default("true"),
    switch!(
        "iptables",
        "Enable addition of packet filter rules: always so"
    )
    .default("true"),
    switch!("ipv6", "Enable IPv6 networking: never so").default("false"),
    list!("label", "labels", "Set key=value labels to the daemon"),
    switch!(
        "live-restore",
        "Keep containers running while the engine does not: always so"
    )
    .default("true"),
    text!("log-driver", "string", "Default driver for container logs").default("\"json-file\""),
    text!(
        "log-format",
        "string",
        "Set the logging format (\"text\"|\"json\")"
    )
    .default("\"text\""),
    text!(
        "log-level",
        "string",
        "Set the logging level (\"debug\"|\"info\"|\"warn\"|\"error\"|\"fatal\")"
    )
    .short('l')
    .default("\"info\""),
    F::value(
        "log-opt",
        "map",
        "Default log driver options for containers",
        add_log_option,
    )
    .default("max-size=100m,max-file=5 for json-file"),
    number!(
        "max-concurrent-downloads",
        "Set the max concurrent downloads"
    )
    .default("3"),
    number!("max-concurrent-uploads", "Set the max concurrent uploads").default("5"),
    number!(
        "max-download-attempts",
        "Set the max attempts without progress for each download"
    )
    .default("5"),
    number!(
        "mtu",
        "Set the containers network MTU; without it that of the route out"
    ),
    switch!(
        "no-new-privileges",
        "Set no-new-privileges by default for new containers"
    ),
    F::value(
        "no-proxy",
        "string",
        "Comma-separated values specifying hosts that should be excluded from proxying",
        |given, value| add_proxy(given, "no-proxy", value),
    ),
    text!("pidfile", "string", "Path to use for daemon PID file")
        .short('p')
        .default("wharf.pid in the exec root"),
    switch!(
        "raw-logs",
        "Full timestamps without ANSI coloring: always so"
    ),
    list!(
        "registry-mirror",
        "registry-mirrors",
        "Preferred registry mirror"
    ),
    text!(
        "seccomp-profile",
        "string",
        "Path to seccomp profile, or \"builtin\" or \"unconfined\""
    )
    .default("\"builtin\""),
    switch!("selinux-enabled", "Enable selinux support: never so"),
    number!(
        "shutdown-timeout",
        "Seconds to wait, at the end, for what is under way"
    )
    .default("15"),
    text!(
        "storage-driver",
        "string",
        "Storage driver to use (overlay2 or vfs)"
    )
    .short('s'),
    switch!("tls", "Use TLS; implied by --tlsverify"),
    text!("tlscacert", "string", "Trust certs signed only by this CA")
        .default("\"~/.docker/ca.pem\""),
    text!("tlscert", "string", "Path to TLS certificate file").default("\"~/.docker/cert.pem\""),
    text!("tlskey", "string", "Path to TLS key file").default("\"~/.docker/key.pem\""),
    switch!("tlsverify", "Use TLS and verify the remote"),
    text!(
        "trust-policy",
        "string",
        "File that says which images need a signature"
    ),
    switch!(
        "userland-proxy",
        "Use a process for each published port: never so"
    )
    .default("false"),
    text!(
        "userns-remap",
        "string",
        "User/Group setting for user namespaces"
    ),
    F::switch(
        "validate",
        "Validate daemon configuration and exit",
        |given, on| given.validate = on,
    ),
    F::switch(
        "version",
        "Print version information and quit",
        |given, on| {
            given.version = on;
        },
    )
    .short('v'),
];

static GRAMMAR: Grammar<Given> = Grammar {
    flags: &[FLAGS, REFUSED_FLAGS],
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
        Err(UsageProblem::Refused(flag)) => {
            let reason = refused_flag(&flag).unwrap_or("it cannot");
            say(&format!(
                "{name}: flag {flag} is known from dockerd, but wharf does not serve it: {reason}"
            ));
            Err(ExitCode::FAILURE)
        }
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
pub(crate) fn say(text: &str) {
    if writeln!(std::io::stderr().lock(), "{text}").is_err() {
        // Nobody listens.
    }
}

/// `name=path`.
fn add_runtime(given: &mut Given, value: &str) -> Result<(), Invalid> {
    let named = value
        .split_once('=')
        .filter(|(name, path)| !name.is_empty() && !path.is_empty());
    let Some((name, path)) = named else {
        return Err(Invalid(format!("invalid runtime {value}: it is NAME=PATH")));
    };
    given.values.insert("runtimes", name, json!({"path": path}));
    Ok(())
}

/// `base=172.80.0.0/16,size=24`.
fn add_pool(given: &mut Given, value: &str) -> Result<(), Invalid> {
    let invalid = || {
        Invalid(format!(
            "invalid pool {value}: it is base=SUBNET,size=LENGTH"
        ))
    };
    let mut pool = serde_json::Map::new();
    for field in value.split(',') {
        match field.split_once('=').ok_or_else(invalid)? {
            ("base", base) => pool.insert("base".to_owned(), base.into()),
            ("size", size) => pool.insert("size".to_owned(), parse_int(size)?.into()),
            _ => return Err(invalid()),
        };
    }
    given.values.push("default-address-pools", pool);
    Ok(())
}

/// `nofile=1024:2048`.
fn add_ulimit(given: &mut Given, value: &str) -> Result<(), Invalid> {
    let limit = ulimit::parse(value)?;
    let member = json!({"Name": limit.name, "Hard": limit.hard, "Soft": limit.soft});
    given.values.insert("default-ulimits", &limit.name, member);
    Ok(())
}

/// `name` or `name=true`.
fn add_feature(given: &mut Given, value: &str) -> Result<(), Invalid> {
    let (name, on) = value.split_once('=').unwrap_or((value, "true"));
    let on = wharf_cli::grammar::parse_bool(on)?;
    given.values.insert("features", name, on);
    Ok(())
}

/// One of the proxies.
fn add_proxy(given: &mut Given, which: &str, value: &str) -> Result<(), Invalid> {
    given.values.insert("proxies", which, value);
    Ok(())
}

/// `name=value`.
fn add_log_option(given: &mut Given, value: &str) -> Result<(), Invalid> {
    let Some((name, value)) = value.split_once('=') else {
        return Err(Invalid(format!(
            "invalid log option {value}: it is NAME=VALUE"
        )));
    };
    given.values.insert("log-opts", name, value);
    Ok(())
}
