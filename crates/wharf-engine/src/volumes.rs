//! Volumes: directories below the data root that outlive containers.
//!
//! A volume is a directory `volumes/<name>/_data` and a record. The directory is made first and the
//! record's commit is the moment the volume exists; a removal takes the record away first. So what
//! has no record is rubbish, which recovery throws away, and what has one is whole.
//!
//! Volumes without a name belong to the container they were made for: they are recorded in the
//! commit that records the container, and may go with it. Volumes with a name are recorded before
//! their container, and stay.
//!
//! Containers that mention a volume use it, running or not; a volume that is used is not removed.
//! Making and removing volumes are one at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wharf_types::{ContainerId, VolumeName};

use crate::container::Container;
use crate::records::Change;

mod answers;
mod copy;
mod fill;
mod lifecycle;
mod options;
mod size;

pub(crate) use options::Binding;

/// Name of the directory that containers get, inside a volume's own.
const DATA: &str = "_data";
/// Label of volumes without a name, as Docker marks them.
const ANONYMOUS_LABEL: &str = "com.docker.volume.anonymous";

/// The directory of a volume that containers get.
pub(crate) fn data(volumes: &Path, name: &VolumeName) -> PathBuf {
    volumes.join(name.as_str()).join(DATA)
}

/// A volume that is to be, unless it is already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) name: VolumeName,
    pub(crate) anonymous: bool,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) options: BTreeMap<String, String>,
}

impl Wish {
    pub(crate) fn named(name: VolumeName) -> Self {
        Self {
            name,
            anonymous: false,
            labels: BTreeMap::new(),
            options: BTreeMap::new(),
        }
    }
}

/// A volume as it is on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Volume {
    pub(crate) name: VolumeName,
    pub(crate) created: Timestamp,
    pub(crate) anonymous: bool,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) options: BTreeMap<String, String>,
}

impl Volume {
    fn wished(wish: Wish) -> Self {
        let mut labels = wish.labels;
        if wish.anonymous {
            labels.insert(ANONYMOUS_LABEL.to_owned(), String::new());
        }
        Self {
            name: wish.name,
            created: Timestamp::now(),
            anonymous: wish.anonymous,
            labels,
            options: wish.options,
        }
    }

    fn addition(&self) -> Change {
        Change::AddVolume {
            name: self.name.to_string(),
            value: serde_json::to_string(self).expect("records are plain data with text keys"),
        }
    }

    fn removal(name: &VolumeName) -> Change {
        Change::RemoveVolume {
            name: name.to_string(),
        }
    }
}

/// All volumes on record, and who uses them.
#[derive(Debug, Default)]
pub(crate) struct Volumes {
    table: Mutex<BTreeMap<VolumeName, Entry>>,
    /// Held by whoever makes or removes a volume, over its files and its record.
    changing: Mutex<()>,
}

#[derive(Debug)]
struct Entry {
    volume: Arc<Volume>,
    users: BTreeSet<ContainerId>,
}

impl Volumes {
    /// Takes what is on record.
    pub(crate) fn read(
        recorded: &[(String, String)],
        containers: &[Arc<Container>],
    ) -> Result<Self, serde_json::Error> {
        let mut table = BTreeMap::new();
        for (_, value) in recorded {
            let volume: Volume = serde_json::from_str(value)?;
            let entry = Entry {
                volume: Arc::new(volume),
                users: BTreeSet::new(),
            };
            table.insert(entry.volume.name.clone(), entry);
        }
        for container in containers {
            for name in used(container) {
                if let Some(entry) = table.get_mut(name) {
                    entry.users.insert(container.id());
                }
            }
        }
        Ok(Self {
            table: Mutex::new(table),
            changing: Mutex::new(()),
        })
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<VolumeName, Entry>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, name: &VolumeName) -> Option<Arc<Volume>> {
        let table = self.table();
        table.get(name).map(|entry| Arc::clone(&entry.volume))
    }

    /// Whether there is a volume of this name.
    pub(crate) fn knows(&self, name: &str) -> bool {
        let name = name.parse::<VolumeName>();
        name.is_ok_and(|name| self.table().contains_key(&name))
    }

    /// All volumes, each with the number of its users, in the order of their names.
    pub(crate) fn all(&self) -> Vec<(Arc<Volume>, usize)> {
        let table = self.table();
        let entries = table.values();
        entries
            .map(|entry| (Arc::clone(&entry.volume), entry.users.len()))
            .collect()
    }

    fn insert(&self, volume: Volume, user: Option<ContainerId>) -> Arc<Volume> {
        let volume = Arc::new(volume);
        let entry = Entry {
            volume: Arc::clone(&volume),
            users: user.into_iter().collect(),
        };
        self.table().insert(volume.name.clone(), entry);
        volume
    }

    /// Notes a user of a volume that is there.
    fn hold(&self, name: &VolumeName, user: ContainerId) -> Option<Arc<Volume>> {
        let mut table = self.table();
        let entry = table.get_mut(name)?;
        entry.users.insert(user);
        Some(Arc::clone(&entry.volume))
    }

    fn release(&self, user: ContainerId) {
        for entry in self.table().values_mut() {
            entry.users.remove(&user);
        }
    }

    fn users(&self, name: &VolumeName) -> Option<BTreeSet<ContainerId>> {
        self.table().get(name).map(|entry| entry.users.clone())
    }

    fn forget(&self, name: &VolumeName) {
        self.table().remove(name);
    }
}

/// The volumes a container uses.
fn used(container: &Container) -> impl Iterator<Item = &VolumeName> {
    let mounts = container.definition.mounts.iter();
    mounts.filter_map(|mount| mount.volume().map(|volume| &volume.name))
}
