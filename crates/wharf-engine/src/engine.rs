//! The engine as its callers see it.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use wharf_wire as wire;

use crate::container::Container;
use crate::inner::Inner;
use crate::start::Starter;
use crate::{
    Attachment, Caller, Config, ContainerFiles, Defaults, Error, EventStream, FilesFor,
    ImportRequest, LogStream, OpenError, ProgressSender, PullRequest, PushRequest, StatsStream,
    Stopped,
};

/// The engine: cheap to clone, all clones are the same engine.
///
/// A `name` of a container is its name, its id or a unique beginning of its id. Methods that are
/// not `async` answer from memory, except those whose documentation says that they block: these are
/// for `spawn_blocking`.
#[derive(Debug, Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

/// The engine itself.
impl Engine {
    /// Opens the engine: reads the records, looks at the kernel, finishes or undoes what an earlier
    /// engine left, and starts what is to run. Blocks; call it inside a tokio runtime.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(config: Config) -> Result<Self, OpenError> {
        Inner::open(config).map(|inner| Self { inner })
    }

    /// Stops the engine; containers go on.
    pub async fn shutdown(&self) {
        self.inner.shut_down().await;
    }

    /// Has other settings count from now on.
    pub fn reload(&self, defaults: Defaults) {
        self.inner.reload(defaults);
    }

    /// Returns the settings that may change while the engine runs, as of now.
    #[must_use]
    pub fn defaults(&self) -> Arc<Defaults> {
        self.inner.defaults()
    }

    /// Returns the settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Returns the answer of `GET /version`.
    #[must_use]
    pub fn version(&self) -> wire::Version {
        crate::host::version(env!("CARGO_PKG_VERSION"))
    }

    /// Returns the answer of `GET /info`.
    #[must_use]
    pub fn info(&self) -> wire::SystemInfo {
        self.inner.info()
    }

    /// Returns what takes space. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn disk_usage(&self) -> Result<wire::DiskUsage, Error> {
        self.inner.disk_usage()
    }

    /// Accounts for everything below the data root. Blocks.
    ///
    /// # Errors
    /// The data root cannot be read.
    pub fn verify(&self) -> Result<wire::VerifyReport, Error> {
        self.inner.verify()
    }

    /// Returns events.
    ///
    /// # Errors
    /// A filter is unknown.
    pub fn events(&self, query: &wire::EventsQuery) -> Result<EventStream, Error> {
        self.inner.events.stream(query)
    }

    fn find(&self, name: &str) -> Result<Arc<Container>, Error> {
        self.inner.registry.find(name)
    }
}

/// Images. All but the list and inspect read or write much, and block.
impl Engine {
    /// Returns the images.
    ///
    /// # Errors
    /// A filter is unknown.
    pub fn images(&self, query: &wire::ImageListQuery) -> Result<Vec<wire::ImageSummary>, Error> {
        let inner = &self.inner;
        inner
            .images
            .list(query, &|image| inner.containers_of(image))
    }

    /// Returns one image.
    ///
    /// # Errors
    /// There is none of this name, or it is for another platform.
    pub fn image_inspect(
        &self,
        name: &str,
        platforms: &[String],
    ) -> Result<wire::ImageInspect, Error> {
        self.inner.images.inspect(name, platforms)
    }

    /// Returns the steps of an image, last first.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn image_history(
        &self,
        name: &str,
        platforms: &[String],
    ) -> Result<Vec<wire::ImageHistoryItem>, Error> {
        self.inner.images.history(name, platforms)
    }

    /// Gives an image a name more.
    ///
    /// # Errors
    /// There is none of this name, or the new name is not one.
    pub fn image_tag(&self, name: &str, repo: &str, tag: &str) -> Result<(), Error> {
        let inner = &self.inner;
        let (image, reference) = inner.images.tag(&inner.records, name, repo, tag)?;
        inner.tell_image("tag", &image.to_string(), &reference.familiar());
        Ok(())
    }

    /// Takes a name from an image, and removes it with its last name.
    ///
    /// # Errors
    /// There is none of this name, or a container uses it.
    pub fn image_remove(
        &self,
        name: &str,
        query: wire::ImageRemoveQuery,
        platforms: &[String],
    ) -> Result<Vec<wire::ImageDelete>, Error> {
        self.inner.images.is_whole(name, platforms)?;
        self.inner.remove_image(name, query)
    }

    /// Removes the images that nothing uses and that the filters mean. Blocks.
    ///
    /// # Errors
    /// A filter is unknown.
    pub fn image_prune(&self, filters: &wire::Filters) -> Result<wire::ImagesPruned, Error> {
        self.inner.prune_images(filters)
    }

    /// Takes in an archive's images. Blocks.
    ///
    /// # Errors
    /// The archive is malformed or cannot be read; then nothing of it stays.
    pub fn image_load(
        &self,
        archive: impl Read + Send,
        quiet: bool,
        platforms: &[String],
        progress: impl FnMut(wire::Progress),
    ) -> Result<(), Error> {
        let inner = &self.inner;
        let records = &inner.records;
        let loaded = inner
            .images
            .load(records, archive, quiet, platforms, progress);
        inner.empty_trash_soon();
        for (image, name) in loaded? {
            inner.tell_image("load", &image.to_string(), &name);
        }
        Ok(())
    }

    /// Makes an image from a tar of a root file system. Blocks.
    ///
    /// # Errors
    /// The archive or the request is malformed; then nothing stays.
    pub fn image_import(
        &self,
        archive: impl Read + Send,
        request: &ImportRequest,
        progress: impl FnMut(wire::Progress),
    ) -> Result<(), Error> {
        let inner = &self.inner;
        let imported = inner
            .images
            .import(&inner.records, archive, request, progress);
        inner.empty_trash_soon();
        inner.tell_image("import", &imported?.to_string(), &request.repo);
        Ok(())
    }

    /// Writes images as an archive. Blocks. The names are looked up before anything is written.
    ///
    /// # Errors
    /// One is not there, or the writer fails.
    pub fn image_save(
        &self,
        names: &[String],
        platforms: &[String],
        writer: impl Write,
    ) -> Result<(), Error> {
        self.inner.images.save(names, platforms, writer)
    }
}

