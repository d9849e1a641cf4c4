//! Namespaces that a process can only be born into: the caller turns its own children's namespace
//! for the moment of the clone, and turns it back.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::thread::{ThreadNameSpaceType, move_into_link_name_space};
use wharf_oci::runtime::{Linux, NamespaceKind};

use crate::error::IoError;
use crate::namespaces::{self, Namespaces};

/// The way back; to be taken before anything else is cloned.
#[derive(Debug)]
#[must_use]
pub(crate) struct Detour(Vec<(NamespaceKind, OwnedFd)>);

impl Detour {
    /// Turns towards the process id namespace that a container joins and the new time namespace it
    /// gets.
    pub(crate) fn take(linux: &Linux, namespaces: &Namespaces) -> Result<Self, IoError> {
        let mut way_back = Self(Vec::new());
        if let Some(pid) = namespaces.joined(NamespaceKind::Pid) {
            way_back.remember(NamespaceKind::Pid)?;
            join(pid.as_fd(), NamespaceKind::Pid)?;
        }
        if namespaces.is_new(NamespaceKind::Time) {
            way_back.remember(NamespaceKind::Time)?;
            let entered = new_time(linux);
            if entered.is_err() {
                way_back.back()?;
            }
            entered?;
        }
        Ok(way_back)
    }

    /// Turns towards the process id namespace of a running process, if it `joins` that.
    pub(crate) fn to_process(pidfd: BorrowedFd<'_>, joins: bool) -> Result<Self, IoError> {
        let mut way_back = Self(Vec::new());
        if !joins {
            return Ok(way_back);
        }
        way_back.remember(NamespaceKind::Pid)?;
        rustix::thread::move_into_thread_name_spaces(pidfd, ThreadNameSpaceType::PROCESS_ID)
            .map_err(|errno| io("join the container's pid namespace", errno.into()))?;
        Ok(way_back)
    }

    /// Goes back.
    pub(crate) fn back(&mut self) -> Result<(), IoError> {
        for (kind, own) in self.0.drain(..) {
            join(own.as_fd(), kind)?;
        }
        Ok(())
    }

    fn remember(&mut self, kind: NamespaceKind) -> Result<(), IoError> {
        let path = format!("/proc/self/ns/{}", namespaces::name(kind));
        let own = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| io(&format!("open {path}"), errno.into()))?;
        self.0.push((kind, own));
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
