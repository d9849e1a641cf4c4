//! The child's side of `create`: from the clone to the program.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::fs::{Mode, OFlags};
use rustix::process::DumpableBehavior;
use rustix::thread::ThreadNameSpaceType;
use wharf_cgroup::Joiner;
use wharf_oci::runtime::{Hooks, NamespaceKind, State, Status};
use wharf_sys::process::{CloneOptions, Cloned};

use crate::channel::ChildEnd;
use crate::error::ProcessError;
use crate::gate::{Fifo, Opened};
use crate::hooks;
use crate::launch::Stdio;
use crate::namespaces::{self, Namespaces};
use crate::process::{ProcessPlan, setup, step};
use crate::rootfs::{Builder, Console};
use crate::timeline::Timeline;

/// What the child is made from; a copy of the caller's memory.
pub(crate) struct Birth<'a> {
    pub(crate) id: &'a str,
    pub(crate) builder: Builder<'a>,
    pub(crate) process: ProcessPlan,
    pub(crate) stdio: Stdio,
    pub(crate) state: State,
    pub(crate) waits: Waits,
    pub(crate) new_keyring: bool,
    pub(crate) pivot: bool,
    pub(crate) signals_blocked: bool,
    pub(crate) timeline: Timeline,
}

/// Whether the child waits before it becomes its program.
pub(crate) enum Waits {
    No,
    ForCaller,
    ForReader(Fifo),
}

/// Namespaces made by the clone itself; the others are made before or after it.
pub(crate) fn cloned_with(namespaces: &Namespaces) -> ThreadNameSpaceType {
    // Time is the caller's to prepare, because its offsets are fixed by the first process in it.
    namespaces.new - (made_after(namespaces) | ThreadNameSpaceType::TIME)
}

/// Namespaces that the child makes for itself.
fn made_after(namespaces: &Namespaces) -> ThreadNameSpaceType {
    // A cgroup namespace's root is the group of whoever makes it, so the child has to be in its group.
    let mut kinds = ThreadNameSpaceType::CONTROL_GROUP;
    if namespaces.has(NamespaceKind::User) {
        // Message queues belong to whoever makes the namespace, which is root only once it is mapped.
        kinds |= ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION;
    }
    kinds & namespaces.new
}

/// Goes through the whole birth; returns only when it fails, and by then has reported why.
pub(crate) fn live(birth: Birth<'_>, joiner: &Joiner, mut caller: ChildEnd) -> ! {
    // Nothing is dropped in here: descriptors are closed by execve, the exit, or all at once.
    let mut birth = ManuallyDrop::new(birth);
    let mut opened = None;
    // A panic must not unwind into the caller's code, which this process is a copy of.
    let lived = catch_unwind(AssertUnwindSafe(|| {
        birth.live(joiner, &mut caller, &mut opened)
    }));
    let failed = match lived {
        Ok(Ok(never)) => match never {},
        Ok(Err(failed)) => failed,
        Err(_) => ProcessError::Died("a panic".to_owned()),
    };
    let reported = match opened {
        Some(reader) => Opened::failed(reader, &failed),
        None => caller.failed(&failed),
    };
    // Where nobody is there to hear it, only the exit code is left.
    wharf_sys::process::exit_now(if reported.is_ok() { 1 } else { 2 });
}