/// Images at registries. What is asked for is given up when the receiver of its progress is dropped.
impl Engine {
    /// Brings an image in; those that the engine carries in itself need no registry.
    ///
    /// # Errors
    /// The registry has none of this name, or refuses, or cannot be reached; or the image is not to
    /// be believed. What came of its layers is not asked for again.
    pub async fn image_pull(
        &self,
        request: PullRequest,
        progress: ProgressSender,
    ) -> Result<(), Error> {
        self.inner.pull(request, progress).await
    }

    /// Brings an image, or all tags of a repository, to their registry.
    ///
    /// # Errors
    /// There is none of this name, or the registry refuses or cannot be reached.
    pub async fn image_push(
        &self,
        request: PushRequest,
        progress: ProgressSender,
    ) -> Result<(), Error> {
        self.inner.push(request, progress).await
    }

    /// Checks who somebody is at a registry.
    ///
    /// # Errors
    /// The registry refuses, or cannot be reached.
    pub async fn login(&self, auth: &wire::AuthConfig) -> Result<wire::AuthResult, Error> {
        self.inner.login(auth).await
    }

    /// Searches an index for images.
    ///
    /// # Errors
    /// A filter or the limit is wrong, or the index cannot be reached.
    pub async fn image_search(
        &self,
        query: &wire::ImageSearchQuery,
        auth: &wire::AuthConfig,
    ) -> Result<Vec<wire::SearchResult>, Error> {
        self.inner.search(query, auth).await
    }

    /// Returns what a registry has under a name.
    ///
    /// # Errors
    /// The registry has none of this name, or refuses, or cannot be reached.
    pub async fn distribution(
        &self,
        name: &str,
        auth: &wire::AuthConfig,
    ) -> Result<wire::DistributionInspect, Error> {
        self.inner.distribution(name, auth).await
    }
}

/// Containers.
impl Engine {
    /// Makes a container.
    ///
    /// # Errors
    /// The body is refused, the name taken, the image missing.
    pub async fn create(
        &self,
        query: &wire::CreateQuery,
        body: wire::ContainerCreateBody,
        caller: Option<Caller>,
    ) -> Result<wire::ContainerCreated, Error> {
        self.inner.create(query, body, caller).await
    }

    /// Starts a container; running already is [`crate::ErrorKind::NotModified`].
    ///
    /// # Errors
    /// What the runtime says; texts and their meaning for exit codes are Docker's.
    pub async fn start(&self, name: &str) -> Result<(), Error> {
        self.inner.start(&self.find(name)?, Starter::User).await
    }

    /// Stops a container; not running is [`crate::ErrorKind::NotModified`].
    ///
    /// # Errors
    /// There is none of this name, or the signal is unknown.
    pub async fn stop(&self, name: &str, query: &wire::StopQuery) -> Result<Stopped, Error> {
        self.inner.stop(&self.find(name)?, query).await
    }

    /// Stops a container if it runs, and starts it.
    ///
    /// # Errors
    /// As [`Self::stop`] and [`Self::start`].
    pub async fn restart(&self, name: &str, query: &wire::StopQuery) -> Result<Stopped, Error> {
        self.inner.restart(&self.find(name)?, query).await
    }

    /// Sends a signal, by name or number; empty: SIGKILL.
    ///
    /// # Errors
    /// The container does not run, or the signal is unknown.
    pub async fn kill(&self, name: &str, signal: &str) -> Result<(), Error> {
        self.inner.kill(&self.find(name)?, signal).await
    }

