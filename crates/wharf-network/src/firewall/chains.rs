//! The chains of the table: see the table's text in [`super`].

use ipnet::Ipv4Net;

use super::{PUBLISHED, PUBLISHED_ANYWHERE};
use crate::nftables::{self, Base, Expression, Hook, Meta, Register, Tracked, Verdict};

const PUBLISH: &str = "publish";

const PRIORITY_RAW: i32 = -300;
const PRIORITY_DESTINATION_NAT: i32 = -100;
const PRIORITY_FILTER: i32 = 0;
const PRIORITY_SOURCE_NAT: i32 = 100;

const LOOPBACK_NETWORK: u8 = 127;
/// `RTN_LOCAL`: the host itself.
const LOCAL: u32 = 2;
const ESTABLISHED_OR_RELATED: u32 = 6;
const DESTINATION_CHANGED: u32 = 0x20;

/// Where the addresses are in an IPv4 header.
const SOURCE: u32 = 12;
const DESTINATION: u32 = 16;

/// A chain, and what it does.
pub(super) struct Chain {
    pub(super) name: &'static str,
    pub(super) hook: Option<Hook>,
    pub(super) rules: Vec<Vec<Expression<'static>>>,
}

/// The chains of the table, one that is jumped to before those that jump.
pub(super) fn chains(bridge: &str, subnet: Ipv4Net) -> Vec<Chain> {
    let hook = |kind, number, priority| {
        Some(Hook {
            kind,
            number,
            priority,
        })
    };
    let to_publish = || {
        let local = Expression::Compare {
            register: 0,
            equal: true,
            value: LOCAL.to_ne_bytes().to_vec(),
        };
        let jump = Expression::Verdict(Verdict::Jump(PUBLISH));
        vec![vec![Expression::DestinationType { to: 0 }, local, jump]]
    };
    vec![
        Chain {
            name: PUBLISH,
            hook: None,
            rules: publish_rules(),
        },
        Chain {
            name: "guard",
            hook: hook("filter", nftables::PREROUTING, PRIORITY_RAW),
            rules: guard_rules(),
        },
        Chain {
            name: "prerouting",
            hook: hook("nat", nftables::PREROUTING, PRIORITY_DESTINATION_NAT),
            rules: to_publish(),
        },
        Chain {
            name: "output",
            hook: hook("nat", nftables::OUTPUT, PRIORITY_DESTINATION_NAT),
            rules: to_publish(),
        },
        Chain {
            name: "postrouting",
            hook: hook("nat", nftables::POSTROUTING, PRIORITY_SOURCE_NAT),
            rules: masquerade_rules(bridge, subnet),
        },
        Chain {
            name: "forward",
            hook: hook("filter", nftables::FORWARD, PRIORITY_FILTER),
            rules: forward_rules(bridge),
        },
    ]
}

fn publish_rules() -> Vec<Vec<Expression<'static>>> {
    let protocol = || Expression::Meta {
        key: Meta::Transport,
        to: 0,
    };
    let port = |to| Expression::Payload {
        base: Base::Transport,
        offset: 2,
        length: 2,
        to,
    };
    let address = Expression::Payload {
        base: Base::Network,
        offset: DESTINATION,
        length: 4,
        to: 1,
    };
    let to_value = |map| {
        [
            Expression::Lookup {
                map,
                from: 0,
                to: 0,
            },
            Expression::DestinationNat {
                address: 0,
                port: 1,
            },
        ]
    };
    vec![
        ipv4()
            .into_iter()
            .chain([protocol(), address, port(2)])
            .chain(to_value(PUBLISHED))
            .collect(),
        ipv4()
            .into_iter()
            .chain([protocol(), port(1)])
            .chain(to_value(PUBLISHED_ANYWHERE))
            .collect(),
    ]
}

