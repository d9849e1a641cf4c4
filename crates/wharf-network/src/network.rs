//! The bridge network as the engine sees it.

use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;

use ipnet::Ipv4Net;

use crate::ports::{PortRequest, PublishError, PublishedPort};
use crate::sandbox::{Sandbox, SandboxError};

/// What the bridge network is to be.
#[derive(Debug, Clone)]
pub struct BridgeConfig {
    /// The bridge's interface name (`--bridge`).
    pub name: String,
    /// The bridge's own address with its prefix (`--bip`), or the one recorded when the network was
    /// first opened. None: the bridge's present address, else the first address of the first
    /// private subnet that overlaps no route of the host.
    pub address: Option<Ipv4Net>,
    /// The MTU (`--mtu`). None: that of the interface the host's default route leaves by.
    pub mtu: Option<u32>,
    /// How many sandboxes to keep ready.
    pub pool: usize,
}

impl Default for BridgeConfig {
    fn default() -> Self {
        Self {
            name: "wharf0".to_owned(),
            address: None,
            mtu: None,
            pool: 8,
        }
    }
}

/// What a former engine left running: its containers' addresses and published ports.
#[derive(Debug, Clone, Copy, Default)]
pub struct Existing<'a> {
    /// Addresses of containers that still run.
    pub addresses: &'a [Ipv4Addr],
    /// Ports published for them. The table is made to hold these and no others.
    pub ports: &'a [PublishedPort],
}

/// What becomes of bridge and table when the network is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aftermath {
    /// They stay, and running containers keep their network.
    Keep,
    /// They are deleted.
    Remove,
}

/// Something about the host that its owner may want to know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// The host did not forward packets between interfaces.
    #[error("IPv4 forwarding was off and has been turned on (net.ipv4.ip_forward=1)")]
    ForwardingTurnedOn,
    /// A port published before cannot be reserved again; its traffic still reaches the container.
    #[error("port {} of a running container is now also used by a process of the host", port.host_port)]
    PortTaken {
        /// The published port.
        port: PublishedPort,
    },
}

/// Why the network did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The host's routes leave none of the private subnets free.
    #[error(
        "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network"
    )]
    NoSubnet,
}

/// Why a change of the network failed.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {}

/// An open bridge network. Dropping it stops its threads and closes its pool, and leaves bridge and
/// table as they are.
#[derive(Debug)]
pub struct BridgeNetwork {}

impl BridgeNetwork {
    /// Creates or repairs the bridge, loads the table, and starts filling the pool.
    pub fn open(config: BridgeConfig, existing: Existing<'_>) -> Result<Self, OpenError> {
        todo!("{config:?} {existing:?}")
    }

    /// The bridge's interface name.
    pub fn bridge(&self) -> &str {
        todo!()
    }

    /// The bridge's address and prefix: the containers' gateway. To be recorded and given as
    /// [`BridgeConfig::address`] at the next opening.
    pub fn address(&self) -> Ipv4Net {
        todo!()
    }

    /// The MTU of bridge and sandboxes.
    pub fn mtu(&self) -> u32 {
        todo!()
    }

    /// What opening found worth telling.
    pub fn warnings(&self) -> &[Warning] {
        todo!()
    }

    /// A sandbox from the pool, or one made now.
    pub fn take(&self) -> Result<Sandbox, SandboxError> {
        todo!()
    }

    /// Gives an address back once its container has gone. It is handed out again last of all.
    pub fn release(&self, address: Ipv4Addr) {
        todo!("{address}")
    }

    /// Sees that a running container of a former engine is still attached to the bridge, and
    /// attaches it again if the bridge had been deleted meanwhile. Its address was given in
    /// [`Existing::addresses`]; `netns` is its network namespace.
    pub fn adopt(&self, netns: BorrowedFd<'_>) -> Result<(), NetworkError> {
        todo!("{netns:?}")
    }

    /// Publishes all of these ports or none.
    pub fn publish(&self, requests: &[PortRequest]) -> Result<Vec<PublishedPort>, PublishError> {
        todo!("{requests:?}")
    }

    /// Takes published ports back; those not published are passed over.
    pub fn unpublish(&self, ports: &[PublishedPort]) -> Result<(), NetworkError> {
        todo!("{ports:?}")
    }

    /// Stops the threads, closes the pool, and removes bridge and table if asked to.
    pub fn close(&self, aftermath: Aftermath) -> Result<(), NetworkError> {
        todo!("{aftermath:?}")
    }
}
