//! nftables' netlink messages: tables, chains, rules, maps and their elements.
//!
//! Only what this crate's own rules need, and only the writing side; what is read back are names,
//! handles and comments. Numbers are in network byte order throughout, as nfnetlink has it.
//! Concatenated keys are laid out as the kernel compares them: each field padded to four bytes, one
//! after another, so that in a rule field `n` of a key is the 32-bit register `n`.

use crate::netlink::{APPEND, CREATE, Message};

const SUBSYSTEM: u16 = 10 << 8;
const NEW_TABLE: u16 = SUBSYSTEM;
const GET_TABLE: u16 = SUBSYSTEM | 1;
const DELETE_TABLE: u16 = SUBSYSTEM | 2;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const GET_CHAIN: u16 = SUBSYSTEM | 4;
const NEW_RULE: u16 = SUBSYSTEM | 6;
const GET_RULE: u16 = SUBSYSTEM | 7;
const DELETE_RULE: u16 = SUBSYSTEM | 8;
const NEW_SET: u16 = SUBSYSTEM | 9;
const NEW_ELEMENTS: u16 = SUBSYSTEM | 12;
const GET_ELEMENTS: u16 = SUBSYSTEM | 13;
const DELETE_ELEMENTS: u16 = SUBSYSTEM | 14;
/// A transaction has been made: tells its number, and changes nothing itself.
pub(crate) const NEW_GENERATION: u16 = SUBSYSTEM | 15;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;

/// The multicast group that is told of every change.
pub(crate) const CHANGES: u32 = 7;

/// Rules for IPv4 and IPv6 alike.
pub(crate) const INET: u8 = 1;
/// Rules for IPv4.
pub(crate) const IPV4: u8 = 2;

/// The offset of the attributes in an answer: after `struct nfgenmsg`.
pub(crate) const HEADER: usize = 4;

/// Attributes read by this crate.
pub(crate) mod attribute {
    pub(crate) const TABLE_HANDLE: u16 = 4;
    pub(crate) const TABLE_USERDATA: u16 = 6;
    pub(crate) const CHAIN_TABLE: u16 = 1;
    pub(crate) const CHAIN_NAME: u16 = 3;
    pub(crate) const CHAIN_HOOK: u16 = 4;
    pub(crate) const CHAIN_POLICY: u16 = 5;
    pub(crate) const CHAIN_TYPE: u16 = 7;
    pub(crate) const HOOK_NUMBER: u16 = 1;
    pub(crate) const HOOK_PRIORITY: u16 = 2;
    pub(crate) const RULE_CHAIN: u16 = 2;
    pub(crate) const RULE_HANDLE: u16 = 3;
    pub(crate) const RULE_EXPRESSIONS: u16 = 4;
    pub(crate) const RULE_USERDATA: u16 = 7;
    pub(crate) const LIST_ELEMENT: u16 = 1;
    pub(crate) const EXPRESSION_NAME: u16 = 1;
    pub(crate) const EXPRESSION_DATA: u16 = 2;
    pub(crate) const IMMEDIATE_DATA: u16 = 2;
    pub(crate) const ELEMENTS: u16 = 3;
    pub(crate) const ELEMENT_KEY: u16 = 1;
    pub(crate) const ELEMENT_DATA: u16 = 2;
    pub(crate) const VALUE: u16 = 1;
    pub(crate) const VERDICT: u16 = 2;
    pub(crate) const VERDICT_CODE: u16 = 1;
}

/// Where a base chain is called from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hook {
    pub(crate) kind: &'static str,
    pub(crate) number: u32,
    pub(crate) priority: i32,
}

/// Before routing.
pub(crate) const PREROUTING: u32 = 0;
/// Routed through the host.
pub(crate) const FORWARD: u32 = 2;
/// Sent by the host.
pub(crate) const OUTPUT: u32 = 3;
/// After routing.
pub(crate) const POSTROUTING: u32 = 4;

/// What a map's key or value is made of, by nft's numbers for its data types.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Field {
    Address = 7,
    Protocol = 12,
    Port = 13,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Drop,
    Accept,
    Jump(&'static str),
}

/// What a packet is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Meta {
    /// The interface it came by; a 16-byte name.
    InputName = 6,
    /// The interface it leaves by; a 16-byte name.
    OutputName = 7,
    /// IPv4 or IPv6; one byte.
    Family = 15,
    /// TCP, UDP, …; one byte.
    Transport = 16,
}

