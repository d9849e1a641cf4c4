//! What containers get where they do not say: the settings of an engine that may change while it runs.
//!
//! They count when a container is made, and are part of it from then on; only those about security count at each
//! start, as in Docker: an operator who tightens them wants them for old containers too.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use wharf_wire as wire;

use crate::error::Error;
use crate::images::ImageCollection;
use crate::inner::Inner;
use crate::registries::RegistrySettings;
use crate::security::Security;

/// Name of the engine's own runtime.
pub const OWN_RUNTIME: &str = "wharf";

/// Settings that may change while the engine runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// Whether the engine logs for its developers; shown by `info`.
    pub debug: bool,
    /// Labels of the engine, `key=value`.
    pub labels: Vec<String>,
    /// Runtime of containers that name none.
    pub runtime: String,
    /// Runtimes beside the engine's own, by name.
    pub runtimes: BTreeMap<String, NamedRuntime>,
    /// Log driver of containers that name none, and its options.
    pub log: wire::LogConfig,
    /// Size of /dev/shm.
    pub shm_size: i64,
    /// Limits of processes, by name.
    pub ulimits: BTreeMap<String, wire::Ulimit>,
    /// `private` or `host`.
    pub cgroup_namespace: String,
    /// `private` or `shareable`.
    pub ipc: String,
    /// Whether containers get an init process.
    pub init: bool,
    /// Whether no process of a container may gain privileges, unless the container says it may.
    pub no_new_privileges: bool,
    /// The filter of system calls, a document, instead of the built-in one.
    pub seccomp: Option<String>,
    /// How long the engine waits, at its end, for what is under way.
    pub shutdown_timeout: Duration,
    /// How registries are reached.
    pub registries: RegistrySettings,
    /// When images go by themselves; without it never.
    pub image_collection: Option<ImageCollection>,
}

/// A runtime that is a program of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamedRuntime {
    /// The program: a path, or a name to look up in the engine's `PATH`.
    pub path: PathBuf,
    /// Arguments before those of each call.
    pub arguments: Vec<String>,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            debug: false,
            labels: Vec::new(),
            runtime: OWN_RUNTIME.to_owned(),
            runtimes: BTreeMap::new(),
            log: wire::LogConfig {
                driver: "json-file".to_owned(),
                ..Default::default()
            },
            shm_size: 64 * 1024 * 1024,
            ulimits: BTreeMap::new(),
            cgroup_namespace: "private".to_owned(),
            ipc: "private".to_owned(),
            init: false,
            no_new_privileges: false,
            seccomp: None,
            shutdown_timeout: Duration::from_secs(15),
            registries: RegistrySettings::default(),
            image_collection: None,
        }
    }
}

impl Defaults {
    /// Checks what the engine alone knows: the log driver's options, the runtime, the filter of system calls.
    ///
    /// # Errors
    /// One of them is malformed.
    pub fn check(&self) -> Result<(), Error> {
        crate::logs::check(&mut self.log.clone())?;
        crate::runtimes::find(&self.runtime, self)?;
        self.registries.check()?;
        if let Some(collection) = &self.image_collection {
            collection.check()?;
        }
        Security::read(&wire::HostConfig::default(), self).map(drop)
    }

