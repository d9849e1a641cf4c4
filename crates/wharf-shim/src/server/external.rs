//! A container made by a runtime that is a program of its own, such as runc.
//!
//! The program is called with the commands of the OCI runtime's command line: `create` with a
//! bundle, `start`, `exec`, `delete`. In between the container is like any other: its process is
//! reparented to the shim, which watches over it, has its streams, and signals it by its pidfd.
//!
//! The container's root is mounted at the bundle in a mount namespace of the shim's own, so that the
//! host has no mount of it and none is left when the shim ends in whatever way.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio as Standard};

use rustix::fs::CWD;
use rustix::mount::{MountPropagationFlags, MoveMountFlags};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::thread::ThreadNameSpaceType;
use serde::Deserialize;
use wharf_cgroup::{Cgroup, Hierarchies};
use wharf_oci::runtime::{Namespace, NamespaceKind, Spec};
use wharf_runtime::{Running, Stdio};

use super::launch::{failure, step};
use crate::bundle;
use crate::protocol::{External, Failure};

/// Most of a runtime's log that is read for its last words.
const LOG_MAX: u64 = 1 << 20;

/// What a container is made of.
pub(super) struct Making<'a> {
    pub(super) id: &'a str,
    pub(super) spec: &'a Spec,
    pub(super) external: &'a External,
    pub(super) root: OwnedFd,
    pub(super) network: Option<OwnedFd>,
    pub(super) stdio: Stdio,
    pub(super) hierarchies: &'a Hierarchies,
}

/// Makes a container and starts its process.
pub(super) fn run(mut making: Making<'_>) -> Result<(Cgroup, Running), Failure> {
    let external = making.external;
    let directory = &external.bundle;
    prepare(&making).map_err(|error| step("cannot make the bundle", &error))?;
    let stdio = std::mem::replace(&mut making.stdio, Stdio::Inherit);
    let created = call_create(&making, stdio);
    let started = created.and_then(|(pid, terminal)| {
        let pidfd = pidfd_open(pid, PidfdFlags::empty())
            .map_err(|error| step("cannot watch the container", &error))?;
        call(external, making.id, "start", &[], None)?;
        Ok(Running {
            pid,
            pidfd,
            terminal,
            warnings: Vec::new(),
            timeline: Vec::new(),
        })
    });
    let group = making.spec.linux.as_ref();
    let group = group.and_then(|linux| linux.cgroups_path.as_deref());
    let cgroup = Cgroup::open(making.hierarchies, Path::new(group.unwrap_or("/")))
        .map_err(|error| step("cannot open the container's cgroup", &error));
    match started.and_then(|running| Ok((cgroup?, running))) {
        Ok(made) => Ok(made),
        Err(failed) => {
            // What was made goes; what was not is no second failure.
            drop(delete(external, making.id));
            drop(bundle::remove(directory));
            Err(failed)
        }
    }
}

/// Runs a further process in the container.
pub(super) fn exec(
    external: &External,
    id: &str,
    process: &wharf_oci::runtime::Process,
    stdio: Stdio,
    number: u32,
) -> Result<Running, Failure> {
    let bundle = &external.bundle;
    let document = bundle.join(format!("process-{number}.json"));
    let pid_file = bundle.join(format!("process-{number}.pid"));
    let written = serde_json::to_vec(process)
        .map_err(io::Error::other)
        .and_then(|bytes| fs::write(&document, bytes));
    written.map_err(|error| step("cannot write the process", &error))?;
    let console = Console::unless_pipes(&stdio, bundle)?;
    let mut arguments: Vec<&OsStr> = vec![
        "--detach".as_ref(),
        "--process".as_ref(),
        document.as_ref(),
        "--pid-file".as_ref(),
        pid_file.as_ref(),
    ];
    if let Some(console) = &console {
        arguments.extend(["--console-socket".as_ref(), console.path.as_os_str()]);
    }
    let called = call(external, id, "exec", &arguments, Some(stdio));
    let result = called.and_then(|()| {
        let pid = read_pid(&pid_file)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty())
            .map_err(|error| step("cannot watch the process", &error))?;
        Ok(Running {
            pid,
            pidfd,
            terminal: console.map(Console::accept).transpose()?,
            warnings: Vec::new(),
            timeline: Vec::new(),
        })
    });
    // The next one has another number.
    drop(fs::remove_file(&document));
    drop(fs::remove_file(&pid_file));
    result
}

