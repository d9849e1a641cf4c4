//! Values of flags: what Docker's users may write behind a flag, and what it means.

pub(crate) mod container;
pub(crate) mod csv;
pub(crate) mod device;
pub(crate) mod duration;
pub(crate) mod environment;
pub(crate) mod filter;
pub(crate) mod flags;
pub(crate) mod gpus;
pub(crate) mod health;
pub(crate) mod hosts;
pub(crate) mod key_value;
pub(crate) mod mount;
pub(crate) mod network;
pub(crate) mod number;
pub(crate) mod platform;
pub(crate) mod publish;
pub(crate) mod restart;
pub(crate) mod security;
pub mod size;
pub(crate) mod time;
pub mod ulimit;
pub(crate) mod volume;
