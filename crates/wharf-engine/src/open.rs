//! Opening an engine, and closing it.
//!
//! In order: the roots are taken (one engine at a time works on them); the shims of the last engine
//! that were about to launch are waited for; records are read; store, network and shims come up;
//! then each container is brought to what the kernel says of it ([`crate::recovery`]).

use std::fs::{self, DirBuilder, File};
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use ipnet::Ipv4Net;
use rustix::fs::FlockOperation;
use tokio::sync::{Notify, Semaphore, watch};
use wharf_cgroup::Hierarchies;
use wharf_network::{
    Aftermath, BridgeConfig, BridgeNetwork, Existing, IsolatedPool, PublishedPort,
};
use wharf_shim::Spawner;
use wharf_store::Store;
use wharf_types::ContainerId;

use crate::config::Config;
use crate::container::{Container, Definition, Places, Status};
use crate::controllers::Controllers;
use crate::events::Events;
use crate::health::Schedule;
use crate::images::Images;
use crate::inner::Inner;
use crate::prune::Pruning;
use crate::records::{Change, Contents, Durability, Records};
use crate::recovery;
use crate::registries::Registries;
use crate::registry::Registry;
use crate::security::Filters;
use crate::stats::Listeners;
use crate::userns::{RemapError, UserNamespaces};
use crate::volumes::Volumes;

/// Idle shims kept: enough for a few starts in quick succession.
const IDLE_SHIMS: usize = 4;
/// Isolated network namespaces kept.
const ISOLATED: usize = 2;
/// How long a shutdown deletes what has been removed.
const TRASH_TIME: Duration = Duration::from_secs(5);
/// Setting: the address of the bridge.
const BRIDGE_ADDRESS: &str = "bridge.address";
/// Setting: id of this installation.
const ENGINE_ID: &str = "engine.id";

