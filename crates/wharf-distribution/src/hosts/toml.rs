//! `hosts.toml`, containerd's file about one registry.
//!
//! Source: containerd, `docs/hosts.md`. A key that is not in there is refused by name.

use std::fmt;
use std::path::PathBuf;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};

use super::Capabilities;
use crate::address::Origin;
use crate::refusal::harmless;

/// Most hosts of one file.
const HOSTS_MAX: usize = 64;

/// A file, checked.
#[derive(Debug)]
pub(crate) struct HostsFile {
    /// Who is asked after all others, in the place of the registry.
    pub(super) server: Option<Host>,
    /// Who is asked, in this order.
    pub(super) hosts: Vec<Host>,
}

/// One host of a file.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) origin: Origin,
    pub(super) prefix: String,
    pub(super) capabilities: Capabilities,
    pub(super) ca: Vec<PathBuf>,
    /// Certificate and key; one file may hold both.
    pub(super) client: Vec<(PathBuf, PathBuf)>,
    pub(super) skip_verify: bool,
    pub(super) headers: HeaderMap,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    server: Option<String>,
    #[serde(default)]
    host: InOrder,
    #[serde(default)]
    capabilities: Option<Vec<String>>,
    #[serde(default)]
    ca: OneOrMany,
    #[serde(default)]
    client: Client,
    #[serde(default)]
    skip_verify: bool,
    #[serde(default)]
    header: std::collections::BTreeMap<String, OneOrMany>,
    #[serde(default)]
    override_path: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default)]
    capabilities: Option<Vec<String>>,
    #[serde(default)]
    ca: OneOrMany,
    #[serde(default)]
    client: Client,
    #[serde(default)]
    skip_verify: bool,
    #[serde(default)]
    header: std::collections::BTreeMap<String, OneOrMany>,
    #[serde(default)]
    override_path: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Client {
    One(String),
    Many(Vec<String>),
    Pairs(Vec<(String, String)>),
}

/// The tables of `host`, whose order counts.
#[derive(Default)]
struct InOrder(Vec<(String, Entry)>);

