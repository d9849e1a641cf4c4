//! Making, using and removing volumes.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use wharf_types::{VolumeName, failpoint};

use super::fill::{self, Place};
use super::{Binding, DATA, Volume, Wish};
use crate::container::Container;
use crate::error::Error;
use crate::inner::Inner;
use crate::mounts::Mount;
use crate::records::{Change, Durability};

impl Inner {
    /// Returns a volume of the wished name, made when there is none. Blocks.
    pub(super) fn ensure_volume(
        &self,
        wish: Wish,
        user: Option<&Container>,
    ) -> Result<Arc<Volume>, Error> {
        Binding::read(&wish.name, &wish.options)?;
        let _changing = self.volumes.changing();
        let user = user.map(Container::id);
        let found = match user {
            Some(user) => self.volumes.hold(&wish.name, user),
            None => self.volumes.get(&wish.name),
        };
        if let Some(found) = found {
            return Ok(found);
        }
        let volume = Volume::wished(wish);
        self.make_directories(&volume.name)?;
        failpoint::hit("engine.volume.made");
        let commit = (self.records).commit(vec![volume.addition()], Durability::Machine);
        let recorded = commit.wait();
        failpoint::hit("engine.volume.recorded");
        if let Err(error) = recorded {
            self.discard_volume(&volume.name);
            return Err(Error::internal(
                format!("cannot make the volume {}", volume.name),
                error,
            ));
        }
        let volume = self.volumes.insert(volume, user);
        self.tell_volume("create", &volume.name);
        Ok(volume)
    }

    fn make_directories(&self, name: &VolumeName) -> Result<(), Error> {
        let volumes = self.places.volumes();
        let directory = volumes.join(name.as_str());
        // What has no record is rubbish, also of the same name.
        let cleared = crate::remove::discard(&directory, &self.places.trash());
        let make = |mode: u32, path: &Path| DirBuilder::new().mode(mode).create(path);
        let made = cleared.and_then(|()| {
            let made = DirBuilder::new()
                .recursive(true)
                .mode(0o701)
                .create(&volumes);
            made.and_then(|()| make(0o701, &directory))
                .and_then(|()| make(0o755, &directory.join(DATA)))
        });
        made.map_err(|error| Error::internal(format!("cannot make the volume {name}"), error))
    }

    /// Makes and fills the volumes a new container needs. Those with a name are on record after
    /// this; for those without, the changes to record along with the container are returned.
    pub(crate) fn prepare_volumes(
        &self,
        container: &Container,
        wishes: &[Wish],
    ) -> Result<Vec<Change>, Error> {
        let mut changes = Vec::new();
        for mount in &container.definition.mounts {
            let Mount::Volume(mounted) = mount else {
                continue;
            };
            let wish = wishes.iter().find(|wish| wish.name == mounted.name);
            let binding = match wish {
                Some(wish) if wish.anonymous => {
                    let binding = Binding::read(&wish.name, &wish.options)?;
                    self.make_directories(&wish.name)?;
                    changes.push(Volume::wished(wish.clone()).addition());
                    binding
                }
                Some(wish) => {
                    let volume = self.ensure_volume(wish.clone(), Some(container))?;
                    Binding::read(&volume.name, &volume.options)?
                }
                // Lent by another container, whose removal may have taken it away meanwhile.
                None => {
                    let held = self.volumes.hold(&mounted.name, container.id());
                    held.ok_or_else(|| no_such_volume(&mounted.name))?;
                    continue;
                }
            };
            if mounted.copy {
                self.fill_volume(container, mounted, binding.as_ref())?;
            }
        }
        Ok(changes)
    }

    fn fill_volume(
        &self,
        container: &Container,
        mounted: &crate::mounts::Volume,
        binding: Option<&Binding>,
    ) -> Result<(), Error> {
        let root = self
            .store
            .view(&container.snapshot())
            .map_err(|error| Error::internal("cannot look at the container's root", error))?;
        let failed = |error: io::Error| {
            let name = &mounted.name;
            Error::internal(format!("cannot fill the volume {name}"), error)
        };
        let users = self.volumes.users(&mounted.name).unwrap_or_default();
        let others = users.iter().any(|user| *user != container.id());
        // A directory inside a volume is not the image's to fill, nor is one of the host's for a
        // container with ids of its own: its files would belong to the host's root.
        let foreign = binding.is_some() && container.definition.user_namespace.is_some();
        if mounted.subpath.is_some() || foreign {
            return Ok(());
        }
        let (directory, place) = match binding {
            Some(binding) => (&binding.device, Place::Shared),
            None if others => (&mounted.source, Place::Shared),
            None => (&mounted.source, Place::Own),
        };
        fill::fill(&root, &mounted.target, directory, place).map_err(failed)
    }

    /// The container is on record, and its nameless volumes with it.
    pub(crate) fn settle_volumes(&self, container: &Container, wishes: Vec<Wish>) {
        for wish in wishes.into_iter().filter(|wish| wish.anonymous) {
            let name = wish.name.clone();
            self.volumes
                .insert(Volume::wished(wish), Some(container.id()));
            self.tell_volume("create", &name);
        }
    }

