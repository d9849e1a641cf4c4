//! Control groups, v1 and v2: a pure plan of writes, and the directories they are written to.
//!
//! One container's group goes through three steps. [`plan()`] turns the limits of the OCI
//! configuration into a list of file writes (and, on v2, a device program) without touching the
//! kernel, so that what cannot be represented is an error before anything exists.
//! [`Cgroup::create`] makes the directories and writes the plan. Then the process gets in: on v2 by
//! `clone3` with [`Cgroup::v2_dir`], on v1 by a [`Joiner`], with which the still single-threaded
//! child puts itself in; writing a pid from outside costs the kernel ten milliseconds.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::path::Path;
//! let hierarchies = wharf_cgroup::Hierarchies::detect()?;
//! let resources = wharf_oci::runtime::Resources::default();
//! let plan = wharf_cgroup::plan(&resources, &hierarchies.target())?;
//! let cgroup = wharf_cgroup::Cgroup::create(&hierarchies, Path::new("/wharf/1234"), &plan)?;
//! let joiner = cgroup.joiner()?; // v1: hand it to the child, which calls `joiner.join()`
//! # drop(joiner);
//! cgroup.remove()?;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod files;
mod group;
mod hierarchies;
mod oom;
mod plan;
mod stats;

pub use group::{Cgroup, CgroupError, Joiner, Operation};
pub use hierarchies::{DetectError, Hierarchies, Hierarchy};
pub use oom::OomWatch;
pub use plan::{Current, DeviceProgram, Failure, Plan, PlanError, Target, UNIFIED, Write, plan};
pub use stats::{
    BlkioEntry, BlkioOperation, BlkioStats, CpuStats, HugetlbStats, MemoryStats, Meter, PidsStats,
    Stats,
};
