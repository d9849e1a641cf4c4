//! One container: what never changes, what does, and what lives only with this engine.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use wharf_network::{Protocol, PublishedPort};
use wharf_shim::Shim;
use wharf_shim::protocol::Client;
use wharf_store::SnapshotId;
use wharf_types::{ContainerId, ContainerName, Digest};
use wharf_wire as wire;

use crate::error::Error;
use crate::exec::Exec;
use crate::health::{Health, Outcome};
use crate::mounts::Mount;
use crate::records::{Change, Commit, CommitError, Durability, Records};
use crate::state::{Denied, Event, State};
use crate::userns::Mapping;

/// What is decided when a container is created. The documents are kept as they were merged from the
/// request and the image, because inspect answers them again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Definition {
    pub(crate) id: ContainerId,
    pub(crate) created: Timestamp,
    pub(crate) image: Digest,
    /// The image as it was asked for.
    pub(crate) image_name: String,
    /// Program and arguments.
    pub(crate) command: Vec<String>,
    pub(crate) config: wire::ContainerConfig,
    pub(crate) host: wire::HostConfig,
    pub(crate) mounts: Vec<Mount>,
    /// Its ids, if it has a user namespace.
    pub(crate) user_namespace: Option<Mapping>,
}

impl Definition {
    /// Its control group: below the parent that was asked for, or else below the engine's.
    pub(crate) fn cgroup(&self, engines: &Path) -> PathBuf {
        let parent = match self.host.cgroup_parent.as_str() {
            "" => engines.to_owned(),
            asked => Path::new("/").join(asked),
        };
        parent.join(self.id.to_string())
    }

    /// What its records outlast. A container that is removed as it ends is gone after the machine's
    /// crash in any case, and what its files left is cleared away.
    pub(crate) fn durability(&self) -> Durability {
        match self.host.auto_remove {
            true => Durability::Engine,
            false => Durability::Machine,
        }
    }
}

/// What changes of a container. Its one writer is whoever brings it from one state to the next.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) name: ContainerName,
    pub(crate) state: State,
    /// What is wanted of it; written by its users, read by restart policy and recovery.
    pub(crate) wanted: Wanted,
    /// How often it was started: tells one run's leavings from another's.
    pub(crate) run: u64,
    /// How often its policy has started it again since a user did.
    pub(crate) restarts: u32,
    /// How often its policy has started it again in a row, each time after a short run.
    #[serde(default)]
    pub(crate) short_runs: u32,
    /// How often it has ended, for those who wait for the next time.
    #[serde(skip)]
    pub(crate) exits: u64,
    /// The run that a commit under way freezes.
    pub(crate) committing: Option<u64>,
    /// Its place in the network while it runs.
    pub(crate) endpoint: Option<Endpoint>,
    /// Its health; absent without a health check, and before the first start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) health: Option<Health>,
    /// Whether its removal, once begun, takes its nameless volumes along.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) takes_volumes: bool,
    /// An update that is on record and that the kernel may not have got.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unapplied: Option<Box<wire::UpdateConfig>>,
}

/// What is wanted of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Wanted {
    /// To be left as it is: never started, or stopped by a user.
    Stopped,
    /// To run, as far as its policy goes.
    Running,
}

/// A container's place in the default bridge's network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    pub(crate) address: Ipv4Addr,
    pub(crate) prefix: u8,
    pub(crate) gateway: Ipv4Addr,
    pub(crate) mac: String,
    pub(crate) ports: Vec<Port>,
}

/// A published port, as it is kept on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Port {
    pub(crate) udp: bool,
    pub(crate) host_address: Ipv4Addr,
    pub(crate) host_port: u16,
    pub(crate) container_address: Ipv4Addr,
    pub(crate) container_port: u16,
}

impl From<&PublishedPort> for Port {
    fn from(port: &PublishedPort) -> Self {
        Self {
            udp: port.protocol == Protocol::Udp,
            host_address: port.host_address,
            host_port: port.host_port,
            container_address: port.container_address,
            container_port: port.container_port,
        }
    }
}

impl From<&Port> for PublishedPort {
    fn from(port: &Port) -> Self {
        Self {
            protocol: if port.udp {
                Protocol::Udp
            } else {
                Protocol::Tcp
            },
            host_address: port.host_address,
            host_port: port.host_port,
            container_address: port.container_address,
            container_port: port.container_port,
        }
    }
}

