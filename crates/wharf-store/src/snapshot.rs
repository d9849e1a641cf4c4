//! Snapshots: the writable root file systems of containers, in `snapshots/<id>/`.
//!
//! `fs/` is the upper directory of an overlay, or the whole copy; `work/` is overlay's own, and
//! tells that this is one; `top` is a symbolic link to the layer below, so that a look into the directory says what the
//! snapshot stands on. Making one is a few `mkdir`s and a rename and syncs nothing: what a machine
//! crash loses of it, the engine makes again from its record.

mod copy;
mod mapped;
mod mounter;
mod overlay;
pub(crate) mod skeleton;

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::mount::{MountAttrFlags, OpenTreeFlags};
use wharf_sys::mount::{AttributeChange, set_attributes};
use wharf_types::{ContainerId, Digest, failpoint};

use crate::files::{self, failed};
use crate::state::SnapshotRecord;
use crate::store::{Driver, names};
use crate::{ImageError, PathError, SnapshotError, Store};

pub(crate) use mounter::Mounter;
pub(crate) use overlay::Overlay;

/// Names a snapshot, and the directory it lives in: letters, digits, `-`, `_`, at most 128.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId(String);

/// The text is not a snapshot's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid snapshot id {0:?}")]
pub struct InvalidSnapshotId(String);

const ID_MAX: usize = 128;

impl SnapshotId {
    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SnapshotId {
    type Err = InvalidSnapshotId;

    fn from_str(text: &str) -> Result<Self, InvalidSnapshotId> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if text.is_empty() || text.len() > ID_MAX || !text.bytes().all(allowed) {
            return Err(InvalidSnapshotId(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl From<&ContainerId> for SnapshotId {
    fn from(id: &ContainerId) -> Self {
        Self(id.to_string())
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a snapshot is mounted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// Nothing can be written.
    pub readonly: bool,
    /// What is written need not survive the machine's crash: unmounting does not wait for the disk.
    pub volatile: bool,
}

/// What a snapshot takes beyond its image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of its files.
    pub bytes: u64,
    /// Files, directories and other entries.
    pub entries: u64,
}

/// A path that differs between a snapshot and its image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// The path, absolute inside the root file system.
    pub path: PathBuf,
    /// How it differs.
    pub kind: ChangeKind,
}

/// How a path differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It is in both, and has changed.
    Modified,
    /// It is in the snapshot only.
    Added,
    /// It is in the image only.
    Deleted,
}

/// The names inside a snapshot's directory.
pub(crate) const FS: &str = "fs";
pub(crate) const WORK: &str = "work";
pub(crate) const TOP: &str = "top";
/// What `top` points at when the image has no layers.
const NO_LAYER: &str = "none";

/// The directories a snapshot is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    /// Trees of the layers, top first.
    pub(crate) layers: Vec<PathBuf>,
    pub(crate) fs: PathBuf,
    pub(crate) work: PathBuf,
    pub(crate) driver: Driver,
}

impl Parts {
    /// Whether `fs` is the whole tree: a copy, or an image without layers.
    pub(crate) fn is_whole(&self) -> bool {
        self.driver == Driver::Copy || self.layers.is_empty()
    }
}

impl Store {
    /// Makes a writable snapshot of an image. Nothing is synced: after a crash of the machine it
    /// may be missing, and the engine makes it again.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn create_snapshot(&self, id: &SnapshotId, image: &Digest) -> Result<(), SnapshotError> {
        let (top, stack) = self.reserve(id, image)?;
        let made = self.make_snapshot(id, top, &stack);
        if made.is_err() {
            self.state().snapshots.remove(id);
        }
        made
    }

    /// Notes the snapshot, so that from now on its layers are kept.
    fn reserve(
        &self,
        id: &SnapshotId,
        image: &Digest,
    ) -> Result<(Option<Digest>, Vec<Digest>), SnapshotError> {
        let mut state = self.state();
        if state.snapshots.contains_key(id) {
            return Err(SnapshotError::Exists(id.clone()));
        }
        let record = state
            .images
            .get(image)
            .ok_or(ImageError::NotFound(*image))?;
        let top = record.layers.last().map(|layer| layer.chain);
        let stack = state
            .stack(top)
            .ok_or_else(|| SnapshotError::MissingLayer(id.clone()))?;
        let driver = self.driver();
        let record = SnapshotRecord { top, driver };
        state.snapshots.insert(id.clone(), record);
        Ok((top, stack))
    }

    fn make_snapshot(
        &self,
        id: &SnapshotId,
        top: Option<Digest>,
        stack: &[Digest],
    ) -> Result<(), SnapshotError> {
        let temporary = self.temporary();
        files::make_directory(&temporary)?;
        let made = self.fill_snapshot(&temporary, top, stack).and_then(|()| {
            failpoint::hit("store.snapshot.made");
            files::rename(&temporary, &self.snapshot_path(id)).map_err(SnapshotError::from)
        });
        if made.is_err() {
            self.discard(&temporary)?;
        }
        failpoint::hit("store.snapshot.renamed");
        made
    }

    fn fill_snapshot(
        &self,
        directory: &Path,
        top: Option<Digest>,
        stack: &[Digest],
    ) -> Result<(), SnapshotError> {
        let layers: Vec<PathBuf> = stack
            .iter()
            .map(|chain| self.shared.layers.diff(chain))
            .collect();
        let fs = directory.join(FS);
        files::make_directory(&fs)?;
        self.shared.mounter.fill(&layers, &fs)?;
        match layers.first() {
            // The root directory of an overlay is the upper one.
            Some(below) => files::copy_attributes(below, &fs)?,
            None => {
                let mode = rustix::fs::Mode::from_raw_mode(0o755);
                rustix::fs::chmod(&fs, mode).map_err(failed("set mode of", &fs))?;
            }
        }
        if self.driver() == Driver::Overlay {
            files::make_directory(&directory.join(WORK))?;
        }
        let link = directory.join(TOP);
        let target = match top {
            Some(chain) => format!("../../layers/{}", chain.hex()),
            None => NO_LAYER.to_owned(),
        };
        rustix::fs::symlink(target, &link).map_err(failed("create symbolic link", &link))?;
        Ok(())
    }

    /// Mounts a snapshot: the file descriptor is a detached mount, to be attached in a container's
    /// mount namespace, and dies with the last namespace and descriptor that holds it.
    /// At most one writable mount of a snapshot may live at a time.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn mount(&self, id: &SnapshotId, options: MountOptions) -> Result<OwnedFd, SnapshotError> {
        self.shared.mounter.mount(&self.parts(id)?, options)
    }

