//! The process beside each container, and the engine's side of it.
//!
//! A shim is the parent of a container's first process. It owns the container's stdio, terminal,
//! log and exit status, and outlives the engine: whatever happens to the engine, the log goes on and
//! the exit status reaches the disk. It is one small process with one thread and one epoll loop
//! ([`main`]); it links the runtime and makes the container itself, because a process with one
//! thread may clone and run ordinary code in the child.
//!
//! The engine makes shims ahead of need ([`Spawner`]), launches containers with them, and talks to
//! them ([`Shim`]) in the messages of [`protocol`]. A client's connection may be handed over to the
//! shim, so that a process's output does not cross the engine.
//!
//! What is deliberately absent: retries (the next engine looks at socket and exit status and goes on
//! from there), restart policies (they are the engine's), and buffering of output beyond one read
//! for each client.

#![forbid(unsafe_code)]

mod bundle;
mod client;
mod connection;
mod detach;
pub mod exit;
mod hat;
mod init;
mod nursery;
mod poll;
mod program;
pub mod protocol;
mod server;
mod socket;
mod spawner;
mod streams;

pub use bundle::remove as remove_bundle;
pub use client::{Notices, RequestError, Shim};
pub use hat::main;
pub use init::init_main;
pub use socket::remove as remove_socket_directory;
pub use spawner::{Idle, Spawner};
