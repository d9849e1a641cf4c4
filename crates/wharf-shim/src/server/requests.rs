//! Answering engines.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use rustix::process::Signal;
use wharf_log::LogWriter;
use wharf_types::ExecId;

use super::launch::{failure, step};
use super::{ENGINES_MAX, Engine, Server};
use crate::connection::{Connection, Received};
use crate::poll::{EventFlags, Interest, Token};
use crate::protocol::{Answer, Call, Client, Failure, Message, Request, Status, Target};

impl Server {
    pub(super) fn add_engine(&mut self, socket: OwnedFd) -> io::Result<()> {
        let mut engine = Engine {
            number: self.next_engine,
            connection: Connection::new(socket)?,
            interest: Interest::default(),
        };
        self.next_engine += 1;
        let token = Token::Engine(engine.number);
        let (connection, interest) = (&engine.connection, &mut engine.interest);
        self.poll
            .set(connection, token, interest, Some(EventFlags::IN))?;
        self.engines.push(engine);
        Ok(())
    }

    /// Takes a connection from the socket. Only the user the shim runs as may have one: the
    /// directory's mode says so already, this holds also if somebody loosens it.
    pub(super) fn accept(&mut self) {
        let socket = self.container.as_ref().and_then(|c| c.socket.as_ref());
        let Some(Ok((stream, _))) = socket.map(|socket| socket.listener().accept()) else {
            return;
        };
        let peer = rustix::net::sockopt::socket_peercred(&stream);
        let same_user = peer.is_ok_and(|peer| peer.uid == rustix::process::geteuid());
        if same_user && self.engines.len() < ENGINES_MAX {
            // A connection that cannot be watched is closed, and its engine sees that.
            drop(self.add_engine(stream.into()));
        }
    }

