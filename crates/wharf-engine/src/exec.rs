//! Processes beside a container's first.
//!
//! A process is prepared, then run once, then remembered as ended while its container runs.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use wharf_oci::runtime::{ConsoleSize, Process};
use wharf_shim::RequestError;
use wharf_shim::protocol::{self, Answer, Client, Request, Target};
use wharf_store::RootedDir;
use wharf_types::{ExecId, failpoint};
use wharf_wire as wire;

use crate::attach::{attachment, detach_keys, pair};
use crate::container::{Container, refuse};
use crate::error::{Error, ErrorKind};
use crate::inner::Inner;
use crate::security::{Filter, Security};
use crate::state::{Denied, State};
use crate::streams::Attachment;
use crate::{capabilities, spec, user};

/// Processes remembered of one container.
const EXECS_MAX: usize = 1000;

/// A process beside a container's first.
#[derive(Debug, Clone)]
pub(crate) struct Exec {
    body: wire::ExecCreateBody,
    command: Vec<String>,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Prepared,
    Starting,
    Running { pid: i32 },
    Ended { code: i32, pid: i32 },
}

impl Exec {
    pub(crate) fn is_prepared(&self) -> bool {
        self.phase == Phase::Prepared
    }

    /// The exit code, once it has ended.
    pub(crate) fn code(&self) -> Option<i32> {
        match self.phase {
            Phase::Ended { code, .. } => Some(code),
            _ => None,
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running { .. })
    }
}

impl Inner {
    /// See [`crate::Engine::exec_create`].
    pub(crate) async fn exec_create(
        &self,
        container: &Arc<Container>,
        body: wire::ExecCreateBody,
    ) -> Result<wire::ExecCreated, Error> {
        self.settled(container).await;
        check_running(container)?;
        let command = body.cmd.as_deref().unwrap_or_default().to_vec();
        if command.is_empty() {
            return Err(Error::invalid("No exec command specified"));
        }
        detach_keys(&body.detach_keys)?;
        let id = ExecId::random();
        let line = worded(&command);
        {
            let mut live = container.live();
            if live.execs.len() >= EXECS_MAX {
                let over = |exec: &Exec| matches!(exec.phase, Phase::Ended { .. });
                let oldest = live
                    .execs
                    .iter()
                    .find(|(_, exec)| over(exec))
                    .map(|(id, _)| *id);
                let oldest =
                    oldest.ok_or_else(|| Error::conflict("too many execs are prepared"))?;
                live.execs.remove(&oldest);
            }
            let exec = Exec {
                body,
                command,
                phase: Phase::Prepared,
            };
            live.execs.insert(id, exec);
        }
        failpoint::hit("engine.exec.prepared");
        let action = format!("exec_create: {line}");
        self.tell_with(container, &action, &[("execID", id.to_string())]);
        Ok(wire::ExecCreated { id: id.to_string() })
    }

    /// Finds a process and its container.
    fn find_exec(&self, id: &str) -> Result<(Arc<Container>, ExecId, Exec), Error> {
        let missing = || Error::not_found(format!("No such exec instance: {id}"));
        let parsed: ExecId = id.parse().map_err(|_| missing())?;
        let containers = self.registry.all();
        let mut found = containers.into_iter().filter_map(|container| {
            let exec = container.live().execs.get(&parsed).cloned()?;
            Some((container, parsed, exec))
        });
        found.next().ok_or_else(missing)
    }

    /// See [`crate::Engine::exec_start`].
    pub(crate) async fn exec_start(
        self: &Arc<Self>,
        id: &str,
        body: &wire::ExecStartBody,
    ) -> Result<Option<Attachment>, Error> {
        let tty = self.exec_tty(id)?;
        if body.detach {
            self.exec_run(id, body, None).await?;
            return Ok(None);
        }
        let (ours, theirs) = pair()?;
        self.exec_run(id, body, Some(theirs.into())).await?;
        attachment(ours, tty).map(Some)
    }

    /// Runs a prepared process, with its client's socket or detached.
    pub(crate) async fn exec_run(
        self: &Arc<Self>,
        id: &str,
        body: &wire::ExecStartBody,
        socket: Option<OwnedFd>,
    ) -> Result<(), Error> {
        let (container, id, exec) = self.find_exec(id)?;
        self.take_exec(&container, id)?;
        // A client that is attached already hears of the failure by the exit code alone.
        let result = match check_running(&container) {
            Ok(()) => self.run_exec(&container, id, &exec, body, socket).await,
            Err(error) => Err((error, 126)),
        };
        if let Err((_, code)) = &result {
            self.set_phase(
                &container,
                id,
                Phase::Ended {
                    code: *code,
                    pid: 0,
                },
            );
        }
        result.map_err(|(error, _)| error)
    }

