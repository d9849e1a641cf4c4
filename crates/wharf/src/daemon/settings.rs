//! The engine's settings: flags, then the file, then what goes without saying.
//!
//! A setting in both the flags and the file is an error, as dockerd has it: which of the two counts is nothing to
//! guess about. So is a key nobody knows.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use serde_json::{Map, Value};
use tracing::level_filters::LevelFilter;
use wharf_store::DriverChoice;

use super::flags::{Given, is_refused};
use super::listen::{Host, HostError};

/// The group of the socket where none is named, if it exists.
pub(super) const DEFAULT_GROUP: &str = "wharf";
/// The file that is read where none is named, if it exists.
const DEFAULT_FILE: &str = "/etc/wharf/daemon.json";
/// The socket where none is named.
const DEFAULT_HOST: &str = "unix:///run/wharf.sock";
/// The one runtime there is.
const RUNTIME: &str = "wharf";
/// The one log driver there is.
const LOG_DRIVER: &str = "json-file";

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub(super) enum SettingsError {
    /// The file cannot be read.
    #[error("unable to configure the engine with file {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not JSON.
    #[error("unable to configure the engine with file {}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// Keys nobody knows.
    #[error("the following directives don't match any configuration option: {0}")]
    Unknown(String),
    /// Keys of dockerd's that are not served.
    #[error("configuration option {0} is known from dockerd, but wharf does not serve it yet")]
    NotServed(String),
    /// A value of another type.
    #[error("configuration option {key}: {what} is expected")]
    Type {
        /// The key.
        key: String,
        /// The type.
        what: &'static str,
    },
    /// The same in both.
    #[error(
        "the following directives are specified both as a flag and in the configuration file: {0}"
    )]
    Both(String),
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
}

/// Settings that may stand in the flags or in the file, by their keys in the file.
#[derive(Debug, Default)]
pub(super) struct Values {
    pub(super) bip: Option<String>,
    pub(super) bridge: Option<String>,
    pub(super) cgroup_parent: Option<String>,
    pub(super) data_root: Option<String>,
    pub(super) debug: Option<bool>,
    pub(super) default_runtime: Option<String>,
    pub(super) dns: Option<Vec<String>>,
    pub(super) dns_opts: Option<Vec<String>>,
    pub(super) dns_search: Option<Vec<String>>,
    pub(super) exec_root: Option<String>,
    pub(super) group: Option<String>,
    pub(super) hosts: Option<Vec<String>>,
    pub(super) init: Option<bool>,
    pub(super) labels: Option<Vec<String>>,
    pub(super) live_restore: Option<bool>,
    pub(super) log_driver: Option<String>,
    pub(super) log_level: Option<String>,
    pub(super) mtu: Option<u32>,
    pub(super) pidfile: Option<String>,
    pub(super) storage_driver: Option<String>,
    pub(super) userland_proxy: Option<bool>,
}

impl Values {
    /// Reads the file's object.
    fn from_file(object: &Map<String, Value>) -> Result<Self, SettingsError> {
        let mut values = Self::default();
        let mut unknown = Vec::new();
        for (key, value) in object {
            match key.as_str() {
                "bip" => values.bip = Some(text(key, value)?),
                "bridge" => values.bridge = Some(text(key, value)?),
                "cgroup-parent" => values.cgroup_parent = Some(text(key, value)?),
                "data-root" => values.data_root = Some(text(key, value)?),
                "debug" => values.debug = Some(truth(key, value)?),
                "default-runtime" => values.default_runtime = Some(text(key, value)?),
                "dns" => values.dns = Some(list(key, value)?),
                "dns-opts" => values.dns_opts = Some(list(key, value)?),
                "dns-search" => values.dns_search = Some(list(key, value)?),
                "exec-root" => values.exec_root = Some(text(key, value)?),
                "group" => values.group = Some(text(key, value)?),
                "hosts" => values.hosts = Some(list(key, value)?),
                "init" => values.init = Some(truth(key, value)?),
                "labels" => values.labels = Some(list(key, value)?),
                "live-restore" => values.live_restore = Some(truth(key, value)?),
                "log-driver" => values.log_driver = Some(text(key, value)?),
                "log-level" => values.log_level = Some(text(key, value)?),
                "mtu" => values.mtu = Some(number(key, value)?),
                "pidfile" => values.pidfile = Some(text(key, value)?),
                "storage-driver" => values.storage_driver = Some(text(key, value)?),
                "userland-proxy" => values.userland_proxy = Some(truth(key, value)?),
                key if is_refused(key)
                    || matches!(
                        key,
                        "builder" | "features" | "insecure-registries" | "runtimes"
                    ) =>
                {
                    return Err(SettingsError::NotServed(key.to_owned()));
                }
                key => unknown.push(key.to_owned()),
            }
        }
        if unknown.is_empty() {
            Ok(values)
        } else {
            Err(SettingsError::Unknown(unknown.join(", ")))
        }
    }

