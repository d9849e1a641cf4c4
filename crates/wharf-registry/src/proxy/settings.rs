//! Which repositories are copies of which.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use wharf_distribution::{Client, Settings, SettingsError};
use wharf_types::{Reference, Repository};

use super::flights::Flights;
use super::{Downloads, Proxies};

/// Docker's registry under its own name, which references do not have.
const DOCKER_HUB: [&str; 2] = ["registry-1.docker.io", "index.docker.io"];

/// A registry whose repositories are copied.
#[derive(Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Where they are here: below this path; empty is everywhere.
    pub prefix: String,
    /// `https://host[:port][/path]`; with `http`, nothing is encrypted.
    pub url: String,
    /// Name and password, for this upstream only.
    pub credentials: Option<(String, String)>,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream")
            .field("prefix", &self.prefix)
            .field("url", &self.url)
            .field(
                "credentials",
                &self.credentials.as_ref().map(|(name, _)| name),
            )
            .finish()
    }
}

/// How other registries are copied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxySettings {
    /// Which are.
    pub upstreams: Vec<Upstream>,
    /// How long it is believed that a tag names what it did.
    pub fresh: Duration,
    /// How long an image is kept that nobody asks for; `None`: for ever.
    pub keep: Option<Duration>,
    /// Proxies on the way to the upstreams.
    pub way: wharf_distribution::Proxies,
}

/// An upstream that cannot be one.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// No address of a registry.
    #[error("upstream {0:?} must be https://HOST[:PORT][/PATH], with a dot in HOST, or a port")]
    Url(String),
    /// A prefix no repository can have.
    #[error("no repository can have {0:?} in its name")]
    Prefix(String),
    /// Two upstreams for one prefix.
    #[error("there are two upstreams for {0:?}")]
    Twice(String),
    /// The client cannot be set up.
    #[error(transparent)]
    Client(#[from] SettingsError),
}

impl Upstream {
    /// Splits the address: whether it is encrypted, the host, the path.
    fn parts(&self) -> Option<(bool, &str, &str)> {
        let (encrypted, rest) = match self.url.split_once("://")? {
            ("https", rest) => (true, rest),
            ("http", rest) => (false, rest),
            _ => return None,
        };
        let rest = rest.trim_end_matches('/');
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = if DOCKER_HUB.contains(&host) {
            "docker.io"
        } else {
            host
        };
        // A name and password do not belong where logs show them.
        (!host.is_empty() && !host.contains('@')).then_some((encrypted, host, path))
    }

    /// Returns what a repository here is a copy of.
    pub(super) fn reference(&self, name: &Repository) -> Option<Reference> {
        let rest = match self.prefix.as_str() {
            "" => name.as_str(),
            prefix => name.as_str().strip_prefix(prefix)?.strip_prefix('/')?,
        };
        let (_, host, path) = self.parts()?;
        let full = match path {
            "" => format!("{host}/{rest}"),
            path => format!("{host}/{path}/{rest}"),
        };
        full.parse().ok()
    }

    fn check(&self) -> Result<(), ProxyError> {
        if !self.prefix.is_empty() && self.prefix.parse::<Repository>().is_err() {
            return Err(ProxyError::Prefix(self.prefix.clone()));
        }
        let bad = || ProxyError::Url(self.url.clone());
        let (_, host, path) = self.parts().ok_or_else(bad)?;
        let example = match path {
            "" => format!("{host}/a/b"),
            path => format!("{host}/{path}/a"),
        };
        // A host without dot and port would be taken for the first part of a name.
        let reference: Reference = example.parse().map_err(|_| bad())?;
        if reference.domain() == host {
            Ok(())
        } else {
            Err(bad())
        }
    }
}

impl Proxies {
    /// Takes the upstreams.
    ///
    /// # Errors
    /// One of them cannot be an upstream.
    pub fn new(settings: ProxySettings) -> Result<Self, ProxyError> {
        let mut upstreams = settings.upstreams;
        upstreams.iter().try_for_each(Upstream::check)?;
        upstreams.sort_by(|one, other| {
            let length = other.prefix.len().cmp(&one.prefix.len());
            length.then_with(|| one.prefix.cmp(&other.prefix))
        });
        let twice = upstreams
            .windows(2)
            .find(|pair| pair[0].prefix == pair[1].prefix);
        if let Some(pair) = twice {
            return Err(ProxyError::Twice(pair[0].prefix.clone()));
        }
        let plain = upstreams.iter().filter_map(Upstream::parts);
        let plain = plain.filter(|(encrypted, ..)| !encrypted);
        let client = Client::new(Settings {
            insecure_registries: plain.map(|(_, host, _)| host.to_owned()).collect(),
            // Mirrors that this machine's engine knows may be this very registry.
            host_directories: Vec::new(),
            proxies: settings.way,
            ..Settings::default()
        })?;
        Ok(Self {
            upstreams,
            client,
            fresh: settings.fresh,
            keep: settings.keep,
            used: Mutex::new(HashMap::new()),
            started: Instant::now(),
            manifests: Flights::new(),
            checked: Mutex::new(HashMap::new()),
            downloads: Downloads::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(prefix: &str, url: &str) -> Upstream {
        Upstream {
            prefix: prefix.to_owned(),
            url: url.to_owned(),
            credentials: Some(("name".to_owned(), "secret".to_owned())),
        }
    }

    fn proxies(upstreams: Vec<Upstream>) -> Result<Proxies, ProxyError> {
        Proxies::new(ProxySettings {
            upstreams,
            ..ProxySettings::default()
        })
    }

    #[test]
    fn names_are_turned_into_upstreams() {
        let proxies = proxies(vec![
            upstream("hub", "https://registry-1.docker.io"),
            upstream("hub/deep", "https://quay.io/team/"),
            upstream("local", "http://127.0.0.1:5000"),
        ])
        .expect("upstreams");
        let found = |name: &str| {
            let (_, reference) = proxies.find(&name.parse().expect("a name"))?;
            Some(format!("{}/{}", reference.domain(), reference.path()))
        };
        assert_eq!(
            found("hub/alpine").as_deref(),
            Some("docker.io/library/alpine")
        );
        assert_eq!(found("hub/a/b").as_deref(), Some("docker.io/a/b"));
        assert_eq!(found("hub/deep/x").as_deref(), Some("quay.io/team/x"));
        assert_eq!(found("local/a").as_deref(), Some("127.0.0.1:5000/a"));
        for own in ["hub", "hubs/a", "mine"] {
            assert_eq!(found(own), None, "{own}");
        }
        assert!(!format!("{proxies:?}").contains("secret"));
    }

    #[test]
    fn what_is_no_upstream_is_refused() {
        for (prefix, url) in [
            ("a", "docker.io"),
            ("a", "ftp://docker.io"),
            ("a", "https://registry"),
            ("a", "https://u:p@quay.io"),
            ("a", "https://quay.io/Team"),
            ("A", "https://quay.io"),
        ] {
            assert!(
                proxies(vec![upstream(prefix, url)]).is_err(),
                "{prefix} {url}"
            );
        }
        let two = vec![
            upstream("a", "https://quay.io"),
            upstream("a", "https://ghcr.io"),
        ];
        assert!(matches!(proxies(two), Err(ProxyError::Twice(_))));
    }
}