    /// Freezes a container.
    ///
    /// # Errors
    /// It does not run, or is paused.
    pub async fn pause(&self, name: &str) -> Result<(), Error> {
        self.inner.pause(&self.find(name)?).await
    }

    /// Lets a paused container go on.
    ///
    /// # Errors
    /// It is not paused.
    pub async fn unpause(&self, name: &str) -> Result<(), Error> {
        self.inner.unpause(&self.find(name)?).await
    }

    /// Removes a container.
    ///
    /// # Errors
    /// It runs and `force` is not set.
    pub async fn remove(&self, name: &str, query: wire::RemoveQuery) -> Result<(), Error> {
        self.inner.remove(&self.find(name)?, query).await
    }

    /// Removes the containers that do not run.
    ///
    /// # Errors
    /// A filter is unknown, or a prune is under way.
    pub async fn containers_prune(
        &self,
        filters: &wire::Filters,
    ) -> Result<wire::ContainersPruned, Error> {
        self.inner.prune(filters).await
    }

    /// Removes the networks that nobody uses, of those users have made; this engine makes none yet.
    ///
    /// # Errors
    /// A filter is unknown.
    pub fn networks_prune(&self, filters: &wire::Filters) -> Result<wire::NetworksPruned, Error> {
        self.inner.prune_networks(filters)
    }

    /// Empties the build cache, of which this engine has none yet.
    ///
    /// # Errors
    /// A filter is unknown, or has a value it cannot have.
    pub fn build_prune(&self, filters: &wire::Filters) -> Result<wire::BuildPruned, Error> {
        self.inner.prune_builds(filters)
    }

    /// Gives a container another name.
    ///
    /// # Errors
    /// The name is taken or is not one.
    pub async fn rename(&self, name: &str, new: &str) -> Result<(), Error> {
        self.inner.rename(&*self.find(name)?, new).await
    }

    /// Changes a container's limits and its restart policy, now and for later.
    ///
    /// # Errors
    /// The change does not fit the container or the machine; then nothing is changed.
    pub async fn update(
        &self,
        name: &str,
        change: wire::UpdateConfig,
    ) -> Result<wire::ContainerUpdated, Error> {
        self.inner.update(&self.find(name)?, change).await
    }

    /// Sets the size of a container's terminal.
    ///
    /// # Errors
    /// It does not run.
    pub async fn resize(&self, name: &str, size: wire::ResizeQuery) -> Result<(), Error> {
        self.inner.resize(&self.find(name)?, size).await
    }

    /// Waits for a container. What is waited for counts from the moment this returns, so that a
    /// caller can tell its client that waiting has begun, and then await the future.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn wait(
        &self,
        name: &str,
        condition: wire::WaitCondition,
    ) -> Result<impl Future<Output = wire::WaitResult> + Send + use<>, Error> {
        Ok(crate::stop::wait(self.find(name)?, condition))
    }

    /// Returns the containers. Blocks when sizes are asked for.
    ///
    /// # Errors
    /// A filter is unknown.
    pub fn list(&self, query: &wire::ListQuery) -> Result<Vec<wire::ContainerSummary>, Error> {
        self.inner.list(query)
    }

    /// Returns one container. Blocks when sizes are asked for.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn inspect(&self, name: &str, size: bool) -> Result<wire::ContainerInspect, Error> {
        self.inner.inspect(&self.find(name)?, size)
    }

    /// Returns what a container uses.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn stats(&self, name: &str, query: wire::StatsQuery) -> Result<StatsStream, Error> {
        self.inner.stats(&self.find(name)?, query).await
    }

    /// Returns a container's processes, read from /proc by the engine itself; `ps_args` chooses the
    /// columns as far as the engine knows them.
    ///
    /// # Errors
    /// It does not run, or the arguments are unknown.
    pub fn top(&self, name: &str, ps_args: &str) -> Result<wire::TopResult, Error> {
        self.inner.top(&self.find(name)?, ps_args)
    }

    /// Returns a container's log.
    ///
    /// # Errors
    /// It keeps none, or neither output was asked for.
    pub fn logs(&self, name: &str, query: &wire::LogsQuery) -> Result<LogStream, Error> {
        self.inner.logs(&self.find(name)?, query)
    }

    /// Reaches for a container's files. What is then done with them blocks.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn files(&self, name: &str, wanted: FilesFor) -> Result<ContainerFiles, Error> {
        self.inner.files(self.find(name)?, name, wanted).await
    }

    /// Makes an image of a container.
    ///
    /// # Errors
    /// There is none of this name, the name or a change is refused, or there is no space.
    pub async fn commit(
        &self,
        query: wire::CommitQuery,
        config: Option<wire::ContainerConfig>,
    ) -> Result<wire::CommitResult, Error> {
        let container = self.find(&query.container)?;
        self.inner.commit(container, query, config).await
    }

    /// Returns what a container changed of its image. Blocks.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn changes(&self, name: &str) -> Result<Vec<wire::ChangeItem>, Error> {
        self.inner.changes(&*self.find(name)?)
    }

    /// Connects to a container's first process, running or not yet started. `stream` unset gives
    /// only the log, if `logs` asks for it.
    ///
    /// # Errors
    /// It is paused, or the detach keys are not keys.
    pub async fn attach(&self, name: &str, query: &wire::AttachQuery) -> Result<Attachment, Error> {
        self.inner.attach(&self.find(name)?, query).await
    }

    /// As [`Self::attach`], over a connected stream socket that the process's shim takes over.
    ///
    /// `head` makes what is written to the socket before any of the process's output, given whether
    /// the container has a terminal; it is written when the attachment is certain, and before the
    /// container can start. On an error nothing has been written.
    ///
    /// # Errors
    /// As [`Self::attach`].
    pub async fn attach_socket(
        &self,
        name: &str,
        query: &wire::AttachQuery,
        socket: OwnedFd,
        head: impl FnOnce(bool) -> Vec<u8> + Send,
    ) -> Result<bool, Error> {
        self.inner
            .attach_socket(&self.find(name)?, query, socket, head)
            .await
    }
}

