//! What the engine does with containers.

use std::os::fd::OwnedFd;

use wharf_wire as wire;

use crate::start::Starter;
use crate::{
    Attachment, Caller, ContainerFiles, Engine, Error, FilesFor, LogStream, StatsStream, Stopped,
};

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
