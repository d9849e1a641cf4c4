//! The registry over its socket.

mod client;
mod protocol;
