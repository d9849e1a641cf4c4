//! Where an engine is, and how that is written.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::DEFAULT_SOCKET;

/// Where an engine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// A socket in the file system.
    Unix(PathBuf),
    /// A host and port.
    Tcp(TcpAddress),
    /// Another machine, reached by its shell.
    Ssh(SshAddress),
}

/// A host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TcpAddress {
    /// Both as written.
    pub(crate) text: String,
    /// The host alone, as certificates name it.
    pub(crate) name: String,
    /// Where that is.
    pub(crate) socket: SocketAddr,
}

/// Another machine's shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SshAddress {
    /// As written.
    text: String,
    pub(crate) user: Option<String>,
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    /// The engine's socket there; its default one unless named.
    pub(crate) socket: Option<String>,
}

impl std::fmt::Display for Address {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(formatter, "unix://{}", path.display()),
            Self::Tcp(address) => write!(formatter, "tcp://{}", address.text),
            Self::Ssh(address) => formatter.write_str(&address.text),
        }
    }
}

/// A host that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    /// Not of any known form.
    #[error("unable to parse docker host `{0}`")]
    Malformed(String),
    /// A name without an address.
    #[error("host {0}: cannot find the address of {1}: it is neither an address nor in /etc/hosts")]
    Unknown(String, String),
    /// Not an address of another machine's shell.
    #[error("ssh host connection is not valid: invalid SSH URL: {0}")]
    Ssh(&'static str),
}

/// Reads a host.
pub(crate) fn parse(text: &str) -> Result<Address, AddressError> {
    let malformed = || AddressError::Malformed(text.to_owned());
    let (scheme, rest) = text.split_once("://").ok_or_else(malformed)?;
    match scheme {
        "unix" if rest.is_empty() => Ok(Address::Unix(PathBuf::from(DEFAULT_SOCKET))),
        "unix" => Ok(Address::Unix(PathBuf::from(rest))),
        "tcp" | "http" | "https" => tcp(text, rest).map(Address::Tcp),
        "ssh" => ssh(text, rest).map(Address::Ssh),
        _ => Err(malformed()),
    }
}

fn tcp(whole: &str, rest: &str) -> Result<TcpAddress, AddressError> {
    let malformed = || AddressError::Malformed(whole.to_owned());
    let rest = rest.trim_end_matches('/');
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(|_| malformed())?),
        _ => (rest, 2375),
    };
    let bare = host
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .unwrap_or(host);
    let address = match bare {
        "" | "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        name => match name.parse() {
            Ok(address) => address,
            Err(_) => hosts_file(name)
                .ok_or_else(|| AddressError::Unknown(whole.to_owned(), name.to_owned()))?,
        },
    };
    let name = if bare.is_empty() { "localhost" } else { bare };
    Ok(TcpAddress {
        text: rest.to_owned(),
        name: name.to_owned(),
        socket: SocketAddr::new(address, port),
    })
}

/// Looks a name up in /etc/hosts: the C library's lookup may load foreign libraries into this static program.
fn hosts_file(name: &str) -> Option<IpAddr> {
    let text = std::fs::read_to_string("/etc/hosts").ok()?;
    text.lines().find_map(|line| {
        let mut words = line
            .split('#')
            .next()
            .unwrap_or_default()
            .split_whitespace();
        let address = words.next()?.parse().ok()?;
        words
            .any(|word| word.eq_ignore_ascii_case(name))
            .then_some(address)
    })
}

fn ssh(whole: &str, rest: &str) -> Result<SshAddress, AddressError> {
    if rest.contains(['?', '#']) {
        return Err(AddressError::Ssh("query parameters are not allowed"));
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, place) = match authority.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, authority),
    };
    if user.is_some_and(|user| user.contains(':')) {
        return Err(AddressError::Ssh("plain-text password is not supported"));
    }
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            let port = port
                .parse()
                .map_err(|_| AddressError::Ssh("invalid port"))?;
            (host, Some(port))
        }
        _ => (place, None),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err(AddressError::Ssh("hostname is empty"));
    }
    Ok(SshAddress {
        text: whole.to_owned(),
        user: user.filter(|user| !user.is_empty()).map(str::to_owned),
        host: host.to_owned(),
        port,
        socket: (!path.is_empty()).then(|| format!("/{path}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_sockets_or_addresses() {
        let shown = |text: &str| parse(text).map(|address| address.to_string());
        assert_eq!(shown("unix:///x/y.sock").as_deref(), Ok("unix:///x/y.sock"));
        assert_eq!(shown("unix://").as_deref(), Ok("unix:///run/wharf.sock"));
        let socket = |text: &str| match parse(text) {
            Ok(Address::Tcp(address)) => (address.name, address.socket.to_string()),
            other => panic!("{other:?}"),
        };
        let pair = |name: &str, socket: &str| (name.to_owned(), socket.to_owned());
        assert_eq!(
            socket("tcp://127.0.0.1:1234"),
            pair("127.0.0.1", "127.0.0.1:1234")
        );
        assert_eq!(socket("tcp://[::1]:99"), pair("::1", "[::1]:99"));
        assert_eq!(
            socket("tcp://localhost"),
            pair("localhost", "127.0.0.1:2375")
        );
        assert_eq!(shown("x"), Err(AddressError::Malformed("x".to_owned())));
        assert_eq!(
            shown("tcp://1.2.3.4:x"),
            Err(AddressError::Malformed("tcp://1.2.3.4:x".to_owned()))
        );
    }

    #[test]
    fn another_machine_has_a_user_and_a_port() {
        assert_eq!(
            parse("ssh://me@there:22/run/d.sock"),
            Ok(Address::Ssh(SshAddress {
                text: "ssh://me@there:22/run/d.sock".to_owned(),
                user: Some("me".to_owned()),
                host: "there".to_owned(),
                port: Some(22),
                socket: Some("/run/d.sock".to_owned()),
            }))
        );
        let wrong = |text: &str| parse(text).expect_err(text).to_string();
        assert_eq!(
            wrong("ssh://"),
            "ssh host connection is not valid: invalid SSH URL: hostname is empty"
        );
        assert_eq!(
            wrong("ssh://me:pw@x"),
            "ssh host connection is not valid: invalid SSH URL: plain-text password is not supported"
        );
        assert!(parse("ssh://x:y").is_err() && parse("ssh://x?y").is_err());
    }
}
