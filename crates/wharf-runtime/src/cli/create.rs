//! `create` and `run`.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use wharf_cgroup::Hierarchies;
use wharf_oci::runtime::Spec;

use super::args::{Create, Run};
use super::console;
use super::container::{Draft, record};
use super::log::Log;
use super::{Failure, Outcome};
use crate::launch::{Created, Gate, Launch, Started, Stdio};
use crate::{CreateError, ProcessError, StartError};

/// `create`: the process waits at the FIFO when this returns.
pub(super) fn create(root: &Path, args: Create, log: &Log) -> Outcome {
    let bundle = Bundle::open(args.bundle.as_deref())?;
    let terminal = bundle.wants_terminal();
    if terminal && args.console_socket.is_none() {
        return Err(console::NO_CONSOLE_SOCKET.into());
    }
    if !terminal && args.console_socket.is_some() {
        return Err(console::USELESS_CONSOLE_SOCKET.into());
    }
    let draft = Draft::new(root, &args.id)?;
    let gate = Gate::Fifo(draft.make_fifo()?);
    let created = match bundle.create(&args, gate) {
        Ok(created) => created,
        Err(error) => return Err(give_back(&draft, error)),
    };
    settle(draft, created, bundle, &args, log)?;
    Ok(0)
}

/// `run`: create and start, and unless detached wait for the end.
pub(super) fn run(root: &Path, args: Run, log: &Log) -> Outcome {
    let Run {
        create: args,
        detach,
        keep,
    } = args;
    let bundle = Bundle::open(args.bundle.as_deref())?;
    let terminal = bundle.wants_terminal();
    if detach && terminal && args.console_socket.is_none() {
        return Err(console::NO_CONSOLE_SOCKET.into());
    }
    if args.console_socket.is_some() && (!detach || !terminal) {
        return Err(console::USELESS_CONSOLE_SOCKET.into());
    }
    let draft = Draft::new(root, &args.id)?;
    let signals = (!detach).then(console::Signals::block).transpose()?;
    let created = match bundle.create(&args, Gate::Caller) {
        Ok(created) => created,
        Err(error) => return Err(give_back(&draft, error)),
    };
    let id = args.id.clone();
    let (container, created) = settle(draft, created, bundle, &args, log)?;
    // The state must be readable for others while this waits.
    drop(container);
    let Started { mut running, .. } = match created.start() {
        Ok(started) => started,
        Err(error) => {
            super::lifecycle::forget(root, &id, log)?;
            return Err(process_failure(error));
        }
    };
    running
        .warnings
        .iter()
        .for_each(|warning| log.warning(warning));
    let Some(signals) = signals else { return Ok(0) };
    let code = console::accompany(running.pidfd.as_fd(), running.terminal.take(), &signals);
    if !keep {
        super::lifecycle::forget(root, &id, log)?;
    }
    code
}

/// Hands over the terminal, makes the container known, writes its process id.
fn settle(
    draft: Draft,
    mut created: Created,
    bundle: Bundle,
    args: &Create,
    log: &Log,
) -> Result<(super::container::Container, Created), Failure> {
    let done = (|| {
        for warning in created.warnings() {
            log.warning(warning);
        }
        if let Some(socket) = &args.console_socket
            && let Some(master) = created.take_terminal()
        {
            console::send_master(socket, &master)?;
        }
        let pid = created.pid();
        let record = record(&args.id, pid, bundle.path, created.cgroup(), bundle.spec)?;
        if let Some(path) = &args.pid_file {
            write_pid(path, pid.as_raw_pid())?;
        }
        Ok::<_, Failure>(record)
    })();
    match done {
        Ok(record) => Ok((draft.save(record)?, created)),
        Err(failure) => {
            crate::reap::kill(created.pidfd())?;
            created.cgroup().remove()?;
            draft.discard()?;
            Err(failure)
        }
    }
}

fn give_back(draft: &Draft, failure: Failure) -> Failure {
    match draft.discard() {
        Ok(()) => failure,
        Err(error) => {
            let text = format!("{}; and {error}", super::describe(&*failure.error));
            text.into()
        }
    }
}

