//! From the limits of the configuration to a list of file writes.
//!
//! Planning is pure: what the machine offers comes in as a [`Target`], so that the plans for
//! machines of both kinds are tested as data. A limit that the machine or its version of control
//! groups cannot hold is an error that names the configuration's key; the few things that are
//! passed over (kernel memory, which the kernel gave up in 5.16) are warnings.

mod devices;
mod v1;
mod v2;

use wharf_oci::runtime::{BlockIo, Cpu, HugepageLimit, Memory, Rdma, Resources};

pub use devices::DeviceProgram;

/// What the plan is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Whether it is v2.
    pub v2: bool,
    /// Controllers to be had.
    pub controllers: Vec<String>,
    /// Controllers of the unified hierarchy; on v2 the same.
    pub unified: Vec<String>,
    /// Whether swap is accounted.
    pub swap: bool,
    /// State of an existing group that is to be updated; absent for a new one. An update leaves
    /// the device rules as they are.
    pub current: Option<Current>,
}

/// What an update of an existing group has to know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Current {
    /// Memory limit in bytes; absent: none.
    pub memory_limit: Option<u64>,
    /// Limit of memory and swap together in bytes; absent: none.
    pub swap_limit: Option<u64>,
    /// Bytes of memory in use.
    pub memory_usage: u64,
}

/// One write into a file of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Controller whose hierarchy holds the file; [`UNIFIED`] for a file of the unified hierarchy
    /// on a v1 machine.
    pub controller: &'static str,
    /// File name.
    pub file: String,
    /// What is written.
    pub value: String,
    /// What a failure means.
    pub failure: Failure,
}

/// The controller of writes that go to the unified hierarchy of a v1 machine.
pub const UNIFIED: &str = "unified";

/// What the failure of a write means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The plan fails.
    Fatal,
    /// A missing file means that the kernel has no such limit, which is as good.
    SkipIfMissing,
    /// `EINVAL` may come from a limit that a later write changes: tried again after the next write
    /// that succeeds.
    RetryAfterNext,
    /// A missing file means that the kernel has it under another name, or in other units.
    InsteadIfMissing {
        /// The other file.
        file: String,
        /// What is written there.
        value: String,
    },
}

/// The writes, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The writes.
    pub writes: Vec<Write>,
    /// v2: the device filter; absent when all devices are allowed.
    pub devices: Option<DeviceProgram>,
    /// What was asked for and deliberately not done.
    pub warnings: Vec<String>,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The machine lacks the controller.
    #[error("{key}: the {controller} cgroup controller is not available")]
    NoController {
        /// Key of the configuration.
        key: String,
        /// The controller.
        controller: String,
    },
    /// The limit exists in the other version only.
    #[error("{key} does not exist on cgroup v{version}")]
    NotInThisVersion {
        /// Key of the configuration.
        key: String,
        /// The machine's version.
        version: u8,
    },
    /// A value outside the range the kernel takes.
    #[error("{key}: {value} is not within {range}")]
    OutOfRange {
        /// Key of the configuration.
        key: &'static str,
        /// The value.
        value: i64,
        /// What is.
        range: &'static str,
    },
    /// A value that is not of the key's form.
    #[error("{key}: {value:?} is not {form}")]
    Malformed {
        /// Key of the configuration.
        key: String,
        /// The value.
        value: String,
        /// What it should be.
        form: &'static str,
    },
    /// Swap limits need a kernel that accounts swap.
    #[error("memory.swap: the kernel does not account swap")]
    NoSwapAccounting,
    /// The swap limit counts memory too.
    #[error("memory.swap: the limit of memory and swap ({swap}) is below that of memory ({limit})")]
    SwapBelowMemory {
        /// Limit of both.
        swap: i64,
        /// Limit of memory.
        limit: i64,
    },
    /// v2 limits swap apart from memory, so that the sum alone says nothing.
    #[error("memory.swap: a swap limit needs a memory limit")]
    SwapWithoutMemory,
    /// The configuration asked for this check.
    #[error("memory.limit: {limit} is below the {usage} bytes in use")]
    LimitBelowUsage {
        /// The limit.
        limit: i64,
        /// In use.
        usage: u64,
    },
    /// The v1 device controller knows a default and exact exceptions from it.
    #[error("devices: {rule} cannot be taken out of {wider}, which cgroup v1 holds as a whole")]
    DeviceRuleOverlap {
        /// The rule.
        rule: String,
        /// The rule before it.
        wider: String,
    },
}

