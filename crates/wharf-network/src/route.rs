//! Links, addresses and routes, by rtnetlink.

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use ipnet::Ipv4Net;

use crate::netlink::{
    Answer, CREATE, EXCLUSIVE, Message, Refusal, Socket, attribute, attributes, text, u32_at,
};
use crate::sandbox::MacAddress;

const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const SET_LINK: u16 = 19;
const NEW_ADDRESS: u16 = 20;
const DELETE_ADDRESS: u16 = 21;
const GET_ADDRESS: u16 = 22;
const NEW_ROUTE: u16 = 24;
const GET_ROUTE: u16 = 26;

const LINK_ADDRESS: u16 = 1;
const LINK_NAME: u16 = 3;
const LINK_MTU: u16 = 4;
const LINK_PEER: u16 = 5;
const LINK_MASTER: u16 = 10;
const LINK_STATE: u16 = 16;
const LINK_INFO: u16 = 18;
const LINK_FAMILIES: u16 = 26;
const LINK_NETNS: u16 = 28;
const LINK_WANTED: u16 = 29;
const FAMILY_IPV6: u16 = 10;
const IPV6_ADDRESS_MODE: u16 = 8;
const NO_ADDRESS: u8 = 1;
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
const INFO_PORT_KIND: u16 = 4;
const INFO_PORT_DATA: u16 = 5;
const VETH_PEER: u16 = 1;
const PORT_HAIRPIN: u16 = 4;

const ADDRESS: u16 = 1;
const ADDRESS_LOCAL: u16 = 2;
const ADDRESS_BROADCAST: u16 = 4;

const ROUTE_DESTINATION: u16 = 1;
const ROUTE_LINK: u16 = 4;
const ROUTE_GATEWAY: u16 = 5;
const ROUTE_METRIC: u16 = 6;
const ROUTE_TABLE_MAIN: u8 = 254;
const ROUTE_BY_US: u8 = 3;
const ROUTE_UNICAST: u8 = 1;

const FAMILY_IPV4: u8 = 2;
const UP: u32 = 1;
const STATE_UP: u8 = 6;
const NO_STATISTICS: u32 = 1 << 3;

/// The loopback interface's index in every namespace.
pub(crate) const LOOPBACK: u32 = 1;

/// What is known of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) mtu: u32,
    /// Packets get through: it is up, it has a carrier, and the kernel has taken note of that.
    pub(crate) operational: bool,
    pub(crate) master: Option<u32>,
    /// The other end of a veth pair: its index in its own namespace.
    pub(crate) peer: Option<u32>,
    /// `bridge`, `veth`, …; empty for hardware.
    pub(crate) kind: String,
}

/// An IPv4 route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) destination: Ipv4Net,
    pub(crate) link: Option<u32>,
    pub(crate) metric: u32,
}

/// What one end of a new veth pair is like.
#[derive(Debug)]
pub(crate) struct VethEnd<'a> {
    pub(crate) name: &'a str,
    pub(crate) mac: MacAddress,
}

/// `struct ifinfomsg`.
fn link_header(index: u32, flags: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    // Only these flags are to change.
    header[12..16].copy_from_slice(&flags.to_ne_bytes());
    header
}

/// The link of this name, if there is one.
pub(crate) fn link_by_name(socket: &mut Socket, name: &str) -> Result<Option<Link>, Refusal> {
    let mut request = Message::new(GET_LINK, 0, &link_header(0, 0));
    request
        .string(LINK_NAME, name)
        .u32(LINK_WANTED, NO_STATISTICS);
    Ok(socket.get(&request, read_link)?.flatten())
}

/// The link with this index, if there is one.
pub(crate) fn link_by_index(socket: &mut Socket, index: u32) -> Result<Option<Link>, Refusal> {
    let mut request = Message::new(GET_LINK, 0, &link_header(index, 0));
    request.u32(LINK_WANTED, NO_STATISTICS);
    Ok(socket.get(&request, read_link)?.flatten())
}

