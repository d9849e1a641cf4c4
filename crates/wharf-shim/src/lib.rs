//! The process beside each container, and the engine's side of it.

#![forbid(unsafe_code)]

pub mod log;
