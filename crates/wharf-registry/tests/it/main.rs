//! The registry over its socket.

mod access;
mod client;
mod limits;
mod pages;
mod protocol;
mod proxy;
