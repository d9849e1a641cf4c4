//! What the name of a host means: `/etc/hosts`, then the name servers of `/etc/resolv.conf`.
//!
//! The C library is not asked: it would load foreign libraries into this static program. Of its rules
//! those of `hosts: files dns` are kept, with `search`, `ndots`, `timeout` and `attempts`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use wharf_network::Resolver;

/// Port of name servers.
const PORT: u16 = 53;
/// How long all questions about one name may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a server may take, unless `/etc/resolv.conf` says it.
const TIMEOUT: u64 = 3;
const ATTEMPTS: u64 = 2;
/// More bytes than servers send to who has not asked for more.
const ANSWER_MAX: usize = 4096;
/// Longest name, and longest part of one.
const NAME_MAX: usize = 253;
const LABEL_MAX: usize = 63;

/// Why a name means nothing, in the words of Go's resolver.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookUpError {
    #[error("no such host")]
    NoSuchHost,
    #[error("server misbehaving")]
    Misbehaving,
    #[error("i/o timeout")]
    Timeout,
    #[error("{0}")]
    Io(io::Error),
}

/// Returns the addresses of a host, in the order they were found. Blocks.
///
/// # Errors
/// [`LookUpError`].
pub(crate) fn look_up(name: &str) -> Result<Vec<IpAddr>, LookUpError> {
    if let Ok(address) = name.parse() {
        return Ok(vec![address]);
    }
    let resolver = Resolver::of_host().map_err(LookUpError::Io)?;
    let servers = resolver.nameservers.iter();
    let servers: Vec<SocketAddr> = servers.map(|ip| SocketAddr::new(*ip, PORT)).collect();
    look_up_with(name, Path::new("/etc/hosts"), &resolver, &servers)
}

fn look_up_with(
    name: &str,
    hosts: &Path,
    resolver: &Resolver,
    servers: &[SocketAddr],
) -> Result<Vec<IpAddr>, LookUpError> {
    let text = std::fs::read(hosts).unwrap_or_default();
    let listed = in_hosts(&String::from_utf8_lossy(&text), name);
    if !listed.is_empty() {
        return Ok(listed);
    }
    if name.eq_ignore_ascii_case("localhost") {
        return Ok(vec![Ipv4Addr::LOCALHOST.into()]);
    }
    let end = Instant::now() + PATIENCE;
    let mut failure = LookUpError::NoSuchHost;
    for full in candidates(name, resolver) {
        match ask(&full, resolver, servers, end) {
            Ok(found) if !found.is_empty() => return Ok(found),
            Ok(_) => {}
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// The addresses a hosts file has for a name.
fn in_hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let entries = text.lines().filter_map(|line| {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let address: IpAddr = words.next()?.parse().ok()?;
        words
            .any(|word| word.eq_ignore_ascii_case(name))
            .then_some(address)
    });
    entries.collect()
}

/// The full names a name may stand for, the likeliest first.
fn candidates(name: &str, resolver: &Resolver) -> Vec<String> {
    if let Some(absolute) = name.strip_suffix('.') {
        return vec![absolute.to_owned()];
    }
    let searched = resolver.search.iter().map(|domain| {
        let domain = domain.trim_end_matches('.');
        match domain {
            "" => name.to_owned(),
            domain => format!("{name}.{domain}"),
        }
    });
    let dots = name.bytes().filter(|byte| *byte == b'.').count() as u64;
    let mut all: Vec<String> = searched.collect();
    match dots >= option(resolver, "ndots").unwrap_or(1) {
        true => all.insert(0, name.to_owned()),
        false => all.push(name.to_owned()),
    }
    all
}

fn option(resolver: &Resolver, name: &str) -> Option<u64> {
    let mut values = resolver.options.iter().filter_map(|option| {
        let (key, value) = option.split_once(':')?;
        (key == name).then(|| value.parse().ok())?
    });
    values.next_back()
}

/// Asks for a full name's addresses of both kinds; none of either is no error.
fn ask(
    name: &str,
    resolver: &Resolver,
    servers: &[SocketAddr],
    end: Instant,
) -> Result<Vec<IpAddr>, LookUpError> {
    let mut found = ask_for(Kind::A, name, resolver, servers, end)?;
    // Half an answer is better than none.
    found.extend(ask_for(Kind::Aaaa, name, resolver, servers, end).unwrap_or_default());
    Ok(found)
}

fn ask_for(
    kind: Kind,
    name: &str,
    resolver: &Resolver,
    servers: &[SocketAddr],
    end: Instant,
) -> Result<Vec<IpAddr>, LookUpError> {
    let timeout = Duration::from_secs(option(resolver, "timeout").unwrap_or(TIMEOUT).clamp(1, 30));
    let attempts = option(resolver, "attempts").unwrap_or(ATTEMPTS).clamp(1, 5);
    let mut failure = LookUpError::Misbehaving;
    for _ in 0..attempts {
        for server in servers {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(LookUpError::Timeout);
            }
            match exchange(kind, name, *server, timeout.min(left)) {
                Ok(Answer::Addresses(found)) => return Ok(found),
                Ok(Answer::NoSuchName) => return Ok(Vec::new()),
                Ok(Answer::Failed) => failure = LookUpError::Misbehaving,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    failure = LookUpError::Timeout;
                }
                Err(error) => failure = LookUpError::Io(error),
            }
        }
    }
    Err(failure)
}

