//! Makes shims ahead of need.
//!
//! All shims of an engine come from one nursery ([`crate::nursery`]), which runs the engine's program in a way
//! that it cannot be written ([`crate::program`]). A few idle shims wait, so that a start does not wait for one.
//!
//! *The launch lock.* An engine can be killed after it has sent a launch and before the shim has
//! read it. The next engine must not take that container for stopped while it is about to start.
//! So the nursery and all idle shims have one open file with a shared lock, and let go of it when their socket
//! listens; the next engine takes the lock exclusively before it looks at anything, and by then each
//! shim of the last engine either listens or is gone.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, WaitId, WaitIdOptions, getrlimit};

use crate::connection::Connection;
use crate::nursery;
use crate::program;

/// How long an engine waits for the shims of the last one to listen or to end.
const LOCK_TIME: Duration = Duration::from_secs(10);
/// How long the nursery may take for one copy of itself.
const NURSERY_TIME: Duration = Duration::from_secs(10);
/// While the pool is at least half full, it is refilled only when nothing has been taken for this
/// long: whoever has taken one is starting a container, and needs the processor more than we do.
const QUIET: Duration = Duration::from_millis(20);

/// Makes shims, and keeps some ready. Dropping it ends the idle ones.
#[derive(Debug)]
pub struct Spawner {
    shared: Arc<Shared>,
    refill: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    program: OwnedFd,
    lock: File,
    open_files: Option<u64>,
    /// Made when it is needed, and again should it have been killed.
    nursery: Mutex<Option<Nursery>>,
    pool: Mutex<Pool>,
    changed: Condvar,
}

#[derive(Debug)]
struct Pool {
    idle: Vec<Idle>,
    wanted: usize,
    taken_at: Option<Instant>,
    failed: bool,
    closed: bool,
}

#[derive(Debug)]
struct Nursery {
    connection: UnixStream,
    child: Child,
}

/// A shim without a container.
#[derive(Debug)]
pub struct Idle {
    pub(crate) connection: Connection,
    /// Its pidfd; it is a child of this process.
    pub(crate) process: OwnedFd,
}

impl Spawner {
    /// Opens `program`, which must answer to the argument `shim` by calling [`crate::main`], and
    /// begins to keep `wanted` idle shims. `lock` is the file of the launch lock; `open_files` the soft limit
    /// of shims and containers, when it is not this process's.
    ///
    /// # Errors
    /// The program cannot be opened, or shims of an earlier engine hold the lock for too long.
    pub fn new(
        program: &Path,
        lock: &Path,
        wanted: usize,
        open_files: Option<u64>,
    ) -> io::Result<Self> {
        // Where the engine's own files are, its program is not.
        let elsewhere = lock.parent().unwrap_or(Path::new("/"));
        let program = program::open(program, elsewhere)?;
        let lock = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(lock)?;
        take_lock(&lock)?;
        let shared = Arc::new(Shared {
            program,
            lock,
            open_files,
            nursery: Mutex::new(None),
            pool: Mutex::new(Pool {
                idle: Vec::new(),
                wanted,
                taken_at: None,
                failed: false,
                closed: false,
            }),
            changed: Condvar::new(),
        });
        let for_thread = Arc::clone(&shared);
        let refill = std::thread::Builder::new()
            .name("shim-pool".to_owned())
            .spawn(move || for_thread.keep_filled())?;
        Ok(Self {
            shared,
            refill: Some(refill),
        })
    }

    /// Returns an idle shim, made now if none is ready.
    ///
    /// # Errors
    /// The process cannot be made.
    pub fn take(&self) -> io::Result<Idle> {
        let ready = {
            let mut pool = self.shared.pool();
            pool.taken_at = Some(Instant::now());
            pool.failed = false;
            pool.idle.pop()
        };
        self.shared.changed.notify_one();
        match ready {
            Some(idle) => Ok(idle),
            None => self.shared.spawn(),
        }
    }

    /// Ends the idle shims and makes no more, but for who takes one. Blocks for milliseconds.
    pub fn close(&self) {
        let idle = {
            let mut pool = self.shared.pool();
            pool.closed = true;
            std::mem::take(&mut pool.idle)
        };
        self.shared.changed.notify_one();
        for idle in idle {
            idle.dismiss();
        }
        let nursery = self.shared.nursery.lock();
        let nursery = nursery.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(nursery) = nursery {
            nursery.end();
        }
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        self.close();
        if let Some(refill) = self.refill.take() {
            // A panic of that thread has been reported by itself.
            drop(refill.join());
        }
    }
}