    /// Fills what is open with the file's; what is in both is an error.
    fn merge(self, file: Self) -> Result<Self, SettingsError> {
        let mut both = Vec::new();
        let merged = Self {
            bip: one("bip", self.bip, file.bip, &mut both),
            bridge: one("bridge", self.bridge, file.bridge, &mut both),
            cgroup_parent: one(
                "cgroup-parent",
                self.cgroup_parent,
                file.cgroup_parent,
                &mut both,
            ),
            data_root: one("data-root", self.data_root, file.data_root, &mut both),
            debug: one("debug", self.debug, file.debug, &mut both),
            default_runtime: one(
                "default-runtime",
                self.default_runtime,
                file.default_runtime,
                &mut both,
            ),
            dns: one("dns", self.dns, file.dns, &mut both),
            dns_opts: one("dns-opts", self.dns_opts, file.dns_opts, &mut both),
            dns_search: one("dns-search", self.dns_search, file.dns_search, &mut both),
            exec_root: one("exec-root", self.exec_root, file.exec_root, &mut both),
            group: one("group", self.group, file.group, &mut both),
            hosts: one("hosts", self.hosts, file.hosts, &mut both),
            init: one("init", self.init, file.init, &mut both),
            labels: one("labels", self.labels, file.labels, &mut both),
            live_restore: one(
                "live-restore",
                self.live_restore,
                file.live_restore,
                &mut both,
            ),
            log_driver: one("log-driver", self.log_driver, file.log_driver, &mut both),
            log_level: one("log-level", self.log_level, file.log_level, &mut both),
            mtu: one("mtu", self.mtu, file.mtu, &mut both),
            pidfile: one("pidfile", self.pidfile, file.pidfile, &mut both),
            storage_driver: one(
                "storage-driver",
                self.storage_driver,
                file.storage_driver,
                &mut both,
            ),
            userland_proxy: one(
                "userland-proxy",
                self.userland_proxy,
                file.userland_proxy,
                &mut both,
            ),
        };
        if both.is_empty() {
            Ok(merged)
        } else {
            Err(SettingsError::Both(both.join(", ")))
        }
    }
}

fn one<T>(
    key: &'static str,
    flag: Option<T>,
    file: Option<T>,
    both: &mut Vec<&'static str>,
) -> Option<T> {
    if flag.is_some() && file.is_some() {
        both.push(key);
    }
    flag.or(file)
}

fn wrong(key: &str, what: &'static str) -> SettingsError {
    SettingsError::Type {
        key: key.to_owned(),
        what,
    }
}

fn text(key: &str, value: &Value) -> Result<String, SettingsError> {
    value
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| wrong(key, "a string"))
}

fn truth(key: &str, value: &Value) -> Result<bool, SettingsError> {
    value.as_bool().ok_or_else(|| wrong(key, "true or false"))
}

fn number(key: &str, value: &Value) -> Result<u32, SettingsError> {
    value
        .as_u64()
        .and_then(|number| u32::try_from(number).ok())
        .ok_or_else(|| wrong(key, "a number"))
}

fn list(key: &str, value: &Value) -> Result<Vec<String>, SettingsError> {
    let items = value
        .as_array()
        .ok_or_else(|| wrong(key, "a list of strings"))?;
    items
        .iter()
        .map(|item| item.as_str().map(str::to_owned))
        .collect::<Option<_>>()
        .ok_or_else(|| wrong(key, "a list of strings"))
}

/// Everything the engine's program needs to know.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) engine: wharf_engine::Config,
    pub(super) hosts: Vec<Host>,
    pub(super) group: Option<String>,
    pub(super) pidfile: PathBuf,
    pub(super) log_level: LevelFilter,
    pub(super) detached: bool,
}

