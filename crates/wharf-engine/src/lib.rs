//! Containers, images, events and records: their lifecycle and their recovery.
//!
//! The crate joins what the layers below do, and they do not know of each other: the store has the
//! files, the network the addresses, the shim the processes. [`Engine`] is what its callers see.
//! What is where:
//!
//! - `state` is the life of a container as a pure function, `container` one container with its
//!   record and what lives with this engine, `registry` all of them;
//! - `create`, `start`, `supervise`, `update`, `stop`, `remove`, `prune` are that life, in this order; `recovery` is
//!   the same after an engine's end;
//! - `spec`, `security`, `capabilities`, `mounts`, `ports`, `user`, `userns`, `volumes` decide what a container
//!   gets;
//! - `health` looks after containers that say how they are probed;
//! - `runtimes` and `cdi` bring in what others install: runtimes, and devices by their vendors' specifications;
//! - `borrowed` is what a start gets of other containers and of volumes;
//! - `exec`, `attach`, `logs`, `list`, `inspect`, `top`, `stats`, `system`, `events`, `images` answer.
//!
//! Fail points (`wharf_types::failpoint`), each between two steps that a kill could separate:
//! `engine.create.{begun, snapshot-made, files-made, recorded}`,
//! `engine.volume.{made, recorded, copied, forgotten}`,
//! `engine.start.{begun, user-namespace-made, address-taken, ports-published, recorded, launched}`,
//! `engine.exit.{told, recorded, restart-planned}`, `engine.health.{probed, recorded}`, `engine.update.{recorded, applied}`, `engine.prune.one-gone`, `engine.rename.recorded`,
//! `engine.kill.{recorded, signalled}`, `engine.pause.frozen`, `engine.unpause.thawed`,
//! `engine.restart.stopped`, `engine.exec.{prepared, started, ended}`, `engine.stop.{recorded, signalled}`,
//! `engine.archive.{opened, unpacked}`, `engine.commit.{noted, paused, stored, recorded}`,
//! `engine.remove.{recorded, snapshot-gone, files-gone, forgotten}`,
//! `engine.recovery.{container, containers-done, orphans-gone}`, and those of the images.

#![forbid(unsafe_code)]

mod archive;
mod attach;
mod borrowed;
mod capabilities;
mod cdi;
mod commit;
mod config;
mod container;
mod controllers;
mod create;
mod defaults;
mod diff;
mod engine;
mod error;
mod events;
mod exec;
mod health;
mod hello;
mod host;
mod images;
mod inner;
mod inspect;
mod list;
mod logs;
mod mounts;
mod names;
mod open;
mod ports;
mod prune;
mod records;
mod recovery;
mod registries;
mod registry;
mod regular;
mod remove;
mod runtimes;
mod security;
mod signals;
mod spec;
mod start;
mod state;
mod stats;
mod steps;
mod stop;
mod streams;
mod supervise;
mod system;
mod top;
mod update;
mod user;
mod userns;
mod volumes;

pub use archive::{ContainerFiles, FilesFor};
pub use config::Config;
pub use defaults::{Defaults, NamedRuntime, OWN_RUNTIME};
pub use engine::Engine;
pub use error::{Error, ErrorKind};
pub use hello::GREETING;
pub use images::{ImageCollection, ImportRequest, ProgressSender, PullRequest, PushRequest};
pub use open::OpenError;
pub use registries::RegistrySettings;
pub use stop::Stopped;
pub use streams::{Attachment, EventStream, LogStream, StatsStream};
pub use userns::{Caller, RemapError};
pub use wharf_network::AddressPool;
