//! What the engine answers about itself: info, use of the disk, and the accounts of the data root.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use wharf_store::Roots;
use wharf_types::Digest;
use wharf_wire as wire;

use crate::container::Container;
use crate::error::Error;
use crate::images::Use;
use crate::inner::Inner;
use crate::state::State;

impl Inner {
    pub(crate) fn info(&self) -> wire::SystemInfo {
        let mut info = crate::host::info();
        let containers = self.registry.all();
        let count = |wanted: fn(&State) -> bool| {
            let counted = containers
                .iter()
                .filter(|c| wanted(&c.status().state))
                .count();
            i64::try_from(counted).unwrap_or(i64::MAX)
        };
        info.id.clone_from(&self.id);
        info.containers = count(|_| true);
        info.containers_running = count(|state| matches!(state, State::Running(_)));
        info.containers_paused = count(|state| matches!(state, State::Paused(_)));
        info.containers_stopped = count(|state| state.running().is_none());
        info.images = i64::try_from(self.images.roots().len()).unwrap_or(i64::MAX);
        self.driver().clone_into(&mut info.driver);
        let defaults = self.defaults();
        info.labels.clone_from(&defaults.labels);
        info.debug = defaults.debug;
        info.docker_root_dir = self.config.data_root.display().to_string();
        info.n_events_listener = i64::try_from(self.events.listeners()).unwrap_or(i64::MAX);
        env!("CARGO_PKG_VERSION").clone_into(&mut info.server_version);
        info.logging_driver.clone_from(&defaults.log.driver);
        info.live_restore_enabled = true;
        info.default_runtime.clone_from(&defaults.runtime);
        info.runtimes = defaults.runtime_infos();
        "wharf init".clone_into(&mut info.init_binary);
        let profile = defaults.seccomp.as_ref().map_or("builtin", |_| "custom");
        info.security_options = vec![format!("name=seccomp,profile={profile}")];
        if defaults.no_new_privileges {
            info.security_options
                .push("name=no-new-privileges".to_owned());
        }
        if self.user_namespaces.is_default() {
            info.security_options.push("name=userns".to_owned());
        }
        self.controllers.tell(&mut info);
        let pools = self.config.address_pools.iter();
        info.default_address_pools = pools
            .map(|pool| wire::AddressPool {
                base: pool.base.to_string(),
                size: pool.size,
            })
            .collect();
        info.firewall_backend = Some(wire::FirewallInfo {
            driver: "nftables".to_owned(),
            ..Default::default()
        });
        let directories = self.config.cdi_directories.iter();
        let directories = directories.map(|path| path.display().to_string());
        info.cdi_spec_dirs = Some(directories.collect());
        info.plugins.network = ["bridge", "host", "none"].map(str::to_owned).to_vec();
        info.plugins.log = wharf_log::DRIVERS.map(str::to_owned).to_vec();
        info.plugins.volume = vec!["local".to_owned()];
        info
    }

    /// How many containers were made from an image.
    pub(crate) fn containers_of(&self, image: &Digest) -> i64 {
        let containers = self.registry.all();
        let count = containers
            .iter()
            .filter(|c| c.definition.image == *image)
            .count();
        i64::try_from(count).unwrap_or(i64::MAX)
    }

    /// Which containers use an image.
    pub(crate) fn uses_of(&self, image: &Digest) -> Vec<Use> {
        let containers = self.registry.all();
        let of_image = containers.iter().filter(|c| c.definition.image == *image);
        let uses = of_image.map(|container| Use {
            container: container.id(),
            running: container.status().state.running().is_some(),
        });
        uses.collect()
    }

    /// See [`crate::Engine::image_remove`].
    pub(crate) fn remove_image(
        &self,
        name: &str,
        query: wire::ImageRemoveQuery,
    ) -> Result<Vec<wire::ImageDelete>, Error> {
        let (steps, _) = self.remove_image_counting(name, query)?;
        Ok(steps)
    }

