//! The client against servers that do what servers should not.

#![forbid(unsafe_code)]

mod auth;
mod blob;
mod manifest;
mod registry;
mod server;