impl Shared {
    fn pool(&self) -> std::sync::MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep_filled(&self) {
        let mut pool = self.pool();
        while !pool.closed {
            match pool.wait_before_filling() {
                None => {
                    let woken = self.changed.wait(pool);
                    pool = woken.unwrap_or_else(PoisonError::into_inner);
                }
                Some(Duration::ZERO) => {
                    drop(pool);
                    let made = self.spawn();
                    pool = self.pool();
                    match made {
                        Ok(idle) if pool.closed => {
                            drop(pool);
                            return idle.dismiss();
                        }
                        Ok(idle) => pool.idle.push(idle),
                        // The start that needs one tries again, and tells the error.
                        Err(_) => pool.failed = true,
                    }
                }
                Some(time) => {
                    let waited = self.changed.wait_timeout(pool, time);
                    pool = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }

    fn spawn(&self) -> io::Result<Idle> {
        let mut nursery = self.nursery.lock().unwrap_or_else(PoisonError::into_inner);
        let (ours, theirs) = UnixStream::pair()?;
        let process = match nursery.as_ref() {
            Some(living) => living.ask(&theirs),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        let process = match process {
            Ok(process) => process,
            Err(_) => {
                // Taken first: what cannot be replaced is not asked again.
                if let Some(dead) = nursery.take() {
                    dead.end();
                }
                nursery.insert(self.open_nursery()?).ask(&theirs)?
            }
        };
        Ok(Idle {
            connection: Connection::new(ours.into())?,
            process,
        })
    }

    /// Starts the nursery. The standard library uses posix_spawn here, which does not copy the
    /// engine's memory: nothing in this command needs a fork.
    fn open_nursery(&self) -> io::Result<Nursery> {
        let (ours, theirs) = UnixStream::pair()?;
        let child = Command::new(format!("/proc/self/fd/{}", self.program.as_raw_fd()))
            .arg0("wharf")
            .arg("shim")
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(self.lock.try_clone()?))
            .stderr(Stdio::null())
            .spawn()?;
        ours.set_read_timeout(Some(NURSERY_TIME))?;
        let nursery = Nursery {
            connection: ours,
            child,
        };
        if let Some(current) = self.open_files {
            let pid = Pid::from_child(&nursery.child);
            let maximum = getrlimit(Resource::Nofile).maximum;
            let limit = Rlimit {
                current: Some(current),
                maximum,
            };
            rustix::process::prlimit(Some(pid), Resource::Nofile, limit)?;
        }
        Ok(nursery)
    }
}

impl Pool {
    /// How long to wait before one more is made; `None` when there are enough.
    fn wait_before_filling(&self) -> Option<Duration> {
        if self.failed || self.idle.len() >= self.wanted {
            return None;
        }
        let quiet_at = self.taken_at.map(|taken_at| taken_at + QUIET);
        let left = quiet_at.map(|at| at.saturating_duration_since(Instant::now()));
        let hurry = self.idle.len() < self.wanted.div_ceil(2);
        Some(left.filter(|_| !hurry).unwrap_or_default())
    }
}

impl Nursery {
    fn ask(&self, socket: &UnixStream) -> io::Result<OwnedFd> {
        nursery::ask(self.connection.as_fd(), socket.as_fd())
    }

    /// Ends the process, unless that has happened, and waits for it.
    fn end(self) {
        let Self {
            connection,
            mut child,
        } = self;
        drop(connection);
        // It exits at the connection's end; one that hangs is no use either.
        child.kill().ok();
        drop(child.wait());
    }
}

impl Idle {
    /// Ends the process and waits for it.
    fn dismiss(self) {
        let Self {
            connection,
            process,
        } = self;
        // It exits at the connection's end.
        drop(connection);
        reap(process.as_fd());
    }
}

/// Waits for the end of a shim made by this engine. That fails only if it was waited for before.
pub(crate) fn reap(process: BorrowedFd<'_>) {
    let wait = || rustix::process::waitid(WaitId::PidFd(process), WaitIdOptions::EXITED);
    while matches!(wait(), Err(Errno::INTR)) {}
}

/// Waits for the shims of earlier engines, then shares the lock with our own.
fn take_lock(lock: &File) -> io::Result<()> {
    let deadline = Instant::now() + LOCK_TIME;
    loop {
        match rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => {
                // There is no waiting for a lock with a limit but asking again.
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nursery_that_is_none_is_an_error() {
        let dir = tempfile::tempdir().expect("dir");
        // A program that is no nursery, and ends by itself.
        let spawner = Spawner::new(Path::new("/bin/true"), &dir.path().join("lock"), 1, None);
        let spawner = spawner.expect("spawner");
        spawner.take().expect_err("nobody answers");
        drop(spawner);
        Spawner::new(Path::new("/bin/true"), &dir.path().join("lock"), 0, None)
            .expect("lock is free");
    }
}
