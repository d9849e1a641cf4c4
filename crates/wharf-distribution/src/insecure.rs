//! Which registries need not prove who they are.
//!
//! Docker's rule (`registry/config.go`, `isSecureIndex`): those that are listed by name, and those
//! whose address is in a listed network; `127.0.0.0/8` and `::1` always are. Names are looked up in DNS
//! only when the operator has listed a network: what a name server says does not by itself turn
//! verification off.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::address::{Origin, ip_of};
use crate::names::Names;
use crate::settings::SettingsError;

/// The registries that are listed.
#[derive(Debug, Default)]
pub(crate) struct Insecure {
    hosts: Vec<Origin>,
    networks: Vec<IpNet>,
}

impl Insecure {
    pub(crate) fn parse(entries: &[String]) -> Result<Self, SettingsError> {
        let mut insecure = Self::default();
        for entry in entries {
            // Docker forgives a scheme.
            let text = entry
                .strip_prefix("http://")
                .or_else(|| entry.strip_prefix("https://"))
                .unwrap_or(entry);
            if let Ok(network) = text.parse() {
                insecure.networks.push(network);
            } else if let Some(origin) = Origin::parse(text, true)
                && !text.contains('/')
            {
                insecure.hosts.push(origin);
            } else {
                return Err(SettingsError::InsecureRegistry(entry.clone()));
            }
        }
        Ok(insecure)
    }

    /// Returns whether this registry need not prove who it is.
    pub(crate) async fn has(&self, registry: &Origin, names: &Names) -> bool {
        let registry = registry.with_secure(true);
        if self.hosts.contains(&registry) || is_local_name(&registry.host) {
            return true;
        }
        if let Some(address) = registry.ip() {
            return self.has_address(address);
        }
        let written = names.written(&registry.host).await;
        if !written.is_empty() {
            return written.into_iter().any(|address| self.has_address(address));
        }
        if self.networks.is_empty() {
            return false;
        }
        match names.look_up(&registry.host).await {
            // All of them: one address in the network must not open the way to the others.
            Ok(found) => {
                !found.is_empty() && found.into_iter().all(|address| self.has_address(address))
            }
            Err(_) => false,
        }
    }

    fn has_address(&self, address: IpAddr) -> bool {
        address.to_canonical().is_loopback()
            || self
                .networks
                .iter()
                .any(|network| network.contains(&address))
    }
}

/// Returns whether a host is this machine by its name or address alone.
pub(crate) fn is_loopback(host: &str) -> bool {
    is_local_name(host) || ip_of(host).is_some_and(|address| address.to_canonical().is_loopback())
}

/// RFC 6761, section 6.3.
pub(crate) fn is_local_name(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    host == "localhost" || host.ends_with(".localhost")
}
