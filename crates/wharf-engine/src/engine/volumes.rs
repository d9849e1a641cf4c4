//! What the engine does with volumes.

use wharf_wire as wire;

use crate::{Engine, Error};

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
