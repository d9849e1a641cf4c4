//! The directories of one group in all hierarchies.
//!
//! A group is known by its path; its directories are looked up once. Only the unified directory is
//! held open, because `clone3` wants a descriptor.

mod create;
mod freezer;
mod remove;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;
use wharf_sys::bpf;

use crate::files;
use crate::hierarchies::{Hierarchies, Hierarchy};
use crate::oom::OomWatch;
use crate::plan::{Current, DeviceProgram, Failure, Plan, UNIFIED, Write};
use crate::stats::{self, Stats};

/// One group: its directory in each hierarchy.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    /// v1 directories; on v2 empty.
    legacy: Vec<Directory>,
    /// The directory in the unified hierarchy: on v2 always, on v1 when the plan writes there.
    unified: Option<Unified>,
}

/// The group in one hierarchy.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) hierarchy: Hierarchy,
    pub(crate) path: PathBuf,
}

#[derive(Debug)]
struct Unified {
    directory: Directory,
    fd: OwnedFd,
}

/// Files through which the calling thread can put itself into a group; they stay usable after
/// pivot_root and need no allocation.
#[derive(Debug)]
pub struct Joiner {
    files: Vec<File>,
}

/// Why an operation on a group failed.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// A file or directory of the group.
    #[error("cannot {operation} {path}")]
    Io {
        /// What was tried.
        operation: Operation,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A limit the kernel does not take.
    #[error("cannot write {value:?} to {path}")]
    Write {
        /// The value.
        value: String,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The group is used already.
    #[error("cgroup {path} has processes already")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A file did not hold what it should.
    #[error("{path} holds {text:?}, not a number")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What was there.
        text: String,
    },
    /// The device program was not taken.
    #[error("cannot {operation} the device filter of {path}")]
    DeviceFilter {
        /// What was tried.
        operation: Operation,
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The controllers cannot be had below the parent.
    #[error("the {controller} controller is not available in {path}")]
    NotDelegated {
        /// The controller.
        controller: String,
        /// The directory.
        path: PathBuf,
    },
    /// Processes did not stop in time.
    #[error("processes of {path} did not stop within {seconds} s")]
    NotFrozen {
        /// The directory.
        path: PathBuf,
        /// How long was waited.
        seconds: u64,
    },
    /// Processes stay in a group that is to be removed.
    #[error("cgroup {path} still has processes")]
    Busy {
        /// The directory.
        path: PathBuf,
    },
    /// The machine has no such controller.
    #[error("the {controller} controller is not available")]
    NoController {
        /// The controller.
        controller: &'static str,
    },
}

/// What was tried, for error messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Make a directory.
    Create,
    /// Open.
    Open,
    /// Read.
    Read,
    /// Remove a directory.
    Remove,
    /// Signal the processes of a group.
    Signal,
    /// Watch for a notification.
    Watch,
    /// Load a program.
    Load,
    /// Attach a program.
    Attach,
    /// Look for programs.
    Query,
    /// Detach a program.
    Detach,
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Open => "open",
            Self::Read => "read",
            Self::Remove => "remove",
            Self::Signal => "signal the processes of",
            Self::Watch => "watch",
            Self::Load => "load",
            Self::Attach => "attach",
            Self::Query => "query",
            Self::Detach => "detach",
        })
    }
}

impl CgroupError {
    pub(crate) fn io(operation: Operation, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io {
            operation,
            path: path.to_owned(),
            source: source.into(),
        }
    }

    pub(crate) fn read(path: &Path, source: io::Error) -> Self {
        Self::io(Operation::Read, path, source)
    }

