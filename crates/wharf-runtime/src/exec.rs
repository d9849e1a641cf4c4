//! Joining a container.
//!
//! The caller turns its children's process id namespace to the container's, clones, and turns back, so
//! that the joining process is its own child without a process in between. Limits, the score of the
//! out-of-memory killer and the cgroup are set while the child is still the host's, with its rights;
//! then it joins all other namespaces by one setns(2) on the first process's descriptor. From its birth until
//! `execve` it is undumpable, so that nobody in the container can look into it.

use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::process::DumpableBehavior;
use rustix::thread::{CpuSet, ThreadNameSpaceType};
use wharf_cgroup::{Cgroup, Joiner};
use wharf_oci::runtime::{NamespaceKind, Process, Spec, State, Status};
use wharf_seccomp::Program;
use wharf_sys::process::{CloneOptions, Cloned};

use crate::channel::{self, ChildEnd};
use crate::child::{new_keyring, set_oom_score, take_streams};
use crate::detour::Detour;
use crate::error::{ExecError, IoError, ProcessError, SpecError};
use crate::launch::{Running, Stdio};
use crate::newborn::Newborn;
use crate::process::{ProcessPlan, setup, step};
use crate::rootfs::Console;
use crate::{attributes, namespaces};

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
    let mut warnings = Vec::new();
    let plan = ProcessPlan::parse(
        exec.process,
        exec.spec,
        exec.seccomp,
        exec.preserve_fds,
        &mut warnings,
    )?;
    let kinds = kinds(exec.spec)?;
    let linux = exec.spec.linux.as_ref();
    let mappings = linux.map_or(&[][..], |linux| &linux.uid_mappings);
    plan.give_streams(&exec.stdio, mappings)
        .map_err(ExecError::Process)?;
    let joining = Joining {
        init: exec.init,
        kinds: kinds - ThreadNameSpaceType::PROCESS_ID,
        plan,
        stdio: exec.stdio,
        affinity: affinity(exec.process)?,
        size: exec.process.console_size,
    };
    let joiner = exec.cgroup.joiner().map_err(ExecError::Cgroup)?;
    let io = |step: &'static str| {
        move |source| IoError {
            step: step.to_owned(),
            source,
        }
    };
    let (caller, child) = channel::pair().map_err(io("connect to the process"))?;
    let joins_pids = kinds.contains(ThreadNameSpaceType::PROCESS_ID);
    let mut detour = Detour::to_process(exec.init, joins_pids)?;
    let options = CloneOptions {
        cgroup: exec.cgroup.v2_dir(),
        ..CloneOptions::default()
    };
    let cloned = wharf_sys::process::clone_process(&options);
    if let Ok(Cloned::Child) = cloned {
        drop(caller);
        joining.live(&joiner, child);
    }
    detour.back()?;
    drop(child);
    let (pid, pidfd) = match cloned.map_err(io("clone the process"))? {
        Cloned::Parent { pid, pidfd } => (pid, pidfd),
        Cloned::Child => unreachable!("the child never returns"),
    };
    let mut newborn = Newborn::new(pid, pidfd, caller, warnings);
    let filter = linux.and_then(|linux| linux.seccomp.as_ref());
    if let Err(error) = newborn.next(|_, _| Ok(()), filter, &state(exec.spec)) {
        return Err(newborn.abandon(error).into());
    }
    Ok(newborn.into())
}

/// What the joining child is made from.
struct Joining<'a> {
    init: BorrowedFd<'a>,
    kinds: ThreadNameSpaceType,
    plan: ProcessPlan,
    stdio: Stdio,
    affinity: (Option<CpuSet>, Option<CpuSet>),
    size: Option<wharf_oci::runtime::ConsoleSize>,
}

