//! Who may speak to the engine over TCP: programs, not web pages.
//!
//! A browser lets any page send requests to any address, its own machine's too. Such a request names the page in
//! `Origin` or `Sec-Fetch-Site`. A page whose own name was made to lead here (DNS rebinding) needs neither; its name
//! is in `Host`. Programs send an address there, or a name of the local network, which has no dot. With TLS the
//! certificate has settled that the name is ours.

use http::HeaderMap;
use http::StatusCode;
use http::header::{HOST, HeaderName, ORIGIN};
use std::net::IpAddr;

use crate::answer::Failure;

/// What a browser says of where a request comes from.
pub(crate) const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// How a connection reaches the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Over a socket in the file system, which no browser opens.
    Local,
    /// Over TCP.
    Tcp,
    /// Over TCP with TLS.
    Tls,
}

/// Refuses what a web page may have sent.
pub(crate) fn check(reach: Reach, headers: &HeaderMap) -> Result<(), Failure> {
    if reach == Reach::Local {
        return Ok(());
    }
    let refused = |message: String| Err(Failure::new(StatusCode::FORBIDDEN, message));
    let text = |name| {
        headers
            .get(name)
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
    };
    let host = text(HOST).unwrap_or_default();
    if let Some(origin) = text(ORIGIN) {
        let authority = origin
            .split_once("://")
            .map_or("", |(_, authority)| authority);
        if authority.is_empty() || !authority.eq_ignore_ascii_case(&host) {
            return refused(format!(
                "requests of web pages are refused: origin {origin}"
            ));
        }
    }
    if let Some(site) = text(FETCH_SITE).filter(|site| !matches!(&**site, "same-origin" | "none")) {
        return refused(format!("requests of web pages are refused: {site}"));
    }
    let mut hosts = headers.get_all(HOST).iter();
    if reach == Reach::Tcp && !hosts.all(|host| is_near(&String::from_utf8_lossy(host.as_bytes())))
    {
        return refused(format!(
            "host {host} is refused over TCP without TLS: use an IP address or a name without dots"
        ));
    }
    Ok(())
}

/// Whether a `Host` is an address, or a name that no stranger can own.
fn is_near(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        let address = rest.split(']').next().unwrap_or_default();
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let lower = name.to_ascii_lowercase();
    lower.parse::<IpAddr>().is_ok() || lower.ends_with(".localhost") || !lower.contains('.')
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn checked(reach: Reach, pairs: &[(HeaderName, &'static str)]) -> bool {
        let pairs = pairs.iter().cloned();
        let headers: HeaderMap = pairs
            .map(|(name, value)| (name, HeaderValue::from_static(value)))
            .collect();
        check(reach, &headers).is_ok()
    }

    #[test]
    fn attack_m3_a_page_whose_name_leads_here_is_refused() {
        for (host, expected) in [
            ("127.0.0.1:2375", true),
            ("[::1]:2375", true),
            ("192.168.1.7", true),
            ("localhost:2375", true),
            ("docker:2375", true),
            ("api.moby.localhost", true),
            ("", true),
            ("evil.example:2375", false),
            ("127.0.0.1.evil.example", false),
            ("evil.example.:2375", false),
            ("[evil.example]:2375", false),
        ] {
            assert_eq!(checked(Reach::Tcp, &[(HOST, host)]), expected, "{host}");
            assert!(checked(Reach::Tls, &[(HOST, host)]), "{host}");
            assert!(checked(Reach::Local, &[(HOST, host)]), "{host}");
        }
    }

    #[test]
    fn attack_m3_a_page_of_another_origin_is_refused() {
        for (origin, expected) in [
            ("http://evil.example", false),
            ("null", false),
            ("http://127.0.0.1:8080", false),
            ("http://127.0.0.1:2375", true),
        ] {
            let headers = [(HOST, "127.0.0.1:2375"), (ORIGIN, origin)];
            assert_eq!(checked(Reach::Tcp, &headers), expected, "{origin}");
            assert_eq!(checked(Reach::Tls, &headers), expected, "{origin}");
            assert!(checked(Reach::Local, &headers), "{origin}");
        }
        let cross = [(HOST, "127.0.0.1"), (FETCH_SITE, "cross-site")];
        assert!(!checked(Reach::Tcp, &cross));
    }
}
