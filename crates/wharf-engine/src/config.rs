//! Settings of an engine.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use ipnet::Ipv4Net;
use wharf_network::AddressPool;

use crate::defaults::Defaults;

/// Settings of an engine, resolved: flags and files are the program's business.
#[derive(Debug, Clone)]
pub struct Config {
    /// Everything that lasts; 0700.
    pub data_root: PathBuf,
    /// What lives as long as the machine runs; 0711.
    pub exec_root: PathBuf,
    /// Name of the default bridge.
    pub bridge: String,
    /// The bridge's address and subnet (`--bip`); else the first free pool, kept in the records.
    pub bridge_address: Option<Ipv4Net>,
    /// Where that subnet is looked for; empty: among the private ones.
    pub address_pools: Vec<AddressPool>,
    /// MTU of the default bridge; else that of the route out.
    pub mtu: Option<u32>,
    /// Which driver makes the snapshots.
    pub storage_driver: wharf_store::DriverChoice,
    /// Whose subordinate ids containers get (`--userns-remap`); none: the host's own ids.
    pub userns_remap: Option<String>,
    /// Parent of the containers' cgroups.
    pub cgroup_parent: PathBuf,
    /// Name servers of containers; else the host's.
    pub dns: Vec<IpAddr>,
    /// Search domains of containers; else the host's.
    pub dns_search: Vec<String>,
    /// Resolver options of containers; else the host's.
    pub dns_options: Vec<String>,
    /// Address of the host at which ports are published whose containers name none.
    pub publish_address: Ipv4Addr,
    /// What `host-gateway` stands for; else the bridge's address.
    pub host_gateway: Option<IpAddr>,
    /// Where specifications of devices are (`--cdi-spec-dir`); the later directory wins.
    pub cdi_directories: Vec<PathBuf>,
    /// What may change while the engine runs.
    pub defaults: Defaults,
    /// The program that shims are made from; it must answer to the argument `shim`.
    pub program: PathBuf,
    /// How many files shims and containers may open at first (`RLIMIT_NOFILE`); else as many as the
    /// engine.
    pub open_files: Option<u64>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_root: PathBuf::from("/var/lib/wharf"),
            exec_root: PathBuf::from("/run/wharf"),
            bridge: "wharf0".to_owned(),
            bridge_address: None,
            address_pools: Vec::new(),
            mtu: None,
            storage_driver: wharf_store::DriverChoice::Auto,
            userns_remap: None,
            cgroup_parent: PathBuf::from("/wharf"),
            dns: Vec::new(),
            dns_search: Vec::new(),
            dns_options: Vec::new(),
            publish_address: Ipv4Addr::UNSPECIFIED,
            host_gateway: None,
            cdi_directories: crate::cdi::DIRECTORIES.map(PathBuf::from).to_vec(),
            defaults: Defaults::default(),
            program: PathBuf::from("/proc/self/exe"),
            open_files: None,
        }
    }
}
