//! Making a container: a record, a snapshot, a directory.
//!
//! Nothing runs and nothing is mounted. The request is checked whole first; then the name is
//! reserved; then snapshot and directory are made, which bear the container's id, so that recovery
//! knows them for orphans if the record does not follow; and the record's commit is the moment the
//! container exists.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use wharf_types::failpoint;
use wharf_types::{ContainerId, ContainerName};
use wharf_wire as wire;

use crate::container::{Container, Definition, Status, Wanted};
use crate::error::Error;
use crate::inner::Inner;
use crate::mounts::{self, Mount, Volume};
use crate::records::Durability;
use crate::security::Security;
use crate::state::State;
use crate::userns::{Caller, Claim};

pub(crate) mod check;
mod merge;

impl Inner {
    /// See [`crate::Engine::create`].
    pub(crate) async fn create(
        self: &Arc<Self>,
        name: Option<&str>,
        body: wire::ContainerCreateBody,
        caller: Option<Caller>,
    ) -> Result<wire::ContainerCreated, Error> {
        let name = name.map(str::parse::<ContainerName>).transpose();
        let name = name.map_err(|error| Error::invalid(error.to_string()))?;
        let id = ContainerId::random();
        let (definition, warnings, _claim) = self.define(id, body, caller)?;
        let reserved = self.registry.reserve(name.as_ref(), id)?;
        let status = Status {
            name: reserved.clone(),
            state: State::Created(None),
            wanted: Wanted::Stopped,
            run: 0,
            restarts: 0,
            short_runs: 0,
            exits: 0,
            committing: None,
            endpoint: None,
            health: None,
            unapplied: None,
        };
        let container = Arc::new(Container::new(definition, status));
        let inner = Arc::clone(self);
        let made = Arc::clone(&container);
        // One hop to a thread that may block; the commit is waited for there too.
        let result = self.blocking(move || inner.establish(&made)).await;
        if let Err(error) = result {
            self.registry.release(&reserved);
            return Err(error);
        }
        self.registry.insert(Arc::clone(&container));
        self.tell(&container, "create");
        Ok(wire::ContainerCreated {
            id: id.to_string(),
            warnings,
        })
    }

    /// Decides everything about a container to come. The claim is to be kept until it is registered.
    fn define(
        &self,
        id: ContainerId,
        body: wire::ContainerCreateBody,
        caller: Option<Caller>,
    ) -> Result<(Definition, Vec<String>, Option<Claim>), Error> {
        let mut config = body.config;
        let mut host = body.host_config;
        check::check_config(&config)?;
        check::check_networking(body.networking_config.as_ref())?;
        let unsaid = self.defaults();
        unsaid.fill(&mut host);
        let warnings = check::check_host(&mut host, &config, &self.controllers)?;
        let claim = self
            .user_namespaces
            .decide(id, &host, &mut config, caller, &self.registry)?;
        let (image, parsed) = self.images.for_container(&config.image)?;
        let defaults = &parsed.config.config;
        let command = merge::merge(&mut config, defaults)?;
        check::check_config(&config)?;
        Security::read(&host, &unsaid)?;
        if config.hostname.is_empty() && host.uts_mode != "host" {
            config.hostname = id.short();
        }
        if !host.privileged {
            host.masked_paths
                .get_or_insert_with(crate::spec::masked_paths);
            host.readonly_paths
                .get_or_insert_with(crate::spec::readonly_paths);
        }
        let volumes = config.volumes.iter().flat_map(|volumes| volumes.keys());
        let volumes: Vec<String> = volumes.chain(defaults.volumes.keys()).cloned().collect();
        let mut make_volume = |target: &Path| self.new_volume(target);
        let mounts = mounts::read(&host, volumes.into_iter(), &mut make_volume)?;
        let definition = Definition {
            id,
            created: Timestamp::now(),
            image,
            image_name: config.image.clone(),
            command,
            config,
            host,
            mounts,
            user_namespace: claim.as_ref().map(|claim| claim.mapping().clone()),
        };
        Ok((definition, warnings, claim))
    }

    fn new_volume(&self, target: &Path) -> Volume {
        // A name of its own, as random as a container's id.
        let name = ContainerId::random().to_string();
        Volume {
            source: self.places.volumes().join(&name).join("_data"),
            name,
            target: target.to_owned(),
        }
    }

    /// Makes what a container has on the disk, and puts it on record.
    fn establish(&self, container: &Container) -> Result<(), Error> {
        let result = self.make_files(container).and_then(|()| {
            failpoint::hit("engine.create.files-made");
            self.records
                .commit(vec![container.addition()], Durability::Machine)
                .wait()
                .map_err(|error| Error::internal("cannot create the container", error))
        });
        failpoint::hit("engine.create.recorded");
        if result.is_err() {
            self.discard_files(container);
        }
        result
    }

    fn make_files(&self, container: &Container) -> Result<(), Error> {
        let snapshot = container.snapshot();
        failpoint::hit("engine.create.begun");
        self.store
            .create_snapshot(&snapshot, &container.definition.image)
            .map_err(|error| Error::internal("cannot make the container's root", error))?;
        failpoint::hit("engine.create.snapshot-made");
        let directory = self.places.container(container.id());
        let made = DirBuilder::new().mode(0o710).create(&directory);
        made.map_err(|error| {
            Error::internal(format!("cannot make {}", directory.display()), error)
        })?;
        for mount in &container.definition.mounts {
            if let Mount::Volume(volume) = mount {
                self.make_volume(container, volume)?;
            }
        }
        Ok(())
    }

    /// Undoes [`Self::make_files`] as far as it came.
    fn discard_files(&self, container: &Container) {
        if let Err(error) = self.store.remove_snapshot(&container.snapshot()) {
            tracing::error!(container.id = %container.id(), %error, "a snapshot is left");
        }
        self.discard_directories(container);
        self.empty_trash_soon();
    }
}
