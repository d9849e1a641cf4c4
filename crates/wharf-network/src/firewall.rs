//! The engine's own nftables table.
//!
//! As `nft list table inet wharf` shows it, for bridge `wharf0` with 172.17.0.1/16:
//!
//! ```text
//! map published          { type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service }
//! map published_anywhere { type inet_proto . inet_service : ipv4_addr . inet_service }
//! chain publish {
//!     dnat ip to meta l4proto . ip daddr . th dport map @published
//!     meta nfproto ipv4 dnat ip to meta l4proto . th dport map @published_anywhere
//! }
//! chain guard { type filter hook prerouting priority raw
//!     iifname != "lo" ip daddr 127.0.0.0/8 drop
//!     iifname != "lo" ip saddr 127.0.0.0/8 drop
//! }
//! chain prerouting { type nat hook prerouting priority dstnat; fib daddr type local jump publish }
//! chain output     { type nat hook output priority dstnat;     fib daddr type local jump publish }
//! chain postrouting { type nat hook postrouting priority srcnat
//!     ip saddr 172.17.0.0/16 oifname != "wharf0" masquerade
//!     oifname "wharf0" ip saddr 127.0.0.0/8 masquerade
//!     oifname "wharf0" ip saddr 172.17.0.0/16 ct status dnat masquerade
//! }
//! chain forward { type filter hook forward priority filter
//!     oifname != "wharf0" accept
//!     iifname "wharf0" accept
//!     ct state established,related accept
//!     ct status dnat accept
//!     oifname "wharf0" drop
//! }
//! ```
//!
//! Publishing adds an element to one of the maps; nothing else ever changes. A host process reaches
//! a port published on loopback because the bridge has `route_localnet` set and the connection is
//! masqueraded on its way out; that setting alone would let a container speak to the host's
//! loopback and a neighbour to ports published there, hence the guard. A container that uses the
//! host's address to reach a published port (its own even) gets there by the last masquerading
//! rule; everybody else's source address is kept.

mod chains;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use rustix::io::Errno;

pub(crate) use chains::interface;

use crate::netlink::{self, Message, Refusal, Socket, attributes, text};
use crate::nftables::{self, Element, Field, INET, attribute};
use crate::owner::Owner;
use crate::ports::{Protocol, PublishedPort};

const PUBLISHED: &str = "published";
const PUBLISHED_ANYWHERE: &str = "published_anywhere";

/// The table, and what it is to hold.
#[derive(Debug)]
pub(crate) struct Firewall {
    pub(crate) socket: Socket,
    pub(crate) table: String,
    pub(crate) bridge: String,
    subnet: Ipv4Net,
    userdata: Vec<u8>,
    published: BTreeSet<PublishedPort>,
    /// What the table looked like when it was loaded.
    loaded: Option<Shape>,
}

/// A table's identity: equal only while nobody has touched it, its elements aside.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shape {
    table: Vec<u8>,
    /// Chain, handle.
    rules: Vec<(String, Vec<u8>)>,
    chains: Vec<String>,
}

/// The name of the table for this bridge; each engine of a machine has a bridge and so a table of
/// its own.
pub(crate) fn table_name(bridge: &str) -> String {
    if bridge == "wharf0" {
        "wharf".to_owned()
    } else {
        format!("wharf-{bridge}")
    }
}

/// What the table and our rules elsewhere are marked with.
pub(crate) fn comment(bridge: &str) -> String {
    format!("wharf: containers on {bridge}")
}

/// A transaction on this socket.
pub(crate) fn transact(socket: &mut Socket, messages: &[Message]) -> Result<(), Refusal> {
    if messages.is_empty() {
        return Ok(());
    }
    socket.transaction(&nftables::begin(), messages, &nftables::end())
}

impl Firewall {
    /// Loads the table with these ports published, in place of whatever was there.
    pub(crate) fn load(
        bridge: &str,
        subnet: Ipv4Net,
        ports: &[PublishedPort],
        owner: Owner,
    ) -> Result<Self, Refusal> {
        let mut firewall = Self {
            socket: Socket::netfilter()?,
            table: table_name(bridge),
            bridge: bridge.to_owned(),
            subnet: subnet.trunc(),
            userdata: [nftables::comment_userdata(&comment(bridge)), owner.encode()].concat(),
            published: ports.iter().copied().collect(),
            loaded: None,
        };
        firewall.reload()?;
        Ok(firewall)
    }

