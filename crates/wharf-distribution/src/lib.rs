//! The registry client: manifests and blobs from and to registries and their mirrors.
//!
//! One [`Client`] for a program, one [`Repository`] for whose images are moved. It knows nothing of a
//! store: bytes come and go as streams. A pull, as an engine does it:
//!
//! ```no_run
//! # use wharf_distribution::{choose, Client, Credentials, Document, Error, Settings, Target};
//! # use wharf_types::Digest;
//! # async fn pull() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new(Settings::default())?;
//! let name = "quay.io/fedora/fedora:41".parse()?;
//! let repository = client.repository(&name, Credentials::None);
//!
//! // A tag leads to an index or to a manifest, an index to the manifest of a platform.
//! let mut manifest = repository.resolve(&Target::of(&name)).await?;
//! # let platform = wharf_oci::image::Platform::default();
//! if let Document::Index(index) = &manifest.document {
//!     let entry = choose(index, &platform).ok_or_else(|| Error::NoMatch {
//!         platform: wharf_distribution::platform_name(&platform),
//!     })?;
//!     manifest = repository.resolve(&Target::Digest(entry.digest.parse()?)).await?;
//! }
//! let Document::Image(image) = &manifest.document else {
//!     return Err("an index in an index".into());
//! };
//!
//! // Its blobs, each checked while it comes; a line that is cut is taken up where it broke.
//! for layer in std::iter::once(&image.config).chain(&image.layers) {
//!     let digest: Digest = layer.digest.parse()?;
//!     let mut blob = repository.blob(&digest, Some(layer.size), 0).await?.verified();
//!     while let Some(bytes) = blob.next().await? {
//!         // … to the disk, and to whoever unpacks it meanwhile.
//!         # drop(bytes);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! *Who is asked.* For reading, the mirrors of the registry in order (`daemon.json`, then
//! `hosts.toml`), then the registry; for writing, the registry. What a mirror gives for a digest is
//! verified; for a tag it is believed, as Docker does.
//!
//! *Secrets.* Credentials go to the registry they were given for, over TLS, or without it to one that is
//! listed as insecure or on this machine; to a token server that the registry names, over TLS. They go
//! to no mirror, and no redirect takes them along (CVE-2020-15157).
//!
//! *Bounds.* Every wait has a time ([`Limits`]), every document and list a size, every repetition a
//! count of tries without progress.

#![forbid(unsafe_code)]

mod address;
mod auth;
mod blob;
mod challenge;
mod client;
mod credentials;
mod dial;
mod error;
mod exchange;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod hosts;
mod insecure;
mod link;
mod login;
mod manifest;
mod mirror;
mod names;
mod proxy;
mod refusal;
mod repository;
mod search;
mod settings;
mod tls;
mod transport;
pub mod trust;
mod upload;

pub use blob::{BlobStream, Verified};
pub use client::{Client, LoggedIn};
pub use credentials::Credentials;
pub use error::{
    AnswerFault, DialError, Error, Kind, LookupError, RealmFault, RedirectFault, RequestError,
    TlsError,
};
pub use manifest::{
    Document, ENTRIES_MAX, LAYERS_MAX, MANIFEST_MAX, Manifest, ManifestFault, NESTING_MAX, Target,
    choose, platform_name,
};
pub use refusal::Refusal;
pub use repository::Repository;
pub use search::SearchResult;
pub use settings::{
    ANSWER_TIMEOUT, CONNECT_TIMEOUT, FIRST_PAUSE, HANDSHAKE_TIMEOUT, IDLE_TIMEOUT, LONGEST_PAUSE,
    LONGEST_RETRY_AFTER, Limits, Proxies, Settings, SettingsError, TRIES, UPLOAD_PIECE,
};
pub use upload::{Chunks, FileSource, Progress, Source, Uploaded};
