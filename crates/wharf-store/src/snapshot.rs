//! Snapshots: the writable root file systems of containers.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use wharf_types::ContainerId;

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