impl Birth<'_> {
    fn live(
        &mut self,
        joiner: &Joiner,
        caller: &mut ChildEnd,
        opened: &mut Option<Opened>,
    ) -> Result<Infallible, ProcessError> {
        self.timeline.mark("clone");
        setup("reset signals", wharf_sys::process::reset_signals())?;
        setup(
            "get out of the way",
            caller.move_above(self.process.first_free_fd()),
        )?;
        setup("join the cgroup", joiner.join())?;
        self.timeline.mark("cgroup joined");
        let label = self.process.open_label()?;
        if let Waits::ForReader(fifo) = &mut self.waits {
            setup("open /proc/self/fd", fifo.adopt())?;
        }
        self.join_user_namespace(caller)?;
        let mapped = self.become_root(caller)?;
        if !mapped {
            set_oom_score(self.process.oom_score_adj())?;
        }
        self.join_namespaces()?;
        self.set_identity()?;
        self.timeline.mark("namespaces joined, names set");
        self.wait_for_hooks(caller)?;
        let console = self.build_root(caller)?;
        self.timeline.mark("root changed");
        self.take_streams(console)?;
        let program = self.process.settle(caller, !mapped)?;
        self.timeline.mark("user and capabilities set");
        if let Some(marks) = self.timeline.take() {
            setup("report the timeline", caller.timeline(&marks))?;
        }
        self.pass_gate(caller, label.as_ref(), opened)?;
        self.hook(
            "startContainer",
            |hooks| &hooks.start_container,
            Status::Created,
        )?;
        if self.signals_blocked {
            setup("block signals", wharf_sys::signal::block_all())?;
        }
        self.process.execute(&program, label, caller)
    }

    fn namespaces(&self) -> &Namespaces {
        self.builder.namespaces
    }

    /// Joins a user namespace. The new namespaces have to belong to it, so a second process is
    /// made in it, which becomes the caller's child in the place of this one.
    fn join_user_namespace(&self, caller: &ChildEnd) -> Result<(), ProcessError> {
        let Some(user) = self.namespaces().joined(NamespaceKind::User) else {
            return Ok(());
        };
        let kind = namespaces::link(NamespaceKind::User);
        rustix::thread::move_into_link_name_space(user.as_fd(), Some(kind))
            .map_err(step("join the user namespace"))?;
        let options = CloneOptions {
            namespaces: Some(cloned_with(self.namespaces())),
            sibling: true,
            ..CloneOptions::default()
        };
        let cloned = wharf_sys::process::clone_process(&options);
        match setup("clone into the user namespace", cloned)? {
            Cloned::Child => Ok(()),
            Cloned::Parent { pidfd, .. } => {
                setup("report the new process", caller.moved(pidfd.as_fd()))?;
                wharf_sys::process::exit_now(0);
            }
        }
    }

    /// In a user namespace, waits for the mapping and becomes its root; whether there is one.
    fn become_root(&self, caller: &ChildEnd) -> Result<bool, ProcessError> {
        if !self.namespaces().has(NamespaceKind::User) {
            return Ok(false);
        }
        setup("wait for the id mapping", caller.wait())?;
        let (gid, uid) = (rustix::fs::Gid::ROOT, rustix::fs::Uid::ROOT);
        rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(step("become root"))?;
        rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(step("become root"))?;
        rustix::thread::set_thread_groups(&[]).map_err(step("drop groups"))?;
        // Changing ids makes a process undumpable or dumpable by the kernel's own rules.
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .map_err(step("become undumpable"))?;
        Ok(true)
    }

    fn join_namespaces(&self) -> Result<(), ProcessError> {
        for (kind, namespace) in &self.namespaces().join {
            if *kind == NamespaceKind::User || self.namespaces().born_into(*kind) {
                continue;
            }
            rustix::thread::move_into_link_name_space(
                namespace.as_fd(),
                Some(namespaces::link(*kind)),
            )
            .map_err(|errno| {
                step(&format!("join the {} namespace", namespaces::name(*kind)))(errno)
            })?;
        }
        let own = made_after(self.namespaces());
        if !own.is_empty() {
            setup(
                "make the cgroup and IPC namespaces",
                wharf_sys::namespace::unshare(own),
            )?;
        }
        if self.namespaces().is_new(NamespaceKind::Network) {
            crate::loopback::up().map_err(step("bring up the loopback interface"))?;
        }
        Ok(())
    }

    fn set_identity(&self) -> Result<(), ProcessError> {
        rustix::process::setsid().map_err(step("setsid"))?;
        if self.new_keyring {
            let name = CString::new(format!("_ses.{}", self.id)).unwrap_or_default();
            new_keyring(Some(&name))?;
        }
        // Modes are given exactly from here on, and nothing is made before.
        rustix::process::umask(Mode::empty());
        let spec = self.builder.spec;
        if let Some(name) = spec.hostname.as_deref().filter(|name| !name.is_empty()) {
            rustix::system::sethostname(name.as_bytes()).map_err(step("sethostname"))?;
        }
        if let Some(name) = spec.domainname.as_deref().filter(|name| !name.is_empty()) {
            rustix::system::setdomainname(name.as_bytes()).map_err(step("setdomainname"))?;
        }
        Ok(())
    }

    /// Lets the caller run the hooks of its side, if there are any.
    fn wait_for_hooks(&self, caller: &ChildEnd) -> Result<(), ProcessError> {
        let hooks = self.builder.spec.hooks.as_ref();
        if hooks.is_none_or(|hooks| hooks.prestart.is_empty() && hooks.create_runtime.is_empty()) {
            return Ok(());
        }
        setup("report the namespaces", caller.namespaces())?;
        setup("wait for the hooks", caller.wait())
    }

    fn build_root(&mut self, caller: &ChildEnd) -> Result<Option<Console>, ProcessError> {
        self.builder.build(self.process.cwd(), &mut self.timeline)?;
        let console = match self.stdio {
            Stdio::Terminal => Some(self.builder.console(caller)?),
            Stdio::Inherit | Stdio::Pipes { .. } => None,
        };
        self.hook(
            "createContainer",
            |hooks| &hooks.create_container,
            Status::Creating,
        )?;
        self.builder.seal()?;
        self.timeline.mark("paths masked");
        self.builder.enter(self.pivot)?;
        rustix::process::umask(Mode::from_raw_mode(0o022));
        Ok(console)
    }

    fn take_streams(&mut self, console: Option<Console>) -> Result<(), ProcessError> {
        let stdio = std::mem::replace(&mut self.stdio, Stdio::Inherit);
        take_streams(stdio, console.as_ref())
    }

    /// Waits to be started, if that is wanted.
    fn pass_gate(
        &mut self,
        caller: &ChildEnd,
        label: Option<&OwnedFd>,
        opened: &mut Option<Opened>,
    ) -> Result<(), ProcessError> {
        if let Waits::ForReader(_) = self.waits {
            // Nobody takes the listener after the caller has gone.
            self.process.install_listener(caller)?;
        }
        match &self.waits {
            Waits::No => Ok(()),
            Waits::ForCaller => {
                setup("report readiness", caller.ready())?;
                setup("wait for the start", caller.wait())
            }
            Waits::ForReader(fifo) => {
                setup("report readiness", caller.ready())?;
                // The wait may be long, and what the caller had open (its locks, pipes of its own
                // caller) must not stay open for it.
                let kept = self
                    .process
                    .inherited()
                    .iter()
                    .chain(label)
                    .map(AsFd::as_fd);
                let kept: Vec<_> = kept
                    .chain(fifo.descriptors())
                    .chain([caller.as_fd()])
                    .collect();
                setup(
                    "close descriptors",
                    wharf_sys::process::close_all_but(&kept),
                )?;
                *opened = Some(setup("wait for the start", fifo.wait())?);
                Ok(())
            }
        }
    }

    fn hook(
        &self,
        point: &str,
        of: fn(&Hooks) -> &Vec<wharf_oci::runtime::Hook>,
        status: Status,
    ) -> Result<(), ProcessError> {
        let Some(hooks) = &self.builder.spec.hooks else {
            return Ok(());
        };
        let pid = Some(rustix::process::getpid().as_raw_pid());
        let state = State {
            pid,
            status,
            ..self.state.clone()
        };
        hooks::run(of(hooks), point, &state)
    }
}

