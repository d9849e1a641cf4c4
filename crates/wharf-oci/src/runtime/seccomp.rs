//! The `linux.seccomp` member: a system call filter.

use serde::{Deserialize, Serialize};

use super::State;

/// A system call filter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Seccomp {
    /// Action for calls no rule names, as in `SCMP_ACT_ERRNO`.
    pub default_action: String,
    /// Error number of that action.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_errno_ret: Option<u32>,
    /// Architectures the filter covers, as in `SCMP_ARCH_X86_64`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub architectures: Vec<String>,
    /// Flags of seccomp(2), as in `SECCOMP_FILTER_FLAG_LOG`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// Unix socket that gets the notification descriptor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener_path: Option<String>,
    /// Opaque data for whoever listens there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener_metadata: Option<String>,
    /// Rules.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub syscalls: Vec<SeccompSyscall>,
}

/// A rule: some calls, what their arguments must be, what happens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SeccompSyscall {
    /// Names of the calls.
    pub names: Vec<String>,
    /// Action.
    pub action: String,
    /// Error number of `SCMP_ACT_ERRNO` and `SCMP_ACT_TRACE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno_ret: Option<u32>,
    /// Conditions, all of which must hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<SeccompArg>,
}

/// A condition on one argument.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SeccompArg {
    /// Argument, 0 to 5.
    pub index: u32,
    /// Compared with, or the mask of `SCMP_CMP_MASKED_EQ`.
    pub value: u64,
    /// The second value of `SCMP_CMP_MASKED_EQ`.
    pub value_two: u64,
    /// Comparison, as in `SCMP_CMP_EQ`.
    pub op: String,
}

/// What the listener gets with the descriptor (`runtime.md`, "The Container Process State").
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SeccompState {
    /// Version of the specification.
    pub oci_version: String,
    /// Names of the descriptors sent along, `seccompFd` among them.
    pub fds: Vec<String>,
    /// The container process, in the runtime's pid namespace.
    pub pid: i32,
    /// `listenerMetadata` of the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// State of the container.
    pub state: State,
}
