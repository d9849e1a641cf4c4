//! Starting the engine when nobody has.
//!
//! The client does this on the default socket only, and only when no host was chosen: who names a host
//! means the engine that is there. The engine is this same program; it leaves the client's session and writes to a
//! log, so that it goes on when the client and its terminal are gone.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::Instant;

/// How long a started engine may take until it listens.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often the socket is tried meanwhile.
const INTERVAL: Duration = Duration::from_millis(2);
/// Where a started engine writes.
const LOG: &str = "/var/log/wharf.log";
/// The program itself, whatever has become of its name.
const MYSELF: &str = "/proc/self/exe";

/// Why an engine was not started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    /// Only root can.
    #[error("no engine listens on {}, and only root can start one", .0.display())]
    NotRoot(PathBuf),
    /// There is no log to write to.
    #[error("cannot open its log {LOG}")]
    Log(#[source] io::Error),
    /// The program did not start.
    #[error("cannot run {MYSELF} daemon")]
    Spawn(#[source] io::Error),
    /// It ended at once.
    #[error("it ended ({status}) and says: {last_words}; its log is {LOG}")]
    Ended {
        /// How.
        status: ExitStatus,
        /// The last line of its log.
        last_words: String,
    },
    /// It does not listen.
    #[error("it does not listen on {} after {} seconds; its log is {LOG}", .0.display(), PATIENCE.as_secs())]
    Silent(PathBuf),
    /// The socket is there and cannot be used.
    #[error("cannot connect to {}", .0.display())]
    Connect(PathBuf, #[source] io::Error),
}

/// Starts an engine on the default socket and connects to it.
pub(crate) async fn engine(socket: &Path) -> Result<UnixStream, LaunchError> {
    if !rustix::process::geteuid().is_root() {
        return Err(LaunchError::NotRoot(socket.to_owned()));
    }
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o640)
        .open(LOG)
        .map_err(LaunchError::Log)?;
    crate::printer::say(&format!(
        "No engine listens on unix://{}: starting one, its log is {LOG}\n",
        socket.display()
    ));
    let mut child = spawn(log)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match UnixStream::connect(socket).await {
            Ok(stream) => return Ok(stream),
            Err(error) if !super::client::connect::nobody_listens(&error) => {
                return Err(LaunchError::Connect(socket.to_owned(), error));
            }
            Err(_) => {}
        }
        if let Some(status) = child.try_wait().map_err(LaunchError::Spawn)? {
            // Two clients may have started one each: the second engine finds the data root taken and ends.
            if let Ok(stream) = UnixStream::connect(socket).await {
                return Ok(stream);
            }
            return Err(LaunchError::Ended {
                status,
                last_words: last_words(),
            });
        }
        if Instant::now() > deadline {
            return Err(LaunchError::Silent(socket.to_owned()));
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

fn spawn(log: File) -> Result<Child, LaunchError> {
    let errors = log.try_clone().map_err(LaunchError::Log)?;
    Command::new(MYSELF)
        .args(["daemon", "--detached"])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .spawn()
        .map_err(LaunchError::Spawn)
}

fn last_words() -> String {
    let text = std::fs::read_to_string(LOG).unwrap_or_default();
    text.lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("nothing")
        .to_owned()
}
