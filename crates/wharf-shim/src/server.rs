//! The shim's loop: one container, its further processes, their clients, the engines.
//!
//! ```text
//!  idle ──launch──▶ running ──first process ends──▶ draining ──outputs at their end──▶ recorded
//!   │ engine gone                                      │ 2 s pass                          │
//!   ▼                                                  ╰───────────────────────────────────▶ released
//!  exits                                                                                     ▼ exits
//! ```
//!
//! - *idle*: the shim was made ahead of need; it exits when its engine goes.
//! - *running*: from here on nothing depends on an engine. Any number may connect at the socket.
//! - *recorded*: `exit.json` is on the disk; only then is anybody told, and only then are clients'
//!   connections closed, so that whoever sees the end of the output finds the exit status.
//! - *released*: cgroup and socket are gone. The process stays while a client has not yet taken its
//!   last output.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions};
use wharf_cgroup::{Cgroup, Hierarchies, OomWatch};
use wharf_oci::runtime::Spec;
use wharf_runtime::UserNamespace;
use wharf_sys::signal::SignalFd;
use wharf_types::ContainerId;

use crate::connection::Connection;
use crate::exit;
use crate::poll::{EventFlags, Interest, Poll, Token};
use crate::protocol::{Exit, External, Failure, Message, Notice, Started, Target};
use crate::socket::Socket;
use crate::streams::{ClientEvent, Streams};

mod external;
mod launch;
mod requests;

/// How long outputs are read after their process has ended, when somebody else holds them open;
/// Docker's two seconds.
const DRAIN_TIME: Duration = Duration::from_secs(2);
/// How long an engine may take to hear of a further process's end.
const HEARING_TIME: Duration = Duration::from_secs(1);
/// How long after a burst of output, or a further process, its room is given back.
const TRIM_TIME: Duration = Duration::from_millis(300);
/// How often an engine is told of a log that cannot be written.
const TROUBLE_TIME: Duration = Duration::from_secs(10);
/// Engines that may be connected at a time.
const ENGINES_MAX: usize = 8;
/// Number of the container's first process in tokens.
const FIRST: u32 = 0;

/// A shim.
#[derive(Debug)]
pub(crate) struct Server {
    poll: Poll,
    hierarchies: Hierarchies,
    engines: Vec<Engine>,
    next_engine: u32,
    /// The user namespace of the container to come, and the one for its mounts; until the launch
    /// has been answered.
    user_namespace: Option<[UserNamespace; 2]>,
    /// What was begun before the launch.
    prepared: Option<Result<launch::Prepared, Failure>>,
    /// Set by the launch.
    container: Option<Container>,
    processes: Vec<Process>,
    next_process: u32,
    /// Held until the socket listens: the next engine waits for it, and so never overlooks a shim
    /// that is about to launch.
    launch_lock: Option<OwnedFd>,
    /// The launch failed, and its engine knows: there is nothing left to do.
    failed: bool,
    /// When an engine was last told of a log that cannot be written.
    trouble_told: Option<Instant>,
    buffer: Vec<u8>,
    /// When the room that a burst of output took goes back to the kernel.
    trim_at: Option<Instant>,
}

#[derive(Debug)]
struct Engine {
    number: u32,
    connection: Connection,
    interest: Interest,
}

/// What the launch leaves for later.
#[derive(Debug)]
struct Container {
    id: ContainerId,
    run: u64,
    /// As it was launched, without its filter: that comes compiled.
    spec: Spec,
    directory: PathBuf,
    durability: exit::Durability,
    cgroup: Cgroup,
    started: Started,
    frozen: bool,
    /// Until it is released.
    socket: Option<Socket>,
    out_of_memory: Option<OomWatch>,
    /// Only when processes of the container are reparented to the shim.
    children: Option<SignalFd>,
    /// The program that has made it, if it was another one.
    external: Option<External>,
}