impl Joining<'_> {
    fn live(self, joiner: &Joiner, mut caller: ChildEnd) -> ! {
        // A panic must not unwind into the caller's code, which this process is a copy of.
        let lived = catch_unwind(AssertUnwindSafe(|| self.join(joiner, &mut caller)));
        let failed = match lived {
            Ok(Ok(never)) => match never {},
            Ok(Err(failed)) => failed,
            Err(_) => ProcessError::Died("a panic".to_owned()),
        };
        // Where nobody is there to hear it, only the exit code is left.
        wharf_sys::process::exit_now(if caller.failed(&failed).is_ok() { 1 } else { 2 });
    }

    fn join(mut self, joiner: &Joiner, caller: &mut ChildEnd) -> Result<Infallible, ProcessError> {
        setup("reset signals", wharf_sys::process::reset_signals())?;
        setup(
            "get out of the way",
            caller.move_above(self.plan.first_free_fd()),
        )?;
        set_affinity(self.affinity.0.as_ref())?;
        setup("join the cgroup", joiner.join())?;
        set_affinity(self.affinity.1.as_ref())?;
        let label = self.plan.open_label()?;
        set_oom_score(self.plan.oom_score_adj())?;
        self.plan.set_limits(caller)?;
        rustix::thread::move_into_thread_name_spaces(self.init, self.kinds)
            .map_err(step("join the container's namespaces"))?;
        if self.kinds.contains(ThreadNameSpaceType::USER) {
            become_root()?;
        }
        rustix::process::setsid().map_err(step("setsid"))?;
        new_keyring(None)?;
        rustix::process::umask(Mode::from_raw_mode(0o022));
        let console = self.console(caller)?;
        take_streams(self.stdio, console.as_ref())?;
        let program = self.plan.settle(caller, false)?;
        self.plan.execute(&program, label, caller)
    }

    /// Makes a terminal in the container's devpts.
    fn console(&self, caller: &ChildEnd) -> Result<Option<Console>, ProcessError> {
        let Stdio::Terminal = self.stdio else {
            return Ok(None);
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root =
            rustix::fs::open(Path::new("/"), flags, Mode::empty()).map_err(step("open /"))?;
        let console = Console::open(root.as_fd(), self.size)?;
        setup("hand over the terminal", caller.terminal(console.master()))?;
        Ok(Some(console))
    }
}

fn undumpable() -> Result<(), ProcessError> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(step("become undumpable"))
}

/// Becomes root of the user namespace just joined.
fn become_root() -> Result<(), ProcessError> {
    let (gid, uid) = (Gid::ROOT, Uid::ROOT);
    rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(step("become root"))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(step("become root"))?;
    undumpable()
}

fn set_affinity(cpus: Option<&CpuSet>) -> Result<(), ProcessError> {
    let Some(cpus) = cpus else { return Ok(()) };
    rustix::thread::sched_setaffinity(None, cpus).map_err(step("set the CPU affinity"))
}

fn affinity(process: &Process) -> Result<(Option<CpuSet>, Option<CpuSet>), SpecError> {
    let Some(affinity) = &process.exec_cpu_affinity else {
        return Ok((None, None));
    };
    let cpus = |list: &Option<String>| list.as_deref().map(attributes::cpus).transpose();
    Ok((cpus(&affinity.initial)?, cpus(&affinity.last)?))
}

/// The namespaces the container does not share with the caller.
fn kinds(spec: &Spec) -> Result<ThreadNameSpaceType, SpecError> {
    let linux = spec.linux.as_ref().ok_or(SpecError::Missing("linux"))?;
    let mut kinds = ThreadNameSpaceType::empty();
    for namespace in &linux.namespaces {
        kinds |= namespaces::flag(namespace.kind);
    }
    if !kinds.contains(namespaces::flag(NamespaceKind::Mount)) {
        return Err(SpecError::Missing("the container's mount namespace"));
    }
    Ok(kinds)
}

/// What a listener is told of the container.
fn state(spec: &Spec) -> State {
    State {
        oci_version: wharf_oci::runtime::VERSION.to_owned(),
        id: String::new(),
        status: Status::Running,
        pid: None,
        bundle: std::path::PathBuf::new(),
        annotations: spec.annotations.clone(),
    }
}
