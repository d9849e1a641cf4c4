//! Making a container's first process.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::process::Pid;
use wharf_cgroup::{Cgroup, Hierarchies};
use wharf_oci::runtime::Spec;
use wharf_seccomp::Program;

use crate::error::{CreateError, StartError};

/// Everything a container is made from.
#[derive(Debug)]
pub struct Launch<'a> {
    /// The container's id.
    pub id: &'a str,
    /// Its configuration.
    pub spec: &'a Spec,
    /// Directory that relative paths of the configuration start from; hooks get it in the state.
    pub bundle: &'a Path,
    /// The machine's cgroup hierarchies; detect them once, before they are needed.
    pub hierarchies: &'a Hierarchies,
    /// The root file system.
    pub root: RootSource,
    /// A ready network namespace, joined in place of what the configuration says.
    pub network: Option<OwnedFd>,
    /// Standard streams.
    pub stdio: Stdio,
    /// The compiled filter; without it `linux.seccomp` is compiled.
    pub seccomp: Option<Program>,
    /// Descriptors the process gets from 3 on.
    pub preserve_fds: Vec<OwnedFd>,
    /// How the created process waits for its start; [`run`] never waits.
    pub gate: Gate,
    /// Whether the process gets a session keyring of its own.
    pub new_keyring: bool,
    /// Whether the root is changed by pivot_root; else by moving the mount and chroot, for a root on a
    /// ramdisk.
    pub pivot: bool,
}

/// Where the root file system comes from.
#[derive(Debug)]
pub enum RootSource {
    /// `root.path` of the configuration.
    Bundle,
    /// A detached mount (fsmount or open_tree), attached only in the container's mount namespace.
    Detached(OwnedFd),
}

/// Standard streams of a process.
#[derive(Debug)]
pub enum Stdio {
    /// The caller's.
    Inherit,
    /// These.
    Pipes {
        /// Standard input.
        stdin: OwnedFd,
        /// Standard output.
        stdout: OwnedFd,
        /// Standard error.
        stderr: OwnedFd,
    },
    /// A pseudo-terminal made inside the container's devpts; the master is handed back.
    Terminal,
}

/// How a created process waits for its start.
#[derive(Debug)]
pub enum Gate {
    /// For [`Created::start`] in the process that created it; it dies with that process.
    Caller,
    /// For a reader of this FIFO, in whatever process, as `wharf runtime start`.
    Fifo(PathBuf),
}

impl<'a> Launch<'a> {
    /// A launch with the usual choices: the bundle's root, the caller's streams.
    #[must_use]
    pub fn new(
        id: &'a str,
        spec: &'a Spec,
        bundle: &'a Path,
        hierarchies: &'a Hierarchies,
    ) -> Self {
        Self {
            id,
            spec,
            bundle,
            hierarchies,
            root: RootSource::Bundle,
            network: None,
            stdio: Stdio::Inherit,
            seccomp: None,
            preserve_fds: Vec::new(),
            gate: Gate::Caller,
            new_keyring: true,
            pivot: true,
        }
    }
}

/// A container whose process is set up and waits.
#[derive(Debug)]
pub struct Created {
    pid: Pid,
    pidfd: OwnedFd,
    terminal: Option<OwnedFd>,
    cgroup: Cgroup,
    warnings: Vec<String>,
}

/// A process that runs its program.
#[derive(Debug)]
pub struct Running {
    /// Its id in the caller's namespace.
    pub pid: Pid,
    /// Its descriptor: readable when the process has ended; it is the caller's to reap.
    pub pidfd: OwnedFd,
    /// Master of its terminal.
    pub terminal: Option<OwnedFd>,
    /// What could not be done exactly as asked.
    pub warnings: Vec<String>,
}

/// A container that runs.
#[derive(Debug)]
pub struct Started {
    /// Its first process.
    pub running: Running,
    /// Its cgroup.
    pub cgroup: Cgroup,
}

impl Created {
    /// Id of the process in the caller's namespace.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Descriptor of the process.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.pidfd.as_fd()
    }

    /// Takes the master of its terminal.
    pub fn take_terminal(&mut self) -> Option<OwnedFd> {
        self.terminal.take()
    }

    /// Its cgroup.
    #[must_use]
    pub fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// What could not be done exactly as asked.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Lets the process go on; returns once `execve` has succeeded or failed.
    pub fn start(self) -> Result<Started, StartError> {
        Err(StartError::Io(std::io::ErrorKind::Unsupported.into()))
    }
}

/// Makes the container: everything but `execve`.
pub fn create(launch: Launch<'_>) -> Result<Created, CreateError> {
    let _ = launch.spec;
    Err(CreateError::Spec(crate::error::SpecError::Unsupported(
        "create",
    )))
}

/// Makes the container and starts it, without the round trip that waiting in between costs.
pub fn run(launch: Launch<'_>) -> Result<Started, CreateError> {
    let _ = launch.spec;
    Err(CreateError::Spec(crate::error::SpecError::Unsupported(
        "run",
    )))
}
