//! A container as the command line keeps it: a directory with its state.
//!
//! The state is written to a temporary file and renamed, so that a reader sees the old or the new one.
//! Whoever changes a container holds a lock on its directory.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::process::{Pid, PidfdFlags};
use serde::{Deserialize, Serialize};
use wharf_cgroup::{Cgroup, Hierarchies};
use wharf_oci::runtime::{Spec, State, Status};

use super::Failure;

/// Version of the state file.
const FORMAT: u32 = 1;

/// Longest id, as the name of a directory.
const MAX_ID: usize = 255;

/// The state on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    pub(super) format: u32,
    pub(super) id: String,
    pub(super) pid: i32,
    /// The process's start in clock ticks, which tells it from a later one of the same id.
    pub(super) started: u64,
    pub(super) bundle: PathBuf,
    pub(super) created: String,
    pub(super) cgroup: PathBuf,
    pub(super) spec: Spec,
}

/// A container, locked against others' changes.
#[derive(Debug)]
pub(super) struct Container {
    directory: PathBuf,
    pub(super) record: Record,
    _lock: OwnedFd,
}

/// The directory of a container that is being made.
#[derive(Debug)]
pub(super) struct Draft {
    directory: PathBuf,
    lock: OwnedFd,
}

/// Refuses ids that are no names of directories.
fn check_id(id: &str) -> Result<(), Failure> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
    if id.is_empty() || id.len() > MAX_ID || id == "." || id == ".." || !id.chars().all(allowed) {
        return Err(format!("invalid container ID format: {id:?}").into());
    }
    Ok(())
}

impl Draft {
    /// Makes the directory of a new container.
    pub(super) fn new(root: &Path, id: &str) -> Result<Self, Failure> {
        check_id(id)?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)?;
        let directory = root.join(id);
        match fs::DirBuilder::new().mode(0o711).create(&directory) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(format!("container with given ID already exists: {id}").into());
            }
            Err(error) => return Err(error.into()),
        }
        let lock = lock(&directory, FlockOperation::LockExclusive)?;
        Ok(Self { directory, lock })
    }

    /// The FIFO at which the process waits.
    pub(super) fn make_fifo(&self) -> Result<PathBuf, Failure> {
        let path = self.directory.join(FIFO);
        // Root of a user namespace is nobody in particular here, and has to open it for writing.
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::from_raw_mode(0o622))?;
        rustix::fs::chmod(&path, Mode::from_raw_mode(0o622))?;
        Ok(path)
    }

    /// Makes the container known.
    pub(super) fn save(self, record: Record) -> Result<Container, Failure> {
        let container = Container {
            directory: self.directory,
            record,
            _lock: self.lock,
        };
        container.save()?;
        Ok(container)
    }

    /// Takes everything back.
    pub(super) fn discard(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.directory)
    }
}

const FIFO: &str = "exec.fifo";
const STATE: &str = "state.json";

impl Container {
    /// Opens a container for changing.
    pub(super) fn open(root: &Path, id: &str) -> Result<Self, Failure> {
        Self::open_locked(root, id, FlockOperation::LockExclusive)
    }

    /// Opens a container for looking.
    pub(super) fn look(root: &Path, id: &str) -> Result<Self, Failure> {
        Self::open_locked(root, id, FlockOperation::LockShared)
    }