/// A process whose streams and end are the shim's business.
#[derive(Debug)]
struct Process {
    number: u32,
    target: Target,
    pid: Pid,
    pidfd: OwnedFd,
    streams: Streams,
    ended: Option<Ended>,
    /// Its end has been told; only clients are left.
    told: bool,
    /// Until when its clients' connections stay: whoever sees the end of a further process's output
    /// asks the engine for its exit code, which must know it by then.
    held: Option<Instant>,
    interest: Interest,
}

#[derive(Debug)]
struct Ended {
    code: i32,
    at: Timestamp,
    /// When its outputs are given up.
    deadline: Instant,
}

impl Server {
    pub(crate) fn new(
        hierarchies: Hierarchies,
        engine: OwnedFd,
        launch_lock: OwnedFd,
    ) -> io::Result<Self> {
        let mut server = Self {
            poll: Poll::new()?,
            hierarchies,
            engines: Vec::new(),
            next_engine: 0,
            user_namespace: None,
            prepared: None,
            container: None,
            processes: Vec::new(),
            next_process: FIRST,
            launch_lock: Some(launch_lock),
            failed: false,
            trouble_told: None,
            buffer: Vec::new(),
            trim_at: None,
        };
        server.add_engine(engine)?;
        Ok(server)
    }

    /// Serves until nothing is left to do.
    pub(crate) fn run(mut self) -> io::Result<()> {
        while self.has_work() {
            let deadline = self.deadline();
            for (token, flags) in self.poll.wait(deadline)? {
                self.handle(token, flags)?;
            }
            self.trim();
            self.tell_of_logs();
            self.settle_processes();
            self.register()?;
        }
        self.flush_engines();
        Ok(())
    }

    fn has_work(&self) -> bool {
        !self.processes.is_empty()
            || (self.container.is_none() && !self.engines.is_empty() && !self.failed)
    }

    fn deadline(&self) -> Option<Instant> {
        let draining = self.processes.iter().filter(|process| !process.told);
        let deadlines = draining.filter_map(|process| Some(process.ended.as_ref()?.deadline));
        let held = self.processes.iter().filter_map(|process| process.held);
        deadlines.chain(held).chain(self.trim_at).min()
    }

    /// Gives back what a burst of output took, once it is over: this process idles beside its container.
    fn trim(&mut self) {
        let now = Instant::now();
        let mut bursts = self.processes.iter_mut();
        if bursts.any(|process| process.streams.take_burst()) {
            self.trim_at = Some(now + TRIM_TIME);
        } else if self.trim_at.is_some_and(|at| at <= now) {
            self.trim_at = None;
            wharf_sys::allocator::trim();
        }
    }

    fn handle(&mut self, token: Token, flags: EventFlags) -> io::Result<()> {
        match token {
            Token::Listener => self.accept(),
            Token::OutOfMemory => self.out_of_memory(),
            Token::Children => self.reap_strangers(),
            Token::Engine(number) => return self.engine_event(number, flags),
            Token::Ended(number) => self.process_ended(number)?,
            Token::Output(number, index) => {
                let mut buffer = std::mem::take(&mut self.buffer);
                if let Some(process) = self.process(number) {
                    process.streams.read_output(index, &mut buffer);
                }
                self.buffer = buffer;
            }
            Token::Input(number) => {
                if let Some(process) = self.process(number) {
                    process.streams.write_input();
                }
            }
            Token::Client(number, client) => self.client_event(number, client, flags),
            Token::Log(number) => {
                if let Some(process) = self.process(number) {
                    process.streams.send_log();
                }
            }
        }
        Ok(())
    }

    fn client_event(&mut self, number: u32, client: u32, flags: EventFlags) {
        let mut buffer = std::mem::take(&mut self.buffer);
        if let Some(process) = self.process(number) {
            let target = process.target;
            let event = process.streams.client_event(client, flags, &mut buffer);
            if event == ClientEvent::Detached {
                self.notify(&Notice::Detached(target));
            }
        }
        self.buffer = buffer;
    }

