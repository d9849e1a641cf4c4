//! A blob on its way from upstream: to the disk, and to all who ask for it meanwhile.
//!
//! The bytes go into an upload's file. Readers follow it at their own pace, and are never shown the
//! last byte before the digest of all was checked; when it is wrong their connections are cut, so that
//! nobody takes for whole what is not. A download goes on when its readers have left: what it has
//! brought is of use to the next.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tokio::sync::{OnceCell, Semaphore, watch};
use tokio::task::JoinSet;
use wharf_distribution::{Error, Repository as Upstream, Verified};
use wharf_types::{Digest, Repository, UploadId, failpoint};

use crate::body::{BATCH, Body};
use crate::refusal::chain;
use crate::server::Registry;
use crate::storage::{Expected, StorageError, UploadWriter};

/// Downloads at a time; more wait. With [`BATCH`] the bound of their memory.
const MOST_AT_ONCE: usize = 64;

/// Bytes of the file read at a time.
const PIECE: u64 = 256 * 1024;

type Key = (Repository, Digest);

/// The blobs on their way.
#[derive(Debug)]
pub(crate) struct Downloads {
    running: Mutex<HashMap<Key, Arc<Download>>>,
    tasks: Mutex<JoinSet<()>>,
    slots: Arc<Semaphore>,
}

impl Default for Downloads {
    fn default() -> Self {
        Self {
            running: Mutex::default(),
            tasks: Mutex::default(),
            slots: Arc::new(Semaphore::new(MOST_AT_ONCE)),
        }
    }
}

/// A blob on its way.
#[derive(Debug)]
pub(crate) struct Download {
    state: watch::Receiver<State>,
    /// Size and file, once upstream has answered.
    content: Arc<OnceCell<Content>>,
}

#[derive(Debug)]
struct Content {
    size: Option<u64>,
    file: Arc<File>,
}

#[derive(Debug, Clone)]
enum State {
    Asked,
    /// This many bytes may be read.
    Growing(u64),
    /// It is whole, checked, and stored.
    Whole(u64),
    Failed(Failure),
}

/// Why a download ended early.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    Upstream(Arc<Error>),
    /// What went wrong here; the text may be told.
    Here(String),
    /// The server stops.
    Cut,
}

impl Downloads {
    /// Returns the download of a blob, which begins if need be; nothing when the repository has the blob.
    pub(crate) fn join(
        &self,
        registry: &Arc<Registry>,
        name: &Repository,
        digest: Digest,
        upstream: Upstream,
    ) -> Option<Arc<Download>> {
        let key = (name.clone(), digest);
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(download) = running.get(&key) {
            return Some(Arc::clone(download));
        }
        // A download that ended is in the storage before it leaves the list.
        if registry.storage.blob_size(name, digest).is_some() {
            return None;
        }
        let (state, watched) = watch::channel(State::Asked);
        let content = Arc::new(OnceCell::new());
        let download = Arc::new(Download {
            state: watched,
            content: Arc::clone(&content),
        });
        running.insert(key.clone(), Arc::clone(&download));
        drop(running);
        let work = Work {
            registry: Arc::clone(registry),
            key,
            upstream,
            state,
            content,
        };
        let slots = Arc::clone(&self.slots);
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            let _slot = slots.acquire_owned().await;
            work.run().await;
        });
        Some(download)
    }

    /// Ends all downloads; what they have brought goes as uploads do that nobody goes on with.
    pub(crate) fn stop(&self) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.abort_all();
    }
}

/// What a download's task has.
struct Work {
    registry: Arc<Registry>,
    key: Key,
    upstream: Upstream,
    state: watch::Sender<State>,
    content: Arc<OnceCell<Content>>,
}

impl Drop for Work {
    fn drop(&mut self) {
        // Also when the task is aborted: nobody may wait for it any more.
        if let Some(proxies) = &self.registry.proxies {
            let running = &proxies.downloads.running;
            let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
            running.remove(&self.key);
        }
    }
}

impl Work {
    async fn run(self) {
        let last = match self.fetch().await {
            Ok(size) => State::Whole(size),
            Err(failure) => {
                let (repository, digest) = &self.key;
                match &failure {
                    Failure::Upstream(error) => {
                        tracing::warn!(%repository, %digest, error = chain(&**error), "a blob could not be fetched");
                    }
                    Failure::Here(error) => {
                        tracing::error!(%repository, %digest, error, "a blob could not be stored");
                    }
                    Failure::Cut => {}
                }
                State::Failed(failure)
            }
        };
        self.state.send_replace(last);
    }

    async fn fetch(&self) -> Result<u64, Failure> {
        let (name, digest) = &self.key;
        let blob = self.upstream.blob(digest, None, 0).await;
        let blob = blob.map_err(upstream)?.verified();
        let id = {
            let name = name.clone();
            self.blocking(move |registry| registry.storage.begin_upload(&name, None))
                .await?
        };
        failpoint::hit("registry.proxy.begun");
        let received = self.receive(id, blob).await;
        let stored = match received {
            Ok(size) => {
                let (name, digest) = self.key.clone();
                failpoint::hit("registry.proxy.received");
                self.blocking(move |registry| registry.storage.finish_upload(&name, &id, digest))
                    .await
                    .map(|()| size)
            }
            Err(failure) => Err(failure),
        };
        if stored.is_err() {
            let name = name.clone();
            let gone = self
                .blocking(move |registry| registry.storage.cancel_upload(&name, &id))
                .await;
            if let Err(Failure::Here(error)) = gone {
                tracing::debug!(error, "an upload could not be cancelled");
            }
        }
        stored
    }

