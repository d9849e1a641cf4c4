//! `update`: what of a container can be changed after it was made.
#![expect(
    missing_docs,
    reason = "members are the Engine API's own; its specification documents them"
)]

use crate::go::is_zero;
use crate::{
    DeviceMapping, DeviceRequest, HostConfig, RestartPolicy, ThrottleDevice, Ulimit, WeightDevice,
};

documents! {
    /// Body of `POST /containers/{id}/update`: limits and the restart policy; zero leaves a setting
    /// as it is.
    pub struct UpdateConfig {
        pub cpu_shares: i64,
        pub memory: i64,
        #[serde(rename = "NanoCpus")]
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
        pub init: Option<bool>,
        pub restart_policy: RestartPolicy,
    }

    /// Answer of `POST /containers/{id}/update`.
    #[derive(Eq)]
    pub struct ContainerUpdated {
        pub warnings: Option<Vec<String>>,
    }
}

impl UpdateConfig {
    /// Puts what is changed into a container's settings.
    pub fn apply_to(&self, host: &mut HostConfig) {
        fn number<T: Copy + Default + PartialEq>(kept: &mut T, change: T) {
            if change != T::default() {
                *kept = change;
            }
        }
        fn text(kept: &mut String, change: &str) {
            if !change.is_empty() {
                change.clone_into(kept);
            }
        }
        fn option<T: Clone>(kept: &mut Option<T>, change: &Option<T>) {
            if change.is_some() {
                kept.clone_from(change);
            }
        }
        number(&mut host.cpu_shares, self.cpu_shares);
        number(&mut host.memory, self.memory);
        number(&mut host.nano_cpus, self.nano_cpus);
        number(&mut host.blkio_weight, self.blkio_weight);
        option(&mut host.blkio_weight_device, &self.blkio_weight_device);
        option(&mut host.blkio_device_read_bps, &self.blkio_device_read_bps);
        option(
            &mut host.blkio_device_write_bps,
            &self.blkio_device_write_bps,
        );
        option(
            &mut host.blkio_device_read_iops,
            &self.blkio_device_read_iops,
        );
        option(
            &mut host.blkio_device_write_iops,
            &self.blkio_device_write_iops,
        );
        number(&mut host.cpu_period, self.cpu_period);
        number(&mut host.cpu_quota, self.cpu_quota);
        number(&mut host.cpu_realtime_period, self.cpu_realtime_period);
        number(&mut host.cpu_realtime_runtime, self.cpu_realtime_runtime);
        text(&mut host.cpuset_cpus, &self.cpuset_cpus);
        text(&mut host.cpuset_mems, &self.cpuset_mems);
        number(&mut host.memory_reservation, self.memory_reservation);
        number(&mut host.memory_swap, self.memory_swap);
        option(&mut host.memory_swappiness, &self.memory_swappiness);
        option(&mut host.oom_kill_disable, &self.oom_kill_disable);
        option(&mut host.pids_limit, &self.pids_limit);
        if !self.restart_policy.name.is_empty() {
            host.restart_policy.clone_from(&self.restart_policy);
        }
    }

    /// The members that no container can be given after it was made, by name, when they are set.
    pub fn unchangeable(&self) -> impl Iterator<Item = &'static str> {
        let filled = [
            ("CgroupParent", !self.cgroup_parent.is_empty()),
            (
                "Devices",
                self.devices.as_ref().is_some_and(|d| !d.is_empty()),
            ),
            (
                "DeviceCgroupRules",
                self.device_cgroup_rules
                    .as_ref()
                    .is_some_and(|d| !d.is_empty()),
            ),
            (
                "DeviceRequests",
                self.device_requests.as_ref().is_some_and(|d| !d.is_empty()),
            ),
            ("KernelMemory", self.kernel_memory != 0),
            ("KernelMemoryTCP", self.kernel_memory_tcp != 0),
            (
                "Ulimits",
                self.ulimits.as_ref().is_some_and(|u| !u.is_empty()),
            ),
            ("CpuCount", self.cpu_count != 0),
            ("CpuPercent", self.cpu_percent != 0),
            ("IOMaximumIOps", self.io_maximum_iops != 0),
            ("IOMaximumBandwidth", self.io_maximum_bandwidth != 0),
            ("Init", self.init.is_some()),
        ];
        filled
            .into_iter()
            .filter(|(_, set)| *set)
            .map(|(name, _)| name)
    }
}
