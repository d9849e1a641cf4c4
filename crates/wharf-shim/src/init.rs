//! `wharf init`: the first process of a container started with `--init`.
//!
//! It runs the given program as its child, passes on every signal it gets, reaps what is
//! reparented to it, and ends as the program ended. The program gets the terminal's foreground, if
//! there is a terminal, so that keys reach it directly.
//!
//! The kernel drops a signal to the first process that is neither handled nor blocked. So the runtime
//! executes this program with all signals blocked, and a signal that comes before the program is
//! there waits for it.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, Signal, WaitOptions};
use wharf_sys::signal::SignalFd;

/// What is not passed on: faults, which are about this process itself, and what a terminal sends to
/// those in its background.
const OWN: [Signal; 9] = [
    Signal::ILL,
    Signal::TRAP,
    Signal::ABORT,
    Signal::BUS,
    Signal::FPE,
    Signal::SEGV,
    Signal::SYS,
    Signal::TTIN,
    Signal::TTOU,
];

/// Runs `wharf init -- PROGRAM ARGUMENT…` (the arguments without `init`). It must have one thread.
#[must_use]
pub fn init_main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter().peekable();
    arguments.next_if(|argument| argument == "--");
    let Some(program) = arguments.next() else {
        complain("no program given");
        return ExitCode::from(127);
    };
    match supervise(&program, arguments) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            complain(&format!("{}: {error}", program.display()));
            ExitCode::from(if error.kind() == io::ErrorKind::NotFound {
                127
            } else {
                126
            })
        }
    }
}

/// The container's user reads this; there is no other way to tell.
fn complain(what: &str) {
    let text = format!("wharf init: {what}\n");
    // Without standard error there is nobody to tell.
    rustix::io::write(rustix::stdio::stderr(), text.as_bytes()).ok();
}

fn supervise(program: &OsString, arguments: impl Iterator<Item = OsString>) -> io::Result<u8> {
    let signals = SignalFd::all_but(&OWN)?;
    let mut command = Command::new(program);
    command.args(arguments).process_group(0);
    wharf_sys::signal::start_unblocked(&mut command);
    let child = command.spawn()?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("the child has no id"))?;
    let stdin = rustix::stdio::stdin();
    if rustix::termios::isatty(stdin) {
        // We are in the background from here on, and would be stopped by a write of terminal
        // settings; there is none. A terminal that is not ours to give stays where it is.
        rustix::termios::tcsetpgrp(stdin, pid).ok();
    }
    loop {
        while let Ok(Some((ended, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if ended == pid {
                return Ok(code(status.exit_status(), status.terminating_signal()));
            }
        }
        let mut wait = [PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)];
        match rustix::event::poll(&mut wait, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        while let Some(taken) = signals.take()? {
            if taken.number == Signal::CHILD.as_raw() {
                continue;
            }
            // The program may just have ended; then there is nobody to pass it on to.
            drop(wharf_sys::signal::send(pid, taken.number));
        }
    }
}

fn code(status: Option<i32>, signal: Option<i32>) -> u8 {
    let code = status.or(signal.map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(255)
}
