//! Addresses of requests: absolute, `http` or `https`, and compared part by part.
//!
//! A secret goes to an origin (scheme, host and port) and to no other, so what an origin is must have
//! one answer. Source: RFC 3986 for what a relative `Location` means, RFC 6454 for origins.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

/// Longest address that is followed.
const ADDRESS_MAX: usize = 16 * 1024;

/// Scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    /// Whether the scheme is `https`.
    pub(crate) secure: bool,
    /// Host in lower case, an IPv6 address in brackets.
    pub(crate) host: String,
    /// The port; the scheme's when none was written.
    pub(crate) port: u16,
}

impl Origin {
    /// Reads `host` or `host:port`.
    pub(crate) fn parse(authority: &str, secure: bool) -> Option<Self> {
        let authority: Authority = authority.parse().ok()?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return None;
        }
        let port = port(&authority, secure)?;
        Some(Self {
            secure,
            host: authority.host().to_ascii_lowercase(),
            port,
        })
    }

    /// Returns host and port, the port only where it is not the scheme's.
    pub(crate) fn authority(&self) -> String {
        if self.port == default_port(self.secure) {
            return self.host.clone();
        }
        format!("{}:{}", self.host, self.port)
    }

    /// Returns the host as an address, when it is one.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        ip_of(&self.host)
    }

    /// Returns the same host and port under `http` or `https`. A port that nobody wrote follows.
    pub(crate) fn with_secure(&self, secure: bool) -> Self {
        let port = if self.port == default_port(self.secure) {
            default_port(secure)
        } else {
            self.port
        };
        Self {
            secure,
            host: self.host.clone(),
            port,
        }
    }

    /// Returns the address of a path at this origin.
    pub(crate) fn at(&self, path_and_query: &str) -> Option<Uri> {
        let scheme = if self.secure {
            Scheme::HTTPS
        } else {
            Scheme::HTTP
        };
        Uri::builder()
            .scheme(scheme)
            .authority(self.authority())
            .path_and_query(path_and_query)
            .build()
            .ok()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

/// Returns a host as an address, brackets or not.
pub(crate) fn ip_of(host: &str) -> Option<IpAddr> {
    match host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse().ok(),
    }
}

fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

fn port(authority: &Authority, secure: bool) -> Option<u16> {
    // `Authority` takes `host:` and ports beyond 65535 for no port.
    let after_host = authority.as_str().strip_prefix(authority.host())?;
    match after_host.strip_prefix(':') {
        None => Some(default_port(secure)),
        Some(port) => port.parse().ok().filter(|port| *port != 0),
    }
}

/// Reads an absolute `http` or `https` address. One with a user's name in it is none: where secrets
/// come from is the configuration, never an answer.
pub(crate) fn parse(text: &str) -> Option<(Origin, Uri)> {
    if text.len() > ADDRESS_MAX {
        return None;
    }
    // A fragment is never sent.
    let text = text.split('#').next().unwrap_or_default();
    let uri: Uri = text.parse().ok()?;
    let origin = origin(&uri)?;
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    let uri = origin.at(&path)?;
    Some((origin, uri))
}

/// Returns the origin of an absolute address.
pub(crate) fn origin(uri: &Uri) -> Option<Origin> {
    let secure = match uri.scheme_str()? {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    Origin::parse(uri.authority()?.as_str(), secure)
}

/// Returns where a `Location` leads from an address: absolute, without scheme, an absolute path, a
/// query or a relative path.
pub(crate) fn join(base: &Uri, location: &str) -> Option<(Origin, Uri)> {
    let location = location.split('#').next().unwrap_or_default().trim();
    if location.len() > ADDRESS_MAX {
        return None;
    }
    let from = origin(base)?;
    if let Some(rest) = location.strip_prefix("//") {
        let scheme = if from.secure { "https" } else { "http" };
        return parse(&format!("{scheme}://{rest}"));
    }
    let scheme_end = location.find(':').unwrap_or(location.len());
    let path_start = location.find(['/', '?']).unwrap_or(location.len());
    if scheme_end < path_start {
        return parse(location);
    }
    let path = match location.chars().next() {
        None => base.path().to_owned(),
        Some('/') => location.to_owned(),
        Some('?') => format!("{}{location}", base.path()),
        Some(_) => {
            let folder = base
                .path()
                .rfind('/')
                .map_or("/", |end| &base.path()[..=end]);
            format!("{folder}{location}")
        }
    };
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path.as_str(), None),
    };
    let mut path = without_dots(path);
    if let Some(query) = query {
        path.push('?');
        path.push_str(query);
    }
    let uri = from.at(&path)?;
    Some((from, uri))
}

