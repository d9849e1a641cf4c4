//! Ports of a container: which are exposed, and which are to be published where.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use wharf_network::{HostPort, PortRequest, Protocol};
use wharf_wire as wire;

use crate::container::Endpoint;
use crate::error::Error;

/// A port of the container, `80/tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ContainerPort {
    pub(crate) number: u16,
    pub(crate) protocol: Protocol,
}

impl std::fmt::Display for ContainerPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol)
    }
}

/// Reads `80`, `80/tcp`.
pub(crate) fn parse(text: &str) -> Result<ContainerPort, Error> {
    let invalid = || Error::invalid(format!("invalid port specification: \"{text}\""));
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let number = number
        .parse()
        .ok()
        .filter(|number| *number != 0)
        .ok_or_else(invalid)?;
    let protocol = protocol.parse().map_err(|error| {
        Error::invalid(format!("invalid port specification: \"{text}\": {error}"))
    })?;
    Ok(ContainerPort { number, protocol })
}

/// Returns what is to be published for a container with this address. `127.0.0.1` and the like stay
/// what they are; where no address of the host is named, it is `unnamed`.
pub(crate) fn requests(
    host: &wire::HostConfig,
    config: &wire::ContainerConfig,
    address: Ipv4Addr,
    unnamed: Ipv4Addr,
) -> Result<Vec<PortRequest>, Error> {
    let mut requests = Vec::new();
    let mut add = |port: ContainerPort, host_address, host_port| {
        requests.push(PortRequest {
            protocol: port.protocol,
            host_address,
            host_port,
            container_address: address,
            container_port: port.number,
        });
    };
    let bound = host.port_bindings.clone().unwrap_or_default();
    for (port, bindings) in &bound {
        let port = parse(port)?;
        for binding in bindings.iter().flatten() {
            let host_address = match binding.host_ip.as_str() {
                "" => unnamed,
                text => host_address(text)?,
            };
            add(port, host_address, host_port(&binding.host_port)?);
        }
        if bindings.as_ref().is_none_or(Vec::is_empty) {
            add(port, unnamed, HostPort::Ephemeral);
        }
    }
    if host.publish_all_ports {
        for name in config
            .exposed_ports
            .keys()
            .filter(|name| !bound.contains_key(*name))
        {
            add(parse(name)?, unnamed, HostPort::Ephemeral);
        }
    }
    Ok(requests)
}

fn host_address(text: &str) -> Result<Ipv4Addr, Error> {
    match text.parse() {
        Ok(IpAddr::V4(address)) => Ok(address),
        Ok(IpAddr::V6(_)) => Err(Error::not_implemented(format!(
            "publishing on the IPv6 address {text} is not supported yet"
        ))),
        Err(_) => Err(Error::invalid(format!("invalid IP address: {text}"))),
    }
}

fn host_port(text: &str) -> Result<HostPort, Error> {
    let invalid = || Error::invalid(format!("invalid host port: \"{text}\""));
    let number = |text: &str| text.parse::<u16>().map_err(|_| invalid());
    match text.split_once('-') {
        None if text.is_empty() || text == "0" => Ok(HostPort::Ephemeral),
        None => Ok(HostPort::Fixed(number(text)?)),
        Some((first, last)) => {
            let (first, last) = (number(first)?, number(last)?);
            if first == 0 || last < first {
                return Err(invalid());
            }
            Ok(HostPort::Range { first, last })
        }
    }
}

/// Returns the ports as inspect shows them while a container runs: those exposed with `null`.
pub(crate) fn map(config: &wire::ContainerConfig, endpoint: Option<&Endpoint>) -> wire::PortMap {
    let mut map: wire::PortMap = BTreeMap::new();
    let Some(endpoint) = endpoint else {
        return map;
    };
    for port in config.exposed_ports.keys() {
        map.insert(port.clone(), None);
    }
    for port in &endpoint.ports {
        let protocol = if port.udp { "udp" } else { "tcp" };
        let bindings = map
            .entry(format!("{}/{protocol}", port.container_port))
            .or_default();
        bindings.get_or_insert_default().push(wire::PortBinding {
            host_ip: port.host_address.to_string(),
            host_port: port.host_port.to_string(),
        });
    }
    map
}

/// Returns the ports as a list shows them.
pub(crate) fn summaries(
    config: &wire::ContainerConfig,
    endpoint: Option<&Endpoint>,
) -> Vec<wire::PortSummary> {
    let mut summaries = Vec::new();
    for (port, bindings) in map(config, endpoint) {
        let Ok(port) = parse(&port) else {
            continue;
        };
        let summary = wire::PortSummary {
            private_port: port.number,
            protocol: port.protocol.to_string(),
            ..Default::default()
        };
        match bindings {
            None => summaries.push(summary),
            Some(bindings) => {
                summaries.extend(bindings.into_iter().map(|binding| wire::PortSummary {
                    ip: binding.host_ip,
                    public_port: binding.host_port.parse().unwrap_or_default(),
                    ..summary.clone()
                }));
            }
        }
    }
    summaries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_ports_are_refused() {
        for text in ["", "0", "70000", "80/icmp", "a", "80/"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(
            parse("53/UDP")
                .map(|port| port.to_string())
                .map_err(|e| e.to_string()),
            Ok("53/udp".to_owned())
        );
        assert_eq!(host_port("").ok(), Some(HostPort::Ephemeral));
        assert_eq!(
            host_port("80-90").ok(),
            Some(HostPort::Range {
                first: 80,
                last: 90
            })
        );
        assert!(host_port("90-80").is_err());
    }
}
