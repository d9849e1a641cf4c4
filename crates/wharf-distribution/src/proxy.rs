//! Which proxy a host is reached through.
//!
//! Rules: those of Go's `golang.org/x/net/http/httpproxy`, which Docker's users have set their
//! variables for. This machine is never reached through a proxy.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use ipnet::IpNet;

use crate::address::{Origin, decode};
use crate::insecure::is_loopback;
use crate::settings::{Proxies, SettingsError};

/// The proxies and who is spared them.
#[derive(Debug, Default)]
pub(crate) struct ProxyRules {
    http: Option<Proxy>,
    https: Option<Proxy>,
    spared: Vec<Spared>,
}

/// A proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    /// Where it is; it may be spoken to over TLS.
    pub(crate) origin: Origin,
    /// `Proxy-Authorization`.
    pub(crate) authorization: Option<HeaderValue>,
}

#[derive(Debug, PartialEq, Eq)]
enum Spared {
    All,
    Network(IpNet),
    Address(IpAddr, Option<u16>),
    /// A host and everything below it.
    Domain(String, Option<u16>),
    /// Everything below a host, not the host.
    Below(String, Option<u16>),
}

impl ProxyRules {
    pub(crate) fn parse(proxies: &Proxies) -> Result<Self, SettingsError> {
        let proxy = |text: &str| match text.trim() {
            "" => Ok(None),
            text => parse_proxy(text).map(Some),
        };
        Ok(Self {
            http: proxy(&proxies.http)?,
            https: proxy(&proxies.https)?,
            spared: proxies.no_proxy.split(',').filter_map(spared).collect(),
        })
    }

    /// Returns the proxy a host is reached through.
    pub(crate) fn proxy_for(&self, origin: &Origin) -> Option<&Proxy> {
        let proxy = if origin.secure {
            self.https.as_ref()
        } else {
            self.http.as_ref()
        };
        proxy.filter(|_| !self.is_spared(origin))
    }

    fn is_spared(&self, origin: &Origin) -> bool {
        if is_loopback(&origin.host) {
            return true;
        }
        let address = origin.ip();
        let port_is = |port: &Option<u16>| port.is_none_or(|port| port == origin.port);
        self.spared.iter().any(|spared| match spared {
            Spared::All => true,
            Spared::Network(network) => address.is_some_and(|own| network.contains(&own)),
            Spared::Address(wanted, port) => address == Some(*wanted) && port_is(port),
            Spared::Domain(domain, port) => {
                (origin.host == *domain || is_below(&origin.host, domain)) && port_is(port)
            }
            Spared::Below(domain, port) => is_below(&origin.host, domain) && port_is(port),
        })
    }
}

fn is_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain)
        .is_some_and(|rest| rest.ends_with('.'))
}

fn parse_proxy(text: &str) -> Result<Proxy, SettingsError> {
    let shown = || text.rsplit('@').next().unwrap_or_default().to_owned();
    let fault = |reason| SettingsError::Proxy(shown(), reason);
    let (secure, rest) = match text.split_once("://") {
        Some(("http", rest)) => (false, rest),
        Some(("https", rest)) => (true, rest),
        Some(_) => return Err(fault("only http and https proxies are supported")),
        None => (false, text),
    };
    let rest = rest.split('/').next().unwrap_or_default();
    let (user, authority) = match rest.rsplit_once('@') {
        Some((user, authority)) => (Some(user), authority),
        None => (None, rest),
    };
    let origin = Origin::parse(authority, secure).ok_or_else(|| fault("expected host[:port]"))?;
    let authorization = match user {
        None => None,
        Some(user) => {
            let user = decode(user).ok_or_else(|| fault("its user cannot be read"))?;
            let user = if user.contains(':') {
                user
            } else {
                format!("{user}:")
            };
            let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(user)))
                .map_err(|_| fault("its user cannot be read"))?;
            value.set_sensitive(true);
            Some(value)
        }
    };
    Ok(Proxy {
        origin,
        authorization,
    })
}

fn spared(entry: &str) -> Option<Spared> {
    let entry = entry.trim().to_ascii_lowercase();
    if entry == "*" {
        return Some(Spared::All);
    }
    if let Ok(network) = entry.parse() {
        return Some(Spared::Network(network));
    }
    if let Ok(address) = entry.parse() {
        return Some(Spared::Address(address, None));
    }
    let (host, port) = match entry.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (entry.as_str(), None),
    };
    if let Some(address) = crate::address::ip_of(host) {
        return Some(Spared::Address(address, port));
    }
    let host = host.strip_prefix('*').unwrap_or(host);
    match host.strip_prefix('.') {
        Some("") => None,
        Some(domain) => Some(Spared::Below(domain.to_owned(), port)),
        None if host.is_empty() => None,
        None => Some(Spared::Domain(host.to_owned(), port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(no_proxy: &str) -> ProxyRules {
        ProxyRules::parse(&Proxies {
            http: "proxy.test:3128".to_owned(),
            https: "https://me:p%40ss@secure.test".to_owned(),
            no_proxy: no_proxy.to_owned(),
        })
        .expect("proxies")
    }

    fn is_spared(no_proxy: &str, host: &str) -> bool {
        let origin = Origin::parse(host, true).expect(host);
        rules(no_proxy).proxy_for(&origin).is_none()
    }

    #[test]
    fn the_scheme_chooses_the_proxy() {
        let rules = rules("");
        let plain = Origin::parse("a.test", false).expect("origin");
        let secure = Origin::parse("a.test", true).expect("origin");
        let proxy = rules.proxy_for(&plain).expect("proxy");
        assert_eq!(proxy.origin.to_string(), "http://proxy.test:3128");
        let proxy = rules.proxy_for(&secure).expect("proxy");
        assert_eq!(proxy.origin.to_string(), "https://secure.test");
        assert_eq!(
            proxy.authorization.as_ref().expect("header"),
            "Basic bWU6cEBzcw=="
        );
    }

    #[test]
    fn the_list_spares_as_gos_does() {
        for (list, host, expected) in [
            ("", "a.test", false),
            ("", "127.0.0.1:5000", true),
            ("", "localhost:5000", true),
            ("", "[::1]:5000", true),
            ("*", "a.test", true),
            ("a.test", "a.test", true),
            ("a.test", "b.a.test", true),
            ("a.test", "ba.test", false),
            (".a.test", "a.test", false),
            (".a.test", "b.a.test", true),
            ("*.a.test", "b.a.test", true),
            ("a.test:5000", "a.test", false),
            ("x, A.Test:5000", "a.test:5000", true),
            ("10.0.0.0/8", "10.1.2.3:5000", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("10.1.2.3", "10.1.2.3:5000", true),
            ("10.1.2.3:80", "10.1.2.3:5000", false),
            ("[fd00::1]:5000", "[fd00::1]:5000", true),
            (",,.,", "a.test", false),
        ] {
            assert_eq!(is_spared(list, host), expected, "{host} with {list:?}");
        }
    }

    #[test]
    fn other_proxies_are_refused_without_their_password() {
        for text in ["socks5://me:secret@a:1", "http://", "http://me:sec%ret@a"] {
            let error = parse_proxy(text).expect_err(text);
            assert!(!error.to_string().contains("sec"), "{error}");
        }
    }
}
