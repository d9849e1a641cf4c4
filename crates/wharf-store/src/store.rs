//! The store: its directory, and what is in it.
//!
//! ```text
//! lock                    held while the store is open: one process at a time
//! blobs/sha256/<hex>      content as it came; <hex>.zst: content that came plain
//! images/<hex>.json       an image: the id is its configuration's digest
//! indexes/<hex>.json      an index: one name for the images of several platforms
//! layers/<chain hex>/     diff/ and layer.json
//! snapshots/<id>/         fs/, work/ and top, a link to the layer below
//! incoming/<hex>          a blob on its way from a registry, as far as it has come
//! tmp/                    what is being made
//! skeleton/               places to mount on, below every image
//! trash/                  what is being deleted
//! ```
//!
//! Everything is made in `tmp/` and becomes visible by one rename after it has been synced; an
//! image's record is the last. Everything is removed by one rename to `trash/`. So whatever an
//! interruption leaves half done is in these two, and is deleted when the store is opened again.
//! What is in `incoming/` stays, so that the next attempt goes on where the last one was cut; see
//! `incoming.rs` for how long.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::FlockOperation;
use wharf_types::Digest;

use crate::blob::Blobs;
use crate::files::{self, failed};
use crate::layer::{LayerRecord, Layers};
use crate::snapshot::{Mounter, SnapshotId};
use crate::state::{ImageRecord, State};
use crate::{OpenError, PathError, remove};

/// Which driver makes the snapshots.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DriverChoice {
    /// Overlay where the kernel and the file system have it, else copies.
    #[default]
    Auto,
    /// Overlay, or an error.
    Overlay,
    /// Full copies.
    Copy,
    /// Overlay as it is mounted on kernels before 6.5.
    #[cfg(test)]
    OverlayOfOldKernels,
}

/// The driver that makes the snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// The kernel's overlay file system over the unpacked layers.
    Overlay,
    /// A full copy of the image for each snapshot.
    Copy,
}

/// What one layer may hold at most; what is beyond is refused and the space freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all files, holes included.
    pub bytes: u64,
    /// Entries.
    pub entries: u64,
    /// Bytes that may come out of a compressed stream before [`Self::expansion`] is looked at.
    pub expansion_floor: u64,
    /// Bytes that may come out of one compressed byte, beyond the floor.
    pub expansion: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 1 << 40,
            entries: 5_000_000,
            expansion_floor: 4 << 30,
            expansion: 400,
        }
    }
}

/// Images and root file systems in one directory. Cheap to clone; all methods block.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) shared: Arc<Shared>,
    pub(crate) limits: Limits,
}

#[derive(Debug)]
pub(crate) struct Shared {
    root: PathBuf,
    /// Keeps the lock.
    _lock: OwnedFd,
    pub(crate) blobs: Blobs,
    pub(crate) layers: Layers,
    pub(crate) mounter: Mounter,
    state: Mutex<State>,
    /// Make names in `tmp/` and `trash/` unique: one number for this opening of the store, as the
    /// trash may still hold what was removed before it, and one for each name.
    opening: u32,
    counter: AtomicU64,
}