/// Puts the standard streams in their places.
pub(crate) fn take_streams(stdio: Stdio, console: Option<&Console>) -> Result<(), ProcessError> {
    let place = |stdin: &OwnedFd, stdout: &OwnedFd, stderr: &OwnedFd| {
        rustix::stdio::dup2_stdin(stdin)?;
        rustix::stdio::dup2_stdout(stdout)?;
        rustix::stdio::dup2_stderr(stderr)
    };
    match (stdio, console) {
        (
            Stdio::Pipes {
                stdin,
                stdout,
                stderr,
            },
            _,
        ) => place(&stdin, &stdout, &stderr).map_err(step("place the standard streams")),
        (Stdio::Terminal, Some(console)) => {
            console.control()?;
            let peer = console.peer();
            rustix::stdio::dup2_stdin(peer)
                .and_then(|()| rustix::stdio::dup2_stdout(peer))
                .and_then(|()| rustix::stdio::dup2_stderr(peer))
                .map_err(step("place the terminal"))
        }
        (Stdio::Inherit | Stdio::Terminal, _) => Ok(()),
    }
}

/// Gives the process a session keyring of its own, where the kernel has keyrings: the caller's would
/// show the container the keys of whoever started the engine.
pub(crate) fn new_keyring(name: Option<&CStr>) -> Result<(), ProcessError> {
    match wharf_sys::process::join_session_keyring(name) {
        Err(error) if error.kind() == std::io::ErrorKind::Unsupported => Ok(()),
        result => setup("join a session keyring", result),
    }
}

/// Sets the score in the host's `/proc`, before the container's is in the way.
pub(crate) fn set_oom_score(score: Option<i32>) -> Result<(), ProcessError> {
    let Some(score) = score else { return Ok(()) };
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open("/proc/self/oom_score_adj", flags, Mode::empty())
        .map_err(step("open oom_score_adj"))?;
    rustix::io::write(file, score.to_string().as_bytes()).map_err(step("write oom_score_adj"))?;
    Ok(())
}