/// What a packet's connection is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tracked {
    /// New, established, related, …: one bit each.
    State = 0,
    /// What has been done to it: one bit each.
    Status = 2,
}

/// Which header bytes are counted from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Base {
    Network = 1,
    Transport = 2,
}

/// A register: four bytes of a rule's scratch memory, 0 to 15.
pub(crate) type Register = u32;

/// One step of a rule. The rule ends at the first that does not match.
#[derive(Debug, Clone)]
pub(crate) enum Expression<'a> {
    /// `meta`: loads what is known about the packet.
    Meta { key: Meta, to: Register },
    /// `payload`: loads bytes of the packet.
    Payload {
        base: Base,
        offset: u32,
        length: u32,
        to: Register,
    },
    /// `ct`: loads what is known about the packet's connection.
    Track { key: Tracked, to: Register },
    /// `fib daddr type`: loads what kind of destination the routing table says this is.
    DestinationType { to: Register },
    /// `bitwise`: keeps only some bits of a register.
    Mask { register: Register, mask: Vec<u8> },
    /// `cmp`: goes on only if the bytes are these, or are not.
    Compare {
        register: Register,
        equal: bool,
        value: Vec<u8>,
    },
    /// `lookup`: goes on only if the map has this key, and loads the value.
    Lookup {
        map: &'a str,
        from: Register,
        to: Register,
    },
    /// `nat`: the packet's destination becomes what these registers say.
    DestinationNat { address: Register, port: Register },
    /// `masq`: the packet's source becomes the address of the interface it leaves by.
    Masquerade,
    /// `counter`: counts packets and bytes.
    Counter,
    /// `immediate` into the verdict register: what becomes of the packet.
    Verdict(Verdict),
}

/// Starts a transaction.
pub(crate) fn begin() -> Message {
    Message::new(BATCH_BEGIN, 0, &batch_header())
}

/// Ends a transaction: all of it happens, or nothing.
pub(crate) fn end() -> Message {
    Message::new(BATCH_END, 0, &batch_header())
}

/// `struct nfgenmsg` with the subsystem the transaction is about.
fn batch_header() -> [u8; HEADER] {
    [0, 0, 0, 10]
}

fn message(kind: u16, flags: u16, family: u8) -> Message {
    Message::new(kind, flags, &[family, 0, 0, 0])
}

/// Makes a table, or finds it there, with `userdata` that only its maker understands.
pub(crate) fn new_table(family: u8, table: &str, userdata: &[u8]) -> Message {
    let mut message = message(NEW_TABLE, CREATE, family);
    message
        .string(1, table)
        .bytes(attribute::TABLE_USERDATA, userdata);
    message
}

/// Asks for a table.
pub(crate) fn get_table(family: u8, table: &str) -> Message {
    let mut message = message(GET_TABLE, 0, family);
    message.string(1, table);
    message
}

/// Deletes a table with everything in it.
pub(crate) fn delete_table(family: u8, table: &str) -> Message {
    let mut message = message(DELETE_TABLE, 0, family);
    message.string(1, table);
    message
}

/// Makes a chain. One with a hook is a base chain, and accepts what its rules let pass.
pub(crate) fn new_chain(family: u8, table: &str, chain: &str, hook: Option<Hook>) -> Message {
    let mut message = message(NEW_CHAIN, CREATE, family);
    message
        .string(attribute::CHAIN_TABLE, table)
        .string(attribute::CHAIN_NAME, chain);
    if let Some(hook) = hook {
        message
            .nested(attribute::CHAIN_HOOK, |nest| {
                nest.be32(attribute::HOOK_NUMBER, hook.number)
                    .be32(attribute::HOOK_PRIORITY, hook.priority.cast_unsigned());
            })
            .be32(attribute::CHAIN_POLICY, 1)
            .string(attribute::CHAIN_TYPE, hook.kind);
    }
    message
}

/// Asks for all chains of all families.
pub(crate) fn get_chains() -> Message {
    message(GET_CHAIN, 0, 0)
}

