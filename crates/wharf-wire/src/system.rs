//! The engine itself: version, info, disk usage.
#![expect(
    missing_docs,
    reason = "members are the Engine API's own; its specification documents them"
)]

use std::collections::BTreeMap;

use crate::go::is_zero;
use crate::{ContainerSummary, ImageSummary, Volume};

documents! {
    /// Answer of `POST /build/prune`.
    #[derive(Eq)]
    pub struct BuildPruned {
        pub caches_deleted: Option<Vec<String>>,
        pub space_reclaimed: i64,
    }

    /// Answer of `GET /version`.
    #[derive(Eq)]
    pub struct Version {
        pub platform: VersionPlatform,
        #[serde(skip_serializing_if = "is_zero")]
        pub components: Vec<ComponentVersion>,
        pub version: String,
        pub api_version: String,
        #[serde(rename = "MinAPIVersion")]
        pub min_api_version: String,
        pub git_commit: String,
        pub go_version: String,
        pub os: String,
        pub arch: String,
        #[serde(skip_serializing_if = "is_zero")]
        pub kernel_version: String,
        #[serde(skip_serializing_if = "is_zero")]
        pub experimental: bool,
        #[serde(skip_serializing_if = "is_zero")]
        pub build_time: String,
    }

    /// Name of the product.
    #[derive(Eq)]
    pub struct VersionPlatform {
        pub name: String,
    }

    /// Version of one part of the engine.
    #[derive(Eq)]
    pub struct ComponentVersion {
        pub name: String,
        pub version: String,
        #[serde(skip_serializing_if = "is_zero")]
        pub details: BTreeMap<String, String>,
    }

    /// Answer of `GET /info`.
    pub struct SystemInfo {
        #[serde(rename = "ID")]
        pub id: String,
        pub containers: i64,
        pub containers_running: i64,
        pub containers_paused: i64,
        pub containers_stopped: i64,
        pub images: i64,
        pub driver: String,
        pub driver_status: Vec<[String; 2]>,
        pub plugins: PluginsInfo,
        pub memory_limit: bool,
        pub swap_limit: bool,
        #[serde(skip_serializing_if = "is_zero")]
        pub kernel_memory: bool,
        #[serde(rename = "KernelMemoryTCP", skip_serializing_if = "is_zero")]
        pub kernel_memory_tcp: bool,
        pub cpu_cfs_period: bool,
        pub cpu_cfs_quota: bool,
        #[serde(rename = "CPUShares")]
        pub cpu_shares: bool,
        #[serde(rename = "CPUSet")]
        pub cpu_set: bool,
        pub pids_limit: bool,
        #[serde(rename = "IPv4Forwarding")]
        pub ipv4_forwarding: bool,
        pub bridge_nf_iptables: bool,
        pub bridge_nf_ip6tables: bool,
        pub debug: bool,
        #[serde(rename = "NFd")]
        pub n_fd: i64,
        pub oom_kill_disable: bool,
        #[serde(rename = "NGoroutines")]
        pub n_goroutines: i64,
        pub system_time: String,
        pub logging_driver: String,
        pub cgroup_driver: String,
        #[serde(skip_serializing_if = "is_zero")]
        pub cgroup_version: String,
        #[serde(rename = "NEventsListener")]
        pub n_events_listener: i64,
        pub kernel_version: String,
        pub operating_system: String,
        #[serde(rename = "OSVersion")]
        pub os_version: String,
        #[serde(rename = "OSType")]
        pub os_type: String,
        pub architecture: String,
        pub index_server_address: String,
        pub registry_config: Option<RegistryConfig>,
        #[serde(rename = "NCPU")]
        pub n_cpu: i64,
        pub mem_total: i64,
        pub generic_resources: Option<Vec<serde_json::Value>>,
        pub docker_root_dir: String,
        pub http_proxy: String,
        pub https_proxy: String,
        pub no_proxy: String,
        pub name: String,
        pub labels: Vec<String>,
        pub experimental_build: bool,
        pub server_version: String,
        pub runtimes: BTreeMap<String, RuntimeInfo>,
        pub default_runtime: String,
        pub swarm: SwarmInfo,
        pub live_restore_enabled: bool,
        pub isolation: String,
        pub init_binary: String,
        pub containerd_commit: Commit,
        pub runc_commit: Commit,
        pub init_commit: Commit,
        pub security_options: Vec<String>,
        #[serde(skip_serializing_if = "is_zero")]
        pub product_license: String,
        #[serde(skip_serializing_if = "is_zero")]
        pub default_address_pools: Vec<AddressPool>,
        #[serde(skip_serializing_if = "is_zero")]
        pub firewall_backend: Option<FirewallInfo>,
        #[serde(rename = "CDISpecDirs")]
        pub cdi_spec_dirs: Option<Vec<String>>,
        pub warnings: Option<Vec<String>>,
    }

    /// Names of drivers, by what they drive.
    #[derive(Eq)]
    pub struct PluginsInfo {
        pub volume: Vec<String>,
        pub network: Vec<String>,
        pub authorization: Option<Vec<String>>,
        pub log: Vec<String>,
    }

    /// Registries the engine treats in a way of its own.
    #[derive(Eq)]
    pub struct RegistryConfig {
        #[serde(rename = "AllowNondistributableArtifactsCIDRs", skip_serializing_if = "is_zero")]
        pub allow_nondistributable_artifacts_cidrs: Option<Vec<String>>,
        #[serde(skip_serializing_if = "is_zero")]
        pub allow_nondistributable_artifacts_hostnames: Option<Vec<String>>,
        #[serde(rename = "InsecureRegistryCIDRs")]
        pub insecure_registry_cidrs: Vec<String>,
        pub index_configs: BTreeMap<String, IndexInfo>,
        pub mirrors: Option<Vec<String>>,
    }

    /// One registry.
    #[derive(Eq)]
    pub struct IndexInfo {
        pub name: String,
        pub mirrors: Vec<String>,
        pub secure: bool,
        pub official: bool,
    }

    /// An OCI runtime the engine can use.
    #[derive(Eq)]
    pub struct RuntimeInfo {
        #[serde(rename = "path", skip_serializing_if = "is_zero")]
        pub path: String,
        #[serde(rename = "runtimeArgs", skip_serializing_if = "is_zero")]
        pub runtime_args: Vec<String>,
        #[serde(rename = "status", skip_serializing_if = "is_zero")]
        pub status: BTreeMap<String, String>,
    }

    /// The engine's place in a swarm.
    #[derive(Eq)]
    pub struct SwarmInfo {
        #[serde(rename = "NodeID")]
        pub node_id: String,
        pub node_addr: String,
        pub local_node_state: String,
        pub control_available: bool,
        pub error: String,
        pub remote_managers: Option<Vec<PeerNode>>,
    }

    /// A manager of the swarm.
    #[derive(Eq)]
    pub struct PeerNode {
        #[serde(rename = "NodeID")]
        pub node_id: String,
        pub addr: String,
    }

    /// Commit a program was built from. `expected` is what clients older than 1.49 read too.
    #[derive(Eq)]
    pub struct Commit {
        #[serde(rename = "ID")]
        pub id: String,
        #[serde(skip_serializing_if = "is_zero")]
        pub expected: String,
    }

    /// Addresses that new networks are taken from.
    #[derive(Eq)]
    pub struct AddressPool {
        pub base: String,
        pub size: u8,
    }

    /// What publishes ports.
    #[derive(Eq)]
    pub struct FirewallInfo {
        pub driver: String,
        #[serde(skip_serializing_if = "is_zero")]
        pub info: Vec<[String; 2]>,
    }

    /// Answer of `GET /system/df`.
    pub struct DiskUsage {
        pub layers_size: i64,
        pub images: Vec<ImageSummary>,
        pub containers: Vec<ContainerSummary>,
        pub volumes: Vec<Volume>,
        pub build_cache: Vec<BuildCacheRecord>,
    }

    /// One record of the build cache.
    #[derive(Eq)]
    pub struct BuildCacheRecord {
        #[serde(rename = "ID")]
        pub id: String,
        #[serde(skip_serializing_if = "is_zero")]
        pub parents: Vec<String>,
        #[serde(rename = "Type")]
        pub kind: String,
        pub description: String,
        pub in_use: bool,
        pub shared: bool,
        pub size: i64,
        pub created_at: String,
        pub last_used_at: Option<String>,
        pub usage_count: i64,
    }

    /// Answer of `GET /system/df?verify=1`, which Docker does not have: every byte below the data root and whose it is.
    #[derive(Eq)]
    pub struct VerifyReport {
        pub data_root: String,
        /// Bytes on disk below the data root.
        pub total: u64,
        /// Bytes by owner: images, containers, records and so on.
        pub accounted: BTreeMap<String, u64>,
        /// Paths that belong to nothing the engine knows.
        pub unaccounted: Vec<VerifyEntry>,
        /// What is missing or differs from its record, a sentence each.
        pub problems: Vec<String>,
    }

    /// A path below the data root and its size.
    #[derive(Eq)]
    pub struct VerifyEntry {
        pub path: String,
        pub size: u64,
    }
}
