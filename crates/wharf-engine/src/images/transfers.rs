//! Layers that are coming in, each once however many images wait for it.
//!
//! A transfer is a task that lives as long as somebody waits for it. The network's side of it is
//! asynchronous and hands its bytes through a bounded queue to a thread that digests, decompresses and
//! unpacks them (`Receiving::take_in`), so that the line, the processor and the disk work at the same
//! time and none runs ahead of the others.
//!
//! When the last who waits has gone the task ends, the thread finds its queue closed, and what has come
//! stays on the disk for the next who asks; see `wharf_store`'s `incoming`.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::{Buf, Bytes};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use wharf_distribution::Repository;
use wharf_store::{LoadError, Received, RemoteBlob, Store};
use wharf_types::Digest;

use crate::error::{Error, ErrorKind};
use crate::registries::{Current, refused};

/// Pieces the network may be ahead of the disk; a piece is what a read of the line gives.
const QUEUE: usize = 64;
/// How often content that is not what its digest says is asked for anew.
const ATTEMPTS: u32 = 3;

/// All transfers under way.
#[derive(Debug, Default)]
pub(crate) struct Transfers(Mutex<HashMap<Digest, Slot>>);

/// What there is of a digest: a transfer if somebody waits, and the turn to write its file, which the
/// thread of a transfer that was given up holds until it has seen that.
#[derive(Debug, Default)]
struct Slot {
    transfer: Weak<Transfer>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// A layer that is coming in.
#[derive(Debug)]
pub(crate) struct Transfer {
    progress: watch::Receiver<Progress>,
    task: AbortHandle,
}

/// How far a layer has come.
#[derive(Debug, Clone)]
pub(crate) enum Progress {
    /// It is asked for.
    Begun,
    /// Others are before it.
    Waiting,
    /// So many bytes are here.
    Coming(u64),
    /// It is here.
    Here(Arc<Received>),
    /// It cannot be had.
    Failed(ErrorKind, String),
}

/// Where a layer comes from.
pub(crate) struct Origin {
    pub(crate) repository: Repository,
    pub(crate) blob: RemoteBlob,
    /// Other addresses it may be had from.
    pub(crate) urls: Vec<String>,
    pub(crate) settings: Arc<Current>,
    pub(crate) store: Store,
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Transfer {
    /// Follows it, from now on.
    pub(crate) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }
}

impl Transfers {
    /// Joins the transfer of a layer, or begins it.
    pub(crate) fn join(&self, origin: Origin) -> Arc<Transfer> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|_, slot| {
            slot.transfer.strong_count() > 0 || Arc::strong_count(&slot.turn) > 1
        });
        let slot = slots.entry(origin.blob.digest).or_default();
        if let Some(transfer) = slot.transfer.upgrade() {
            let failed = matches!(*transfer.progress.borrow(), Progress::Failed(..));
            if !failed {
                return transfer;
            }
        }
        let (sender, progress) = watch::channel(Progress::Begun);
        let task = tokio::spawn(run(origin, Arc::clone(&slot.turn), sender));
        let transfer = Arc::new(Transfer {
            progress,
            task: task.abort_handle(),
        });
        slot.transfer = Arc::downgrade(&transfer);
        transfer
    }
}

async fn run(origin: Origin, turn: Arc<tokio::sync::Mutex<()>>, progress: watch::Sender<Progress>) {
    let came = bring(&origin, &turn, &progress).await;
    progress.send_replace(match came {
        Ok(received) => Progress::Here(Arc::new(received)),
        Err(error) => Progress::Failed(error.kind(), error.to_string()),
    });
}

async fn bring(
    origin: &Origin,
    turn: &Arc<tokio::sync::Mutex<()>>,
    progress: &watch::Sender<Progress>,
) -> Result<Received, Error> {
    let downloads = &origin.settings.downloads;
    let permit = match downloads.try_acquire() {
        Ok(permit) => Ok(permit),
        Err(_) => {
            progress.send_replace(Progress::Waiting);
            downloads.acquire().await
        }
    };
    let _permit = permit.map_err(|error| Error::internal("the engine is closing", error))?;
    let mut attempt = 1;
    loop {
        let (resumed, came) = bring_once(origin, turn, progress).await?;
        match came {
            Ok(received) => return Ok(received),
            // Bytes of an earlier attempt may be damaged, and so may those of one of several endpoints.
            Err(error) if attempt < ATTEMPTS && is_content(&error) => {
                tracing::warn!(digest = %origin.blob.digest, resumed, %error, "a layer is asked for anew");
                attempt += 1;
            }
            Err(error) => return Err(Error::internal("failed to register layer", error)),
        }
    }
}

