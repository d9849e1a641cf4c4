//! Where a syslog daemon is, and how it is known to be the right one.

use std::net::IpAddr;
use std::path::PathBuf;

use super::{Driver, Given, OptionError, SYSLOG, known};
use crate::syslog::{self, Address, Format, Host};
use crate::tls::Tls;

/// Port of syslog daemons; Docker's also where TLS is spoken.
const PORT: u16 = 514;

pub(super) fn syslog(options: &Given) -> Result<Driver, OptionError> {
    known(options, &SYSLOG, "syslog")?;
    let given = |name: &str| options.get(name).map_or("", String::as_str);
    Ok(Driver::Syslog {
        address: address(given("syslog-address"), options)?,
        facility: syslog::facility(given("syslog-facility")).ok_or(OptionError::Facility)?,
        format: Format::parse(given("syslog-format")).ok_or(OptionError::Format)?,
    })
}

fn address(text: &str, options: &Given) -> Result<Address, OptionError> {
    if text.is_empty() {
        return Ok(Address::Local);
    }
    let bad = || OptionError::Address(text.to_owned());
    let (scheme, rest) = text.split_once("://").ok_or_else(bad)?;
    match scheme {
        "unix" => Ok(Address::Unix(PathBuf::from(rest))),
        "unixgram" => Ok(Address::UnixGram(PathBuf::from(rest))),
        "udp" => host(rest).map(Address::Udp).ok_or_else(bad),
        "tcp" => host(rest).map(Address::Tcp).ok_or_else(bad),
        "tcp+tls" => {
            let host = host(rest).ok_or_else(bad)?;
            Ok(Address::Tls(host, tls(options)))
        }
        _ => Err(bad()),
    }
}

/// What is given for TLS. As with Docker it is said by the others to be there, whatever its value.
fn tls(options: &Given) -> Tls {
    let path = |name: &str| {
        let given = options.get(name).filter(|path| !path.is_empty());
        given.map(PathBuf::from)
    };
    Tls {
        authority: path("syslog-tls-ca-cert"),
        certificate: path("syslog-tls-cert"),
        key: path("syslog-tls-key"),
        unverified: options.contains_key("syslog-tls-skip-verify"),
    }
}

/// Reads `host`, `host:port`, `[address]` and `[address]:port`.
fn host(text: &str) -> Option<Host> {
    let text = text.split('/').next().unwrap_or_default();
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']')?;
            address.parse::<IpAddr>().ok()?;
            let port = match after {
                "" => None,
                after => Some(after.strip_prefix(':')?),
            };
            (address, port)
        }
        None => match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        },
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if name.is_empty() || !name.chars().all(is_name) {
        return None;
    }
    Some(Host {
        name: name.to_owned(),
        port: port.map_or(Some(PORT), |port| port.parse().ok())?,
    })
}
