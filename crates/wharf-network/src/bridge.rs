//! The bridge itself: made or repaired when the network opens.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;

use crate::netlink::{Refusal, Socket};
use crate::network::{BridgeConfig, OpenError, Warning};
use crate::resolver::Resolver;
use crate::route::{self, Link, Route};
use crate::sandbox::MacAddress;

const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

/// When the host has no default route to take it from.
const DEFAULT_MTU: u32 = 1500;

/// The longest name an interface can have.
const LONGEST_NAME: usize = 15;

/// Prefix lengths a bridge's subnet can have: shorter ones are no private network, longer ones
/// have no room for a container.
const PREFIXES: std::ops::RangeInclusive<u8> = 8..=30;

/// A bridge that is up.
#[derive(Debug)]
pub(crate) struct Bridge {
    pub(crate) index: u32,
    pub(crate) address: Ipv4Net,
    pub(crate) mtu: u32,
}

impl Bridge {
    /// Makes the bridge, or sees that what is there is as it should be.
    pub(crate) fn prepare(
        socket: &mut Socket,
        config: &BridgeConfig,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, OpenError> {
        check_name(&config.name)?;
        let present = find(socket, &config.name)?;
        let routes = route::routes(socket).map_err(refused("read the host's routes"))?;
        let mtu = match config.mtu {
            Some(mtu) => mtu,
            None => mtu_of_the_way_out(socket, &routes)?,
        };
        let address = choose_address(socket, config, present.as_ref(), &routes)?;
        let own = present.as_ref().map(|link| link.index);
        if let Some(route) = other_route(&routes, own, address.trunc()) {
            let subnet = address.trunc();
            warnings.push(Warning::SubnetRoutedElsewhere { subnet, route });
        }
        let index = match present {
            Some(link) => link.index,
            None => create(socket, &config.name)?,
        };
        set_address(socket, index, address)?;
        let up = [route::set_mtu(index, mtu), route::set_up(index)];
        socket
            .request(&up)
            .map_err(refused("bring the bridge up"))?;
        let_host_speak_to_containers(&config.name)?;
        if turn_on(FORWARDING)? {
            warnings.push(Warning::ForwardingTurnedOn);
        }
        Ok(Self {
            index,
            address,
            mtu,
        })
    }
}

fn refused(operation: &'static str) -> impl Fn(Refusal) -> OpenError {
    move |source| OpenError::Kernel { operation, source }
}

fn check_name(name: &str) -> Result<(), OpenError> {
    let character = |byte: u8| byte.is_ascii_graphic() && !b"/:%\"\\".contains(&byte);
    if name.is_empty()
        || name.len() > LONGEST_NAME
        || name == "."
        || name == ".."
        || !name.bytes().all(character)
    {
        return Err(OpenError::BadName {
            name: name.to_owned(),
        });
    }
    Ok(())
}

fn find(socket: &mut Socket, name: &str) -> Result<Option<Link>, OpenError> {
    let link = route::link_by_name(socket, name).map_err(refused("look the bridge up"))?;
    match link {
        Some(link) if link.kind != "bridge" => Err(OpenError::NotABridge {
            name: name.to_owned(),
        }),
        link => Ok(link),
    }
}

fn create(socket: &mut Socket, name: &str) -> Result<u32, OpenError> {
    let mac = MacAddress::random().map_err(|source| OpenError::Sandbox { source })?;
    socket
        .request(&[route::create_bridge(name, mac)])
        .map_err(refused("create the bridge"))?;
    // Off before the first port: no router advertisement of a container is listened to, and no
    // time is spent on addresses nobody uses.
    write_setting(&format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1")?;
    match find(socket, name)? {
        Some(link) => Ok(link.index),
        None => Err(refused("find the bridge just created")(Refusal::Malformed)),
    }
}

/// The address asked for, else the one the bridge has, else a free one.
fn choose_address(
    socket: &mut Socket,
    config: &BridgeConfig,
    present: Option<&Link>,
    routes: &[Route],
) -> Result<Ipv4Net, OpenError> {
    let address = match (config.address, present) {
        (Some(address), _) => address,
        (None, Some(link)) => {
            let addresses = route::addresses(socket, link.index);
            let addresses = addresses.map_err(refused("read the bridge's addresses"))?;
            match addresses.first() {
                Some(address) => *address,
                None => free_subnet(config, routes, Some(link.index))?,
            }
        }
        (None, None) => free_subnet(config, routes, None)?,
    };
    let outside = [address.network(), address.broadcast()].contains(&address.addr());
    if outside || !PREFIXES.contains(&address.prefix_len()) {
        return Err(OpenError::BadAddress { address });
    }
    Ok(address)
}

/// The private subnets, in the order they are tried: 172.17.0.0/16 to 172.31.0.0/16, then
/// 192.168.0.0/20 to 192.168.240.0/20, as Docker does.
fn private_subnets() -> impl Iterator<Item = Ipv4Net> {
    let large = (17..=31).map(|second| Ipv4Net::new_assert(Ipv4Addr::new(172, second, 0, 0), 16));
    let small =
        (0..16).map(|third| Ipv4Net::new_assert(Ipv4Addr::new(192, 168, third * 16, 0), 20));
    large.chain(small)
}

/// A route, other than the bridge's own and the default one, that shares addresses with a subnet.
fn other_route(routes: &[Route], bridge: Option<u32>, subnet: Ipv4Net) -> Option<Ipv4Net> {
    let others = routes
        .iter()
        .filter(|route| bridge.is_none() || route.link != bridge);
    let mut destinations = others.map(|route| route.destination);
    destinations.find(|destination| {
        destination.prefix_len() > 0
            && (destination.contains(&subnet) || subnet.contains(destination))
    })
}

/// A free subnet of the pools, else of the private ones.
fn free_subnet(
    config: &BridgeConfig,
    routes: &[Route],
    bridge: Option<u32>,
) -> Result<Ipv4Net, OpenError> {
    let resolver = Resolver::of_host_or_none();
    if config.address_pools.is_empty() {
        return first_free(private_subnets(), routes, bridge, &resolver);
    }
    let pools = config.address_pools.iter();
    let subnets = pools.flat_map(|pool| pool.base.subnets(pool.size).into_iter().flatten());
    first_free(subnets, routes, bridge, &resolver)
}

/// The first subnet that neither a route of the host nor one of its name servers is in; returns its
/// first address. Routes by the bridge itself do not count.
fn first_free(
    mut subnets: impl Iterator<Item = Ipv4Net>,
    routes: &[Route],
    bridge: Option<u32>,
    resolver: &Resolver,
) -> Result<Ipv4Net, OpenError> {
    let served = |subnet: &Ipv4Net| {
        let servers = resolver.nameservers.iter();
        servers.copied().any(|server| match server {
            IpAddr::V4(server) => subnet.contains(&server),
            IpAddr::V6(_) => false,
        })
    };
    let free = |subnet: &Ipv4Net| other_route(routes, bridge, *subnet).is_none() && !served(subnet);
    let subnet = subnets.find(free);
    let subnet = subnet.ok_or(OpenError::NoSubnet)?;
    let first = Ipv4Addr::from(u32::from(subnet.network()) + 1);
    Ok(Ipv4Net::new_assert(first, subnet.prefix_len()))
}

/// The MTU of the interface the default route leaves by, so that what a container sends fits.
fn mtu_of_the_way_out(socket: &mut Socket, routes: &[Route]) -> Result<u32, OpenError> {
    let default = routes
        .iter()
        .filter(|route| route.destination.prefix_len() == 0)
        .filter_map(|route| Some((route.metric, route.link?)))
        .min();
    let Some((_, link)) = default else {
        return Ok(DEFAULT_MTU);
    };
    let link = route::link_by_index(socket, link).map_err(refused("look up the way out"))?;
    Ok(link.map_or(DEFAULT_MTU, |link| link.mtu))
}

/// Gives the bridge this address and no other.
fn set_address(socket: &mut Socket, link: u32, address: Ipv4Net) -> Result<(), OpenError> {
    let present = route::addresses(socket, link).map_err(refused("read the bridge's addresses"))?;
    let mut changes = Vec::new();
    changes.extend((!present.contains(&address)).then(|| route::add_address(link, address)));
    let others = present.iter().filter(|other| **other != address);
    changes.extend(others.map(|other| route::delete_address(link, *other)));
    socket
        .request(&changes)
        .map_err(refused("give the bridge its address"))
}

/// Lets the host's own connections to 127.0.0.1 leave by the bridge once their destination has
/// been changed to a container; what this would open besides, the firewall's guard closes.
fn let_host_speak_to_containers(bridge: &str) -> Result<(), OpenError> {
    write_setting(
        &format!("/proc/sys/net/ipv4/conf/{bridge}/route_localnet"),
        "1",
    )
}

/// Turns a setting on; true when it was off.
fn turn_on(path: &str) -> Result<bool, OpenError> {
    let now = std::fs::read_to_string(path).map_err(setting(path))?;
    if now.trim() == "1" {
        return Ok(false);
    }
    write_setting(path, "1")?;
    Ok(true)
}

/// Writes a kernel setting; one that the kernel does not have is not needed either.
fn write_setting(path: &str, value: &str) -> Result<(), OpenError> {
    match std::fs::write(path, value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(setting(path)),
    }
}

fn setting(path: &str) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Setting { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(destinations: &[&str], servers: &str, expected: Option<&str>) {
        let routes: Vec<Route> = destinations
            .iter()
            .map(|destination| Route {
                destination: destination.parse().unwrap(),
                link: Some(2),
                metric: 0,
            })
            .collect();
        let resolver = Resolver::parse(servers);
        let found = first_free(private_subnets(), &routes, Some(9), &resolver).ok();
        assert_eq!(
            found,
            expected.map(|net| net.parse().unwrap()),
            "{destinations:?} {servers}"
        );
    }

    #[test]
    fn subnet_overlaps_no_route() {
        check(&[], "", Some("172.17.0.1/16"));
        check(&["0.0.0.0/0", "10.0.0.0/8"], "", Some("172.17.0.1/16"));
        check(&["172.17.4.0/24"], "", Some("172.18.0.1/16"));
        check(&["172.16.0.0/12"], "", Some("192.168.0.1/20"));
        check(
            &["172.16.0.0/12", "192.168.3.7/32"],
            "",
            Some("192.168.16.1/20"),
        );
        check(&["172.16.0.0/12", "192.168.0.0/16"], "", None);
        check(&["128.0.0.0/1"], "", None);
        check(
            &["172.17.0.0/16"],
            "nameserver 172.18.0.53",
            Some("172.19.0.1/16"),
        );
    }

    #[test]
    fn bridges_own_routes_do_not_count() {
        let own = Route {
            destination: "172.17.0.0/16".parse().unwrap(),
            link: Some(9),
            metric: 0,
        };
        let resolver = Resolver::default();
        let found = first_free(private_subnets(), &[own], Some(9), &resolver).unwrap();
        assert_eq!(found, "172.17.0.1/16".parse().unwrap());
    }

    #[test]
    fn names_that_are_no_interface_are_refused() {
        for name in [
            "",
            ".",
            "..",
            "a/b",
            "a b",
            "sixteen-letters!",
            "a:1",
            "a\n",
            "%d",
        ] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        for name in ["wharf0", "br-1.2", "fifteen-letters"] {
            assert!(check_name(name).is_ok(), "{name:?}");
        }
    }
}
