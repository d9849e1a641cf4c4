//! Publishing: which host ports lead to which containers.

use std::net::Ipv4Addr;
use std::str::FromStr;

/// A transport whose ports can be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A transport that is not (yet) published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("protocol {name:?} cannot be published: only tcp and udp can")]
pub struct UnknownProtocol {
    /// The name as given.
    pub name: String,
}

impl FromStr for Protocol {
    type Err = UnknownProtocol;

    /// Reads `tcp` or `udp`, in any case, as Docker does.
    fn from_str(name: &str) -> Result<Self, UnknownProtocol> {
        match name.to_ascii_lowercase().as_str() {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            _ => Err(UnknownProtocol {
                name: name.to_owned(),
            }),
        }
    }
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// The host's side of a wanted publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostPort {
    /// Any free port of the system's ephemeral range.
    Ephemeral,
    /// This port.
    Fixed(u16),
    /// The first free port from `first` to `last`, both included.
    Range {
        /// The lowest port allowed.
        first: u16,
        /// The highest port allowed.
        last: u16,
    },
}

/// A port to publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRequest {
    /// The transport.
    pub protocol: Protocol,
    /// The host's address; `0.0.0.0` is any of them.
    pub host_address: Ipv4Addr,
    /// The host's port.
    pub host_port: HostPort,
    /// The container's address.
    pub container_address: Ipv4Addr,
    /// The container's port.
    pub container_port: u16,
}

/// A published port. The engine records it, and hands it back to unpublish it or, at the next
/// start, to find it published still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublishedPort {
    /// The transport.
    pub protocol: Protocol,
    /// The host's address; `0.0.0.0` is any of them.
    pub host_address: Ipv4Addr,
    /// The host's port.
    pub host_port: u16,
    /// The container's address.
    pub container_address: Ipv4Addr,
    /// The container's port.
    pub container_port: u16,
}

/// Why a port is not published. The text is Docker's; the engine puts
/// `driver failed programming external connectivity on endpoint …: ` before it.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Another container of this engine has it.
    #[error("Bind for {host_address}:{host_port} failed: port is already allocated")]
    Allocated {
        /// The host's address asked for.
        host_address: Ipv4Addr,
        /// The host's port asked for.
        host_port: u16,
    },
    /// A process of the host has it, or the host does not let us have it.
    #[error(
        "failed to bind host port for {}:{}:{}:{}/{}: {}", port.host_address, port.host_port,
        port.container_address, port.container_port, port.protocol, crate::ports::errno_text(*errno)
    )]
    Bind {
        /// What was tried.
        port: PublishedPort,
        /// The kernel's answer.
        errno: rustix::io::Errno,
    },
    /// The ephemeral range, or the range given, has no free port.
    #[error("all ports are allocated")]
    Exhausted,
    /// The kernel refused the rule.
    #[error("cannot add the ports to the firewall rules")]
    Kernel {
        /// The refusal.
        #[source]
        source: crate::netlink::Refusal,
    },
}

/// An error number in Go's words, which Docker's messages end with.
fn errno_text(errno: rustix::io::Errno) -> String {
    match errno {
        rustix::io::Errno::ADDRINUSE => "address already in use".to_owned(),
        rustix::io::Errno::ADDRNOTAVAIL => "cannot assign requested address".to_owned(),
        rustix::io::Errno::ACCESS => "permission denied".to_owned(),
        other => other.to_string(),
    }
}
