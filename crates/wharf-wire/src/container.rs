//! Containers: what create takes, what list, inspect, wait, top and changes answer.
#![expect(
    missing_docs,
    reason = "members are the Engine API's own; its specification documents them"
)]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::go::is_zero;
use crate::{
    Empty, EndpointSettings, GraphDriver, HostConfig, ImageDescriptor, NetworkSettings, Words,
};

/// Ports of a container, `80/tcp`, with where they are published; `null`: exposed only.
pub type PortMap = BTreeMap<String, Option<Vec<PortBinding>>>;

documents! {
    /// Where a container's port is published on the host.
    #[derive(Eq)]
    pub struct PortBinding {
        pub host_ip: String,
        pub host_port: String,
    }

    /// A container's configuration, the part independent of the host.
    pub struct ContainerConfig {
        pub hostname: String,
        pub domainname: String,
        pub user: String,
        pub attach_stdin: bool,
        pub attach_stdout: bool,
        pub attach_stderr: bool,
        #[serde(skip_serializing_if = "is_zero")]
        pub exposed_ports: BTreeMap<String, Empty>,
        pub tty: bool,
        pub open_stdin: bool,
        pub stdin_once: bool,
        pub env: Option<Vec<String>>,
        pub cmd: Option<Words>,
        #[serde(skip_serializing_if = "is_zero")]
        pub healthcheck: Option<HealthConfig>,
        #[serde(skip_serializing_if = "is_zero")]
        pub args_escaped: bool,
        pub image: String,
        pub volumes: Option<BTreeMap<String, Empty>>,
        pub working_dir: String,
        pub entrypoint: Option<Words>,
        #[serde(skip_serializing_if = "is_zero")]
        pub network_disabled: bool,
        #[serde(skip_serializing_if = "is_zero")]
        pub mac_address: String,
        pub on_build: Option<Vec<String>>,
        pub labels: Option<BTreeMap<String, String>>,
        #[serde(skip_serializing_if = "is_zero")]
        pub stop_signal: String,
        #[serde(skip_serializing_if = "is_zero")]
        pub stop_timeout: Option<i64>,
        #[serde(skip_serializing_if = "is_zero")]
        pub shell: Option<Words>,
    }

    /// How a container's health is probed. Durations are nanoseconds.
    #[derive(Eq)]
    pub struct HealthConfig {
        #[serde(skip_serializing_if = "is_zero")]
        pub test: Vec<String>,
        #[serde(skip_serializing_if = "is_zero")]
        pub interval: i64,
        #[serde(skip_serializing_if = "is_zero")]
        pub timeout: i64,
        #[serde(skip_serializing_if = "is_zero")]
        pub start_period: i64,
        #[serde(skip_serializing_if = "is_zero")]
        pub start_interval: i64,
        #[serde(skip_serializing_if = "is_zero")]
        pub retries: i64,
        /// Not Docker's: what to do about an unhealthy container, `none`, `kill`, `restart` or `stop`.
        #[serde(skip_serializing_if = "is_zero")]
        pub on_failure: String,
    }

    /// Body of `POST /containers/create`: the configuration's members with two more beside them.
    pub struct ContainerCreateBody {
        #[serde(flatten)]
        pub config: ContainerConfig,
        pub host_config: HostConfig,
        #[serde(skip_serializing_if = "is_zero")]
        pub networking_config: Option<NetworkingConfig>,
    }

    /// Networks a container is to be connected to when it is created.
    pub struct NetworkingConfig {
        pub endpoints_config: BTreeMap<String, Option<EndpointSettings>>,
    }

    /// Answer of `POST /containers/create`.
    #[derive(Eq)]
    pub struct ContainerCreated {
        pub id: String,
        pub warnings: Vec<String>,
    }

    /// One container of `GET /containers/json`.
    pub struct ContainerSummary {
        pub id: String,
        pub names: Vec<String>,
        pub image: String,
        #[serde(rename = "ImageID")]
        pub image_id: String,
        #[serde(skip_serializing_if = "is_zero")]
        pub image_manifest_descriptor: Option<ImageDescriptor>,
        pub command: String,
        pub created: i64,
        pub ports: Vec<PortSummary>,
        #[serde(skip_serializing_if = "is_zero")]
        pub size_rw: i64,
        #[serde(skip_serializing_if = "is_zero")]
        pub size_root_fs: i64,
        pub labels: BTreeMap<String, String>,
        pub state: String,
        pub status: String,
        pub host_config: HostConfigSummary,
        pub network_settings: Option<NetworkSettingsSummary>,
        pub mounts: Vec<MountPoint>,
    }

    /// One line of a summary's ports.
    #[derive(Eq, PartialOrd, Ord)]
    pub struct PortSummary {
        #[serde(rename = "IP", skip_serializing_if = "is_zero")]
        pub ip: String,
        pub private_port: u16,
        #[serde(skip_serializing_if = "is_zero")]
        pub public_port: u16,
        #[serde(rename = "Type")]
        pub protocol: String,
    }

    /// The host configuration as far as a summary shows it.
    #[derive(Eq)]
    pub struct HostConfigSummary {
        #[serde(skip_serializing_if = "is_zero")]
        pub network_mode: String,
        #[serde(skip_serializing_if = "is_zero")]
        pub annotations: BTreeMap<String, String>,
    }

    /// The networks as a summary shows them.
    pub struct NetworkSettingsSummary {
        pub networks: BTreeMap<String, EndpointSettings>,
    }

    /// A mount as inspect and list show it.
    #[derive(Eq)]
    pub struct MountPoint {
        #[serde(rename = "Type", skip_serializing_if = "is_zero")]
        pub kind: String,
        #[serde(skip_serializing_if = "is_zero")]
        pub name: String,
        pub source: String,
        pub destination: String,
        #[serde(skip_serializing_if = "is_zero")]
        pub driver: String,
        pub mode: String,
        #[serde(rename = "RW")]
        pub rw: bool,
        pub propagation: String,
    }

    /// Answer of `GET /containers/{id}/json`.
    pub struct ContainerInspect {
        pub id: String,
        pub created: String,
        pub path: String,
        pub args: Vec<String>,
        pub state: ContainerState,
        pub image: String,
        pub resolv_conf_path: String,
        pub hostname_path: String,
        pub hosts_path: String,
        pub log_path: String,
        pub name: String,
        pub restart_count: i64,
        pub driver: String,
        pub platform: String,
        pub mount_label: String,
        pub process_label: String,
        pub app_armor_profile: String,
        #[serde(rename = "ExecIDs")]
        pub exec_ids: Option<Vec<String>>,
        pub host_config: HostConfig,
        pub graph_driver: GraphDriver,
        #[serde(skip_serializing_if = "is_zero")]
        pub size_rw: Option<i64>,
        #[serde(skip_serializing_if = "is_zero")]
        pub size_root_fs: Option<i64>,
        pub mounts: Vec<MountPoint>,
        pub config: ContainerConfig,
        pub network_settings: NetworkSettings,
        #[serde(skip_serializing_if = "is_zero")]
        pub image_manifest_descriptor: Option<ImageDescriptor>,
    }

    /// State of a container, all its flags at once. Times are RFC 3339, [`crate::ZERO_TIME`] when never.
    #[derive(Eq)]
    pub struct ContainerState {
        pub status: String,
        pub running: bool,
        pub paused: bool,
        pub restarting: bool,
        #[serde(rename = "OOMKilled")]
        pub oom_killed: bool,
        pub dead: bool,
        pub pid: i32,
        pub exit_code: i32,
        pub error: String,
        pub started_at: String,
        pub finished_at: String,
        #[serde(skip_serializing_if = "is_zero")]
        pub health: Option<Health>,
    }

    /// Health of a container with a health check.
    #[derive(Eq)]
    pub struct Health {
        pub status: String,
        pub failing_streak: i64,
        pub log: Vec<HealthResult>,
    }

    /// One probe of a container's health.
    #[derive(Eq)]
    pub struct HealthResult {
        pub start: String,
        pub end: String,
        pub exit_code: i32,
        pub output: String,
    }

    /// Answer of `POST /containers/{id}/wait`.
    #[derive(Eq)]
    pub struct WaitResult {
        #[serde(skip_serializing_if = "is_zero")]
        pub error: Option<WaitError>,
        pub status_code: i64,
    }

    /// Why waiting failed.
    #[derive(Eq)]
    pub struct WaitError {
        pub message: String,
    }

    /// Answer of `POST /containers/prune`.
    #[derive(Eq)]
    pub struct ContainersPruned {
        pub containers_deleted: Option<Vec<String>>,
        pub space_reclaimed: i64,
    }

    /// Answer of `GET /containers/{id}/top`.
    #[derive(Eq)]
    pub struct TopResult {
        pub processes: Vec<Vec<String>>,
        pub titles: Vec<String>,
    }

    /// A path changed in a container.
    #[derive(Eq)]
    pub struct ChangeItem {
        pub kind: ChangeKind,
        pub path: String,
    }
}

/// What happened to a path, a number on the wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum ChangeKind {
    #[default]
    Modified,
    Added,
    Deleted,
}

impl From<ChangeKind> for u8 {
    fn from(kind: ChangeKind) -> Self {
        match kind {
            ChangeKind::Modified => 0,
            ChangeKind::Added => 1,
            ChangeKind::Deleted => 2,
        }
    }
}

impl TryFrom<u8> for ChangeKind {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        match number {
            0 => Ok(Self::Modified),
            1 => Ok(Self::Added),
            2 => Ok(Self::Deleted),
            other => Err(format!("unknown kind of change {other}")),
        }
    }
}
