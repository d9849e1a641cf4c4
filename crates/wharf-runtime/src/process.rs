//! A process of a container, from its configuration to `execve`: the steps that a container's
//! first process and one that joins it have in common, once they are in the right namespaces.
//!
//! The order is forced. The bounding set needs `CAP_SETPCAP`, groups and ids need theirs, so the
//! capabilities go last. A filter needs `CAP_SYS_ADMIN` unless `no_new_privs` is set, so where it is
//! not, that one capability stays until the filter is in, and only capset and execve pass through
//! the filter. With `no_new_privs` even these two come before or are all that comes after.

use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;
use rustix::thread::CapabilitySet;
use wharf_oci::runtime::{IdMapping, Process, Spec};
use wharf_seccomp::{Arch, CompileError, Program};
use wharf_sys::process::SchedulerAttributes;

use crate::capabilities::Sets;
use crate::channel::ChildEnd;
use crate::error::{ProcessError, SpecError};
use crate::launch::Stdio;
use crate::rlimits::{self, Limit};
use crate::{attributes, labels, lookup};

/// A process, understood.
#[derive(Debug)]
pub(crate) struct ProcessPlan {
    args: Vec<CString>,
    env: Vec<CString>,
    program: String,
    path: Option<String>,
    needs_home: bool,
    cwd: PathBuf,
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
    umask: Option<Mode>,
    capabilities: Sets,
    limits: Vec<Limit>,
    no_new_privs: bool,
    oom_score_adj: Option<i32>,
    scheduler: Option<SchedulerAttributes>,
    io_priority: Option<(u16, u16)>,
    personality: Option<u32>,
    label: Option<labels::Label>,
    seccomp: Option<Program>,
    preserve_fds: Vec<OwnedFd>,
}

/// Why a process cannot be planned.
#[derive(Debug)]
pub(crate) enum PlanError {
    Spec(SpecError),
    Seccomp(CompileError),
}

impl From<SpecError> for PlanError {
    fn from(error: SpecError) -> Self {
        Self::Spec(error)
    }
}

impl ProcessPlan {
    /// Understands `process`, a process of a container configured by `spec`.
    pub(crate) fn parse(
        process: &Process,
        spec: &Spec,
        seccomp: Option<Program>,
        preserve_fds: Vec<OwnedFd>,
        warnings: &mut Vec<String>,
    ) -> Result<Self, PlanError> {
        let program = process
            .args
            .first()
            .ok_or(SpecError::Missing("process.args"))?
            .clone();
        if !process.cwd.is_absolute() {
            return Err(SpecError::Invalid {
                member: "process.cwd",
                value: process.cwd.display().to_string(),
                reason: "not an absolute path",
            }
            .into());
        }
        let variable = |name: &str| {
            let value =
                |entry: &String| Some(entry.strip_prefix(name)?.strip_prefix('=')?.to_owned());
            process.env.iter().rev().find_map(value)
        };
        Ok(Self {
            args: attributes::c_strings("process.args", &process.args)?,
            env: attributes::c_strings("process.env", &process.env)?,
            path: variable("PATH"),
            needs_home: variable("HOME").is_none_or(|home| home.is_empty()),
            program,
            cwd: process.cwd.clone(),
            uid: attributes::uid(process.user.uid)?,
            gid: attributes::gid(process.user.gid)?,
            groups: process
                .user
                .additional_gids
                .iter()
                .map(|&gid| attributes::gid(gid))
                .collect::<Result<_, _>>()?,
            umask: process.user.umask.map(Mode::from_raw_mode),
            capabilities: Sets::parse(process.capabilities.as_ref(), warnings),
            limits: rlimits::parse(&process.rlimits)?,
            no_new_privs: process.no_new_privileges,
            oom_score_adj: process.oom_score_adj,
            scheduler: process
                .scheduler
                .as_ref()
                .map(attributes::scheduler)
                .transpose()?,
            io_priority: process
                .io_priority
                .as_ref()
                .map(attributes::io_priority)
                .transpose()?,
            personality: attributes::personality(spec)?,
            label: labels::Label::of(process)?,
            seccomp: filter(seccomp, spec)?,
            preserve_fds,
        })
    }