    /// The container could not be made: what was made for it alone goes.
    pub(crate) fn abandon_volumes(&self, container: &Container) {
        self.volumes.release(container.id());
        let mounts = container.definition.mounts.iter();
        for volume in mounts.filter_map(Mount::volume) {
            if volume.anonymous && self.volumes.get(&volume.name).is_none() {
                self.discard_volume(&volume.name);
            }
        }
    }

    /// Takes a container's record off, and with `along` the records of its nameless volumes that
    /// nobody else uses; then their directories.
    pub(crate) fn forget_container(
        &self,
        container: &Container,
        along: bool,
        durability: Durability,
    ) -> Result<(), Error> {
        let _changing = self.volumes.changing();
        let id = container.id();
        let going: Vec<VolumeName> = self
            .own_volumes(container)
            .into_iter()
            .filter(|_| along)
            .collect();
        let mut changes: Vec<Change> = going.iter().map(Volume::removal).collect();
        changes.push(Change::RemoveContainer { id: id.to_string() });
        let recorded = self.records.commit(changes, durability).wait();
        failpoint::hit("engine.remove.forgotten");
        recorded.map_err(|error| Error::internal("cannot remove the container", error))?;
        self.volumes.release(id);
        for name in going {
            self.volumes.forget(&name);
            self.discard_volume(&name);
            self.tell_volume("destroy", &name);
        }
        Ok(())
    }

    /// Nameless volumes of a container that nobody else uses.
    fn own_volumes(&self, container: &Container) -> Vec<VolumeName> {
        let mounts = container.definition.mounts.iter();
        let nameless = mounts
            .filter_map(Mount::volume)
            .filter(|volume| volume.anonymous);
        let mut names: Vec<VolumeName> = nameless
            .filter(|volume| {
                let users = self.volumes.users(&volume.name).unwrap_or_default();
                users.iter().all(|user| *user == container.id())
            })
            .map(|volume| volume.name.clone())
            .collect();
        names.dedup();
        names
    }

    /// Removes a volume that nobody uses. Blocks.
    pub(super) fn drop_volume(&self, name: &VolumeName) -> Result<(), Error> {
        let _changing = self.volumes.changing();
        let users = self.volumes.users(name);
        let users = users.ok_or_else(|| no_such_volume(name))?;
        if !users.is_empty() {
            let users: Vec<String> = users.iter().map(ToString::to_string).collect();
            return Err(Error::conflict(format!(
                "remove {name}: volume is in use - [{}]",
                users.join(", ")
            )));
        }
        let commit = (self.records).commit(vec![Volume::removal(name)], Durability::Machine);
        let recorded = commit.wait();
        failpoint::hit("engine.volume.forgotten");
        recorded.map_err(|error| Error::internal(format!("cannot remove {name}"), error))?;
        self.volumes.forget(name);
        self.discard_volume(name);
        self.tell_volume("destroy", name);
        self.empty_trash_soon();
        Ok(())
    }

    fn discard_volume(&self, name: &VolumeName) {
        let directory = self.places.volumes().join(name.as_str());
        if let Err(error) = crate::remove::discard(&directory, &self.places.trash()) {
            tracing::error!(volume = %name, %error, "a volume's directory is left");
        }
    }

    /// Removes what belongs to no volume, and copies that were not finished.
    pub(crate) fn remove_orphan_volumes(&self) -> io::Result<()> {
        let volumes = self.places.volumes();
        let Ok(entries) = std::fs::read_dir(&volumes) else {
            // No volume was ever made.
            return Ok(());
        };
        for entry in entries {
            let entry = entry?;
            let known = entry
                .file_name()
                .to_str()
                .is_some_and(|name| self.volumes.knows(name));
            if known {
                fill::remove(&entry.path().join(fill::COPY))?;
            } else {
                crate::remove::discard(&entry.path(), &self.places.trash())?;
            }
        }
        Ok(())
    }

    /// Tells that a container that starts, or has ended, has its volumes, or had.
    pub(crate) fn tell_volumes(&self, container: &Container, action: &str) {
        for mount in &container.definition.mounts {
            let Mount::Volume(volume) = mount else {
                continue;
            };
            let mut attributes = vec![("container", container.id().to_string())];
            if action == "mount" {
                attributes.extend([
                    ("destination", volume.target.display().to_string()),
                    ("propagation", String::new()),
                    ("read/write", (!volume.read_only).to_string()),
                ]);
            }
            self.tell_volume_with(action, &volume.name, &attributes);
        }
    }

    pub(super) fn tell_volume(&self, action: &str, name: &VolumeName) {
        self.tell_volume_with(action, name, &[]);
    }

    fn tell_volume_with(&self, action: &str, name: &VolumeName, more: &[(&str, String)]) {
        let driver = [("driver", "local".to_owned())];
        let attributes = driver.iter().chain(more);
        let attributes = attributes.map(|(key, value)| ((*key).to_owned(), value.clone()));
        self.events
            .tell("volume", action, name.as_str(), attributes.collect());
    }
}

pub(super) fn no_such_volume(name: &VolumeName) -> Error {
    Error::not_found(format!("get {name}: no such volume"))
}