/// Every link, with its name.
pub(crate) fn links(socket: &mut Socket) -> Result<Vec<(String, Link)>, Refusal> {
    let mut request = Message::new(GET_LINK, 0, &link_header(0, 0));
    request.u32(LINK_WANTED, NO_STATISTICS);
    socket.dump(&request, |found: &mut Vec<(String, Link)>, answer| {
        let name = answer.body.get(16..).and_then(|a| attribute(a, LINK_NAME));
        let name = name.map(text).unwrap_or_default().to_owned();
        found.extend(read_link(answer).map(|link| (name, link)));
    })
}

fn read_link(answer: Answer<'_>) -> Option<Link> {
    let body = answer.body;
    let attributes = body.get(16..)?;
    let info = attribute(attributes, LINK_INFO).and_then(|info| attribute(info, INFO_KIND));
    let number = |kind| attribute(attributes, kind).and_then(|value| u32_at(value, 0));
    Some(Link {
        index: u32_at(body, 4)?,
        mtu: number(LINK_MTU)?,
        operational: attribute(attributes, LINK_STATE) == Some(&[STATE_UP]),
        master: number(LINK_MASTER),
        peer: number(LINK_PEER),
        kind: info.map(text).unwrap_or_default().to_owned(),
    })
}

/// Every IPv4 route of the host, local and broadcast ones too.
pub(crate) fn routes(socket: &mut Socket) -> Result<Vec<Route>, Refusal> {
    let mut header = [0; 12];
    header[0] = FAMILY_IPV4;
    let request = Message::new(GET_ROUTE, 0, &header);
    socket.dump(&request, |routes: &mut Vec<Route>, answer| {
        routes.extend(
            (answer.kind == NEW_ROUTE)
                .then(|| read_route(answer.body))
                .flatten(),
        );
    })
}

fn read_route(body: &[u8]) -> Option<Route> {
    let prefix = *body.get(1)?;
    let mut route = Route {
        destination: Ipv4Net::new(Ipv4Addr::UNSPECIFIED, prefix).ok()?,
        link: None,
        metric: 0,
    };
    for (kind, value) in attributes(body.get(12..)?) {
        match kind {
            ROUTE_DESTINATION => route.destination = Ipv4Net::new(ipv4(value)?, prefix).ok()?,
            ROUTE_LINK => route.link = u32_at(value, 0),
            ROUTE_METRIC => route.metric = u32_at(value, 0)?,
            _ => {}
        }
    }
    Some(route)
}

/// The IPv4 addresses of a link.
pub(crate) fn addresses(socket: &mut Socket, link: u32) -> Result<Vec<Ipv4Net>, Refusal> {
    let request = Message::new(GET_ADDRESS, 0, &[FAMILY_IPV4, 0, 0, 0, 0, 0, 0, 0]);
    socket.dump(&request, |found: &mut Vec<Ipv4Net>, answer| {
        if answer.kind == NEW_ADDRESS && u32_at(answer.body, 4) == Some(link) {
            found.extend(read_address(answer.body));
        }
    })
}

fn read_address(body: &[u8]) -> Option<Ipv4Net> {
    let attributes = body.get(8..)?;
    let local = attribute(attributes, ADDRESS_LOCAL).or_else(|| attribute(attributes, ADDRESS))?;
    Ipv4Net::new(ipv4(local)?, *body.get(1)?).ok()
}

fn ipv4(value: &[u8]) -> Option<Ipv4Addr> {
    value.first_chunk::<4>().map(|bytes| Ipv4Addr::from(*bytes))
}

/// Creates a bridge that is down. Its hardware address is given, because a bridge without one of
/// its own takes a port's, and changes it when that port goes.
pub(crate) fn create_bridge(name: &str, mac: MacAddress) -> Message {
    let mut message = Message::new(NEW_LINK, CREATE | EXCLUSIVE, &link_header(0, 0));
    message
        .string(LINK_NAME, name)
        .bytes(LINK_ADDRESS, &mac.0)
        .nested(LINK_INFO, |info| {
            info.string(INFO_KIND, "bridge");
        });
    message
}

/// Brings a link up.
pub(crate) fn set_up(link: u32) -> Message {
    Message::new(SET_LINK, 0, &link_header(link, UP))
}

