//! Making the container, and further processes in it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Instant;

use jiff::Timestamp;
use rustix::process::Signal;
use wharf_cgroup::Cgroup;
use wharf_log::LogWriter;
use wharf_oci::runtime::{IdMapping, NamespaceKind, Spec};
use wharf_runtime::{
    CreateError, ExecError, Groundwork, ProcessError, RootSource, Running, Stdio, UserNamespace,
};
use wharf_seccomp::Program;
use wharf_sys::signal::SignalFd;

use super::external::{self, Making};
use super::{Container, Process, Server, TRIM_TIME};
use crate::exit;
use crate::poll::{EventFlags, Interest, Token};
use crate::protocol::{
    self, Answer, Client, Exec, Failure, Keepers, Launch, Prepare, Started, Stdin, Target,
};
use crate::socket::Socket;
use crate::streams::{Ends, Streams};

/// What a process's streams are made of.
struct Wiring {
    ends: Ends,
    once: bool,
    log: Option<LogWriter>,
    clients: Vec<(OwnedFd, Client)>,
}

/// What was begun before the launch; dropped with a shim that is never to launch, it is undone.
#[derive(Debug)]
pub(super) struct Prepared {
    /// Another program does it itself.
    groundwork: Option<Groundwork>,
    seccomp: Option<Program>,
    socket: Socket,
}

impl Server {
    /// Does what needs no more than this of a container.
    pub(super) fn prepare(&self, prepare: &Prepare) -> Result<Prepared, Failure> {
        let Prepare {
            cgroup,
            resources,
            seccomp,
            socket_directory,
            external,
        } = prepare;
        let lay = || {
            Groundwork::lay(cgroup, resources, &self.hierarchies)
                .map_err(|error| create_failure(&error))
        };
        Ok(Prepared {
            seccomp: program(seccomp.as_deref())?,
            groundwork: (!external).then(lay).transpose()?,
            socket: Socket::listen(socket_directory)
                .map_err(|error| step("cannot listen for the engine", &error))?,
        })
    }

