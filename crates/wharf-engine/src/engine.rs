//! The engine as its callers see it.

mod containers;
mod execs;
mod registries;
mod volumes;

use std::io::{Read, Write};
use std::sync::Arc;

use wharf_wire as wire;

use crate::container::Container;
use crate::inner::Inner;
use crate::{Config, Defaults, Error, EventStream, ImportRequest, OpenError};

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
