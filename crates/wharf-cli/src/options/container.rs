//! The flags of `run` and `create`: what is written, before it is a request to the engine.

mod body;
mod table;

pub(crate) use body::{Created, body};
pub(crate) use table::{CREATE_ONLY, RUN_ONLY, SHARED};

use std::collections::BTreeMap;

use wharf_wire::{DeviceRequest, Mount, RestartPolicy, ThrottleDevice, Ulimit, WeightDevice};

use super::health::HealthArguments;
use super::network::Attachment;
use crate::grammar::Invalid;

/// When an image is pulled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Pull {
    /// Before every start.
    Always,
    /// When it is not here.
    #[default]
    Missing,
    /// Not at all.
    Never,
    /// Something that is none of these.
    Unknown(String),
}

/// The streams `-a` names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Streams {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
}

impl Streams {
    fn add(&mut self, name: &str) -> Result<(), Invalid> {
        match name.to_ascii_lowercase().as_str() {
            "stdin" => self.stdin = true,
            "stdout" => self.stdout = true,
            "stderr" => self.stderr = true,
            _ => {
                return Err(Invalid(
                    "valid streams are STDIN, STDOUT and STDERR".to_owned(),
                ));
            }
        }
        Ok(())
    }

    /// Whether any stream is named.
    pub(crate) fn any(self) -> bool {
        self.stdin || self.stdout || self.stderr
    }
}

/// What was typed to `run` or `create`. Values that are read against the surroundings (files, the current
/// directory) or against each other are kept as text until the whole line is known.
#[derive(Debug, Default)]
pub(crate) struct ContainerArguments {
    // What the client itself does.
    pub(crate) name: String,
    pub(crate) platform: String,
    pub(crate) pull: Pull,
    pub(crate) quiet: bool,
    /// Whether signatures are not asked for, where that is said; they are refused.
    pub(crate) no_content_trust: Option<bool>,
    pub(crate) api_socket: bool,
    pub(crate) cidfile: String,
    pub(crate) detach: bool,
    pub(crate) detach_keys: Option<String>,
    /// Inverted, so that the zero value is Docker's default.
    pub(crate) no_signal_proxy: bool,
    // The process.
    pub(crate) attach: Streams,
    pub(crate) interactive: bool,
    pub(crate) tty: bool,
    pub(crate) environment: Vec<String>,
    pub(crate) environment_files: Vec<String>,
    pub(crate) entrypoint: Option<String>,
    pub(crate) user: String,
    pub(crate) workdir: String,
    pub(crate) hostname: String,
    pub(crate) domainname: String,
    pub(crate) stop_signal: String,
    pub(crate) stop_timeout: Option<i64>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) label_files: Vec<String>,
    pub(crate) health: HealthArguments,
    pub(crate) init: Option<bool>,
    pub(crate) auto_remove: bool,
    pub(crate) restart: Option<String>,
    // Files.
    pub(crate) volumes: Vec<String>,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) tmpfs: BTreeMap<String, String>,
    pub(crate) volumes_from: Vec<String>,
    pub(crate) volume_driver: String,
    pub(crate) storage_options: Vec<String>,
    pub(crate) read_only: bool,
    pub(crate) shm_size: i64,
    pub(crate) devices: Vec<String>,
    pub(crate) device_rules: Vec<String>,
    pub(crate) device_requests: Vec<DeviceRequest>,
    // Networks.
    pub(crate) networks: Vec<Attachment>,
    pub(crate) aliases: Vec<String>,
    pub(crate) ipv4: String,
    pub(crate) ipv6: String,
    pub(crate) link_local: Vec<String>,
    pub(crate) links: Vec<String>,
    pub(crate) mac: String,
    pub(crate) publish: Vec<String>,
    pub(crate) publish_all: bool,
    pub(crate) expose: Vec<String>,
    pub(crate) dns: Vec<String>,
    pub(crate) dns_options: Vec<String>,
    pub(crate) dns_search: Vec<String>,
    pub(crate) extra_hosts: Vec<String>,
    // Isolation.
    pub(crate) isolation: String,
    pub(crate) privileged: bool,
    pub(crate) cap_add: Vec<String>,
    pub(crate) cap_drop: Vec<String>,
    pub(crate) security: Vec<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) pid: String,
    pub(crate) ipc: String,
    pub(crate) uts: String,
    pub(crate) userns: String,
    pub(crate) cgroupns: String,
    pub(crate) sysctls: BTreeMap<String, String>,
    pub(crate) runtime: String,
    pub(crate) annotations: BTreeMap<String, String>,
    // Resources.
    pub(crate) memory: i64,
    pub(crate) memory_reservation: i64,
    pub(crate) memory_swap: i64,
    pub(crate) memory_swappiness: Option<i64>,
    pub(crate) kernel_memory: i64,
    pub(crate) nano_cpus: i64,
    pub(crate) cpu_shares: i64,
    pub(crate) cpu_period: i64,
    pub(crate) cpu_quota: i64,
    pub(crate) cpu_rt_period: i64,
    pub(crate) cpu_rt_runtime: i64,
    pub(crate) cpuset_cpus: String,
    pub(crate) cpuset_mems: String,
    pub(crate) pids_limit: i64,
    pub(crate) ulimits: Vec<Ulimit>,
    pub(crate) oom_kill_disable: Option<bool>,
    pub(crate) oom_score_adj: i32,
    pub(crate) cgroup_parent: String,
    pub(crate) blkio_weight: u16,
    pub(crate) blkio_weight_devices: Vec<WeightDevice>,
    pub(crate) read_bps: Vec<ThrottleDevice>,
    pub(crate) read_iops: Vec<ThrottleDevice>,
    pub(crate) write_bps: Vec<ThrottleDevice>,
    pub(crate) write_iops: Vec<ThrottleDevice>,
    // Logs.
    pub(crate) log_driver: String,
    pub(crate) log_options: BTreeMap<String, String>,
}

impl ContainerArguments {
    fn restart_policy(&self) -> Result<RestartPolicy, super::restart::RestartError> {
        super::restart::parse(self.restart.as_deref().unwrap_or_default())
    }
}
