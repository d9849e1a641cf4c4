//! Host ports held for containers.
//!
//! A published port is bound by a socket that is never listened on or read: the packets go
//! elsewhere before they reach it, but no process of the host can take the port meanwhile, and one
//! that has it already is found out.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::ports::{HostPort, PortRequest, Protocol, PublishError, PublishedPort};

const EPHEMERAL_SETTING: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// Docker's choice where the host does not say.
const EPHEMERAL: RangeInclusive<u16> = 49153..=65535;

/// How long a port may seem taken after we have let go of it, and how often it is tried then.
const LINGERING: Duration = Duration::from_millis(50);
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(1);

/// The ports of this network that are held.
#[derive(Debug)]
pub(crate) struct Reservations {
    held: BTreeMap<(Protocol, u16), Vec<Held>>,
    ephemeral: RangeInclusive<u16>,
    next_ephemeral: u16,
    released: VecDeque<(Protocol, u16, Instant)>,
}

#[derive(Debug)]
struct Held {
    address: Ipv4Addr,
    /// None for a port that was published before and that a process of the host has since taken.
    _socket: Option<OwnedFd>,
}

impl Reservations {
    /// With the host's range of ephemeral ports.
    pub(crate) fn of_host() -> Self {
        let setting = std::fs::read_to_string(EPHEMERAL_SETTING).ok();
        let ephemeral = setting
            .and_then(|text| parse_range(&text))
            .unwrap_or(EPHEMERAL);
        Self {
            held: BTreeMap::new(),
            next_ephemeral: *ephemeral.start(),
            ephemeral,
            released: VecDeque::new(),
        }
    }

    /// Holds a port as asked for.
    pub(crate) fn reserve(&mut self, request: &PortRequest) -> Result<PublishedPort, PublishError> {
        let port = |host_port| PublishedPort {
            protocol: request.protocol,
            host_address: request.host_address,
            host_port,
            container_address: request.container_address,
            container_port: request.container_port,
        };
        match request.host_port {
            HostPort::Fixed(number) => self.hold_patiently(port(number)),
            HostPort::Range { first, last } => self.hold_one_of((first..=last).map(port)),
            HostPort::Ephemeral => {
                let (first, last) = (*self.ephemeral.start(), *self.ephemeral.end());
                let next = self.next_ephemeral;
                let found = self.hold_one_of((next..=last).chain(first..next).map(port))?;
                self.next_ephemeral = match found.host_port {
                    number if number >= last => first,
                    number => number + 1,
                };
                Ok(found)
            }
        }
    }

    /// Holds a port that is published already; false when the host has given it to somebody else.
    pub(crate) fn keep(&mut self, port: &PublishedPort) -> bool {
        let socket = bind(port).ok();
        let kept = socket.is_some();
        self.insert(port, socket);
        kept
    }

    /// Lets go of a port.
    pub(crate) fn release(&mut self, port: &PublishedPort) {
        let key = (port.protocol, port.host_port);
        if let Some(held) = self.held.get_mut(&key) {
            held.retain(|held| held.address != port.host_address);
            if held.is_empty() {
                self.held.remove(&key);
            }
            let now = Instant::now();
            self.released
                .retain(|(_, _, at)| now.duration_since(*at) < LINGERING);
            self.released
                .push_back((port.protocol, port.host_port, now));
        }
    }

    /// Holds a port, trying for a while if we have just let go of it ourselves: a process that is
    /// being started has our descriptors until its program is loaded.
    fn hold_patiently(&mut self, port: PublishedPort) -> Result<PublishedPort, PublishError> {
        let just_released = |(protocol, number, at): &(Protocol, u16, Instant)| {
            (*protocol, *number) == (port.protocol, port.host_port) && at.elapsed() < LINGERING
        };
        loop {
            match self.hold(port) {
                Err(PublishError::Bind {
                    errno: Errno::ADDRINUSE,
                    ..
                }) if self.released.iter().any(just_released) => {
                    std::thread::sleep(BETWEEN_ATTEMPTS);
                }
                result => return result,
            }
        }
    }

    fn hold_one_of(
        &mut self,
        candidates: impl Iterator<Item = PublishedPort>,
    ) -> Result<PublishedPort, PublishError> {
        for port in candidates {
            match self.hold(port) {
                Err(PublishError::Allocated { .. }) => {}
                Err(PublishError::Bind {
                    errno: Errno::ADDRINUSE,
                    ..
                }) => {}
                result => return result,
            }
        }
        Err(PublishError::Exhausted)
    }

    fn hold(&mut self, port: PublishedPort) -> Result<PublishedPort, PublishError> {
        if self.is_held(&port) {
            let PublishedPort {
                host_address,
                host_port,
                ..
            } = port;
            return Err(PublishError::Allocated {
                host_address,
                host_port,
            });
        }
        let socket = bind(&port).map_err(|errno| PublishError::Bind { port, errno })?;
        self.insert(&port, Some(socket));
        Ok(port)
    }

    fn is_held(&self, port: &PublishedPort) -> bool {
        let overlaps = |held: &Held| {
            held.address == port.host_address
                || held.address.is_unspecified()
                || port.host_address.is_unspecified()
        };
        self.held
            .get(&(port.protocol, port.host_port))
            .is_some_and(|held| held.iter().any(overlaps))
    }

    fn insert(&mut self, port: &PublishedPort, socket: Option<OwnedFd>) {
        self.held
            .entry((port.protocol, port.host_port))
            .or_default()
            .push(Held {
                address: port.host_address,
                _socket: socket,
            });
    }
}

fn parse_range(text: &str) -> Option<RangeInclusive<u16>> {
    let mut numbers = text.split_ascii_whitespace().map(str::parse);
    let range = numbers.next()?.ok()?..=numbers.next()?.ok()?;
    (!range.is_empty()).then_some(range)
}

/// Binds a socket to the host's side of a port.
fn bind(port: &PublishedPort) -> rustix::io::Result<OwnedFd> {
    let address = SocketAddrV4::new(port.host_address, port.host_port);
    let kind = match port.protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let socket = rustix::net::socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None)?;
    // What is sent to the subnet's broadcast address does reach the socket; it is not to pile up.
    sockopt::set_socket_recv_buffer_size(&socket, 1)?;
    match rustix::net::bind(&socket, &address) {
        // A server that has just ended leaves connections behind that do not keep the next one from
        // the port. Only then: with this option set from the start, two sockets could share it.
        Err(Errno::ADDRINUSE) if port.protocol == Protocol::Tcp => {
            sockopt::set_socket_reuseaddr(&socket, true)?;
            rustix::net::bind(&socket, &address)?;
            sockopt::set_socket_reuseaddr(&socket, false)?;
        }
        result => result?,
    }
    Ok(socket)
}
