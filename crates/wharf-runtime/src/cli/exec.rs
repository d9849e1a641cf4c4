//! `exec`.

use std::os::fd::AsFd;
use std::path::Path;

use wharf_oci::runtime::Status;

use super::args;
use super::container::Container;
use super::create::{inherited, process_failure, write_pid};
use super::log::Log;
use super::{Outcome, console, process_spec};
use crate::exec::{Exec, exec as join};
use crate::launch::Stdio;

/// `exec`: runs a further process, and unless detached waits for its end.
pub(super) fn exec(root: &Path, args: args::Exec, log: &Log) -> Outcome {
    let container = Container::look(root, &args.id)?;
    match container.status()? {
        Status::Running | Status::Created => {}
        Status::Paused if args.ignore_paused => {}
        Status::Paused => {
            return Err(
                "cannot exec in a paused container (use --ignore-paused to override)".into(),
            );
        }
        _ => return Err("cannot exec in a stopped container".into()),
    }
    let init = container
        .process()?
        .ok_or("cannot exec in a stopped container")?;
    let spec = &container.record.spec;
    let own = spec
        .process
        .as_ref()
        .ok_or("the container has no process")?;
    let process = process_spec::process(&args, own)?;
    if args.detach && process.terminal && args.console_socket.is_none() {
        return Err(
            "cannot allocate tty if runc will detach without setting console socket".into(),
        );
    }
    if args.console_socket.is_some() && (!args.detach || !process.terminal) {
        return Err("cannot use console socket if runc will not detach or allocate tty".into());
    }
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