/// Processes beside a container's first.
impl Engine {
    /// Prepares a process in a running container; returns its id.
    ///
    /// # Errors
    /// The container does not run, or the body is refused.
    pub async fn exec_create(
        &self,
        name: &str,
        body: wire::ExecCreateBody,
    ) -> Result<wire::ExecCreated, Error> {
        self.inner.exec_create(&self.find(name)?, body).await
    }

    /// Runs a prepared process; `None` when it is detached.
    ///
    /// # Errors
    /// It ran already, its container stopped, or the program cannot be run.
    pub async fn exec_start(
        &self,
        id: &str,
        body: &wire::ExecStartBody,
    ) -> Result<Option<Attachment>, Error> {
        self.inner.exec_start(id, body).await
    }

    /// As [`Self::exec_start`], over a connected stream socket that the process's shim takes over.
    ///
    /// # Errors
    /// As [`Self::exec_start`].
    pub async fn exec_start_socket(
        &self,
        id: &str,
        body: &wire::ExecStartBody,
        socket: OwnedFd,
    ) -> Result<(), Error> {
        self.inner.exec_run(id, body, Some(socket)).await
    }

    /// Whether a prepared process has a terminal, as its stream's content type has to tell before
    /// it starts.
    ///
    /// # Errors
    /// There is none of this id.
    pub fn exec_tty(&self, id: &str) -> Result<bool, Error> {
        self.inner.exec_tty(id)
    }

    /// Returns a prepared or running process, or one that ended while its container runs.
    ///
    /// # Errors
    /// There is none of this id.
    pub fn exec_inspect(&self, id: &str) -> Result<wire::ExecInspect, Error> {
        self.inner.exec_inspect(id)
    }

    /// Sets the size of a process's terminal.
    ///
    /// # Errors
    /// It does not run.
    pub async fn exec_resize(&self, id: &str, size: wire::ResizeQuery) -> Result<(), Error> {
        self.inner.exec_resize(id, size).await
    }
}

/// Volumes. All but the list and inspect make or remove files, and block.
impl Engine {
    /// Returns the volumes.
    ///
    /// # Errors
    /// A filter is unknown.
    pub fn volumes(&self, query: &wire::VolumesQuery) -> Result<wire::VolumeList, Error> {
        self.inner.list_volumes(&query.filters)
    }

    /// Returns one volume.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn volume_inspect(&self, name: &str) -> Result<wire::Volume, Error> {
        self.inner.inspect_volume(name)
    }

    /// Makes a volume, or returns the one of this name.
    ///
    /// # Errors
    /// The name or an option is wrong, or the disk is full.
    pub fn volume_create(&self, body: wire::VolumeCreateBody) -> Result<wire::Volume, Error> {
        self.inner.create_volume(body)
    }

    /// Removes a volume; with `force` it is no error that there is none.
    ///
    /// # Errors
    /// There is none of this name, or a container uses it.
    pub fn volume_remove(&self, name: &str, force: bool) -> Result<(), Error> {
        self.inner.remove_volume(name, force)
    }

    /// Removes volumes nobody uses: those without a name, or all.
    ///
    /// # Errors
    /// A filter is unknown, or a volume cannot be removed.
    pub fn volume_prune(&self, query: &wire::VolumesQuery) -> Result<wire::VolumesPruned, Error> {
        self.inner.prune_volumes(&query.filters)
    }
}
