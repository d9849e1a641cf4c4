//! One pass over an incoming file: digests it, keeps it as a blob, and unpacks it when it is a
//! layer, at the same time.
//!
//! The archive of an image names its layers only at its end, and may be a pipe. So whatever looks
//! like a layer is unpacked at once into a temporary tree; which chain the tree belongs to is
//! decided when the manifest has come. Stages are threads joined by bounded queues of chunks:
//!
//! ```text
//! reader ──┬── digest + blob file          plain layer: the same digest is the diff id
//!          └── unpack
//!
//! reader ──┬── digest + blob file          compressed layer
//!          └── decompress ──┬── diff id
//!                           └── unpack
//! ```

use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use std::os::fd::AsFd;

use wharf_types::{Digest, Hasher};

use crate::blob::{BlobWriter, Resting, WrittenBlob};
use crate::compress::{Compression, Decoder, Expansion};
use crate::extract::{self, Bounds, ExtractError, Extracted};
use crate::files;
use crate::store::Limits;
use crate::tar::{BLOCK, Header, TarError};
use crate::{LoadError, PathError};

/// Small enough to be recycled by the allocator without asking the kernel for pages.
const CHUNK: usize = 64 << 10;
/// Chunks a stage may be ahead of the next.
const QUEUE: usize = 16;

type Chunk = Arc<Vec<u8>>;

/// A file that has come in.
#[derive(Debug)]
pub(crate) struct Ingested {
    pub(crate) blob: WrittenBlob,
    /// Digest of the bytes as they came.
    pub(crate) digest: Digest,
    pub(crate) compression: Compression,
    pub(crate) tree: Option<Tree>,
}

/// A layer, unpacked in a temporary directory.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    pub(crate) directory: PathBuf,
    pub(crate) diff_id: Digest,
    pub(crate) extracted: Extracted,
}

/// Where an incoming file goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Destination<'a> {
    /// An existing directory for the blob's file and the tree; both get `name`.
    pub(crate) directory: &'a Path,
    pub(crate) name: &'a str,
    pub(crate) limits: &'a Limits,
    /// Where the blob's file is instead, when it is one that an interruption must not lose.
    pub(crate) kept: Option<Kept<'a>>,
}

/// An existing file that takes a blob byte by byte, and how much of it is there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept<'a> {
    pub(crate) path: &'a Path,
    pub(crate) present: u64,
}

impl Destination<'_> {
    fn blob(&self, resting: Resting) -> Result<BlobWriter, PathError> {
        match self.kept {
            Some(kept) => BlobWriter::resume(kept.path.to_owned(), kept.present),
            None => {
                let path = self.directory.join(format!("{}.blob", self.name));
                BlobWriter::create(path, resting)
            }
        }
    }
}

/// What an incoming file is expected to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// A layer: anything that is no tar is an error.
    Layer,
    /// A layer or a document: what begins like an archive is unpacked.
    Any,
}

