//! Ids, digests, names and references: parsed once at the edge, typed everywhere else.

#![forbid(unsafe_code)]

mod digest;
pub mod failpoint;
mod id;
mod name;
mod reference;
mod repository;
pub mod size;
mod volume_name;

pub use digest::{Digest, DigestError, Hasher};
pub use id::{ContainerId, ExecId, IdError, UploadId};
pub use name::{ContainerName, MADE_UP_ATTEMPTS, NameError};
pub use reference::{DEFAULT_DOMAIN, DEFAULT_TAG, Reference, ReferenceError};
pub use repository::{Repository, Tag};
pub use volume_name::{VolumeName, VolumeNameError};