/// Has the runtime forget a container that has ended, and removes the bundle.
pub(super) fn release(external: &External, id: &str) -> io::Result<()> {
    let forgotten = delete(external, id);
    bundle::remove(&external.bundle)?;
    forgotten.map_err(|failure| io::Error::other(failure.message))
}

fn delete(external: &External, id: &str) -> Result<(), Failure> {
    call(external, id, "delete", &["--force".as_ref()], None)
}

/// Writes the bundle and mounts the root there, in a mount namespace of this process's own.
fn prepare(making: &Making<'_>) -> io::Result<()> {
    let directory = &making.external.bundle;
    // What an earlier run has left, whose shim was killed.
    bundle::remove(directory)?;
    let root = directory.join("rootfs");
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&root)?;
    let mut spec = making.spec.clone();
    if let (Some(linux), Some(network)) = (&mut spec.linux, &making.network) {
        let path = format!("/proc/{}/fd/{}", std::process::id(), network.as_raw_fd());
        let joined = Namespace {
            kind: NamespaceKind::Network,
            path: Some(PathBuf::from(path)),
        };
        linux
            .namespaces
            .retain(|own| own.kind != NamespaceKind::Network);
        linux.namespaces.push(joined);
    }
    let document = serde_json::to_vec(&spec).map_err(io::Error::other)?;
    fs::write(directory.join("config.json"), document)?;
    wharf_sys::namespace::unshare(ThreadNameSpaceType::MOUNT)?;
    let follow = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", follow)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    Ok(rustix::mount::move_mount(
        &making.root,
        "",
        CWD,
        &root,
        flags,
    )?)
}

fn call_create(making: &Making<'_>, stdio: Stdio) -> Result<(Pid, Option<OwnedFd>), Failure> {
    let bundle = &making.external.bundle;
    let pid_file = bundle.join("pid");
    let mut arguments: Vec<&OsStr> = vec![
        "--bundle".as_ref(),
        bundle.as_ref(),
        "--pid-file".as_ref(),
        pid_file.as_ref(),
    ];
    let console = Console::unless_pipes(&stdio, bundle)?;
    if let Some(console) = &console {
        arguments.extend(["--console-socket".as_ref(), console.path.as_os_str()]);
    }
    call(
        making.external,
        making.id,
        "create",
        &arguments,
        Some(stdio),
    )?;
    let terminal = console.map(Console::accept).transpose()?;
    Ok((read_pid(&pid_file)?, terminal))
}

/// Calls the runtime and waits for it.
fn call(
    external: &External,
    id: &str,
    verb: &str,
    arguments: &[&OsStr],
    stdio: Option<Stdio>,
) -> Result<(), Failure> {
    let log = external.bundle.join("log.json");
    // Of this call alone.
    drop(fs::remove_file(&log));
    let mut command = Command::new(&external.program);
    command
        .args(&external.arguments)
        .arg("--root")
        .arg(&external.state)
        .arg("--log")
        .arg(&log)
        .args(["--log-format", "json", verb])
        .args(arguments)
        .arg(id)
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        );
    let (stdin, stdout, stderr) = match stdio {
        Some(Stdio::Pipes {
            stdin,
            stdout,
            stderr,
        }) => (stdin.into(), stdout.into(), stderr.into()),
        _ => (Standard::null(), Standard::null(), Standard::null()),
    };
    let program = external.program.display().to_string();
    let status = command
        .stdin(stdin)
        .stdout(stdout)
        .stderr(stderr)
        .status()
        .map_err(|error| step(&format!("cannot run {program}"), &error))?;
    if status.success() {
        return Ok(());
    }
    let words = last_words(&log).unwrap_or_else(|| format!("{program} {verb} failed: {status}"));
    // The engine says as much itself.
    let mut message = words.as_str();
    for said in [
        "runc create failed: ",
        "exec failed: ",
        "unable to start container process: ",
    ] {
        message = message.strip_prefix(said).unwrap_or(message);
    }
    Err(Failure {
        exit_code: exit_code(message),
        ..failure(message)
    })
}

