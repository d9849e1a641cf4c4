//! Containers, images, events and records: their lifecycle and their recovery.

#![forbid(unsafe_code)]

mod config;
mod engine;
mod error;
mod streams;

pub use config::Config;
pub use engine::{Engine, ImportRequest, OpenError};
pub use error::{Error, ErrorKind};
pub use streams::{Attachment, EventStream, LogStream};
