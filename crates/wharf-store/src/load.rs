//! Images coming in: `load`, `import`, and files of the host.
//!
//! The stream is read once. Its members are taken in as they come ([`members`]), then the
//! documents among them say which images there are ([`plan`]), then each image is put in place:
//! blobs and layers first, synced, then its record, whose rename makes it visible. A load that
//! dies leaves its temporary directory, and at most blobs and layers no record names, which
//! [`Store::collect`] removes.

mod members;
mod plan;

use std::io::{self, Read};

use wharf_oci::image::ImageConfig;
use wharf_types::failpoint;

use crate::files::failed;
use crate::image::{HostFile, HostSource, LoadEvent, LoadedImage};
use crate::ingest::{self, Expected};
use crate::session::Session;
use crate::tar::{self, Kind, Time, Writer};
use crate::{LoadError, PathError, Store};

pub(crate) use members::Members;

/// Says of an image whether it is asked for, by its configuration; nothing: all are.
pub type Platforms<'a> = Option<&'a dyn Fn(&ImageConfig) -> bool>;

impl Store {
    /// Takes in the images of an archive: `docker save`'s, or a tar of an OCI layout, plain or
    /// compressed by gzip, zstd, xz or bzip2. The stream is read once, to its end. An image for
    /// several platforms stays whole, as far as its platforms are asked for; this machine's is the
    /// one returned, or the first.
    ///
    /// # Errors
    /// [`LoadError`]; then nothing of the archive stays, but images that were complete before.
    pub fn load(
        &self,
        reader: impl Read,
        platforms: Platforms<'_>,
        observer: &mut dyn FnMut(LoadEvent<'_>),
    ) -> Result<Vec<LoadedImage>, LoadError> {
        let mut session = Session::begin(self)?;
        let mut members = Members::read(&session, reader, observer)?;
        failpoint::hit("store.load.read");
        let contents = plan::contents(self, &members, platforms)?;
        let mut loaded = Vec::new();
        for plan in contents.images {
            loaded.push(session.commit(plan, &mut members)?);
        }
        for index in contents.indexes {
            let chosen = index.chosen();
            let mut of_index = None;
            for plan in index.images {
                let image = session.commit(plan, &mut members)?;
                if chosen == Some(image.id) {
                    of_index = Some(image);
                }
            }
            let digest = session.commit_index(&index.index, &members)?;
            if let Some(mut image) = of_index {
                image.names = index.names;
                image.index = Some(digest);
                loaded.push(image);
            }
        }
        for image in &loaded {
            observer(LoadEvent::Loaded(image));
        }
        Ok(loaded)
    }

    /// Makes an image of one layer from a tar of a root file system. `config` is taken as it is,
    /// but for `rootfs`, and for `os` and `architecture` where they are empty.
    ///
    /// # Errors
    /// [`LoadError`]; then nothing of the archive stays.
    pub fn import(
        &self,
        reader: impl Read,
        config: ImageConfig,
        observer: &mut dyn FnMut(LoadEvent<'_>),
    ) -> Result<LoadedImage, LoadError> {
        let mut session = Session::begin(self)?;
        let mut progress = |current| {
            observer(LoadEvent::Layer {
                id: "",
                current,
                total: 0,
            });
        };
        let layer = ingest::ingest(
            reader,
            Expected::Layer,
            session.destination("import"),
            &mut progress,
        )?;
        let image = session.commit_single(layer, config)?;
        observer(LoadEvent::Loaded(&image));
        Ok(image)
    }

    /// Makes an image of one layer from files of the host, all owned by root and dated 1970, so
    /// that the same files make the same image. Directories on the way to a file are made.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn import_files(
        &self,
        files: &[HostFile<'_>],
        config: ImageConfig,
    ) -> Result<LoadedImage, LoadError> {
        let (reader, writer) = io::pipe().map_err(LoadError::Read)?;
        std::thread::scope(|scope| {
            let writing = scope.spawn(move || write_files(files, writer));
            let imported = self.import(reader, config, &mut |_| {});
            let written = writing
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            match written {
                // The other side has given up, and knows why.
                Err(error) if error.source.kind() == io::ErrorKind::BrokenPipe => imported,
                // A file that cannot be read cuts the archive short: that it cannot is the reason.
                Err(error) => Err(error.into()),
                Ok(()) => imported,
            }
        })
    }
}

fn write_files(files: &[HostFile<'_>], pipe: io::PipeWriter) -> Result<(), PathError> {
    let mut writer = Writer::new(pipe);
    for file in files {
        let entry = |kind, size| tar::Entry {
            path: file.path.as_os_str().as_encoded_bytes().to_vec(),
            link: Vec::new(),
            kind,
            mode: file.mode,
            uid: 0,
            gid: 0,
            mtime: Time::default(),
            device: (0, 0),
            size,
            sparse: None,
            xattrs: Vec::new(),
        };
        let fail = failed("read", file.path);
        match &file.source {
            HostSource::Directory => writer.append(&entry(Kind::Directory, 0), &mut io::empty()),
            HostSource::Bytes(bytes) => {
                let size = bytes.len() as u64;
                writer.append(&entry(Kind::Regular, size), &mut &**bytes)
            }
            HostSource::Path(path) => {
                let mut host = std::fs::File::open(path).map_err(failed("open", path))?;
                let size = host.metadata().map_err(failed("look at", path))?.len();
                writer.append(&entry(Kind::Regular, size), &mut host)
            }
        }
        .map_err(fail)?;
    }
    writer.finish().map(drop).map_err(failed(
        "write the archive of",
        std::path::Path::new("the files"),
    ))
}

#[cfg(test)]
mod tests;
