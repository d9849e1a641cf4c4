//! A snapshot's changes become the top layer of a new image.
//!
//! With overlay only the upper directory is read. Its changes are written as a layer's archive and
//! taken in like one that comes from outside, at the same time: so a committed layer has every
//! property of a loaded one, and a commit that dies leaves what a load that dies leaves.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::thread;

use wharf_oci::image::ImageConfig;
use wharf_types::{Digest, failpoint};

use crate::image::LoadedImage;
use crate::ingest::{self, Expected};
use crate::session::Session;
use crate::{DiffError, ImageError, LoadError, SnapshotId, Store};

/// Which changes become the layer, and what the image says.
#[derive(Debug)]
pub struct Commit<'a> {
    /// The snapshot.
    pub snapshot: &'a SnapshotId,
    /// The image it was made of.
    pub base: &'a Digest,
    /// The paths whose changes are taken, as [`Store::diff`] tells them.
    pub paths: &'a BTreeSet<PathBuf>,
}

/// A snapshot cannot become an image.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Its image cannot be read.
    #[error(transparent)]
    Base(#[from] ImageError),
    /// Its changes cannot be read.
    #[error("read the changes")]
    Changes(#[source] DiffError),
    /// The layer or the image cannot be written.
    #[error(transparent)]
    Write(#[from] LoadError),
}

impl Store {
    /// Makes an image of a snapshot's own image and its changes. `configure` is told whether there
    /// are none, and gives the configuration; `rootfs` is filled in.
    ///
    /// # Errors
    /// [`CommitError`]; then nothing stays.
    pub fn commit(
        &self,
        commit: &Commit<'_>,
        configure: impl FnOnce(bool) -> ImageConfig,
    ) -> Result<LoadedImage, CommitError> {
        let base = self.image(commit.base)?;
        let mut session = Session::begin(self).map_err(LoadError::from)?;
        let (reader, writer) = io::pipe().map_err(LoadError::Read)?;
        let (layer, written) = thread::scope(|scope| {
            let writing =
                scope.spawn(|| self.write_layer_of(commit.snapshot, Some(commit.paths), writer));
            let destination = session.destination("commit");
            let layer = ingest::ingest(reader, Expected::Layer, destination, &mut |_| {});
            let written = writing
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (layer, written)
        });
        match written {
            // The other side has given up, and knows why.
            Err(DiffError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {}
            written => written.map_err(CommitError::Changes)?,
        }
        let layer = layer?;
        failpoint::hit("store.commit.read");
        let is_empty = layer
            .tree
            .as_ref()
            .is_none_or(|tree| tree.extracted.entries == 0);
        let config = configure(is_empty);
        let layer = (!is_empty).then_some(layer);
        Ok(session.commit_upon(&base, layer, config)?)
    }
}
