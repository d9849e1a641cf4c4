//! The directories of one group in all hierarchies.

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal};

use crate::hierarchies::Hierarchies;
use crate::oom::OomWatch;
use crate::plan::{Current, Plan};
use crate::stats::{Stats, StatsError};

/// One group: its directory in each hierarchy, held open.
#[derive(Debug)]
pub struct Cgroup {}

/// Files through which the calling thread can put itself into a group; they stay usable after
/// pivot_root and need no allocation.
#[derive(Debug)]
pub struct Joiner {}

/// Why an operation on a group failed.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// A file or directory of the group.
    #[error("cannot {operation} {path}")]
    Io {
        /// What was tried: `create`, `open`, `read`, `write "…" to`, `remove`.
        operation: String,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
}

impl Cgroup {
    /// Makes the group `path` (from the hierarchies' mount points; relative is the same) and
    /// writes `plan`. A group that exists is taken over when no process is in it, else
    /// [`CgroupError`] says so. What was made is removed again when a step fails.
    pub fn create(
        hierarchies: &Hierarchies,
        path: &Path,
        plan: &Plan,
    ) -> Result<Self, CgroupError> {
        let _ = (hierarchies, path, plan);
        todo!()
    }

    /// Opens an existing group.
    pub fn open(hierarchies: &Hierarchies, path: &Path) -> Result<Self, CgroupError> {
        let _ = (hierarchies, path);
        todo!()
    }

    /// Path of the group from the mount points.
    #[must_use]
    pub fn path(&self) -> &Path {
        todo!()
    }

    /// Directory of the group for a controller, if the machine has that controller.
    #[must_use]
    pub fn dir(&self, controller: &str) -> Option<&Path> {
        let _ = controller;
        todo!()
    }

    /// All directories of the group, one a hierarchy, keyed as in runc's state (`memory`, `cpu`, `name=systemd`, `` on v2).
    pub fn dirs(&self) -> impl Iterator<Item = (&str, &Path)> {
        std::iter::empty()
    }

    /// Writes `plan` into the group.
    pub fn apply(&self, plan: &Plan) -> Result<(), CgroupError> {
        let _ = plan;
        todo!()
    }

    /// What a plan that updates this group has to know: `Target { current: Some(group.current()?), ..hierarchies.target() }`.
    pub fn current(&self) -> Result<Current, CgroupError> {
        todo!()
    }

    /// Opens what a child needs to put itself in. On v2 there is nothing to open: clone into
    /// [`Self::v2_dir`], or for a process that exists call [`Joiner::join`], which works there too.
    pub fn joiner(&self) -> Result<Joiner, CgroupError> {
        todo!()
    }

    /// The directory for `clone3` with `CLONE_INTO_CGROUP`: on v2 always, on v1 when the unified
    /// hierarchy is used beside (then both this and the joiner).
    #[must_use]
    pub fn v2_dir(&self) -> Option<BorrowedFd<'_>> {
        todo!()
    }

    /// Stops all processes of the group; returns when they are stopped.
    pub fn freeze(&self) -> Result<(), CgroupError> {
        todo!()
    }

    /// Lets them run again.
    pub fn thaw(&self) -> Result<(), CgroupError> {
        todo!()
    }

    /// Whether the group is frozen.
    pub fn frozen(&self) -> Result<bool, CgroupError> {
        todo!()
    }

    /// Sends `signal` to every process of the group and of the groups below it, none escaping by
    /// forking.
    pub fn kill_all(&self, signal: Signal) -> Result<(), CgroupError> {
        let _ = signal;
        todo!()
    }

    /// Processes of the group and of the groups below it.
    pub fn pids(&self) -> Result<Vec<Pid>, CgroupError> {
        todo!()
    }

    /// Numbers for `events --stats` and the engine's `stats`.
    pub fn stats(&self) -> Result<Stats, StatsError> {
        todo!()
    }

    /// A descriptor that becomes readable when the group runs out of memory.
    pub fn watch_oom(&self) -> Result<OomWatch, CgroupError> {
        todo!()
    }

    /// How many processes of the group the out-of-memory killer has killed.
    pub fn oom_kills(&self) -> Result<u64, CgroupError> {
        todo!()
    }

    /// Removes the group and the groups below it from all hierarchies. A process that is just
    /// dying is waited for; one that lives is an error. Gone already is fine.
    pub fn remove(&self) -> Result<(), CgroupError> {
        todo!()
    }
}

impl Joiner {
    /// Puts the calling thread into the group: one write a hierarchy. Call it while the process has one thread.
    pub fn join(&self) -> std::io::Result<()> {
        todo!()
    }

    /// Puts another process in, for rare uses: on v1 this can take ten milliseconds.
    pub fn join_process(&self, pid: Pid) -> std::io::Result<()> {
        let _ = pid;
        todo!()
    }
}
