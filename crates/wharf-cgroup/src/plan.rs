//! From the limits of the configuration to a list of file writes.

use wharf_oci::runtime::Resources;

/// What the plan is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Whether it is v2.
    pub v2: bool,
    /// Controllers to be had.
    pub controllers: Vec<String>,
    /// Whether swap is accounted.
    pub swap: bool,
    /// State of an existing group that is to be updated; absent for a new one.
    pub current: Option<Current>,
}

/// What an update of an existing group has to know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Current {
    /// Memory limit in bytes; absent: none.
    pub memory_limit: Option<u64>,
    /// Memory and swap limit in bytes; absent: none.
    pub swap_limit: Option<u64>,
    /// Bytes of memory in use.
    pub memory_usage: u64,
}

/// One write into a file of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Controller whose hierarchy holds the file.
    pub controller: &'static str,
    /// File name.
    pub file: String,
    /// What is written.
    pub value: String,
}

/// The writes, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The writes.
    pub writes: Vec<Write>,
    /// v2: the device filter.
    pub devices: Option<Vec<u64>>,
    /// What was asked for and deliberately not done.
    pub warnings: Vec<String>,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The machine lacks the controller.
    #[error("{key}: the {controller} controller is not available")]
    NoController {
        /// Key of the configuration.
        key: String,
        /// The controller.
        controller: &'static str,
    },
}

/// Plans what `resources` asks for.
pub fn plan(resources: &Resources, target: &Target) -> Result<Plan, PlanError> {
    let _ = (resources, target);
    todo!()
}
