//! The engine as its callers see it.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use wharf_wire as wire;

use crate::{Attachment, Config, Error, EventStream, LogStream};

/// The engine: cheap to clone, all clones are the same engine.
///
/// A `name` of a container is its name, its id or a unique beginning of its id. Methods that are
/// not `async` answer from memory, except those whose documentation says that they block: these are
/// for `spawn_blocking`.
#[derive(Debug, Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
}

/// Why an engine could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another engine works on the same roots.
    #[error("another engine uses {0}")]
    InUse(std::path::PathBuf),
}

/// An image to make from a tar of a root file system.
#[derive(Debug, Clone, Default)]
pub struct ImportRequest {
    /// Repository to name it, may hold a tag; empty: none.
    pub repo: String,
    /// Tag, when `repo` has none.
    pub tag: String,
    /// Comment of the image's one step.
    pub message: String,
    /// Dockerfile instructions applied to its configuration.
    pub changes: Vec<String>,
    /// `os[/arch[/variant]]`; empty: the engine's own.
    pub platform: String,
}

fn missing<T>() -> Result<T, Error> {
    Err(Error::not_implemented("not yet"))
}

/// The engine itself.
impl Engine {
    /// Opens the engine: reads the records, looks at the kernel, finishes or undoes what an earlier
    /// engine left, and starts what is to run. Blocks; call it inside a tokio runtime.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(config: Config) -> Result<Self, OpenError> {
        Ok(Self {
            inner: Arc::new(Inner { config }),
        })
    }

    /// Stops the engine; containers go on.
    pub async fn shutdown(&self) {}

    /// Returns the settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Returns the answer of `GET /version`.
    #[must_use]
    pub fn version(&self) -> wire::Version {
        wire::Version::default()
    }

    /// Returns the answer of `GET /info`.
    #[must_use]
    pub fn info(&self) -> wire::SystemInfo {
        wire::SystemInfo::default()
    }

    /// Returns what takes space. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn disk_usage(&self) -> Result<wire::DiskUsage, Error> {
        missing()
    }

    /// Accounts for everything below the data root. Blocks.
    ///
    /// # Errors
    /// The data root cannot be read.
    pub fn verify(&self) -> Result<wire::VerifyReport, Error> {
        missing()
    }

    /// Returns events.
    ///
    /// # Errors
    /// A filter is unknown.
    pub fn events(&self, _query: &wire::EventsQuery) -> Result<EventStream, Error> {
        missing()
    }
}

/// Images. All but the list and inspect read or write much, and block.
impl Engine {
    /// Returns the images.
    ///
    /// # Errors
    /// A filter is unknown.
    pub fn images(&self, _query: &wire::ImageListQuery) -> Result<Vec<wire::ImageSummary>, Error> {
        missing()
    }

