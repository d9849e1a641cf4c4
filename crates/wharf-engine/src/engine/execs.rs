//! What the engine does with processes beside a container's first.

use std::os::fd::OwnedFd;

use wharf_wire as wire;

use crate::{Attachment, Engine, Error};

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
