//! Making a container's first process.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::process::Pid;
use wharf_cgroup::{Cgroup, Hierarchies, Joiner};
use wharf_oci::runtime::{Hooks, NamespaceKind, Resources, Seccomp, Spec, State, Status};
use wharf_seccomp::Program;
use wharf_sys::process::{CloneOptions, Cloned};

use crate::channel;
use crate::child::{self, Birth, Waits};
use crate::detour::Detour;
use crate::error::{CreateError, IoError, ProcessError, SpecError, StartError};
use crate::gate::Fifo;
use crate::groundwork::{self, Groundwork};
use crate::hooks;
use crate::namespaces::Namespaces;
use crate::newborn::{self, Newborn, Progress};
use crate::prepare::Prepared;
use crate::process::ProcessPlan;
use crate::rootfs::Builder;
use crate::timeline::{Mark, Timeline};
use crate::user_namespace;

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
    /// What was made of it ahead; made now where nothing was.
    pub groundwork: Option<Groundwork>,
    /// A ready network namespace, joined in place of what the configuration says.
    pub network: Option<OwnedFd>,
    /// A ready user namespace with the mapping that the configuration says, joined in place of a
    /// new one. `network` belongs to it.
    pub user: Option<OwnedFd>,
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
    /// Whether the program begins with every signal blocked: for one that is about to take them all, and
    /// would lose as first process what comes before it has said so.
    pub signals_blocked: bool,
    /// Whether the steps are timed.
    pub timeline: bool,
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

impl Gate {
    /// What the child needs to wait here.
    fn open(self) -> Result<Waits, IoError> {
        match self {
            Self::Caller => Ok(Waits::ForCaller),
            Self::Fifo(path) => match Fifo::open(&path) {
                Ok(fifo) => Ok(Waits::ForReader(fifo)),
                Err(source) => Err(IoError {
                    step: format!("open {}", path.display()),
                    source,
                }),
            },
        }
    }
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
            groundwork: None,
            network: None,
            user: None,
            stdio: Stdio::Inherit,
            seccomp: None,
            preserve_fds: Vec::new(),
            gate: Gate::Caller,
            new_keyring: true,
            pivot: true,
            signals_blocked: false,
            timeline: false,
        }
    }
}

/// A container whose process is set up and waits.
#[derive(Debug)]
pub struct Created {
    newborn: Newborn,
    cgroup: Cgroup,
    filter: Option<Seccomp>,
    hooks: Hooks,
    state: State,
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
    /// The steps up to the program, if they are timed.
    pub timeline: Vec<Mark>,
}

impl From<Newborn> for Running {
    fn from(newborn: Newborn) -> Self {
        let Newborn {
            pid,
            pidfd,
            terminal,
            warnings,
            timeline,
            ..
        } = newborn;
        Self {
            pid,
            pidfd,
            terminal,
            warnings,
            timeline,
        }
    }
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
        self.newborn.pid
    }

    /// Descriptor of the process.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.newborn.pidfd.as_fd()
    }

    /// Takes the master of its terminal.
    pub fn take_terminal(&mut self) -> Option<OwnedFd> {
        self.newborn.terminal.take()
    }

    /// Its cgroup.
    #[must_use]
    pub fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// What could not be done exactly as asked.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.newborn.warnings
    }

    /// Lets the process go on; returns once `execve` has succeeded or failed. Only for
    /// [`Gate::Caller`]; a process behind a FIFO is started with [`crate::open_gate`].
    pub fn start(self) -> Result<Started, StartError> {
        let Self {
            mut newborn,
            cgroup,
            filter,
            hooks,
            state,
        } = self;
        let went = newborn
            .go()
            .and_then(|()| newborn.next(stays, filter.as_ref(), &state));
        if let Err(error) = went {
            let error = newborn.abandon(error);
            groundwork::remove(&cgroup);
            return Err(error.into());
        }
        Ok(started(newborn, cgroup, &hooks, &state))
    }
}

/// Makes the container: everything but `execve`.
pub fn create(launch: Launch<'_>) -> Result<Created, CreateError> {
    bear(launch, true)
}

/// Makes the container and starts it, without the round trip that waiting in between costs.
pub fn run(launch: Launch<'_>) -> Result<Started, CreateError> {
    let Created {
        newborn,
        cgroup,
        hooks,
        state,
        ..
    } = bear(launch, false)?;
    Ok(started(newborn, cgroup, &hooks, &state))
}

fn started(mut newborn: Newborn, cgroup: Cgroup, hooks: &Hooks, state: &State) -> Started {
    if !hooks.poststart.is_empty() {
        let pid = Some(newborn.pid.as_raw_pid());
        let state = State {
            pid,
            status: Status::Running,
            ..state.clone()
        };
        newborn
            .warnings
            .extend(hooks::run_all(&hooks.poststart, "poststart", &state));
    }
    let running = newborn.into();
    Started { running, cgroup }
}