    /// Makes the container and starts it. When that fails nothing is left.
    pub(super) fn launch(
        &mut self,
        launch: Launch,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Answer, Failure> {
        if self.container.is_some() {
            return Err(failure("the shim has a container already"));
        }
        let prepared = self.prepared.take();
        // The socket listens: the next engine finds us.
        self.launch_lock = None;
        let launched = prepared
            .unwrap_or_else(|| Err(failure("the launch was not prepared")))
            .and_then(|prepared| self.launch_container(launch, descriptors, prepared));
        self.failed = launched.is_err();
        launched.map(Answer::Started)
    }

    fn launch_container(
        &mut self,
        mut launch: Launch,
        descriptors: Vec<OwnedFd>,
        prepared: Prepared,
    ) -> Result<Started, Failure> {
        let mut descriptors = descriptors.into_iter();
        let mut next = || {
            descriptors
                .next()
                .ok_or_else(|| failure("a descriptor is missing"))
        };
        let root = next()?;
        let network = launch.joins_network.then(&mut next).transpose()?;
        let with_socket = |client| Ok((next()?, client));
        let clients = std::mem::take(&mut launch.clients)
            .into_iter()
            .map(with_socket)
            .collect::<Result<_, Failure>>()?;

        let log = LogWriter::open(std::mem::take(&mut launch.log)).map_err(|error| Failure {
            before_runtime: true,
            ..step("failed to initialize logging driver", &error)
        })?;
        let children = adopt_orphans(&launch.spec, launch.external.is_some())
            .map_err(|error| step("cannot adopt the container's orphans", &error))?;
        let terminal = launch.spec.process.as_ref().is_some_and(|p| p.terminal);
        let (stdio, ends) = stdio(terminal, launch.stdin != Stdin::Null)
            .map_err(|error| step("cannot make pipes", &error))?;

        let Prepared {
            groundwork,
            seccomp,
            socket,
        } = prepared;
        let (cgroup, running) = self.make(&launch, root, network, stdio, (groundwork, seccomp))?;
        let wiring = Wiring {
            ends,
            once: launch.stdin == Stdin::Once,
            log: Some(log),
            clients,
        };
        let started = self.adopt(Target::Container, running, wiring)?;
        self.container = Some(Container {
            id: launch.id,
            run: launch.run,
            spec: launch.spec,
            directory: launch.directory,
            durability: match launch.fleeting {
                true => exit::Durability::Engine,
                false => exit::Durability::Machine,
            },
            cgroup,
            started: started.clone(),
            frozen: false,
            socket: Some(socket),
            out_of_memory: None,
            children,
            external: launch.external,
        });
        Ok(started)
    }

    /// Has the container made, by the runtime that is linked here or by another program.
    fn make(
        &self,
        launch: &Launch,
        root: OwnedFd,
        network: Option<OwnedFd>,
        stdio: Stdio,
        (groundwork, seccomp): (Option<Groundwork>, Option<Program>),
    ) -> Result<(Cgroup, Running), Failure> {
        let id = launch.id.to_string();
        let (spec, directory) = (&launch.spec, &launch.directory);
        if let Some(external) = &launch.external {
            return external::run(Making {
                id: &id,
                spec,
                external,
                root,
                network,
                stdio,
                hierarchies: &self.hierarchies,
            });
        }
        let mut request = wharf_runtime::Launch::new(&id, spec, directory, &self.hierarchies);
        request.root = RootSource::Detached(root);
        request.network = network;
        // That of another container goes before its own.
        let own = self.user_namespace.as_ref().filter(|_| !joins_user(spec));
        let user = own.map(|[own, _]| own.open());
        request.user = user.transpose().map_err(|error| create_failure(&error))?;
        request.stdio = stdio;
        request.signals_blocked = launch.init;
        request.seccomp = seccomp;
        request.groundwork = groundwork;
        let started = wharf_runtime::run(request).map_err(|error| create_failure(&error))?;
        Ok((started.cgroup, started.running))
    }

    /// Watches over a process that runs. One that cannot be watched over is killed.
    fn adopt(
        &mut self,
        target: Target,
        running: Running,
        wiring: Wiring,
    ) -> Result<Started, Failure> {
        let started = Started {
            pid: running.pid.as_raw_nonzero().get(),
            at: Timestamp::now(),
            warnings: running.warnings,
        };
        let number = self.next_process;
        self.next_process += 1;
        let ends = running.terminal.map_or(wiring.ends, Ends::Terminal);
        let streams =
            Streams::new(number, ends, wiring.once, wiring.log).and_then(|mut streams| {
                for (socket, client) in wiring.clients {
                    streams.add_client(socket, client, None)?;
                }
                Ok(streams)
            });
        let streams = match streams {
            Ok(streams) => streams,
            Err(error) => {
                // Its end is not waited for: it is a zombie as long as this shim, which exits.
                rustix::process::pidfd_send_signal(&running.pidfd, Signal::KILL).ok();
                return Err(step("cannot connect the process's streams", &error));
            }
        };
        self.processes.push(Process {
            number,
            target,
            pid: running.pid,
            pidfd: running.pidfd,
            streams,
            ended: None,
            told: false,
            held: None,
            interest: Interest::default(),
        });
        Ok(started)
    }

    /// Makes a user namespace with a mapping that the engine decided.
    pub(super) fn make_user_namespace(
        &mut self,
        wanted: protocol::UserNamespace,
    ) -> Result<Answer, Failure> {
        if self.container.is_some() {
            return Err(failure("the shim has a container already"));
        }
        let protocol::UserNamespace {
            mut uids,
            mut gids,
            network,
            root_in_mounts,
            joined,
        } = wanted;
        let make = |uids: &[IdMapping], gids: &[IdMapping], network| {
            UserNamespace::new(uids, gids, network).map_err(|error| create_failure(&error))
        };
        let own = match joined {
            None => make(&uids, &gids, network)?,
            Some(path) => UserNamespace::joined(&path).map_err(|error| create_failure(&error))?,
        };
        let root = root_in_mounts.map(|container_id| IdMapping {
            container_id,
            host_id: 0,
            size: 1,
        });
        uids.extend(root);
        gids.extend(root);
        let mounts = make(&uids, &gids, false)?;
        let pid = |namespace: &UserNamespace| namespace.pid().as_raw_pid();
        let keepers = Keepers {
            container: pid(&own),
            mounts: pid(&mounts),
        };
        self.user_namespace = Some([own, mounts]);
        Ok(Answer::Keepers(keepers))
    }

    /// What a running container needs beside its process; after the engine has its answer, because
    /// none of it is needed for the start.
    pub(super) fn complete_launch(&mut self) -> io::Result<()> {
        self.user_namespace = None;
        let Some(container) = &mut self.container else {
            return Ok(());
        };
        let readable = Some(EventFlags::IN);
        if let Some(socket) = &container.socket {
            let mut interest = Interest::default();
            self.poll
                .set(socket.listener(), Token::Listener, &mut interest, readable)?;
        }
        if let Some(children) = &container.children {
            let mut interest = Interest::default();
            self.poll
                .set(children.as_fd(), Token::Children, &mut interest, readable)?;
        }
        // Without the memory controller there is nothing to watch.
        if let Ok(watch) = container.cgroup.watch_oom() {
            let mut interest = Interest::default();
            self.poll
                .set(watch.as_fd(), Token::OutOfMemory, &mut interest, readable)?;
            container.out_of_memory = Some(watch);
        }
        wharf_sys::allocator::trim();
        Ok(())
    }

    /// Runs a further process.
    pub(super) fn exec(
        &mut self,
        exec: Exec,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Answer, Failure> {
        let first = self
            .target(Target::Container)
            .map(|first| first.pidfd.try_clone());
        let (Some(container), Some(first)) = (&self.container, first) else {
            return Err(failure("the container is not running"));
        };
        let first = first.map_err(|error| step("cannot reach the container", &error))?;
        let (stdio, ends) = match &exec.client {
            _ if exec.process.terminal => (Ok(Stdio::Terminal), Ends::None),
            None => (null_stdio(), Ends::None),
            Some(client) => match stdio(false, client.stdin) {
                Ok((stdio, ends)) => (Ok(stdio), ends),
                Err(error) => (Err(error), Ends::None),
            },
        };
        let stdio = stdio.map_err(|error| step("cannot make pipes", &error))?;
        let running = match &container.external {
            Some(external) => {
                let id = container.id.to_string();
                external::exec(external, &id, &exec.process, stdio, self.next_process)
            }
            None => wharf_runtime::exec(wharf_runtime::Exec {
                process: &exec.process,
                spec: &container.spec,
                init: first.as_fd(),
                cgroup: &container.cgroup,
                stdio,
                seccomp: program(exec.seccomp.as_deref())?,
                preserve_fds: Vec::new(),
            })
            .map_err(|error| exec_failure(&error)),
        }?;
        let wiring = Wiring {
            ends,
            once: true,
            log: None,
            clients: descriptors.into_iter().zip(exec.client).collect(),
        };
        self.trim_at = Some(Instant::now() + TRIM_TIME);
        self.adopt(Target::Exec(exec.id), running, wiring)
            .map(Answer::Started)
    }
}

/// Whether the configuration says which user namespace is joined.
fn joins_user(spec: &Spec) -> bool {
    let mut namespaces = spec.linux.iter().flat_map(|linux| &linux.namespaces);
    namespaces.any(|namespace| namespace.kind == NamespaceKind::User && namespace.path.is_some())
}

/// Without a pid namespace of its own a container's orphans go to the nearest ancestor that takes
/// them; only there the shim hears of them. What another program has made is an orphan as soon as
/// that program ends.
fn adopt_orphans(spec: &Spec, external: bool) -> io::Result<Option<SignalFd>> {
    let namespaces = spec.linux.iter().flat_map(|linux| &linux.namespaces);
    let mut pid = namespaces.filter(|namespace| namespace.kind == NamespaceKind::Pid);
    // One that is joined does not end with this container.
    if !external && pid.any(|namespace| namespace.path.is_none()) {
        return Ok(None);
    }
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    SignalFd::block(&[Signal::CHILD]).map(Some)
}

/// A process's streams, and the shim's ends of them.
fn stdio(terminal: bool, open_stdin: bool) -> io::Result<(Stdio, Ends)> {
    if terminal {
        return Ok((Stdio::Terminal, Ends::None));
    }
    let (stdin, stdin_end) = if open_stdin {
        let (read, write) = io::pipe()?;
        (read.into(), Some(write.into()))
    } else {
        (OwnedFd::from(File::open("/dev/null")?), None)
    };
    let (stdout_end, stdout) = io::pipe()?;
    let (stderr_end, stderr) = io::pipe()?;
    let ends = Ends::Pipes(stdin_end, stdout_end.into(), stderr_end.into());
    let stdio = Stdio::Pipes {
        stdin,
        stdout: stdout.into(),
        stderr: stderr.into(),
    };
    Ok((stdio, ends))
}

fn null_stdio() -> io::Result<Stdio> {
    let null = || File::options().read(true).write(true).open("/dev/null");
    Ok(Stdio::Pipes {
        stdin: null()?.into(),
        stdout: null()?.into(),
        stderr: null()?.into(),
    })
}

fn program(bytes: Option<&[u8]>) -> Result<Option<Program>, Failure> {
    let decoded = bytes.map(Program::decode).transpose();
    decoded.map_err(|error| step("cannot read the system call filter", &error))
}

fn create_failure(error: &CreateError) -> Failure {
    let process = match error {
        CreateError::Process(process) => Some(process),
        _ => None,
    };
    process_failure(process, error)
}

fn exec_failure(error: &ExecError) -> Failure {
    let process = match error {
        ExecError::Process(process) => Some(process),
        _ => None,
    };
    process_failure(process, error)
}

fn process_failure(process: Option<&ProcessError>, error: &dyn std::error::Error) -> Failure {
    Failure {
        message: chain(error),
        exit_code: process.map_or(125, ProcessError::exit_code),
        before_runtime: false,
    }
}

pub(super) fn failure(message: &str) -> Failure {
    Failure {
        message: message.to_owned(),
        exit_code: 125,
        before_runtime: false,
    }
}

pub(super) fn step(what: &str, error: &dyn std::error::Error) -> Failure {
    failure(&format!("{what}: {}", chain(error)))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
