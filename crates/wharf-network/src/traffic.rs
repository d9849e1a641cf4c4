//! What goes through containers' interfaces, counted at the host's ends of their veth pairs.
//!
//! One question to the kernel tells the counters of all interfaces of the host. A namespace is looked
//! into once, for which interfaces are whose; nothing of it is kept open, since a namespace lives as
//! long as anybody has it open.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;

use crate::namespace::{enter, on_own_thread};
use crate::netlink::{Answer, Message, Socket, attribute, u32_at};
use crate::network::NetworkError;
use crate::route;

/// `RTM_GETSTATS`.
const GET_STATISTICS: u16 = 94;
/// `IFLA_STATS_LINK_64`, as an attribute and as a bit of the request's mask.
const LINK_64: u16 = 1;
/// Interfaces of one container that are counted: with `NET_ADMIN` it can make any number.
const INTERFACES_MAX: usize = 16;

/// An interface of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name inside.
    pub name: String,
    /// Index of the host's end.
    pub peer: u32,
}

/// Counters of an interface as its container sees them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// What came in.
    pub received: Counters,
    /// What went out.
    pub sent: Counters,
}

/// Counters of one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
    /// Packets that were broken.
    pub errors: u64,
    /// Packets that were dropped.
    pub dropped: u64,
}

/// Returns the interfaces in a namespace that have their other end outside.
///
/// # Errors
/// The namespace cannot be looked into.
pub fn interfaces(netns: BorrowedFd<'_>) -> Result<Vec<Interface>, NetworkError> {
    let kernel = |source| NetworkError::Kernel {
        operation: "look into the container's network",
        source,
    };
    on_own_thread(|| {
        enter(netns)?;
        let mut socket = Socket::route().map_err(kernel)?;
        let links = route::links(&mut socket).map_err(kernel)?;
        let own = links.into_iter().filter_map(|(name, link)| {
            let peer = link.peer.filter(|_| link.kind == "veth")?;
            Some(Interface { name, peer })
        });
        Ok(own.take(INTERFACES_MAX).collect())
    })
}

/// Reads counters, again and again.
#[derive(Debug)]
pub struct TrafficMeter {
    socket: Socket,
}

impl TrafficMeter {
    /// Opens a socket in the calling thread's namespace, which is to be the host's.
    ///
    /// # Errors
    /// The kernel has none.
    pub fn open() -> Result<Self, NetworkError> {
        let socket = Socket::route().map_err(|source| NetworkError::Kernel {
            operation: "speak to the kernel",
            source,
        })?;
        Ok(Self { socket })
    }

    /// Returns the counters of every interface of the host, as the other end of each sees them.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn read(&mut self) -> Result<HashMap<u32, Traffic>, NetworkError> {
        // `struct if_stats_msg`: family and padding, index, mask.
        let mut header = [0; 12];
        let mask = 1_u32 << (LINK_64 - 1);
        header[8..12].copy_from_slice(&mask.to_ne_bytes());
        let request = Message::new(GET_STATISTICS, 0, &header);
        let collect = |found: &mut HashMap<u32, Traffic>, answer: Answer<'_>| {
            found.extend(read_traffic(answer.body));
        };
        let found = self.socket.dump(&request, collect);
        found.map_err(|source| NetworkError::Kernel {
            operation: "count what goes through interfaces",
            source,
        })
    }
}

/// `struct rtnl_link_stats64`: packets, bytes, errors, drops; of each first what the host received,
/// which is what the container sent.
fn read_traffic(body: &[u8]) -> Option<(u32, Traffic)> {
    let index = u32_at(body, 4)?;
    let counters = attribute(body.get(12..)?, LINK_64)?;
    let number = |at: usize| {
        let bytes = counters.get(at * 8..)?.first_chunk()?;
        Some(u64::from_ne_bytes(*bytes))
    };
    let direction = |first: usize| {
        Some(Counters {
            packets: number(first)?,
            bytes: number(2 + first)?,
            errors: number(4 + first)?,
            dropped: number(6 + first)?,
        })
    };
    let traffic = Traffic {
        received: direction(1)?,
        sent: direction(0)?,
    };
    Some((index, traffic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_end_sends_the_other_receives() {
        let mut body = vec![0; 12];
        body[4..8].copy_from_slice(&7_u32.to_ne_bytes());
        body.extend_from_slice(&(4 + 64_u16).to_ne_bytes());
        body.extend_from_slice(&LINK_64.to_ne_bytes());
        for number in 1..=8_u64 {
            body.extend_from_slice(&number.to_ne_bytes());
        }
        let expected = Traffic {
            received: Counters {
                packets: 2,
                bytes: 4,
                errors: 6,
                dropped: 8,
            },
            sent: Counters {
                packets: 1,
                bytes: 3,
                errors: 5,
                dropped: 7,
            },
        };
        assert_eq!(read_traffic(&body), Some((7, expected)));
        assert_eq!(read_traffic(&body[..40]), None);
    }

    #[test]
    fn the_loopback_interface_is_counted() {
        let mut meter = TrafficMeter::open().expect("a socket");
        let found = meter.read().expect("counters");
        assert!(found.contains_key(&route::LOOPBACK), "{found:?}");
    }
}
