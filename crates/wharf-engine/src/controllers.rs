//! Which limits this machine's kernel can set: read once, when the engine opens.

use std::fs;
use std::path::Path;

use wharf_cgroup::Hierarchies;
use wharf_wire as wire;

/// What can be limited.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is the kernel's own yes or no about one file"
)]
pub(crate) struct Controllers {
    /// Whether control groups are those of version 2.
    pub(crate) v2: bool,
    pub(crate) memory: bool,
    pub(crate) swap: bool,
    pub(crate) reservation: bool,
    pub(crate) swappiness: bool,
    pub(crate) oom_kill_disable: bool,
    pub(crate) kernel_memory_tcp: bool,
    pub(crate) cpu_shares: bool,
    pub(crate) cpu_quota: bool,
    pub(crate) cpu_realtime: bool,
    pub(crate) pids: bool,
    pub(crate) block_io: bool,
    pub(crate) block_io_weight: bool,
    pub(crate) block_io_weight_device: bool,
    /// The processors and memory nodes there are, as the kernel lists them; `None` without cpusets.
    pub(crate) sets: Option<Sets>,
}

/// Processors and memory nodes, each as a list such as `0-3,8`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sets {
    pub(crate) cpus: String,
    pub(crate) mems: String,
}

impl Controllers {
    /// Looks at the mounted hierarchies.
    pub(crate) fn of(hierarchies: &Hierarchies) -> Self {
        match hierarchies {
            Hierarchies::V1 { swap, .. } => Self::of_v1(hierarchies, *swap),
            Hierarchies::V2 { unified } => {
                let block_io = unified.has("io");
                Self {
                    v2: true,
                    memory: unified.has("memory"),
                    swap: unified.has("memory"),
                    reservation: unified.has("memory"),
                    swappiness: false,
                    oom_kill_disable: false,
                    kernel_memory_tcp: false,
                    cpu_shares: unified.has("cpu"),
                    cpu_quota: unified.has("cpu"),
                    cpu_realtime: false,
                    pids: unified.has("pids"),
                    block_io,
                    block_io_weight: block_io,
                    block_io_weight_device: block_io,
                    sets: unified
                        .has("cpuset")
                        .then(|| {
                            sets(
                                &unified.mount,
                                "cpuset.cpus.effective",
                                "cpuset.mems.effective",
                            )
                        })
                        .flatten(),
                }
            }
        }
    }

    fn of_v1(hierarchies: &Hierarchies, swap: bool) -> Self {
        let root = |controller: &str| hierarchies.dir(controller, Path::new("/"));
        let has = |controller: &str, file: &str| {
            root(controller).is_some_and(|directory| directory.join(file).exists())
        };
        Self {
            v2: false,
            memory: has("memory", "memory.limit_in_bytes"),
            swap,
            reservation: has("memory", "memory.soft_limit_in_bytes"),
            swappiness: has("memory", "memory.swappiness"),
            oom_kill_disable: has("memory", "memory.oom_control"),
            kernel_memory_tcp: has("memory", "memory.kmem.tcp.limit_in_bytes"),
            cpu_shares: has("cpu", "cpu.shares"),
            cpu_quota: has("cpu", "cpu.cfs_quota_us"),
            cpu_realtime: has("cpu", "cpu.rt_runtime_us"),
            pids: root("pids").is_some(),
            block_io: has("blkio", "blkio.throttle.read_bps_device"),
            block_io_weight: has("blkio", "blkio.weight") || has("blkio", "blkio.bfq.weight"),
            block_io_weight_device: has("blkio", "blkio.weight_device")
                || has("blkio", "blkio.bfq.weight_device"),
            sets: root("cpuset").and_then(|directory| {
                sets(&directory, "cpuset.effective_cpus", "cpuset.effective_mems")
            }),
        }
    }
}

fn sets(directory: &Path, cpus: &str, mems: &str) -> Option<Sets> {
    let read = |file: &str| {
        let text = fs::read_to_string(directory.join(file)).ok()?;
        Some(text.trim().to_owned())
    };
    Some(Sets {
        cpus: read(cpus)?,
        mems: read(mems)?,
    })
}

impl Controllers {
    /// Says in `info` what can be limited.
    pub(crate) fn tell(&self, info: &mut wire::SystemInfo) {
        "cgroupfs".clone_into(&mut info.cgroup_driver);
        let version = if self.v2 { "2" } else { "1" };
        version.clone_into(&mut info.cgroup_version);
        info.memory_limit = self.memory;
        info.swap_limit = self.swap;
        info.kernel_memory_tcp = self.kernel_memory_tcp;
        info.cpu_cfs_period = self.cpu_quota;
        info.cpu_cfs_quota = self.cpu_quota;
        info.cpu_shares = self.cpu_shares;
        info.cpu_set = self.sets.is_some();
        info.pids_limit = self.pids;
        info.oom_kill_disable = self.oom_kill_disable;
        let lacking = [
            (self.memory, "memory limit"),
            (self.swap, "swap limit"),
            (self.cpu_shares, "cpu shares"),
            (self.cpu_quota, "cpu cfs quota"),
            (self.sets.is_some(), "cpuset"),
            (self.pids, "pids limit"),
        ];
        let lacking = lacking.into_iter().filter(|(can, _)| !can);
        let warnings = lacking.map(|(_, what)| format!("WARNING: No {what} support"));
        info.warnings.get_or_insert_default().extend(warnings);
    }
}

#[cfg(test)]
impl Controllers {
    /// A machine that can limit everything, with processors 0 and 1 and memory node 0.
    pub(crate) fn all() -> Self {
        Self {
            v2: false,
            memory: true,
            swap: true,
            reservation: true,
            swappiness: true,
            oom_kill_disable: true,
            kernel_memory_tcp: true,
            cpu_shares: true,
            cpu_quota: true,
            cpu_realtime: true,
            pids: true,
            block_io: true,
            block_io_weight: true,
            block_io_weight_device: true,
            sets: Some(Sets {
                cpus: "0-1".to_owned(),
                mems: "0".to_owned(),
            }),
        }
    }
}