/// RFC 3986, section 5.2.4, for absolute paths.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." if last => kept.push(""),
            "." => {}
            ".." => {
                kept.pop();
                if last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

/// Returns an address as it may be shown: a query may hold a signature that is as good as a password.
pub(crate) fn shown(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or("http");
    let authority = uri.authority().map_or("", Authority::as_str);
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{}", uri.path())
}

/// Writes a value into a query: everything but the unreserved characters, and `:` and `/`, which
/// scopes are full of and a query may hold, as `%XX`.
pub(crate) fn encode(value: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push('%');
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    text
}

/// Undoes `%XX`; nothing when it is none, or no text.
pub(crate) fn decode(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first != b'%' {
            bytes.push(*first);
            rest = after;
            continue;
        }
        let digits = std::str::from_utf8(after.get(..2)?).ok()?;
        if digits.starts_with('+') {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(base: &str, location: &str) -> Option<String> {
        join(&base.parse().expect("base"), location).map(|(_, uri)| uri.to_string())
    }

    #[test]
    fn a_location_leads_where_rfc_3986_says() {
        let base = "https://a.b:5000/v2/x/blobs/uploads/?q=1";
        for (location, expected) in [
            ("https://c.d/e?f", Some("https://c.d/e?f")),
            ("http://c.d", Some("http://c.d/")),
            ("//c.d/e", Some("https://c.d/e")),
            ("/v2/y?z=a:b#frag", Some("https://a.b:5000/v2/y?z=a:b")),
            ("?z", Some("https://a.b:5000/v2/x/blobs/uploads/?z")),
            (
                "id?z=//",
                Some("https://a.b:5000/v2/x/blobs/uploads/id?z=//"),
            ),
            ("../up/./id", Some("https://a.b:5000/v2/x/blobs/up/id")),
            ("../../../../../../etc", Some("https://a.b:5000/etc")),
            ("", Some("https://a.b:5000/v2/x/blobs/uploads/")),
            ("ftp://c.d/e", None),
            ("file:///etc/passwd", None),
            ("https://user:pw@c.d/e", None),
            ("https:///e", None),
            ("https://c.d:99999/e", None),
            ("https://c.d:0/", None),
            ("javascript:alert(1)", None),
        ] {
            assert_eq!(joined(base, location).as_deref(), expected, "{location}");
        }
    }

    #[test]
    fn an_origin_has_one_form() {
        let of = |text: &str| parse(text).expect(text).0;
        assert_eq!(of("https://A.b:443/x"), of("https://a.B/y"));
        assert_ne!(of("https://a.b/"), of("http://a.b/"));
        assert_ne!(of("https://a.b/"), of("https://a.b:444/"));
        assert_eq!(of("http://[::1]:5000/").authority(), "[::1]:5000");
        assert_eq!(
            of("http://[::1]:5000/").ip(),
            Some(IpAddr::V6(Ipv6Addr::LOCALHOST))
        );
        assert_eq!(of("https://a.b/").with_secure(false).port, 80);
        assert_eq!(of("https://a.b:5000/").with_secure(false).port, 5000);
    }

    #[test]
    fn what_is_shown_has_no_secret() {
        let uri: Uri = "https://me:pw@a.b/c?sig=secret".parse().expect("uri");
        assert_eq!(shown(&uri), "https://a.b/c");
    }

    proptest::proptest! {
        #[test]
        fn any_location_is_followed_or_refused(location in ".{0,80}") {
            if let Some((origin, uri)) = join(&"https://a.b/c".parse().expect("base"), &location) {
                proptest::prop_assert_eq!(super::origin(&uri), Some(origin));
            }
        }

        #[test]
        fn encoding_is_undone(text: String) {
            proptest::prop_assert_eq!(decode(&encode(&text)), Some(text));
        }
    }
}
