//! User namespaces that are there before the process that lives in them.
//!
//! A namespace needs a process until somebody has opened it. This one does nothing: it waits for its
//! end, or that of its maker. A mapping is written from outside, so it may be any that the maker has the
//! right to.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::process::Pid;
use wharf_oci::runtime::{IdMapping, NamespaceKind};
use wharf_sys::process::{CloneOptions, Cloned, clone_process};

use crate::channel::{self, CallerEnd, Report};
use crate::error::{CreateError, IoError, SpecError};
use crate::namespaces;

/// The kernel takes this many lines of a mapping.
const MAX_MAPPINGS: usize = 340;

/// A new user namespace, kept by a process of its own until this is dropped. The caller must have a
/// single thread.
#[derive(Debug)]
pub struct UserNamespace {
    pid: Pid,
    pidfd: OwnedFd,
    /// Its end is the process's, should its maker die.
    connection: CallerEnd,
}

impl UserNamespace {
    /// Makes one with this mapping, and with `network` a network namespace that belongs to it.
    pub fn new(uids: &[IdMapping], gids: &[IdMapping], network: bool) -> Result<Self, CreateError> {
        let (caller, child) =
            channel::pair().map_err(io_error("connect to the user namespace's process"))?;
        let mut kinds = namespaces::flag(NamespaceKind::User);
        if network {
            kinds |= namespaces::flag(NamespaceKind::Network);
        }
        let options = CloneOptions {
            namespaces: Some(kinds),
            ..CloneOptions::default()
        };
        let cloned = clone_process(&options).map_err(io_error("make a user namespace"))?;
        let (pid, pidfd) = match cloned {
            Cloned::Parent { pid, pidfd } => (pid, pidfd),
            Cloned::Child => {
                drop(caller);
                // Nothing is ever sent.
                let code = u8::from(child.wait().is_ok());
                wharf_sys::process::exit_now(code);
            }
        };
        drop(child);
        let namespace = Self {
            pid,
            pidfd,
            connection: caller,
        };
        write_maps(pid, uids, gids)?;
        Ok(namespace)
    }

    /// Joins one that is there already, and makes a network namespace that belongs to it.
    pub fn joined(user: &Path) -> Result<Self, CreateError> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let user = rustix::fs::open(user, flags, Mode::empty())
            .map_err(|errno| io_error("open a user namespace")(errno.into()))?;
        let (caller, child) =
            channel::pair().map_err(io_error("connect to the user namespace's process"))?;
        let cloned = clone_process(&CloneOptions::default())
            .map_err(io_error("make a process for a user namespace"))?;
        let (pid, pidfd) = match cloned {
            Cloned::Parent { pid, pidfd } => (pid, pidfd),
            Cloned::Child => {
                drop(caller);
                let made = join_and_make_network(user.as_fd()).and_then(|()| child.ready());
                // Nothing is ever sent after that.
                let code = u8::from(made.and_then(|()| child.wait()).is_ok());
                wharf_sys::process::exit_now(code);
            }
        };
        drop(child);
        let namespace = Self {
            pid,
            pidfd,
            connection: caller,
        };
        match namespace.connection.receive() {
            Ok(Report::Ready) => Ok(namespace),
            Ok(_) => {
                let reason = io::Error::other("its process has ended");
                Err(io_error("make a network in another's user namespace")(reason).into())
            }
            Err(error) => Err(io_error("hear of a user namespace's process")(error).into()),
        }
    }

    /// Its process, by which others can open the namespaces as long as this lives.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// The user namespace itself, which lives on as long as the descriptor.
    pub fn open(&self) -> Result<OwnedFd, CreateError> {
        let path = format!("/proc/{}/ns/user", self.pid.as_raw_pid());
        rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| io_error("open a new user namespace")(errno.into()).into())
    }
}

fn join_and_make_network(user: BorrowedFd<'_>) -> io::Result<()> {
    let kind = rustix::thread::LinkNameSpaceType::User;
    rustix::thread::move_into_link_name_space(user, Some(kind))?;
    wharf_sys::namespace::unshare(namespaces::flag(NamespaceKind::Network))
}

impl Drop for UserNamespace {
    fn drop(&mut self) {
        // Its children may hold its maker's end of the connection open, so it is not told but killed.
        // One that cannot be is a zombie as long as its maker lives.
        drop(crate::reap::kill(self.pidfd.as_fd()));
    }
}

/// Writes the id mappings of a new user namespace.
pub(crate) fn write_maps(
    pid: Pid,
    uids: &[IdMapping],
    gids: &[IdMapping],
) -> Result<(), CreateError> {
    for (file, member, mappings) in [
        ("uid_map", "linux.uidMappings", uids),
        ("gid_map", "linux.gidMappings", gids),
    ] {
        if mappings.len() > MAX_MAPPINGS {
            let value = format!("{} ranges", mappings.len());
            let reason = "the kernel takes at most 340";
            return Err(SpecError::Invalid {
                member,
                value,
                reason,
            }
            .into());
        }
        let line = |map: &IdMapping| format!("{} {} {}\n", map.container_id, map.host_id, map.size);
        let text: String = mappings.iter().map(line).collect();
        let path = format!("/proc/{}/{file}", pid.as_raw_pid());
        // One write: the kernel takes the whole mapping or nothing.
        std::fs::write(&path, text).map_err(|source| {
            CreateError::Io(IoError {
                step: format!("write {path}"),
                source,
            })
        })?;
    }
    Ok(())
}

fn io_error(step: &'static str) -> impl Fn(io::Error) -> IoError {
    move |source| IoError {
        step: step.to_owned(),
        source,
    }
}
