//! What all operations share, and how it comes up and goes down.
//!
//! Tasks and threads of an engine, who makes them and when they end:
//!
//! - one task a running container ([`crate::supervise`]), until its shim has gone;
//! - the records' thread, the shim pool's thread, the network's threads: each ends when its owner
//!   here is dropped;
//! - the images' task, which looks at the disk when an image has come in and, if images are to go by
//!   themselves, every few minutes;
//! - a task a layer that comes in or goes out, as long as somebody waits for it;
//! - the trash's task, which deletes what has been removed, one at a time;
//! - the task that waits for the next health probe, and one for each probe under way;
//! - the task that reads what containers use, while somebody listens;
//! - a task a planned restart, which ends early when the engine shuts down.
//!
//! No lock here is held while anything is waited for. A container's states *starting* and *removing*
//! stand in for one: they belong to the operation that set them.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::{Notify, Semaphore, watch};
use wharf_cgroup::{Cgroup, Hierarchies};
use wharf_network::{BridgeNetwork, IsolatedPool};
use wharf_shim::Spawner;
use wharf_store::Store;

use crate::config::Config;
use crate::container::{Container, Places};
use crate::controllers::Controllers;
use crate::defaults::Defaults;
use crate::error::Error;
use crate::events::Events;
use crate::health::Schedule;
use crate::images::Images;
use crate::prune::Pruning;
use crate::records::Records;
use crate::registries::Registries;
use crate::registry::Registry;
use crate::security::Filters;
use crate::stats::Listeners;
use crate::userns::UserNamespaces;
use crate::volumes::Volumes;

/// What all clones of an engine share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: Config,
    /// What may change while the engine runs; see [`Self::defaults`].
    pub(crate) live: RwLock<Arc<Defaults>>,
    pub(crate) places: Places,
    /// Id of this installation, kept in the records.
    pub(crate) id: String,
    /// The program as containers can mount it.
    pub(crate) program: PathBuf,
    pub(crate) records: Records,
    pub(crate) store: Store,
    pub(crate) images: Images,
    pub(crate) registry: Registry,
    pub(crate) events: Events,
    pub(crate) network: BridgeNetwork,
    pub(crate) isolated: IsolatedPool,
    pub(crate) spawner: Spawner,
    /// When containers' healths are probed.
    pub(crate) schedule: Schedule,
    pub(crate) pruning: Pruning,
    /// Who is told what containers use.
    pub(crate) listeners: Listeners,
    pub(crate) filters: Filters,
    pub(crate) controllers: Controllers,
    pub(crate) user_namespaces: UserNamespaces,
    /// Whose turn it is to have its log compressed.
    pub(crate) compressing: Arc<Semaphore>,
    pub(crate) volumes: Volumes,
    pub(crate) registries: Registries,
    /// Wakes the task that deletes what has been removed.
    pub(crate) trash: Arc<Notify>,
    /// Has the task that collects images look at the disk.
    pub(crate) collecting: Notify,
    pub(crate) closing: watch::Sender<bool>,
    /// Held until the engine shuts down: no other works on the same roots.
    pub(crate) locks: Mutex<Vec<std::fs::File>>,
}

impl Inner {
    /// Runs something that blocks, on a thread for that.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => Err(Error::internal("the engine failed", error)),
        }
    }

    /// What containers get where they do not say, as of now.
    pub(crate) fn defaults(&self) -> Arc<Defaults> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Opens a container's control group.
    pub(crate) fn cgroup(&self, container: &Container) -> Result<(Hierarchies, Cgroup), Error> {
        let hierarchies = Hierarchies::detect()
            .map_err(|error| Error::internal("cannot see the cgroups", error))?;
        let path = container.definition.cgroup(&self.config.cgroup_parent);
        let cgroup = Cgroup::open(&hierarchies, &path)
            .map_err(|error| Error::internal("cannot open the container's cgroup", error))?;
        Ok((hierarchies, cgroup))
    }

    /// Tells an event of a container.
    pub(crate) fn tell(&self, container: &Container, action: &str) {
        self.tell_with(container, action, &[]);
    }

    /// Tells an event of a container with more attributes.
    pub(crate) fn tell_with(&self, container: &Container, action: &str, more: &[(&str, String)]) {
        let mut attributes = container.attributes();
        for (key, value) in more {
            attributes.insert((*key).to_owned(), value.clone());
        }
        let id = container.id().to_string();
        self.events.tell("container", action, &id, attributes);
    }

    /// Gives a container's place in the network back.
    pub(crate) fn release_address(&self, address: Ipv4Addr) {
        self.network.release(address);
    }

    /// Deletes what has been removed, in the background.
    pub(crate) fn empty_trash_soon(&self) {
        self.trash.notify_one();
    }

    /// Whether the engine is going down.
    pub(crate) fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }
}

/// Follows a container's status until `wanted` holds, and returns what it gives.
pub(crate) async fn until<T>(
    container: &Arc<Container>,
    mut wanted: impl FnMut(&crate::container::Status) -> Option<T>,
) -> Option<T> {
    let mut changes = container.watch();
    loop {
        if let Some(found) = wanted(&changes.borrow_and_update()) {
            return Some(found);
        }
        if changes.changed().await.is_err() {
            return None;
        }
    }
}