impl Settings {
    /// Puts flags, file and defaults together.
    pub(super) fn resolve(given: Given) -> Result<Self, SettingsError> {
        let file = read_file(given.config_file.as_deref())?;
        let values = given.values.merge(Values::from_file(&file)?)?;
        check_fixed(&values)?;
        let hosts = values
            .hosts
            .clone()
            .filter(|hosts| !hosts.is_empty())
            .unwrap_or_else(|| vec![DEFAULT_HOST.to_owned()]);
        let hosts = hosts
            .iter()
            .map(|host| Host::parse(host))
            .collect::<Result<Vec<_>, _>>()?;
        let log_level = match values.log_level.as_deref() {
            None if values.debug == Some(true) => LevelFilter::DEBUG,
            None => LevelFilter::INFO,
            Some(name) => super::log_level(name).ok_or_else(|| {
                invalid(
                    "log-level",
                    name,
                    "it is one of debug, info, warn, error, fatal",
                )
            })?,
        };
        let engine = engine(&values)?;
        let pidfile = values
            .pidfile
            .map_or_else(|| engine.exec_root.join("wharf.pid"), PathBuf::from);
        Ok(Self {
            engine,
            hosts,
            group: values.group,
            pidfile,
            log_level,
            detached: given.detached,
        })
    }
}

fn read_file(named: Option<&str>) -> Result<Map<String, Value>, SettingsError> {
    let path = PathBuf::from(named.unwrap_or(DEFAULT_FILE));
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => {
            return Ok(Map::new());
        }
        Err(source) => return Err(SettingsError::File { path, source }),
    };
    serde_json::from_slice(&bytes).map_err(|source| SettingsError::Json { path, source })
}

/// Settings that have one value only.
fn check_fixed(values: &Values) -> Result<(), SettingsError> {
    if let Some(runtime) = values
        .default_runtime
        .as_deref()
        .filter(|runtime| *runtime != RUNTIME)
    {
        return Err(invalid(
            "default-runtime",
            runtime,
            "other runtimes than wharf are not served yet",
        ));
    }
    if let Some(driver) = values
        .log_driver
        .as_deref()
        .filter(|driver| *driver != LOG_DRIVER)
    {
        return Err(invalid(
            "log-driver",
            driver,
            "other drivers than json-file are not served yet",
        ));
    }
    if values.live_restore == Some(false) {
        return Err(invalid(
            "live-restore",
            "false",
            "containers always go on without the engine",
        ));
    }
    if values.userland_proxy == Some(true) {
        return Err(invalid(
            "userland-proxy",
            "true",
            "ports are published without a process each",
        ));
    }
    Ok(())
}

fn engine(values: &Values) -> Result<wharf_engine::Config, SettingsError> {
    let default = wharf_engine::Config::default();
    let path = |key, value: Option<&String>, default: &Path| match value {
        None => Ok(default.to_owned()),
        Some(text) if text.starts_with('/') => Ok(PathBuf::from(text)),
        Some(text) => Err(invalid(key, text, "the path must be absolute")),
    };
    let bridge_address = values
        .bip
        .as_deref()
        .map(|text| {
            text.parse::<Ipv4Net>()
                .map_err(|error| invalid("bip", text, &error.to_string()))
        })
        .transpose()?;
    let addresses = values.dns.iter().flatten();
    let dns = addresses
        .map(|text| {
            text.parse::<IpAddr>()
                .map_err(|error| invalid("dns", text, &error.to_string()))
        })
        .collect::<Result<_, _>>()?;
    if let Some(label) = values
        .labels
        .iter()
        .flatten()
        .find(|label| !label.contains('='))
    {
        return Err(invalid("label", label, "it is not of the form key=value"));
    }
    // What an engine finds below its parent and does not know, it removes: engines must not share one.
    let own_cgroup_parent = match values.bridge.as_deref() {
        Some(bridge) if bridge != default.bridge => PathBuf::from(format!("/wharf-{bridge}")),
        _ => default.cgroup_parent.clone(),
    };
    Ok(wharf_engine::Config {
        data_root: path("data-root", values.data_root.as_ref(), &default.data_root)?,
        exec_root: path("exec-root", values.exec_root.as_ref(), &default.exec_root)?,
        bridge: values.bridge.clone().unwrap_or(default.bridge),
        bridge_address,
        mtu: values.mtu.filter(|mtu| *mtu != 0),
        storage_driver: storage_driver(values.storage_driver.as_deref())?,
        cgroup_parent: path(
            "cgroup-parent",
            values.cgroup_parent.as_ref(),
            &own_cgroup_parent,
        )?,
        dns,
        dns_search: values.dns_search.clone().unwrap_or_default(),
        dns_options: values.dns_opts.clone().unwrap_or_default(),
        defaults: wharf_engine::Defaults {
            init: values.init.unwrap_or(false),
            labels: values.labels.clone().unwrap_or_default(),
            debug: values.debug.unwrap_or(false),
            ..default.defaults
        },
        publish_address: default.publish_address,
        host_gateway: default.host_gateway,
        program: default.program,
    })
}

