//! Network namespaces: making them, and working inside one from a thread that is ours to move.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;

use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::netlink::{Refusal, Socket};
use crate::route;

/// Why a namespace could not be made or entered.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// The kernel makes no more of them, or not for us.
    #[error("cannot make a network namespace: {0}")]
    Make(Errno),
    /// The thread could not change its namespace.
    #[error("cannot enter a network namespace: {0}")]
    Enter(Errno),
    /// A file of the namespace could not be opened or written.
    #[error("cannot use {path} in a network namespace")]
    File {
        /// The file.
        path: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The thread to do it on could not be started.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
}

const OWN: &str = "/proc/thread-self/ns/net";

/// New interfaces get no IPv6: there is no router to talk to, and duplicate address detection would
/// keep `eth0` waiting for a second. Loopback exists already and keeps its `::1`.
const NO_IPV6: &str = "/proc/sys/net/ipv6/conf/default/disable_ipv6";
/// Any user of a container may use ports below 1024, as with Docker.
const UNPRIVILEGED_PORTS: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
/// Any user of a container may ping, as with Docker.
const PING_GROUPS: &str = "/proc/sys/net/ipv4/ping_group_range";

/// A network namespace and the way back: what a thread needs that makes namespaces.
#[derive(Debug)]
pub(crate) struct Maker {
    home: OwnedFd,
}

/// A new namespace with a socket that speaks to it.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) netns: OwnedFd,
    pub(crate) socket: Socket,
}

/// What went wrong in a new namespace.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MakeError {
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    #[error(transparent)]
    Refusal(#[from] Refusal),
}

impl Maker {
    /// Remembers the calling thread's namespace as the one to come back to. Only for a thread of
    /// this crate: if the way back should fail, the thread is lost and has to end.
    pub(crate) fn on_this_thread() -> Result<Self, NamespaceError> {
        Ok(Self { home: current()? })
    }

    /// Makes a namespace with the settings of a sandbox. Loopback is still down.
    pub(crate) fn make(&self) -> Result<Made, MakeError> {
        wharf_sys::netlink::enter_new_network_namespace().map_err(NamespaceError::Make)?;
        self.settle()
    }

    /// As [`Self::make`], of a namespace that is new and has been made elsewhere.
    pub(crate) fn make_of(&self, netns: impl AsFd) -> Result<Made, MakeError> {
        enter(netns)?;
        self.settle()
    }

    fn settle(&self) -> Result<Made, MakeError> {
        let made = settle();
        enter(&self.home)?;
        made
    }
}

/// Sets up the namespace the thread is in.
fn settle() -> Result<Made, MakeError> {
    write_if_present(NO_IPV6, "1")?;
    write_if_present(UNPRIVILEGED_PORTS, "0")?;
    write_if_present(PING_GROUPS, "0 2147483647")?;
    Ok(Made {
        netns: current()?,
        socket: Socket::route()?,
    })
}

/// Makes a namespace that has nothing but its loopback, up.
pub(crate) fn make_isolated(maker: &Maker) -> Result<OwnedFd, MakeError> {
    isolate(maker.make()?)
}

/// Sets up the loopback of a namespace.
pub(crate) fn isolate(mut made: Made) -> Result<OwnedFd, MakeError> {
    made.socket.request(&[route::set_up(route::LOOPBACK)])?;
    Ok(made.netns)
}

/// A handle to the calling thread's namespace.
pub(crate) fn current() -> Result<OwnedFd, NamespaceError> {
    let file = File::open(OWN).map_err(|source| NamespaceError::File { path: OWN, source })?;
    Ok(file.into())
}

pub(crate) fn enter(netns: impl AsFd) -> Result<(), NamespaceError> {
    move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(NamespaceError::Enter)
}

/// Runs `work` on a thread of its own, which ends afterwards, so that what it does to its
/// namespace concerns nobody.
pub(crate) fn on_own_thread<T: Send, E: Send + From<NamespaceError>>(
    work: impl FnOnce() -> Result<T, E> + Send,
) -> Result<T, E> {
    thread::scope(|scope| {
        let spawned = thread::Builder::new()
            .name("wharf-netns".to_owned())
            .spawn_scoped(scope, work);
        match spawned.map_err(NamespaceError::Thread)?.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Writes a setting of the calling thread's namespace; a kernel without it (IPv6 compiled out or
/// disabled at boot) needs it not.
fn write_if_present(path: &'static str, value: &str) -> Result<(), NamespaceError> {
    match std::fs::OpenOptions::new().write(true).open(path) {
        Ok(mut file) => std::io::Write::write_all(&mut file, value.as_bytes())
            .map_err(|source| NamespaceError::File { path, source }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(NamespaceError::File { path, source }),
    }
}