    pub(crate) fn parse(path: &Path, text: &str) -> Self {
        Self::Parse {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    /// The kernel's error number, where there is one: `ENOENT` says that the group is gone.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        match self {
            Self::Io { source, .. }
            | Self::Write { source, .. }
            | Self::DeviceFilter { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }
}

impl Cgroup {
    /// Opens an existing group; on a v1 machine in those hierarchies in which it exists.
    pub fn open(hierarchies: &Hierarchies, path: &Path) -> Result<Self, CgroupError> {
        let directory = |hierarchy: &Hierarchy| Directory {
            path: hierarchy.dir(path),
            hierarchy: hierarchy.clone(),
        };
        let (legacy, unified) = match hierarchies {
            Hierarchies::V1 {
                legacy, unified, ..
            } => {
                let mut legacy: Vec<Directory> = legacy.iter().map(directory).collect();
                let first = legacy.first().map(|one| one.path.clone());
                legacy.retain(|one| one.path.is_dir());
                if legacy.is_empty() {
                    let path = first.unwrap_or_else(|| path.to_owned());
                    return Err(CgroupError::io(Operation::Open, &path, Errno::NOENT));
                }
                let unified = unified
                    .as_ref()
                    .map(directory)
                    .filter(|one| one.path.is_dir());
                (legacy, unified)
            }
            Hierarchies::V2 { unified } => (Vec::new(), Some(directory(unified))),
        };
        Ok(Self {
            path: path.to_owned(),
            legacy,
            unified: unified.map(Unified::open).transpose()?,
        })
    }

    /// Path of the group from the mount points.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Directory of the group for a controller, if the machine has that controller; on v2 the
    /// same for all.
    #[must_use]
    pub fn dir(&self, controller: &str) -> Option<&Path> {
        if controller == UNIFIED || self.is_v2() {
            return self.unified_path();
        }
        self.legacy
            .iter()
            .find(|one| one.hierarchy.has(controller))
            .map(|one| one.path.as_path())
    }

    /// All directories of the group, keyed as in runc's state: by controller, and by an empty name
    /// in the unified hierarchy.
    pub fn dirs(&self) -> impl Iterator<Item = (&str, &Path)> {
        let legacy = self.legacy.iter().flat_map(|one| {
            let names = one.hierarchy.controllers.iter();
            names.map(|name| (name.as_str(), one.path.as_path()))
        });
        legacy.chain(self.unified_path().map(|path| ("", path)))
    }

    /// Writes `plan` into the group.
    pub fn apply(&self, plan: &Plan) -> Result<(), CgroupError> {
        let mut writer = files::Writer::default();
        let mut postponed: Vec<(PathBuf, &Write)> = Vec::new();
        for write in &plan.writes {
            let dir = self
                .dir(write.controller)
                .ok_or(CgroupError::NoController {
                    controller: write.controller,
                })?;
            let path = dir.join(&write.file);
            if let Err(source) = writer.write(&path, &write.value) {
                match &write.failure {
                    Failure::RetryAfterNext if is(&source, Errno::INVAL) => {
                        postponed.push((path, write));
                        continue;
                    }
                    Failure::SkipIfMissing if is(&source, Errno::NOENT) => {}
                    Failure::InsteadIfMissing { file, value } if is(&source, Errno::NOENT) => {
                        write_value(&dir.join(file), value)?;
                    }
                    _ => return Err(refused(&path, &write.value, source)),
                }
            }
            if write.failure == Failure::Fatal {
                for (path, write) in postponed.drain(..) {
                    write_value(&path, &write.value)?;
                }
            }
        }
        for (path, write) in postponed {
            write_value(&path, &write.value)?;
        }
        match (&plan.devices, &self.unified) {
            (Some(program), Some(unified)) => unified.filter_devices(program),
            _ => Ok(()),
        }
    }

    /// What a plan that updates this group has to know:
    /// `Target { current: Some(group.current()?), ..hierarchies.target() }`.
    pub fn current(&self) -> Result<Current, CgroupError> {
        let Some(dir) = self.dir("memory") else {
            return Ok(Current::default());
        };
        if self.is_v2() {
            let memory_limit = optional(files::read_limit(&dir.join("memory.max")))?.flatten();
            let swap = optional(files::read_limit(&dir.join("memory.swap.max")))?.flatten();
            Ok(Current {
                memory_limit,
                swap_limit: memory_limit.zip(swap).map(|(memory, swap)| memory + swap),
                memory_usage: optional(files::read_number(&dir.join("memory.current")))?
                    .unwrap_or(0),
            })
        } else {
            let swap = files::read_limit(&dir.join("memory.memsw.limit_in_bytes"));
            Ok(Current {
                memory_limit: files::read_limit(&dir.join("memory.limit_in_bytes"))?,
                swap_limit: optional(swap)?.flatten(),
                memory_usage: files::read_number(&dir.join("memory.usage_in_bytes"))?,
            })
        }
    }

    /// Opens what a process needs to put itself in. On v2 a new process is better cloned into
    /// [`Self::v2_dir`].
    pub fn joiner(&self) -> Result<Joiner, CgroupError> {
        let open = |path: PathBuf| {
            File::options()
                .write(true)
                .open(&path)
                .map_err(|source| CgroupError::io(Operation::Open, &path, source))
        };
        let files = if self.legacy.is_empty() {
            let unified = self.unified_path();
            unified
                .map(|path| open(path.join("cgroup.procs")))
                .into_iter()
                .collect::<Result<_, _>>()?
        } else {
            // Not cgroup.procs: moving a whole process waits for a grace period of the kernel's.
            let tasks = |one: &Directory| open(one.path.join("tasks"));
            self.legacy.iter().map(tasks).collect::<Result<_, _>>()?
        };
        Ok(Joiner { files })
    }

    /// The directory for `clone3` with `CLONE_INTO_CGROUP`: on v2 always, on v1 when the unified
    /// hierarchy is used beside (then both this and the joiner).
    #[must_use]
    pub fn v2_dir(&self) -> Option<BorrowedFd<'_>> {
        self.unified.as_ref().map(|unified| unified.fd.as_fd())
    }

    /// Processes of the group and of the groups below it.
    pub fn pids(&self) -> Result<Vec<Pid>, CgroupError> {
        let mut pids = Vec::new();
        if let Some(dir) = self.process_dir() {
            collect_pids(dir, &mut pids)?;
        }
        Ok(pids)
    }

    /// Numbers for `events --stats` and the engine's `stats`.
    pub fn stats(&self) -> Result<Stats, CgroupError> {
        if self.is_v2() {
            self.unified_path()
                .map_or_else(|| Ok(Stats::default()), stats::read_v2)
        } else {
            stats::read_v1(|controller| self.dir(controller), self.unified_path())
        }
    }

    /// A descriptor that becomes readable when the group runs out of memory.
    pub fn watch_oom(&self) -> Result<OomWatch, CgroupError> {
        let dir = self.memory_dir()?;
        if self.is_v2() {
            OomWatch::v2(dir)
        } else {
            OomWatch::v1(dir)
        }
    }

    /// How many processes of the group the out-of-memory killer has killed.
    pub fn oom_kills(&self) -> Result<u64, CgroupError> {
        let file = if self.is_v2() {
            "memory.events"
        } else {
            "memory.oom_control"
        };
        let path = self.memory_dir()?.join(file);
        Ok(files::read_value(&path, "oom_kill")?.unwrap_or(0))
    }

    fn memory_dir(&self) -> Result<&Path, CgroupError> {
        self.dir("memory").ok_or(CgroupError::NoController {
            controller: "memory",
        })
    }

    pub(crate) fn is_v2(&self) -> bool {
        self.legacy.is_empty()
    }

    fn unified_path(&self) -> Option<&Path> {
        self.unified
            .as_ref()
            .map(|unified| unified.directory.path.as_path())
    }

    /// The hierarchy in which processes are looked for: the freezer's, so that those that are
    /// stopped are those that are found.
    fn process_dir(&self) -> Option<&Path> {
        if self.is_v2() {
            return self.unified_path();
        }
        self.dir("freezer")
            .or_else(|| self.legacy.first().map(|one| one.path.as_path()))
    }
}

impl Unified {
    fn open(directory: Directory) -> Result<Self, CgroupError> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        let fd = rustix::fs::open(&directory.path, flags, Mode::empty())
            .map_err(|source| CgroupError::io(Operation::Open, &directory.path, source))?;
        Ok(Self { directory, fd })
    }

