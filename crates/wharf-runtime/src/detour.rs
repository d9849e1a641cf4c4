//! Namespaces that a process is born into: the caller goes there for the moment of the clone, and
//! comes back.
//!
//! A process cannot change its process id namespace, and the offsets of a time namespace are fixed
//! by the first process in it. In a user namespace the child has no right to join what belongs to
//! the host, so there it is born into everything that it joins.
//!
//! From its first instant the child can be seen by whoever shares its process id namespace. It
//! inherits from the caller whether it can be looked into, so the caller is undumpable meanwhile.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, dumpable_behavior, set_dumpable_behavior};
use rustix::thread::{ThreadNameSpaceType, move_into_link_name_space};
use wharf_oci::runtime::{Linux, NamespaceKind};

use crate::error::IoError;
use crate::namespaces::{self, Namespaces};

/// The way back; to be taken before anything else is cloned.
#[derive(Debug)]
#[must_use]
pub(crate) struct Detour {
    namespaces: Vec<(NamespaceKind, OwnedFd)>,
    was_dumpable: bool,
}

impl Detour {
    /// Turns towards the process id namespace that a container joins and the new time namespace it
    /// gets.
    pub(crate) fn take(linux: &Linux, namespaces: &Namespaces) -> Result<Self, IoError> {
        let mut way_back = Self::begin()?;
        match way_back.go(linux, namespaces) {
            Ok(()) => Ok(way_back),
            Err(error) => {
                way_back.back()?;
                Err(error)
            }
        }
    }

    fn begin() -> Result<Self, IoError> {
        let undumpable = |errno: Errno| io("become undumpable", errno.into());
        let before = dumpable_behavior().map_err(undumpable)?;
        // Otherwise only root of the host can look into it, and prctl(2) could not set that again.
        let was_dumpable = before == DumpableBehavior::Dumpable;
        if was_dumpable {
            set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(undumpable)?;
        }
        Ok(Self {
            namespaces: Vec::new(),
            was_dumpable,
        })
    }

    fn go(&mut self, linux: &Linux, namespaces: &Namespaces) -> Result<(), IoError> {
        for (kind, namespace) in &namespaces.join {
            if namespaces.born_into(*kind) {
                self.remember(*kind)?;
                join(namespace.as_fd(), *kind)?;
            }
        }
        if namespaces.is_new(NamespaceKind::Time) {
            self.remember(NamespaceKind::Time)?;
            new_time(linux)?;
        }
        Ok(())
    }

    /// Turns towards the process id namespace of a running process, if it `joins` that.
    pub(crate) fn to_process(pidfd: BorrowedFd<'_>, joins: bool) -> Result<Self, IoError> {
        let mut way_back = Self::begin()?;
        if !joins {
            return Ok(way_back);
        }
        let joined = way_back.remember(NamespaceKind::Pid).and_then(|()| {
            let kind = ThreadNameSpaceType::PROCESS_ID;
            rustix::thread::move_into_thread_name_spaces(pidfd, kind)
                .map_err(|errno| io("join the container's pid namespace", errno.into()))
        });
        if let Err(error) = joined {
            way_back.back()?;
            return Err(error);
        }
        Ok(way_back)
    }

    /// Goes back.
    pub(crate) fn back(&mut self) -> Result<(), IoError> {
        for (kind, own) in self.namespaces.drain(..) {
            join(own.as_fd(), kind)?;
        }
        if self.was_dumpable {
            set_dumpable_behavior(DumpableBehavior::Dumpable)
                .map_err(|errno| io("become dumpable again", errno.into()))?;
        }
        Ok(())
    }

    fn remember(&mut self, kind: NamespaceKind) -> Result<(), IoError> {
        let path = format!("/proc/self/ns/{}", namespaces::file(kind));
        let own = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| io(&format!("open {path}"), errno.into()))?;
        self.namespaces.push((kind, own));
        Ok(())
    }
}

fn join(namespace: BorrowedFd<'_>, kind: NamespaceKind) -> Result<(), IoError> {
    move_into_link_name_space(namespace, Some(namespaces::link(kind))).map_err(|errno| {
        io(
            &format!("join the {} namespace", namespaces::name(kind)),
            errno.into(),
        )
    })
}

/// Makes a time namespace for the next child, with its clocks set off.
fn new_time(linux: &Linux) -> Result<(), IoError> {
    wharf_sys::namespace::unshare(ThreadNameSpaceType::TIME)
        .map_err(|error| io("make a time namespace", error))?;
    if linux.time_offsets.is_empty() {
        return Ok(());
    }
    let line = |(clock, offset): (&String, &wharf_oci::runtime::TimeOffset)| {
        format!("{clock} {} {}\n", offset.secs, offset.nanosecs)
    };
    let lines: String = linux.time_offsets.iter().map(line).collect();
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .open("/proc/self/timens_offsets")
        .map_err(|error| io("open /proc/self/timens_offsets", error))?;
    file.write_all(lines.as_bytes())
        .map_err(|error| io("write /proc/self/timens_offsets", error))
}

fn io(step: &str, source: std::io::Error) -> IoError {
    IoError {
        step: step.to_owned(),
        source,
    }
}
