//! The bridge network as the engine sees it.

use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::Ipv4Net;

use crate::bridge::Bridge;
use crate::firewall::{self, Firewall};
use crate::foreign;
use crate::namespace::{NamespaceError, enter, on_own_thread};
use crate::netlink::{Refusal, Socket};
use crate::owner::Owner;
use crate::pool::Pool;
use crate::ports::{PortRequest, PublishError, PublishedPort};
use crate::reservations::Reservations;
use crate::route;
use crate::sandbox::{INSIDE, Plan, Sandbox, SandboxError, Workshop};
use crate::watch::{Watch, WatchError};

/// Addresses that are cut into subnets of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressPool {
    /// All of them.
    pub base: Ipv4Net,
    /// Prefix length of a subnet; not shorter than the base's.
    pub size: u8,
}

/// What the bridge network is to be.
#[derive(Debug, Clone)]
pub struct BridgeConfig {
    /// The bridge's interface name (`--bridge`).
    pub name: String,
    /// The bridge's own address with its prefix (`--bip`), or the one recorded when the network was
    /// first opened. None: the bridge's present address, else the first address of the first
    /// subnet of the pools that overlaps no route of the host.
    pub address: Option<Ipv4Net>,
    /// Where subnets come from (`--default-address-pool`). None: the private subnets.
    pub address_pools: Vec<AddressPool>,
    /// The MTU (`--mtu`). None: that of the interface the host's default route leaves by.
    pub mtu: Option<u32>,
    /// How many sandboxes to keep ready.
    pub pool: usize,
}

impl Default for BridgeConfig {
    fn default() -> Self {
        Self {
            name: "wharf0".to_owned(),
            address: None,
            address_pools: Vec::new(),
            mtu: None,
            pool: 8,
        }
    }
}

/// What a former engine left running: its containers' addresses and published ports.
#[derive(Debug, Clone, Copy, Default)]
pub struct Existing<'a> {
    /// Addresses of containers that still run.
    pub addresses: &'a [Ipv4Addr],
    /// Ports published for them. The table is made to hold these and no others.
    pub ports: &'a [PublishedPort],
}

/// What becomes of bridge and table when the network is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aftermath {
    /// They stay, and running containers keep their network.
    Keep,
    /// They are deleted.
    Remove,
}

/// Something about the host that its owner may want to know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// The host did not forward packets between interfaces.
    #[error("IPv4 forwarding was off and has been turned on (net.ipv4.ip_forward=1)")]
    ForwardingTurnedOn,
    /// The bridge's subnet, asked for or recorded, is not the bridge's alone.
    #[error(
        "the bridge's subnet {subnet} overlaps the host's route to {route}: one hides the other"
    )]
    SubnetRoutedElsewhere {
        /// The bridge's subnet.
        subnet: Ipv4Net,
        /// The route.
        route: Ipv4Net,
    },
    /// A port published before cannot be reserved again; its traffic still reaches the container.
    #[error("port {} of a running container is now also used by a process of the host", port.host_port)]
    PortTaken {
        /// The published port.
        port: PublishedPort,
    },
}

/// Why the network did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The host's routes leave none of the private subnets free.
    #[error(
        "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network"
    )]
    NoSubnet,
    /// No interface can have this name.
    #[error("invalid bridge name {name:?}")]
    BadName {
        /// The name.
        name: String,
    },
    /// No bridge with containers can have this address.
    #[error("invalid bridge address {address}: a host address and a prefix of 8 to 30 are needed")]
    BadAddress {
        /// The address.
        address: Ipv4Net,
    },
    /// The name is that of another kind of interface.
    #[error("interface {name} is not a bridge")]
    NotABridge {
        /// The name.
        name: String,
    },
    /// Another engine that runs uses the bridge.
    #[error("bridge {name} is used by another engine (process {pid})")]
    InUse {
        /// The bridge.
        name: String,
        /// The other engine's process.
        pid: u32,
    },
    /// The kernel refused something about interfaces, routes or rules.
    #[error("cannot {operation}")]
    Kernel {
        /// What was asked for.
        operation: &'static str,
        /// The refusal.
        #[source]
        source: Refusal,
    },
    /// A kernel setting could not be read or written.
    #[error("cannot use the kernel setting {path}")]
    Setting {
        /// The setting's file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What sandboxes need is not there.
    #[error(transparent)]
    Sandbox {
        /// Why.
        source: SandboxError,
    },
    /// A thread could not be started.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
}