    /// Makes the table anew, in one transaction: no packet sees it half done.
    pub(crate) fn reload(&mut self) -> Result<(), Refusal> {
        let messages = self.whole_table();
        transact(&mut self.socket, &messages)?;
        self.loaded = self.shape()?;
        Ok(())
    }

    /// Loads the table again if somebody else has changed it; true when so.
    pub(crate) fn heal(&mut self) -> Result<bool, Refusal> {
        let intact = self.loaded.is_some()
            && self.shape()? == self.loaded
            && self.present_elements()? == Self::elements(&self.published);
        if !intact {
            self.reload()?;
        }
        Ok(!intact)
    }

    /// What is published.
    pub(crate) fn published(&self) -> &BTreeSet<PublishedPort> {
        &self.published
    }

    /// Publishes these ports.
    pub(crate) fn add(&mut self, ports: &[PublishedPort]) -> Result<(), Refusal> {
        self.published.extend(ports.iter().copied());
        let messages = self.element_messages(ports, nftables::new_elements);
        self.change(&messages).inspect_err(|_| {
            for port in ports {
                self.published.remove(port);
            }
        })
    }

    /// Takes these ports back; those not published are passed over.
    pub(crate) fn remove(&mut self, ports: &[PublishedPort]) -> Result<(), Refusal> {
        let known: Vec<_> = ports
            .iter()
            .copied()
            .filter(|port| self.published.remove(port))
            .collect();
        let messages = self.element_messages(&known, nftables::delete_elements);
        self.change(&messages)
    }

    /// Deletes the table.
    pub(crate) fn delete(&mut self) -> Result<(), Refusal> {
        self.published.clear();
        self.loaded = None;
        let messages = self.delete_whatever_is_there();
        transact(&mut self.socket, &messages)
    }

    /// Changes elements; if the table has just been swept away or tampered with, loads it whole.
    fn change(&mut self, messages: &[Message]) -> Result<(), Refusal> {
        match transact(&mut self.socket, messages) {
            Err(refusal) if matches!(refusal.errno(), Some(Errno::NOENT | Errno::EXIST)) => {
                self.reload()
            }
            result => result,
        }
    }

    fn element_messages(
        &self,
        ports: &[PublishedPort],
        message: fn(u8, &str, &str, &[Element]) -> Vec<Message>,
    ) -> Vec<Message> {
        let [at_address, anywhere] = Self::elements(ports);
        let at_address: Vec<_> = at_address.into_iter().collect();
        let anywhere: Vec<_> = anywhere.into_iter().collect();
        let mut messages = message(INET, &self.table, PUBLISHED, &at_address);
        messages.extend(message(INET, &self.table, PUBLISHED_ANYWHERE, &anywhere));
        messages
    }