    /// Fills in what a container does not say.
    pub(crate) fn fill(&self, host: &mut wire::HostConfig) {
        let texts = [
            (&mut host.runtime, &self.runtime),
            (&mut host.ipc_mode, &self.ipc),
            (&mut host.cgroupns_mode, &self.cgroup_namespace),
            (&mut host.log_config.driver, &self.log.driver),
        ];
        for (given, default) in texts {
            if given.is_empty() {
                given.clone_from(default);
            }
        }
        let same = host.log_config.driver == self.log.driver;
        for (name, value) in &self.log.config {
            // Those of the cache are for whatever driver has one.
            if same || name.starts_with("cache-") {
                let options = &mut host.log_config.config;
                options.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        if host.shm_size == 0 {
            host.shm_size = self.shm_size;
        }
        host.init.get_or_insert(self.init);
        let given = host.ulimits.take().unwrap_or_default();
        let is_open = |name: &String| given.iter().all(|limit| limit.name != *name);
        let open = self.ulimits.iter().filter(|(name, _)| is_open(name));
        let added: Vec<_> = open.map(|(_, limit)| limit.clone()).collect();
        let limits = [given, added].concat();
        host.ulimits = (!limits.is_empty()).then_some(limits);
    }

    /// The runtimes there are, as `info` shows them.
    pub(crate) fn runtime_infos(&self) -> BTreeMap<String, wire::RuntimeInfo> {
        let named = self.runtimes.iter().map(|(name, runtime)| {
            let info = wire::RuntimeInfo {
                path: runtime.path.display().to_string(),
                runtime_args: runtime.arguments.clone(),
                ..Default::default()
            };
            (name.clone(), info)
        });
        let own = (OWN_RUNTIME.to_owned(), wire::RuntimeInfo::default());
        // Those that are known without being named, where they are installed.
        let installed = crate::runtimes::installed()
            .into_iter()
            .map(|(name, found)| {
                let info = wire::RuntimeInfo {
                    path: found.path.display().to_string(),
                    ..Default::default()
                };
                (name, info)
            });
        installed.chain(named).chain([own]).collect()
    }

    /// The settings as attributes of an event, under their names in the configuration file.
    fn told(&self) -> BTreeMap<String, String> {
        let list = |words: Vec<String>| format!("[{}]", words.join(","));
        let options = self.log.config.iter();
        let options = options.map(|(name, value)| format!("{name}={value}"));
        let runtimes = self.runtime_infos().into_keys();
        [
            ("debug", self.debug.to_string()),
            ("default-ipc-mode", self.ipc.clone()),
            ("default-runtime", self.runtime.clone()),
            ("default-shm-size", self.shm_size.to_string()),
            ("default-cgroupns-mode", self.cgroup_namespace.clone()),
            ("labels", list(self.labels.clone())),
            ("live-restore", "true".to_owned()),
            ("log-driver", self.log.driver.clone()),
            ("log-opts", list(options.collect())),
            ("runtimes", list(runtimes.collect())),
            (
                "shutdown-timeout",
                self.shutdown_timeout.as_secs().to_string(),
            ),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }
}

impl Inner {
    /// Has other settings count from now on, and says so in an event that holds them.
    pub(crate) fn reload(&self, defaults: Defaults) {
        let mut told = defaults.told();
        told.insert("name".to_owned(), crate::host::hostname());
        if let Err(error) = self.registries.reload(&defaults.registries) {
            tracing::error!(%error, "the settings about registries do not count");
        }
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(defaults);
        self.collecting.notify_one();
        self.events.tell("daemon", "reload", &self.id, told);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(name: &str, soft: i64) -> wire::Ulimit {
        wire::Ulimit {
            name: name.to_owned(),
            soft,
            hard: soft,
        }
    }

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        owned.collect()
    }

    fn defaults() -> Defaults {
        Defaults {
            log: wire::LogConfig {
                driver: "local".to_owned(),
                config: options(&[("max-size", "1m"), ("max-file", "3")]),
            },
            ulimits: [limit("nofile", 10), limit("core", 0)]
                .map(|limit| (limit.name.clone(), limit))
                .into(),
            init: true,
            ..Defaults::default()
        }
    }

    #[test]
    fn what_is_open_is_filled() {
        let mut host = wire::HostConfig::default();
        defaults().fill(&mut host);
        assert_eq!(host.log_config, defaults().log);
        assert_eq!(host.shm_size, 64 * 1024 * 1024);
        assert_eq!((host.init, host.runtime.as_str()), (Some(true), "wharf"));
        assert_eq!(
            host.ulimits,
            Some(vec![limit("core", 0), limit("nofile", 10)])
        );
    }

    #[test]
    fn what_is_said_stays() {
        let mut host = wire::HostConfig {
            log_config: wire::LogConfig {
                driver: "local".to_owned(),
                config: options(&[("max-file", "9")]),
            },
            ulimits: Some(vec![limit("nofile", 7)]),
            init: Some(false),
            ..Default::default()
        };
        defaults().fill(&mut host);
        let expected = options(&[("max-size", "1m"), ("max-file", "9")]);
        assert_eq!(host.log_config.config, expected);
        assert_eq!(
            host.ulimits,
            Some(vec![limit("nofile", 7), limit("core", 0)])
        );
        assert_eq!(host.init, Some(false));
    }

    #[test]
    fn another_driver_gets_none_of_the_default_ones_options() {
        let mut host = wire::HostConfig::default();
        "none".clone_into(&mut host.log_config.driver);
        defaults().fill(&mut host);
        assert!(host.log_config.config.is_empty());
    }
}
