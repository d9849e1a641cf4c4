//! Who is asked about a registry's repositories, in which order and with what.
//!
//! Sources: the settings, and the first host directory that has the registry, in Docker's form
//! (`*.crt` are authorities, `*.cert` with `*.key` are the client's) or containerd's (`hosts.toml`).

mod files;
mod toml;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::{HeaderMap, Uri};
use wharf_types::DEFAULT_DOMAIN;

use crate::address::{Origin, encode};
use crate::client::Inner;
use crate::credentials::Credentials;
use crate::error::Error;
use crate::insecure::is_loopback;
use crate::mirror::Mirror;
use crate::tls::Trusted;
use files::HostDirectory;
use toml::{Host, HostsFile};

#[cfg(feature = "fuzzing")]
pub(crate) use toml::parse as parse_hosts_toml;

/// Where Docker Hub's registry is.
const DOCKER_HUB: &str = "registry-1.docker.io";

/// One place that answers for a registry.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    /// Where it is.
    pub(crate) origin: Origin,
    /// What comes before a repository's path, `/v2`.
    pub(crate) prefix: String,
    /// The registry it stands for, for one that stands for several (`?ns=`).
    pub(crate) stands_for: Option<String>,
    /// Whom it must be certified by, and what it is shown.
    pub(crate) trusted: Trusted,
    /// Whether plain HTTP is tried where TLS is not spoken, and believed.
    pub(crate) insecure: bool,
    /// Its own credentials.
    pub(crate) credentials: Credentials,
    /// Headers that the operator wants it to see.
    pub(crate) headers: HeaderMap,
    /// Whether it is the registry itself.
    pub(crate) is_registry: bool,
    /// What it is asked for.
    pub(crate) can: Capabilities,
}

/// What an endpoint is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capabilities {
    /// Content by its digest.
    pub(crate) pull: bool,
    /// What a tag leads to.
    pub(crate) resolve: bool,
    /// To take content.
    pub(crate) push: bool,
}

impl Capabilities {
    /// For hosts that are no registry.
    pub(crate) const NONE: Self = Self {
        pull: false,
        resolve: false,
        push: false,
    };
    const ALL: Self = Self {
        pull: true,
        resolve: true,
        push: true,
    };
    const READ: Self = Self {
        pull: true,
        resolve: true,
        push: false,
    };
}

/// All endpoints of a registry: mirrors in order, the registry last.
#[derive(Debug)]
pub(crate) struct Endpoints(Vec<Arc<Endpoint>>);

impl Endpoint {
    /// Returns host and port, as errors name it.
    pub(crate) fn name(&self) -> String {
        self.origin.authority()
    }

    /// Returns the address of a path below the prefix, which must begin with `/`.
    pub(crate) fn uri(&self, origin: &Origin, path_and_query: &str) -> Uri {
        let mut text = format!("{}{path_and_query}", self.prefix);
        if let Some(registry) = &self.stands_for {
            text.push(if text.contains('?') { '&' } else { '?' });
            text.push_str("ns=");
            text.push_str(&encode(registry));
        }
        origin
            .at(&text)
            .expect("a prefix that was read, and a path that was encoded, make an address")
    }
}

impl Endpoints {
    /// Returns who is asked what a tag leads to.
    pub(crate) fn for_resolve(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.0.iter().filter(|endpoint| endpoint.can.resolve)
    }

    /// Returns who is asked for content.
    pub(crate) fn for_pull(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.0.iter().filter(|endpoint| endpoint.can.pull)
    }

    /// Returns who takes content.
    pub(crate) fn for_push(&self) -> &Arc<Endpoint> {
        self.0
            .iter()
            .find(|endpoint| endpoint.can.push)
            .unwrap_or_else(|| self.registry())
    }

    /// Returns the registry itself.
    pub(crate) fn registry(&self) -> &Arc<Endpoint> {
        self.0.last().expect("the registry is always there")
    }

    /// Finds the endpoints of a registry.
    pub(crate) async fn find(
        client: &Inner,
        domain: &str,
        credentials: &Credentials,
    ) -> Result<Self, Error> {
        let authority = if domain == DEFAULT_DOMAIN {
            DOCKER_HUB
        } else {
            domain
        };
        let registry = Origin::parse(authority, true).ok_or_else(|| Error::HostFile {
            path: PathBuf::from(domain),
            reason: "it is no host[:port]".to_owned(),
        })?;
        let directories = client.settings.host_directories.clone();
        let names = directory_names(domain, &registry);
        let found = tokio::task::spawn_blocking(move || files::find(&directories, &names))
            .await
            .unwrap_or(Ok(None))?;
        let mut made = Maker {
            client,
            domain,
            registry: &registry,
            credentials,
        };
        made.all(found).await.map(Self)
    }
}