/// A container.
#[derive(Debug)]
pub(crate) struct Container {
    /// As it was when this engine learnt of it; see [`Self::current`] for limits and policy.
    pub(crate) definition: Definition,
    /// The settings as `update` has left them since.
    updated: RwLock<Option<Arc<wire::HostConfig>>>,
    /// Held by the one update that is under way.
    pub(crate) updating: tokio::sync::Mutex<()>,
    /// Also the published copy: readers borrow it, waiters watch it.
    status: watch::Sender<Status>,
    live: Mutex<Live>,
    /// Held by who writes its files from outside, and by a start: its snapshot must not be mounted
    /// for writing twice.
    pub(crate) files: Arc<tokio::sync::Mutex<()>>,
}

/// What a container has while this engine and it live.
#[derive(Debug, Default)]
pub(crate) struct Live {
    /// The connection to its shim, while it runs.
    pub(crate) shim: Option<Shim>,
    /// The run these belong to.
    pub(crate) run: u64,
    /// Whether the last run's leavings are still in the kernel.
    pub(crate) unreleased: bool,
    /// Clients that wait for the start.
    pub(crate) waiting: Vec<(OwnedFd, Client)>,
    /// Further processes, prepared, running or ended.
    pub(crate) execs: BTreeMap<wharf_types::ExecId, Exec>,
    /// Results of its last health probes.
    pub(crate) probes: VecDeque<Outcome>,
    /// Counts up when probing begins anew: what an earlier round finds is void.
    pub(crate) health_round: u64,
}

impl Container {
    pub(crate) fn new(definition: Definition, status: Status) -> Self {
        Self {
            definition,
            updated: RwLock::new(None),
            updating: tokio::sync::Mutex::new(()),
            status: watch::Sender::new(status),
            live: Mutex::new(Live::default()),
            files: Arc::default(),
        }
    }

    pub(crate) fn id(&self) -> ContainerId {
        self.definition.id
    }

    /// Returns the definition with the limits and the restart policy that are in force now.
    pub(crate) fn current(&self) -> Cow<'_, Definition> {
        let updated = self.updated.read().unwrap_or_else(PoisonError::into_inner);
        match &*updated {
            None => Cow::Borrowed(&self.definition),
            Some(host) => Cow::Owned(Definition {
                host: wire::HostConfig::clone(host),
                ..self.definition.clone()
            }),
        }
    }

    /// Puts changed settings on record, with what of them the kernel has still to get; they are in
    /// force when this returns.
    pub(crate) async fn redefine(
        &self,
        records: &Records,
        host: &wire::HostConfig,
        unapplied: Option<wire::UpdateConfig>,
    ) -> Result<(), CommitError> {
        let definition = Definition {
            host: host.clone(),
            ..self.definition.clone()
        };
        let mut commit = None;
        self.status.send_modify(|status| {
            status.unapplied = unapplied.map(Box::new);
            let definition = Change::SetDefinition {
                id: self.definition.id.to_string(),
                definition: to_json(&definition),
            };
            let changes = vec![definition, self.change(status)];
            commit = Some(records.commit(changes, Durability::Machine));
        });
        commit.expect("the closure has been called").done().await?;
        *self.updated.write().unwrap_or_else(PoisonError::into_inner) =
            Some(Arc::new(definition.host));
        Ok(())
    }

    pub(crate) fn snapshot(&self) -> SnapshotId {
        SnapshotId::from(&self.definition.id)
    }

    /// Reads the status; never hold it over anything that takes time, nor while taking
    /// [`Self::live`]: where both are needed, the live part is taken first.
    pub(crate) fn status(&self) -> watch::Ref<'_, Status> {
        self.status.borrow()
    }

    /// Follows the status.
    pub(crate) fn watch(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    pub(crate) fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn shim(&self) -> Option<Shim> {
        self.live().shim.clone()
    }

    /// Brings the container to another state, and changes what goes along with it. The change is
    /// handed to the records while nobody else can change it, so that their order is the states'.
    pub(crate) fn transition(
        &self,
        records: &Records,
        durability: Durability,
        event: Event,
        along: impl FnOnce(&mut Status),
    ) -> Result<Commit, Denied> {
        let mut result = None;
        self.status.send_if_modified(|status| {
            let next = status.state.after(event);
            let changed = next.is_ok();
            result = Some(next.map(|state| {
                status.state = state;
                along(status);
                records.commit(vec![self.change(status)], durability)
            }));
            changed
        });
        result.expect("the closure has been called")
    }

    /// Changes something beside the state.
    pub(crate) fn amend(
        &self,
        records: &Records,
        durability: Durability,
        change: impl FnOnce(&mut Status),
    ) -> Commit {
        let mut result = None;
        self.status.send_modify(|status| {
            change(status);
            result = Some(records.commit(vec![self.change(status)], durability));
        });
        result.expect("the closure has been called")
    }

    /// Changes something beside the state, and puts it on record if `change` says so; otherwise it
    /// is not even news.
    pub(crate) fn amend_if(
        &self,
        records: &Records,
        durability: Durability,
        change: impl FnOnce(&mut Status) -> bool,
    ) -> Option<Commit> {
        let mut result = None;
        self.status.send_if_modified(|status| {
            let changed = change(status);
            if changed {
                result = Some(records.commit(vec![self.change(status)], durability));
            }
            changed
        });
        result
    }

    /// Publishes a state that is not put on record: the container's record is gone.
    pub(crate) fn publish(&self, event: Event) -> Result<(), Denied> {
        let mut result = Ok(());
        self.status
            .send_if_modified(|status| match status.state.after(event) {
                Ok(state) => {
                    status.state = state;
                    true
                }
                Err(denied) => {
                    result = Err(denied);
                    false
                }
            });
        result
    }

    /// Wakes those who follow the container: something of its live part has changed.
    pub(crate) fn touch(&self) {
        self.status.send_modify(|_| {});
    }

    fn change(&self, status: &Status) -> Change {
        Change::SetStatus {
            id: self.definition.id.to_string(),
            status: to_json(status),
        }
    }

    /// The record of a new container.
    pub(crate) fn addition(&self) -> Change {
        Change::AddContainer {
            id: self.definition.id.to_string(),
            definition: to_json(&self.definition),
            status: to_json(&*self.status()),
        }
    }

    /// What events of this container carry: its labels, image and name.
    pub(crate) fn attributes(&self) -> BTreeMap<String, String> {
        let mut attributes = self.definition.config.labels.clone().unwrap_or_default();
        attributes.insert("image".to_owned(), self.definition.image_name.clone());
        attributes.insert("name".to_owned(), self.status().name.to_string());
        attributes
    }

    pub(crate) fn tty(&self) -> bool {
        self.definition.config.tty
    }
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("records are plain data with text keys")
}

