//! The watch over the rules: whoever reloads the host's firewall (`nft flush ruleset`,
//! `systemctl restart nftables`, `firewall-cmd --reload`) sweeps our rules away with his own; they
//! are back a moment later.
//!
//! The kernel tells of every change. After one that is not ours, the watch waits until the other
//! has finished, then compares what should be there with what is.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

use crate::firewall::Firewall;
use crate::foreign;
use crate::netlink::{Refusal, Socket, answers};
use crate::nftables;

/// How long nothing must have changed before it is looked at.
const QUIET: Duration = Duration::from_millis(50);

/// How long a stream of changes can put that off.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// A running watch. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Watch {
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts watching over this firewall. The caller's thread must be in the host's namespace.
    pub(crate) fn start(firewall: Arc<Mutex<Firewall>>) -> Result<Self, WatchError> {
        let changes = Socket::netfilter_changes(nftables::CHANGES).map_err(WatchError::Listen)?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let stop = Arc::new(stop.map_err(|errno| WatchError::Listen(Refusal::Socket(errno)))?);
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("wharf-nftables".to_owned())
            .spawn(move || {
                if let Err(error) = (Loop {
                    changes,
                    stopped,
                    firewall,
                })
                .run()
                {
                    tracing::error!(%error, "the watch over the firewall rules has ended");
                }
            })
            .map_err(WatchError::Thread)?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

/// Why the rules are not watched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WatchError {
    #[error("cannot listen to changes of the firewall rules")]
    Listen(#[source] Refusal),
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Err(errno) = rustix::io::write(&*self.stop, &1_u64.to_ne_bytes()) {
            tracing::error!(%errno, "the watch over the firewall rules cannot be told to end");
            return;
        }
        if let Some(thread) = self.thread.take()
            && let Err(panic) = thread.join()
        {
            tracing::error!(?panic, "the watch over the firewall rules panicked");
        }
    }
}

struct Loop {
    changes: Socket,
    stopped: Arc<OwnedFd>,
    firewall: Arc<Mutex<Firewall>>,
}

impl Loop {
    fn run(&self) -> Result<(), Refusal> {
        let own_port = self.lock().socket.port();
        let mut buffer = Vec::new();
        // Since when something of others' has changed that has not been looked at.
        let mut changed: Option<Instant> = None;
        loop {
            let left = |since: Instant| LONGEST_WAIT.saturating_sub(since.elapsed()).min(QUIET);
            match self.wait(changed.map(left))? {
                Woken::Stopped => return Ok(()),
                Woken::Changed => {
                    if self.read_changes(&mut buffer, own_port)? {
                        changed.get_or_insert_with(Instant::now);
                    }
                    if changed.is_some_and(|since| since.elapsed() >= LONGEST_WAIT) {
                        self.restore();
                        changed = None;
                    }
                }
                Woken::Quiet => {
                    self.restore();
                    changed = None;
                }
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Firewall> {
        self.firewall.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, time: Option<Duration>) -> Result<Woken, Refusal> {
        let mut fds = [
            PollFd::from_borrowed_fd(self.stopped.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.changes.as_fd(), PollFlags::IN),
        ];
        let time = time.and_then(|time| Timespec::try_from(time).ok());
        let ready = rustix::io::retry_on_intr(|| poll(&mut fds, time.as_ref()));
        let ready = ready.map_err(Refusal::Socket)?;
        Ok(match () {
            () if ready == 0 => Woken::Quiet,
            () if !fds[0].revents().is_empty() => Woken::Stopped,
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

    fn restore(&self) {
        let mut firewall = self.lock();
        match firewall.heal() {
            Ok(true) => tracing::info!(table = firewall.table, "firewall rules restored"),
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "firewall rules cannot be restored"),
        }
        match foreign::accept_bridge(&mut firewall) {
            Ok(chains) => {
                for chain in chains {
                    tracing::info!(chain, "a forward chain that drops now accepts containers");
                }
            }
            Err(error) => tracing::error!(%error, "forward chains cannot be told of containers"),
        }
    }
}

enum Woken {
    Stopped,
    Changed,
    Quiet,
}
