//! What engine and shim say to each other.
//!
//! The engine asks, the shim answers each request once, in order; a notice is what the shim says
//! unasked. Descriptors go along with the message that names them, in the order given there.
//! Engine and shim may be of different versions (a shim outlives the engine that made it), so
//! members are only ever added, each with a default.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wharf_log::{Plan, Position};
use wharf_oci::runtime::{IdMapping, Process, Resources, Spec};
use wharf_types::{ContainerId, ExecId};

/// One message of the engine.
#[derive(Debug, Serialize, Deserialize)]
pub struct Call {
    /// Number the answer will carry.
    pub id: u64,
    /// What is asked.
    pub request: Request,
}

/// Number of a request whose answer nobody waits for.
pub const UNHEARD: u64 = 0;

/// What the engine asks.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Begin with what needs no more than this; to an idle shim, before its launch. The engine does not
    /// wait: what fails is told by the launch.
    Prepare(Box<Prepare>),
    /// Make a user namespace for the container to be launched.
    MakeUserNamespace(UserNamespace),
    /// Make the container and start it; to an idle shim, or after its user namespace is made, which the
    /// container then joins. Descriptors: the root mount, the network namespace
    /// if `joins_network`, then one socket for each of `clients`.
    Launch(Box<Launch>),
    /// Connect a socket (the one descriptor) to a process's streams.
    Attach(Target, Client),
    /// Let a client that is held have its output: the answer to its attaching has the number.
    Release(Target, u32),
    /// Run a further process. Descriptor: one socket if there is a client.
    Exec(Box<Exec>),
    /// Set the size of a process's terminal.
    Resize {
        /// Whose terminal.
        target: Target,
        /// Rows.
        height: u16,
        /// Columns.
        width: u16,
    },
    /// Send a signal, by number, to the container's first process.
    Signal(i32),
    /// Send the signal that asks the first process to end; if that process has no handler for it,
    /// so that the kernel would drop the signal, kill it.
    Stop(i32),
    /// Stop all processes of the container where they are.
    Freeze,
    /// Let them go on.
    Thaw,
    /// Tell what runs.
    Status,
    /// Kill a further process, and all it has made that has not left its process group.
    KillExec(ExecId),
    /// The end of a further process has been taken note of: its client's connection may end.
    Heard(ExecId),
}

/// A process of the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// The first one.
    Container,
    /// A further one.
    Exec(ExecId),
}

/// A user namespace to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserNamespace {
    /// Users inside and outside.
    pub uids: Vec<IdMapping>,
    /// Groups inside and outside.
    pub gids: Vec<IdMapping>,
    /// Whether a network namespace is made that belongs to it.
    pub network: bool,
    /// The id that the host's root has in the mapping for mounts, if it is in none of the above.
    pub root_in_mounts: Option<u32>,
    /// One with this mapping that is there already, and that the container joins: only the network namespace
    /// is made.
    pub joined: Option<PathBuf>,
}

/// The processes that keep a new user namespace: who asked opens what it needs of it in `/proc`.
/// They live until the launch has been answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keepers {
    /// In the user namespace, and the network namespace if there is one.
    pub container: i32,
    /// In a user namespace for id-mapped mounts: the same mapping, and `root_in_mounts`.
    pub mounts: i32,
}

/// What of a container is known before its launch.
#[derive(Debug, Serialize, Deserialize)]
pub struct Prepare {
    /// Path of its cgroup.
    pub cgroup: PathBuf,
    /// Its limits.
    pub resources: Resources,
    /// The compiled system call filter, as [`wharf_seccomp::Program::encode`] writes it.
    pub seccomp: Option<Vec<u8>>,
    /// Directory of the shim's socket in the exec root.
    pub socket_directory: PathBuf,
    /// Whether another program makes the container.
    #[serde(default)]
    pub external: bool,
}

/// A container to make.
#[derive(Debug, Serialize, Deserialize)]
pub struct Launch {
    /// Its id.
    pub id: ContainerId,
    /// Which of its runs this is; kept with the exit status, so that an old one is not taken for a
    /// new one.
    pub run: u64,
    /// Its configuration.
    pub spec: Spec,
    /// Directory of the container in the data root: the exit status is written there.
    pub directory: PathBuf,
    /// Where the output is kept.
    pub log: Plan,
    /// Whether a ready network namespace comes along.
    pub joins_network: bool,
    /// Standard input.
    pub stdin: Stdin,
    /// Clients that were there before the start.
    pub clients: Vec<Client>,
    /// Whether the container is removed as it ends, so that its exit status need not outlast the
    /// machine's crash.
    #[serde(default)]
    pub fleeting: bool,
    /// Whether the program is `wharf init`, which begins with its signals blocked.
    #[serde(default)]
    pub init: bool,
    /// The program that makes it, if it is another one.
    #[serde(default)]
    pub external: Option<External>,
}

