//! A container's log as its readers want it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use wharf_log::{LogReader, Position};
use wharf_wire as wire;

use crate::container::Container;
use crate::error::Error;
use crate::inner::Inner;
use crate::state::State;
use crate::streams::LogStream;

mod plan;
mod replay;
mod selection;

pub(crate) use plan::check;
use selection::Selection;

/// Bytes handed on at a time, about.
const CHUNK: usize = 64 * 1024;
/// A look at the files in any case; for file systems that tell no changes.
const LOOK_TIME: Duration = Duration::from_secs(2);
/// The same where the kernel has no watch left to give.
const UNWATCHED_TIME: Duration = Duration::from_millis(100);

impl Inner {
    /// See [`crate::Engine::logs`].
    pub(crate) fn logs(
        &self,
        container: &Arc<Container>,
        query: &wire::LogsQuery,
    ) -> Result<LogStream, Error> {
        let follower = self.follow_log(container, query)?;
        let chunks = stream::try_unfold(follower, |mut follower| async move {
            let chunk = follower.next().await?;
            Ok(chunk.map(|chunk| (chunk, follower)))
        });
        Ok(LogStream {
            tty: container.tty(),
            chunks: chunks.boxed(),
        })
    }

    /// A reader of a container's log.
    pub(crate) fn follow_log(
        &self,
        container: &Arc<Container>,
        query: &wire::LogsQuery,
    ) -> Result<Follower, Error> {
        if !query.stdout && !query.stderr {
            return Err(Error::invalid(
                "Bad parameters: you must choose at least one stream",
            ));
        }
        let readable = self.places.readable_log(&container.definition)?;
        let readable = readable.ok_or_else(|| {
            Error::not_implemented("configured logging driver does not support reading")
        })?;
        let selection = Selection::new(query, container.tty());
        let mut reader = LogReader::new(readable.path.clone(), readable.format);
        if let Some(since) = selection.since {
            reader.skip_before(since);
        }
        Ok(Follower {
            container: Arc::clone(container),
            path: readable.path,
            follow: query.follow,
            source: Some(Source {
                reader,
                selection,
                tail: query.tail,
                ended: false,
            }),
            changes: None,
        })
    }

    /// Compresses what has been rotated of a container's log, if its options say so; one log at a time,
    /// in the background.
    pub(crate) fn compress_log(self: &Arc<Self>, container: &Arc<Container>) {
        let readable = match self.places.readable_log(&container.definition) {
            Ok(Some(readable)) if readable.rotation.compress => readable,
            _ => return,
        };
        let turn = Arc::clone(&self.compressing);
        let id = container.id();
        tokio::spawn(async move {
            let Ok(_turn) = turn.acquire_owned().await else {
                return;
            };
            let work = move || wharf_log::compress(&readable.path);
            match tokio::task::spawn_blocking(work).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    let reason = &error.source;
                    tracing::warn!(container.id = %id, %error, %reason, "a log stays uncompressed");
                }
                Err(error) => tracing::error!(container.id = %id, %error, "compressing failed"),
            }
        });
    }
}

/// Reads a log and waits for more.
pub(crate) struct Follower {
    container: Arc<Container>,
    path: PathBuf,
    follow: bool,
    /// Lent to a thread that may block while it reads.
    source: Option<Source>,
    changes: Option<Changes>,
}

/// What tells that the files have changed.
enum Changes {
    Watch(pipe::Receiver),
    /// None: they are looked at again and again.
    Clock,
}

struct Source {
    reader: LogReader,
    selection: Selection,
    tail: wire::Tail,
    /// All that follows is too late.
    ended: bool,
}

impl Follower {
    /// Returns what is next, or `None` at the end; with `follow` there is none as long as more may
    /// come.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            // Looked at before the files: what is written between the two is read the next time.
            let last = !self.follow || !self.may_grow();
            let Some(mut source) = self.source.take() else {
                return Ok(None);
            };
            let read = move || {
                let chunk = source.read();
                (source, chunk)
            };
            let (source, chunk) = tokio::task::spawn_blocking(read)
                .await
                .map_err(io::Error::other)?;
            let ended = source.ended;
            self.source = Some(source);
            let chunk = chunk?;
            if !chunk.is_empty() {
                return Ok(Some(Bytes::from(chunk)));
            }
            if last || ended {
                return Ok(None);
            }
            self.wait().await?;
        }
    }

    /// Returns what there is at this moment; a little, because it blocks.
    fn read_now(&mut self) -> io::Result<Vec<u8>> {
        self.source.as_mut().map_or(Ok(Vec::new()), Source::read)
    }

    /// Ends at a place in the log.
    pub(crate) fn end_at(&mut self, position: Position) {
        if let Some(source) = &mut self.source {
            source.reader.end_at(position);
        }
    }

    /// Whether more can come: it runs, or its policy will run it again.
    fn may_grow(&self) -> bool {
        matches!(
            self.container.status().state,
            State::Running(_) | State::Paused(_) | State::Starting(_) | State::Restarting(_)
        )
    }

    /// Waits until the files have changed or the container has.
    async fn wait(&mut self) -> io::Result<()> {
        if self.changes.is_none() {
            self.changes = watch(&self.path)?;
            if self.changes.is_some() {
                // Watched from now on; what was written before this is found by reading once more.
                return Ok(());
            }
        }
        let mut status = self.container.watch();
        status.borrow_and_update();
        // It may have changed just before that.
        if !self.may_grow() {
            return Ok(());
        }
        let look = match self.changes {
            Some(Changes::Watch(_)) => LOOK_TIME,
            _ => UNWATCHED_TIME,
        };
        let mut events = [0; 4096];
        tokio::select! {
            _ = status.changed() => {}
            () = tokio::time::sleep(look) => {}
            read = async {
                match &mut self.changes {
                    Some(Changes::Watch(watch)) => watch.read(&mut events).await,
                    _ => std::future::pending().await,
                }
            } => drop(read?),
        }
        Ok(())
    }
}

impl Source {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        if let wire::Tail::Lines(count) = self.tail {
            self.tail = wire::Tail::All;
            self.reader.seek_tail(count).map_err(io::Error::other)?;
        }
        let mut out = Vec::with_capacity(CHUNK + CHUNK / 2);
        while out.len() < CHUNK && !self.ended {
            let Some(entry) = self.reader.next_entry().map_err(io::Error::other)? else {
                break;
            };
            self.ended = !self.selection.write(&entry, &mut out);
        }
        Ok(out)
    }
}

/// Watches the directory of a log, because the files there come and go; `None` while there is none.
fn watch(path: &Path) -> io::Result<Option<Changes>> {
    let Some(directory) = path.parent() else {
        return Ok(None);
    };
    // Their number is bounded for each user.
    let Ok(fd) = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK) else {
        return Ok(Some(Changes::Clock));
    };
    let flags = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_FROM;
    match inotify::add_watch(&fd, directory, flags) {
        Ok(_) => {}
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(_) => return Ok(Some(Changes::Clock)),
    }
    pipe::Receiver::from_owned_fd_unchecked(fd).map(|watch| Some(Changes::Watch(watch)))
}