impl Store {
    /// Opens the store at `root`, making it when it is not there. What an interrupted operation
    /// has left in `tmp/` goes to `trash/`; deleting it, with [`Self::empty_trash`], may take long
    /// and is left to the caller's choice of thread.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(root: &Path, driver: DriverChoice) -> Result<Self, OpenError> {
        std::fs::create_dir_all(root).map_err(failed("create directory", root))?;
        rustix::fs::chmod(root, rustix::fs::Mode::RWXU).map_err(failed("set mode of", root))?;
        let root = std::fs::canonicalize(root).map_err(failed("look at", root))?;
        for name in [
            "blobs",
            "blobs/sha256",
            "images",
            "incoming",
            "indexes",
            "layers",
            "snapshots",
            "tmp",
            "trash",
        ] {
            files::ensure_directory(&root.join(name))?;
        }
        // Layers are unpacked there, and stay where they were put when they are renamed.
        files::spread_directories(&root.join("tmp"));
        let lock = lock(&root)?;
        let layers = Layers::new(root.join("layers"));
        let state = State::new(
            read_images(&root.join("images"))?,
            crate::index::read_all(&root.join("indexes"))?,
            read_layers(&layers)?,
            crate::snapshot::read_all(&root.join("snapshots"))?,
        );
        let shared = Shared {
            _lock: lock,
            blobs: Blobs::new(root.join("blobs/sha256")),
            layers,
            mounter: Mounter::new(&root, driver)?,
            state: Mutex::new(state),
            opening: random(&root)?,
            counter: AtomicU64::new(0),
            root,
        };
        let store = Self {
            shared: Arc::new(shared),
            limits: Limits::default(),
        };
        let temporary = store.shared.root.join("tmp");
        for name in names(&temporary)? {
            store.discard_mount(&temporary.join(name))?;
        }
        store.forget_old_incoming()?;
        Ok(store)
    }

    /// Sets what a layer may hold, instead of [`Limits::default`].
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Returns what a layer, or an archive unpacked into a container, may hold.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Returns the directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.shared.root
    }

    /// Returns the driver in use.
    #[must_use]
    pub fn driver(&self) -> Driver {
        self.shared.mounter.driver()
    }

    /// Deletes what has been removed. May take long; meant for a thread of its own.
    ///
    /// # Errors
    /// [`PathError`] of the first entry that could not be deleted, after trying the others.
    pub fn empty_trash(&self) -> Result<(), PathError> {
        let trash = self.shared.root.join("trash");
        let directory = files::open_directory(&trash)?;
        let mut first = Ok(());
        for name in names(&trash)? {
            let path = trash.join(&name);
            first = first.and(remove::remove_at(
                directory.as_fd(),
                OsStr::new(&name),
                &path,
            ));
        }
        first
    }

    /// Takes the lock on what is in memory. A panic while it was held is a bug elsewhere; the
    /// maps are whole at every step.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a new name in `tmp/`.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.unique("tmp")
    }

    /// Removes a file or directory of the store by one rename; missing is removed.
    pub(crate) fn discard(&self, path: &Path) -> Result<(), PathError> {
        match std::fs::rename(path, self.unique("trash")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(failed("remove", path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Discards what may be a mount that an older kernel's way of mounting has left.
    fn discard_mount(&self, path: &Path) -> Result<(), PathError> {
        match self.discard(path) {
            Err(error) if error.source.kind() == std::io::ErrorKind::ResourceBusy => {
                rustix::mount::unmount(path, rustix::mount::UnmountFlags::DETACH)
                    .map_err(failed("unmount", path))?;
                self.discard(path)
            }
            discarded => discarded,
        }
    }

    fn unique(&self, directory: &str) -> PathBuf {
        let number = self.shared.counter.fetch_add(1, Ordering::Relaxed);
        self.shared
            .root
            .join(directory)
            .join(format!("{:08x}-{number}", self.shared.opening))
    }

    pub(crate) fn image_path(&self, id: &Digest) -> PathBuf {
        self.shared
            .root
            .join("images")
            .join(format!("{}.json", id.hex()))
    }

    pub(crate) fn snapshot_path(&self, id: &SnapshotId) -> PathBuf {
        self.shared.root.join("snapshots").join(id.as_str())
    }
}

fn lock(root: &Path) -> Result<OwnedFd, OpenError> {
    let path = root.join("lock");
    let file = std::fs::File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(failed("open", &path))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file.into()),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::InUse(root.to_owned())),
        Err(errno) => Err(failed("lock", &path)(errno).into()),
    }
}

fn random(root: &Path) -> Result<u32, PathError> {
    let mut bytes = [0; 4];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(failed("draw a random number for", root))?;
    Ok(u32::from_ne_bytes(bytes))
}

/// Returns the names in a directory of the store.
pub(crate) fn names(directory: &Path) -> Result<Vec<String>, PathError> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed("list", directory))? {
        let entry = entry.map_err(failed("list", directory))?;
        // A name that is not text is none of ours; `verify` reports it.
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}

/// Reads the images' records. One that cannot be read is left out: its image is reported missing
/// by whoever knows of it, the file by `verify`.
fn read_images(directory: &Path) -> Result<BTreeMap<Digest, ImageRecord>, PathError> {
    let mut images = BTreeMap::new();
    for name in names(directory)? {
        let id = name
            .strip_suffix(".json")
            .and_then(|hex| Digest::from_hex(hex).ok());
        let path = directory.join(&name);
        let bytes = std::fs::read(&path).map_err(failed("read", &path))?;
        let record = serde_json::from_slice::<ImageRecord>(&bytes).ok();
        if let (Some(id), Some(record)) = (id, record)
            && record.version == ImageRecord::VERSION
        {
            images.insert(id, record);
        }
    }
    Ok(images)
}

/// Reads the layers' records; as with images, one that cannot be read is left out.
fn read_layers(layers: &Layers) -> Result<HashMap<Digest, LayerRecord>, PathError> {
    Ok(names(layers.directory())?
        .iter()
        .filter_map(|name| Digest::from_hex(name).ok())
        .filter_map(|chain| layers.read(&chain).ok().map(|record| (chain, record)))
        .collect())
}