    /// The working directory, which a new container gets made.
    pub(crate) fn cwd(&self) -> &Path {
        &self.cwd
    }

    /// Limits, which the caller's side sets where the child may not.
    pub(crate) fn limits(&self) -> &[Limit] {
        &self.limits
    }

    /// Score adjustment for the out-of-memory killer.
    pub(crate) fn oom_score_adj(&self) -> Option<i32> {
        self.oom_score_adj
    }

    /// The first descriptor number above those the program inherits.
    pub(crate) fn first_free_fd(&self) -> i32 {
        3 + i32::try_from(self.preserve_fds.len()).unwrap_or(i32::MAX - 3)
    }

    /// Descriptors the program inherits.
    pub(crate) fn inherited(&self) -> &[OwnedFd] {
        &self.preserve_fds
    }

    /// Opens what of the host's `/proc` is needed later; to be called before it is out of reach.
    pub(crate) fn open_label(&self) -> Result<Option<OwnedFd>, ProcessError> {
        self.label.as_ref().map(labels::Label::open).transpose()
    }

    /// Becomes the user with the configuration's attributes, enters the working directory and
    /// finds the program: all that can fail for reasons of the container's own.
    pub(crate) fn settle(
        &mut self,
        caller: &ChildEnd,
        set_limits: bool,
    ) -> Result<CString, ProcessError> {
        if set_limits {
            self.set_limits(caller)?;
        }
        self.set_scheduling()?;
        if let Some(domain) = self.personality {
            setup(
                "set the personality",
                wharf_sys::process::set_personality(domain),
            )?;
        }
        self.capabilities
            .drop_bounding()
            .map_err(step("drop the bounding capabilities"))?;
        let entered = enter(&self.cwd);
        self.become_user()?;
        match entered {
            // The directory may be closed to root and open to the user, as on NFS.
            Err(ProcessError::Cwd { errno, .. }) if errno == Errno::ACCESS.raw_os_error() => {
                enter(&self.cwd)?;
            }
            result => result?,
        }
        if let Some(umask) = self.umask {
            rustix::process::umask(umask);
        }
        self.take_capabilities(caller)?;
        if self.needs_home {
            self.set_home();
        }
        lookup::program(&self.program, self.path.as_deref())
    }

    /// Replaces the process by its program. Everything is checked before; what fails here is the
    /// filter and execve itself.
    pub(crate) fn execute(
        &self,
        program: &CString,
        label: Option<OwnedFd>,
        caller: &ChildEnd,
    ) -> Result<Infallible, ProcessError> {
        if let (Some(label), Some(file)) = (&self.label, &label) {
            label.write(file)?;
        }
        setup(
            "mark descriptors close-on-exec",
            wharf_sys::process::close_on_exec_from(3),
        )?;
        self.install_filter(caller)?;
        let failed = wharf_sys::process::exec(program, &self.args, &self.env, &self.preserve_fds);
        let errno = match failed {
            Ok(never) => match never {},
            Err(error) => error.raw_os_error().unwrap_or_default(),
        };
        Err(ProcessError::Exec {
            program: program.to_string_lossy().into_owned(),
            errno,
        })
    }

    /// Installs the filter now if it notifies somebody.
    pub(crate) fn install_listener(&mut self, caller: &ChildEnd) -> Result<(), ProcessError> {
        if self.seccomp.as_ref().is_some_and(Program::needs_listener) {
            self.install_filter(caller)?;
            self.seccomp = None;
        }
        Ok(())
    }

    fn install_filter(&self, caller: &ChildEnd) -> Result<(), ProcessError> {
        if let Some(filter) = &self.seccomp {
            let listener = setup("install the system call filter", filter.install())?;
            if let Some(listener) = listener {
                use std::os::fd::AsFd;
                setup("hand over the listener", caller.listener(listener.as_fd()))?;
            }
        }
        if self.extra_capabilities().is_empty() {
            return Ok(());
        }
        self.capabilities
            .apply(CapabilitySet::empty())
            .map_err(step("set the capabilities after the filter"))
    }

