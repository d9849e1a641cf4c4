//! The watch over the rules: whoever reloads the host's firewall (`nft flush ruleset`,
//! `systemctl restart nftables`, `firewall-cmd --reload`) sweeps our rules away with his own; they
//! are back a moment later.
//!
//! Its thread also does what publishing leaves to be done but nobody has to wait for: it forgets
//! connections tracked before.
//!
//! The kernel tells of every change. After one that is not ours, the watch waits until the other
//! has finished, then compares what should be there with what is.

mod pace;

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

use crate::conntrack;
use crate::firewall::Firewall;
use crate::foreign;
use crate::netlink::{Refusal, Socket, answers};
use crate::nftables;
use crate::ports::{Protocol, PublishedPort};
use pace::Pace;

/// A running watch. Dropping it ends it, once it has done what it was given.
#[derive(Debug)]
pub(crate) struct Watch {
    orders: Arc<Orders>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread is told.
#[derive(Debug)]
struct Orders {
    told: OwnedFd,
    given: Mutex<Given>,
}

#[derive(Debug, Default)]
struct Given {
    /// Ports whose tracked connections are to be forgotten.
    forget: Vec<PublishedPort>,
    end: bool,
}

impl Watch {
    /// Starts watching over this firewall. The caller's thread must be in the host's namespace.
    pub(crate) fn start(firewall: Arc<Mutex<Firewall>>) -> Result<Self, WatchError> {
        let changes = Socket::netfilter_changes(nftables::CHANGES).map_err(WatchError::Listen)?;
        let connections = Socket::netfilter().map_err(WatchError::Listen)?;
        let told = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| WatchError::Listen(Refusal::Socket(errno)))?;
        let orders = Arc::new(Orders {
            told,
            given: Mutex::default(),
        });
        let theirs = Arc::clone(&orders);
        let thread = thread::Builder::new()
            .name("wharf-nftables".to_owned())
            .spawn(move || {
                if let Err(error) = (Loop {
                    changes,
                    connections,
                    orders: theirs,
                    firewall,
                })
                .run()
                {
                    tracing::error!(%error, "the watch over the firewall rules has ended");
                }
            })
            .map_err(WatchError::Thread)?;
        Ok(Self {
            orders,
            thread: Some(thread),
        })
    }

    /// Has the connections forgotten that are tracked to these ports' UDP ones.
    pub(crate) fn forget(&self, ports: &[PublishedPort]) {
        let udp = ports.iter().filter(|port| port.protocol == Protocol::Udp);
        if udp.clone().next().is_some() {
            self.order(|given| given.forget.extend(udp));
        }
    }

    fn order(&self, give: impl FnOnce(&mut Given)) {
        give(&mut lock(&self.orders.given));
        if let Err(errno) = rustix::io::write(&self.orders.told, &1_u64.to_ne_bytes()) {
            tracing::error!(%errno, "the watch over the firewall rules cannot be told anything");
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.order(|given| given.end = true);
        if let Some(thread) = self.thread.take()
            && let Err(panic) = thread.join()
        {
            tracing::error!(?panic, "the watch over the firewall rules panicked");
        }
    }
}

/// Nothing done under these locks leaves its subject half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why the rules are not watched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WatchError {
    #[error("cannot listen to changes of the firewall rules")]
    Listen(#[source] Refusal),
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
}

struct Loop {
    changes: Socket,
    connections: Socket,
    orders: Arc<Orders>,
    firewall: Arc<Mutex<Firewall>>,
}

impl Loop {
    fn run(&mut self) -> Result<(), Refusal> {
        let own_port = lock(&self.firewall).socket.port();
        let mut buffer = Vec::new();
        let mut pace = Pace::default();
        loop {
            match self.wait(pace.wait(Instant::now()))? {
                Woken::Told if !self.obey()? => return Ok(()),
                Woken::Told => {}
                Woken::Changed => {
                    if self.read_changes(&mut buffer, own_port)? {
                        pace.changed(Instant::now());
                    }
                }
                Woken::Due => {
                    let repaired = self.restore();
                    if pace.looked(Instant::now(), repaired) {
                        tracing::warn!("another program keeps changing our firewall rules");
                    }
                }
            }
        }
    }

    /// Does what it was told; false when that was to end.
    fn obey(&mut self) -> Result<bool, Refusal> {
        match rustix::io::read(&self.orders.told, &mut [0; 8]) {
            Ok(_) | Err(Errno::AGAIN) => {}
            Err(errno) => return Err(Refusal::Socket(errno)),
        }
        let Given { forget, end } = std::mem::take(&mut *lock(&self.orders.given));
        if forget.is_empty() {
            return Ok(!end);
        }
        let published = lock(&self.firewall).published().clone();
        if let Err(error) = conntrack::forget(&mut self.connections, &forget, &published) {
            tracing::warn!(%error, "tracked connections to published ports were not forgotten");
        }
        Ok(!end)
    }

    /// Waits for orders or changes, or until it is time to look: that comes first once it has come,
    /// however much is being changed.
    fn wait(&self, time: Option<Duration>) -> Result<Woken, Refusal> {
        let mut fds = [
            PollFd::from_borrowed_fd(self.orders.told.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.changes.as_fd(), PollFlags::IN),
        ];
        let time = time.and_then(|time| Timespec::try_from(time).ok());
        let ready = rustix::io::retry_on_intr(|| poll(&mut fds, time.as_ref()));
        let ready = ready.map_err(Refusal::Socket)?;
        Ok(match () {
            () if time.is_some_and(|time| time == Timespec::default()) => Woken::Due,
            () if ready == 0 => Woken::Due,
            () if !fds[0].revents().is_empty() => Woken::Told,
            () => Woken::Changed,
        })
    }

    /// Reads what has been told; true when others changed something, or may have.
    fn read_changes(&self, buffer: &mut Vec<u8>, own_port: u32) -> Result<bool, Refusal> {
        match self.changes.listen(buffer) {
            Ok(None) => Ok(false),
            Ok(Some(length)) => Ok(answers(&buffer[..length])
                .any(|answer| answer.kind != nftables::NEW_GENERATION && answer.port != own_port)),
            // So much changed that not all of it could be told.
            Err(Refusal::Socket(Errno::NOBUFS)) | Err(Refusal::Malformed) => Ok(true),
            Err(refusal) => Err(refusal),
        }
    }

    /// Repairs what is not as it should be; true when something was.
    fn restore(&self) -> bool {
        let mut firewall = lock(&self.firewall);
        let healed = match firewall.heal() {
            Ok(true) => {
                tracing::info!(table = firewall.table, "firewall rules restored");
                true
            }
            Ok(false) => false,
            Err(error) => {
                tracing::error!(%error, "firewall rules cannot be restored");
                true
            }
        };
        match foreign::accept_bridge(&mut firewall) {
            Ok(chains) => {
                for chain in &chains {
                    tracing::info!(chain, "a forward chain that drops now accepts containers");
                }
                healed || !chains.is_empty()
            }
            Err(error) => {
                tracing::error!(%error, "forward chains cannot be told of containers");
                true
            }
        }
    }
}

enum Woken {
    Told,
    Changed,
    Due,
}