/// Why a change of the network failed.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The kernel refused it.
    #[error("cannot {operation}")]
    Kernel {
        /// What was asked for.
        operation: &'static str,
        /// The refusal.
        #[source]
        source: Refusal,
    },
    /// The container's namespace could not be worked in.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
}

/// An open bridge network. Dropping it stops its threads and closes its pool, and leaves bridge and
/// table as they are.
///
/// Its threads and sockets belong to the network namespace of the thread that opened it, which is
/// the host's; all calls come from threads that are there.
#[derive(Debug)]
pub struct BridgeNetwork {
    name: String,
    plan: Arc<Plan>,
    pool: Pool<Sandbox>,
    firewall: Arc<Mutex<Firewall>>,
    reservations: Mutex<Reservations>,
    watch: Mutex<Option<Watch>>,
    warnings: Vec<Warning>,
}

impl BridgeNetwork {
    /// Creates or repairs the bridge, loads the table, and starts filling the pool.
    pub fn open(config: BridgeConfig, existing: Existing<'_>) -> Result<Self, OpenError> {
        let mut warnings = Vec::new();
        let mut socket = Socket::route().map_err(refused("speak to the kernel"))?;
        check_owner(&config.name)?;
        let bridge = Bridge::prepare(&mut socket, &config, &mut warnings)?;
        let mut reservations = Reservations::of_host();
        for port in existing.ports {
            if !reservations.keep(port) {
                warnings.push(Warning::PortTaken { port: *port });
            }
        }
        let mut firewall = Firewall::load(
            &config.name,
            bridge.address,
            existing.ports,
            Owner::this_process(),
        )
        .map_err(refused("load the firewall rules"))?;
        foreign::accept_bridge(&mut firewall)
            .map_err(refused("have other forward chains accept containers"))?;
        let firewall = Arc::new(Mutex::new(firewall));
        let watch = Watch::start(Arc::clone(&firewall)).map_err(|error| match error {
            WatchError::Listen(source) => refused("watch the firewall rules")(source),
            WatchError::Thread(source) => OpenError::Thread(source),
        })?;
        let plan = Plan::new(bridge.address, bridge.mtu, bridge.index, existing.addresses);
        let plan = Arc::new(plan);
        Ok(Self {
            pool: open_pool(config.pool, &plan).map_err(OpenError::Thread)?,
            name: config.name,
            plan,
            firewall,
            reservations: Mutex::new(reservations),
            watch: Mutex::new(Some(watch)),
            warnings,
        })
    }

    /// The bridge's interface name.
    pub fn bridge(&self) -> &str {
        &self.name
    }

    /// The bridge's address and prefix: the containers' gateway. To be recorded and given as
    /// [`BridgeConfig::address`] at the next opening.
    pub fn address(&self) -> Ipv4Net {
        self.plan.gateway
    }

    /// The MTU of bridge and sandboxes.
    pub fn mtu(&self) -> u32 {
        self.plan.mtu
    }

    /// What opening found worth telling.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// A sandbox from the pool, or one made now.
    pub fn take(&self) -> Result<Sandbox, SandboxError> {
        match self.pool.take() {
            Some(ready) => Ok(ready),
            None => on_own_thread(|| Workshop::on_this_thread()?.make(&self.plan)),
        }
    }

    /// A sandbox in a new namespace that has been made elsewhere, as one that belongs to a user
    /// namespace must be.
    pub fn take_of(&self, netns: BorrowedFd<'_>) -> Result<Sandbox, SandboxError> {
        on_own_thread(|| Workshop::on_this_thread()?.make_of(&self.plan, netns))
    }

    /// Gives an address back once its container has gone. It is handed out again last of all.
    pub fn release(&self, address: Ipv4Addr) {
        if !self.plan.addresses().release(address) {
            tracing::warn!(%address, "an address was given back that nobody had");
        }
    }

