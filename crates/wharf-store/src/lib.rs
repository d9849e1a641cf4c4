//! Images and root file systems as files: blobs, layers, snapshots, archives, collection.

#![forbid(unsafe_code)]

mod error;
mod image;
mod rooted;
mod snapshot;
mod store;

pub use error::{
    DiffError, ImageError, LoadError, OpenError, PathError, RootedError, SaveError, SnapshotError,
    VerifyError,
};
pub use image::{HostFile, HostSource, Image, ImageLayer, LoadEvent, LoadedImage, SaveImage};
pub use rooted::RootedDir;
pub use snapshot::{Change, ChangeKind, InvalidSnapshotId, MountOptions, SnapshotId, Usage};
pub use store::{Driver, DriverChoice, Limits, Report, Roots, Store};
