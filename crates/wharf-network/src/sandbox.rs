//! Sandboxes: network namespaces made ready before they are needed.

use std::fmt;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

use crate::addresses::Addresses;
use crate::namespace::{self, Made, MakeError, Maker, NamespaceError};
use crate::netlink::{Refusal, Socket};
use crate::pool::Pool;
use crate::route::{self, VethEnd};

/// The name of a container's interface.
pub(crate) const INSIDE: &str = "eth0";

/// How many random interface names are tried.
const NAME_ATTEMPTS: usize = 8;

/// How long the kernel may take to notice a carrier (up to a second for the bridge's first), and
/// how often it is asked.
const CARRIER_PATIENCE: Duration = Duration::from_millis(1500);
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);

/// A ready network namespace on the bridge: loopback and `eth0` are up, address and default route
/// are set, `eth0` has no IPv6, `net.ipv4.ip_unprivileged_port_start` is 0 and
/// `net.ipv4.ping_group_range` is everybody, as Docker has them in a container.
///
/// The namespace lives while `netns`, a copy of it or a process in it does. Whoever drops a sandbox
/// without handing it to a container also gives `address` back, by
/// [`BridgeNetwork::release`](crate::BridgeNetwork::release).
#[derive(Debug)]
pub struct Sandbox {
    /// The namespace, to be joined with setns.
    pub netns: OwnedFd,
    /// The container's address.
    pub address: Ipv4Addr,
    /// The subnet's prefix length.
    pub prefix: u8,
    /// The bridge's address, the container's default route.
    pub gateway: Ipv4Addr,
    /// The hardware address of the container's `eth0`.
    pub mac: MacAddress,
    /// The name of the host's end of the veth pair.
    pub host_interface: String,
    /// The name of the container's end: `eth0`.
    pub interface: &'static str,
}

