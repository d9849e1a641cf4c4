//! The OCI distribution server: repositories, manifests and blobs over HTTP.
//!
//! Source: OCI distribution specification 1.1. [`Storage`] holds the content and its promises,
//! [`serve`] speaks HTTP, [`Access`] says who may do what.

#![forbid(unsafe_code)]

mod access;
mod body;
mod document;
mod refusal;
mod routes;
mod server;
mod storage;
mod target;

pub use access::{Access, AccessError, Basic, Htpasswd};
pub use server::{Service, serve};
pub use storage::{
    Collected, Expected, FileError, InvalidDocument, Manifest, ManifestName, OpenError, Retention,
    Storage, StorageError, Stored, UploadError,
};