    /// What is needed beyond the configured capabilities until the filter is installed.
    fn extra_capabilities(&self) -> CapabilitySet {
        if self.seccomp.is_some()
            && !self.no_new_privs
            && !self
                .capabilities
                .effective
                .contains(CapabilitySet::SYS_ADMIN)
        {
            CapabilitySet::SYS_ADMIN
        } else {
            CapabilitySet::empty()
        }
    }

    /// Sets the resource limits of the calling process.
    pub(crate) fn set_limits(&self, caller: &ChildEnd) -> Result<(), ProcessError> {
        for limit in &self.limits {
            let warning = limit.apply(None).map_err(|errno| ProcessError::Setup {
                step: format!("error setting rlimit type {}", limit.name()),
                errno: errno.raw_os_error(),
            })?;
            if let Some(warning) = warning {
                setup("report a warning", caller.warning(&warning))?;
            }
        }
        Ok(())
    }

    fn set_scheduling(&self) -> Result<(), ProcessError> {
        if let Some(attributes) = self.scheduler {
            setup(
                "set the scheduler",
                wharf_sys::process::set_scheduler(attributes),
            )?;
        }
        if let Some((class, priority)) = self.io_priority {
            setup(
                "set the I/O priority",
                wharf_sys::process::set_io_priority(class, priority),
            )?;
        }
        Ok(())
    }

    fn become_user(&self) -> Result<(), ProcessError> {
        if !self.uid.is_root() {
            self.own_streams()?;
        }
        rustix::thread::set_keep_capabilities(true).map_err(step("keep capabilities"))?;
        rustix::thread::set_thread_groups(&self.groups).map_err(step("setgroups"))?;
        rustix::thread::set_thread_res_gid(self.gid, self.gid, self.gid).map_err(step("setgid"))?;
        rustix::thread::set_thread_res_uid(self.uid, self.uid, self.uid).map_err(step("setuid"))?;
        Ok(())
    }

    /// Gives the streams to the user, who could not open `/dev/stderr` otherwise. What is not the
    /// container's alone (devices such as the host's `/dev/null`) stays as it is.
    fn own_streams(&self) -> Result<(), ProcessError> {
        use rustix::stdio::{stderr, stdin, stdout};
        for stream in [stdin(), stdout(), stderr()] {
            if !can_be_owned(stream, self.uid)? {
                continue;
            }
            match rustix::fs::fchown(stream, Some(self.uid), None) {
                // Not ours to give: read-only, of another user namespace, or not a file.
                Ok(()) | Err(Errno::INVAL | Errno::PERM | Errno::ROFS) => {}
                Err(errno) => return Err(step("chown a standard stream")(errno)),
            }
        }
        Ok(())
    }

    /// Gives pipes to the user of a process in a user namespace, whose root has no right over what
    /// is the host's.
    pub(crate) fn give_streams(
        &self,
        stdio: &Stdio,
        mappings: &[IdMapping],
    ) -> Result<(), ProcessError> {
        let Stdio::Pipes {
            stdin,
            stdout,
            stderr,
        } = stdio
        else {
            return Ok(());
        };
        let Some(owner) = IdMapping::outside(mappings, self.uid.as_raw()) else {
            return Ok(());
        };
        let owner = Uid::from_raw(owner);
        for stream in [stdin, stdout, stderr] {
            if can_be_owned(stream.as_fd(), owner)? {
                rustix::fs::fchown(stream, Some(owner), None)
                    .map_err(step("chown a standard stream"))?;
            }
        }
        Ok(())
    }

