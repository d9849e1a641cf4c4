//! Groups in the running kernel, of whichever version it has. Needs root.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod group;
mod kernel;
