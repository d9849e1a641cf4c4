//! The engine's settings: flags, then the file, then what goes without saying.

mod defaults;
mod registries;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use serde_json::Value;
use tracing::level_filters::LevelFilter;
use wharf_engine::AddressPool;
use wharf_store::DriverChoice;

use super::flags::Given;
use super::keys::{Form, KEYS};
use super::listen::{Host, HostError};
use super::tls::TlsFiles;
use super::values::{FileError, Values, ValuesError};

/// The group of the socket where none is named, if it exists.
pub(super) const DEFAULT_GROUP: &str = "wharf";
/// The file that is read where none is named, if it exists.
const DEFAULT_FILE: &str = "/etc/wharf/daemon.json";
/// The one feature of dockerd's that is always on: devices by the Container Device Interface.
const ALWAYS_ON: &str = "cdi";
/// The socket where none is named.
const DEFAULT_HOST: &str = "unix:///run/wharf.sock";

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub(super) enum SettingsError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A host that is none.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A value that means nothing.
    #[error("invalid value {value:?} for {key}: {reason}")]
    Invalid {
        /// The setting.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is wrong.
        reason: String,
    },
    /// What containers would get means nothing to the engine.
    #[error("defaults of containers")]
    Defaults(#[from] wharf_engine::Error),
    /// TCP for everybody.
    #[error(
        "host {0} would let everybody who can connect be root on this machine: use --tlsverify with --tlscacert, \
         --tlscert and --tlskey, or --allow-insecure-tcp if that is what you want"
    )]
    Insecure(String),
}

fn invalid(key: &'static str, value: impl ToString, reason: impl ToString) -> SettingsError {
    SettingsError::Invalid {
        key,
        value: value.to_string(),
        reason: reason.to_string(),
    }
}

/// How the engine's log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogFormat {
    /// Lines for people.
    Text,
    /// Lines for programs.
    Json,
}

/// Everything the engine's program needs to know.
#[derive(Debug)]
pub(super) struct Settings {
    /// What all below was made of.
    pub(super) values: Values,
    pub(super) engine: wharf_engine::Config,
    pub(super) hosts: Vec<Host>,
    pub(super) tls: Option<TlsFiles>,
    pub(super) group: Option<String>,
    pub(super) pidfile: PathBuf,
    pub(super) log_level: LevelFilter,
    pub(super) log_format: LogFormat,
    pub(super) detached: bool,
}

impl Settings {
    /// Puts flags, file and defaults together.
    pub(super) fn resolve(given: &Given) -> Result<Self, SettingsError> {
        let values = values(given)?;
        check_only(&values)?;
        check_fixed(&values)?;
        let tls = TlsFiles::read(&values);
        let engine = engine(&values)?;
        let pidfile = values
            .text("pidfile")
            .map_or_else(|| engine.exec_root.join("wharf.pid"), PathBuf::from);
        Ok(Self {
            hosts: hosts(&values, tls.as_ref())?,
            tls,
            engine,
            group: values.text("group").map(str::to_owned),
            pidfile,
            log_level: log_level(&values)?,
            log_format: log_format(&values)?,
            detached: given.detached,
            values,
        })
    }
}

fn values(given: &Given) -> Result<Values, FileError> {
    let named = given.config_file.as_deref();
    let path = Path::new(named.unwrap_or(DEFAULT_FILE));
    let joined =
        Values::read(path, named.is_some()).and_then(|file| given.values.clone().join(file));
    joined.map_err(|source: ValuesError| FileError {
        path: path.to_owned(),
        source,
    })
}

/// Settings that have one value only.
fn check_only(values: &Values) -> Result<(), SettingsError> {
    for key in KEYS {
        if let Form::Only(possible, reason) = key.form
            && let Some(given) = values.truth(key.name).filter(|given| *given != possible)
        {
            return Err(invalid(key.name, given, reason));
        }
    }
    Ok(())
}