impl Default for OneOrMany {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Entry {
    fn is_silent(&self) -> bool {
        self.capabilities.is_none()
            && matches!(&self.ca, OneOrMany::Many(paths) if paths.is_empty())
            && matches!(&self.client, Client::Many(paths) if paths.is_empty())
            && !self.skip_verify
            && self.header.is_empty()
            && !self.override_path
    }
}

impl OneOrMany {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

impl<'de> Deserialize<'de> for InOrder {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tables;
        impl<'de> Visitor<'de> for Tables {
            type Value = InOrder;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("tables named after hosts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<InOrder, A::Error> {
                let mut hosts = Vec::new();
                while let Some(host) = map.next_entry()? {
                    hosts.push(host);
                }
                Ok(InOrder(hosts))
            }
        }
        deserializer.deserialize_map(Tables)
    }
}

/// Reads a file.
pub(crate) fn parse(text: &str) -> Result<HostsFile, String> {
    let file: File = toml::from_str(text).map_err(|error| harmless(error.message()))?;
    if file.host.0.len() > HOSTS_MAX {
        return Err(format!("more than {HOSTS_MAX} hosts"));
    }
    let hosts = file
        .host
        .0
        .into_iter()
        .map(|(address, entry)| host(&address, entry))
        .collect::<Result<_, _>>()?;
    let own = Entry {
        capabilities: file.capabilities,
        ca: file.ca,
        client: file.client,
        skip_verify: file.skip_verify,
        header: file.header,
        override_path: file.override_path,
    };
    let server = match file.server.filter(|server| !server.is_empty()) {
        Some(server) => Some(host(&server, own)?),
        None if own.is_silent() => None,
        None => {
            return Err(
                "keys outside of [host] are about the server, which is not named".to_owned(),
            );
        }
    };
    Ok(HostsFile { server, hosts })
}

fn host(address: &str, entry: Entry) -> Result<Host, String> {
    let (secure, rest) = match address.split_once("://") {
        Some(("https", rest)) => (true, rest),
        Some(("http", rest)) => (false, rest),
        Some(_) => return Err(format!("host {address:?} is not http or https")),
        None => (true, address),
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let origin = Origin::parse(authority, secure)
        .filter(|origin| path.is_empty() || origin.at(&format!("/{path}")).is_some())
        .filter(|_| !path.contains(['?', '#']))
        .ok_or_else(|| format!("host {address:?} is no address"))?;
    let path = path.trim_end_matches('/');
    let mut prefix = if path.is_empty() {
        String::new()
    } else {
        format!("/{path}")
    };
    if !entry.override_path && prefix != "/v2" && !prefix.ends_with("/v2") {
        prefix.push_str("/v2");
    }
    Ok(Host {
        origin,
        prefix,
        capabilities: capabilities(entry.capabilities)?,
        ca: entry.ca.into_vec().into_iter().map(PathBuf::from).collect(),
        client: client(entry.client),
        skip_verify: entry.skip_verify,
        headers: headers(entry.header)?,
    })
}

fn capabilities(names: Option<Vec<String>>) -> Result<Capabilities, String> {
    let Some(names) = names else {
        return Ok(Capabilities::ALL);
    };
    let mut capabilities = Capabilities {
        pull: false,
        resolve: false,
        push: false,
    };
    for name in names {
        match name.as_str() {
            "pull" => capabilities.pull = true,
            "resolve" => capabilities.resolve = true,
            "push" => capabilities.push = true,
            // Referrers are content by their digest here.
            "referrers" => {}
            other => return Err(format!("unknown capability {:?}", harmless(other))),
        }
    }
    Ok(capabilities)
}

fn client(client: Client) -> Vec<(PathBuf, PathBuf)> {
    let same = |path: String| (PathBuf::from(&path), PathBuf::from(path));
    match client {
        Client::One(path) => vec![same(path)],
        Client::Many(paths) => paths.into_iter().map(same).collect(),
        Client::Pairs(pairs) => pairs
            .into_iter()
            .map(|(certificate, key)| (certificate.into(), key.into()))
            .collect(),
    }
}

fn headers(table: std::collections::BTreeMap<String, OneOrMany>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, values) in table {
        let key: HeaderName = name
            .parse()
            .map_err(|_| format!("invalid header {:?}", harmless(&name)))?;
        for value in values.into_vec() {
            let mut value = HeaderValue::from_str(&value)
                .map_err(|_| format!("invalid value of header {key}"))?;
            value.set_sensitive(true);
            headers.append(key.clone(), value);
        }
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_containerds_documentation_is_read() {
        let file = parse(
            r#"
            server = "https://registry-1.docker.io"
            [host."https://z.example:5000"]
              capabilities = ["pull", "resolve"]
              ca = "ca.crt"
              client = [["c.cert", "c.key"], ["d.cert", "d.key"]]
              skip_verify = true
              [host."https://z.example:5000".header]
                x-custom-1 = ["one", "two"]
                authorization = "Basic bWU6cHc="
            [host."http://a.example/v2/proxy"]
              override_path = true
              ca = ["a.crt", "b.crt"]
              client = "both.pem"
            [host."https://m.example/hub"]
              capabilities = ["push"]
            "#,
        )
        .expect("file");
        let server = file.server.expect("server");
        assert_eq!(server.origin.to_string(), "https://registry-1.docker.io");
        assert_eq!(server.prefix, "/v2");
        // In the order of the file, not of the alphabet.
        let hosts: Vec<String> = file
            .hosts
            .iter()
            .map(|host| format!("{}{}", host.origin, host.prefix))
            .collect();
        assert_eq!(
            hosts,
            [
                "https://z.example:5000/v2",
                "http://a.example/v2/proxy",
                "https://m.example/hub/v2"
            ]
        );
        let [first, second, third] = file.hosts.as_slice() else {
            panic!("three hosts");
        };
        assert_eq!(first.capabilities, Capabilities::READ);
        assert_eq!(second.capabilities, Capabilities::ALL);
        assert!(third.capabilities.push && !third.capabilities.pull);
        assert!(first.skip_verify && !second.skip_verify);
        assert_eq!(first.client.len(), 2);
        assert_eq!(second.client, [("both.pem".into(), "both.pem".into())]);
        assert_eq!(second.ca.len(), 2);
        assert_eq!(first.headers.get_all("x-custom-1").iter().count(), 2);
        assert!(!format!("{:?}", first.headers).contains("bWU6cHc"));
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        for (text, named) in [
            ("[host.\"https://a\"]\nmirror = true", "mirror"),
            ("colour = 1", "colour"),
            ("[host.\"https://a\"]\ncapabilities = [\"steal\"]", "steal"),
            ("server = \"ftp://a\"", "ftp"),
            ("server = \"https://a?b\"", "a?b"),
            ("[host.\"https://u:p@a\"]", "no address"),
            ("server = \"a\"\n[header]\n\"a b\" = \"c\"", "a b"),
            ("ca = \"a.crt\"", "not named"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(named), "{text}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,200}") {
            drop(parse(&text));
            drop(parse(&format!("server = {text:?}")));
        }
    }
}
