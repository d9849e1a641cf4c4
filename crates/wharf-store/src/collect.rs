//! What is alive, what is not, and whether everything is as its name says.
//!
//! The store knows its images and snapshots, and so which layers and blobs they use. It does not
//! know which images have names and which snapshots have containers: the engine's records say
//! that, as [`Roots`]. While the engine runs, [`Store::remove_image`] and
//! [`Store::remove_snapshot`] keep both in step; after a crash [`Store::collect`] does.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use wharf_types::{Digest, Hasher, failpoint};

use crate::blob::Blobs;
use crate::files::{self, failed};
use crate::image::RemovedLayer;
use crate::state::Used;
use crate::store::names;
use crate::tree::{self, WalkError};
use crate::{PathError, SnapshotId, Store, VerifyError};

/// What the engine's records say is alive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roots {
    /// Images that have a name, or a container, or are kept for another reason.
    pub images: BTreeSet<Digest>,
    /// Indexes that have a name; they keep their images.
    pub indexes: BTreeSet<Digest>,
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
    /// Bytes of disk that belong to nothing alive, orphans and trash.
    pub reclaimable: u64,
    /// Paths that belong to nothing alive; after `collect`, those that were removed.
    pub orphans: Vec<PathBuf>,
    /// What should be there and is not.
    pub missing: Vec<PathBuf>,
    /// Blobs and layers whose content is not what their name says.
    pub damaged: Vec<PathBuf>,
}

impl Report {
    /// Whether everything is accounted for and as it should be; what waits in the trash is.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.orphans.is_empty() && self.missing.is_empty() && self.damaged.is_empty()
    }
}

/// Disk that a part of the store takes.
#[derive(Debug, Clone, Copy, Default)]
struct Extent {
    bytes: u64,
    entries: u64,
}

impl Store {
    /// Removes what of these layers and blobs nothing uses any more; returns the layers.
    pub(crate) fn release(
        &self,
        chains: &[Digest],
        blobs: &[Digest],
    ) -> Result<Vec<RemovedLayer>, PathError> {
        // One lock from the look to the removal: nothing can come to use them in between.
        let mut state = self.state();
        let used = state.used();
        let mut chains = chains.to_vec();
        let mut removed = Vec::new();
        while let Some(chain) = chains.pop() {
            if used.chains.contains(&chain) {
                continue;
            }
            self.discard(&self.shared.layers.path(&chain))?;
            failpoint::hit("store.release.layer-discarded");
            // A snapshot's release names its top layer only.
            if let Some(layer) = state.layers.remove(&chain) {
                removed.push(RemovedLayer {
                    chain,
                    size: layer.size,
                });
                chains.extend(layer.parent);
            }
        }
        for blob in blobs.iter().filter(|blob| !used.blobs.contains(blob)) {
            // An interruption may have left it in two forms.
            while let Some(path) = self.shared.blobs.find(blob) {
                self.discard(&path)?;
                state.packed.remove(blob);
                failpoint::hit("store.release.blob-discarded");
            }
        }
        Ok(removed)
    }

    /// Removes whatever belongs to no root. For recovery, while nothing is coming in.
    ///
    /// # Errors
    /// [`VerifyError`].
    pub fn collect(&self, roots: &Roots) -> Result<Report, VerifyError> {
        let report = self.verify(roots, false)?;
        for snapshot in self.snapshots() {
            if !roots.snapshots.contains(&snapshot) {
                self.state().snapshots.remove(&snapshot);
            }
        }
        let images = self.rooted_images(roots);
        self.state().images.retain(|id, _| images.contains(id));
        self.state()
            .indexes
            .retain(|digest, _| roots.indexes.contains(digest));
        let used = self.state().used();
        self.state()
            .layers
            .retain(|chain, _| used.chains.contains(chain));
        for path in &report.orphans {
            self.discard(path)?;
            failpoint::hit("store.collect.discarded");
        }
        Ok(report)
    }

    /// Accounts for every entry of the store's directory; `deep` reads and hashes every blob too.
    /// What is being made and what is being deleted is counted, not reported.
    ///
    /// # Errors
    /// [`VerifyError`].
    pub fn verify(&self, roots: &Roots, deep: bool) -> Result<Report, VerifyError> {
        let mut survey = Survey {
            store: self,
            images: self.rooted_images(roots),
            needed: self.needed(roots),
            used: self.alive(roots),
            report: Report::default(),
        };
        for name in names(self.root())? {
            let path = self.root().join(&name);
            match name.as_str() {
                "lock" => survey.count(&path, false)?,
                "tmp" => survey.count(&path, false)?,
                crate::snapshot::skeleton::NAME => survey.count(&path, false)?,
                "trash" => survey.count(&path, true)?,
                "blobs" => survey.blobs(&path, deep)?,
                "images" => survey.images(&path)?,
                "indexes" => survey.indexes(&path, roots)?,
                crate::incoming::DIRECTORY => survey.incoming(&path)?,
                "layers" => survey.layers(&path)?,
                "snapshots" => survey.snapshots(&path, roots)?,
                _ => survey.orphan(path)?,
            }
        }
        survey.missing(roots);
        Ok(survey.report)
    }

