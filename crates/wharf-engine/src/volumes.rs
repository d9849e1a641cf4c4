//! Volumes made for one container: directories below the data root.
//!
//! Such a volume comes from an image's `VOLUME` or a `-v` without a source. It begins as what the
//! image has at its place, owner and mode included. The image's text names a place inside the
//! root, whatever it says (attacks R17, R18): it is looked up confined to the container's root.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;

use crate::container::Container;
use crate::error::Error;
use crate::inner::Inner;
use crate::mounts::{Mount, Volume};

mod copy;

impl Inner {
    /// Makes a volume's directory and fills it with what the image has at its place.
    pub(crate) fn make_volume(&self, container: &Container, volume: &Volume) -> Result<(), Error> {
        let failed =
            |error| Error::internal(format!("cannot make the volume {}", volume.name), error);
        let made = DirBuilder::new()
            .mode(0o700)
            .recursive(true)
            .create(self.places.volumes());
        made.map_err(failed)?;
        if let Some(parent) = volume.source.parent() {
            DirBuilder::new()
                .mode(0o701)
                .create(parent)
                .map_err(failed)?;
        }
        DirBuilder::new()
            .mode(0o755)
            .create(&volume.source)
            .map_err(failed)?;
        let root = self
            .store
            .view(&container.snapshot())
            .map_err(|error| Error::internal("cannot look at the container's root", error))?;
        copy::tree(&root, &volume.target, &volume.source).map_err(failed)
    }

    /// Removes the volumes that were made for a container.
    pub(crate) fn remove_volumes(&self, container: &Container) -> Result<(), Error> {
        for mount in &container.definition.mounts {
            let Mount::Volume(volume) = mount else {
                continue;
            };
            let Some(directory) = volume.source.parent() else {
                continue;
            };
            match fs::remove_dir_all(directory) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    let what = format!("cannot remove the volume {}", volume.name);
                    return Err(Error::internal(what, error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}
