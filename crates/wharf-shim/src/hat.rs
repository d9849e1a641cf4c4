//! The process `wharf shim`: first the nursery, then, in each of its copies, a shim.
//!
//! The engine gives it two descriptors: the connection as standard input, the launch lock as
//! standard output. Nothing else is kept open; each leads a session of its own, ignores the signals
//! people send to whole groups, sits in `/`, and cannot be dumped or traced by the container.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use rustix::process::{DumpableBehavior, Signal};

use wharf_cgroup::Hierarchies;

use crate::nursery;
use crate::server::Server;

/// Signals that are meant for programs at a terminal, or for the engine's whole group. Only
/// SIGKILL ends a shim.
const IGNORED: [Signal; 7] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::PIPE,
    Signal::TERM,
    Signal::USR1,
    Signal::USR2,
];

/// Runs the process `wharf shim`, started by a [`crate::Spawner`]. It must have one thread.
#[must_use]
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        // There is nobody to tell: the engine sees the connection's end.
        Err(_) => ExitCode::FAILURE,
    }
}

fn run() -> io::Result<()> {
    let (engine, lock) = prepare()?;
    let hierarchies = Hierarchies::detect().map_err(io::Error::other)?;
    match nursery::serve(engine)? {
        Some(engine) => {
            rustix::process::setsid()?;
            Server::new(hierarchies, engine, lock)?.run()
        }
        None => Ok(()),
    }
}

fn prepare() -> io::Result<(OwnedFd, OwnedFd)> {
    rustix::thread::set_name(c"wharf-shim")?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // Out of the engine's group, whose signals are not for us.
    rustix::process::setsid()?;
    rustix::process::chdir("/")?;
    wharf_sys::signal::ignore(&IGNORED)?;
    let keep = |fd| rustix::io::fcntl_dupfd_cloexec(fd, 3);
    let engine = keep(rustix::stdio::stdin())?;
    let lock = keep(rustix::stdio::stdout())?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok((engine, lock))
}
