//! `HostConfig`: everything about a container that depends on its host.
//!
//! Every setting a Docker 28 client can send has its member, whether the engine supports it or not,
//! so that the engine can refuse what it does not do by name.
#![expect(
    missing_docs,
    reason = "members are the Engine API's own; its specification documents them"
)]

use std::collections::BTreeMap;

use crate::go::is_zero;
use crate::{PortMap, Words};

/// Resource limits of processes, by the names users give them.
pub const ULIMIT_NAMES: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

documents! {
    /// Configuration of a container on its host.
    pub struct HostConfig {
        pub binds: Option<Vec<String>>,
        #[serde(rename = "ContainerIDFile")]
        pub container_id_file: String,
        pub log_config: LogConfig,
        pub network_mode: String,
        pub port_bindings: Option<PortMap>,
        pub restart_policy: RestartPolicy,
        pub auto_remove: bool,
        pub volume_driver: String,
        pub volumes_from: Option<Vec<String>>,
        pub console_size: [u32; 2],
        #[serde(skip_serializing_if = "is_zero")]
        pub annotations: BTreeMap<String, String>,
        pub cap_add: Option<Words>,
        pub cap_drop: Option<Words>,
        pub cgroupns_mode: String,
        pub dns: Option<Vec<String>>,
        pub dns_options: Option<Vec<String>>,
        pub dns_search: Option<Vec<String>>,
        pub extra_hosts: Option<Vec<String>>,
        pub group_add: Option<Vec<String>>,
        pub ipc_mode: String,
        pub cgroup: String,
        pub links: Option<Vec<String>>,
        pub oom_score_adj: i32,
        pub pid_mode: String,
        pub privileged: bool,
        pub publish_all_ports: bool,
        pub readonly_rootfs: bool,
        pub security_opt: Option<Vec<String>>,
        #[serde(skip_serializing_if = "is_zero")]
        pub storage_opt: BTreeMap<String, String>,
        #[serde(skip_serializing_if = "is_zero")]
        pub tmpfs: BTreeMap<String, String>,
        #[serde(rename = "UTSMode")]
        pub uts_mode: String,
        pub userns_mode: String,
        pub shm_size: i64,
        #[serde(skip_serializing_if = "is_zero")]
        pub sysctls: BTreeMap<String, String>,
        #[serde(skip_serializing_if = "is_zero")]
        pub runtime: String,
        pub isolation: String,
        pub cpu_shares: i64,
        pub memory: i64,
        pub nano_cpus: i64,
        pub cgroup_parent: String,
        pub blkio_weight: u16,
        pub blkio_weight_device: Option<Vec<WeightDevice>>,
        pub blkio_device_read_bps: Option<Vec<ThrottleDevice>>,
        pub blkio_device_write_bps: Option<Vec<ThrottleDevice>>,
        #[serde(rename = "BlkioDeviceReadIOps")]
        pub blkio_device_read_iops: Option<Vec<ThrottleDevice>>,
        #[serde(rename = "BlkioDeviceWriteIOps")]
        pub blkio_device_write_iops: Option<Vec<ThrottleDevice>>,
        pub cpu_period: i64,
        pub cpu_quota: i64,
        pub cpu_realtime_period: i64,
        pub cpu_realtime_runtime: i64,
        pub cpuset_cpus: String,
        pub cpuset_mems: String,
        pub devices: Option<Vec<DeviceMapping>>,
        pub device_cgroup_rules: Option<Vec<String>>,
        pub device_requests: Option<Vec<DeviceRequest>>,
        #[serde(skip_serializing_if = "is_zero")]
        pub kernel_memory: i64,
        #[serde(rename = "KernelMemoryTCP", skip_serializing_if = "is_zero")]
        pub kernel_memory_tcp: i64,
        pub memory_reservation: i64,
        pub memory_swap: i64,
        pub memory_swappiness: Option<i64>,
        pub oom_kill_disable: Option<bool>,
        pub pids_limit: Option<i64>,
        pub ulimits: Option<Vec<Ulimit>>,
        pub cpu_count: i64,
        pub cpu_percent: i64,
        #[serde(rename = "IOMaximumIOps")]
        pub io_maximum_iops: u64,
        #[serde(rename = "IOMaximumBandwidth")]
        pub io_maximum_bandwidth: u64,
        #[serde(skip_serializing_if = "is_zero")]
        pub mounts: Vec<Mount>,
        pub masked_paths: Option<Vec<String>>,
        pub readonly_paths: Option<Vec<String>>,
        #[serde(skip_serializing_if = "is_zero")]
        pub init: Option<bool>,
    }

    /// Where a container's output is kept.
    #[derive(Eq)]
    pub struct LogConfig {
        #[serde(rename = "Type")]
        pub driver: String,
        pub config: BTreeMap<String, String>,
    }

    /// What to do when a container ends.
    #[derive(Eq)]
    pub struct RestartPolicy {
        pub name: String,
        pub maximum_retry_count: i64,
    }

    /// Weight of a block device.
    #[derive(Eq)]
    pub struct WeightDevice {
        pub path: String,
        pub weight: u16,
    }

    /// Limit of a block device.
    #[derive(Eq)]
    pub struct ThrottleDevice {
        pub path: String,
        pub rate: u64,
    }

    /// A device of the host given to a container.
    #[derive(Eq)]
    pub struct DeviceMapping {
        pub path_on_host: String,
        pub path_in_container: String,
        pub cgroup_permissions: String,
    }

    /// Devices asked of a device driver (`--gpus`, CDI).
    #[derive(Eq)]
    pub struct DeviceRequest {
        pub driver: String,
        pub count: i64,
        #[serde(rename = "DeviceIDs")]
        pub device_ids: Option<Vec<String>>,
        pub capabilities: Option<Vec<Vec<String>>>,
        pub options: Option<BTreeMap<String, String>>,
    }

    /// A resource limit of a container's processes.
    #[derive(Eq)]
    pub struct Ulimit {
        pub name: String,
        pub hard: i64,
        pub soft: i64,
    }

    /// A mount asked for by `--mount`.
    #[derive(Eq)]
    pub struct Mount {
        #[serde(rename = "Type", skip_serializing_if = "is_zero")]
        pub kind: String,
        #[serde(skip_serializing_if = "is_zero")]
        pub source: String,
        #[serde(skip_serializing_if = "is_zero")]
        pub target: String,
        #[serde(skip_serializing_if = "is_zero")]
        pub read_only: bool,
        #[serde(skip_serializing_if = "is_zero")]
        pub consistency: String,
        #[serde(skip_serializing_if = "is_zero")]
        pub bind_options: Option<BindOptions>,
        #[serde(skip_serializing_if = "is_zero")]
        pub volume_options: Option<VolumeOptions>,
        #[serde(skip_serializing_if = "is_zero")]
        pub image_options: Option<ImageOptions>,
        #[serde(skip_serializing_if = "is_zero")]
        pub tmpfs_options: Option<TmpfsOptions>,
        #[serde(skip_serializing_if = "is_zero")]
        pub cluster_options: Option<crate::Empty>,
    }

    /// Options of a bind mount.
    #[derive(Eq)]
    pub struct BindOptions {
        #[serde(skip_serializing_if = "is_zero")]
        pub propagation: String,
        #[serde(skip_serializing_if = "is_zero")]
        pub non_recursive: bool,
        #[serde(skip_serializing_if = "is_zero")]
        pub create_mountpoint: bool,
        #[serde(skip_serializing_if = "is_zero")]
        pub read_only_non_recursive: bool,
        #[serde(skip_serializing_if = "is_zero")]
        pub read_only_force_recursive: bool,
    }

    /// Options of a volume mount.
    #[derive(Eq)]
    pub struct VolumeOptions {
        #[serde(skip_serializing_if = "is_zero")]
        pub no_copy: bool,
        #[serde(skip_serializing_if = "is_zero")]
        pub labels: BTreeMap<String, String>,
        #[serde(skip_serializing_if = "is_zero")]
        pub subpath: String,
        #[serde(skip_serializing_if = "is_zero")]
        pub driver_config: Option<MountDriver>,
    }

    /// Driver of a volume made by a mount.
    #[derive(Eq)]
    pub struct MountDriver {
        #[serde(skip_serializing_if = "is_zero")]
        pub name: String,
        #[serde(skip_serializing_if = "is_zero")]
        pub options: BTreeMap<String, String>,
    }

    /// Options of an image mount.
    #[derive(Eq)]
    pub struct ImageOptions {
        #[serde(skip_serializing_if = "is_zero")]
        pub subpath: String,
    }

    /// Options of a tmpfs mount.
    #[derive(Eq)]
    pub struct TmpfsOptions {
        #[serde(skip_serializing_if = "is_zero")]
        pub size_bytes: i64,
        #[serde(skip_serializing_if = "is_zero")]
        pub mode: u32,
        #[serde(skip_serializing_if = "is_zero")]
        pub options: Vec<Vec<String>>,
    }
}
