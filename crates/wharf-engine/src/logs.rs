//! A container's log as its readers want it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use jiff::Timestamp;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use wharf_shim::log::{Entry, LogReader, Stream};
use wharf_wire as wire;

use crate::container::Container;
use crate::error::Error;
use crate::inner::Inner;
use crate::state::State;
use crate::streams::LogStream;

/// Bytes handed on at a time, about.
const CHUNK: usize = 32 * 1024;
/// A look at the file in any case; for file systems that tell no changes.
const LOOK_TIME: Duration = Duration::from_secs(2);

impl Inner {
    /// See [`crate::Engine::logs`].
    pub(crate) fn logs(
        &self,
        container: &Arc<Container>,
        query: &wire::LogsQuery,
    ) -> Result<LogStream, Error> {
        if !query.stdout && !query.stderr {
            return Err(Error::invalid(
                "Bad parameters: you must choose at least one stream",
            ));
        }
        if container.definition.host.log_config.driver == "none" {
            return Err(Error::not_implemented(
                "configured logging driver does not support reading",
            ));
        }
        let tty = container.tty();
        let follower = Follower {
            container: Arc::clone(container),
            path: self.places.log(container.id()),
            selection: Selection::new(query, tty),
            tail: query.tail,
            follow: query.follow,
            reader: None,
            changes: None,
            ended: false,
        };
        let chunks = stream::try_unfold(follower, |mut follower| async move {
            let chunk = follower.next().await?;
            Ok(chunk.map(|chunk| (chunk, follower)))
        });
        Ok(LogStream {
            tty,
            chunks: chunks.boxed(),
        })
    }
}

/// Which entries, and how they are written.
#[derive(Debug, Clone)]
struct Selection {
    stdout: bool,
    stderr: bool,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    timestamps: bool,
    framed: bool,
    details: Option<String>,
}

impl Selection {
    fn new(query: &wire::LogsQuery, tty: bool) -> Self {
        let time = |time: Option<wire::UnixTime>| {
            let time = time?;
            let nanoseconds = i32::try_from(time.nanoseconds).unwrap_or_default();
            Timestamp::new(time.seconds, nanoseconds).ok()
        };
        Self {
            stdout: query.stdout,
            stderr: query.stderr,
            since: time(query.since).filter(|since| *since != Timestamp::UNIX_EPOCH),
            until: time(query.until).filter(|until| *until != Timestamp::UNIX_EPOCH),
            timestamps: query.timestamps,
            framed: !tty,
            // There are no log options, and so no details; the column is there all the same.
            details: query.details.then(String::new),
        }
    }

    /// Appends an entry to `out` if it is wanted; false when all that follow are too late.
    fn write(&self, entry: &Entry, out: &mut Vec<u8>) -> bool {
        if self.until.is_some_and(|until| entry.time > until) {
            return false;
        }
        let wanted = match entry.stream {
            Stream::Stdout => self.stdout,
            Stream::Stderr => self.stderr,
        };
        if !wanted || self.since.is_some_and(|since| entry.time < since) {
            return true;
        }
        let mut line = String::new();
        if self.timestamps {
            // Always nine digits, so that the column is even.
            line.push_str(&entry.time.strftime("%Y-%m-%dT%H:%M:%S.%9fZ ").to_string());
        }
        if let Some(details) = &self.details {
            line.push_str(details);
            line.push(' ');
        }
        line.push_str(&entry.text);
        if self.framed {
            let stream = match entry.stream {
                Stream::Stdout => wire::stdcopy::Stream::Stdout,
                Stream::Stderr => wire::stdcopy::Stream::Stderr,
            };
            wire::stdcopy::encode(stream, line.as_bytes(), out);
        } else {
            out.extend_from_slice(line.as_bytes());
        }
        true
    }
}

/// Reads a log and waits for more.
struct Follower {
    container: Arc<Container>,
    path: PathBuf,
    selection: Selection,
    tail: wire::Tail,
    follow: bool,
    reader: Option<LogReader>,
    changes: Option<pipe::Receiver>,
    ended: bool,
}

impl Follower {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if self.ended {
                return Ok(None);
            }
            // Looked at before the file: what is written between the two is read the next time.
            let last = !self.follow || !self.may_grow();
            let chunk = self.read()?;
            if !chunk.is_empty() {
                return Ok(Some(Bytes::from(chunk)));
            }
            if last {
                return Ok(None);
            }
            self.wait().await?;
        }
    }

    /// Whether more can come: it runs, or its policy will run it again.
    fn may_grow(&self) -> bool {
        matches!(
            self.container.status().state,
            State::Running(_) | State::Paused(_) | State::Starting(_) | State::Restarting(_)
        )
    }

    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        if self.reader.is_none() {
            self.open()?;
        }
        let Some(reader) = &mut self.reader else {
            return Ok(out);
        };
        while out.len() < CHUNK {
            let Some(entry) = reader.next_entry().map_err(io::Error::other)? else {
                break;
            };
            if !self.selection.write(&entry, &mut out) {
                self.ended = true;
                break;
            }
        }
        Ok(out)
    }

    /// Opens the log; it is not there before the first start.
    fn open(&mut self) -> io::Result<()> {
        let mut reader = match LogReader::open(&self.path) {
            Ok(reader) => reader,
            Err(wharf_shim::log::ReadError::File(error))
                if error.kind() == io::ErrorKind::NotFound =>
            {
                return Ok(());
            }
            Err(error) => return Err(io::Error::other(error)),
        };
        if let wire::Tail::Lines(count) = self.tail {
            reader.seek_tail(count).map_err(io::Error::other)?;
        }
        self.reader = Some(reader);
        Ok(())
    }

    /// Waits until the file has changed or the container has.
    async fn wait(&mut self) -> io::Result<()> {
        if self.changes.is_none() && self.reader.is_some() {
            // Watched from now on; what was written before this is found by reading once more.
            self.changes = Some(watch(&self.path)?);
            return Ok(());
        }
        let mut status = self.container.watch();
        status.borrow_and_update();
        // It may have changed just before that.
        if !self.may_grow() {
            return Ok(());
        }
        let mut events = [0; 4096];
        tokio::select! {
            _ = status.changed() => {}
            () = tokio::time::sleep(LOOK_TIME) => {}
            read = async {
                match &mut self.changes {
                    Some(changes) => changes.read(&mut events).await,
                    None => std::future::pending().await,
                }
            } => drop(read?),
        }
        Ok(())
    }
}

/// A descriptor that becomes readable when the file is written to. It reads like a pipe.
fn watch(path: &std::path::Path) -> io::Result<pipe::Receiver> {
    let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    inotify::add_watch(&fd, path, WatchFlags::MODIFY)?;
    pipe::Receiver::from_owned_fd_unchecked(fd)
}
