//! What a container uses: `GET /containers/{id}/stats`.
#![expect(
    missing_docs,
    reason = "members are the Engine API's own; its specification documents them"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Empty;
use crate::go::{ZERO_TIME, is_zero, null_is_zero};
use crate::query::{Query, QueryWriter};

/// Declares documents whose members have small letters.
macro_rules! small_documents {
    ($( $(#[$meta:meta])* pub struct $name:ident { $( $(#[$member_meta:meta])* pub $member:ident : $type:ty, )* } )*) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct $name { $(
            $(#[$member_meta])*
            #[serde(deserialize_with = "null_is_zero")]
            pub $member: $type,
        )* }
    )* };
}

small_documents! {
    /// Use of a container at one moment, and its processor time at the moment before.
    pub struct ContainerStats {
        pub read: String,
        pub preread: String,
        pub pids_stats: PidsStats,
        pub blkio_stats: BlkioStats,
        pub num_procs: u32,
        pub storage_stats: Empty,
        pub cpu_stats: CpuStats,
        pub precpu_stats: CpuStats,
        pub memory_stats: MemoryStats,
        pub name: String,
        pub id: String,
        #[serde(skip_serializing_if = "is_zero")]
        pub networks: BTreeMap<String, NetworkStats>,
    }

    #[derive(Default)]
    /// Tasks.
    pub struct PidsStats {
        #[serde(skip_serializing_if = "is_zero")]
        pub current: u64,
        #[serde(skip_serializing_if = "is_zero")]
        pub limit: u64,
    }

    #[derive(Default)]
    /// Block devices; `None` is what this version of control groups does not count.
    pub struct BlkioStats {
        pub io_service_bytes_recursive: Option<Vec<BlkioEntry>>,
        pub io_serviced_recursive: Option<Vec<BlkioEntry>>,
        pub io_queue_recursive: Option<Vec<BlkioEntry>>,
        pub io_service_time_recursive: Option<Vec<BlkioEntry>>,
        pub io_wait_time_recursive: Option<Vec<BlkioEntry>>,
        pub io_merged_recursive: Option<Vec<BlkioEntry>>,
        pub io_time_recursive: Option<Vec<BlkioEntry>>,
        pub sectors_recursive: Option<Vec<BlkioEntry>>,
    }

    #[derive(Default)]
    /// One number of a block device.
    pub struct BlkioEntry {
        pub major: u64,
        pub minor: u64,
        pub op: String,
        pub value: u64,
    }

    #[derive(Default)]
    /// Processor time, of the container and of the machine, in nanoseconds.
    pub struct CpuStats {
        pub cpu_usage: CpuUsage,
        #[serde(skip_serializing_if = "is_zero")]
        pub system_cpu_usage: u64,
        #[serde(skip_serializing_if = "is_zero")]
        pub online_cpus: u32,
        pub throttling_data: ThrottlingData,
    }

    #[derive(Default)]
    /// Processor time of the container.
    pub struct CpuUsage {
        pub total_usage: u64,
        #[serde(skip_serializing_if = "is_zero")]
        pub percpu_usage: Vec<u64>,
        pub usage_in_kernelmode: u64,
        pub usage_in_usermode: u64,
    }

    #[derive(Default)]
    /// How the container was held back.
    pub struct ThrottlingData {
        pub periods: u64,
        pub throttled_periods: u64,
        pub throttled_time: u64,
    }

    #[derive(Default)]
    /// Memory.
    pub struct MemoryStats {
        #[serde(skip_serializing_if = "is_zero")]
        pub usage: u64,
        #[serde(skip_serializing_if = "is_zero")]
        pub max_usage: u64,
        #[serde(skip_serializing_if = "is_zero")]
        pub stats: Arc<BTreeMap<String, u64>>,
        #[serde(skip_serializing_if = "is_zero")]
        pub failcnt: u64,
        #[serde(skip_serializing_if = "is_zero")]
        pub limit: u64,
    }

    #[derive(Default)]
    /// One interface.
    pub struct NetworkStats {
        pub rx_bytes: u64,
        pub rx_packets: u64,
        pub rx_errors: u64,
        pub rx_dropped: u64,
        pub tx_bytes: u64,
        pub tx_packets: u64,
        pub tx_errors: u64,
        pub tx_dropped: u64,
    }
}

impl Default for ContainerStats {
    fn default() -> Self {
        Self {
            read: ZERO_TIME.to_owned(),
            preread: ZERO_TIME.to_owned(),
            pids_stats: PidsStats::default(),
            blkio_stats: BlkioStats::default(),
            num_procs: 0,
            storage_stats: Empty {},
            cpu_stats: CpuStats::default(),
            precpu_stats: CpuStats::default(),
            memory_stats: MemoryStats::default(),
            name: String::new(),
            id: String::new(),
            networks: BTreeMap::new(),
        }
    }
}

/// Parameters of `GET /containers/{id}/stats`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatsQuery {
    /// A document a second, without end.
    pub stream: bool,
    /// Without a stream: at once, with no moment before to compare with.
    pub one_shot: bool,
}

impl StatsQuery {
    /// Reads the parameters.
    #[must_use]
    pub fn read(query: &Query) -> Self {
        Self {
            stream: query.flag_or("stream", true),
            one_shot: query.flag("one-shot"),
        }
    }

    /// Writes the parameters.
    #[must_use]
    pub fn write(&self) -> String {
        QueryWriter::new()
            .with("stream", if self.stream { "1" } else { "0" })
            .flag("one-shot", self.one_shot)
            .finish()
    }
}