    /// Mounts a snapshot for a user namespace: its files belong inside to whom they belong in the
    /// layers. `owners` is a user namespace with the container's mapping and, beside it, some id for
    /// the host's root (see the module `mapped`). What is stored is what is seen inside, so that any
    /// number of mappings share the layers, and a snapshot may get another one the next time.
    ///
    /// # Errors
    /// [`SnapshotError::IdMap`] where kernel or file system cannot do it; else as [`Self::mount`].
    pub fn mount_mapped(
        &self,
        id: &SnapshotId,
        options: MountOptions,
        owners: BorrowedFd<'_>,
    ) -> Result<OwnedFd, SnapshotError> {
        let parts = self.parts(id)?;
        self.shared.mounter.mount_mapped(&parts, options, owners)
    }

    /// Returns a detached read-only mount of a snapshot for looking at it, which may be mounted
    /// for writing at the same time: what is written then may or may not be seen.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn view(&self, id: &SnapshotId) -> Result<OwnedFd, SnapshotError> {
        self.shared.mounter.view(&self.parts(id)?)
    }

    /// As [`Self::view`], with the owners of [`Self::mount_mapped`].
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn view_mapped(
        &self,
        id: &SnapshotId,
        owners: BorrowedFd<'_>,
    ) -> Result<OwnedFd, SnapshotError> {
        self.shared.mounter.view_mapped(&self.parts(id)?, owners)
    }

    /// Removes a snapshot: renames it away, so that its id is free; the space comes back with
    /// [`Self::empty_trash`]. A snapshot that is not there is removed already.
    ///
    /// # Errors
    /// [`SnapshotError::Path`].
    pub fn remove_snapshot(&self, id: &SnapshotId) -> Result<(), SnapshotError> {
        self.discard(&self.snapshot_path(id))?;
        failpoint::hit("store.snapshot.discarded");
        let unused = {
            let mut state = self.state();
            let top = state.snapshots.remove(id).and_then(|snapshot| snapshot.top);
            // The image may have gone before its last container.
            top.filter(|top| state.layer_use(top).is_none())
        };
        if let Some(top) = unused {
            self.release(&[top], &[])?;
        }
        Ok(())
    }

    /// Returns the ids of all snapshots, in order.
    #[must_use]
    pub fn snapshots(&self) -> Vec<SnapshotId> {
        self.state().snapshots.keys().cloned().collect()
    }

    /// Returns the directories of a snapshot.
    pub(crate) fn parts(&self, id: &SnapshotId) -> Result<Parts, SnapshotError> {
        let (stack, driver) = {
            let state = self.state();
            let snapshot = state
                .snapshots
                .get(id)
                .ok_or_else(|| SnapshotError::NotFound(id.clone()))?;
            let stack = state
                .stack(snapshot.top)
                .ok_or_else(|| SnapshotError::MissingLayer(id.clone()))?;
            (stack, snapshot.driver)
        };
        let directory = self.snapshot_path(id);
        Ok(Parts {
            layers: stack
                .iter()
                .map(|chain| self.shared.layers.diff(chain))
                .collect(),
            fs: directory.join(FS),
            work: directory.join(WORK),
            driver,
        })
    }
}

/// Returns a detached mount of a directory.
fn clone(directory: &Path, readonly: bool) -> Result<OwnedFd, SnapshotError> {
    let mount = rustix::mount::open_tree(
        rustix::fs::CWD,
        directory,
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
    )
    .map_err(|errno| SnapshotError::Mount {
        operation: "open_tree",
        source: errno.into(),
    })?;
    if readonly {
        let change = AttributeChange {
            set: MountAttrFlags::MOUNT_ATTR_RDONLY,
            ..AttributeChange::default()
        };
        set_attributes(mount.as_fd(), &change).map_err(|source| SnapshotError::Mount {
            operation: "mount_setattr",
            source,
        })?;
    }
    Ok(mount)
}

/// Reads which snapshots there are, and on which layers. A directory that is none is left out;
/// `verify` reports it.
pub(crate) fn read_all(
    directory: &Path,
) -> Result<BTreeMap<SnapshotId, SnapshotRecord>, PathError> {
    let mut snapshots = BTreeMap::new();
    for name in names(directory)? {
        let Ok(id) = name.parse::<SnapshotId>() else {
            continue;
        };
        let snapshot = directory.join(&name);
        let Ok(target) = std::fs::read_link(snapshot.join(TOP)) else {
            continue;
        };
        let top = match target.file_name().and_then(|name| name.to_str()) {
            Some(NO_LAYER) => None,
            Some(hex) => match Digest::from_hex(hex) {
                Ok(chain) => Some(chain),
                Err(_) => continue,
            },
            None => continue,
        };
        let driver = if snapshot.join(WORK).exists() {
            Driver::Overlay
        } else {
            Driver::Copy
        };
        snapshots.insert(id, SnapshotRecord { top, driver });
    }
    Ok(snapshots)
}
