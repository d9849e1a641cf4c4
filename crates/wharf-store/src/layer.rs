//! Layers: unpacked trees by their chain id, in `layers/<chain hex>/`.
//!
//! `diff/` is the tree as overlay wants it, `layer.json` says where it comes from. A chain id
//! identifies a layer together with all below it (image specification, "Layer ChainID"), so a
//! tree that two images have on top of different bases is kept twice; that is the price of one
//! name a directory, and rare.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wharf_types::Digest;

use crate::PathError;
use crate::files::{self, failed};
use crate::ingest::Tree;

pub(crate) const DIFF: &str = "diff";
pub(crate) const RECORD: &str = "layer.json";
const VERSION: u32 = 1;

/// What `layer.json` holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    version: u32,
    pub(crate) diff_id: Digest,
    pub(crate) parent: Option<Digest>,
    /// The blob it was unpacked from.
    pub(crate) blob: Digest,
    /// Bytes of its files.
    pub(crate) size: u64,
    /// Entries of its archive.
    pub(crate) entries: u64,
}

/// The directory of all layers.
#[derive(Debug, Clone)]
pub(crate) struct Layers {
    directory: PathBuf,
}

/// Returns the chain id of a layer on top of `parent`.
pub(crate) fn chain_id(parent: Option<&Digest>, diff_id: &Digest) -> Digest {
    match parent {
        None => *diff_id,
        Some(parent) => Digest::of(format!("{parent} {diff_id}").as_bytes()),
    }
}

impl Layers {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn path(&self, chain: &Digest) -> PathBuf {
        self.directory.join(chain.hex())
    }

    pub(crate) fn diff(&self, chain: &Digest) -> PathBuf {
        self.path(chain).join(DIFF)
    }

    /// Reads the record of a layer's directory.
    pub(crate) fn read(&self, chain: &Digest) -> Result<LayerRecord, PathError> {
        let path = self.path(chain).join(RECORD);
        let bytes = std::fs::read(&path).map_err(failed("read", &path))?;
        let record: LayerRecord =
            serde_json::from_slice(&bytes).map_err(failed("understand", &path))?;
        if record.version != VERSION {
            let error = std::io::Error::other(format!("unknown version {}", record.version));
            return Err(failed("understand", &path)(error));
        }
        Ok(record)
    }
}

/// Makes a layer's directory of an unpacked tree in a temporary place, ready to be renamed.
/// `parent_diff` is the tree of the layer below, wherever it is by now.
pub(crate) fn prepare(
    tree: &Tree,
    parent: Option<Digest>,
    parent_diff: Option<&Path>,
    blob: Digest,
    staging: &Path,
) -> Result<LayerRecord, PathError> {
    let record = LayerRecord {
        version: VERSION,
        diff_id: tree.diff_id,
        parent,
        blob,
        size: tree.extracted.bytes,
        entries: tree.extracted.entries,
    };
    // What a layer does not say about the root directory is as the layer below has it.
    if let Some(below) = parent_diff.filter(|_| !tree.extracted.root) {
        files::copy_attributes(below, &tree.directory)?;
    }
    files::make_directory(staging)?;
    files::rename(&tree.directory, &staging.join(DIFF))?;
    let path = staging.join(RECORD);
    let bytes = serde_json::to_vec(&record).map_err(failed("encode", &path))?;
    std::fs::write(&path, bytes).map_err(failed("write", &path))?;
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_ids_are_those_of_the_specification() {
        let first = Digest::of(b"a");
        let second = Digest::of(b"b");
        assert_eq!(chain_id(None, &first), first);
        assert_eq!(
            chain_id(Some(&first), &second),
            Digest::of(format!("{first} {second}").as_bytes())
        );
    }
}