/// Makes a map. `id` tells it from others of the same transaction.
pub(crate) fn new_map(
    family: u8,
    table: &str,
    map: &str,
    id: u32,
    key: &[Field],
    value: &[Field],
) -> Message {
    const MAP: u32 = 8;
    let mut message = message(NEW_SET, CREATE, family);
    message
        .string(1, table)
        .string(2, map)
        .be32(3, MAP)
        .be32(4, data_type(key))
        .be32(5, data_length(key))
        .be32(6, data_type(value))
        .be32(7, data_length(value))
        .be32(10, id);
    message
}

/// nft's number for a concatenation: six bits a field.
fn data_type(fields: &[Field]) -> u32 {
    fields.iter().fold(0, |sum, field| sum << 6 | *field as u32)
}

fn data_length(fields: &[Field]) -> u32 {
    fields.iter().map(|_| 4).sum()
}

/// An element of a map: key and value, each as its fields padded to four bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Element {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

/// How many elements go into one message, so that their list stays shorter than an attribute can
/// be.
const ELEMENTS_A_MESSAGE: usize = 1000;

/// Adds elements to a map.
pub(crate) fn new_elements(
    family: u8,
    table: &str,
    map: &str,
    elements: &[Element],
) -> Vec<Message> {
    element_messages(NEW_ELEMENTS, CREATE, family, [table, map], elements)
}

/// Deletes elements from a map.
pub(crate) fn delete_elements(
    family: u8,
    table: &str,
    map: &str,
    elements: &[Element],
) -> Vec<Message> {
    element_messages(DELETE_ELEMENTS, 0, family, [table, map], elements)
}

fn element_messages(
    kind: u16,
    flags: u16,
    family: u8,
    [table, map]: [&str; 2],
    elements: &[Element],
) -> Vec<Message> {
    elements
        .chunks(ELEMENTS_A_MESSAGE)
        .map(move |some| {
            let mut message = message(kind, flags, family);
            message
                .string(1, table)
                .string(2, map)
                .nested(attribute::ELEMENTS, |list| {
                    for element in some {
                        list.nested(attribute::LIST_ELEMENT, |nest| {
                            nest.nested(attribute::ELEMENT_KEY, |key| {
                                key.bytes(attribute::VALUE, &element.key);
                            });
                            nest.nested(attribute::ELEMENT_DATA, |value| {
                                value.bytes(attribute::VALUE, &element.value);
                            });
                        });
                    }
                });
            message
        })
        .collect()
}

/// Asks for a map's elements.
pub(crate) fn get_elements(family: u8, table: &str, map: &str) -> Message {
    let mut message = message(GET_ELEMENTS, 0, family);
    message.string(1, table).string(2, map);
    message
}