/// Whether the bytes were wrong, and not the disk.
fn is_content(error: &LoadError) -> bool {
    matches!(
        error,
        LoadError::Digest { .. }
            | LoadError::Decompress(_)
            | LoadError::Archive(_)
            | LoadError::Extract(_)
            | LoadError::NotALayer(_)
    )
}

/// Brings the layer, and says at which byte that began; errors of the line are the outer ones.
async fn bring_once(
    origin: &Origin,
    turn: &Arc<tokio::sync::Mutex<()>>,
    progress: &watch::Sender<Progress>,
) -> Result<(u64, Result<Received, LoadError>), Error> {
    let turn = Arc::clone(turn).lock_owned().await;
    let (store, blob) = (origin.store.clone(), origin.blob);
    let receiving = tokio::task::spawn_blocking(move || store.receive(blob)).await;
    let receiving = receiving
        .map_err(|error| Error::internal("the engine failed", error))?
        .map_err(|error| Error::internal("cannot receive the layer", error))?;
    let present = receiving.present();
    progress.send_replace(Progress::Coming(present));
    let (sender, receiver) = mpsc::channel(QUEUE);
    let disk = tokio::task::spawn_blocking(move || {
        // Held until nothing of this attempt writes any more.
        let _turn = turn;
        receiving.take_in(PieceReader::new(receiver), &mut |_| {})
    });
    let line = feed(origin, present, sender, progress).await;
    let disk = disk
        .await
        .map_err(|error| Error::internal("the engine failed", error))?;
    match (line, disk) {
        // The line's error is why the disk's side saw no end.
        (Err(error), Err(LoadError::Read(_))) => Err(error),
        (Ok(endpoint), Err(error)) => {
            if let (true, Some(endpoint)) = (is_content(&error), endpoint) {
                origin.repository.distrust(&blob.digest, &endpoint);
            }
            Ok((present, Err(error)))
        }
        (_, disk) => Ok((present, disk)),
    }
}

/// What goes through the queue.
enum Piece {
    Bytes(Bytes),
    End,
}

/// Reads the line into the queue; returns who gave the bytes.
async fn feed(
    origin: &Origin,
    present: u64,
    queue: mpsc::Sender<Piece>,
    progress: &watch::Sender<Progress>,
) -> Result<Option<String>, Error> {
    let blob = origin.blob;
    let mut endpoint = None;
    // What has come whole in an earlier attempt needs no line.
    if present < blob.size {
        let size = Some(blob.size);
        let stream = origin
            .repository
            .foreign_blob(&origin.urls, &blob.digest, size, present);
        let mut stream = stream.await.map_err(refused)?;
        endpoint = Some(stream.endpoint().to_owned());
        while let Some(bytes) = stream.next().await.map_err(refused)? {
            progress.send_replace(Progress::Coming(stream.position()));
            if queue.send(Piece::Bytes(bytes)).await.is_err() {
                // The disk's side has failed, and tells why.
                return Ok(Some(stream.endpoint().to_owned()));
            }
        }
    }
    // A closed queue is the same to a disk's side that has failed.
    drop(queue.send(Piece::End).await);
    Ok(endpoint)
}

/// The queue as a stream for the disk's side. Without an end it is a line that was cut.
struct PieceReader {
    queue: mpsc::Receiver<Piece>,
    piece: Bytes,
    ended: bool,
}

impl PieceReader {
    fn new(queue: mpsc::Receiver<Piece>) -> Self {
        Self {
            queue,
            piece: Bytes::new(),
            ended: false,
        }
    }
}

impl Read for PieceReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.ended {
            match self.queue.blocking_recv() {
                Some(Piece::Bytes(bytes)) => self.piece = bytes,
                Some(Piece::End) => self.ended = true,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let count = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}