    /// Writes the bytes as they come; returns how many there are, all of them checked.
    async fn receive(&self, id: UploadId, mut blob: Verified) -> Result<u64, Failure> {
        let name = self.key.0.clone();
        let mut writer = self
            .blocking(move |registry| {
                registry
                    .storage
                    .upload_writer(&name, &id, Expected::default())
            })
            .await?;
        let file = writer.reader().map_err(|error| here(&error))?;
        let content = Content {
            size: blob.stream().size(),
            file: Arc::new(file),
        };
        self.content.set(content).map_err(|_| Failure::Cut)?;
        self.state.send_replace(State::Growing(0));
        let (mut batch, mut length, mut written) = (Vec::new(), 0, 0_u64);
        loop {
            let piece = blob.next().await.map_err(upstream)?;
            let ended = piece.is_none();
            if let Some(piece) = piece {
                length += piece.len();
                batch.push(piece);
            }
            if length < BATCH && !ended {
                continue;
            }
            writer = self.write(writer, std::mem::take(&mut batch)).await?;
            written += length as u64;
            length = 0;
            if ended {
                let closed = self.blocking(move |_| writer.close());
                return closed.await;
            }
            // The last byte is for when all are known to be right.
            self.state
                .send_replace(State::Growing(written.saturating_sub(1)));
        }
    }

    async fn write(
        &self,
        mut writer: UploadWriter,
        batch: Vec<Bytes>,
    ) -> Result<UploadWriter, Failure> {
        self.blocking(move |_| {
            batch.iter().try_for_each(|piece| writer.write(piece))?;
            Ok::<_, StorageError>(writer)
        })
        .await
    }

    async fn blocking<T: Send + 'static, E: std::error::Error + Send + 'static>(
        &self,
        work: impl FnOnce(&Registry) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Failure> {
        let registry = Arc::clone(&self.registry);
        match tokio::task::spawn_blocking(move || work(&registry)).await {
            Ok(done) => done.map_err(|error| here(&error)),
            Err(_) => Err(Failure::Cut),
        }
    }
}

fn upstream(error: Error) -> Failure {
    Failure::Upstream(Arc::new(error))
}

fn here(error: &dyn std::error::Error) -> Failure {
    Failure::Here(chain(error))
}

impl Download {
    /// Waits until upstream has answered.
    pub(crate) async fn begun(&self) -> Result<(), Failure> {
        let mut state = self.state.clone();
        let state = state.wait_for(|state| !matches!(state, State::Asked)).await;
        match state.as_deref() {
            Ok(State::Failed(failure)) => Err(failure.clone()),
            Ok(_) => Ok(()),
            Err(_) => Err(Failure::Cut),
        }
    }

    /// Returns how many bytes there will be, if that is known.
    pub(crate) fn size(&self) -> Option<u64> {
        if let State::Whole(size) = *self.state.borrow() {
            return Some(size);
        }
        self.content.get().and_then(|content| content.size)
    }

    /// Returns the bytes from `first` on, up to `end` if that is given, as they come.
    pub(crate) fn body(&self, first: u64, end: Option<u64>) -> Body {
        let file = self.content.get().map(|content| Arc::clone(&content.file));
        let reading = Reading {
            state: self.state.clone(),
            file,
            position: first,
            end,
        };
        let pieces = stream::try_unfold(reading, |mut reading| async move {
            let piece = reading.next().await?;
            Ok(piece.map(|piece| (Frame::data(piece), reading)))
        });
        StreamBody::new(pieces).boxed_unsync()
    }
}

/// Somebody who reads a download.
struct Reading {
    state: watch::Receiver<State>,
    file: Option<Arc<File>>,
    position: u64,
    end: Option<u64>,
}

impl Reading {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let position = self.position;
        if self.end.is_some_and(|end| position >= end) {
            return Ok(None);
        }
        let there = {
            let more = |state: &State| match state {
                State::Asked => false,
                State::Growing(readable) => *readable > position,
                State::Whole(_) | State::Failed(_) => true,
            };
            let state = self.state.wait_for(more).await;
            match state.as_deref() {
                Ok(State::Growing(readable)) => *readable,
                Ok(State::Whole(size)) if *size > position => *size,
                Ok(State::Whole(_)) => return Ok(None),
                // The client must not take what it has for all there is.
                Ok(State::Asked | State::Failed(_)) | Err(_) => {
                    return Err(io::Error::other("the download from upstream failed"));
                }
            }
        };
        let until = self.end.map_or(there, |end| end.min(there));
        let length = (until - position).min(PIECE);
        let file = self.file.clone().ok_or(io::ErrorKind::NotFound)?;
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; usize::try_from(length).unwrap_or_default()];
            file.read_exact_at(&mut piece, position)?;
            Ok::<_, io::Error>(Bytes::from(piece))
        });
        let piece = read.await.map_err(io::Error::other)??;
        self.position += piece.len() as u64;
        Ok(Some(piece))
    }
}