/// Adds a rule at the end of a chain.
pub(crate) fn append_rule(
    family: u8,
    table: &str,
    chain: &str,
    expressions: &[Expression<'_>],
) -> Message {
    rule(APPEND, family, [table, chain], expressions)
}

/// Puts a rule before all others of a chain, with a comment that nft shows.
pub(crate) fn insert_rule(
    family: u8,
    table: &str,
    chain: &str,
    expressions: &[Expression<'_>],
    comment: &str,
) -> Message {
    let mut message = rule(0, family, [table, chain], expressions);
    message.bytes(attribute::RULE_USERDATA, &comment_userdata(comment));
    message
}

/// A comment as nft keeps it with a rule or a table: type, length, text with a zero.
pub(crate) fn comment_userdata(comment: &str) -> Vec<u8> {
    let length = u8::try_from(comment.len() + 1).unwrap_or(u8::MAX);
    let mut userdata = vec![0, length];
    userdata.extend(comment.bytes().take(usize::from(length) - 1));
    userdata.push(0);
    userdata
}

fn rule(
    flags: u16,
    family: u8,
    [table, chain]: [&str; 2],
    expressions: &[Expression<'_>],
) -> Message {
    let mut message = message(NEW_RULE, CREATE | flags, family);
    message
        .string(1, table)
        .string(attribute::RULE_CHAIN, chain)
        .nested(attribute::RULE_EXPRESSIONS, |list| {
            for expression in expressions {
                list.nested(attribute::LIST_ELEMENT, |nest| expression.encode(nest));
            }
        });
    message
}

/// Asks for the rules of a table, or of one of its chains.
pub(crate) fn get_rules(family: u8, table: &str, chain: Option<&str>) -> Message {
    let mut message = message(GET_RULE, 0, family);
    message.string(1, table);
    if let Some(chain) = chain {
        message.string(attribute::RULE_CHAIN, chain);
    }
    message
}

/// Deletes the rule with this handle.
pub(crate) fn delete_rule(family: u8, table: &str, chain: &str, handle: u64) -> Message {
    let mut message = message(DELETE_RULE, 0, family);
    message
        .string(1, table)
        .string(attribute::RULE_CHAIN, chain)
        .bytes(attribute::RULE_HANDLE, &handle.to_be_bytes());
    message
}

/// The kernel's number for a 32-bit register.
fn register(register: Register) -> u32 {
    8 + register
}

impl Expression<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Meta { .. } => "meta",
            Self::Payload { .. } => "payload",
            Self::Track { .. } => "ct",
            Self::DestinationType { .. } => "fib",
            Self::Mask { .. } => "bitwise",
            Self::Compare { .. } => "cmp",
            Self::Lookup { .. } => "lookup",
            Self::DestinationNat { .. } => "nat",
            Self::Masquerade => "masq",
            Self::Counter => "counter",
            Self::Verdict(_) => "immediate",
        }
    }

    /// Name and attributes, numbered as in `linux/netfilter/nf_tables.h` (`NFTA_META_DREG` = 1 …).
    fn encode(&self, nest: &mut Message) {
        nest.string(attribute::EXPRESSION_NAME, self.name());
        nest.nested(attribute::EXPRESSION_DATA, |data| match self {
            Self::Meta { key, to } => {
                data.be32(1, register(*to)).be32(2, *key as u32);
            }
            Self::Payload {
                base,
                offset,
                length,
                to,
            } => {
                data.be32(1, register(*to))
                    .be32(2, *base as u32)
                    .be32(3, *offset)
                    .be32(4, *length);
            }
            Self::Track { key, to } => {
                data.be32(1, register(*to)).be32(2, *key as u32);
            }
            Self::DestinationType { to } => {
                const ADDRESS_TYPE: u32 = 3;
                const OF_DESTINATION: u32 = 2;
                data.be32(1, register(*to))
                    .be32(2, ADDRESS_TYPE)
                    .be32(3, OF_DESTINATION);
            }
            Self::Mask {
                register: both,
                mask,
            } => {
                let length = u32::try_from(mask.len()).unwrap_or(u32::MAX);
                data.be32(1, register(*both))
                    .be32(2, register(*both))
                    .be32(3, length);
                data.nested(4, |nest| {
                    nest.bytes(attribute::VALUE, mask);
                });
                data.nested(5, |nest| {
                    nest.bytes(attribute::VALUE, &vec![0; mask.len()]);
                });
            }
            Self::Compare {
                register: left,
                equal,
                value,
            } => {
                data.be32(1, register(*left))
                    .be32(2, u32::from(!equal))
                    .nested(3, |nest| {
                        nest.bytes(attribute::VALUE, value);
                    });
            }
            Self::Lookup { map, from, to } => {
                data.string(1, map)
                    .be32(2, register(*from))
                    .be32(3, register(*to));
            }
            Self::DestinationNat { address, port } => {
                const DESTINATION: u32 = 1;
                data.be32(1, DESTINATION)
                    .be32(2, u32::from(IPV4))
                    .be32(3, register(*address))
                    .be32(5, register(*port));
            }
            Self::Masquerade | Self::Counter => {}
            Self::Verdict(verdict) => encode_verdict(*verdict, data),
        });
    }
}

fn encode_verdict(verdict: Verdict, data: &mut Message) {
    const VERDICT_REGISTER: u32 = 0;
    const DROP: i32 = 0;
    const ACCEPT: i32 = 1;
    const JUMP: i32 = -3;
    let (code, chain) = match verdict {
        Verdict::Drop => (DROP, None),
        Verdict::Accept => (ACCEPT, None),
        Verdict::Jump(chain) => (JUMP, Some(chain)),
    };
    data.be32(1, VERDICT_REGISTER)
        .nested(attribute::IMMEDIATE_DATA, |nest| {
            nest.nested(attribute::VERDICT, |nest| {
                nest.be32(attribute::VERDICT_CODE, code.cast_unsigned());
                if let Some(chain) = chain {
                    nest.string(2, chain);
                }
            });
        });
}
