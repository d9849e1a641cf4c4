//! What the system tests and the benchmarks share: private engines, images made from Debian's
//! packages, clients with a timeout, and a census of what an engine leaves on the machine.
//!
//! Every engine has a data root, exec root, socket, bridge, subnet and cgroup parent of its own,
//! taken from a numbered slot ([`slot`]) that no other process on the machine holds, so any number
//! of tests run at once. Nothing here sleeps for a fixed time: [`wait::until`] waits for a
//! condition and says what it was when time is up.
//!
//! A missing tool or privilege is a failure, since a silent skip is a test that no longer exists.
//! `WHARF_TEST_ALLOW_MISSING=1` turns it into a message, for development on a lesser machine.

#![forbid(unsafe_code)]

pub mod api;
pub mod binary;
pub mod census;
pub mod command;
pub mod engine;
pub mod fake_engine;
pub mod foreign_registry;
pub mod image;
pub mod line;
pub mod needs;
pub mod registry;
pub mod slot;
pub mod wait;

pub use command::{Client, Ran};
pub use engine::Engine;
pub use fake_engine::FakeEngine;
pub use foreign_registry::ForeignRegistry;
pub use line::Line;
pub use registry::Registry;
