//! The client against servers that do what servers should not.

#![forbid(unsafe_code)]

mod auth;
mod blob;
mod certificates;
mod crash;
mod listing;
mod manifest;
mod proxy;
mod registry;
mod server;
mod tls;
mod trust;
mod upload;