/// Makes the child and goes with it until it waits, or runs.
fn bear(launch: Launch<'_>, wait: bool) -> Result<Created, CreateError> {
    let mut warnings = Vec::new();
    let mut timeline = Timeline::new(launch.timeline);
    timeline.mark("begun");
    let spec = launch.spec;
    let process = spec.process.as_ref().ok_or(SpecError::Missing("process"))?;
    let linux = spec.linux.as_ref().ok_or(SpecError::Missing("linux"))?;
    if linux.intel_rdt.is_some() {
        return Err(SpecError::Unsupported("linux.intelRdt").into());
    }
    let plan = ProcessPlan::parse(
        process,
        spec,
        launch.seccomp,
        launch.preserve_fds,
        &mut warnings,
    )?;
    timeline.mark("plan");
    let namespaces = Namespaces::open(spec, launch.network, launch.user)?;
    let prepared = Prepared::open(spec, launch.bundle, launch.root, &namespaces)?;
    timeline.mark("sources opened");
    plan.give_streams(&launch.stdio, &linux.uid_mappings)?;
    let waits = if wait { launch.gate.open()? } else { Waits::No };
    let groundwork = match launch.groundwork {
        Some(groundwork) => groundwork,
        None => {
            let path = linux.cgroups_path.as_deref();
            let path = path.filter(|path| !path.is_empty()).unwrap_or(launch.id);
            let none = Resources::default();
            let resources = linux.resources.as_ref().unwrap_or(&none);
            Groundwork::lay(Path::new(path), resources, launch.hierarchies)?
        }
    };
    warnings.extend_from_slice(groundwork.warnings());
    timeline.mark("cgroup made");
    let hooks = spec.hooks.clone().unwrap_or_default();
    let state = state(launch.id, spec, launch.bundle);
    let newborn = clone(Clone {
        birth: Birth {
            id: launch.id,
            builder: Builder {
                spec,
                linux,
                prepared: &prepared,
                namespaces: &namespaces,
                cgroup: groundwork.cgroup(),
                hierarchies: launch.hierarchies,
            },
            process: plan,
            stdio: launch.stdio,
            state: state.clone(),
            waits,
            new_keyring: launch.new_keyring,
            pivot: launch.pivot,
            signals_blocked: launch.signals_blocked,
            timeline,
        },
        joiner: groundwork.joiner(),
        hooks: &hooks,
        warnings,
    })?;
    Ok(Created {
        newborn,
        cgroup: groundwork.keep(),
        filter: linux.seccomp.clone(),
        hooks,
        state,
    })
}

struct Clone<'a> {
    birth: Birth<'a>,
    joiner: &'a Joiner,
    hooks: &'a Hooks,
    warnings: Vec<String>,
}

fn clone(clone: Clone<'_>) -> Result<Newborn, CreateError> {
    let Clone {
        birth,
        joiner,
        hooks,
        warnings,
    } = clone;
    let io = |step: &'static str| {
        move |source| {
            CreateError::Io(IoError {
                step: step.to_owned(),
                source,
            })
        }
    };
    let (linux, namespaces) = (birth.builder.linux, birth.builder.namespaces);
    let (caller, child) = channel::pair().map_err(io("connect to the container's process"))?;
    let mut detour = Detour::take(linux, namespaces)?;
    // What joins a user namespace makes its other namespaces from inside of it.
    let new = (!namespaces.joins(NamespaceKind::User)).then(|| child::cloned_with(namespaces));
    let cloned = wharf_sys::process::clone_process(&CloneOptions {
        namespaces: new,
        cgroup: birth.builder.cgroup.v2_dir(),
        sibling: false,
    });
    if let Ok(Cloned::Child) = cloned {
        drop(caller);
        child::live(birth, joiner, child);
    }
    detour.back()?;
    drop(child);
    let (pid, pidfd) = match cloned.map_err(io("clone the container's process"))? {
        Cloned::Parent { pid, pidfd } => (pid, pidfd),
        Cloned::Child => unreachable!("the child never returns"),
    };
    let mut newborn = Newborn::new(pid, pidfd, caller, warnings);
    raise(&mut newborn, &birth, hooks).map_err(|error| match error {
        CreateError::Process(error) => newborn.abandon(error).into(),
        error => {
            // The child dies with its connection; what is told is the first error.
            newborn.abandon(ProcessError::Refused(String::new()));
            error
        }
    })?;
    Ok(newborn)
}

/// Does the caller's part until the child waits or runs.
fn raise(newborn: &mut Newborn, birth: &Birth<'_>, hooks: &Hooks) -> Result<(), CreateError> {
    let Builder {
        linux, namespaces, ..
    } = birth.builder;
    let process = &birth.process;
    let adopt = |pid, warnings: &mut Vec<String>| {
        newborn::adjust(pid, process.limits(), process.oom_score_adj(), warnings)
    };
    if namespaces.is_new(NamespaceKind::User) {
        user_namespace::write_maps(newborn.pid, &linux.uid_mappings, &linux.gid_mappings)?;
        adopt(newborn.pid, &mut newborn.warnings)?;
        newborn.go()?;
    }
    loop {
        match newborn.next(adopt, linux.seccomp.as_ref(), &birth.state)? {
            Progress::Namespaces => {
                let pid = Some(newborn.pid.as_raw_pid());
                let state = State {
                    pid,
                    ..birth.state.clone()
                };
                hooks::run(&hooks.prestart, "prestart", &state)?;
                hooks::run(&hooks.create_runtime, "createRuntime", &state)?;
                newborn.go()?;
            }
            Progress::Ready => return Ok(()),
            Progress::Runs if matches!(birth.waits, Waits::No) => return Ok(()),
            Progress::Runs => return Err(ProcessError::Died(String::new()).into()),
        }
    }
}

/// A process that does not change.
fn stays(_: Pid, _: &mut Vec<String>) -> Result<(), ProcessError> {
    Ok(())
}

/// The state document of a container being made.
fn state(id: &str, spec: &Spec, bundle: &Path) -> State {
    State {
        oci_version: wharf_oci::runtime::VERSION.to_owned(),
        id: id.to_owned(),
        status: Status::Creating,
        pid: None,
        bundle: bundle.to_owned(),
        annotations: spec.annotations.clone(),
    }
}
