//! The Docker Engine API over HTTP: versions 1.24 to 1.51, on any stream socket.
//!
//! A connection is first looked at by `opening`: a request that takes the connection over (attach, exec) is
//! answered by `hijack` itself, which hands the client's socket to the container's shim, so that the process's
//! bytes never cross the engine, and so that connection outlives it. Everything else, and everything later on the
//! connection, is hyper's; `router` finds the route and one function of `routes` decodes the request, calls one
//! method of the engine and encodes its answer.
//!
//! What is bounded, and where: heads and connections in `server`, bodies in `call`, queues in `body`.

#![forbid(unsafe_code)]

mod answer;
mod body;
mod call;
mod client;
mod dialect;
mod guard;
mod hijack;
mod link;
mod opening;
mod router;
mod routes;
mod server;
mod tls;
mod version;
mod websocket;

pub use server::{Listener, serve};
pub use tls::{Tls, TlsError};
