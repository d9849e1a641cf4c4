//! The OCI distribution server: repositories, manifests and blobs over HTTP.
//!
//! Source: OCI distribution specification 1.1. [`Storage`] holds the content and its promises,
//! [`serve`] speaks HTTP, [`Access`] says who may do what.

#![forbid(unsafe_code)]

mod access;
mod body;
mod document;
mod metrics;
mod operator;
mod page;
mod proxy;
mod rate;
mod refusal;
mod routes;
mod server;
mod storage;
mod target;
mod tls;
mod under_way;
mod watched;

pub use access::{
    Access, AccessError, Action, Htpasswd, IssueSettings, KeyError, Policy, Rules, TokenSettings,
    Tokens, TrustSettings,
};
pub use metrics::Totals;
pub use proxy::{Proxies, ProxyError, ProxySettings, Upstream};
pub use rate::Rate;
pub use server::{Listeners, Service, serve};
pub use storage::{
    Collected, Expected, FileError, InvalidDocument, Manifest, ManifestName, OpenError, Overview,
    Overwrite, Quota, QuotaExceeded, Retention, Storage, StorageError, Stored, Summary,
    UploadError, UploadWriter,
};
pub use tls::{Tls, TlsError, TlsFiles};
pub use watched::Watched;
