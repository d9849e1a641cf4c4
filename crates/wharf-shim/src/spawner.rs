//! Makes shims ahead of need.
//!
//! All shims of an engine run from one sealed copy of its program: the copy takes milliseconds,
//! and a process that enters a container must not offer the engine's own file for overwriting
//! (CVE-2019-5736). A few idle ones wait, so that a start does not wait for an exec.
//!
//! *The launch lock.* An engine can be killed after it has sent a launch and before the shim has
//! read it. The next engine must not take that container for stopped while it is about to start.
//! So all idle shims inherit one open file with a shared lock, and let go of it when their socket
//! listens; the next engine takes the lock exclusively before it looks at anything, and by then each
//! shim of the last engine either listens or is gone.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, MemfdFlags, SealFlags};

use crate::connection::Connection;
use crate::protocol::{Call, Prepare, Request, UNHEARD};

/// How long an engine waits for the shims of the last one to listen or to end.
const LOCK_TIME: Duration = Duration::from_secs(10);

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
    pool: Mutex<Pool>,
    changed: Condvar,
}

#[derive(Debug)]
struct Pool {
    idle: Vec<Idle>,
    wanted: usize,
    /// Whether the pool may be filled at this moment.
    filling: bool,
    closed: bool,
}

/// A shim without a container.
#[derive(Debug)]
pub struct Idle {
    pub(crate) connection: Connection,
    pub(crate) child: Child,
}

impl Spawner {
    /// Copies `program`, which must answer to the argument `shim` by calling [`crate::main`], and
    /// begins to keep `wanted` idle shims. `lock` is the file of the launch lock.
    ///
    /// # Errors
    /// The program cannot be copied, or shims of an earlier engine hold the lock for too long.
    pub fn new(program: &Path, lock: &Path, wanted: usize) -> io::Result<Self> {
        let lock = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(lock)?;
        take_lock(&lock)?;
        let shared = Arc::new(Shared {
            program: sealed_copy(program)?,
            lock,
            pool: Mutex::new(Pool {
                idle: Vec::new(),
                wanted,
                filling: true,
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

    /// Returns an idle shim, made now if none is ready. The pool is filled again after
    /// [`Self::refill`], so that this does not compete with the start that needs it.
    ///
    /// # Errors
    /// The process cannot be made.
    pub fn take(&self) -> io::Result<Idle> {
        let ready = {
            let mut pool = self.shared.pool();
            pool.filling = false;
            pool.idle.pop()
        };
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
    }

    /// Fills the pool in the background.
    pub fn refill(&self) {
        self.shared.pool().filling = true;
        self.shared.changed.notify_one();
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
        loop {
            let pool = self.pool();
            let full =
                |pool: &mut Pool| !pool.closed && (!pool.filling || pool.idle.len() >= pool.wanted);
            let waited = self.changed.wait_while(pool, full);
            let pool = waited.unwrap_or_else(PoisonError::into_inner);
            if pool.closed {
                return;
            }
            drop(pool);
            match self.spawn() {
                Ok(idle) => {
                    let mut pool = self.pool();
                    if pool.closed {
                        drop(pool);
                        idle.dismiss();
                    } else {
                        pool.idle.push(idle);
                    }
                }
                // The start that needs one tries again, and tells the error.
                Err(_) => self.pool().filling = false,
            }
        }
    }

    /// Starts a process. The standard library uses posix_spawn here, which does not copy the
    /// engine's memory: nothing in this command needs a fork.
    fn spawn(&self) -> io::Result<Idle> {
        let (ours, theirs) = UnixStream::pair()?;
        let child = Command::new(format!("/proc/self/fd/{}", self.program.as_raw_fd()))
            .arg0("wharf")
            .arg("shim")
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(self.lock.try_clone()?))
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Idle {
            connection: Connection::new(ours.into())?,
            child,
        })
    }
}

impl Idle {
    /// Lets the shim begin with a container, and does not wait for it.
    ///
    /// # Errors
    /// The message cannot be sent.
    pub fn prepare(&mut self, prepare: Prepare) -> io::Result<()> {
        let request = Request::Prepare(Box::new(prepare));
        let call = Call {
            id: UNHEARD,
            request,
        };
        self.connection.send(&call, Vec::new())
    }

    /// Ends the process, which undoes what it has prepared, and waits for it. Blocks.
    pub fn dismiss(self) {
        let Self {
            connection,
            mut child,
        } = self;
        drop(connection);
        // It exits at the connection's end; that waiting fails only if it was waited for before.
        drop(child.wait());
    }
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

/// Copies a program into memory that cannot be changed any more.
fn sealed_copy(program: &Path) -> io::Result<OwnedFd> {
    let mut source = File::open(program)?;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut copy = File::from(rustix::fs::memfd_create("wharf", flags)?);
    io::copy(&mut source, &mut copy)?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&copy, seals)?;
    Ok(copy.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_cannot_be_written() {
        let copy = sealed_copy(Path::new("/proc/self/exe")).expect("copy");
        assert_eq!(rustix::io::write(&copy, b"x"), Err(rustix::io::Errno::PERM));
        let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
        let opened = File::options().write(true).open(path);
        let written = opened.and_then(|file| Ok(rustix::io::write(&file, b"x")?));
        assert!(written.is_err());
    }

    #[test]
    fn idle_shims_are_made_and_ended() {
        let dir = tempfile::tempdir().expect("dir");
        // Any program will do: this one ends by itself.
        let spawner = Spawner::new(Path::new("/bin/true"), &dir.path().join("lock"), 1);
        let spawner = spawner.expect("spawner");
        spawner.take().expect("a shim").dismiss();
        spawner.refill();
        drop(spawner);
        Spawner::new(Path::new("/bin/true"), &dir.path().join("lock"), 0).expect("lock is free");
    }
}