    /// Returns the images that are roots, and those of the indexes that are.
    fn rooted_images(&self, roots: &Roots) -> BTreeSet<Digest> {
        let state = self.state();
        let indexes = roots.indexes.iter();
        let of_indexes = indexes.filter_map(|digest| state.indexes.get(digest));
        let mut images = roots.images.clone();
        images.extend(of_indexes.flat_map(|index| index.images()));
        images
    }

    /// Returns what the roots use, of what the store knows, and what is being brought in or out. Not
    /// all of that need be there yet.
    fn alive(&self, roots: &Roots) -> Used {
        let mut used = self.needed(roots);
        let pinned = self.state().pinned();
        used.chains.extend(pinned.chains);
        used.blobs.extend(pinned.blobs);
        used
    }

    /// Returns what the roots use, of what the store knows.
    fn needed(&self, roots: &Roots) -> Used {
        let images = self.rooted_images(roots);
        let state = self.state();
        let mut used = Used::default();
        for digest in &roots.indexes {
            if let Some(index) = state.indexes.get(digest) {
                used.blobs.extend(index.blobs(*digest));
            }
        }
        for id in &images {
            if let Some(image) = state.images.get(id) {
                used.chains.extend(image.chains());
                used.blobs.extend(image.blobs(*id));
            }
        }
        for id in &roots.snapshots {
            if let Some(snapshot) = state.snapshots.get(id) {
                used.chains
                    .extend(state.stack(snapshot.top).unwrap_or_default());
            }
        }
        used
    }
}

struct Survey<'a> {
    store: &'a Store,
    /// The images that the roots keep, by themselves or as parts of an index.
    images: BTreeSet<Digest>,
    /// What the roots use.
    needed: Used,
    /// The same, and what is being brought in or out.
    used: Used,
    report: Report,
}