/// The same for settings that are texts, lists and objects.
fn check_fixed(values: &Values) -> Result<(), SettingsError> {
    if let Some(backend) = values
        .text("firewall-backend")
        .filter(|name| *name != "nftables")
    {
        return Err(invalid("firewall-backend", backend, "it is nftables"));
    }
    for option in values.list("exec-opts") {
        if option != "native.cgroupdriver=cgroupfs" {
            let reason =
                "the engine makes its cgroups itself: native.cgroupdriver=cgroupfs is all there is";
            return Err(invalid("exec-opts", option, reason));
        }
    }
    for (feature, on) in values.object("features") {
        let Some(on) = on.as_bool() else {
            return Err(invalid("features", feature, "it is true or false"));
        };
        if on && feature != ALWAYS_ON {
            return Err(invalid(
                "features",
                feature,
                "the engine has no such feature to switch on",
            ));
        }
    }
    Ok(())
}

fn hosts(values: &Values, tls: Option<&TlsFiles>) -> Result<Vec<Host>, SettingsError> {
    let mut texts: Vec<&str> = values.list("hosts").collect();
    if texts.is_empty() {
        texts.push(DEFAULT_HOST);
    }
    let everybody = tls.is_none_or(|tls| tls.client_authority.is_none());
    let mut hosts: Vec<Host> = Vec::new();
    for text in texts {
        let host = Host::parse(text, tls.is_some())?;
        let insecure = matches!(host, Host::Tcp(_)) && everybody;
        if insecure && values.truth("allow-insecure-tcp") != Some(true) {
            return Err(SettingsError::Insecure(text.to_owned()));
        }
        if hosts.contains(&host) {
            return Err(invalid("hosts", text, "it is given twice"));
        }
        hosts.push(host);
    }
    Ok(hosts)
}

fn log_level(values: &Values) -> Result<LevelFilter, SettingsError> {
    match values.text("log-level") {
        // As in dockerd, debug counts more than a level.
        _ if values.truth("debug") == Some(true) => Ok(LevelFilter::DEBUG),
        None | Some("info") => Ok(LevelFilter::INFO),
        Some("debug") => Ok(LevelFilter::DEBUG),
        Some("warn") => Ok(LevelFilter::WARN),
        Some("error" | "fatal") => Ok(LevelFilter::ERROR),
        Some(name) => Err(invalid(
            "log-level",
            name,
            "it is one of debug, info, warn, error, fatal",
        )),
    }
}

fn log_format(values: &Values) -> Result<LogFormat, SettingsError> {
    match values.text("log-format") {
        None | Some("text") => Ok(LogFormat::Text),
        Some("json") => Ok(LogFormat::Json),
        Some(name) => Err(invalid("log-format", name, "it is text or json")),
    }
}

fn engine(values: &Values) -> Result<wharf_engine::Config, SettingsError> {
    let default = wharf_engine::Config::default();
    let mut dns = Vec::new();
    for text in values.list("dns") {
        dns.push(address("dns", text)?);
    }
    let host_gateway = values.text("host-gateway-ip");
    let host_gateway = host_gateway.map(|text| address("host-gateway-ip", text));
    let owned = |key| values.list(key).map(str::to_owned).collect();
    // What an engine finds below its parent and does not know, it removes: engines must not share one.
    let own_cgroup_parent = match values.text("bridge") {
        Some(bridge) if bridge != default.bridge => PathBuf::from(format!("/wharf-{bridge}")),
        _ => default.cgroup_parent,
    };
    Ok(wharf_engine::Config {
        data_root: absolute(values, "data-root", default.data_root)?,
        exec_root: absolute(values, "exec-root", default.exec_root)?,
        bridge: bridge(values)?.unwrap_or(default.bridge),
        bridge_address: bridge_address(values)?,
        address_pools: address_pools(values)?,
        mtu: mtu(values)?,
        storage_driver: storage_driver(values.text("storage-driver"))?,
        userns_remap: values.text("userns-remap").map(str::to_owned),
        cgroup_parent: absolute(values, "cgroup-parent", own_cgroup_parent)?,
        dns,
        dns_search: owned("dns-search"),
        dns_options: owned("dns-opts"),
        publish_address: publish_address(values)?,
        host_gateway: host_gateway.transpose()?,
        cdi_directories: cdi_directories(values)?.unwrap_or(default.cdi_directories),
        defaults: defaults::read(values)?,
        ..default
    })
}

