//! Stopping, resuming and killing all processes of a group.
//!
//! v2 tells when a group has come to rest. v1 does not: the state is looked at until it is reached,
//! and because a process that forks while the group is being frozen can hold it up for ever, the
//! group is thawed and frozen anew now and then.

use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::Signal;
use rustix::time::{ClockId, clock_gettime};

use super::{Cgroup, CgroupError, Operation, is, refused, write_value};
use crate::files;

/// How long the kernel may take to stop all processes; one that is in uninterruptible sleep stops
/// when it leaves it.
const LIMIT: Duration = Duration::from_secs(10);
/// Between two looks at a v1 group.
const PAUSE: Duration = Duration::from_micros(500);
/// Looks at a v1 group before it is thawed and frozen anew.
const LOOKS: u32 = 50;
/// Rounds of killing where a group can be neither killed at once nor frozen.
const ROUNDS: u32 = 1000;

impl Cgroup {
    /// Stops all processes of the group; returns when they are stopped.
    pub fn freeze(&self) -> Result<(), CgroupError> {
        let dir = self.freezer_dir()?;
        let result = if self.is_v2() {
            freeze_v2(dir)
        } else {
            freeze_v1(dir)
        };
        if result.is_err() {
            // Half frozen is neither paused nor running.
            self.thaw()?;
        }
        result
    }

    /// Lets them run again.
    pub fn thaw(&self) -> Result<(), CgroupError> {
        let dir = self.freezer_dir()?;
        if self.is_v2() {
            write_value(&dir.join("cgroup.freeze"), "0")
        } else {
            write_value(&dir.join("freezer.state"), "THAWED")
        }
    }

    /// Whether the group is frozen.
    pub fn frozen(&self) -> Result<bool, CgroupError> {
        let dir = self.freezer_dir()?;
        if self.is_v2() {
            let frozen = files::read_value(&dir.join("cgroup.events"), "frozen")?;
            Ok(frozen == Some(1))
        } else {
            let state = files::read(&dir.join("freezer.state"))?;
            Ok(state.trim_end() == "FROZEN")
        }
    }

    /// Sends `signal` to every process of the group and of the groups below it, none escaping by
    /// forking. A paused group stays paused, unless it is killed. A group that is gone has nobody.
    pub fn kill_all(&self, signal: Signal) -> Result<(), CgroupError> {
        match self.signal_all(signal) {
            Err(error) if super::gone(&error) => Ok(()),
            result => result,
        }
    }

    fn signal_all(&self, signal: Signal) -> Result<(), CgroupError> {
        let fatal = signal == Signal::KILL;
        if fatal && let Some(unified) = self.unified_path() {
            let path = unified.join("cgroup.kill");
            match files::write(&path, "1") {
                Ok(()) if self.is_v2() => return Ok(()),
                // Beside v1 hierarchies, processes may be in those alone.
                Ok(()) => {}
                // The kernel is older than 5.14, or the group is threaded.
                Err(error) if is(&error, Errno::NOENT) || is(&error, Errno::OPNOTSUPP) => {}
                Err(error) => return Err(refused(&path, "1", error)),
            }
        }
        if self.freezer_dir().is_err() {
            return self.kill_until_none(signal);
        }
        let was_frozen = self.frozen()?;
        if !was_frozen {
            self.freeze()?;
        }
        let signalled = self.signal_each(signal).map(|_| ());
        if !was_frozen || fatal {
            self.thaw()?;
        }
        signalled
    }

    /// Signals every process once; how many there were.
    fn signal_each(&self, signal: Signal) -> Result<usize, CgroupError> {
        let pids = self.pids()?;
        for &pid in &pids {
            match rustix::process::kill_process(pid, signal) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(error) => {
                    return Err(CgroupError::io(Operation::Signal, &self.path, error));
                }
            }
        }
        Ok(pids.len())
    }

    /// Without a freezer: again until nobody is left, where the signal kills.
    fn kill_until_none(&self, signal: Signal) -> Result<(), CgroupError> {
        for _ in 0..ROUNDS {
            if self.signal_each(signal)? == 0 || signal != Signal::KILL {
                return Ok(());
            }
            std::thread::sleep(PAUSE);
        }
        Err(CgroupError::Busy {
            path: self.path.clone(),
        })
    }

    fn freezer_dir(&self) -> Result<&Path, CgroupError> {
        self.dir("freezer").ok_or(CgroupError::NoController {
            controller: "freezer",
        })
    }
}

/// Time that passes while the machine runs, for deadlines.
fn now() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::try_from(now).unwrap_or_default()
}

fn not_frozen(dir: &Path) -> CgroupError {
    CgroupError::NotFrozen {
        path: dir.to_owned(),
        seconds: LIMIT.as_secs(),
    }
}

fn freeze_v1(dir: &Path) -> Result<(), CgroupError> {
    let path = dir.join("freezer.state");
    let deadline = now() + LIMIT;
    while now() < deadline {
        write_value(&path, "FROZEN")?;
        for _ in 0..LOOKS {
            // Reading is what makes the kernel look whether all have stopped.
            if files::read(&path)?.trim_end() == "FROZEN" {
                return Ok(());
            }
            std::thread::sleep(PAUSE);
        }
        write_value(&path, "THAWED")?;
    }
    Err(not_frozen(dir))
}

fn freeze_v2(dir: &Path) -> Result<(), CgroupError> {
    write_value(&dir.join("cgroup.freeze"), "1")?;
    wait_for_event(dir, "frozen", 1)?
        .then_some(())
        .ok_or_else(|| not_frozen(dir))
}

/// Waits until a line of `cgroup.events` has `value`; whether it came to that.
pub(super) fn wait_for_event(dir: &Path, key: &str, value: u64) -> Result<bool, CgroupError> {
    let path = dir.join("cgroup.events");
    let file = std::fs::File::open(&path).map_err(|source| CgroupError::read(&path, source))?;
    let deadline = now() + LIMIT;
    loop {
        // A read rearms the notification; what changes after it makes the poll return.
        let mut text = [0; 256];
        let length = rustix::io::pread(&file, &mut text, 0)
            .map_err(|source| CgroupError::io(Operation::Read, &path, source))?;
        let text = String::from_utf8_lossy(&text[..length]);
        if files::value_of(&text, key).and_then(|number| number.parse().ok()) == Some(value) {
            return Ok(true);
        }
        let left = deadline.saturating_sub(now());
        if left.is_zero() {
            return Ok(false);
        }
        let mut polled = [PollFd::new(&file, PollFlags::PRI)];
        let timeout = Timespec::try_from(left).ok();
        match rustix::event::poll(&mut polled, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(CgroupError::io(Operation::Watch, &path, error)),
        }
    }
}