    /// Removes a name or an image; also returns how many bytes come back.
    pub(crate) fn remove_image_counting(
        &self,
        name: &str,
        query: wire::ImageRemoveQuery,
    ) -> Result<(Vec<wire::ImageDelete>, u64), Error> {
        let removed = self
            .images
            .remove(&self.records, name, query, &|image| self.uses_of(image))?;
        let id = removed.id.to_string();
        for step in &removed.steps {
            if !step.untagged.is_empty() {
                self.tell_image("untag", &id, &step.untagged);
            } else if step.deleted == id {
                self.tell_image("delete", &id, "");
            }
        }
        self.empty_trash_soon();
        Ok((removed.steps, removed.freed))
    }

    /// Tells an event of an image, with its labels.
    pub(crate) fn tell_image(&self, action: &str, id: &str, name: &str) {
        let shown = if name.is_empty() { id } else { name };
        // One that has just been removed has none any more.
        let image = self.images.inspect(id, &[]).ok();
        let labels = image
            .and_then(|image| image.config)
            .map(|config| config.labels);
        let mut attributes = labels.unwrap_or_default();
        attributes.insert("name".to_owned(), shown.to_owned());
        self.events.tell("image", action, id, attributes);
        if matches!(action, "pull" | "load" | "import") {
            self.collecting.notify_one();
        }
    }

    /// See [`crate::Engine::list`].
    pub(crate) fn list(
        &self,
        query: &wire::ListQuery,
    ) -> Result<Vec<wire::ContainerSummary>, Error> {
        let shown = crate::list::list(&self.registry, &self.images, query)?;
        let mut summaries = Vec::with_capacity(shown.len());
        for (container, mut summary) in shown {
            if query.size {
                (summary.size_rw, summary.size_root_fs) = self.sizes(&container)?;
            }
            summaries.push(summary);
        }
        Ok(summaries)
    }

    /// Bytes a container has written, and those with its image.
    pub(crate) fn sizes(&self, container: &Container) -> Result<(i64, i64), Error> {
        let usage = self
            .store
            .snapshot_usage(&container.snapshot())
            .map_err(|error| Error::internal("cannot measure the container", error))?;
        let image = self
            .store
            .image_size(&container.definition.image)
            .unwrap_or_default();
        let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        Ok((
            signed(usage.bytes),
            signed(usage.bytes.saturating_add(image)),
        ))
    }

    /// See [`crate::Engine::top`].
    pub(crate) fn top(
        &self,
        container: &Arc<Container>,
        arguments: &str,
    ) -> Result<wire::TopResult, Error> {
        let id = container.id();
        if container.status().state.running().is_none() {
            return Err(Error::conflict(format!("container {id} is not running")));
        }
        let failed = |error| Error::internal("cannot list the container's processes", error);
        let (_, cgroup) = self.cgroup(container)?;
        let pids = cgroup.pids().map_err(failed)?;
        let pids: Vec<i32> = pids.iter().map(|pid| pid.as_raw_nonzero().get()).collect();
        // Names are the host's, as in Docker; without the file users are numbers.
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let mut result = crate::top::top(&pids, arguments, &passwd)?;
        self.tell(container, "top");
        // In the order they were made, as ps has them.
        let pid_column = result.titles.iter().position(|title| title == "PID");
        if let Some(at) = pid_column {
            result
                .processes
                .sort_by_key(|row| row.get(at).and_then(|p| p.parse::<i32>().ok()));
        }
        Ok(result)
    }

    /// See [`crate::Engine::disk_usage`].
    pub(crate) fn disk_usage(&self) -> Result<wire::DiskUsage, Error> {
        let images = self.images.list(
            &wire::ImageListQuery {
                all: true,
                shared_size: true,
                ..Default::default()
            },
            &|image| self.containers_of(image),
        )?;
        let containers = self.list(&wire::ListQuery {
            all: true,
            size: true,
            ..Default::default()
        })?;
        Ok(wire::DiskUsage {
            layers_size: self.layers_size(),
            images,
            containers,
            volumes: self.measured_volumes(),
            build_cache: Vec::new(),
        })
    }

    /// Bytes of all layers, each counted once.
    fn layers_size(&self) -> i64 {
        let mut layers = BTreeMap::new();
        for id in self.images.roots() {
            if let Ok(image) = self.store.image(&id) {
                layers.extend(image.layers.iter().map(|layer| (layer.chain, layer.size)));
            }
        }
        i64::try_from(layers.values().sum::<u64>()).unwrap_or(i64::MAX)
    }

