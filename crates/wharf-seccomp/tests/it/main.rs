//! Filters in the running kernel.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod kernel;