/// Plans what `resources` asks for.
pub fn plan(resources: &Resources, target: &Target) -> Result<Plan, PlanError> {
    check(resources, target)?;
    let mut draft = Draft {
        target,
        plan: Plan::default(),
    };
    if target.v2 {
        v2::draft(resources, &mut draft)?;
    } else {
        v1::draft(resources, &mut draft)?;
    }
    Ok(draft.plan)
}

impl Plan {
    /// Whether a v1 machine's unified hierarchy is written to.
    #[must_use]
    pub fn uses_unified(&self) -> bool {
        self.writes.iter().any(|write| write.controller == UNIFIED)
    }
}

/// A plan in the making.
struct Draft<'a> {
    target: &'a Target,
    plan: Plan,
}

impl Draft<'_> {
    /// Adds a write after making sure that the controller exists; `key` is the configuration's.
    fn write(
        &mut self,
        key: &str,
        controller: &'static str,
        file: &str,
        value: impl ToString,
    ) -> Result<(), PlanError> {
        self.write_or(key, controller, file, value, Failure::Fatal)
    }

    fn write_or(
        &mut self,
        key: &str,
        controller: &'static str,
        file: &str,
        value: impl ToString,
        failure: Failure,
    ) -> Result<(), PlanError> {
        let offered = match controller {
            UNIFIED => true,
            _ => self.target.controllers.iter().any(|one| one == controller),
        };
        if !offered {
            return Err(PlanError::NoController {
                key: key.to_owned(),
                controller: controller.to_owned(),
            });
        }
        self.plan.writes.push(Write {
            controller,
            file: file.to_owned(),
            value: value.to_string(),
            failure,
        });
        Ok(())
    }

    /// Adds a write into a file that groups have without any controller (v2).
    fn core(&mut self, file: &str, value: &str) {
        self.plan.writes.push(Write {
            controller: "cgroup",
            file: file.to_owned(),
            value: value.to_owned(),
            failure: Failure::Fatal,
        });
    }

    /// Huge page limits: the reservation limit too, where the kernel has it.
    fn hugepages(
        &mut self,
        limits: &[HugepageLimit],
        controller: &'static str,
        suffix: &str,
    ) -> Result<(), PlanError> {
        for limit in limits {
            let size = &limit.page_size;
            if !is_page_size(size) {
                return Err(PlanError::Malformed {
                    key: "hugepageLimits.pageSize".to_owned(),
                    value: size.clone(),
                    form: "a page size such as 2MB",
                });
            }
            let key = "hugepageLimits";
            self.write(
                key,
                controller,
                &format!("hugetlb.{size}.{suffix}"),
                limit.limit,
            )?;
            self.write_or(
                key,
                controller,
                &format!("hugetlb.{size}.rsvd.{suffix}"),
                limit.limit,
                Failure::SkipIfMissing,
            )?;
        }
        Ok(())
    }

    /// RDMA limits; the file is the same in both versions.
    fn rdma(&mut self, device: &str, limit: &Rdma) -> Result<(), PlanError> {
        if device.is_empty() || device.contains(char::is_whitespace) {
            return Err(PlanError::Malformed {
                key: "rdma".to_owned(),
                value: device.to_owned(),
                form: "a device name",
            });
        }
        let mut line = device.to_owned();
        if let Some(handles) = limit.hca_handles {
            line += &format!(" hca_handle={handles}");
        }
        if let Some(objects) = limit.hca_objects {
            line += &format!(" hca_object={objects}");
        }
        self.write("rdma", "rdma", "rdma.max", line)
    }

    fn cpuset(&mut self, cpu: &Cpu) -> Result<(), PlanError> {
        for (key, file, list) in [
            ("cpu.cpus", "cpuset.cpus", &cpu.cpus),
            ("cpu.mems", "cpuset.mems", &cpu.mems),
        ] {
            let Some(list) = list.as_deref().filter(|list| !list.is_empty()) else {
                continue;
            };
            if !list
                .chars()
                .all(|c| c.is_ascii_digit() || matches!(c, ',' | '-' | ':' | '/'))
            {
                return Err(PlanError::Malformed {
                    key: key.to_owned(),
                    value: list.to_owned(),
                    form: "a list such as 0-3,7",
                });
            }
            self.write(key, "cpuset", file, list)?;
        }
        Ok(())
    }

    /// The values of an absent limit and of one below 1 are both no limit.
    fn pids(&mut self, limit: i64) -> Result<(), PlanError> {
        if limit > 0 {
            self.write("pids.limit", "pids", "pids.max", limit)
        } else {
            self.write("pids.limit", "pids", "pids.max", "max")
        }
    }

    fn warn_of_kernel_memory(&mut self, memory: &Memory) {
        for (key, value) in [("kernel", memory.kernel), ("kernelTCP", memory.kernel_tcp)] {
            if value.is_some_and(|value| value > 0) {
                self.plan.warnings.push(format!(
                    "memory.{key} is not limited: the kernel gave it up"
                ));
            }
        }
    }
}