    fn take_capabilities(&mut self, caller: &ChildEnd) -> Result<(), ProcessError> {
        if self.no_new_privs {
            rustix::thread::set_no_new_privs(true).map_err(step("set no_new_privs"))?;
        }
        let failed = step("unable to apply caps");
        match self.capabilities.apply(self.extra_capabilities()) {
            Err(Errno::PERM) => {
                // Nobody can give what he has not: where the runtime itself was given less than
                // root has, the container gets what there is.
                let missing = self.capabilities.keep_available().map_err(&failed)?;
                let text = format!("not available to the runtime: {}", missing.join(", "));
                setup("report a warning", caller.warning(&text))?;
                self.capabilities
                    .apply(self.extra_capabilities())
                    .map_err(&failed)?;
            }
            result => result.map_err(&failed)?,
        }
        rustix::thread::set_keep_capabilities(false).map_err(step("drop keep capabilities"))?;
        let refused = self
            .capabilities
            .apply_ambient()
            .map_err(step("set ambient capabilities"))?;
        for name in refused {
            let text = format!("cannot raise ambient capability {name}");
            setup("report a warning", caller.warning(&text))?;
        }
        Ok(())
    }

    fn set_home(&mut self) {
        self.env
            .retain(|entry| !entry.as_bytes().starts_with(b"HOME="));
        let mut home = b"HOME=".to_vec();
        home.extend(lookup::home(self.uid.as_raw()));
        // A home directory out of /etc/passwd has no NUL: the file is cut at NULs too.
        self.env.extend(CString::new(home));
    }
}

/// Whether a stream is the container's alone and not yet its user's.
fn can_be_owned(stream: BorrowedFd<'_>, owner: Uid) -> Result<bool, ProcessError> {
    let stat = rustix::fs::fstat(stream).map_err(step("stat a standard stream"))?;
    let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
    let shared = kind == rustix::fs::FileType::CharacterDevice && !rustix::termios::isatty(stream);
    Ok(stat.st_uid != owner.as_raw() && !shared)
}

/// The compiled filter: the one given, or the configuration's.
fn filter(given: Option<Program>, spec: &Spec) -> Result<Option<Program>, PlanError> {
    let configured = spec.linux.as_ref().and_then(|linux| linux.seccomp.as_ref());
    match (given, configured) {
        (None, Some(document)) => wharf_seccomp::compile(document, Arch::native())
            .map(Some)
            .map_err(PlanError::Seccomp),
        (given, _) => Ok(given),
    }
}

/// Enters the working directory, and makes sure that it lies in the container: a path such as
/// `/proc/self/fd/7` would lead to a directory of the host that some process of the engine has open (CVE-2024-21626).
fn enter(cwd: &Path) -> Result<(), ProcessError> {
    let failed = |errno: Errno| ProcessError::Cwd {
        cwd: cwd.to_owned(),
        errno: errno.raw_os_error(),
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(CWD, cwd, flags, Mode::empty(), resolve) {
        Ok(directory) => rustix::process::fchdir(directory).map_err(failed)?,
        // Either too many links, which chdir says too, or a magic one: wherever that leads now, it
        // is by a descriptor of the runtime's and not by the container's tree.
        Err(Errno::LOOP) => {
            rustix::process::chdir(cwd).map_err(failed)?;
            return Err(ProcessError::CwdOutside);
        }
        Err(errno) => return Err(failed(errno)),
    }
    // The kernel writes "(unreachable)" before a directory outside of the root.
    match rustix::process::getcwd(Vec::new()) {
        Ok(here) if here.as_bytes().starts_with(b"/") => Ok(()),
        Ok(_) | Err(Errno::NOENT) => Err(ProcessError::CwdOutside),
        Err(errno) => Err(failed(errno)),
    }
}

/// Names the step that a system call belongs to.
pub(crate) fn step(step: &str) -> impl Fn(Errno) -> ProcessError + '_ {
    move |errno| ProcessError::Setup {
        step: step.to_owned(),
        errno: errno.raw_os_error(),
    }
}

/// Names the step that a result belongs to.
pub(crate) fn setup<T>(step: &str, result: std::io::Result<T>) -> Result<T, ProcessError> {
    result.map_err(|error| ProcessError::Setup {
        step: step.to_owned(),
        errno: error.raw_os_error().unwrap_or(Errno::IO.raw_os_error()),
    })
}
