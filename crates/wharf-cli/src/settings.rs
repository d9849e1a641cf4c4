//! What the global flags and the environment come to.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::environment;

/// The socket an engine listens on unless it is told otherwise.
pub(crate) const DEFAULT_SOCKET: &str = "/run/wharf.sock";

/// Where an engine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// A socket in the file system.
    Unix(PathBuf),
    /// A host and port as written, and where that is.
    Tcp(String, SocketAddr),
}

impl std::fmt::Display for Address {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(formatter, "unix://{}", path.display()),
            Self::Tcp(text, _) => write!(formatter, "tcp://{text}"),
        }
    }
}

/// A host that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HostError {
    /// Not of any known form.
    #[error("unable to parse docker host `{0}`")]
    Malformed(String),
    /// A way to an engine that Docker knows and we do not go yet.
    #[error("host {0}: wharf does not serve {1} yet")]
    NotServed(String, &'static str),
    /// A name without an address.
    #[error("host {0}: cannot find the address of {1}: it is neither an address nor in /etc/hosts")]
    Unknown(String, String),
}

/// The engine to talk to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    /// Where it is.
    pub(crate) address: Address,
    /// Whether somebody chose it; the default one is started when it does not run.
    pub(crate) chosen: bool,
}

impl Host {
    /// Finds the host: the flag, the environment, the default.
    pub(crate) fn resolve(flag: Option<&str>) -> Result<Self, HostError> {
        let chosen = flag
            .map(str::to_owned)
            .or_else(|| environment::read(environment::WHARF_HOST))
            .or_else(|| environment::read(environment::DOCKER_HOST));
        match chosen {
            Some(text) => Ok(Self {
                address: parse(&text)?,
                chosen: true,
            }),
            None => Ok(Self {
                address: Address::Unix(PathBuf::from(DEFAULT_SOCKET)),
                chosen: false,
            }),
        }
    }
}

fn parse(text: &str) -> Result<Address, HostError> {
    let malformed = || HostError::Malformed(text.to_owned());
    let (scheme, rest) = text.split_once("://").ok_or_else(malformed)?;
    match scheme {
        "unix" if rest.is_empty() => Ok(Address::Unix(PathBuf::from(DEFAULT_SOCKET))),
        "unix" => Ok(Address::Unix(PathBuf::from(rest))),
        "tcp" | "http" => {
            if environment::read(environment::DOCKER_TLS_VERIFY).is_some() {
                return Err(HostError::NotServed(text.to_owned(), "TLS"));
            }
            tcp(text, rest)
        }
        "https" => Err(HostError::NotServed(text.to_owned(), "TLS")),
        "ssh" => Err(HostError::NotServed(text.to_owned(), "ssh")),
        _ => Err(malformed()),
    }
}

fn tcp(whole: &str, rest: &str) -> Result<Address, HostError> {
    let malformed = || HostError::Malformed(whole.to_owned());
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
                .ok_or_else(|| HostError::Unknown(whole.to_owned(), name.to_owned()))?,
        },
    };
    Ok(Address::Tcp(
        rest.to_owned(),
        SocketAddr::new(address, port),
    ))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_sockets_or_addresses() {
        let shown = |text: &str| parse(text).map(|address| address.to_string());
        assert_eq!(shown("unix:///x/y.sock").as_deref(), Ok("unix:///x/y.sock"));
        assert_eq!(shown("unix://").as_deref(), Ok("unix:///run/wharf.sock"));
        assert_eq!(
            parse("tcp://127.0.0.1:1234"),
            Ok(Address::Tcp(
                "127.0.0.1:1234".to_owned(),
                SocketAddr::from(([127, 0, 0, 1], 1234))
            ))
        );
        assert_eq!(
            parse("tcp://[::1]:99"),
            Ok(Address::Tcp(
                "[::1]:99".to_owned(),
                "[::1]:99".parse().expect("an address")
            ))
        );
        assert_eq!(
            parse("tcp://localhost"),
            Ok(Address::Tcp(
                "localhost".to_owned(),
                SocketAddr::from(([127, 0, 0, 1], 2375))
            ))
        );
        assert_eq!(shown("x"), Err(HostError::Malformed("x".to_owned())));
        assert_eq!(
            shown("tcp://1.2.3.4:x"),
            Err(HostError::Malformed("tcp://1.2.3.4:x".to_owned()))
        );
        assert_eq!(
            shown("ssh://me@there").expect_err("ssh").to_string(),
            "host ssh://me@there: wharf does not serve ssh yet"
        );
    }
}
