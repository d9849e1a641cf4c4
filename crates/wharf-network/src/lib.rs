//! The default bridge: sandboxes, addresses, NAT and published ports.
//!
//! A [`BridgeNetwork`] owns one Linux bridge and one nftables table of its own. Containers join it
//! through [`Sandbox`]es: network namespaces that are complete (interface, address, route) before
//! anybody asks for them, because the kernel needs a millisecond to make one. Nothing here starts a
//! process: all is said to the kernel by netlink.
//!
//! Three rules keep this crate quick and its leavings none:
//!
//! - **A sandbox lives as long as its namespace.** No interface is ever deleted by name; the veth
//!   pair dies with the namespace, when the last descriptor to it is closed and its last process
//!   has gone. An engine that is killed leaks nothing: its pool dies with its descriptors.
//! - **The rules do not grow.** One table is loaded when the network opens; publishing a port adds
//!   an element to a map.
//! - **Threads change namespaces only if the thread is ours.** Namespaces are made on threads of
//!   this crate; callers may be anything, and never end up elsewhere.
//!
//! | thread | does | ends |
//! |---|---|---|
//! | `wharf-sandbox` | keeps the network's pool full | with [`BridgeNetwork::close`] or its drop |
//! | `wharf-nftables` | puts rules back that others swept away; forgets stale UDP connections | likewise |
//! | `wharf-isolated` | keeps an [`IsolatedPool`] full | when that is dropped |
//! | `wharf-netns` | makes one sandbox for a dry pool, or looks into a namespace | when it has |
//!
//! Everything is synchronous. [`BridgeNetwork::take`], [`publish`](BridgeNetwork::publish),
//! [`unpublish`](BridgeNetwork::unpublish) and [`release`](BridgeNetwork::release) take
//! microseconds; `take` takes one or two milliseconds when the pool has run dry.

#![forbid(unsafe_code)]

mod addresses;
mod bridge;
mod conntrack;
mod firewall;
mod foreign;
mod namespace;
mod netlink;
mod network;
mod nftables;
mod owner;
mod pool;
mod ports;
mod reservations;
mod resolver;
mod route;
mod sandbox;
mod traffic;
mod watch;

pub use namespace::NamespaceError;
pub use netlink::Refusal;
pub use network::{
    AddressPool, Aftermath, BridgeConfig, BridgeNetwork, Existing, NetworkError, OpenError, Warning,
};
pub use ports::{HostPort, PortRequest, Protocol, PublishError, PublishedPort, UnknownProtocol};
pub use resolver::{HostsFile, Resolver};
pub use sandbox::{IsolatedPool, MacAddress, Sandbox, SandboxError};
pub use traffic::{Counters, Interface, Traffic, TrafficMeter, interfaces};
