//! The real binary, by user story.
//!
//! Scenarios that are a user's own commands go through both clients, `wharf` and the stock
//! `docker`: what is typed is the same, and so must be what comes back.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it expects"
)]

mod all_files;
mod archive;
mod attacks;
mod bad_input;
mod client;
mod commit;
mod connection;
mod crash;
mod create;
mod daemon;
mod distribution;
mod docker_py;
mod events;
mod exec;
mod health;
mod images;
mod lifecycle;
mod limits;
mod log_drivers;
mod logs;
mod mounts;
mod namespaces;
mod network;
mod packages;
mod parity;
mod prune;
mod registry;
mod registry_clients;
mod registry_page;
mod registry_serve;
mod run;
mod runtimes;
mod soak;
mod stats;
mod storm;
mod terminal;
mod tmux;
mod update;
mod userns;
mod volumes;
mod websocket;

use wharf_tests_system::{Client, Engine, needs};

/// An engine with busybox, if the machine can have one.
fn engine() -> Option<Engine> {
    needs::met(&["docker", "busybox", "nft", "ip"]).then(Engine::with_busybox)
}

/// Runs a scenario with each client on one engine, then looks for what is left over.
#[track_caller]
fn with_both(scenario: impl Fn(&Engine, Client)) {
    let Some(engine) = engine() else { return };
    for client in Client::ALL {
        scenario(&engine, client);
    }
    engine.finish();
}
