//! Images and root file systems as files: blobs, layers, snapshots, archives, collection.
//!
//! One directory holds everything ([`Store`] says what is where); there is no database. Which
//! images have names and which snapshots have containers is the engine's to know; it tells the
//! store when an image or a snapshot goes, and after a crash what is alive ([`Roots`]).
//!
//! An image is its configuration (whose digest is its id), a manifest and the blobs of its layers,
//! all kept byte by byte as they came, so that what is saved or pushed has the digests it was
//! loaded with. The one exception is how plain layers rest: see `blob.rs`. Rebuilding archives
//! from the unpacked trees instead (as tar-split does) would save that space too; it was not taken
//! because it makes every saved byte depend on trees staying exactly as they were unpacked.
//!
//! A snapshot is mounted detached: nothing appears in the host's mount table, and nobody has to
//! unmount.
//!
//! Fail points, in order: `store.load.read`, `store.load.staged`, `store.load.synced`,
//! `store.load.blob-renamed`, `store.load.layer-renamed`, `store.load.record-written`,
//! `store.load.record-renamed`; `store.receive.begun`, `store.receive.complete`; `store.pack.written`,
//! `store.pack.renamed`; `store.index.staged`,
//! `store.index.record-written`, `store.index.record-renamed`; `store.commit.read`; `store.snapshot.made`, `store.snapshot.renamed`,
//! `store.snapshot.discarded`; `store.image.record-discarded`, `store.index.record-discarded`,
//! `store.index.member-left`, `store.release.layer-discarded`,
//! `store.release.blob-discarded`; `store.collect.discarded`.

#![forbid(unsafe_code)]

mod blob;
mod collect;
mod commit;
mod compress;
#[cfg(test)]
mod crash;
mod diff;
mod error;
mod extract;
mod files;
#[cfg(test)]
mod fixtures;
mod image;
mod incoming;
mod index;
mod ingest;
mod layer;
mod load;
#[cfg(test)]
mod oracle;
mod outgoing;
mod owners;
mod pack;
mod plan;
mod remote;
mod remove;
mod rooted;
mod save;
mod session;
mod snapshot;
mod state;
mod store;
mod tar;
#[cfg(test)]
mod testsuite;
mod tree;

pub use collect::{Report, Roots};
pub use commit::{Commit, CommitError};
pub use error::{
    DiffError, DocumentRefusal, ImageError, LoadError, OpenError, PathError, RootedError,
    SaveError, SnapshotError, VerifyError,
};
pub use extract::{Exceeded, ExtractError, NameRefusal};
pub use image::{
    HostFile, HostSource, Image, ImageLayer, LoadEvent, LoadedImage, RemovedLayer, SaveImage,
};
pub use incoming::{Received, Receiving, RemoteBlob};
pub use index::{ImageIndex, IndexMember};
pub use load::Platforms;
pub use outgoing::{OutgoingBlob, OutgoingImage, OutgoingLayer};
pub use owners::{IdMaps, Owners};
pub use remote::{Assembly, RemoteImage, RemoteIndex, RemoteLayer};
pub use rooted::{ExtractOptions, InsidePath, PathStat, Renamed, RootedDir};
pub use snapshot::{Change, ChangeKind, InvalidSnapshotId, MountOptions, SnapshotId, Usage};
pub use store::{Driver, DriverChoice, Limits, Store};
pub use tar::TarError;