/// Puts one question to one server. The socket is connected, so that nobody else can answer.
fn exchange(kind: Kind, name: &str, server: SocketAddr, timeout: Duration) -> io::Result<Answer> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let mut id = [0; 2];
    rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty())?;
    let Some(question) = question(name, kind) else {
        return Ok(Answer::NoSuchName);
    };
    // Recursion desired, one question.
    let message = [&id[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0], &question].concat();
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    socket.send(&message)?;
    let end = Instant::now() + timeout;
    let mut buffer = vec![0; ANSWER_MAX];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        socket.set_read_timeout(Some(left))?;
        let length = socket.recv(&mut buffer)?;
        // Something that answers another question is waited past.
        if let Some(answer) = read(&buffer[..length], id, &question, kind) {
            return Ok(answer);
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    A = 1,
    Aaaa = 28,
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// Perhaps none.
    Addresses(Vec<IpAddr>),
    NoSuchName,
    /// The server does not know, or does not want to say.
    Failed,
}

/// The question as it is sent; `None` for what is no name.
fn question(name: &str, kind: Kind) -> Option<Vec<u8>> {
    if name.is_empty() || name.len() > NAME_MAX {
        return None;
    }
    let mut out = Vec::with_capacity(name.len() + 6);
    for label in name.split('.') {
        if label.is_empty() || label.len() > LABEL_MAX {
            return None;
        }
        out.push(u8::try_from(label.len()).ok()?);
        out.extend_from_slice(label.as_bytes());
    }
    out.extend_from_slice(&[0, 0, kind as u8, 0, 1]);
    Some(out)
}

/// Reads a server's answer; `None` for one to another question, or no answer at all.
///
/// The records' names are not compared: a server that recurses puts the chain of aliases before the
/// addresses, and who could forge the one could forge the other.
fn read(bytes: &[u8], id: [u8; 2], question: &[u8], kind: Kind) -> Option<Answer> {
    const HEAD: usize = 12;
    let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
    let is_answer = head[2] & 0x80 != 0;
    let asked = rest.get(..question.len())?;
    if head[..2] != id || !is_answer || !asked.eq_ignore_ascii_case(question) {
        return None;
    }
    match head[3] & 0x0f {
        0 => {}
        3 => return Some(Answer::NoSuchName),
        _ => return Some(Answer::Failed),
    }
    let count = u16::from_be_bytes([head[6], head[7]]);
    let mut rest = &rest[question.len()..];
    let mut found = Vec::new();
    for _ in 0..count {
        // A record that is cut off: what came before it counts.
        let Some((address, after)) = record(rest, kind) else {
            break;
        };
        found.extend(address);
        rest = after;
    }
    Some(Answer::Addresses(found))
}

/// Reads one record: the address in it, if it has one of that kind, and what comes after it.
fn record(bytes: &[u8], kind: Kind) -> Option<(Option<IpAddr>, &[u8])> {
    let (head, rest) = after_name(bytes)?.split_first_chunk::<10>()?;
    let length = usize::from(u16::from_be_bytes([head[8], head[9]]));
    let data = rest.get(..length)?;
    let is_kind = head[..4] == [0, kind as u8, 0, 1];
    let address = match kind {
        Kind::A => data.first_chunk::<4>().map(|octets| IpAddr::from(*octets)),
        Kind::Aaaa => data.first_chunk::<16>().map(|octets| IpAddr::from(*octets)),
    };
    Some((address.filter(|_| is_kind), &rest[length..]))
}

/// What comes after a name, which ends in the root or in a pointer to an earlier one.
fn after_name(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let (length, rest) = bytes.split_first()?;
        match length {
            0 => return Some(rest),
            0xc0.. => return rest.get(1..),
            1..=63 => bytes = rest.get(usize::from(*length)..)?,
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests;