/// The names a registry's directory may have: Docker's, and containerd's for those with a port.
fn directory_names(domain: &str, registry: &Origin) -> Vec<String> {
    let mut names = vec![domain.to_owned()];
    if let Some((host, port)) = domain.rsplit_once(':') {
        names.push(format!("{host}_{port}_"));
    }
    let authority = registry.authority();
    if !names.contains(&authority) {
        names.push(authority);
    }
    names.push("_default".to_owned());
    names
}

struct Maker<'a> {
    client: &'a Inner,
    domain: &'a str,
    registry: &'a Origin,
    credentials: &'a Credentials,
}

impl Maker<'_> {
    async fn all(&mut self, found: Option<HostDirectory>) -> Result<Vec<Arc<Endpoint>>, Error> {
        let mut endpoints = Vec::new();
        for mirror in self.client.mirrors.get(self.domain).into_iter().flatten() {
            endpoints.push(self.mirror(mirror).await?);
        }
        let (file, certificates) = match found {
            None => (None, Trusted::default()),
            Some(HostDirectory::Docker(certificates)) => (None, certificates),
            Some(HostDirectory::Containerd(path, file)) => (Some((path, file)), Trusted::default()),
        };
        let last = match file {
            None => self.registry_endpoint(certificates).await,
            Some((path, HostsFile { server, hosts })) => {
                for host in hosts {
                    endpoints.push(self.host(&path, host, false).await?);
                }
                match server {
                    Some(server) => self.host(&path, server, true).await?,
                    None => self.registry_endpoint(certificates).await,
                }
            }
        };
        endpoints.push(last);
        Ok(endpoints.into_iter().map(Arc::new).collect())
    }

    async fn registry_endpoint(&self, mut trusted: Trusted) -> Endpoint {
        let insecure = self.is_insecure(self.registry).await;
        trusted.unverified |= insecure;
        Endpoint {
            origin: self.registry.clone(),
            prefix: "/v2".to_owned(),
            stands_for: None,
            trusted,
            insecure,
            credentials: self.credentials.clone(),
            headers: HeaderMap::new(),
            is_registry: true,
            can: Capabilities::ALL,
        }
    }

    async fn mirror(&self, mirror: &Mirror) -> Result<Endpoint, Error> {
        let directories = self.client.settings.host_directories.clone();
        let names = vec![mirror.origin.authority()];
        let found = tokio::task::spawn_blocking(move || files::find(&directories, &names))
            .await
            .unwrap_or(Ok(None))?;
        let mut trusted = match found {
            Some(HostDirectory::Docker(certificates)) => certificates,
            _ => Trusted::default(),
        };
        let insecure = self.is_insecure(&mirror.origin).await;
        trusted.unverified |= insecure;
        Ok(Endpoint {
            origin: mirror.origin.clone(),
            prefix: format!("{}/v2", mirror.path),
            stands_for: None,
            trusted,
            insecure,
            credentials: mirror.credentials.clone(),
            headers: HeaderMap::new(),
            is_registry: false,
            can: Capabilities::READ,
        })
    }

    async fn host(&self, path: &Path, host: Host, is_server: bool) -> Result<Endpoint, Error> {
        let mut origin = host.origin;
        // containerd's own documentation writes the server of Docker Hub so.
        if origin.host == DEFAULT_DOMAIN && self.domain == DEFAULT_DOMAIN {
            DOCKER_HUB.clone_into(&mut origin.host);
        }
        let is_registry = origin.with_secure(true) == *self.registry;
        let insecure = self.is_insecure(&origin).await;
        let mut trusted = files::certificates(path, &host.ca, &host.client)?;
        trusted.unverified = host.skip_verify || insecure;
        Ok(Endpoint {
            prefix: host.prefix,
            stands_for: (!is_registry && !is_server).then(|| self.domain.to_owned()),
            trusted,
            insecure,
            // The registry's credentials are for the registry, by whatever name it is reached.
            credentials: if is_registry {
                self.credentials.clone()
            } else {
                Credentials::None
            },
            headers: host.headers,
            is_registry: is_registry || is_server,
            can: host.capabilities,
            origin,
        })
    }

    async fn is_insecure(&self, origin: &Origin) -> bool {
        is_loopback(&origin.host) || self.client.insecure.has(origin, &self.client.names).await
    }
}