    fn process(&mut self, number: u32) -> Option<&mut Process> {
        self.processes.iter_mut().find(|p| p.number == number)
    }

    fn target(&mut self, target: Target) -> Option<&mut Process> {
        let found = |p: &&mut Process| p.target == target && p.ended.is_none();
        self.processes.iter_mut().find(found)
    }

    fn register(&mut self) -> io::Result<()> {
        for process in &mut self.processes {
            process.streams.register(&self.poll)?;
            let wanted = process.ended.is_none().then_some(EventFlags::IN);
            let token = Token::Ended(process.number);
            self.poll
                .set(&process.pidfd, token, &mut process.interest, wanted)?;
        }
        for engine in &mut self.engines {
            let mut wanted = EventFlags::IN;
            wanted.set(EventFlags::OUT, !engine.connection.is_flushed());
            let token = Token::Engine(engine.number);
            let (connection, interest) = (&engine.connection, &mut engine.interest);
            self.poll.set(connection, token, interest, Some(wanted))?;
        }
        Ok(())
    }

    fn out_of_memory(&mut self) {
        let watch = self
            .container
            .as_mut()
            .and_then(|c| c.out_of_memory.as_mut());
        match watch.map(OomWatch::take) {
            Some(Ok(0)) | None => {}
            Some(Ok(_)) => self.notify(&Notice::OutOfMemory),
            // It cannot be read any more: closing it takes it out of the poll.
            Some(Err(_)) => {
                if let Some(container) = &mut self.container {
                    container.out_of_memory = None;
                }
            }
        }
    }