/// Why an engine could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another engine works on the same roots.
    #[error("another engine uses {}", .0.display())]
    InUse(PathBuf),
    /// A directory or file of the roots.
    #[error("cannot use {}", path.display())]
    Path {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The records.
    #[error("cannot open the records")]
    Records(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A container's or a volume's record.
    #[error("the record of a container or volume cannot be read")]
    Record(#[source] serde_json::Error),
    /// The store.
    #[error("cannot open the store")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The network.
    #[error("cannot open the network {bridge}")]
    Network {
        /// Name of the bridge.
        bridge: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The settings about registries.
    #[error("cannot deal with registries")]
    Registries(#[source] crate::Error),
    /// The setting `--userns-remap`.
    #[error(transparent)]
    UserNamespaces(#[from] RemapError),
    /// Shims.
    #[error("cannot make shims")]
    Shims(#[source] io::Error),
    /// The kernel.
    #[error("cannot see the containers of an earlier engine")]
    Recovery(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Inner {
    /// Opens the engine.
    pub(crate) fn open(config: Config) -> Result<Arc<Self>, OpenError> {
        let places = Places {
            data_root: absolute(&config.data_root)?,
            exec_root: absolute(&config.exec_root)?,
        };
        let user_namespaces = UserNamespaces::open(config.userns_remap.as_deref())?;
        let locks = take_roots(&places)?;
        let recovery = |error: Box<dyn std::error::Error + Send + Sync>| OpenError::Recovery(error);
        let hierarchies = Hierarchies::detect().map_err(|error| recovery(error.into()))?;
        hierarchies
            .vacate_root()
            .map_err(|error| recovery(error.into()))?;
        let lock = places.exec_root.join("shims.lock");
        let spawner = Spawner::new(&config.program, &lock, IDLE_SHIMS, config.open_files)
            .map_err(OpenError::Shims)?;
        let (records, contents) =
            Records::open(&places.records()).map_err(|e| OpenError::Records(e.into()))?;
        let containers = read_containers(&contents)?;
        let volumes = Volumes::read(&contents.volumes, &containers).map_err(OpenError::Record)?;
        let store = Store::open(&places.store(), config.storage_driver)
            .map_err(|error| OpenError::Store(error.into()))?;
        let survey = recovery::survey(&places, &containers)
            .map_err(|error| OpenError::Recovery(error.into()))?;
        let network = open_network(&config, &records, &contents, &survey)?;
        let isolated = IsolatedPool::open(ISOLATED).map_err(|error| OpenError::Network {
            bridge: "none".to_owned(),
            source: error.into(),
        })?;
        let program = fs::read_link(&config.program).unwrap_or_else(|_| config.program.clone());
        let events = Events::open(&places.data_root).map_err(|source| OpenError::Path {
            path: places.data_root.join(crate::events::FILE),
            source,
        })?;
        let registries = config.defaults.registries.clone();
        let registries = Registries::new(registries).map_err(OpenError::Registries)?;
        let inner = Arc::new(Self {
            registries,
            id: setting(&records, &contents, ENGINE_ID, || {
                ContainerId::random().to_string()
            }),
            program,
            images: Images::new(store.clone(), &contents.image_names),
            records,
            store,
            registry: Registry::default(),
            events,
            network,
            isolated,
            spawner,
            schedule: Schedule::default(),
            pruning: Pruning::default(),
            listeners: Listeners::default(),
            filters: Filters::default(),
            controllers: Controllers::of(&hierarchies),
            user_namespaces,
            compressing: Arc::new(Semaphore::new(1)),
            volumes,
            collecting: Notify::new(),
            trash: Arc::new(Notify::new()),
            closing: watch::Sender::new(false),
            locks: Mutex::new(locks),
            places,
            live: RwLock::new(Arc::new(config.defaults.clone())),
            config,
        });
        for container in containers {
            inner.registry.insert(container);
        }
        inner.keep_trash_empty();
        inner.collect_images();
        inner.keep_probing();
        inner
            .recover(survey)
            .map_err(|error| OpenError::Recovery(error.into()))?;
        inner.empty_trash_soon();
        Ok(inner)
    }

    fn keep_trash_empty(self: &Arc<Self>) {
        let wanted = Arc::clone(&self.trash);
        let store = self.store.clone();
        let trash = self.places.trash();
        let mut closing = self.closing.subscribe();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = wanted.notified() => {}
                    _ = closing.wait_for(|closing| *closing) => return,
                }
                let (store, trash) = (store.clone(), trash.clone());
                let emptied = tokio::task::spawn_blocking(move || empty_trash(&store, &trash));
                if let Err(error) = emptied.await {
                    tracing::error!(%error, "the trash is not emptied");
                }
            }
        });
    }

    /// Ends what the engine does; containers go on.
    pub(crate) async fn shut_down(self: &Arc<Self>) {
        self.closing.send_replace(true);
        // What is being started is waited for: its record says so.
        for container in self.registry.all() {
            self.settled(&container).await;
        }
        // What was removed a moment ago; much of it is left to the next engine.
        let (store, trash) = (self.store.clone(), self.places.trash());
        let emptied = tokio::task::spawn_blocking(move || empty_trash(&store, &trash));
        if tokio::time::timeout(TRASH_TIME, emptied).await.is_err() {
            tracing::info!("the next engine deletes the rest of what was removed");
        }
        let inner = Arc::clone(self);
        let closed = tokio::task::spawn_blocking(move || inner.close_parts()).await;
        if let Err(error) = closed {
            tracing::error!(%error, "the engine did not close well");
        }
    }

    /// Lets go of everything the next engine on these roots needs.
    fn close_parts(&self) {
        self.spawner.close();
        if let Err(error) = self.network.close(Aftermath::Keep) {
            tracing::error!(%error, "the network did not close well");
        }
        self.events.close();
        // Nothing is handed over after this: what was is on the disk when this returns.
        if let Err(error) = self.records.commit(Vec::new(), Durability::Machine).wait() {
            tracing::error!(%error, "the records did not close well");
        }
        self.locks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

fn empty_trash(store: &Store, trash: &Path) {
    if let Err(error) = store.empty_trash() {
        tracing::warn!(%error, "something removed could not be deleted");
    }
    crate::remove::empty(trash);
}

fn absolute(path: &Path) -> Result<PathBuf, OpenError> {
    std::path::absolute(path).map_err(|source| OpenError::Path {
        path: path.to_owned(),
        source,
    })
}

/// Makes the roots and locks them for this engine alone.
fn take_roots(places: &Places) -> Result<Vec<File>, OpenError> {
    make_directory(&places.data_root, 0o700)?;
    make_directory(&places.exec_root, 0o711)?;
    make_directory(&places.containers(), 0o711)?;
    make_directory(&places.shims(), 0o700)?;
    let roots = [&places.data_root, &places.exec_root];
    roots
        .into_iter()
        .map(|root| lock(&root.join("engine.lock")))
        .collect()
}

fn make_directory(path: &Path, mode: u32) -> Result<(), OpenError> {
    let made = DirBuilder::new().recursive(true).mode(mode).create(path);
    // Also when it was there: nobody else may look into the data root (attack M4).
    let made = made.and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)));
    made.map_err(|source| OpenError::Path {
        path: path.to_owned(),
        source,
    })
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let failed = |source| OpenError::Path {
        path: path.to_owned(),
        source,
    };
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path);
    let file = file.map_err(failed)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::InUse(path.to_owned())),
        Err(error) => Err(failed(error.into())),
    }
}