/// Writes a process id; the file appears complete.
pub(super) fn write_pid(path: &Path, pid: i32) -> Result<(), Failure> {
    let name = path.file_name().ok_or("the pid file has no name")?;
    let temporary = path.with_file_name(format!(".{}", name.to_string_lossy()));
    std::fs::write(&temporary, pid.to_string())
        .and_then(|()| std::fs::rename(&temporary, path))
        .map_err(|error| format!("cannot write {}: {error}", path.display()).into())
}

/// Words a failure of the process as engines expect it.
pub(super) fn process_failure(error: impl Into<StartFailure>) -> Failure {
    match error.into() {
        StartFailure::Process(error) => {
            format!("unable to start container process: {error}").into()
        }
        StartFailure::Other(error) => Failure::from(error),
    }
}

/// A failure of the start, the container's own apart.
pub(super) enum StartFailure {
    Process(ProcessError),
    Other(Box<dyn std::error::Error>),
}

impl From<CreateError> for StartFailure {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::Process(error) => Self::Process(error),
            error => Self::Other(error.into()),
        }
    }
}

impl From<StartError> for StartFailure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Process(error) => Self::Process(error),
            error => Self::Other(error.into()),
        }
    }
}

impl From<crate::ExecError> for StartFailure {
    fn from(error: crate::ExecError) -> Self {
        match error {
            crate::ExecError::Process(error) => Self::Process(error),
            error => Self::Other(error.into()),
        }
    }
}

/// A directory with a configuration.
struct Bundle {
    path: PathBuf,
    spec: Spec,
}

impl Bundle {
    fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let path = std::fs::canonicalize(path.unwrap_or(Path::new(".")))?;
        let file = path.join("config.json");
        let text = match std::fs::read(&file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(format!("JSON specification file {} not found", file.display()).into());
            }
            text => text?,
        };
        let mut spec: Spec = serde_json::from_slice(&text)
            .map_err(|error| format!("{}: {error}", file.display()))?;
        if let Some(linux) = &spec.linux
            && let Some(path) = &linux.cgroups_path
            && path.contains(':')
        {
            let text = format!("cgroupsPath {path:?} is systemd's form, which is not supported");
            return Err(text.into());
        }
        pass_sockets(&mut spec);
        Ok(Self { path, spec })
    }

    fn wants_terminal(&self) -> bool {
        self.spec
            .process
            .as_ref()
            .is_some_and(|process| process.terminal)
    }

    fn create(&self, args: &Create, gate: Gate) -> Result<Created, Failure> {
        let hierarchies = Hierarchies::detect()?;
        let mut launch = Launch::new(&args.id, &self.spec, &self.path, &hierarchies);
        if self.wants_terminal() {
            launch.stdio = Stdio::Terminal;
        }
        launch.preserve_fds = inherited(args.preserve_fds)?;
        launch.gate = gate;
        launch.new_keyring = !args.no_new_keyring;
        launch.pivot = !args.no_pivot;
        crate::create(launch).map_err(process_failure)
    }
}

/// The number of sockets that systemd's protocol hands to this process.
fn socket_count() -> u16 {
    std::env::var("LISTEN_FDS")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(0)
}

/// Hands systemd's sockets on: the container's process gets the same descriptors, as process 1.
fn pass_sockets(spec: &mut Spec) {
    let count = socket_count();
    if let Some(process) = &mut spec.process
        && count > 0
    {
        process.env.push(format!("LISTEN_FDS={count}"));
        process.env.push("LISTEN_PID=1".to_owned());
        if let Ok(names) = std::env::var("LISTEN_FDNAMES") {
            process.env.push(format!("LISTEN_FDNAMES={names}"));
        }
    }
}

/// The descriptors the container's process gets from the caller's.
pub(super) fn inherited(asked: u16) -> Result<Vec<OwnedFd>, Failure> {
    let count = asked
        .checked_add(socket_count())
        .ok_or("too many descriptors to preserve")?;
    wharf_sys::process::inherited(count)
        .map_err(|error| format!("cannot preserve {count} descriptors: {error}").into())
}
