//! Sandboxes: network namespaces made ready before they are needed.

use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;

/// A ready network namespace on the bridge: loopback and `eth0` are up, address and default route
/// are set, IPv6 is off, `net.ipv4.ip_unprivileged_port_start` is 0 and `net.ipv4.ping_group_range`
/// is everybody, as Docker has them in a container.
///
/// The namespace lives while `netns`, a copy of it or a process in it does. Whoever drops a sandbox
/// without handing it to a container also gives `address` back, by
/// [`BridgeNetwork::release`](crate::BridgeNetwork::release).
#[derive(Debug)]
pub struct Sandbox {
    /// The namespace, to be joined with setns.
    pub netns: OwnedFd,
    /// The container's address.
    pub address: Ipv4Addr,
    /// The subnet's prefix length.
    pub prefix: u8,
    /// The bridge's address, the container's default route.
    pub gateway: Ipv4Addr,
    /// The hardware address of the container's `eth0`.
    pub mac: MacAddress,
    /// The name of the host's end of the veth pair.
    pub host_interface: String,
    /// The name of the container's end: `eth0`.
    pub interface: &'static str,
}

/// Ready network namespaces with nothing but a loopback interface, for `--network none`.
#[derive(Debug)]
pub struct IsolatedPool {}

impl IsolatedPool {
    /// Starts keeping `size` namespaces ready; 0 makes each when it is asked for.
    pub fn open(size: usize) -> Result<Self, SandboxError> {
        todo!("{size}")
    }

    /// A namespace from the pool, or one made now.
    pub fn take(&self) -> Result<OwnedFd, SandboxError> {
        todo!()
    }
}

/// A hardware address; prints as `02:42:ac:11:00:02`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl std::fmt::Display for MacAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Every address of the subnet is in use.
    #[error("no available IPv4 addresses on network {subnet}")]
    NoAddress {
        /// The network's subnet.
        subnet: ipnet::Ipv4Net,
    },
}
