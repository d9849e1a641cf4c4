//! Removing a container, and renaming one.
//!
//! *removing* is on record first; then the process is ended, the snapshot and the container's
//! directory are renamed to the trash, and the record goes. From then on nothing is left but what
//! the trash's task deletes. Each step may be done again, which is what recovery does.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use wharf_types::ContainerName;
use wharf_types::failpoint;
use wharf_wire as wire;

use crate::container::{Container, Wanted, refuse};
use crate::error::{Error, ErrorKind};
use crate::inner::Inner;
use crate::records::{Commit, Durability};
use crate::state::{Denied, Event};

/// How often a container is ended to be removed, when its policy starts it at the same time.
const ATTEMPTS_MAX: u32 = 3;

impl Inner {
    /// See [`crate::Engine::remove`].
    pub(crate) async fn remove(
        self: &Arc<Self>,
        container: &Arc<Container>,
        query: wire::RemoveQuery,
    ) -> Result<(), Error> {
        if query.link {
            return Err(Error::not_implemented("removing links is not supported"));
        }
        let mut attempts = 0;
        loop {
            self.settled(container).await;
            let running = container.status().state.running().is_some();
            if running {
                self.end_for_removal(container, query.force).await?;
            }
            let removed = self.remove_ended(container, query.volumes, Durability::Machine);
            match removed.await {
                // Its policy had started it again in between; it does so no more.
                Err(error)
                    if query.force
                        && error.kind() == ErrorKind::Conflict
                        && attempts < ATTEMPTS_MAX =>
                {
                    attempts += 1;
                }
                result => return result,
            }
        }
    }

    async fn end_for_removal(
        self: &Arc<Self>,
        container: &Arc<Container>,
        force: bool,
    ) -> Result<(), Error> {
        if !force {
            let name = container.status().name.clone();
            let state = container.status().state.name();
            return Err(Error::conflict(format!(
                "cannot remove container \"/{name}\": container is {state}: stop the container before \
                 removing or force remove"
            )));
        }
        // Its policy must not start it again in between, and nobody removes it a second time.
        container
            .amend(&self.records, Durability::Engine, |status| {
                status.wanted = Wanted::Stopped;
            })
            .in_background();
        let exits = container.status().exits;
        self.tell_with(container, "kill", &[("signal", "9".to_owned())]);
        self.kill_and_wait(container, exits).await
    }

    /// Removes a container that does not run.
    pub(crate) async fn remove_ended(
        self: &Arc<Self>,
        container: &Arc<Container>,
        volumes: bool,
        durability: Durability,
    ) -> Result<(), Error> {
        let begun = self.begin_removal(container, volumes);
        match begun {
            // Before anything is taken away: a half of a container would be worse than a whole one.
            Ok(Some(commit)) => commit.done().await.map_err(|error| {
                self.removal_failed(
                    container,
                    Error::internal("cannot remove the container", error),
                )
            })?,
            Ok(None) => {}
            // With --rm a container is removed when it ends; whoever asks for it meanwhile gets
            // what they want.
            Err(Denied::Removing) if container.definition.host.auto_remove => {
                let gone = crate::stop::wait(Arc::clone(container), wire::WaitCondition::Removed);
                gone.await;
                return Ok(());
            }
            Err(denied) => return Err(refuse(container, denied)),
        }
        failpoint::hit("engine.remove.recorded");
        container.live().waiting.clear();
        let inner = Arc::clone(self);
        let target = Arc::clone(container);
        let removed = self
            .blocking(move || inner.remove_everything(&target, volumes, durability))
            .await;
        // What its last run had in the kernel goes at the same time: who is told that the container is
        // removed finds no mount and no cgroup of it.
        self.released(container).await;
        match removed {
            Ok(()) => {
                self.tell(container, "destroy");
                self.registry.remove(container);
                container
                    .publish(Event::Removed)
                    .map_err(|denied| refuse(container, denied))?;
                self.empty_trash_soon();
                Ok(())
            }
            Err(error) => Err(self.removal_failed(container, error)),
        }
    }

    /// Takes a container for its removal. That one removed as it ends is being removed need not be put on
    /// record: its end is, and stands for it.
    fn begin_removal(
        &self,
        container: &Container,
        volumes: bool,
    ) -> Result<Option<Commit>, Denied> {
        let has_ended = container.status().state.ended().is_some();
        if has_ended && volumes && container.definition.host.auto_remove {
            return container.publish(Event::Remove).map(|()| None);
        }
        let event = Event::Remove;
        container
            .transition(&self.records, Durability::Engine, event, |status| {
                status.takes_volumes = volumes;
            })
            .map(Some)
    }

    /// Leaves a container dead: removing it again is all that can be done with it.
    fn removal_failed(&self, container: &Container, error: Error) -> Error {
        let failed = Event::RemoveFailed;
        let dead = container.transition(&self.records, Durability::Engine, failed, |_| {});
        dead.map(crate::records::Commit::in_background).ok();
        let name = container.status().name.clone();
        Error::internal(format!("container {name} is left dead"), error)
    }

    /// Takes a container's files away and its record off; blocks.
    pub(crate) fn remove_everything(
        &self,
        container: &Container,
        volumes: bool,
        durability: Durability,
    ) -> Result<(), Error> {
        let snapshot = container.snapshot();
        self.store
            .remove_snapshot(&snapshot)
            .map_err(|error| Error::internal("cannot remove the container's root", error))?;
        failpoint::hit("engine.remove.snapshot-gone");
        let directory = self.places.container(container.id());
        discard(&directory, &self.places.trash()).map_err(|error| {
            Error::internal(format!("cannot remove {}", directory.display()), error)
        })?;
        failpoint::hit("engine.remove.files-gone");
        self.forget_container(container, volumes, durability)
    }

    /// Takes away a container's directory and volumes, after a creation that failed.
    pub(crate) fn discard_directories(&self, container: &Container) {
        let directory = self.places.container(container.id());
        if let Err(error) = discard(&directory, &self.places.trash()) {
            tracing::error!(container.id = %container.id(), %error, "its directory is left");
        }
        self.abandon_volumes(container);
    }

    /// See [`crate::Engine::rename`].
    pub(crate) async fn rename(&self, container: &Container, new: &str) -> Result<(), Error> {
        let new: ContainerName = new
            .parse()
            .map_err(|error: wharf_types::NameError| Error::invalid(error.to_string()))?;
        let old = container.status().name.clone();
        if old == new {
            return Err(Error::invalid(
                "Renaming a container with the same name as its current name",
            ));
        }
        self.registry.reserve(Some(&new), container.id())?;
        let commit = container.amend(&self.records, Durability::Machine, |status| {
            status.name = new.clone();
        });
        if let Err(error) = commit.done().await {
            container
                .amend(&self.records, Durability::Engine, |status| {
                    status.name = old.clone();
                })
                .in_background();
            self.registry.release(&new);
            return Err(Error::internal("cannot rename the container", error));
        }
        failpoint::hit("engine.rename.recorded");
        self.registry.release(&old);
        self.tell_with(container, "rename", &[("oldName", format!("/{old}"))]);
        Ok(())
    }
}

/// Renames a directory into the trash; gone already is fine.
pub(crate) fn discard(directory: &Path, trash: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(trash) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let name = wharf_types::ContainerId::random().to_string();
    match fs::rename(directory, trash.join(name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Deletes what is in the trash.
pub(crate) fn empty(trash: &Path) {
    let Ok(entries) = fs::read_dir(trash) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if let Err(error) = fs::remove_dir_all(&path) {
            tracing::warn!(path = %path.display(), %error, "something removed is not deleted");
        }
    }
}