fn guard_rules() -> Vec<Vec<Expression<'static>>> {
    [DESTINATION, SOURCE]
        .into_iter()
        .map(|offset| {
            let mut rule = interface(Meta::InputName, false, "lo");
            rule.extend(ipv4());
            rule.extend(loopback(offset));
            rule.push(Expression::Verdict(Verdict::Drop));
            rule
        })
        .collect()
}

fn masquerade_rules(bridge: &str, subnet: Ipv4Net) -> Vec<Vec<Expression<'static>>> {
    let from_subnet = || {
        let mask = subnet.netmask().octets().to_vec();
        let value = subnet.network().octets().to_vec();
        let load = Expression::Payload {
            base: Base::Network,
            offset: SOURCE,
            length: 4,
            to: 0,
        };
        let compare = Expression::Compare {
            register: 0,
            equal: true,
            value,
        };
        ipv4()
            .into_iter()
            .chain([load, Expression::Mask { register: 0, mask }, compare])
    };
    let leaving = |by_bridge| interface(Meta::OutputName, by_bridge, bridge);
    let masquerade = || [Expression::Masquerade];
    vec![
        from_subnet()
            .chain(leaving(false))
            .chain(masquerade())
            .collect(),
        leaving(true)
            .into_iter()
            .chain(ipv4())
            .chain(loopback(SOURCE))
            .chain(masquerade())
            .collect(),
        leaving(true)
            .into_iter()
            .chain(from_subnet())
            .chain(tracked(Tracked::Status, DESTINATION_CHANGED))
            .chain(masquerade())
            .collect(),
    ]
}

fn forward_rules(bridge: &str) -> Vec<Vec<Expression<'static>>> {
    let then = |mut conditions: Vec<Expression<'static>>, verdict| {
        conditions.push(Expression::Verdict(verdict));
        conditions
    };
    vec![
        then(interface(Meta::OutputName, false, bridge), Verdict::Accept),
        then(interface(Meta::InputName, true, bridge), Verdict::Accept),
        then(
            tracked(Tracked::State, ESTABLISHED_OR_RELATED).to_vec(),
            Verdict::Accept,
        ),
        then(
            tracked(Tracked::Status, DESTINATION_CHANGED).to_vec(),
            Verdict::Accept,
        ),
        // Nothing else gets here; said again, so that a reader (another engine, whose bridge this
        // does not concern) need not know the rules before to see it.
        then(interface(Meta::OutputName, true, bridge), Verdict::Drop),
    ]
}

/// Goes on for IPv4 packets.
fn ipv4() -> [Expression<'static>; 2] {
    [
        Expression::Meta {
            key: Meta::Family,
            to: 0,
        },
        Expression::Compare {
            register: 0,
            equal: true,
            value: vec![nftables::IPV4],
        },
    ]
}

/// Goes on if the interface is (or is not) the one of this name.
pub(crate) fn interface(side: Meta, equal: bool, name: &str) -> Vec<Expression<'static>> {
    let register: Register = 0;
    let mut value = name.as_bytes().to_vec();
    value.resize(16, 0);
    vec![
        Expression::Meta {
            key: side,
            to: register,
        },
        Expression::Compare {
            register,
            equal,
            value,
        },
    ]
}

/// Goes on if the address at this offset of the IPv4 header is in 127.0.0.0/8.
fn loopback(offset: u32) -> [Expression<'static>; 2] {
    [
        Expression::Payload {
            base: Base::Network,
            offset,
            length: 1,
            to: 0,
        },
        Expression::Compare {
            register: 0,
            equal: true,
            value: vec![LOOPBACK_NETWORK],
        },
    ]
}

/// Goes on if one of these bits is set.
fn tracked(key: Tracked, bits: u32) -> [Expression<'static>; 3] {
    [
        Expression::Track { key, to: 0 },
        Expression::Mask {
            register: 0,
            mask: bits.to_ne_bytes().to_vec(),
        },
        Expression::Compare {
            register: 0,
            equal: false,
            value: vec![0; 4],
        },
    ]
}
