//! The store: its directory, what it is asked, and which parts answer.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use wharf_oci::image::ImageConfig;
use wharf_types::Digest;

use crate::{
    Change, DiffError, HostFile, Image, ImageError, LoadError, LoadEvent, LoadedImage,
    MountOptions, OpenError, SaveError, SaveImage, SnapshotError, SnapshotId, Usage, VerifyError,
};

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
    /// Bytes of the plain tar, and of the files it makes.
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

/// What the engine's records say is alive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roots {
    /// Images that have a name, or a container, or are kept for another reason.
    pub images: BTreeSet<Digest>,
    /// Snapshots of containers.
    pub snapshots: BTreeSet<SnapshotId>,
}

/// What a look over the store found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Bytes of disk, all of it.
    pub bytes: u64,
    /// Files and directories, all of them.
    pub entries: u64,
    /// Bytes freed, or that could be.
    pub reclaimable: u64,
    /// Paths that belong to nothing alive; after `collect`, those that were removed.
    pub orphans: Vec<PathBuf>,
    /// What should be there and is not.
    pub missing: Vec<PathBuf>,
    /// Blobs and layers whose content is not what their name says.
    pub damaged: Vec<PathBuf>,
}

/// Images and root file systems in one directory. Cheap to clone; all methods block.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens the store at `root`, making it when it is not there, and removes what an
    /// interrupted operation has left in `tmp/` and `trash/`.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(root: &Path, driver: DriverChoice) -> Result<Self, OpenError> {
        let _ = driver;
        Ok(Self {
            root: root.to_owned(),
        })
    }

    /// Sets what a layer may hold, instead of [`Limits::default`].
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        let _ = limits;
        self
    }

    /// Returns the directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the driver in use.
    #[must_use]
    pub fn driver(&self) -> Driver {
        todo!()
    }

    /// Takes in the images of an archive: `docker save`'s, or a tar of an OCI layout, plain or
    /// compressed by gzip, zstd, xz or bzip2. The stream is read once, to its end.
    ///
    /// # Errors
    /// [`LoadError`]; then nothing of the archive stays, but images complete before it.
    pub fn load(
        &self,
        reader: impl Read + Send,
        observer: &mut dyn FnMut(LoadEvent<'_>),
    ) -> Result<Vec<LoadedImage>, LoadError> {
        let _ = (reader, observer);
        todo!()
    }

    /// Makes an image of one layer from a tar of a root file system. `config` is taken as it is,
    /// but for `rootfs`, and for `os` and `architecture` where they are empty.
    ///
    /// # Errors
    /// [`LoadError`]; then nothing of the archive stays.
    pub fn import(
        &self,
        reader: impl Read + Send,
        config: ImageConfig,
        observer: &mut dyn FnMut(LoadEvent<'_>),
    ) -> Result<LoadedImage, LoadError> {
        let _ = (reader, config, observer);
        todo!()
    }

    /// Makes an image of one layer from files of the host, all owned by root. Directories on the
    /// way to a file are made.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn import_files(
        &self,
        files: &[HostFile<'_>],
        config: ImageConfig,
    ) -> Result<LoadedImage, LoadError> {
        let _ = (files, config);
        todo!()
    }

    /// Writes images as one archive that is both an OCI layout and what `docker load` reads.
    ///
    /// # Errors
    /// [`SaveError`].
    pub fn save(&self, images: &[SaveImage], writer: impl Write) -> Result<(), SaveError> {
        let _ = (images, writer);
        todo!()
    }

    /// Returns an image.
    ///
    /// # Errors
    /// [`ImageError::NotFound`], or that it cannot be read.
    pub fn image(&self, id: &Digest) -> Result<Image, ImageError> {
        let _ = id;
        todo!()
    }

    /// Returns the ids of all images, in order.
    #[must_use]
    pub fn images(&self) -> Vec<Digest> {
        todo!()
    }

    /// Returns the bytes of an image's layers unpacked.
    ///
    /// # Errors
    /// [`ImageError::NotFound`].
    pub fn image_size(&self, id: &Digest) -> Result<u64, ImageError> {
        let _ = id;
        todo!()
    }

    /// Removes an image, and those of its layers and blobs that no other image and no snapshot
    /// uses. Its space comes back with [`Self::empty_trash`]. An image that is not there is
    /// removed already.
    ///
    /// # Errors
    /// [`ImageError::Path`].
    pub fn remove_image(&self, id: &Digest) -> Result<(), ImageError> {
        let _ = id;
        todo!()
    }

    /// Makes a writable snapshot of an image. Nothing is synced: after a crash of the machine it
    /// may be missing, and the engine makes it again.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn create_snapshot(&self, id: &SnapshotId, image: &Digest) -> Result<(), SnapshotError> {
        let _ = (id, image);
        todo!()
    }

    /// Mounts a snapshot: the file descriptor is a detached mount, to be attached in a container's
    /// mount namespace, and dies with the last namespace and descriptor that holds it.
    /// At most one writable mount of a snapshot may live at a time.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn mount(&self, id: &SnapshotId, options: MountOptions) -> Result<OwnedFd, SnapshotError> {
        let _ = (id, options);
        todo!()
    }

    /// Returns a detached read-only mount of a snapshot for looking at it, which may be mounted
    /// for writing at the same time.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn view(&self, id: &SnapshotId) -> Result<OwnedFd, SnapshotError> {
        let _ = id;
        todo!()
    }

    /// Removes a snapshot: renames it away, so that its id is free; the space comes back with
    /// [`Self::empty_trash`]. A snapshot that is not there is removed already.
    ///
    /// # Errors
    /// [`SnapshotError::Path`].
    pub fn remove_snapshot(&self, id: &SnapshotId) -> Result<(), SnapshotError> {
        let _ = id;
        todo!()
    }

    /// Returns the ids of all snapshots, in order.
    ///
    /// # Errors
    /// [`SnapshotError::Path`].
    pub fn snapshots(&self) -> Result<Vec<SnapshotId>, SnapshotError> {
        todo!()
    }

    /// Deletes what has been removed. May take long; meant for a thread of its own.
    ///
    /// # Errors
    /// [`PathError`](crate::PathError) of the first entry that could not be deleted, after trying the others.
    pub fn empty_trash(&self) -> Result<(), crate::PathError> {
        todo!()
    }

    /// Returns what a snapshot takes beyond its image.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn snapshot_usage(&self, id: &SnapshotId) -> Result<Usage, SnapshotError> {
        let _ = id;
        todo!()
    }

    /// Returns how a snapshot differs from its image, by path.
    ///
    /// # Errors
    /// [`DiffError`].
    pub fn diff(&self, id: &SnapshotId) -> Result<Vec<Change>, DiffError> {
        let _ = id;
        todo!()
    }

    /// Writes the whole tree of a snapshot as a tar.
    ///
    /// # Errors
    /// [`DiffError`].
    pub fn export(&self, id: &SnapshotId, writer: impl Write) -> Result<(), DiffError> {
        let _ = (id, writer);
        todo!()
    }

    /// Writes what a snapshot changes of its image as a layer's tar, deletions as `.wh.` entries.
    ///
    /// # Errors
    /// [`DiffError`].
    pub fn write_layer(&self, id: &SnapshotId, writer: impl Write) -> Result<(), DiffError> {
        let _ = (id, writer);
        todo!()
    }

    /// Removes whatever belongs to no root. For recovery, while nothing is coming in.
    ///
    /// # Errors
    /// [`VerifyError`].
    pub fn collect(&self, roots: &Roots) -> Result<Report, VerifyError> {
        let _ = roots;
        todo!()
    }

    /// Accounts for every entry of the store's directory; `deep` reads and hashes every blob too.
    ///
    /// # Errors
    /// [`VerifyError`].
    pub fn verify(&self, roots: &Roots, deep: bool) -> Result<Report, VerifyError> {
        let _ = (roots, deep);
        todo!()
    }
}