    /// Attaches `program`, then detaches those that were there: a group that is taken over after a
    /// crash may have one. Between the two, both must allow.
    fn filter_devices(&self, program: &DeviceProgram) -> Result<(), CgroupError> {
        let failed = |operation| {
            move |source| CgroupError::DeviceFilter {
                operation,
                path: self.directory.path.clone(),
                source,
            }
        };
        let group = self.fd.as_fd();
        let before = bpf::device_programs(group).map_err(failed(Operation::Query))?;
        let program =
            bpf::load_device_program(program.instructions()).map_err(failed(Operation::Load))?;
        bpf::attach_device_program(group, program.as_fd()).map_err(failed(Operation::Attach))?;
        for id in before {
            let old = bpf::program(id).map_err(failed(Operation::Query))?;
            bpf::detach_device_program(group, old.as_fd()).map_err(failed(Operation::Detach))?;
        }
        Ok(())
    }
}

impl Joiner {
    /// Puts the calling process into the group: one write a hierarchy. Call it while the process
    /// has one thread: on v1 it is the thread that moves.
    pub fn join(&self) -> io::Result<()> {
        self.files
            .iter()
            .try_for_each(|file| io::Write::write_all(&mut &*file, b"0"))
    }
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

/// A missing file is no value.
fn optional<T>(result: Result<T, CgroupError>) -> Result<Option<T>, CgroupError> {
    match result {
        Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => Ok(None),
        result => result.map(Some),
    }
}

fn write_value(path: &Path, value: &str) -> Result<(), CgroupError> {
    files::write(path, value).map_err(|source| refused(path, value, source))
}

fn refused(path: &Path, value: &str, source: io::Error) -> CgroupError {
    CgroupError::Write {
        value: value.to_owned(),
        path: path.to_owned(),
        source,
    }
}

/// Adds the processes of `dir` and below. A group that goes away meanwhile has none.
fn collect_pids(dir: &Path, pids: &mut Vec<Pid>) -> Result<(), CgroupError> {
    let path = dir.join("cgroup.procs");
    let text = match files::read(&path) {
        // A threaded group has no processes of its own; its threads are in those of its domain.
        Err(error) if error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) => {
            String::new()
        }
        result => result?,
    };
    for line in text.lines() {
        // 0: a process of another pid namespace that this one cannot see.
        let pid: i32 = line.parse().map_err(|_| CgroupError::parse(&path, line))?;
        pids.extend(Pid::from_raw(pid));
    }
    for child in children(dir)? {
        match collect_pids(&child, pids) {
            Err(error) if gone(&error) => {}
            result => result?,
        }
    }
    Ok(())
}

/// Whether the group was removed meanwhile.
fn gone(error: &CgroupError) -> bool {
    [Errno::NOENT, Errno::NODEV]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// The groups directly below `dir`.
fn children(dir: &Path) -> Result<Vec<PathBuf>, CgroupError> {
    let failed = |source| CgroupError::read(dir, source);
    let mut children = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            children.push(entry.path());
        }
    }
    Ok(children)
}
