//! The Docker Engine API's request and response types, for the server and for the client.
//!
//! What is here is the wire: the JSON documents, the query strings, the filters and the framing of
//! multiplexed output, as Docker 28 (API 1.51) writes them and as clients back to 1.24 read them.
//! The types carry data only; what a value means is decided by the engine or by the client.
//!
//! Docker's quirks live here and nowhere else:
//!
//! - A Go slice or map is `null` when nil and `[]` or `{}` when empty, and clients tell them apart:
//!   such members are `Option`s, written as `null`. Members Go marks `omitempty` are left out when
//!   they have their zero value.
//! - Go reads `null` into anything as "leave it at zero", so every member accepts `null`.
//! - A time that never was is [`ZERO_TIME`], not `null`.
//! - Go prints maps in key order; all maps are `BTreeMap`s. A set is a map to [`Empty`].
//! - A list of words may be sent as one string ([`Words`]).
//! - Members unknown to us are ignored, as Go ignores them.

#![forbid(unsafe_code)]

/// Declares documents: members in capitals as Docker names them, each absent or `null` at its zero value.
macro_rules! documents {
    ($( $(#[$meta:meta])* pub struct $name:ident { $( $(#[$member_meta:meta])* pub $member:ident : $type:ty, )* } )*) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        pub struct $name { $(
            $(#[$member_meta])*
            #[serde(deserialize_with = "crate::go::null_is_zero")]
            pub $member: $type,
        )* }
    )* };
}

mod archive;
pub mod base64;
mod container;
mod event;
mod exec;
mod filters;
mod go;
mod host_config;
mod image;
mod network;
mod progress;
mod queries;
pub mod query;
mod registry;
mod stats;
pub mod stdcopy;
mod system;
mod update;
mod volume;
mod volume_queries;

pub use archive::*;
pub use container::*;
pub use event::*;
pub use exec::*;
pub use filters::{FilterError, Filters};
pub use go::{Empty, Words, ZERO_TIME};
pub use host_config::*;
pub use image::*;
pub use network::*;
pub use progress::*;
pub use queries::*;
pub use registry::*;
pub use stats::*;
pub use system::*;
pub use update::*;
pub use volume::*;
pub use volume_queries::*;

/// Newest version of the Engine API spoken.
pub const API_VERSION: &str = "1.51";
/// Oldest version of the Engine API spoken.
pub const MIN_API_VERSION: &str = "1.24";