fn read_containers(contents: &Contents) -> Result<Vec<Arc<Container>>, OpenError> {
    let read = |(definition, status): &(String, String)| {
        let definition: Definition = serde_json::from_str(definition)?;
        let status: Status = serde_json::from_str(status)?;
        Ok(Arc::new(Container::new(definition, status)))
    };
    let containers: Result<_, serde_json::Error> = contents.containers.iter().map(read).collect();
    containers.map_err(OpenError::Record)
}

/// Returns a setting, made and put on record when it is not there.
fn setting(
    records: &Records,
    contents: &Contents,
    key: &str,
    make: impl FnOnce() -> String,
) -> String {
    let mut settings = contents.settings.iter();
    if let Some((_, value)) = settings.find(|(known, _)| known == key) {
        return value.clone();
    }
    let value = make();
    let change = Change::SetSetting {
        key: key.to_owned(),
        value: value.clone(),
    };
    records
        .commit(vec![change], Durability::Machine)
        .in_background();
    value
}

fn open_network(
    config: &Config,
    records: &Records,
    contents: &Contents,
    survey: &recovery::Survey,
) -> Result<BridgeNetwork, OpenError> {
    let recorded = contents
        .settings
        .iter()
        .find(|(key, _)| key == BRIDGE_ADDRESS);
    let recorded: Option<Ipv4Net> = recorded.and_then(|(_, value)| value.parse().ok());
    let wanted = BridgeConfig {
        name: config.bridge.clone(),
        address: config.bridge_address.or(recorded),
        address_pools: config.address_pools.clone(),
        mtu: config.mtu,
        ..Default::default()
    };
    let addresses: Vec<Ipv4Addr> = survey
        .endpoints()
        .map(|endpoint| endpoint.address)
        .collect();
    let ports = survey.endpoints().flat_map(|endpoint| &endpoint.ports);
    let ports: Vec<PublishedPort> = ports.map(PublishedPort::from).collect();
    let existing = Existing {
        addresses: &addresses,
        ports: &ports,
    };
    let network = BridgeNetwork::open(wanted, existing).map_err(|error| OpenError::Network {
        bridge: config.bridge.clone(),
        source: error.into(),
    })?;
    for warning in network.warnings() {
        tracing::warn!(bridge = %config.bridge, %warning, "network");
    }
    let address = network.address().to_string();
    if recorded.map(|recorded| recorded.to_string()) != Some(address.clone()) {
        let change = Change::SetSetting {
            key: BRIDGE_ADDRESS.to_owned(),
            value: address,
        };
        records
            .commit(vec![change], Durability::Machine)
            .in_background();
    }
    Ok(network)
}
