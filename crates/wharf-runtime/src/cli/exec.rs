//! `exec`.

use std::os::fd::AsFd;
use std::path::Path;

use wharf_oci::runtime::Status;

use super::args;
use super::console::{NO_CONSOLE_SOCKET, USELESS_CONSOLE_SOCKET};
use super::container::Container;
use super::create::{inherited, process_failure, write_pid};
use super::log::Log;
use super::{Failure, Outcome, console, process_spec};
use crate::exec::{Exec, exec as join};
use crate::launch::Stdio;

/// `exec`: runs a further process, and unless detached waits for its end.
pub(super) fn exec(root: &Path, args: args::Exec, log: &Log) -> Outcome {
    let container = Container::look(root, &args.id)?;
    check_status(container.status()?, &args)?;
    let init = container
        .process()?
        .ok_or("cannot exec in a stopped container")?;
    let spec = &container.record.spec;
    let own = spec
        .process
        .as_ref()
        .ok_or("the container has no process")?;
    let process = process_spec::process(&args, own)?;
    check_console(&args, process.terminal)?;
    let signals = (!args.detach).then(console::Signals::block).transpose()?;
    let cgroup = container.cgroup()?;
    let joined = join(Exec {
        process: &process,
        spec,
        init: init.as_fd(),
        cgroup: &cgroup,
        stdio: if process.terminal {
            Stdio::Terminal
        } else {
            Stdio::Inherit
        },
        seccomp: None,
        preserve_fds: inherited(args.preserve_fds)?,
    });
    let mut running = joined.map_err(process_failure)?;
    // The process may run for long; the container can be changed meanwhile.
    drop(container);
    running
        .warnings
        .iter()
        .for_each(|warning| log.warning(warning));
    if let (Some(socket), Some(master)) = (
        &args.console_socket,
        running.terminal.take_if(|_| args.detach),
    ) {
        console::send_master(socket, &master)?;
    }
    if let Some(path) = &args.pid_file {
        write_pid(path, running.pid.as_raw_pid())?;
    }
    let Some(signals) = signals else { return Ok(0) };
    console::accompany(running.pidfd.as_fd(), running.terminal.take(), &signals)
}

/// Refuses to join a container that is not there to be joined.
fn check_status(status: Status, args: &args::Exec) -> Result<(), Failure> {
    match status {
        Status::Running | Status::Created => Ok(()),
        Status::Paused if args.ignore_paused => Ok(()),
        Status::Paused => {
            Err("cannot exec in a paused container (use --ignore-paused to override)".into())
        }
        _ => Err("cannot exec in a stopped container".into()),
    }
}

/// A terminal needs somebody at its other end: this process, or whoever gets it by the socket.
fn check_console(args: &args::Exec, terminal: bool) -> Result<(), Failure> {
    if args.detach && terminal && args.console_socket.is_none() {
        return Err(NO_CONSOLE_SOCKET.into());
    }
    if args.console_socket.is_some() && (!args.detach || !terminal) {
        return Err(USELESS_CONSOLE_SOCKET.into());
    }
    Ok(())
}