    /// Returns one image.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn image_inspect(&self, _name: &str) -> Result<wire::ImageInspect, Error> {
        missing()
    }

    /// Returns the steps of an image, last first.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn image_history(&self, _name: &str) -> Result<Vec<wire::ImageHistoryItem>, Error> {
        missing()
    }

    /// Gives an image a name more.
    ///
    /// # Errors
    /// There is none of this name, or the new name is not one.
    pub fn image_tag(&self, _name: &str, _repo: &str, _tag: &str) -> Result<(), Error> {
        missing()
    }

    /// Takes a name from an image, and removes it with its last name.
    ///
    /// # Errors
    /// There is none of this name, or a container uses it.
    pub fn image_remove(
        &self,
        _name: &str,
        _query: wire::ImageRemoveQuery,
    ) -> Result<Vec<wire::ImageDelete>, Error> {
        missing()
    }

    /// Takes in an archive's images. Blocks.
    ///
    /// # Errors
    /// The archive is malformed or cannot be read; then nothing of it stays.
    pub fn image_load(
        &self,
        _archive: impl Read + Send,
        _quiet: bool,
        _progress: impl FnMut(wire::Progress),
    ) -> Result<(), Error> {
        missing()
    }

    /// Makes an image from a tar of a root file system. Blocks.
    ///
    /// # Errors
    /// The archive or the request is malformed; then nothing stays.
    pub fn image_import(
        &self,
        _archive: impl Read + Send,
        _request: &ImportRequest,
        _progress: impl FnMut(wire::Progress),
    ) -> Result<(), Error> {
        missing()
    }

    /// Writes images as an archive. Blocks. The names are looked up before anything is written.
    ///
    /// # Errors
    /// One is not there, or the writer fails.
    pub fn image_save(&self, _names: &[String], _writer: impl Write) -> Result<(), Error> {
        missing()
    }

    /// Makes an image that the engine carries in itself (`hello-world`); any other name has to wait
    /// for registries, and the error says so. Blocks.
    ///
    /// # Errors
    /// The engine carries no image of this name.
    pub fn image_pull_builtin(
        &self,
        _name: &str,
        _progress: impl FnMut(wire::Progress),
    ) -> Result<(), Error> {
        missing()
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
        _name: Option<&str>,
        _body: wire::ContainerCreateBody,
    ) -> Result<wire::ContainerCreated, Error> {
        missing()
    }

    /// Starts a container; running already is [`crate::ErrorKind::NotModified`].
    ///
    /// # Errors
    /// What the runtime says; texts and their meaning for exit codes are Docker's.
    pub async fn start(&self, _name: &str) -> Result<(), Error> {
        missing()
    }

    /// Stops a container; not running is [`crate::ErrorKind::NotModified`].
    ///
    /// # Errors
    /// There is none of this name, or the signal is unknown.
    pub async fn stop(&self, _name: &str, _query: &wire::StopQuery) -> Result<(), Error> {
        missing()
    }

    /// Stops a container if it runs, and starts it.
    ///
    /// # Errors
    /// As [`Self::stop`] and [`Self::start`].
    pub async fn restart(&self, _name: &str, _query: &wire::StopQuery) -> Result<(), Error> {
        missing()
    }

    /// Sends a signal, by name or number; empty: SIGKILL.
    ///
    /// # Errors
    /// The container does not run, or the signal is unknown.
    pub async fn kill(&self, _name: &str, _signal: &str) -> Result<(), Error> {
        missing()
    }

    /// Freezes a container.
    ///
    /// # Errors
    /// It does not run, or is paused.
    pub async fn pause(&self, _name: &str) -> Result<(), Error> {
        missing()
    }

    /// Lets a paused container go on.
    ///
    /// # Errors
    /// It is not paused.
    pub async fn unpause(&self, _name: &str) -> Result<(), Error> {
        missing()
    }

    /// Removes a container.
    ///
    /// # Errors
    /// It runs and `force` is not set.
    pub async fn remove(&self, _name: &str, _query: wire::RemoveQuery) -> Result<(), Error> {
        missing()
    }

    /// Gives a container another name.
    ///
    /// # Errors
    /// The name is taken or is not one.
    pub async fn rename(&self, _name: &str, _new: &str) -> Result<(), Error> {
        missing()
    }

    /// Sets the size of a container's terminal.
    ///
    /// # Errors
    /// It does not run.
    pub async fn resize(&self, _name: &str, _size: wire::ResizeQuery) -> Result<(), Error> {
        missing()
    }

    /// Waits for a container. What is waited for counts from the moment this returns, so that a
    /// caller can tell its client that waiting has begun, and then await the future.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn wait(
        &self,
        _name: &str,
        _condition: wire::WaitCondition,
    ) -> Result<impl Future<Output = wire::WaitResult> + Send + use<>, Error> {
        missing::<std::future::Ready<wire::WaitResult>>()
    }

    /// Returns the containers. Blocks when sizes are asked for.
    ///
    /// # Errors
    /// A filter is unknown.
    pub fn list(&self, _query: &wire::ListQuery) -> Result<Vec<wire::ContainerSummary>, Error> {
        missing()
    }

    /// Returns one container. Blocks when sizes are asked for.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn inspect(&self, _name: &str, _size: bool) -> Result<wire::ContainerInspect, Error> {
        missing()
    }

    /// Returns a container's processes, read from /proc by the engine itself; `ps_args` chooses the
    /// columns as far as the engine knows them.
    ///
    /// # Errors
    /// It does not run, or the arguments are unknown.
    pub fn top(&self, _name: &str, _ps_args: &str) -> Result<wire::TopResult, Error> {
        missing()
    }

    /// Returns a container's log.
    ///
    /// # Errors
    /// It keeps none, or neither output was asked for.
    pub fn logs(&self, _name: &str, _query: &wire::LogsQuery) -> Result<LogStream, Error> {
        missing()
    }

    /// Writes a container's file system as a tar. Blocks.
    ///
    /// # Errors
    /// There is none of this name, or the writer fails.
    pub fn export(&self, _name: &str, _writer: impl Write) -> Result<(), Error> {
        missing()
    }

    /// Returns what a container changed of its image. Blocks.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn changes(&self, _name: &str) -> Result<Vec<wire::ChangeItem>, Error> {
        missing()
    }

    /// Connects to a container's first process, running or not yet started. `stream` unset gives
    /// only the log, if `logs` asks for it.
    ///
    /// # Errors
    /// It is paused, or the detach keys are not keys.
    pub async fn attach(
        &self,
        _name: &str,
        _query: &wire::AttachQuery,
    ) -> Result<Attachment, Error> {
        missing()
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
        _name: &str,
        _query: &wire::AttachQuery,
        _socket: OwnedFd,
        _head: impl FnOnce(bool) -> Vec<u8> + Send,
    ) -> Result<bool, Error> {
        missing()
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
        _name: &str,
        _body: wire::ExecCreateBody,
    ) -> Result<wire::ExecCreated, Error> {
        missing()
    }

    /// Runs a prepared process; `None` when it is detached.
    ///
    /// # Errors
    /// It ran already, its container stopped, or the program cannot be run.
    pub async fn exec_start(
        &self,
        _id: &str,
        _body: &wire::ExecStartBody,
    ) -> Result<Option<Attachment>, Error> {
        missing()
    }

    /// As [`Self::exec_start`], over a connected stream socket that the process's shim takes over.
    ///
    /// # Errors
    /// As [`Self::exec_start`].
    pub async fn exec_start_socket(
        &self,
        _id: &str,
        _body: &wire::ExecStartBody,
        _socket: OwnedFd,
    ) -> Result<(), Error> {
        missing()
    }

    /// Whether a prepared process has a terminal, as its stream's content type has to tell before
    /// it starts.
    ///
    /// # Errors
    /// There is none of this id.
    pub fn exec_tty(&self, _id: &str) -> Result<bool, Error> {
        missing()
    }

    /// Returns a prepared or running process, or one that ended while its container runs.
    ///
    /// # Errors
    /// There is none of this id.
    pub fn exec_inspect(&self, _id: &str) -> Result<wire::ExecInspect, Error> {
        missing()
    }

    /// Sets the size of a process's terminal.
    ///
    /// # Errors
    /// It does not run.
    pub async fn exec_resize(&self, _id: &str, _size: wire::ResizeQuery) -> Result<(), Error> {
        missing()
    }
}