/// A runtime that is a program of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct External {
    /// The program.
    pub program: PathBuf,
    /// Arguments before those of each call.
    pub arguments: Vec<String>,
    /// Directory for the container's bundle, the container's alone.
    pub bundle: PathBuf,
    /// Where the runtime keeps what it knows of containers.
    pub state: PathBuf,
}

/// What a process's standard input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdin {
    /// `/dev/null`.
    Null,
    /// What clients send, without end.
    Open,
    /// What the first client sends; its end is the input's end.
    Once,
}

/// What a client of a process's streams wants.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// To send input.
    pub stdin: bool,
    /// To get standard output (or the terminal's).
    pub stdout: bool,
    /// To get standard error.
    pub stderr: bool,
    /// Bytes of input that end the connection without ending the process; with a terminal only.
    #[serde(default)]
    pub detach_keys: Vec<u8>,
    /// Whether it gets no output until it is released: its engine first writes what is on record to
    /// its connection. The process's output waits so long, so this must be short. When the engine
    /// goes, so does the client.
    #[serde(default)]
    pub held: bool,
}

/// A further process.
#[derive(Debug, Serialize, Deserialize)]
pub struct Exec {
    /// Its id.
    pub id: ExecId,
    /// The process.
    pub process: Process,
    /// The compiled system call filter.
    pub seccomp: Option<Vec<u8>>,
    /// Its client; without one its streams are `/dev/null`.
    pub client: Option<Client>,
}

/// One message of the shim.
#[derive(Debug, Serialize, Deserialize)]
pub enum Message {
    /// The answer to a request.
    Answer {
        /// The request's number.
        id: u64,
        /// The answer.
        result: Result<Answer, Failure>,
    },
    /// Something that happened.
    Notice(Notice),
}

/// The answer to a request that was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Done.
    Done,
    /// The process runs its program.
    Started(Started),
    /// The answer to [`Request::Stop`].
    Stopping {
        /// Whether the process had no handler and was killed at once.
        killed: bool,
    },
    /// The answer to [`Request::Status`].
    Status(Status),
    /// The answer to [`Request::MakeUserNamespace`].
    Keepers(Keepers),
    /// The answer to [`Request::Attach`] of a client that is held.
    Held {
        /// The client's number.
        client: u32,
        /// Where the log ends that the client's output goes on from; none is kept if absent.
        log: Option<Position>,
    },
}

/// A process that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Its id on the host.
    pub pid: i32,
    /// Since when.
    pub at: Timestamp,
    /// What could not be done exactly as asked.
    pub warnings: Vec<String>,
}

/// What a shim has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The container.
    pub id: ContainerId,
    /// Which of its runs.
    pub run: u64,
    /// Its first process, if it has been started.
    pub started: Option<Started>,
    /// Whether it is frozen.
    pub frozen: bool,
    /// Further processes that run.
    pub execs: Vec<ExecId>,
}

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct Failure {
    /// The text for the user.
    pub message: String,
    /// The exit code it stands for: 127 no such program, 126 not executable, 125 anything else.
    pub exit_code: u8,
    /// Whether it was before the runtime had anything to do with it.
    #[serde(default)]
    pub before_runtime: bool,
}

/// What the shim says unasked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notice {
    /// The container has ended; this is on the disk already.
    Exited(Exit),
    /// Nothing of the container's run is left: no process, no cgroup, no socket.
    Released,
    /// A further process has ended.
    ExecExited(ExecId, i32),
    /// A client left by its detach keys.
    Detached(Target),
    /// The container ran out of memory and processes were killed; it may go on.
    OutOfMemory,
    /// A file of the log is full, and has been rotated.
    LogRotated,
    /// The log could not be written, or sent.
    LogTrouble {
        /// Bytes that were lost since this was told the last time.
        lost: u64,
        /// The last error.
        error: String,
    },
}

/// How a container ended: the document `exit.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Which of its runs.
    pub run: u64,
    /// Its exit code, 128 and the signal's number when a signal ended it.
    pub code: i32,
    /// Whether the kernel killed it for want of memory.
    pub oom_killed: bool,
    /// When its first process was started.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// Bytes of the log that could not be written.
    #[serde(default)]
    pub log_lost: u64,
}