    /// The elements of the two maps for these ports.
    fn elements<'p>(ports: impl IntoIterator<Item = &'p PublishedPort>) -> [BTreeSet<Element>; 2] {
        let mut elements = [BTreeSet::new(), BTreeSet::new()];
        for port in ports {
            let (index, element) = element(port);
            elements[index].insert(element);
        }
        elements
    }

    fn delete_whatever_is_there(&self) -> [Message; 2] {
        // Deleting what is not there would end the transaction.
        [
            nftables::new_table(INET, &self.table, &self.userdata),
            nftables::delete_table(INET, &self.table),
        ]
    }

    fn whole_table(&self) -> Vec<Message> {
        let table = self.table.as_str();
        let address_and_port = [Field::Address, Field::Port];
        let mut messages = Vec::from(self.delete_whatever_is_there());
        messages.extend([
            nftables::new_table(INET, table, &self.userdata),
            nftables::new_map(
                INET,
                table,
                PUBLISHED,
                1,
                &[Field::Protocol, Field::Address, Field::Port],
                &address_and_port,
            ),
            nftables::new_map(
                INET,
                table,
                PUBLISHED_ANYWHERE,
                2,
                &[Field::Protocol, Field::Port],
                &address_and_port,
            ),
        ]);
        let chains = chains::chains(&self.bridge, self.subnet);
        for chain in &chains {
            messages.push(nftables::new_chain(INET, table, chain.name, chain.hook));
        }
        for chain in &chains {
            let rules = chain.rules.iter();
            messages.extend(rules.map(|rule| nftables::append_rule(INET, table, chain.name, rule)));
        }
        let ports: Vec<_> = self.published.iter().copied().collect();
        messages.extend(self.element_messages(&ports, nftables::new_elements));
        messages
    }

    fn shape(&mut self) -> Result<Option<Shape>, Refusal> {
        let table = self
            .socket
            .get(&nftables::get_table(INET, &self.table), |answer| {
                let attributes = answer.body.get(nftables::HEADER..).unwrap_or_default();
                netlink::attribute(attributes, attribute::TABLE_HANDLE)
                    .unwrap_or_default()
                    .to_vec()
            })?;
        let Some(table) = table else { return Ok(None) };
        let rules = nftables::get_rules(INET, &self.table, None);
        let rules = self.socket.dump(&rules, |rules: &mut Vec<_>, answer| {
            let attributes = answer.body.get(nftables::HEADER..).unwrap_or_default();
            let value = |kind| netlink::attribute(attributes, kind).unwrap_or_default();
            rules.push((
                text(value(attribute::RULE_CHAIN)).to_owned(),
                value(attribute::RULE_HANDLE).to_vec(),
            ));
        })?;
        let chains = self
            .socket
            .dump(&nftables::get_chains(), |chains: &mut Vec<_>, answer| {
                let attributes = answer.body.get(nftables::HEADER..).unwrap_or_default();
                let value = |kind| netlink::attribute(attributes, kind).unwrap_or_default();
                if answer.body.first() == Some(&INET)
                    && text(value(attribute::CHAIN_TABLE)) == self.table
                {
                    chains.push(text(value(attribute::CHAIN_NAME)).to_owned());
                }
            })?;
        Ok(Some(Shape {
            table,
            rules,
            chains,
        }))
    }

    /// What the two maps hold now.
    fn present_elements(&mut self) -> Result<[BTreeSet<Element>; 2], Refusal> {
        let mut maps = [BTreeSet::new(), BTreeSet::new()];
        for (map, name) in maps.iter_mut().zip([PUBLISHED, PUBLISHED_ANYWHERE]) {
            let request = nftables::get_elements(INET, &self.table, name);
            *map = self
                .socket
                .dump(&request, |elements: &mut BTreeSet<Element>, answer| {
                    elements.extend(read_elements(answer.body));
                })?;
        }
        Ok(maps)
    }
}

fn read_elements(body: &[u8]) -> Vec<Element> {
    let attributes_of = body.get(nftables::HEADER..).unwrap_or_default();
    let list = netlink::attribute(attributes_of, attribute::ELEMENTS).unwrap_or_default();
    let read = |element, kind| {
        let value = netlink::attribute(element, kind)?;
        Some(netlink::attribute(value, attribute::VALUE)?.to_vec())
    };
    attributes(list)
        .filter_map(|(_, element)| {
            Some(Element {
                key: read(element, attribute::ELEMENT_KEY)?,
                value: read(element, attribute::ELEMENT_DATA)?,
            })
        })
        .collect()
}

/// The element that publishes a port, and which of the two maps it belongs in.
fn element(port: &PublishedPort) -> (usize, Element) {
    let protocol = match port.protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
    };
    let mut key = vec![protocol, 0, 0, 0];
    if port.host_address != Ipv4Addr::UNSPECIFIED {
        key.extend(port.host_address.octets());
    }
    key.extend(padded(port.host_port));
    let mut value = port.container_address.octets().to_vec();
    value.extend(padded(port.container_port));
    let index = usize::from(port.host_address == Ipv4Addr::UNSPECIFIED);
    (index, Element { key, value })
}

fn padded(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}