fn absolute(
    values: &Values,
    key: &'static str,
    default: PathBuf,
) -> Result<PathBuf, SettingsError> {
    match values.text(key) {
        None => Ok(default),
        Some(text) if text.starts_with('/') => Ok(PathBuf::from(text)),
        Some(text) => Err(invalid(key, text, "the path must be absolute")),
    }
}

/// One empty name is no directory at all, as in dockerd.
fn cdi_directories(values: &Values) -> Result<Option<Vec<PathBuf>>, SettingsError> {
    const KEY: &str = "cdi-spec-dirs";
    if values.get(KEY).is_none() {
        return Ok(None);
    }
    let given = values.list(KEY).filter(|text| !text.is_empty());
    let absolute = given.map(|text| match text.starts_with('/') {
        true => Ok(PathBuf::from(text)),
        false => Err(invalid(KEY, text, "the path must be absolute")),
    });
    absolute.collect::<Result<_, _>>().map(Some)
}

fn address(key: &'static str, text: &str) -> Result<IpAddr, SettingsError> {
    text.parse()
        .map_err(|error: std::net::AddrParseError| invalid(key, text, error))
}

fn bridge(values: &Values) -> Result<Option<String>, SettingsError> {
    match values.text("bridge") {
        Some("none") => Err(invalid(
            "bridge",
            "none",
            "there is always a default bridge; containers without network have --network none",
        )),
        name => Ok(name.map(str::to_owned)),
    }
}

fn bridge_address(values: &Values) -> Result<Option<Ipv4Net>, SettingsError> {
    let address = values.text("bip").map(|text| {
        text.parse::<Ipv4Net>()
            .map_err(|error| invalid("bip", text, error))
    });
    address.transpose()
}

fn publish_address(values: &Values) -> Result<Ipv4Addr, SettingsError> {
    match values.text("ip") {
        None => Ok(Ipv4Addr::UNSPECIFIED),
        Some(text) => text
            .parse()
            .map_err(|error: std::net::AddrParseError| invalid("ip", text, error)),
    }
}

/// Zero is no MTU of one's own, as in Docker.
fn mtu(values: &Values) -> Result<Option<u32>, SettingsError> {
    let Some(number) = values.number("mtu").filter(|number| *number != 0) else {
        return Ok(None);
    };
    let mtu = u32::try_from(number)
        .ok()
        .filter(|mtu| (68..=65535).contains(mtu));
    mtu.map(Some)
        .ok_or_else(|| invalid("mtu", number, "it is between 68 and 65535"))
}

fn address_pools(values: &Values) -> Result<Vec<AddressPool>, SettingsError> {
    let list = values
        .get("default-address-pools")
        .and_then(Value::as_array);
    let mut pools = Vec::new();
    for pool in list.into_iter().flatten() {
        let wrong = |reason: &str| invalid("default-address-pools", pool, reason);
        let base = pool.get("base").and_then(Value::as_str);
        let base: Option<Ipv4Net> = base.and_then(|text| text.parse().ok());
        let base = base.ok_or_else(|| wrong("the base must be an IPv4 subnet"))?;
        let size = pool.get("size").and_then(Value::as_u64);
        let size = size.and_then(|size| u8::try_from(size).ok());
        let fitting = size.filter(|size| (base.prefix_len()..=30).contains(size));
        let size = fitting
            .ok_or_else(|| wrong("the size must be a prefix length of a part of the base"))?;
        pools.push(AddressPool { base, size });
    }
    Ok(pools)
}

fn storage_driver(name: Option<&str>) -> Result<DriverChoice, SettingsError> {
    match name {
        None => Ok(DriverChoice::Auto),
        Some("overlay" | "overlay2") => Ok(DriverChoice::Overlay),
        Some("vfs" | "copy") => Ok(DriverChoice::Copy),
        Some(other) => Err(invalid("storage-driver", other, "it is overlay2 or vfs")),
    }
}

#[cfg(test)]
mod tests;