    fn take_exec(&self, container: &Container, id: ExecId) -> Result<(), Error> {
        let mut live = container.live();
        let exec = live.execs.get_mut(&id);
        let exec = exec.ok_or_else(|| Error::not_found(format!("No such exec instance: {id}")))?;
        match exec.phase {
            Phase::Prepared => {
                exec.phase = Phase::Starting;
                Ok(())
            }
            Phase::Starting | Phase::Running { .. } => Err(Error::conflict(format!(
                "Error: Exec command {id} is already running"
            ))),
            Phase::Ended { .. } => Err(Error::conflict(format!(
                "Error: Exec command {id} has already run"
            ))),
        }
    }

    fn set_phase(&self, container: &Container, id: ExecId, phase: Phase) {
        if let Some(exec) = container.live().execs.get_mut(&id) {
            // The end may be known before the start's answer has been handled.
            if !matches!(exec.phase, Phase::Ended { .. }) {
                exec.phase = phase;
            }
        }
    }

    async fn run_exec(
        self: &Arc<Self>,
        container: &Arc<Container>,
        id: ExecId,
        exec: &Exec,
        body: &wire::ExecStartBody,
        socket: Option<OwnedFd>,
    ) -> Result<(), (Error, i32)> {
        let failed = |error| (error, 126);
        let inner = Arc::clone(self);
        let target = Arc::clone(container);
        let given = exec.clone();
        let size = body.console_size.or(exec.body.console_size);
        let prepared = self
            .blocking(move || inner.prepare_exec(&target, &given, size))
            .await;
        let (process, seccomp) = prepared.map_err(failed)?;
        let client = socket.is_some().then(|| Client {
            stdin: exec.body.attach_stdin,
            stdout: exec.body.attach_stdout,
            stderr: exec.body.attach_stderr,
            // Checked when it was created.
            detach_keys: detach_keys(&exec.body.detach_keys).unwrap_or_default(),
            held: false,
        });
        let request = protocol::Exec {
            id,
            process,
            seccomp,
            client,
        };
        let shim = container.shim();
        let shim = shim.ok_or_else(|| failed(refuse(container, Denied::NotRunning)))?;
        let descriptors = socket.into_iter().collect();
        // Before it can end.
        let action = format!("exec_start: {}", worded(&exec.command));
        self.tell_with(container, &action, &[("execID", id.to_string())]);
        let answer = shim
            .request(Request::Exec(Box::new(request)), descriptors)
            .await;
        match answer {
            Ok(Answer::Started(started)) => {
                failpoint::hit("engine.exec.started");
                self.set_phase(container, id, Phase::Running { pid: started.pid });
                Ok(())
            }
            Ok(_) => Err(failed(Error::internal(
                "cannot exec",
                crate::start::UnexpectedAnswer,
            ))),
            Err(RequestError::Refused(failure)) => {
                let message = format!(
                    "OCI runtime exec failed: exec failed: unable to start container process: {}: unknown",
                    failure.message
                );
                let kind = match failure.exit_code {
                    126 | 127 => ErrorKind::Invalid,
                    _ => ErrorKind::Internal,
                };
                Err((Error::new(kind, message), i32::from(failure.exit_code)))
            }
            Err(error) => Err(failed(Error::internal("cannot exec", error))),
        }
    }