    /// Sees that a running container of a former engine is still attached to the bridge, and
    /// attaches it again if the bridge had been deleted meanwhile. Its address was given in
    /// [`Existing::addresses`]; `netns` is its network namespace.
    pub fn adopt(&self, netns: BorrowedFd<'_>) -> Result<(), NetworkError> {
        let kernel = |operation| move |source| NetworkError::Kernel { operation, source };
        let inside = on_own_thread(|| {
            enter(netns)?;
            let mut socket =
                Socket::route().map_err(kernel("look into the container's network"))?;
            route::link_by_name(&mut socket, INSIDE)
                .map_err(kernel("look into the container's network"))
        })?;
        // A container may have renamed or removed its interface: that is its own affair.
        let Some(peer) = inside.and_then(|link| link.peer) else {
            return Ok(());
        };
        let mut socket = Socket::route().map_err(kernel("speak to the kernel"))?;
        let bridge = self.plan.bridge.load(Ordering::Relaxed);
        match route::link_by_index(&mut socket, peer).map_err(kernel("look up an interface"))? {
            Some(link) if link.kind == "veth" && link.master != Some(bridge) => socket
                .request(&[route::set_master(peer, bridge)])
                .map_err(kernel("attach a container's interface to the bridge")),
            _ => Ok(()),
        }
    }

    /// Publishes all of these ports or none.
    pub fn publish(&self, requests: &[PortRequest]) -> Result<Vec<PublishedPort>, PublishError> {
        let mut reservations = lock(&self.reservations);
        let mut ports = Vec::with_capacity(requests.len());
        let undo = |reservations: &mut Reservations, ports: &[PublishedPort]| {
            ports.iter().for_each(|port| reservations.release(port));
        };
        for request in requests {
            match reservations.reserve(request) {
                Ok(port) => ports.push(port),
                Err(error) => {
                    undo(&mut reservations, &ports);
                    return Err(error);
                }
            }
        }
        if let Err(source) = lock(&self.firewall).add(&ports) {
            undo(&mut reservations, &ports);
            return Err(PublishError::Kernel { source });
        }
        self.forget_connections(&ports);
        Ok(ports)
    }

    /// Takes published ports back; those not published are passed over.
    pub fn unpublish(&self, ports: &[PublishedPort]) -> Result<(), NetworkError> {
        let mut reservations = lock(&self.reservations);
        let removed = lock(&self.firewall).remove(ports);
        // Kept until now: nobody gets the host's port while its packets still go elsewhere.
        ports.iter().for_each(|port| reservations.release(port));
        self.forget_connections(ports);
        removed.map_err(|source| NetworkError::Kernel {
            operation: "unpublish ports",
            source,
        })
    }

    fn forget_connections(&self, ports: &[PublishedPort]) {
        if let Some(watch) = &*lock(&self.watch) {
            watch.forget(ports);
        }
    }

    /// Stops the threads, closes the pool, and removes bridge and table if asked to. All of it is
    /// tried; the first failure is returned.
    pub fn close(&self, aftermath: Aftermath) -> Result<(), NetworkError> {
        drop(lock(&self.watch).take());
        self.pool.close();
        if aftermath == Aftermath::Keep {
            return Ok(());
        }
        let kernel = |operation| move |source| NetworkError::Kernel { operation, source };
        let mut firewall = lock(&self.firewall);
        let withdrawn = foreign::withdraw(&mut firewall)
            .map_err(kernel("take our rules out of other forward chains"));
        let deleted = firewall
            .delete()
            .map_err(kernel("delete the firewall rules"));
        let bridge = self.plan.bridge.load(Ordering::Relaxed);
        let removed = Socket::route()
            .and_then(|mut socket| socket.request(&[route::delete(bridge)]))
            .map_err(kernel("delete the bridge"));
        withdrawn.and(deleted).and(removed)
    }
}

/// Sees that no other engine that runs has the bridge.
fn check_owner(bridge: &str) -> Result<(), OpenError> {
    let owner = Socket::netfilter()
        .and_then(|mut socket| Owner::of_table(&mut socket, &firewall::table_name(bridge)))
        .map_err(refused("read the firewall rules"))?;
    match owner {
        Some(owner) => Err(OpenError::InUse {
            name: bridge.to_owned(),
            pid: owner.pid,
        }),
        None => Ok(()),
    }
}

fn refused(operation: &'static str) -> impl Fn(Refusal) -> OpenError {
    move |source| OpenError::Kernel { operation, source }
}

/// Nothing done under these locks leaves its subject half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open_pool(size: usize, plan: &Arc<Plan>) -> std::io::Result<Pool<Sandbox>> {
    let plan = Arc::clone(plan);
    Pool::open("wharf-sandbox", size, move || {
        let mut workshop = Workshop::on_this_thread()
            .inspect_err(|error| tracing::error!(%error, "no sandboxes are kept ready"))
            .ok()?;
        Some(move || {
            workshop
                .make(&plan)
                .inspect_err(|error| tracing::warn!(%error, "a sandbox was not made ready"))
                .ok()
        })
    })
}
