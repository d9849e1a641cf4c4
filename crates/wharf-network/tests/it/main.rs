//! The network on the real kernel. Each test is a host of its own: a thread in a new network
//! namespace, so that tests neither see each other nor the machine's own network. They need root,
//! and the programs `ip` and `nft` to look at the result with other eyes than ours.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

mod lab;

mod bridge;
mod firewall;
mod publish;
mod sandbox;