    pub(super) fn engine_event(&mut self, number: u32, flags: EventFlags) -> io::Result<()> {
        let Some(at) = self.engines.iter().position(|e| e.number == number) else {
            return Ok(());
        };
        let connection = &mut self.engines[at].connection;
        let mut alive = connection.flush().is_ok();
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            alive &= matches!(connection.receive(), Ok(Received::Some | Received::Nothing));
        }
        loop {
            match self.engines[at].connection.next_message() {
                Ok(Some((call, descriptors))) => self.answer(at, call, descriptors)?,
                Ok(None) => break,
                Err(_) => {
                    alive = false;
                    break;
                }
            }
        }
        if !alive {
            // The engine sees the connection's end, and knows by it that this is undone.
            self.prepared = None;
            self.engines.remove(at);
            for process in &mut self.processes {
                process.streams.drop_held(number);
            }
        }
        Ok(())
    }

    fn answer(&mut self, at: usize, call: Call, descriptors: Vec<OwnedFd>) -> io::Result<()> {
        let launches = matches!(call.request, Request::Launch(_));
        let engine = self.engines[at].number;
        let result = self.carry_out(engine, call.request, descriptors);
        let answer = Message::Answer {
            id: call.id,
            result,
        };
        // A broken connection shows as an event of its own.
        drop(self.engines[at].connection.send(&answer, Vec::new()));
        if launches {
            self.complete_launch()?;
        }
        Ok(())
    }

    fn carry_out(
        &mut self,
        engine: u32,
        request: Request,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Answer, Failure> {
        match request {
            Request::MakeUserNamespace(wanted) => self.make_user_namespace(wanted),
            Request::Prepare(prepare) => {
                self.prepared = Some(self.prepare(&prepare));
                Ok(Answer::Done)
            }
            Request::Launch(launch) => self.launch(*launch, descriptors),
            Request::Exec(exec) => self.exec(*exec, descriptors),
            Request::Attach(target, client) => self.attach(engine, target, client, descriptors),
            Request::Release(target, client) => {
                let mut processes = self.processes.iter_mut();
                if let Some(process) = processes.find(|p| p.target == target) {
                    process.streams.release_client(client);
                }
                Ok(Answer::Done)
            }
            Request::Resize {
                target,
                height,
                width,
            } => self.resize(target, height, width),
            Request::Signal(number) => self.signal(number),
            Request::KillExec(id) => self.kill_exec(id),
            Request::Stop(number) => self.stop(number),
            Request::Freeze => self.freeze(true),
            Request::Thaw => self.freeze(false),
            Request::Status => self.status(),
            Request::Heard(id) => {
                let mut processes = self.processes.iter_mut();
                if let Some(process) = processes.find(|p| p.target == Target::Exec(id)) {
                    process.held = None;
                }
                Ok(Answer::Done)
            }
        }
    }

    fn attach(
        &mut self,
        engine: u32,
        target: Target,
        client: Client,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Answer, Failure> {
        let process = self.target(target).ok_or_else(not_running)?;
        let mut descriptors = descriptors.into_iter();
        let socket = descriptors
            .next()
            .ok_or_else(|| failure("a descriptor is missing"))?;
        let streams = &mut process.streams;
        let held = client.held;
        let number = streams
            .add_client(socket, client, Some(engine))
            .map_err(|error| step("cannot connect the client", &error))?;
        if !held {
            return Ok(Answer::Done);
        }
        let log = streams.log.as_ref().map(LogWriter::position).transpose();
        let log = log.map_err(|error| step("cannot look at the log", &error))?;
        Ok(Answer::Held {
            client: number,
            log: log.flatten(),
        })
    }

    fn resize(&mut self, target: Target, height: u16, width: u16) -> Result<Answer, Failure> {
        let process = self.target(target).ok_or_else(not_running)?;
        match process.streams.resize(height, width) {
            // Without a terminal there is nothing to do; clients ask all the same.
            Ok(_) => Ok(Answer::Done),
            Err(error) => Err(step("cannot resize the terminal", &error)),
        }
    }

    fn signal(&mut self, number: i32) -> Result<Answer, Failure> {
        let Some(process) = self.target(Target::Container) else {
            return self.has_ended(Answer::Done);
        };
        wharf_sys::signal::send_to(&process.pidfd, number)
            .map_err(|error| step("cannot send the signal", &error))?;
        Ok(Answer::Done)
    }

    /// A further process leads a group of its own, which keeps its number at least until the process
    /// is reaped here.
    fn kill_exec(&mut self, id: ExecId) -> Result<Answer, Failure> {
        let process = self.target(Target::Exec(id)).ok_or_else(not_running)?;
        rustix::process::kill_process_group(process.pid, Signal::KILL)
            .map_err(|error| step("cannot kill the process", &error))?;
        Ok(Answer::Done)
    }

    fn stop(&mut self, number: i32) -> Result<Answer, Failure> {
        let Some(process) = self.target(Target::Container) else {
            return self.has_ended(Answer::Stopping { killed: false });
        };
        let pid = process.pid.as_raw_nonzero();
        // The process is our child and not reaped: the number is still its own.
        let status = fs::read_to_string(format!("/proc/{pid}/status"))
            .map_err(|error| step("cannot look at the process", &error))?;
        if drops(&status, number) {
            self.signal(Signal::KILL.as_raw())?;
            return Ok(Answer::Stopping { killed: true });
        }
        self.signal(number)?;
        Ok(Answer::Stopping { killed: false })
    }

    /// A process that ended while the request was under way takes a signal as one does that is not
    /// reaped yet: whoever sent it is about to hear of the end.
    fn has_ended(&self, answer: Answer) -> Result<Answer, Failure> {
        match &self.container {
            Some(_) => Ok(answer),
            None => Err(not_running()),
        }
    }

    fn freeze(&mut self, freeze: bool) -> Result<Answer, Failure> {
        let container = self.container.as_mut().ok_or_else(not_running)?;
        let result = if freeze {
            container.cgroup.freeze()
        } else {
            container.cgroup.thaw()
        };
        result.map_err(|error| step("cannot change the freezer", &error))?;
        container.frozen = freeze;
        Ok(Answer::Done)
    }

    fn status(&self) -> Result<Answer, Failure> {
        let container = self.container.as_ref().ok_or_else(not_running)?;
        let running = self.processes.iter().filter(|p| p.ended.is_none());
        let exec = |target| match target {
            Target::Container => None,
            Target::Exec(id) => Some(id),
        };
        Ok(Answer::Status(Status {
            id: container.id,
            run: container.run,
            started: Some(container.started.clone()),
            frozen: container.frozen,
            execs: running.filter_map(|p| exec(p.target)).collect(),
        }))
    }
}

fn not_running() -> Failure {
    failure("the process is not running")
}

/// Whether the kernel drops a signal to this process: for the first process of a pid namespace it
/// drops every signal that has the default action, unless it is blocked (then the process may take
/// it by sigwait or signalfd). The text is `/proc/PID/status`.
fn drops(status: &str, number: i32) -> bool {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.map(str::trim)
    };
    let Some(bit) = number.checked_sub(1).and_then(|n| u32::try_from(n).ok()) else {
        return false;
    };
    let has = |name: &str| {
        let mask = field(name).and_then(|mask| u64::from_str_radix(mask, 16).ok());
        mask.is_some_and(|mask| mask.checked_shr(bit).unwrap_or(0) & 1 == 1)
    };
    let namespaced = field("NSpid:").and_then(|pids| pids.split_whitespace().nth(1));
    let is_first = namespaced.is_some()
        && field("NSpid:").and_then(|pids| pids.split_whitespace().next_back()) == Some("1");
    // These two work on anybody.
    let forced = [Signal::KILL, Signal::STOP].map(Signal::as_raw);
    is_first && !forced.contains(&number) && !has("SigCgt:") && !has("SigBlk:")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(pids: &str, caught: u64, blocked: u64) -> String {
        format!("Name:\tsh\nNSpid:\t{pids}\nSigBlk:\t{blocked:016x}\nSigCgt:\t{caught:016x}\n")
    }

    #[test]
    fn a_first_process_without_handler_never_gets_the_signal() {
        let term = 1 << 14;
        for (pids, caught, blocked, dropped) in [
            ("4000\t1", 0, 0, true),
            ("4000\t1", term, 0, false),
            ("4000\t1", 0, term, false),
            ("4000\t7", 0, 0, false),
            ("4000", 0, 0, false),
            ("1", 0, 0, false),
        ] {
            let status = status(pids, caught, blocked);
            assert_eq!(drops(&status, 15), dropped, "{status}");
        }
        assert!(!drops(&status("4000\t1", 0, 0), 9));
        assert!(drops(&status("4000\t1", 0, 0), 64));
    }
}
