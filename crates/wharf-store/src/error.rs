//! What can go wrong, one type an operation.

use std::io;
use std::path::PathBuf;

use wharf_types::{Digest, ReferenceError};

use crate::SnapshotId;
use crate::extract::ExtractError;
use crate::tar::TarError;

/// A file operation inside the store that failed.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {}", path.display())]
pub struct PathError {
    /// What was tried, as a verb.
    pub operation: &'static str,
    /// On what.
    pub path: PathBuf,
    /// Why it failed.
    #[source]
    pub source: io::Error,
}

/// The store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("the store {} is in use by another engine", .0.display())]
    InUse(PathBuf),
    /// Overlay was asked for and is not to be had here.
    #[error("the kernel or the file system of {} has no overlay", path.display())]
    NoOverlay {
        /// The store's directory.
        path: PathBuf,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// A file operation failed.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// An image is not there or is damaged.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The store has no such image.
    #[error("no such image: {0}")]
    NotFound(Digest),
    /// A blob of the image is not there.
    #[error("image {image} lacks its blob {blob}")]
    MissingBlob {
        /// The image.
        image: Digest,
        /// The blob.
        blob: Digest,
    },
    /// A document of the image cannot be understood.
    #[error("image {image} has an invalid configuration")]
    Document {
        /// The image.
        image: Digest,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A file operation failed.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// An archive cannot be taken in.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The stream cannot be read.
    #[error("read the archive")]
    Read(#[source] io::Error),
    /// A compressed stream is damaged.
    #[error("decompress the archive")]
    Decompress(#[source] io::Error),
    /// The archive itself is no tar, or damaged.
    #[error(transparent)]
    Archive(#[from] TarError),
    /// A layer cannot be unpacked.
    #[error("unpack a layer")]
    Extract(#[from] ExtractError),
    /// There is neither an OCI layout nor a `manifest.json` in it.
    #[error("no image in the archive: it has neither index.json nor manifest.json")]
    NoImage,
    /// A name in it goes out of the archive.
    #[error("invalid name in the archive: {0:?}")]
    Name(String),
    /// A file that is referred to is not there.
    #[error("the archive lacks {0}")]
    Missing(String),
    /// A file's content is not what its name or a descriptor says.
    #[error("{name} has the digest {actual}, not {expected}")]
    Digest {
        /// The file.
        name: String,
        /// What is claimed.
        expected: Digest,
        /// What is so.
        actual: Digest,
    },
    /// A layer's content is not what the configuration says.
    #[error("layer {index} has the diff id {actual}, the configuration says {expected}")]
    DiffId {
        /// Which layer, from 0.
        index: usize,
        /// What the configuration says.
        expected: Digest,
        /// What is so.
        actual: Digest,
    },
    /// A document cannot be read as JSON.
    #[error("{name} is not what it should be")]
    Json {
        /// The document.
        name: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A document contradicts the format.
    #[error("{name} {reason}")]
    Document {
        /// The document.
        name: String,
        /// How.
        reason: DocumentRefusal,
    },
    /// All its images are for other platforms than was asked for.
    #[error("the archive has images for {0} only")]
    Platform(String),
    /// What a manifest calls a layer is no archive.
    #[error("the layer {0} is not an archive")]
    NotALayer(Digest),
    /// It is coming in already.
    #[error("the layer {0} is being received already")]
    Busy(Digest),
    /// A name of an image is not one.
    #[error("image name {name:?}")]
    Reference {
        /// The name.
        name: String,
        /// Why not.
        #[source]
        source: ReferenceError,
    },
    /// A file operation failed.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// How a document of an archive contradicts its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DocumentRefusal {
    /// It is larger than any honest one.
    #[error("is too large")]
    TooLarge,
    /// It could be read as a manifest and as an index (CVE-2021-41190).
    #[error("is a manifest and an index at once")]
    Ambiguous,
    /// Manifest and configuration disagree on how many layers there are.
    #[error("does not have as many layers as the configuration")]
    LayerCount,
    /// It has more layers than the kernel can stack.
    #[error("has more layers than can be stacked")]
    TooManyLayers,
    /// It is of a kind that holds no image.
    #[error("is not an image")]
    NotAnImage,
    /// Indexes within indexes, beyond reason or in a circle.
    #[error("is nested too deeply")]
    TooDeep,
    /// A digest in it is malformed or of an unknown algorithm.
    #[error("names an invalid digest")]
    Digest,
    /// A descriptor gives another size than its content has.
    #[error("is not of the size its descriptor says")]
    Size,
    /// It is a device or another thing that an archive of images has no use for.
    #[error("is neither a file nor a directory nor a link")]
    Kind,
    /// There are more of its like than in any honest archive.
    #[error("is one member too many")]
    TooManyMembers,
}

/// Images cannot be written out.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// One of them is not there or is damaged.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A file operation failed.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The other side does not take the archive.
    #[error("write the archive")]
    Write(#[source] io::Error),
}

/// A snapshot cannot be made, mounted or removed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// There is one of this id already.
    #[error("snapshot {0} exists already")]
    Exists(SnapshotId),
    /// There is none of this id.
    #[error("no such snapshot: {0}")]
    NotFound(SnapshotId),
    /// A layer it stands on is not there.
    #[error("snapshot {0} lacks a layer of its image")]
    MissingLayer(SnapshotId),
    /// The kernel does not mount it.
    #[error("mount the root file system ({operation})")]
    Mount {
        /// The step that failed.
        operation: &'static str,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// The owners of its files cannot be mapped.
    #[error(
        "cannot map the owners of the root file system ({operation}): that needs Linux 5.19 and a file \
         system with id-mapped mounts below the data root"
    )]
    IdMap {
        /// The step that failed.
        operation: &'static str,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// It was made by overlay, which is not to be had here any more.
    #[error("the snapshot needs overlay, which the kernel or the file system no longer has")]
    NoOverlay,
    /// More layers than this kernel's mount options hold.
    #[error("{layers} layers are more than this kernel can stack")]
    TooManyLayers {
        /// How many there are.
        layers: usize,
    },
    /// Its image is not there or is damaged.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A file operation failed.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// A snapshot cannot be compared with its image or written out.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// The snapshot is not there or cannot be mounted.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// Its directories are nested beyond what is walked.
    #[error("{} is nested too deeply", .0.display())]
    TooDeep(PathBuf),
    /// A file operation failed.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The other side does not take the archive.
    #[error("write the archive")]
    Write(#[source] io::Error),
}

/// The store's files cannot be read for checking or collecting.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A file operation failed.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// A file inside a root file system cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RootedError {
    /// It is not a regular file (attack R22: a FIFO would block its reader for ever).
    #[error("{} is not a regular file", .0.display())]
    NotRegular(PathBuf),
    /// It is larger than its reader takes.
    #[error("{} is larger than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What the reader takes.
        limit: u64,
    },
    /// A file operation failed; [`io::ErrorKind::NotFound`] tells that it is not there.
    #[error(transparent)]
    Path(#[from] PathError),
}