/// Takes in one file to its end.
pub(crate) fn ingest(
    mut input: impl Read,
    expected: Expected,
    to: Destination<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<Ingested, LoadError> {
    let (first, failure) = chunk_so_far(&mut input);
    let compression = Compression::detect(&first);
    let layer = match expected {
        Expected::Layer => true,
        Expected::Any => compression != Compression::None || looks_like_tar(&first),
    };
    let mut source = Source {
        input,
        first: Some(first),
        failure,
        read: 0,
        progress,
    };
    if !layer {
        let mut blob = to.blob(Resting::AsItIs)?;
        while let Some(chunk) = source.next()? {
            blob.write(&chunk)?;
        }
        let blob = blob.finish()?;
        return Ok(Ingested {
            digest: blob.digest,
            blob,
            compression,
            tree: None,
        });
    }
    let directory = to.directory.join(format!("{}.tree", to.name));
    files::make_tree(&directory)?;
    let tree = directory.clone();
    let (digest, blob, diff_id, extracted) = match compression {
        Compression::None => plain(source, &tree, to)?,
        // Registries know no media type for these: the layer is kept as if it had come plain.
        Compression::Xz | Compression::Bzip2 if to.kept.is_none() => {
            foreign(source, compression, &tree, to)?
        }
        Compression::Gzip | Compression::Zstd | Compression::Xz | Compression::Bzip2 => {
            compressed(source, compression, &tree, to)?
        }
    };
    Ok(Ingested {
        blob,
        digest,
        compression,
        tree: extracted.map(|extracted| Tree {
            directory,
            diff_id,
            extracted,
        }),
    })
}

/// Unpacks a layer again, from a blob that is kept.
pub(crate) fn unpack(
    blob: impl Read,
    directory: PathBuf,
    limits: &Limits,
) -> Result<Tree, LoadError> {
    let mut input = io::BufReader::with_capacity(CHUNK, blob);
    let compression = Compression::detect(input.fill_buf().map_err(LoadError::Read)?);
    files::make_tree(&directory)?;
    let decoder = Decoder::new(compression, input, expansion(limits)).map_err(LoadError::Read)?;
    let mut hashing = Hashing {
        input: decoder,
        hasher: Hasher::new(),
    };
    let root = files::open_directory(&directory)?;
    let extracted = extract::extract(&mut hashing, root.as_fd(), bounds(limits))?;
    Ok(Tree {
        directory,
        diff_id: hashing.hasher.finish(),
        extracted,
    })
}

struct Hashing<R> {
    input: R,
    hasher: Hasher,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

type Layer = (Digest, WrittenBlob, Digest, Option<Extracted>);

fn plain<R: Read>(
    mut source: Source<'_, R>,
    tree: &Path,
    to: Destination<'_>,
) -> Result<Layer, LoadError> {
    let (to_blob, blob) = sync_channel(QUEUE);
    let (to_tree, tree_input) = sync_channel(QUEUE);
    let writer = to.blob(Resting::Zstd)?;
    thread::scope(|scope| {
        let blob = scope.spawn(|| write_blob(writer, blob));
        let tree = scope.spawn(|| unpack_tree(tree_input, tree, to.limits));
        let fed = source.feed(&[to_blob, to_tree]);
        let (tree, blob) = (join(tree), join(blob));
        // Upstream first: what a stage behind a broken one says is a consequence.
        let blob = blob?;
        fed?;
        let extracted = tree?;
        Ok((blob.digest, blob.clone(), blob.digest, extracted))
    })
}

fn compressed<R: Read>(
    mut source: Source<'_, R>,
    compression: Compression,
    tree: &Path,
    to: Destination<'_>,
) -> Result<Layer, LoadError> {
    let limits = to.limits;
    let (to_blob, blob) = sync_channel(QUEUE);
    let (to_decoder, decoder_input) = sync_channel(QUEUE);
    let (to_hash, hash_input) = sync_channel(QUEUE);
    let (to_tree, tree_input) = sync_channel(QUEUE);
    let writer = to.blob(Resting::AsItIs)?;
    thread::scope(|scope| {
        let blob = scope.spawn(|| write_blob(writer, blob));
        let decoder =
            scope.spawn(|| decode(compression, decoder_input, limits, &[to_hash, to_tree]));
        let hash = scope.spawn(move || digest(&hash_input));
        let tree = scope.spawn(|| unpack_tree(tree_input, tree, limits));
        let fed = source.feed(&[to_blob, to_decoder]);
        let (tree, blob, decoded, diff_id) = (join(tree), join(blob), join(decoder), join(hash));
        let blob = blob?;
        fed?;
        decoded?;
        let extracted = tree?;
        Ok((blob.digest, blob, diff_id, extracted))
    })
}

fn foreign<R: Read>(
    mut source: Source<'_, R>,
    compression: Compression,
    tree: &Path,
    to: Destination<'_>,
) -> Result<Layer, LoadError> {
    let limits = to.limits;
    let (to_hash, hash_input) = sync_channel(QUEUE);
    let (to_decoder, decoder_input) = sync_channel(QUEUE);
    let (to_blob, blob) = sync_channel(QUEUE);
    let (to_tree, tree_input) = sync_channel(QUEUE);
    let writer = to.blob(Resting::Zstd)?;
    thread::scope(|scope| {
        let blob = scope.spawn(|| write_blob(writer, blob));
        let decoder =
            scope.spawn(|| decode(compression, decoder_input, limits, &[to_blob, to_tree]));
        let hash = scope.spawn(move || digest(&hash_input));
        let tree = scope.spawn(|| unpack_tree(tree_input, tree, limits));
        let fed = source.feed(&[to_hash, to_decoder]);
        let (tree, blob, decoded, raw) = (join(tree), join(blob), join(decoder), join(hash));
        let blob = blob?;
        fed?;
        decoded?;
        let extracted = tree?;
        Ok((raw, blob.clone(), blob.digest, extracted))
    })
}

/// The incoming stream in chunks.
struct Source<'a, R> {
    input: R,
    first: Option<Vec<u8>>,
    /// Why there is no more than what has been read.
    failure: Option<io::Error>,
    read: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl<R: Read> Source<'_, R> {
    fn next(&mut self) -> Result<Option<Chunk>, LoadError> {
        let bytes = match (self.first.take(), self.failure.take()) {
            (Some(first), failure) => {
                self.failure = failure;
                first
            }
            (None, Some(failure)) => return Err(LoadError::Read(failure)),
            (None, None) => {
                let (bytes, failure) = chunk_so_far(&mut self.input);
                self.failure = failure;
                bytes
            }
        };
        if bytes.is_empty() {
            return self
                .failure
                .take()
                .map_or(Ok(None), |failure| Err(LoadError::Read(failure)));
        }
        self.read += bytes.len() as u64;
        (self.progress)(self.read);
        Ok(Some(Arc::new(bytes)))
    }

    /// Sends everything to all stages. A stage that has failed has closed its queue: then there
    /// is nothing more to feed, and the error is the stage's.
    fn feed(&mut self, stages: &[SyncSender<Chunk>; 2]) -> Result<(), LoadError> {
        while let Some(chunk) = self.next()? {
            if !send(stages, &chunk) {
                break;
            }
        }
        Ok(())
    }
}

fn send(stages: &[SyncSender<Chunk>; 2], chunk: &Chunk) -> bool {
    stages
        .iter()
        .all(|stage| stage.send(Arc::clone(chunk)).is_ok())
}

/// Reads until a chunk is full, the stream ends, or it fails: what has come until then counts.
fn chunk_so_far(input: &mut impl Read) -> (Vec<u8>, Option<io::Error>) {
    let mut bytes = Vec::with_capacity(CHUNK);
    // `read_to_end` keeps what it has read before an error.
    let failure = input.take(CHUNK as u64).read_to_end(&mut bytes).err();
    (bytes, failure)
}

/// Reads until a chunk is full or the stream ends.
fn chunk(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(CHUNK);
    input.take(CHUNK as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn write_blob(mut blob: BlobWriter, input: Receiver<Chunk>) -> Result<WrittenBlob, PathError> {
    for chunk in input {
        blob.write(&chunk)?;
    }
    blob.finish()
}

fn digest(input: &Receiver<Chunk>) -> Digest {
    let mut hasher = Hasher::new();
    for chunk in input {
        hasher.update(&chunk);
    }
    hasher.finish()
}

fn decode(
    compression: Compression,
    input: Receiver<Chunk>,
    limits: &Limits,
    stages: &[SyncSender<Chunk>; 2],
) -> Result<(), LoadError> {
    let input = Queue::new(input);
    let decoding = |error: io::Error| match error.downcast::<extract::Exceeded>() {
        Ok(exceeded) => LoadError::Extract(exceeded.into()),
        Err(error) => LoadError::Decompress(error),
    };
    let mut decoder = Decoder::new(compression, input, expansion(limits)).map_err(decoding)?;
    loop {
        let bytes = chunk(&mut decoder).map_err(decoding)?;
        if bytes.is_empty() || !send(stages, &Arc::new(bytes)) {
            return Ok(());
        }
    }
}

/// Unpacks; [`None`] when it is no archive at all.
fn unpack_tree(
    input: Receiver<Chunk>,
    tree: &Path,
    limits: &Limits,
) -> Result<Option<Extracted>, ExtractError> {
    let root = files::open_directory(tree)?;
    let mut queue = Queue::new(input);
    match extract::extract(&mut queue, root.as_fd(), bounds(limits)) {
        Ok(extracted) => Ok(Some(extracted)),
        Err(ExtractError::Tar(TarError::Checksum(0))) => {
            // A document in gzip, not a layer: the other stages still want all of it.
            io::copy(&mut queue, &mut io::sink()).map_err(TarError::Read)?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn join<T>(stage: thread::ScopedJoinHandle<'_, T>) -> T {
    stage
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Chunks from a queue as a stream.
struct Queue {
    input: Receiver<Chunk>,
    current: Chunk,
    at: usize,
}

impl Queue {
    fn new(input: Receiver<Chunk>) -> Self {
        Self {
            input,
            current: Chunk::default(),
            at: 0,
        }
    }
}

impl BufRead for Queue {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.current.len()
            && let Ok(next) = self.input.recv()
        {
            self.current = next;
            self.at = 0;
        }
        Ok(&self.current[self.at..])
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

impl Read for Queue {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

fn looks_like_tar(start: &[u8]) -> bool {
    match start.first_chunk::<BLOCK>() {
        // An archive without entries is nothing but NULs.
        Some(block) => *block == [0; BLOCK] || Header::parse(block).is_some(),
        None => false,
    }
}

fn bounds(limits: &Limits) -> Bounds {
    Bounds {
        bytes: limits.bytes,
        entries: limits.entries,
    }
}

fn expansion(limits: &Limits) -> Expansion {
    Expansion {
        floor: limits.expansion_floor,
        ratio: limits.expansion,
    }
}