/// A hardware address; prints as `02:42:ac:11:00:02`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// A random one that no manufacturer gives out, with the prefix people know from Docker.
    pub(crate) fn random() -> Result<Self, SandboxError> {
        let [a, b, c, d] = random()?;
        Ok(Self([0x02, 0x42, a, b, c, d]))
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Every address of the subnet is in use.
    #[error("no available IPv4 addresses on network {subnet}")]
    NoAddress {
        /// The network's subnet.
        subnet: Ipv4Net,
    },
    /// No namespace.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// No interface pair.
    #[error("cannot attach a container's interface to the bridge")]
    Attach(#[source] Refusal),
    /// No address, route or loopback.
    #[error("cannot set up a container's interface")]
    SetUp(#[source] Refusal),
    /// No random bytes.
    #[error("cannot get random bytes: {0}")]
    Random(Errno),
}

impl From<MakeError> for SandboxError {
    fn from(error: MakeError) -> Self {
        match error {
            MakeError::Namespace(error) => Self::Namespace(error),
            MakeError::Refusal(refusal) => Self::SetUp(refusal),
        }
    }
}

/// What all sandboxes of a bridge have in common.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The bridge's address and prefix.
    pub(crate) gateway: Ipv4Net,
    pub(crate) mtu: u32,
    /// The bridge's interface index: another one when the bridge was deleted and made again.
    pub(crate) bridge: AtomicU32,
    addresses: Mutex<Addresses>,
}

impl Plan {
    pub(crate) fn new(gateway: Ipv4Net, mtu: u32, bridge: u32, in_use: &[Ipv4Addr]) -> Self {
        let mut addresses = Addresses::new(gateway, gateway.addr());
        for address in in_use {
            addresses.reserve(*address);
        }
        Self {
            gateway,
            mtu,
            bridge: AtomicU32::new(bridge),
            addresses: Mutex::new(addresses),
        }
    }

    pub(crate) fn addresses(&self) -> MutexGuard<'_, Addresses> {
        // An address is taken or not; a panic elsewhere cannot leave it half taken.
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes sandboxes, on a thread of this crate.
#[derive(Debug)]
pub(crate) struct Workshop {
    maker: Maker,
    host: Socket,
}

impl Workshop {
    /// For the calling thread and the network namespace it is in.
    pub(crate) fn on_this_thread() -> Result<Self, SandboxError> {
        let host = Socket::route().map_err(SandboxError::Attach)?;
        Ok(Self {
            maker: Maker::on_this_thread()?,
            host,
        })
    }

    /// A complete sandbox in a namespace of its own.
    pub(crate) fn make(&mut self, plan: &Plan) -> Result<Sandbox, SandboxError> {
        self.make_with(plan, Maker::make)
    }

    /// A complete sandbox in a new namespace that has been made elsewhere.
    pub(crate) fn make_of(
        &mut self,
        plan: &Plan,
        netns: BorrowedFd<'_>,
    ) -> Result<Sandbox, SandboxError> {
        self.make_with(plan, |maker| maker.make_of(netns))
    }

    fn make_with(
        &mut self,
        plan: &Plan,
        make: impl FnOnce(&Maker) -> Result<Made, MakeError>,
    ) -> Result<Sandbox, SandboxError> {
        let address = plan.addresses().take();
        let address = address.ok_or(SandboxError::NoAddress {
            subnet: plan.gateway.trunc(),
        })?;
        let made = make(&self.maker)
            .map_err(SandboxError::from)
            .and_then(|made| self.set_up(plan, address, made));
        if made.is_err() {
            plan.addresses().release(address);
        }
        made
    }

    fn set_up(
        &mut self,
        plan: &Plan,
        address: Ipv4Addr,
        mut made: Made,
    ) -> Result<Sandbox, SandboxError> {
        let mac = MacAddress::random()?;
        let host_interface = self.attach(plan, mac, &made.netns)?;
        let prefix = plan.gateway.prefix_len();
        let gateway = plan.gateway.addr();
        let inside = route::link_by_name(&mut made.socket, INSIDE).map_err(SandboxError::SetUp)?;
        let inside = inside.ok_or(SandboxError::SetUp(Refusal::Malformed))?.index;
        let with_prefix = Ipv4Net::new_assert(address, prefix);
        let set_up = [
            route::set_up(route::LOOPBACK),
            route::set_up(inside),
            route::add_address(inside, with_prefix),
            route::add_default_route(gateway),
        ];
        made.socket.request(&set_up).map_err(SandboxError::SetUp)?;
        self.wait_for_carrier(plan, &host_interface)?;
        let netns = made.netns;
        Ok(Sandbox {
            netns,
            address,
            prefix,
            gateway,
            mac,
            host_interface,
            interface: INSIDE,
        })
    }

    /// Sees that packets get through to the host.
    ///
    /// The kernel notices a new carrier a little later, on a thread of its own; until then the port
    /// drops what it is given, and a first ARP request lost that way costs the container a second.
    /// The same goes for the bridge and its first port. Since Linux 6.8 asking for a link's state
    /// makes the kernel notice at once; before that it is a question of time.
    fn wait_for_carrier(&mut self, plan: &Plan, port: &str) -> Result<(), SandboxError> {
        let bridge = plan.bridge.load(Ordering::Relaxed);
        let start = Instant::now();
        loop {
            let port = route::link_by_name(&mut self.host, port).map_err(SandboxError::Attach)?;
            let bridge =
                route::link_by_index(&mut self.host, bridge).map_err(SandboxError::Attach)?;
            let through = [port, bridge].iter().flatten().all(|link| link.operational);
            if through || start.elapsed() > CARRIER_PATIENCE {
                return Ok(());
            }
            std::thread::sleep(BETWEEN_LOOKS);
        }
    }

    /// Makes the veth pair between bridge and namespace; returns the name of the host's end.
    fn attach(
        &mut self,
        plan: &Plan,
        mac: MacAddress,
        netns: &OwnedFd,
    ) -> Result<String, SandboxError> {
        let bridge = plan.bridge.load(Ordering::Relaxed);
        for _ in 0..NAME_ATTEMPTS {
            let name = format!("veth{:08x}", u32::from_ne_bytes(random()?));
            let here = VethEnd {
                name: &name,
                mac: MacAddress::random()?,
            };
            let there = VethEnd { name: INSIDE, mac };
            let pair = route::create_veth(&here, bridge, &there, netns.as_fd(), plan.mtu);
            match self.host.request(&[pair, route::settle_port(&name)]) {
                Ok(()) => return Ok(name),
                Err(refusal) if refusal.errno() == Some(Errno::EXIST) => {}
                Err(refusal) => return Err(SandboxError::Attach(refusal)),
            }
        }
        Err(SandboxError::Attach(Refusal::Restless))
    }
}

fn random() -> Result<[u8; 4], SandboxError> {
    let mut bytes = [0; 4];
    // So few bytes come whole or not at all.
    rustix::io::retry_on_intr(|| getrandom(&mut bytes, GetRandomFlags::empty()))
        .map_err(SandboxError::Random)?;
    Ok(bytes)
}

/// Ready network namespaces with nothing but a loopback interface, for `--network none`.
#[derive(Debug)]
pub struct IsolatedPool {
    pool: Pool<OwnedFd>,
}

impl IsolatedPool {
    /// Starts keeping `size` namespaces ready; 0 makes each when it is asked for.
    pub fn open(size: usize) -> Result<Self, SandboxError> {
        let pool = Pool::open("wharf-isolated", size, || {
            let maker = Maker::on_this_thread()
                .inspect_err(|error| tracing::error!(%error, "no namespaces are kept ready"))
                .ok()?;
            Some(move || {
                namespace::make_isolated(&maker)
                    .inspect_err(|error| tracing::warn!(%error, "a namespace was not made ready"))
                    .ok()
            })
        });
        Ok(Self {
            pool: pool.map_err(NamespaceError::Thread)?,
        })
    }

    /// A namespace from the pool, or one made now.
    pub fn take(&self) -> Result<OwnedFd, SandboxError> {
        if let Some(ready) = self.pool.take() {
            return Ok(ready);
        }
        namespace::on_own_thread(|| {
            let maker = Maker::on_this_thread()?;
            Ok(namespace::make_isolated(&maker)?)
        })
    }

    /// Makes such a namespace of a new one that has been made elsewhere, as one that belongs to a
    /// user namespace must be.
    pub fn take_of(&self, netns: BorrowedFd<'_>) -> Result<OwnedFd, SandboxError> {
        namespace::on_own_thread(|| {
            let maker = Maker::on_this_thread()?;
            Ok(namespace::isolate(maker.make_of(netns)?)?)
        })
    }
}