/// Where a container's files are.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    pub(crate) data_root: PathBuf,
    pub(crate) exec_root: PathBuf,
}

impl Places {
    /// Directories of all containers.
    pub(crate) fn containers(&self) -> PathBuf {
        self.data_root.join("containers")
    }

    /// What a container has beside its snapshot: log, exit status, network files.
    pub(crate) fn container(&self, id: ContainerId) -> PathBuf {
        self.containers().join(id.to_string())
    }

    pub(crate) fn log(&self, id: ContainerId) -> PathBuf {
        self.container(id).join(format!("{id}-json.log"))
    }

    /// Memory that containers share with others.
    pub(crate) fn shared_memory(&self) -> PathBuf {
        self.exec_root.join("shm")
    }

    /// Sockets of all shims.
    pub(crate) fn shims(&self) -> PathBuf {
        self.exec_root.join("shims")
    }

    pub(crate) fn shim(&self, id: ContainerId) -> PathBuf {
        self.shims().join(id.to_string())
    }

    pub(crate) fn records(&self) -> PathBuf {
        self.data_root.join(crate::records::FILE)
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.data_root.join("store")
    }

    pub(crate) fn volumes(&self) -> PathBuf {
        self.data_root.join("volumes")
    }

    pub(crate) fn trash(&self) -> PathBuf {
        self.data_root.join("trash")
    }
}

/// Words a state that does not allow an operation.
pub(crate) fn refuse(container: &Container, denied: Denied) -> Error {
    let id = container.id();
    match denied {
        Denied::Running => Error::conflict(format!("container {id} is running")),
        Denied::Starting => Error::conflict(format!("container {id} is being started")),
        Denied::Paused => Error::conflict(format!(
            "Container {id} is paused. Unpause the container before stopping or killing"
        )),
        Denied::NotPaused => Error::conflict(format!("Container {id} is not paused")),
        Denied::NotRunning => Error::conflict(format!("container {id} is not running")),
        Denied::Removing => {
            Error::conflict(format!("removal of container {id} is already in progress"))
        }
        Denied::Dead => Error::conflict(format!(
            "container {id} is marked for removal and cannot be started"
        )),
        Denied::Removed => Error::not_found(format!("No such container: {id}")),
    }
}
