//! Forgetting tracked connections.
//!
//! The destination of a connection is changed when its first packet comes by, and remembered. For
//! UDP, where a client may go on sending for hours, that would lead its packets to a container that
//! is gone, or past one that has just been published.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use rustix::io::Errno;

use crate::netlink::{Message, Refusal, Socket, attribute};
use crate::nftables::IPV4;
use crate::ports::{Protocol, PublishedPort};

const SUBSYSTEM: u16 = 1 << 8;
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;

const HEADER: [u8; 4] = [IPV4, 0, 0, 0];
const TUPLE_ORIGINAL: u16 = 1;
const FILTER: u16 = 25;
const FILTER_ORIGINAL: u16 = 1;
const TUPLE_ADDRESSES: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const ADDRESS_DESTINATION: u16 = 2;
const PROTOCOL_NUMBER: u16 = 1;
const PROTOCOL_DESTINATION: u16 = 3;

/// Compare the protocol's number.
const BY_PROTOCOL: u32 = 1 << 3;

const UDP: u8 = 17;

/// Forgets the UDP connections to the host's side of these ports. The kernel looks through all its
/// connections for that, which can take it 10 ms.
pub(crate) fn forget(socket: &mut Socket, ports: &[PublishedPort]) -> Result<(), Refusal> {
    let hosts_side = |port: &PublishedPort| (port.host_port, port.host_address);
    let udp = ports.iter().filter(|port| port.protocol == Protocol::Udp);
    let udp: BTreeSet<(u16, Ipv4Addr)> = udp.map(hosts_side).collect();
    if udp.is_empty() {
        return Ok(());
    }
    let tuples = socket.dump(&tracked_udp(), |tuples: &mut Vec<Vec<u8>>, answer| {
        let attributes = answer.body.get(HEADER.len()..).unwrap_or_default();
        let Some(tuple) = attribute(attributes, TUPLE_ORIGINAL) else {
            return;
        };
        // Kernels before 5.8 do not filter.
        if let Some((port, address)) = udp_destination(tuple)
            && (udp.contains(&(port, address)) || udp.contains(&(port, Ipv4Addr::UNSPECIFIED)))
        {
            tuples.push(tuple.to_vec());
        }
    })?;
    for tuple in tuples {
        let mut request = Message::new(DELETE, 0, &HEADER);
        request.nested(TUPLE_ORIGINAL, |nest| {
            nest.raw(&tuple);
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

/// Where the first packet of a UDP connection went.
fn udp_destination(tuple: &[u8]) -> Option<(u16, Ipv4Addr)> {
    let protocol = attribute(tuple, TUPLE_PROTOCOL)?;
    let port = attribute(protocol, PROTOCOL_DESTINATION)?.first_chunk()?;
    let address = attribute(attribute(tuple, TUPLE_ADDRESSES)?, ADDRESS_DESTINATION)?;
    let address = Ipv4Addr::from(*address.first_chunk::<4>()?);
    (attribute(protocol, PROTOCOL_NUMBER)? == [UDP]).then_some((u16::from_be_bytes(*port), address))
}
