//! `manifest`: lists of images for several platforms, made here and pushed to a registry.
//!
//! As with Docker this is the client's own work: the engine is not asked. What was made and not pushed yet is kept in
//! the user's configuration, in Docker's format ([`store`]), so that either client goes on where the other stopped.

pub(super) mod annotate;
pub(super) mod create;
mod document;
pub(super) mod inspect;
pub(super) mod push;
mod registry;
pub(super) mod rm;
mod store;

use wharf_types::{Reference, ReferenceError};

use super::Context;
use crate::grammar::Flag;
use store::Store;

/// What was made and not pushed yet.
fn store(context: &Context) -> Store {
    Store::new(&context.directory())
}

/// Reads a reference; without tag and digest it is the tag `latest`.
fn reference(text: &str) -> Result<Reference, ReferenceError> {
    Ok(text.parse::<Reference>()?.with_default_tag())
}

/// `--insecure`, which each command says in words of its own.
const fn insecure<A>(about: &'static str, set: fn(&mut A, bool)) -> Flag<A> {
    Flag::switch("insecure", about, set)
}
