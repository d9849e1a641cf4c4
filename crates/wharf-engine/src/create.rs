//! Making a container: a record, a snapshot, a directory.
//!
//! Nothing runs and nothing is mounted. The request is checked whole first; then the name is
//! reserved; then snapshot and directory are made, which bear the container's id, so that recovery
//! knows them for orphans if the record does not follow; and the record's commit is the moment the
//! container exists.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::sync::Arc;

use jiff::Timestamp;
use wharf_types::failpoint;
use wharf_types::{ContainerId, ContainerName};
use wharf_wire as wire;

use crate::container::{Container, Definition, Status, Wanted};
use crate::error::Error;
use crate::inner::Inner;
use crate::mounts::{self, Mount, Mounts};
use crate::records::{Change, Durability};
use crate::runtimes;
use crate::security::Security;
use crate::state::State;
use crate::userns::{Caller, Claim};
use crate::volumes::Wish;

pub(crate) mod check;
mod merge;

/// A container to come, decided.
struct Defined {
    definition: Definition,
    /// Volumes it needs.
    wishes: Vec<Wish>,
    warnings: Vec<String>,
    /// Holds its users' numbers until the container is known.
    claim: Option<Claim>,
}

impl Inner {
    /// See [`crate::Engine::create`].
    pub(crate) async fn create(
        self: &Arc<Self>,
        query: &wire::CreateQuery,
        body: wire::ContainerCreateBody,
        caller: Option<Caller>,
    ) -> Result<wire::ContainerCreated, Error> {
        let name = query
            .name
            .as_deref()
            .map(str::parse::<ContainerName>)
            .transpose();
        let name = name.map_err(|error| Error::invalid(error.to_string()))?;
        let id = ContainerId::random();
        let Defined {
            definition,
            wishes,
            warnings,
            claim: _claim,
        } = self.define(id, &query.platform, body, caller)?;
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
            takes_volumes: false,
            unapplied: None,
        };
        let container = Arc::new(Container::new(definition, status));
        let inner = Arc::clone(self);
        let made = Arc::clone(&container);
        // One hop to a thread that may block; the commit is waited for there too.
        let result = self.blocking(move || inner.establish(&made, wishes)).await;
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
        platform: &str,
        body: wire::ContainerCreateBody,
        caller: Option<Caller>,
    ) -> Result<Defined, Error> {
        let mut config = body.config;
        let mut host = body.host_config;
        check::check_config(&config)?;
        check::check_networking(body.networking_config.as_ref())?;
        let unsaid = self.defaults();
        unsaid.fill(&mut host);
        let mut warnings = check::check_host(&mut host, &config, &self.controllers)?;
        crate::cdi::check(&host, &self.config.cdi_directories)?;
        self.resolve_lenders(&mut host)?;
        let claim = self
            .user_namespaces
            .decide(id, &host, &mut config, caller, &self.registry)?;
        if runtimes::find(&host.runtime, &unsaid)?.is_some() && claim.is_some() {
            return Err(Error::not_implemented(format!(
                "a user namespace needs the engine's own runtime, not {}",
                host.runtime
            )));
        }
        let (image, parsed) = self.images.for_container(&config.image, platform)?;
        warnings.extend(crate::images::foreign(&parsed).filter(|_| platform.is_empty()));
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
        let Mounts { mounts, wishes } = mounts::read(mounts::Request {
            host: &host,
            volumes,
            donated: self.donated(&host)?,
            directory: &self.places.volumes(),
        })?;
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
        Ok(Defined {
            definition,
            wishes,
            warnings,
            claim,
        })
    }

    /// Looks up the containers whose namespaces it is to share; that of the network is known by its
    /// id from then on.
    fn resolve_lenders(&self, host: &mut wire::HostConfig) -> Result<(), Error> {
        // "Not found" would be the image to clients.
        let find = |name: &str| {
            let found = self.registry.find(name);
            found.map_err(|error| Error::invalid(error.to_string()))
        };
        for mode in [&host.pid_mode, &host.ipc_mode] {
            if let Some(name) = check::modes::joined(mode) {
                find(name)?;
            }
        }
        if let Some(name) = check::modes::joined(&host.network_mode) {
            host.network_mode = format!("container:{}", find(name)?.id());
        }
        Ok(())
    }

    /// What `--volumes-from` brings, and whether it is read-only here.
    fn donated(&self, host: &wire::HostConfig) -> Result<Vec<(Mount, bool)>, Error> {
        let mut donated = Vec::new();
        for text in host.volumes_from.iter().flatten() {
            let (name, read_only) = mounts::volumes_from(text)?;
            // "Not found" would be the image to clients.
            let donor = self.registry.find(name);
            let donor = donor.map_err(|error| Error::invalid(error.to_string()))?;
            for mount in &donor.definition.mounts {
                if !matches!(mount, Mount::Tmpfs { .. }) {
                    donated.push((mount.clone(), read_only));
                }
            }
        }
        Ok(donated)
    }

    /// Makes what a container has on the disk, and puts it on record.
    fn establish(&self, container: &Container, wishes: Vec<Wish>) -> Result<(), Error> {
        let result = self.make_files(container, &wishes).and_then(|mut changes| {
            failpoint::hit("engine.create.files-made");
            // A volume may outlast the container.
            let durability = match changes.is_empty() {
                true => container.definition.durability(),
                false => Durability::Machine,
            };
            changes.push(container.addition());
            self.records
                .commit(changes, durability)
                .wait()
                .map_err(|error| Error::internal("cannot create the container", error))
        });
        failpoint::hit("engine.create.recorded");
        match &result {
            Ok(()) => self.settle_volumes(container, wishes),
            Err(_) => self.discard_files(container),
        }
        result
    }

    /// Returns what is to be recorded along with the container.
    fn make_files(&self, container: &Container, wishes: &[Wish]) -> Result<Vec<Change>, Error> {
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
        self.prepare_volumes(container, wishes)
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
