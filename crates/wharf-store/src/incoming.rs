//! Blobs on their way from a registry, in `incoming/<hex>`.
//!
//! A blob is written there as it comes, and digested, decompressed and unpacked at the same time.
//! When the line is cut or the engine dies the file stays, and the next attempt begins with its
//! bytes, read from the disk, and asks the registry for the rest. Nothing here is believed: the
//! digest is that of all bytes, however they came, and a file that does not lead to it is removed.
//! The bytes are not synced on their way, so after the machine's crash a file may hold anything;
//! the digest finds that too.
//!
//! A file goes with the image that takes it, with a failure that is not the line's, or after
//! [`KEPT`] when nobody asks for it again.
//!
//! Fail points: `store.receive.begun`, `store.receive.complete`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use wharf_types::{Digest, failpoint};

use crate::blob::WrittenBlob;
use crate::compress::Compression;
use crate::files::{self, failed};
use crate::ingest::{self, Destination, Expected, Ingested, Kept, Tree};
use crate::{LoadError, PathError, Store};

/// Below the store's root.
pub(crate) const DIRECTORY: &str = "incoming";
/// How long a blob that nobody asks for again is kept.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A layer's blob as a manifest describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteBlob {
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
}

/// A layer's blob that is coming in. There is one of a digest at a time.
#[derive(Debug)]
pub struct Receiving {
    claim: Claim,
    blob: RemoteBlob,
    present: u64,
}

/// A layer's blob that has come, unpacked, and is no image's yet.
#[derive(Debug)]
pub struct Received {
    blob: WrittenBlob,
    compression: Compression,
    /// Taken by the first image that is made of it.
    tree: Mutex<Option<Tree>>,
    directory: PathBuf,
    claim: Claim,
}

/// The right to write the file of a blob.
#[derive(Debug)]
struct Claim {
    store: Store,
    digest: Digest,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.store.state().receiving.remove(&self.digest);
    }
}

impl Store {
    /// Begins to receive a layer's blob, or goes on where an earlier attempt was cut.
    ///
    /// # Errors
    /// [`LoadError::Busy`] when it is being received already; or the disk's.
    pub fn receive(&self, blob: RemoteBlob) -> Result<Receiving, LoadError> {
        if !self.state().receiving.insert(blob.digest) {
            return Err(LoadError::Busy(blob.digest));
        }
        let claim = Claim {
            store: self.clone(),
            digest: blob.digest,
        };
        let path = self.incoming(&blob.digest);
        let file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(failed("open", &path))?;
        let length = file.metadata().map_err(failed("look at", &path))?.len();
        failpoint::hit("store.receive.begun");
        Ok(Receiving {
            claim,
            blob,
            // What is longer is none of this blob's, and is cut off.
            present: if length > blob.size { 0 } else { length },
        })
    }

    /// Removes the blobs that have not come whole and that nobody is receiving; returns their bytes.
    ///
    /// # Errors
    /// [`PathError`].
    pub fn forget_incoming(&self) -> Result<u64, PathError> {
        self.forget_where(|_| true)
    }

    /// Removes those that nobody has asked for in a long time.
    pub(crate) fn forget_old_incoming(&self) -> Result<u64, PathError> {
        let oldest = SystemTime::now().checked_sub(KEPT);
        self.forget_where(|changed| oldest.is_some_and(|oldest| changed < oldest))
    }

    fn forget_where(&self, unwanted: impl Fn(SystemTime) -> bool) -> Result<u64, PathError> {
        let directory = self.root().join(DIRECTORY);
        let mut freed = 0;
        for name in crate::store::names(&directory)? {
            let path = directory.join(&name);
            let Ok(metadata) = std::fs::symlink_metadata(&path) else {
                continue;
            };
            let state = self.state();
            let busy = Digest::from_hex(&name).is_ok_and(|hex| state.receiving.contains(&hex));
            if !busy && metadata.modified().is_ok_and(&unwanted) {
                self.discard(&path)?;
                freed += metadata.len();
            }
        }
        Ok(freed)
    }

    fn incoming(&self, digest: &Digest) -> PathBuf {
        self.root().join(DIRECTORY).join(digest.hex())
    }
}

impl Receiving {
    /// Returns the bytes that are on the disk already: what is read next begins after them.
    #[must_use]
    pub fn present(&self) -> u64 {
        self.present
    }

    /// Reads the rest of the blob and unpacks all of it. `progress` is told the bytes so far, those
    /// of earlier attempts included. Blocks.
    ///
    /// # Errors
    /// [`LoadError::Read`] when the source fails: what has come is kept. On any other nothing is.
    pub fn take_in(
        self,
        rest: impl Read,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Received, LoadError> {
        let Self {
            claim,
            blob,
            present,
        } = self;
        let store = claim.store.clone();
        let path = store.incoming(&blob.digest);
        let directory = store.temporary();
        files::make_directory(&directory)?;
        let cleared = Cleared {
            store: &store,
            directory: &directory,
        };
        let taken = ingest_blob(&store, blob, (&path, present), &directory, rest, progress);
        if !matches!(taken, Ok(_) | Err(LoadError::Read(_))) {
            store.discard(&path)?;
        }
        let ingested = taken?;
        failpoint::hit("store.receive.complete");
        std::mem::forget(cleared);
        Ok(Received {
            blob: ingested.blob,
            compression: ingested.compression,
            tree: Mutex::new(ingested.tree),
            directory,
            claim,
        })
    }
}

/// Removes a directory of an attempt that failed.
struct Cleared<'a> {
    store: &'a Store,
    directory: &'a Path,
}

impl Drop for Cleared<'_> {
    fn drop(&mut self) {
        self.store.clear(self.directory);
    }
}

fn ingest_blob(
    store: &Store,
    blob: RemoteBlob,
    (path, present): (&Path, u64),
    directory: &Path,
    rest: impl Read,
    progress: &mut dyn FnMut(u64),
) -> Result<Ingested, LoadError> {
    let file = File::open(path).map_err(failed("open", path))?;
    // One byte too many is enough to know.
    let rest = rest.take((blob.size - present).saturating_add(1));
    let destination = Destination {
        directory,
        name: "layer",
        limits: &store.limits,
        kept: Some(Kept { path, present }),
    };
    let input = file.take(present).chain(rest);
    let ingested = ingest::ingest(input, Expected::Layer, destination, progress)?;
    if ingested.blob.size != blob.size || ingested.digest != blob.digest {
        return Err(LoadError::Digest {
            name: "the layer".to_owned(),
            expected: blob.digest,
            actual: ingested.digest,
        });
    }
    if ingested.tree.is_none() {
        return Err(LoadError::NotALayer(blob.digest));
    }
    Ok(ingested)
}

impl Received {
    /// Returns the blob's digest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.claim.digest
    }

    /// Returns it as an image takes it; the tree goes with the first.
    pub(crate) fn ingested(&self) -> Ingested {
        let tree = self.tree.lock();
        Ingested {
            blob: self.blob.clone(),
            digest: self.claim.digest,
            compression: self.compression,
            tree: tree.unwrap_or_else(PoisonError::into_inner).take(),
        }
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        let store = &self.claim.store;
        store.clear(&self.directory);
        // Another way has brought the same blob: this file is one too many. What resists goes when
        // nobody has asked for it in a long time.
        if store.shared.blobs.find(&self.claim.digest).is_some() {
            drop(store.discard(&store.incoming(&self.claim.digest)));
        }
    }
}
