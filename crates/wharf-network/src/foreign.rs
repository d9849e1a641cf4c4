//! Other people's forward chains.
//!
//! A packet that is routed passes every base chain at the forward hook, and any of them may drop
//! it. Docker, ufw and firewalld have one that drops what they do not know, containers' packets
//! included. Such a chain gets two rules of ours at its head that accept what comes from the bridge
//! or goes to it; what must not reach containers is still dropped by our own chain. The rules carry
//! a comment by which they are found again, by us and by the host's owner.

use crate::firewall::{Firewall, comment, interface, transact};
use crate::netlink::{self, Message, Refusal, Socket, attributes, text};
use crate::nftables::{self, Expression, FORWARD, INET, IPV4, Meta, Verdict, attribute};

/// A base chain of somebody else's at the forward hook.
#[derive(Debug, PartialEq, Eq)]
struct ForwardChain {
    family: u8,
    table: String,
    name: String,
    drops_the_rest: bool,
}

/// One of its rules.
#[derive(Debug)]
struct Rule {
    handle: u64,
    ours: bool,
    /// It drops or rejects whatever comes to it.
    drops_all: bool,
}

/// Sees that every forward chain that drops what it does not know accepts the bridge's packets.
/// Returns the chains that had to be told, as `family table chain`.
pub(crate) fn accept_bridge(firewall: &mut Firewall) -> Result<Vec<String>, Refusal> {
    let mut told = Vec::new();
    for chain in forward_chains(firewall)? {
        let rules = rules(&mut firewall.socket, &chain, &comment(&firewall.bridge))?;
        let drops = chain.drops_the_rest || rules.iter().any(|rule| rule.drops_all);
        let ours = rules.iter().filter(|rule| rule.ours).count();
        if !drops || ours == accept_rules(&chain, &firewall.bridge).len() {
            continue;
        }
        let mut messages = delete_ours(&chain, &rules);
        messages.extend(accept_rules(&chain, &firewall.bridge));
        transact(&mut firewall.socket, &messages)?;
        let family = if chain.family == INET { "inet" } else { "ip" };
        told.push(format!("{family} {} {}", chain.table, chain.name));
    }
    Ok(told)
}

/// Takes our rules out of everybody's forward chains.
pub(crate) fn withdraw(firewall: &mut Firewall) -> Result<(), Refusal> {
    let mut messages = Vec::new();
    for chain in forward_chains(firewall)? {
        let rules = rules(&mut firewall.socket, &chain, &comment(&firewall.bridge))?;
        messages.extend(delete_ours(&chain, &rules));
    }
    transact(&mut firewall.socket, &messages)
}

fn delete_ours(chain: &ForwardChain, rules: &[Rule]) -> Vec<Message> {
    let ours = rules.iter().filter(|rule| rule.ours);
    ours.map(|rule| nftables::delete_rule(chain.family, &chain.table, &chain.name, rule.handle))
        .collect()
}

/// The rules, written as iptables would: it lists them, and counts for them.
fn accept_rules(chain: &ForwardChain, bridge: &str) -> [Message; 2] {
    [Meta::OutputName, Meta::InputName].map(|side| {
        let mut rule = interface(side, true, bridge);
        rule.extend([Expression::Counter, Expression::Verdict(Verdict::Accept)]);
        nftables::insert_rule(
            chain.family,
            &chain.table,
            &chain.name,
            &rule,
            &comment(bridge),
        )
    })
}

fn forward_chains(firewall: &mut Firewall) -> Result<Vec<ForwardChain>, Refusal> {
    let own = firewall.table.as_str();
    firewall.socket.dump(
        &nftables::get_chains(),
        |chains: &mut Vec<ForwardChain>, answer| {
            let chain = read_forward_chain(answer.body);
            chains.extend(chain.filter(|chain| chain.family != INET || chain.table != own));
        },
    )
}

fn read_forward_chain(body: &[u8]) -> Option<ForwardChain> {
    const POLICY_DROP: u32 = 0;
    let family = *body
        .first()
        .filter(|family| [INET, IPV4].contains(*family))?;
    let attributes = body.get(nftables::HEADER..)?;
    let value = |kind| netlink::attribute(attributes, kind);
    let hook = netlink::attribute(value(attribute::CHAIN_HOOK)?, attribute::HOOK_NUMBER)?;
    if text(value(attribute::CHAIN_TYPE)?) != "filter" || be32(hook)? != FORWARD {
        return None;
    }
    Some(ForwardChain {
        family,
        table: text(value(attribute::CHAIN_TABLE)?).to_owned(),
        name: text(value(attribute::CHAIN_NAME)?).to_owned(),
        drops_the_rest: value(attribute::CHAIN_POLICY).and_then(be32) == Some(POLICY_DROP),
    })
}

fn rules(socket: &mut Socket, chain: &ForwardChain, comment: &str) -> Result<Vec<Rule>, Refusal> {
    let userdata = nftables::comment_userdata(comment);
    let request = nftables::get_rules(chain.family, &chain.table, Some(&chain.name));
    socket.dump(&request, |rules: &mut Vec<Rule>, answer| {
        let attributes = answer.body.get(nftables::HEADER..).unwrap_or_default();
        let value = |kind| netlink::attribute(attributes, kind);
        // Kernels before 5.8 do not narrow the list to the chain.
        if value(attribute::RULE_CHAIN).map(text) != Some(&chain.name) {
            return;
        }
        let handle = value(attribute::RULE_HANDLE).and_then(|handle| handle.first_chunk::<8>());
        rules.extend(handle.map(|handle| Rule {
            handle: u64::from_be_bytes(*handle),
            ours: value(attribute::RULE_USERDATA) == Some(&userdata),
            drops_all: drops_all(value(attribute::RULE_EXPRESSIONS).unwrap_or_default()),
        }));
    })
}

/// Whether a rule asks nothing of a packet before it drops or rejects it.
fn drops_all(expressions: &[u8]) -> bool {
    let mut drops = false;
    for (_, expression) in attributes(expressions) {
        let name = netlink::attribute(expression, attribute::EXPRESSION_NAME).map(text);
        let data = netlink::attribute(expression, attribute::EXPRESSION_DATA);
        match name {
            Some("counter" | "log") => {}
            Some("reject") => drops = true,
            Some("immediate") => drops |= data.is_some_and(is_drop),
            _ => return false,
        }
    }
    drops
}

fn is_drop(immediate: &[u8]) -> bool {
    const DROP: u32 = 0;
    let value = netlink::attribute(immediate, attribute::IMMEDIATE_DATA);
    let verdict = value.and_then(|value| netlink::attribute(value, attribute::VERDICT));
    let code = verdict.and_then(|verdict| netlink::attribute(verdict, attribute::VERDICT_CODE));
    code.and_then(be32) == Some(DROP)
}

fn be32(value: &[u8]) -> Option<u32> {
    value.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}
