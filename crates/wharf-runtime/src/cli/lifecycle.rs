//! `start`, `kill`, `delete`, `pause` and `resume`.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use wharf_cgroup::Cgroup;
use wharf_oci::runtime::{State, Status};

use super::args::{Delete, Kill};
use super::container::{Container, NotFound};
use super::create::process_failure;
use super::log::Log;
use super::{Failure, Outcome, signals};
use crate::hooks;

/// How long a killed container may take to end.
const DEATH: Duration = Duration::from_secs(10);

/// `start`: lets the process go on.
pub(super) fn start(root: &Path, id: &str, log: &Log) -> Outcome {
    let container = Container::open(root, id)?;
    match container.status()? {
        Status::Created => {}
        Status::Stopped => return Err("cannot start a container that has stopped".into()),
        _ => return Err("cannot start an already running container".into()),
    }
    let alive = || container.process().is_ok_and(|process| process.is_some());
    let opened = crate::open_gate(&container.fifo(), alive);
    // Whatever became of the process, it is created no more.
    std::fs::remove_file(container.fifo())?;
    opened.map_err(process_failure)?;
    if let Some(hooks) = &container.record.spec.hooks {
        let state = State {
            status: Status::Running,
            pid: Some(container.record.pid),
            ..container.state()?
        };
        for warning in hooks::run_all(&hooks.poststart, "poststart", &state) {
            log.warning(&warning);
        }
    }
    Ok(0)
}

/// `kill`: signals the first process, or all.
pub(super) fn kill(root: &Path, args: &Kill) -> Outcome {
    let container = Container::look(root, &args.id)?;
    let signal = signals::parse(&args.signal)?;
    if args.all {
        // The first process may have ended, and others of its cgroup still live.
        signal_all(&container.cgroup()?, signal)?;
        return Ok(0);
    }
    let process = container.process()?.ok_or("container not running")?;
    wharf_sys::signal::send_to(&process, signal)?;
    Ok(0)
}

fn signal_all(cgroup: &Cgroup, number: i32) -> Result<(), Failure> {
    if let Some(signal) = Signal::from_named_raw(number) {
        return Ok(cgroup.kill_all(signal)?);
    }
    for pid in cgroup.pids()? {
        match wharf_sys::signal::send(pid, number) {
            Err(error) if error.raw_os_error() != Some(rustix::io::Errno::SRCH.raw_os_error()) => {
                return Err(error.into());
            }
            _ => {}
        }
    }
    Ok(())
}

/// `delete`: takes away what a stopped container has left.
pub(super) fn delete(root: &Path, args: &Delete, log: &Log) -> Outcome {
    let container = match Container::open(root, &args.id) {
        Ok(container) => container,
        Err(failure) if args.force && failure.error.is::<NotFound>() => {
            // A runtime that was killed in `create` has left a directory without a state.
            let directory = root.join(&args.id);
            if directory.is_dir() {
                std::fs::remove_dir_all(directory)?;
            }
            return Ok(0);
        }
        Err(failure) => return Err(failure),
    };
    let status = container.status()?;
    match status {
        Status::Stopped => {}
        _ if args.force => end(&container)?,
        // As runc: a process that was never started is nobody's loss.
        Status::Created => end(&container)?,
        _ => {
            let status = serde_json::to_value(status)?;
            let status = status.as_str().unwrap_or_default();
            let text = format!(
                "cannot delete container {} that is not stopped: {status}",
                args.id
            );
            return Err(text.into());
        }
    }
    take_away(&container, log)?;
    Ok(0)
}

/// Takes away a container whose process has ended.
pub(super) fn forget(root: &Path, id: &str, log: &Log) -> Result<(), Failure> {
    take_away(&Container::open(root, id)?, log)
}

fn take_away(container: &Container, log: &Log) -> Result<(), Failure> {
    // What the first process has left behind, where it had no process namespace of its own.
    match container.cgroup() {
        Ok(cgroup) => {
            cgroup.kill_all(Signal::KILL)?;
            cgroup.remove()?;
        }
        // Removed before, by a delete that was interrupted.
        Err(failure) => log.debug(&super::describe(&*failure.error)),
    }
    let state = container.state()?;
    container.remove()?;
    if let Some(hooks) = &container.record.spec.hooks {
        for warning in hooks::run_all(&hooks.poststop, "poststop", &state) {
            log.warning(&warning);
        }
    }
    Ok(())
}

/// Kills all processes and waits for the first one's end.
fn end(container: &Container) -> Result<(), Failure> {
    let Some(process) = container.process()? else {
        return Ok(());
    };
    container.cgroup()?.kill_all(Signal::KILL)?;
    match rustix::process::pidfd_send_signal(&process, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(errno) => return Err(errno.into()),
    }
    let deadline = Instant::now() + DEATH;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec {
            tv_sec: i64::try_from(left.as_secs())?,
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut polled = [PollFd::new(&process, PollFlags::IN)];
        match poll(&mut polled, Some(&left)) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(0) => return Err("container init still running".into()),
            result => {
                result?;
                return Ok(());
            }
        }
    }
}

/// `pause`.
pub(super) fn pause(root: &Path, id: &str) -> Outcome {
    let container = Container::open(root, id)?;
    match container.status()? {
        Status::Running | Status::Created => container.cgroup()?.freeze()?,
        _ => return Err("container not running or created".into()),
    }
    Ok(0)
}

/// `resume`.
pub(super) fn resume(root: &Path, id: &str) -> Outcome {
    let container = Container::open(root, id)?;
    match container.status()? {
        Status::Paused => container.cgroup()?.thaw()?,
        _ => return Err("container not paused".into()),
    }
    Ok(0)
}