    /// Reaps children that no descriptor stands for: with the host's pid namespace, orphans of the
    /// container are reparented to the shim.
    fn reap_strangers(&mut self) {
        let Some(children) = self.container.as_ref().and_then(|c| c.children.as_ref()) else {
            return;
        };
        while let Ok(Some(_)) = children.take() {}
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let own = |p: &&mut Process| p.pid == pid && p.ended.is_none();
            if let Some(process) = self.processes.iter_mut().find(own) {
                let number = process.number;
                let code = exit_code(status.exit_status(), status.terminating_signal());
                self.set_ended(number, code);
            }
        }
    }

    fn process_ended(&mut self, number: u32) -> io::Result<()> {
        let Some(process) = self.process(number).filter(|p| p.ended.is_none()) else {
            return Ok(());
        };
        let pidfd = WaitId::PidFd(process.pidfd.as_fd());
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let Some(status) = rustix::process::waitid(pidfd, options)? else {
            return Ok(());
        };
        let code = exit_code(status.exit_status(), status.terminating_signal());
        self.set_ended(number, code);
        Ok(())
    }

    fn set_ended(&mut self, number: u32, code: i32) {
        let Some(process) = self.process(number) else {
            return;
        };
        process.ended = Some(Ended {
            code,
            at: Timestamp::now(),
            deadline: Instant::now() + DRAIN_TIME,
        });
        process.streams.drain();
        if process.target == Target::Container {
            self.kill_leftovers();
        }
    }

    /// A pid namespace dies with its first process. A container without one of its own is ended
    /// here, or its other processes would go on with nobody to answer for them.
    fn kill_leftovers(&self) {
        let Some(container) = &self.container else {
            return;
        };
        if container.children.is_some() {
            // What cannot be killed shows when the cgroup is removed.
            drop(container.cgroup.kill_all(Signal::KILL));
        }
    }

    /// Tells the end of processes whose outputs are at their end, and drops those without clients.
    fn settle_processes(&mut self) {
        let now = Instant::now();
        for at in 0..self.processes.len() {
            let process = &mut self.processes[at];
            let Some(ended) = &process.ended else {
                continue;
            };
            if process.told || !(process.streams.is_drained() || ended.deadline <= now) {
                continue;
            }
            let (code, finished) = (ended.code, ended.at);
            let mut buffer = std::mem::take(&mut self.buffer);
            process.streams.finish(&mut buffer);
            self.buffer = buffer;
            process.told = true;
            match process.target {
                Target::Container => self.tell_exit(at, code, finished),
                Target::Exec(id) => {
                    let heard = !self.engines.is_empty();
                    self.processes[at].held = heard.then(|| now + HEARING_TIME);
                    self.notify(&Notice::ExecExited(id, code));
                }
            }
        }
        let poll = &self.poll;
        self.processes.retain_mut(|process| {
            process.held = process.held.filter(|until| *until > now);
            if !process.told || process.held.is_some() || process.streams.close_clients() {
                return true;
            }
            // Takes the closed descriptors out of the poll.
            process.streams.register(poll).is_err()
        });
    }

    fn tell_exit(&mut self, at: usize, code: i32, finished: Timestamp) {
        let Some(container) = &self.container else {
            return;
        };
        let log_lost = self.processes[at]
            .streams
            .log
            .as_ref()
            .map_or(0, |log| log.lost());
        let exit = Exit {
            run: container.run,
            code,
            oom_killed: container.cgroup.oom_kills().is_ok_and(|kills| kills > 0),
            started: container.started.at,
            finished,
            log_lost,
        };
        // On a full disk the status cannot be kept; a living engine is told all the same, and one
        // that comes later finds neither a shim nor a status, and says so.
        drop(exit::write(
            &container.directory,
            &exit,
            container.durability,
        ));
        self.notify(&Notice::Exited(exit));
        self.processes[at].streams.close_clients();
        self.flush_engines();
        self.release();
    }

    /// Removes what the run had in the kernel and in the exec root.
    fn release(&mut self) {
        let Some(container) = &mut self.container else {
            return;
        };
        container.out_of_memory = None;
        if let Some(external) = &container.external {
            // What is left of it the engine looks after.
            drop(external::release(external, &container.id.to_string()));
        }
        // Both are the engine's to finish if they fail: it looks at the cgroups and sockets that
        // belong to no running container.
        let removed = container.cgroup.remove();
        let unlinked = container.socket.take().map_or(Ok(()), Socket::close);
        if removed.is_ok() && unlinked.is_ok() {
            self.notify(&Notice::Released);
        }
        self.flush_engines();
    }

    /// Tells what happened to the logs. What goes wrong is told at most once in [`TROUBLE_TIME`],
    /// and kept while no engine is there to hear it.
    fn tell_of_logs(&mut self) {
        let mut notices = Vec::new();
        for process in &mut self.processes {
            let Some(log) = &mut process.streams.log else {
                continue;
            };
            if log.take_rotated() {
                notices.push(Notice::LogRotated);
            }
            let due = self
                .trouble_told
                .is_none_or(|told| told.elapsed() > TROUBLE_TIME);
            if self.engines.is_empty() || !due {
                continue;
            }
            if let Some(trouble) = log.take_trouble() {
                self.trouble_told = Some(Instant::now());
                notices.push(Notice::LogTrouble {
                    lost: trouble.lost,
                    error: trouble
                        .error
                        .map_or_else(String::new, |error| error.to_string()),
                });
            }
        }
        for notice in &notices {
            self.notify(notice);
        }
    }

    fn notify(&mut self, notice: &Notice) {
        let message = Message::Notice(notice.clone());
        for engine in &mut self.engines {
            // A broken connection shows as an event of its own.
            drop(engine.connection.send(&message, Vec::new()));
        }
    }

    fn flush_engines(&mut self) {
        for engine in &mut self.engines {
            drop(engine.connection.flush());
        }
    }
}

/// The code a shell gives: 128 and the signal's number for a process that a signal ended.
fn exit_code(code: Option<i32>, signal: Option<i32>) -> i32 {
    match (code, signal) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 255,
    }
}
