//! The caller's side of a process being made: what it does for the child, and what it learns from
//! it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::process::Pid;
use wharf_oci::runtime::{Seccomp, State};

use crate::channel::{CallerEnd, Report};
use crate::error::ProcessError;
use crate::listener;
use crate::reap;
use crate::rlimits::Limit;
use crate::timeline::Mark;

/// A child on its way to its program.
#[derive(Debug)]
pub(crate) struct Newborn {
    pub(crate) pid: Pid,
    pub(crate) pidfd: OwnedFd,
    pub(crate) terminal: Option<OwnedFd>,
    pub(crate) warnings: Vec<String>,
    pub(crate) timeline: Vec<Mark>,
    connection: CallerEnd,
}

/// How far a child has come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Its namespaces are made, and it waits for the hooks.
    Namespaces,
    /// It waits to be started.
    Ready,
    /// It runs its program.
    Runs,
}

impl Newborn {
    pub(crate) fn new(
        pid: Pid,
        pidfd: OwnedFd,
        connection: CallerEnd,
        warnings: Vec<String>,
    ) -> Self {
        Self {
            pid,
            pidfd,
            terminal: None,
            warnings,
            timeline: Vec::new(),
            connection,
        }
    }

    /// Waits for the child's next stop. `adopt` is called with the id of a process that took the place of
    /// the first, `state` is what the listener of a filter is told.
    pub(crate) fn next(
        &mut self,
        adopt: impl Fn(Pid, &mut Vec<String>) -> Result<(), ProcessError>,
        filter: Option<&Seccomp>,
        state: &State,
    ) -> Result<Progress, ProcessError> {
        loop {
            match told(
                "hear from the container's process",
                self.connection.receive(),
            )? {
                Report::Warning(text) => self.warnings.push(text),
                Report::Timeline(marks) => self.timeline = marks,
                Report::Terminal(master) => self.terminal = Some(master),
                Report::Listener(fd) => {
                    let state = State {
                        pid: Some(self.pid.as_raw_pid()),
                        ..state.clone()
                    };
                    listener::hand_over(fd.as_fd(), filter, state)?;
                }
                Report::Moved(pidfd) => {
                    let first = std::mem::replace(&mut self.pidfd, pidfd);
                    told("reap the joining process", reap::reap(first.as_fd()))?;
                    self.pid = told("find the new process", pid_of(self.pidfd.as_fd()))?;
                    adopt(self.pid, &mut self.warnings)?;
                    self.go()?;
                }
                Report::Namespaces => return Ok(Progress::Namespaces),
                Report::Ready => return Ok(Progress::Ready),
                Report::Failed(error) => return Err(error),
                Report::End => return Ok(Progress::Runs),
            }
        }
    }

    /// Lets the child go on.
    pub(crate) fn go(&self) -> Result<(), ProcessError> {
        told("let the container's process go on", self.connection.go())
    }

    /// Ends the child, and says how it had ended by itself where that explains `error`.
    pub(crate) fn abandon(&self, error: ProcessError) -> ProcessError {
        match (reap::kill(self.pidfd.as_fd()), error) {
            (Ok(status), ProcessError::Died(_)) => {
                ProcessError::Died(reap::describe(status.as_ref()))
            }
            // The first error is the one worth telling.
            (_, error) => error,
        }
    }
}

/// Sets for a process in a user namespace what it may not set itself.
pub(crate) fn adjust(
    pid: Pid,
    limits: &[Limit],
    oom_score_adj: Option<i32>,
    warnings: &mut Vec<String>,
) -> Result<(), ProcessError> {
    for limit in limits {
        let warning = limit
            .apply(Some(pid))
            .map_err(|errno| ProcessError::Setup {
                step: format!("error setting rlimit type {}", limit.name()),
                errno: errno.raw_os_error(),
            })?;
        warnings.extend(warning);
    }
    if let Some(score) = oom_score_adj {
        let path = format!("/proc/{}/oom_score_adj", pid.as_raw_pid());
        told(
            &format!("write {path}"),
            std::fs::write(&path, score.to_string()),
        )?;
    }
    Ok(())
}

/// Id of the process behind a descriptor, in this process's numbering.
fn pid_of(pidfd: BorrowedFd<'_>) -> io::Result<Pid> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pid:"));
    line.and_then(|pid| Pid::from_raw(pid.trim().parse().ok()?))
        .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
}

fn told<T>(step: &str, result: io::Result<T>) -> Result<T, ProcessError> {
    crate::process::setup(step, result)
}
