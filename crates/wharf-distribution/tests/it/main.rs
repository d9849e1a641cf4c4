//! The client against servers that do what servers should not.

#![forbid(unsafe_code)]

mod auth;
mod blob;
mod listing;
mod manifest;
mod registry;
mod server;
mod trust;
mod upload;