/// The last error a runtime has logged.
fn last_words(log: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Line {
        level: String,
        msg: String,
    }
    let mut text = String::new();
    let mut reader = io::Read::take(File::open(log).ok()?, LOG_MAX);
    io::Read::read_to_string(&mut reader, &mut text).ok()?;
    let lines = text.lines().rev();
    let mut errors = lines
        .filter_map(|line| serde_json::from_str::<Line>(line).ok())
        .filter(|line| line.level == "error" || line.level == "fatal");
    errors.next().map(|line| line.msg)
}

/// What a shell's code for the failure is; a runtime says it in words only.
fn exit_code(message: &str) -> u8 {
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if says(&["executable file not found", "no such file or directory"]) {
        127
    } else if says(&["permission denied", "exec format error", "is a directory"]) {
        126
    } else {
        125
    }
}

fn read_pid(file: &Path) -> Result<Pid, Failure> {
    let text = fs::read_to_string(file)
        .map_err(|error| step("cannot read the process's number", &error))?;
    let number: Option<i32> = text.trim().parse().ok();
    let pid = number.and_then(Pid::from_raw);
    pid.ok_or_else(|| failure("the runtime has written no process's number"))
}

/// Where the runtime sends the terminal it makes.
struct Console {
    listener: UnixListener,
    path: PathBuf,
    _directory: File,
}

impl Console {
    fn unless_pipes(stdio: &Stdio, bundle: &Path) -> Result<Option<Self>, Failure> {
        if matches!(stdio, Stdio::Pipes { .. }) {
            return Ok(None);
        }
        let made = File::open(bundle).and_then(|directory| {
            drop(fs::remove_file(bundle.join("console.sock")));
            // A socket's path is short; a bundle's may not be.
            let path = format!(
                "/proc/{}/fd/{}/console.sock",
                std::process::id(),
                directory.as_raw_fd()
            );
            let path = PathBuf::from(path);
            let listener = UnixListener::bind(&path)?;
            listener.set_nonblocking(true)?;
            Ok(Self {
                listener,
                path,
                _directory: directory,
            })
        });
        made.map(Some)
            .map_err(|error| step("cannot listen for the terminal", &error))
    }

    /// Takes the terminal that was sent.
    fn accept(self) -> Result<OwnedFd, Failure> {
        let accepted = self
            .listener
            .accept()
            .and_then(|(socket, _)| receive(&socket));
        accepted.map_err(|error| step("cannot take the terminal", &error))
    }
}

fn receive(socket: &UnixStream) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    // The name of the terminal comes along.
    let mut name = [0; 4096];
    rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut name)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let terminals = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    terminals
        .last()
        .ok_or_else(|| io::Error::other("no terminal was sent"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_is_what_the_runtime_says() {
        let dir = tempfile::tempdir().expect("dir");
        let log = dir.path().join("log.json");
        assert_eq!(last_words(&log), None);
        let lines = [
            r#"{"level":"error","msg":"first"}"#,
            "no json",
            r#"{"level":"error","msg":"exec: \"x\": executable file not found in $PATH"}"#,
            r#"{"level":"info","msg":"after"}"#,
        ];
        fs::write(&log, lines.join("\n")).expect("write");
        let words = last_words(&log).expect("words");
        assert_eq!(words, "exec: \"x\": executable file not found in $PATH");
        assert_eq!(exit_code(&words), 127);
        assert_eq!(exit_code("exec /x: permission denied"), 126);
        assert_eq!(exit_code("something else"), 125);
    }
}
