//! The streams between the user and a container.

pub(crate) mod session;
pub(crate) mod signals;
pub(crate) mod stdio;