/// Sets a link's MTU.
pub(crate) fn set_mtu(link: u32, mtu: u32) -> Message {
    let mut message = Message::new(SET_LINK, 0, &link_header(link, 0));
    message.u32(LINK_MTU, mtu);
    message
}

/// Makes a link a port of a bridge, and brings it up.
pub(crate) fn set_master(link: u32, bridge: u32) -> Message {
    let mut message = Message::new(SET_LINK, 0, &link_header(link, UP));
    message.u32(LINK_MASTER, bridge);
    message
}

/// Makes a bridge port, before its first carrier, what a container's should be: the bridge may send
/// a frame back through it (a container that reaches itself by a published port, where the host has
/// bridged packets filtered), and it gets no IPv6 address of its own.
pub(crate) fn settle_port(port: &str) -> Message {
    let mut message = Message::new(NEW_LINK, 0, &link_header(0, 0));
    message
        .string(LINK_NAME, port)
        .nested(LINK_INFO, |info| {
            info.string(INFO_PORT_KIND, "bridge")
                .nested(INFO_PORT_DATA, |data| {
                    data.bytes(PORT_HAIRPIN, &[1]);
                });
        })
        .nested(LINK_FAMILIES, |families| {
            families.nested(FAMILY_IPV6, |ipv6| {
                ipv6.bytes(IPV6_ADDRESS_MODE, &[NO_ADDRESS]);
            });
        });
    message
}

/// Deletes a link.
pub(crate) fn delete(link: u32) -> Message {
    Message::new(DELETE_LINK, 0, &link_header(link, 0))
}

/// Creates a veth pair: one end here, up and a port of `bridge`, the other in `netns`, down.
pub(crate) fn create_veth(
    here: &VethEnd<'_>,
    bridge: u32,
    there: &VethEnd<'_>,
    netns: BorrowedFd<'_>,
    mtu: u32,
) -> Message {
    let mut message = Message::new(NEW_LINK, CREATE | EXCLUSIVE, &link_header(0, UP));
    message
        .string(LINK_NAME, here.name)
        .bytes(LINK_ADDRESS, &here.mac.0)
        .u32(LINK_MTU, mtu)
        .u32(LINK_MASTER, bridge)
        .nested(LINK_INFO, |info| {
            info.string(INFO_KIND, "veth").nested(INFO_DATA, |data| {
                data.nested(VETH_PEER, |peer| {
                    peer.raw(&link_header(0, 0))
                        .string(LINK_NAME, there.name)
                        .bytes(LINK_ADDRESS, &there.mac.0)
                        .u32(LINK_MTU, mtu)
                        .u32(LINK_NETNS, netns.as_raw_fd().cast_unsigned());
                });
            });
        });
    message
}

/// Gives a link an address.
pub(crate) fn add_address(link: u32, address: Ipv4Net) -> Message {
    let mut message = address_message(NEW_ADDRESS, CREATE, link, address);
    message.bytes(ADDRESS_BROADCAST, &address.broadcast().octets());
    message
}

/// Takes an address from a link.
pub(crate) fn delete_address(link: u32, address: Ipv4Net) -> Message {
    address_message(DELETE_ADDRESS, 0, link, address)
}

fn address_message(kind: u16, flags: u16, link: u32, address: Ipv4Net) -> Message {
    let mut header = [FAMILY_IPV4, address.prefix_len(), 0, 0, 0, 0, 0, 0];
    header[4..8].copy_from_slice(&link.to_ne_bytes());
    let mut message = Message::new(kind, flags, &header);
    let bytes = address.addr().octets();
    message.bytes(ADDRESS_LOCAL, &bytes).bytes(ADDRESS, &bytes);
    message
}

/// Sets the default route.
pub(crate) fn add_default_route(gateway: Ipv4Addr) -> Message {
    let header = [
        FAMILY_IPV4,
        0,
        0,
        0,
        ROUTE_TABLE_MAIN,
        ROUTE_BY_US,
        0,
        ROUTE_UNICAST,
        0,
        0,
        0,
        0,
    ];
    let mut message = Message::new(NEW_ROUTE, CREATE | EXCLUSIVE, &header);
    message.bytes(ROUTE_GATEWAY, &gateway.octets());
    message
}