    fn open_locked(root: &Path, id: &str, operation: FlockOperation) -> Result<Self, Failure> {
        check_id(id)?;
        let directory = root.join(id);
        let missing = || Failure::from(NotFound);
        let lock = match lock(&directory, operation) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
            Err(error) => return Err(error.into()),
        };
        let text = match fs::read(directory.join(STATE)) {
            Ok(text) => text,
            // Deleted while the lock was waited for, or left by a runtime that was killed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
            Err(error) => return Err(error.into()),
        };
        let record: Record = serde_json::from_slice(&text)?;
        if record.format != FORMAT {
            return Err(
                format!("{}: unknown format {}", directory.display(), record.format).into(),
            );
        }
        Ok(Self {
            directory,
            record,
            _lock: lock,
        })
    }

    /// Ids of all containers.
    pub(super) fn ids(root: &Path) -> Result<Vec<String>, Failure> {
        let entries = match fs::read_dir(root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut ids = Vec::new();
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir()
                && let Ok(id) = entry.file_name().into_string()
            {
                ids.push(id);
            }
        }
        ids.sort();
        Ok(ids)
    }

    /// Writes the state.
    pub(super) fn save(&self) -> Result<(), Failure> {
        let temporary = self.directory.join("state.json.new");
        let mut options = fs::OpenOptions::new();
        let file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        serde_json::to_writer(&file, &self.record)?;
        fs::rename(&temporary, self.directory.join(STATE))?;
        Ok(())
    }

    /// The FIFO at which a created process waits.
    pub(super) fn fifo(&self) -> PathBuf {
        self.directory.join(FIFO)
    }

    /// Takes the container off the disk.
    pub(super) fn remove(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.directory)
    }

    /// The first process, if it still lives.
    pub(super) fn process(&self) -> Result<Option<OwnedFd>, Failure> {
        process(&self.record)
    }

    /// Where the container is in its life.
    pub(super) fn status(&self) -> Result<Status, Failure> {
        if self.process()?.is_none() {
            return Ok(Status::Stopped);
        }
        if self.fifo().exists() {
            return Ok(Status::Created);
        }
        match self.cgroup()?.frozen() {
            Ok(true) => Ok(Status::Paused),
            Ok(false) => Ok(Status::Running),
            Err(error) => Err(error.into()),
        }
    }

    /// The container's cgroup.
    pub(super) fn cgroup(&self) -> Result<Cgroup, Failure> {
        Ok(Cgroup::open(&Hierarchies::detect()?, &self.record.cgroup)?)
    }

    /// The state document.
    pub(super) fn state(&self) -> Result<State, Failure> {
        let status = self.status()?;
        Ok(State {
            oci_version: wharf_oci::runtime::VERSION.to_owned(),
            id: self.record.id.clone(),
            status,
            pid: (status != Status::Stopped).then_some(self.record.pid),
            bundle: self.record.bundle.clone(),
            annotations: self.record.spec.annotations.clone(),
        })
    }
}

/// No container of that id.
#[derive(Debug, thiserror::Error)]
#[error("container does not exist")]
pub(super) struct NotFound;

fn lock(directory: &Path, operation: FlockOperation) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(directory, flags, Mode::empty())?;
    rustix::io::retry_on_intr(|| rustix::fs::flock(&directory, operation))?;
    Ok(directory)
}

fn process(record: &Record) -> Result<Option<OwnedFd>, Failure> {
    let Some(pid) = Pid::from_raw(record.pid) else {
        return Ok(None);
    };
    let pidfd = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(rustix::io::Errno::SRCH) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    // The descriptor is readable once the process has ended, reaped or not. Its start is read after it was
    // opened, so that it is this process's and no later one's.
    let mut polled = [rustix::event::PollFd::from_borrowed_fd(
        pidfd.as_fd(),
        rustix::event::PollFlags::IN,
    )];
    let now = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let ended = rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, Some(&now)))? > 0;
    let same = start_time(pid).is_some_and(|started| started == record.started);
    Ok((!ended && same).then_some(pidfd))
}

/// When a process started, in clock ticks since boot (field 22 of `/proc/PID/stat`).
pub(super) fn start_time(pid: Pid) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).ok()?;
    // The name in parentheses may hold anything, parentheses too.
    let after_name = stat.rsplit_once(')')?.1;
    after_name.split_whitespace().nth(19)?.parse().ok()
}

/// A record of a container just made.
pub(super) fn record(
    id: &str,
    pid: Pid,
    bundle: PathBuf,
    cgroup: &Cgroup,
    spec: Spec,
) -> Result<Record, Failure> {
    Ok(Record {
        format: FORMAT,
        id: id.to_owned(),
        pid: pid.as_raw_pid(),
        started: start_time(pid).ok_or("the container's process has ended")?,
        bundle,
        created: jiff::Timestamp::now().to_string(),
        cgroup: cgroup.path().to_owned(),
        spec,
    })
}