impl Survey<'_> {
    /// Adds what is at a path to the sums.
    fn count(&mut self, path: &Path, reclaimable: bool) -> Result<(), PathError> {
        let extent = measure(path)?;
        self.report.bytes += extent.bytes;
        self.report.entries += extent.entries;
        if reclaimable {
            self.report.reclaimable += extent.bytes;
        }
        Ok(())
    }

    fn orphan(&mut self, path: PathBuf) -> Result<(), PathError> {
        self.count(&path, true)?;
        self.report.orphans.push(path);
        Ok(())
    }

    /// Counts a path, as an orphan unless it is alive.
    fn sort(&mut self, path: PathBuf, alive: bool) -> Result<(), PathError> {
        if alive {
            self.count(&path, false)
        } else {
            self.orphan(path)
        }
    }

    fn directory(&mut self, path: &Path) -> Result<Vec<String>, PathError> {
        let stat = rustix::fs::lstat(path).map_err(failed("look at", path))?;
        self.report.entries += 1;
        self.report.bytes += disk(&stat);
        names(path)
    }

    fn blobs(&mut self, path: &Path, deep: bool) -> Result<(), PathError> {
        for algorithm in self.directory(path)? {
            let directory = path.join(&algorithm);
            if algorithm != "sha256" {
                self.orphan(directory)?;
                continue;
            }
            for name in self.directory(&directory)? {
                let path = directory.join(&name);
                let digest = Blobs::digest_of(&name).map(|(digest, _)| digest);
                let alive = digest.filter(|digest| self.used.blobs.contains(digest));
                if let Some(digest) = alive.filter(|_| deep)
                    && !self.content_is(&digest)?
                {
                    self.report.damaged.push(path.clone());
                }
                self.sort(path, alive.is_some())?;
            }
        }
        Ok(())
    }

    fn content_is(&self, digest: &Digest) -> Result<bool, PathError> {
        let Some(mut blob) = self.store.shared.blobs.open(digest)? else {
            return Ok(true);
        };
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            match blob.read(&mut buffer) {
                Ok(0) => return Ok(hasher.finish() == *digest),
                Ok(count) => hasher.update(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A disk that fails, or a blob at rest that does not decompress.
                Err(_) => return Ok(false),
            }
        }
    }

    /// What is on its way is no orphan, and could go.
    fn incoming(&mut self, path: &Path) -> Result<(), PathError> {
        for name in self.directory(path)? {
            self.count(&path.join(name), true)?;
        }
        Ok(())
    }

    fn images(&mut self, path: &Path) -> Result<(), PathError> {
        for name in self.directory(path)? {
            let id = record_of(&name)
                .filter(|id| self.images.contains(id))
                .filter(|id| self.store.state().images.contains_key(id));
            self.sort(path.join(&name), id.is_some())?;
        }
        Ok(())
    }

    fn indexes(&mut self, path: &Path, roots: &Roots) -> Result<(), PathError> {
        for name in self.directory(path)? {
            let digest = record_of(&name)
                .filter(|digest| roots.indexes.contains(digest))
                .filter(|digest| self.store.state().indexes.contains_key(digest));
            self.sort(path.join(&name), digest.is_some())?;
        }
        Ok(())
    }

    fn layers(&mut self, path: &Path) -> Result<(), PathError> {
        for name in self.directory(path)? {
            let chain = Digest::from_hex(&name)
                .ok()
                .filter(|chain| self.used.chains.contains(chain));
            let layer = path.join(&name);
            if let Some(chain) = chain
                && let Some(odd) = self.odd_layer(&chain, &layer)?
            {
                self.report.damaged.push(odd);
            }
            self.sort(layer, chain.is_some())?;
        }
        Ok(())
    }

    /// Returns what in a layer's directory is not as it should be.
    fn odd_layer(&self, chain: &Digest, layer: &Path) -> Result<Option<PathBuf>, PathError> {
        let mut found = names(layer)?;
        found.sort();
        if found != [crate::layer::DIFF, crate::layer::RECORD] {
            return Ok(Some(layer.to_owned()));
        }
        let record = self.store.shared.layers.read(chain).ok();
        let consistent = record.is_some_and(|record| {
            crate::layer::chain_id(record.parent.as_ref(), &record.diff_id) == *chain
        });
        Ok((!consistent).then(|| layer.join(crate::layer::RECORD)))
    }

    fn snapshots(&mut self, path: &Path, roots: &Roots) -> Result<(), PathError> {
        for name in self.directory(path)? {
            let id = name
                .parse::<SnapshotId>()
                .ok()
                .filter(|id| roots.snapshots.contains(id))
                .filter(|id| self.store.state().snapshots.contains_key(id));
            self.sort(path.join(&name), id.is_some())?;
        }
        Ok(())
    }

    /// Looks for what the roots need and the store has not.
    fn missing(&mut self, roots: &Roots) {
        let shared = &self.store.shared;
        let mut wanted: Vec<PathBuf> = Vec::new();
        wanted.extend(self.images.iter().map(|id| self.store.image_path(id)));
        let indexes = roots.indexes.iter();
        wanted.extend(indexes.map(|digest| self.store.index_path(digest)));
        wanted.extend(
            roots
                .snapshots
                .iter()
                .map(|id| self.store.snapshot_path(id)),
        );
        wanted.extend(
            self.needed
                .chains
                .iter()
                .map(|chain| shared.layers.path(chain)),
        );
        self.report
            .missing
            .extend(wanted.into_iter().filter(|path| !path.exists()));
        let blobs = self.needed.blobs.iter();
        self.report.missing.extend(
            blobs
                .filter(|digest| shared.blobs.find(digest).is_none())
                .map(|digest| shared.blobs.path(digest, crate::blob::Resting::AsItIs)),
        );
    }
}

/// Returns the digest in a record's file name.
fn record_of(name: &str) -> Option<Digest> {
    let hex = name.strip_suffix(".json")?;
    Digest::from_hex(hex).ok()
}

/// Sums a file or a tree; a file of several names counts once for each: what verify accounts for
/// is entries.
fn measure(path: &Path) -> Result<Extent, PathError> {
    let stat = match rustix::fs::lstat(path) {
        Ok(stat) => stat,
        // In tmp/ and trash/ things come and go.
        Err(rustix::io::Errno::NOENT) => return Ok(Extent::default()),
        Err(errno) => return Err(failed("look at", path)(errno)),
    };
    let mut extent = Extent {
        bytes: disk(&stat),
        entries: 1,
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Ok(extent);
    }
    let root = files::open_directory(path)?;
    let mut seen = BTreeSet::new();
    let walked = tree::walk::<PathError>(root.as_fd(), &mut |item| {
        extent.entries += 1;
        let first = item.stat.st_nlink < 2
            || item.kind() == FileType::Directory
            || seen.insert((item.stat.st_dev, item.stat.st_ino));
        if first {
            extent.bytes += disk(item.stat);
        }
        Ok(true)
    });
    match walked {
        // Too deep to walk is not too deep to delete; the sum is then short of it.
        Ok(()) | Err(WalkError::TooDeep(_)) => Ok(extent),
        Err(WalkError::Path(error) | WalkError::Visitor(error)) => {
            if error.source.kind() == io::ErrorKind::NotFound {
                return Ok(extent);
            }
            Err(error)
        }
    }
}

fn disk(stat: &rustix::fs::Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0) * 512
}
