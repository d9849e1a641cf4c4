//! Joining a container.

use std::os::fd::{BorrowedFd, OwnedFd};

use wharf_cgroup::Cgroup;
use wharf_oci::runtime::{Process, Spec};
use wharf_seccomp::Program;

use crate::error::{ExecError, SpecError};
use crate::launch::{Running, Stdio};

/// A process that joins a running container.
#[derive(Debug)]
pub struct Exec<'a> {
    /// The process.
    pub process: &'a Process,
    /// The container's configuration: its namespaces and its filter.
    pub spec: &'a Spec,
    /// The container's first process.
    pub init: BorrowedFd<'a>,
    /// The container's cgroup.
    pub cgroup: &'a Cgroup,
    /// Standard streams.
    pub stdio: Stdio,
    /// The compiled filter; without it `linux.seccomp` is compiled.
    pub seccomp: Option<Program>,
    /// Descriptors the process gets from 3 on.
    pub preserve_fds: Vec<OwnedFd>,
}

/// Runs a further process in a container; returns once `execve` has succeeded or failed. The
/// process is a child of the caller.
pub fn exec(exec: Exec<'_>) -> Result<Running, ExecError> {
    let _ = exec.process;
    Err(ExecError::Spec(SpecError::Unsupported("exec")))
}
