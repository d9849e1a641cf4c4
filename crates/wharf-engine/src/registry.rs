//! All containers, by id and by name.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use wharf_types::{ContainerId, ContainerName, MADE_UP_ATTEMPTS};

use crate::container::Container;
use crate::error::Error;

/// The containers. A name is taken from the moment it is reserved, before its container exists.
#[derive(Debug, Default)]
pub(crate) struct Registry(RwLock<Tables>);

#[derive(Debug, Default)]
struct Tables {
    containers: BTreeMap<ContainerId, Arc<Container>>,
    names: HashMap<ContainerName, ContainerId>,
}

impl Registry {
    fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Tables> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds a container by id, name or unique beginning of its id, in this order.
    pub(crate) fn find(&self, name: &str) -> Result<Arc<Container>, Error> {
        let tables = self.read();
        let missing = || Error::not_found(format!("No such container: {name}"));
        if let Ok(id) = name.parse::<ContainerId>()
            && let Some(container) = tables.containers.get(&id)
        {
            return Ok(Arc::clone(container));
        }
        if let Ok(known) = name.parse::<ContainerName>()
            && let Some(id) = tables.names.get(&known)
        {
            return tables
                .containers
                .get(id)
                .map(Arc::clone)
                .ok_or_else(missing);
        }
        let is_prefix = !name.is_empty()
            && name.len() < 64
            && name
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if !is_prefix {
            return Err(missing());
        }
        let first: ContainerId = format!("{name:0<64}").parse().map_err(|_| missing())?;
        let from = (Bound::Included(first), Bound::Unbounded);
        let mut found = (tables.containers.range(from))
            .take_while(|(id, _)| id.to_string().starts_with(name))
            .map(|(_, container)| container);
        let container = found.next().ok_or_else(missing)?;
        match found.next() {
            None => Ok(Arc::clone(container)),
            Some(_) => Err(Error::invalid(format!(
                "Multiple IDs found with provided prefix: {name}"
            ))),
        }
    }

    /// Finds a container by its id.
    pub(crate) fn get(&self, id: ContainerId) -> Option<Arc<Container>> {
        self.read().containers.get(&id).map(Arc::clone)
    }

    /// Returns all containers.
    pub(crate) fn all(&self) -> Vec<Arc<Container>> {
        self.read().containers.values().map(Arc::clone).collect()
    }

    /// Reserves a name for a container to come, or makes one up.
    pub(crate) fn reserve(
        &self,
        name: Option<&ContainerName>,
        id: ContainerId,
    ) -> Result<ContainerName, Error> {
        let mut tables = self.write();
        let name = match name {
            Some(name) => {
                if let Some(holder) = tables.names.get(name) {
                    return Err(taken(name, *holder));
                }
                name.clone()
            }
            None => {
                let free = |name: &ContainerName| !tables.names.contains_key(name);
                let made_up = (0..MADE_UP_ATTEMPTS).map(ContainerName::made_up).find(free);
                // An id is a name too, and nobody has this one.
                let from_id = || id.short().parse();
                match made_up {
                    Some(name) => name,
                    None => from_id().map_err(|error| Error::internal("cannot name it", error))?,
                }
            }
        };
        tables.names.insert(name.clone(), id);
        Ok(name)
    }

    /// Gives a reserved name back.
    pub(crate) fn release(&self, name: &ContainerName) {
        self.write().names.remove(name);
    }

    /// Makes a container known; its name is reserved.
    pub(crate) fn insert(&self, container: Arc<Container>) {
        let name = container.status().name.clone();
        let mut tables = self.write();
        tables.names.insert(name, container.id());
        tables.containers.insert(container.id(), container);
    }

    /// Forgets a container and its name.
    pub(crate) fn remove(&self, container: &Container) {
        let name = container.status().name.clone();
        let mut tables = self.write();
        tables.names.remove(&name);
        tables.containers.remove(&container.id());
    }
}

fn taken(name: &ContainerName, holder: ContainerId) -> Error {
    Error::conflict(format!(
        "Conflict. The container name \"/{name}\" is already in use by container \"{holder}\". You have to \
         remove (or rename) that container to be able to reuse that name."
    ))
}