/// Checks the values that mean the same in both versions.
fn check(resources: &Resources, target: &Target) -> Result<(), PlanError> {
    if let Some(memory) = &resources.memory {
        check_memory(memory, target)?;
    }
    if let Some(cpu) = &resources.cpu {
        // The kernel clamps silently, and a limit that is not the asked one is none.
        if let Some(shares @ (..2 | 262_145..)) = set_u64(cpu.shares) {
            return Err(PlanError::OutOfRange {
                key: "cpu.shares",
                value: i64::try_from(shares).unwrap_or(i64::MAX),
                range: "2 to 262144",
            });
        }
        if let Some(idle @ (..0 | 2..)) = cpu.idle {
            return Err(PlanError::OutOfRange {
                key: "cpu.idle",
                value: idle,
                range: "0 to 1",
            });
        }
    }
    if let Some(block_io) = &resources.block_io {
        check_weights(block_io)?;
    }
    Ok(())
}

fn check_memory(memory: &Memory, target: &Target) -> Result<(), PlanError> {
    for (key, value) in [
        ("memory.limit", memory.limit),
        ("memory.swap", memory.swap),
        ("memory.reservation", memory.reservation),
    ] {
        if let Some(value @ ..-1) = value {
            return Err(PlanError::OutOfRange {
                key,
                value,
                range: "-1 and above",
            });
        }
    }
    if let (Some(limit @ 1..), Some(swap @ 1..)) = (memory.limit, memory.swap)
        && swap < limit
    {
        return Err(PlanError::SwapBelowMemory { swap, limit });
    }
    if let (Some(true), Some(limit @ 1..), Some(current)) =
        (memory.check_before_update, memory.limit, target.current)
        && current.memory_usage > limit.unsigned_abs()
    {
        return Err(PlanError::LimitBelowUsage {
            limit,
            usage: current.memory_usage,
        });
    }
    Ok(())
}

fn check_weights(block_io: &BlockIo) -> Result<(), PlanError> {
    let devices = block_io
        .weight_device
        .iter()
        .flat_map(|device| [device.weight, device.leaf_weight]);
    for weight in devices.chain([block_io.weight, block_io.leaf_weight]) {
        if let Some(weight @ (1..10 | 1001..)) = weight {
            return Err(PlanError::OutOfRange {
                key: "blockIO.weight",
                value: weight.into(),
                range: "10 to 1000",
            });
        }
    }
    Ok(())
}

/// The OCI types leave absent and 0 apart; for most limits both mean unset.
fn set(value: Option<i64>) -> Option<i64> {
    value.filter(|&value| value != 0)
}

fn set_u64(value: Option<u64>) -> Option<u64> {
    value.filter(|&value| value != 0)
}

fn set_u16(value: Option<u16>) -> Option<u16> {
    value.filter(|&value| value != 0)
}

/// Whether `size` is a number and one of KB, MB, GB.
fn is_page_size(size: &str) -> bool {
    let digits = ["KB", "MB", "GB"]
        .iter()
        .find_map(|unit| size.strip_suffix(unit));
    digits.is_some_and(|digits| !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests;