    /// What the records say is alive in the store.
    pub(crate) fn roots(&self) -> Roots {
        let containers = self.registry.all();
        let mut images = self.images.roots();
        images.extend(
            containers
                .iter()
                .map(|container| container.definition.image),
        );
        Roots {
            indexes: self.images.index_roots(),
            images,
            snapshots: containers
                .iter()
                .map(|container| container.snapshot())
                .collect(),
        }
    }

    /// See [`crate::Engine::verify`].
    pub(crate) fn verify(&self) -> Result<wire::VerifyReport, Error> {
        let root = &self.config.data_root;
        let failed = |error| Error::internal(format!("cannot read {}", root.display()), error);
        let mut report = wire::VerifyReport {
            data_root: root.display().to_string(),
            ..Default::default()
        };
        // The root's own entry.
        add(&mut report, "data root", own_bytes(root));
        for entry in fs::read_dir(root).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            match entry.file_name().to_str() {
                Some("store") => self.verify_store(&mut report)?,
                Some("containers") => {
                    let known =
                        |name: &str| name.parse().is_ok_and(|id| self.registry.get(id).is_some());
                    verify_directory(&mut report, "containers", &path, known);
                }
                Some("volumes") => {
                    verify_directory(&mut report, "volumes", &path, |name| {
                        self.volumes.knows(name)
                    });
                }
                Some("trash") => add(&mut report, "trash", disk_bytes(&path)),
                Some(name) if name.starts_with(crate::records::FILE) => {
                    add(&mut report, "records", own_bytes(&path));
                }
                Some(name) if name.starts_with(crate::events::FILE) => {
                    add(&mut report, "events", own_bytes(&path));
                }
                Some("engine.lock") => add(&mut report, "records", own_bytes(&path)),
                _ => unaccounted(&mut report, &path),
            }
        }
        for container in self.registry.all() {
            if !self.places.container(container.id()).is_dir() {
                let id = container.id();
                report
                    .problems
                    .push(format!("container {id} has no directory"));
            }
        }
        Ok(report)
    }

    fn verify_store(&self, report: &mut wire::VerifyReport) -> Result<(), Error> {
        let found = self
            .store
            .verify(&self.roots(), true)
            .map_err(|error| Error::internal("cannot verify the store", error))?;
        let mut orphaned = 0;
        for orphan in &found.orphans {
            orphaned += disk_bytes(orphan);
            unaccounted(report, orphan);
        }
        add(
            report,
            "images and snapshots",
            found.bytes.saturating_sub(orphaned),
        );
        for path in &found.missing {
            report
                .problems
                .push(format!("{} is missing", path.display()));
        }
        for path in &found.damaged {
            report
                .problems
                .push(format!("{} is not what its name says", path.display()));
        }
        Ok(())
    }
}

fn add(report: &mut wire::VerifyReport, owner: &str, bytes: u64) {
    report.total += bytes;
    *report.accounted.entry(owner.to_owned()).or_default() += bytes;
}

fn unaccounted(report: &mut wire::VerifyReport, path: &Path) {
    let size = disk_bytes(path);
    report.total += size;
    report.unaccounted.push(wire::VerifyEntry {
        path: path.display().to_string(),
        size,
    });
}

/// Accounts for a directory whose entries belong to somebody by their names.
fn verify_directory(
    report: &mut wire::VerifyReport,
    owner: &str,
    directory: &Path,
    known: impl Fn(&str) -> bool,
) {
    add(report, owner, own_bytes(directory));
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries {
        let path = entry.path();
        if entry.file_name().to_str().is_some_and(&known) {
            add(report, owner, disk_bytes(&path));
        } else {
            unaccounted(report, &path);
        }
    }
}

/// Bytes of disk that one entry takes.
fn own_bytes(path: &Path) -> u64 {
    fs::symlink_metadata(path).map_or(0, |metadata| metadata.blocks() * 512)
}

/// Bytes of disk that an entry takes with everything below it.
fn disk_bytes(path: &Path) -> u64 {
    let mut bytes = own_bytes(path);
    let is_directory = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    if is_directory {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        bytes += entries.map(|entry| disk_bytes(&entry.path())).sum::<u64>();
    }
    bytes
}
