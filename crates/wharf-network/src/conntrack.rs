//! Forgetting tracked connections.
//!
//! The destination of a connection is changed when its first packet comes by, and remembered. For
//! UDP, where a client may go on sending for hours, that would lead its packets to a container that
//! is gone, or past one that has just been published.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};

use rustix::io::Errno;

use crate::netlink::{Message, Refusal, Socket, attribute};
use crate::nftables::IPV4;
use crate::ports::{Protocol, PublishedPort};

const SUBSYSTEM: u16 = 1 << 8;
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;

const HEADER: [u8; 4] = [IPV4, 0, 0, 0];
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const FILTER: u16 = 25;
const FILTER_ORIGINAL: u16 = 1;
const TUPLE_ADDRESSES: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const ADDRESS_SOURCE: u16 = 1;
const ADDRESS_DESTINATION: u16 = 2;
const PROTOCOL_NUMBER: u16 = 1;
const PROTOCOL_SOURCE: u16 = 2;
const PROTOCOL_DESTINATION: u16 = 3;

/// Compare the protocol's number.
const BY_PROTOCOL: u32 = 1 << 3;

const UDP: u8 = 17;

/// A tracked UDP connection.
#[derive(Debug)]
struct Connection {
    /// Where its client sends to.
    to: SocketAddrV4,
    /// Where the answers come from.
    answered_by: SocketAddrV4,
    /// What the kernel knows it by.
    tuple: Vec<u8>,
}

/// Forgets the UDP connections to the host's side of these ports that go elsewhere than what is
/// `published` now says. The kernel looks through all its connections for that, which can take it
/// 10 ms.
pub(crate) fn forget(
    socket: &mut Socket,
    ports: &[PublishedPort],
    published: &BTreeSet<PublishedPort>,
) -> Result<(), Refusal> {
    let hosts_side = |port: &PublishedPort| SocketAddrV4::new(port.host_address, port.host_port);
    let affected: BTreeSet<SocketAddrV4> = ports.iter().map(hosts_side).collect();
    let containers = published
        .iter()
        .filter(|port| port.protocol == Protocol::Udp)
        .map(|port| {
            (
                hosts_side(port),
                SocketAddrV4::new(port.container_address, port.container_port),
            )
        });
    let containers: BTreeMap<SocketAddrV4, SocketAddrV4> = containers.collect();
    let stale = socket.dump(&tracked_udp(), |stale: &mut Vec<Connection>, answer| {
        let attributes = answer.body.get(HEADER.len()..).unwrap_or_default();
        stale.extend(read(attributes).filter(|connection| {
            let anywhere = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, connection.to.port());
            let container = containers
                .get(&connection.to)
                .or_else(|| containers.get(&anywhere));
            (affected.contains(&connection.to) || affected.contains(&anywhere))
                && container != Some(&connection.answered_by)
        }));
    })?;
    for connection in stale {
        let mut request = Message::new(DELETE, 0, &HEADER);
        request.nested(TUPLE_ORIGINAL, |nest| {
            nest.raw(&connection.tuple);
        });
        match socket.request(&[request]) {
            // It has expired meanwhile.
            Err(refusal) if refusal.errno() == Some(Errno::NOENT) => {}
            result => result?,
        }
    }
    Ok(())
}

/// Asks for all UDP connections.
fn tracked_udp() -> Message {
    let mut request = Message::new(GET, 0, &HEADER);
    request.nested(TUPLE_ORIGINAL, |tuple| {
        tuple.nested(TUPLE_PROTOCOL, |protocol| {
            protocol.bytes(PROTOCOL_NUMBER, &[UDP]);
        });
    });
    request.nested(FILTER, |filter| {
        filter.u32(FILTER_ORIGINAL, BY_PROTOCOL);
    });
    request
}

/// A connection; None if it is not UDP's, as kernels before 5.8 do not filter.
fn read(attributes: &[u8]) -> Option<Connection> {
    let original = attribute(attributes, TUPLE_ORIGINAL)?;
    let reply = attribute(attributes, TUPLE_REPLY)?;
    if attribute(attribute(original, TUPLE_PROTOCOL)?, PROTOCOL_NUMBER)? != [UDP] {
        return None;
    }
    Some(Connection {
        to: end(original, ADDRESS_DESTINATION, PROTOCOL_DESTINATION)?,
        answered_by: end(reply, ADDRESS_SOURCE, PROTOCOL_SOURCE)?,
        tuple: original.to_vec(),
    })
}

fn end(tuple: &[u8], address: u16, port: u16) -> Option<SocketAddrV4> {
    let address = attribute(attribute(tuple, TUPLE_ADDRESSES)?, address)?.first_chunk::<4>()?;
    let port = attribute(attribute(tuple, TUPLE_PROTOCOL)?, port)?.first_chunk()?;
    Some(SocketAddrV4::new(
        Ipv4Addr::from(*address),
        u16::from_be_bytes(*port),
    ))
}
