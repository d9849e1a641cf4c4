//! The network of a container that starts: its place, its ports, the files that tell of it.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::{fs, io};

use wharf_network::{HostsFile, PublishedPort, Resolver};
use wharf_types::failpoint;

use crate::container::{Container, Endpoint, Port};
use crate::create::check::modes;
use crate::error::Error;
use crate::inner::Inner;
use crate::ports;
use crate::userns;

/// A place in the network: what the launch joins, and what goes on record.
pub(super) struct Joined {
    pub(super) netns: Option<OwnedFd>,
    pub(super) endpoint: Option<Endpoint>,
}

impl Inner {
    pub(super) fn join_network(
        &self,
        container: &Container,
        own: Option<&userns::Namespaces>,
    ) -> Result<Joined, Error> {
        let definition = &container.definition;
        match definition.host.network_mode.as_str() {
            "host" => Ok(Joined {
                netns: None,
                endpoint: None,
            }),
            "none" => {
                let netns = match own {
                    None => self.isolated.take(),
                    Some(own) => self.isolated.take_of(own.network()),
                };
                let netns =
                    netns.map_err(|error| Error::internal("cannot make a network", error))?;
                Ok(Joined {
                    netns: Some(netns),
                    endpoint: None,
                })
            }
            "bridge" => self.join_bridge(container, own),
            other if let Some(name) = modes::joined(other) => Ok(Joined {
                netns: Some(self.borrow_network(name)?),
                endpoint: None,
            }),
            other => Err(Error::not_found(format!("network {other} not found"))),
        }
    }

    fn join_bridge(
        &self,
        container: &Container,
        own: Option<&userns::Namespaces>,
    ) -> Result<Joined, Error> {
        let definition = &container.definition;
        let sandbox = match own {
            None => self.network.take(),
            Some(own) => self.network.take_of(own.network()),
        };
        let sandbox = sandbox
            .map_err(|error| Error::internal("failed to set up container networking", error))?;
        failpoint::hit("engine.start.address-taken");
        let published = ports::requests(
            &definition.host,
            &definition.config,
            sandbox.address,
            self.config.publish_address,
        )
        .and_then(|requests| {
            self.network.publish(&requests).map_err(|error| {
                Error::internal(
                    format!(
                        "driver failed programming external connectivity on endpoint {}",
                        container.status().name
                    ),
                    error,
                )
            })
        });
        let published = match published {
            Ok(published) => published,
            Err(error) => {
                self.release_address(sandbox.address);
                return Err(error);
            }
        };
        failpoint::hit("engine.start.ports-published");
        let endpoint = Endpoint {
            address: sandbox.address,
            prefix: sandbox.prefix,
            gateway: sandbox.gateway,
            mac: sandbox.mac.to_string(),
            ports: published.iter().map(Port::from).collect(),
        };
        Ok(Joined {
            netns: Some(sandbox.netns),
            endpoint: Some(endpoint),
        })
    }

    /// Gives back a container's place in the network.
    pub(crate) fn give_back(&self, container: &Container) {
        self.release_shm(container);
        let endpoint = container.status().endpoint.clone();
        let Some(endpoint) = endpoint else {
            return;
        };
        let ports: Vec<PublishedPort> = endpoint.ports.iter().map(PublishedPort::from).collect();
        if let Err(error) = self.network.unpublish(&ports) {
            tracing::error!(container.id = %container.id(), %error, "ports are still published");
        }
        self.release_address(endpoint.address);
    }

    pub(super) fn write_network_files(
        &self,
        container: &Container,
        endpoint: Option<&Endpoint>,
        directory: &Path,
    ) -> io::Result<()> {
        let definition = &container.definition;
        let config = &definition.config;
        let host = &definition.host;
        if modes::joined(&host.network_mode).is_some() {
            // It has those of the container whose network it has.
            return Ok(());
        }
        let mut names = vec![config.hostname.clone()];
        if !config.domainname.is_empty() {
            names.insert(0, format!("{}.{}", config.hostname, config.domainname));
        }
        let own = endpoint.map(|endpoint| (IpAddr::V4(endpoint.address), names));
        let gateway = self.config.host_gateway;
        let gateway = gateway.unwrap_or_else(|| self.network.address().addr().into());
        let extra = host.extra_hosts.iter().flatten();
        let hosts = HostsFile {
            own,
            extra: extra
                .filter_map(|entry| extra_host(entry, gateway))
                .collect(),
        };
        let resolver = self.resolver(container)?;
        let hosts = if host.network_mode == "host" {
            // The host's own names, and what was added.
            let mut text = fs::read_to_string("/etc/hosts").unwrap_or_default();
            for (address, name) in &hosts.extra {
                text.push_str(&format!("{address}\t{name}\n"));
            }
            text
        } else {
            hosts.to_string()
        };
        fs::write(directory.join("hosts"), hosts)?;
        fs::write(directory.join("resolv.conf"), resolver.to_string())?;
        fs::write(directory.join("hostname"), format!("{}\n", config.hostname))
    }

    fn resolver(&self, container: &Container) -> io::Result<Resolver> {
        let host = &container.definition.host;
        let addresses = host.dns.iter().flatten();
        let mut own = Resolver {
            nameservers: addresses
                .filter_map(|address| address.parse().ok())
                .collect(),
            search: host.dns_search.clone().unwrap_or_default(),
            options: host.dns_options.clone().unwrap_or_default(),
        };
        if own.nameservers.is_empty() {
            own.nameservers.clone_from(&self.config.dns);
        }
        if own.search.is_empty() {
            own.search.clone_from(&self.config.dns_search);
        }
        if own.options.is_empty() {
            own.options.clone_from(&self.config.dns_options);
        }
        let of_host = Resolver::of_host()?;
        // With the host's network its own servers are reachable, also those on its loopback.
        if host.network_mode == "host" && own == Resolver::default() {
            return Ok(of_host);
        }
        Ok(of_host.for_container(&own))
    }
}

/// Reads `name:address` or `name=address`; `host-gateway` is the gateway.
fn extra_host(entry: &str, gateway: IpAddr) -> Option<(IpAddr, String)> {
    let (name, address) = entry.split_once(['=', ':'])?;
    let address = match address {
        "host-gateway" => gateway,
        text => text.trim_matches(['[', ']']).parse().ok()?,
    };
    (!name.is_empty()).then(|| (address, name.to_owned()))
}
