//! Wharf's kernel side in the running kernel. Needs root.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod callers;
mod cgroup;
mod engine;
mod guest;
mod runtime;
mod seccomp;