    /// Who the process is and what it may do; blocks.
    fn prepare_exec(
        &self,
        container: &Container,
        exec: &Exec,
        size: Option<[u32; 2]>,
    ) -> Result<(Process, Option<Vec<u8>>), Error> {
        let definition = &container.definition;
        let config = &definition.config;
        let body = &exec.body;
        let view = self
            .store
            .view(&container.snapshot())
            .map_err(|error| Error::internal("cannot look at the container's root", error))?;
        let wanted = if body.user.is_empty() {
            &config.user
        } else {
            &body.user
        };
        let groups = definition.host.group_add.as_deref().unwrap_or_default();
        let identity = user::look_up(&RootedDir::open(view), wanted, groups)?;
        let mut security = Security::read(&definition.host, &self.defaults())?;
        if body.privileged {
            security.capabilities = capabilities::all();
            security.filter = Filter::Unconfined;
        }
        let hostname = self.hostname(definition);
        let mut env = spec::environment(config, hostname.as_deref());
        if body.tty && !config.tty {
            spec::overlay_env(&mut env, &["TERM=xterm".to_owned()]);
        }
        spec::overlay_env(&mut env, body.env.as_deref().unwrap_or_default());
        let cwd = match (body.working_dir.as_str(), config.working_dir.as_str()) {
            ("", "") => "/",
            ("", own) => own,
            (given, _) => given,
        };
        let size = size
            .filter(|_| body.tty)
            .map(|[height, width]| ConsoleSize {
                height: u16::try_from(height).unwrap_or(u16::MAX),
                width: u16::try_from(width).unwrap_or(u16::MAX),
            });
        let process = Process {
            terminal: body.tty,
            console_size: size,
            user: identity.user,
            args: exec.command.clone(),
            env,
            cwd: PathBuf::from(cwd),
            capabilities: Some(spec::capabilities(&security.capabilities)),
            no_new_privileges: security.no_new_privileges,
            apparmor_profile: security.apparmor.clone(),
            ..Default::default()
        };
        let filter = self.filters.compiled(&security)?;
        Ok((process, filter.map(|bytes| bytes.to_vec())))
    }

    /// A process has ended.
    pub(crate) fn exec_ended(&self, container: &Container, id: ExecId, code: i32) {
        let pid = match container.live().execs.get(&id).map(|exec| exec.phase) {
            Some(Phase::Running { pid }) => pid,
            _ => 0,
        };
        failpoint::hit("engine.exec.ended");
        self.set_phase(container, id, Phase::Ended { code, pid });
        let more = [("execID", id.to_string()), ("exitCode", code.to_string())];
        self.tell_with(container, "exec_die", &more);
        container.touch();
    }

    /// See [`crate::Engine::exec_tty`].
    pub(crate) fn exec_tty(&self, id: &str) -> Result<bool, Error> {
        self.find_exec(id).map(|(_, _, exec)| exec.body.tty)
    }

    /// See [`crate::Engine::exec_inspect`].
    pub(crate) fn exec_inspect(&self, id: &str) -> Result<wire::ExecInspect, Error> {
        let (container, id, exec) = self.find_exec(id)?;
        let (program, arguments) = match exec.command.split_first() {
            Some((program, arguments)) => (program.clone(), arguments.to_vec()),
            None => Default::default(),
        };
        let (running, code, pid) = match exec.phase {
            Phase::Prepared => (false, None, 0),
            Phase::Starting => (true, None, 0),
            Phase::Running { pid } => (true, None, pid),
            Phase::Ended { code, pid } => (false, Some(code), pid),
        };
        Ok(wire::ExecInspect {
            id: id.to_string(),
            running,
            exit_code: code,
            process_config: wire::ExecProcess {
                tty: exec.body.tty,
                entrypoint: program,
                arguments,
                privileged: Some(exec.body.privileged),
                user: exec.body.user.clone(),
            },
            open_stdin: exec.body.attach_stdin,
            open_stderr: exec.body.attach_stderr,
            open_stdout: exec.body.attach_stdout,
            can_remove: code.is_some(),
            container_id: container.id().to_string(),
            detach_keys: String::new(),
            pid,
        })
    }

    /// See [`crate::Engine::exec_resize`].
    pub(crate) async fn exec_resize(&self, id: &str, size: wire::ResizeQuery) -> Result<(), Error> {
        let (container, id, _) = self.find_exec(id)?;
        let request = Request::Resize {
            target: Target::Exec(id),
            height: size.height,
            width: size.width,
        };
        self.ask(&container, request).await.map(drop)
    }
}

fn check_running(container: &Container) -> Result<(), Error> {
    let id = container.id();
    match &container.status().state {
        State::Running(_) => Ok(()),
        State::Paused(_) => Err(Error::conflict(format!(
            "container {id} is paused, unpause the container before exec"
        ))),
        State::Restarting(_) => Err(Error::conflict(format!(
            "container {id} is restarting, wait until the container is running"
        ))),
        _ => Err(Error::conflict(format!("container {id} is not running"))),
    }
}

/// A command as Docker's events have it: the program, a blank, its arguments, of which there may be none.
fn worded(command: &[String]) -> String {
    match command {
        [program] => format!("{program} "),
        words => words.join(" "),
    }
}