fn storage_driver(name: Option<&str>) -> Result<DriverChoice, SettingsError> {
    match name {
        None | Some("") => Ok(DriverChoice::Auto),
        Some("overlay" | "overlay2") => Ok(DriverChoice::Overlay),
        Some("vfs" | "copy") => Ok(DriverChoice::Copy),
        Some(other) => Err(invalid("storage-driver", other, "it is overlay2 or vfs")),
    }
}

fn invalid(key: &'static str, value: &str, reason: &str) -> SettingsError {
    SettingsError::Invalid {
        key,
        value: value.to_owned(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(values: Values, file: &str) -> Result<Settings, String> {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("daemon.json");
        std::fs::write(&path, file).expect("a file");
        let given = Given {
            config_file: Some(path.display().to_string()),
            values,
            ..Given::default()
        };
        Settings::resolve(given).map_err(|error| error.to_string())
    }

    #[test]
    fn the_file_has_dockerd_s_keys() {
        let file = r#"{"data-root":"/d","exec-root":"/e","hosts":["unix:///s","fd://"],"bip":"10.9.0.1/24","storage-driver":"overlay2",
            "debug":true,"dns":["1.1.1.1"],"labels":["a=b"],"live-restore":true,"userland-proxy":false,"mtu":1400}"#;
        let settings = resolved(Values::default(), file).expect("a good file");
        assert_eq!(
            settings.hosts,
            [Host::Unix(PathBuf::from("/s")), Host::Inherited]
        );
        assert_eq!(settings.pidfile, Path::new("/e/wharf.pid"));
        assert_eq!(settings.log_level, LevelFilter::DEBUG);
        let engine = settings.engine;
        assert_eq!(
            (engine.data_root.to_str(), engine.mtu),
            (Some("/d"), Some(1400))
        );
        assert_eq!(
            engine
                .bridge_address
                .map(|address| address.to_string())
                .as_deref(),
            Some("10.9.0.1/24")
        );
        assert_eq!(engine.storage_driver, DriverChoice::Overlay);
    }

    #[test]
    fn what_is_wrong_in_the_file_is_named() {
        let error = |file: &str| resolved(Values::default(), file).expect_err(file);
        assert_eq!(
            error(r#"{"x":1,"y":2}"#),
            "the following directives don't match any configuration option: x, y"
        );
        assert_eq!(
            error(r#"{"insecure-registries":[]}"#),
            "configuration option insecure-registries is known from dockerd, but wharf does not serve it yet"
        );
        assert_eq!(
            error(r#"{"registry-mirrors":[]}"#),
            "configuration option registry-mirrors is known from dockerd, but wharf does not serve it yet"
        );
        assert_eq!(
            error(r#"{"debug":"yes"}"#),
            "configuration option debug: true or false is expected"
        );
        assert_eq!(
            error(r#"{"hosts":"unix:///x"}"#),
            "configuration option hosts: a list of strings is expected"
        );
        assert_eq!(
            error(r#"{"log-level":"loud"}"#),
            "invalid value \"loud\" for log-level: it is one of debug, info, warn, error, fatal"
        );
        assert_eq!(
            error(r#"{"storage-driver":"zfs"}"#),
            "invalid value \"zfs\" for storage-driver: it is overlay2 or vfs"
        );
        assert_eq!(
            error(r#"{"live-restore":false}"#),
            "invalid value \"false\" for live-restore: containers always go on without the engine"
        );
        assert_eq!(
            error(r#"{"data-root":"d"}"#),
            "invalid value \"d\" for data-root: the path must be absolute"
        );
    }

    #[test]
    fn flags_and_file_must_not_say_the_same() {
        let values = || Values {
            bridge: Some("b0".to_owned()),
            debug: Some(true),
            ..Values::default()
        };
        let error = resolved(values(), r#"{"bridge":"b1","debug":true}"#).expect_err("both");
        assert_eq!(
            error,
            "the following directives are specified both as a flag and in the configuration file: bridge, debug"
        );
        let settings = resolved(values(), r#"{"data-root":"/d"}"#).expect("no conflict");
        assert_eq!(settings.engine.bridge, "b0");
        assert_eq!(settings.engine.cgroup_parent, Path::new("/wharf-b0"));
    }
}
