//! Images going out: one archive that is an OCI layout and has `manifest.json`, as `docker save`
//! writes since version 25 and every `docker load` since 1.10 reads.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};

use wharf_oci::image::{ArchiveManifest, Descriptor, Index, Layout, media_type};
use wharf_types::{Digest, Reference};

use crate::image::{Image, SaveImage};
use crate::index::ImageIndex;
use crate::tar::{Entry, Kind, Time, Writer};
use crate::{ImageError, SaveError, Store};

const BLOBS: &str = "blobs/sha256";

impl Store {
    /// Writes images as one archive that is both an OCI layout and what `docker load` reads.
    ///
    /// # Errors
    /// [`SaveError`].
    pub fn save(&self, images: &[SaveImage], writer: impl Write) -> Result<(), SaveError> {
        // All are looked up first: an unknown one must not leave half an archive.
        let images = images
            .iter()
            .map(|save| {
                Ok(Saved {
                    image: self.image(&save.id)?,
                    index: save.index.map(|index| self.index(&index)).transpose()?,
                    names: &save.names,
                })
            })
            .collect::<Result<Vec<_>, ImageError>>()?;
        let mut archive = Archive {
            store: self,
            writer: Writer::new(io::BufWriter::with_capacity(64 << 10, writer)),
            written: BTreeSet::new(),
        };
        archive.directory("blobs")?;
        archive.directory(BLOBS)?;
        for saved in &images {
            archive.image(&saved.image)?;
            if let Some(index) = &saved.index {
                archive.index(index)?;
            }
        }
        archive.documents(&images)?;
        archive
            .writer
            .finish()
            .and_then(|mut buffer| buffer.flush())
            .map_err(SaveError::Write)
    }
}

/// What is written of an image.
struct Saved<'a> {
    image: Image,
    index: Option<ImageIndex>,
    names: &'a [Reference],
}

struct Archive<'a, W> {
    store: &'a Store,
    writer: Writer<W>,
    written: BTreeSet<Digest>,
}

impl<W: Write> Archive<'_, W> {
    fn image(&mut self, image: &Image) -> Result<(), SaveError> {
        for layer in &image.layers {
            self.blob(image, &layer.blob, layer.blob_size)?;
        }
        self.blob(image, &image.id, image.config_bytes.len() as u64)?;
        self.blob(image, &image.manifest, image.manifest_bytes.len() as u64)
    }

    /// Writes an index and what the store has of it.
    fn index(&mut self, index: &ImageIndex) -> Result<(), SaveError> {
        for member in &index.members {
            if let Some(id) = member.image {
                let image = self.store.image(&id)?;
                self.image(&image)?;
            }
            for blob in &member.blobs {
                let bytes = self
                    .store
                    .shared
                    .blobs
                    .read(blob)
                    .map_err(ImageError::from)?;
                let bytes = bytes.ok_or(ImageError::MissingBlob {
                    image: index.digest,
                    blob: *blob,
                })?;
                self.bytes(blob, &bytes)?;
            }
        }
        self.bytes(&index.digest, &index.bytes)
    }

    fn bytes(&mut self, digest: &Digest, bytes: &[u8]) -> Result<(), SaveError> {
        if !self.written.insert(*digest) {
            return Ok(());
        }
        self.file(&blob_name(digest), bytes.len() as u64, &mut &*bytes)
    }

    fn blob(&mut self, image: &Image, digest: &Digest, size: u64) -> Result<(), SaveError> {
        if !self.written.insert(*digest) {
            return Ok(());
        }
        let mut blob = self
            .store
            .shared
            .blobs
            .open(digest)
            .map_err(ImageError::from)?
            .ok_or(ImageError::MissingBlob {
                image: image.id,
                blob: *digest,
            })?;
        self.file(&blob_name(digest), size, &mut blob)
    }

    /// Writes what says which blobs are what.
    fn documents(&mut self, images: &[Saved<'_>]) -> Result<(), SaveError> {
        let mut manifests = Vec::new();
        let mut archive_manifests = Vec::new();
        for saved in images {
            let image = &saved.image;
            manifests.extend(descriptors(saved));
            archive_manifests.push(ArchiveManifest {
                config: blob_name(&image.id),
                repo_tags: saved.names.iter().map(|name| name.familiar()).collect(),
                layers: image
                    .layers
                    .iter()
                    .map(|layer| blob_name(&layer.blob))
                    .collect(),
            });
        }
        let index = Index {
            schema_version: 2,
            media_type: Some(media_type::INDEX.to_owned()),
            manifests,
            ..Index::default()
        };
        let layout = Layout {
            image_layout_version: "1.0.0".to_owned(),
        };
        self.document("index.json", &index)?;
        self.document("manifest.json", &archive_manifests)?;
        self.document("oci-layout", &layout)
    }

    fn document<T: serde::Serialize>(&mut self, name: &str, value: &T) -> Result<(), SaveError> {
        let bytes =
            serde_json::to_vec(value).map_err(|error| SaveError::Write(io::Error::from(error)))?;
        self.file(name, bytes.len() as u64, &mut bytes.as_slice())
    }

    fn file(&mut self, name: &str, size: u64, data: &mut dyn Read) -> Result<(), SaveError> {
        self.writer
            .append(&entry(name, Kind::Regular, 0o644, size), data)
            .map_err(SaveError::Write)
    }

    fn directory(&mut self, name: &str) -> Result<(), SaveError> {
        self.writer
            .append(&entry(name, Kind::Directory, 0o755, 0), &mut io::empty())
            .map_err(SaveError::Write)
    }
}

/// Returns an image's descriptors in the layout's index, one a name.
fn descriptors(saved: &Saved<'_>) -> Vec<Descriptor> {
    let image = &saved.image;
    let (media_type, digest, size) = match &saved.index {
        Some(index) => (&index.media_type, index.digest, index.bytes.len()),
        None => (
            &image.manifest_media_type,
            image.manifest,
            image.manifest_bytes.len(),
        ),
    };
    let plain = Descriptor {
        media_type: media_type.clone(),
        digest: digest.to_string(),
        size: size as u64,
        ..Descriptor::default()
    };
    if saved.names.is_empty() {
        return vec![plain];
    }
    let annotated = saved.names.iter().map(|name| {
        let mut descriptor = plain.clone();
        let mut annotate = |key: &str, value: String| {
            descriptor.annotations.insert(key.to_owned(), value);
        };
        annotate("io.containerd.image.name", name.to_string());
        if let Some(tag) = name.tag() {
            annotate("org.opencontainers.image.ref.name", tag.to_owned());
        }
        descriptor
    });
    annotated.collect()
}

fn blob_name(digest: &Digest) -> String {
    format!("{BLOBS}/{}", digest.hex())
}

fn entry(name: &str, kind: Kind, mode: u32, size: u64) -> Entry {
    Entry {
        path: name.as_bytes().to_vec(),
        link: Vec::new(),
        kind,
        mode,
        uid: 0,
        gid: 0,
        mtime: Time::default(),
        device: (0, 0),
        size,
        sparse: None,
        xattrs: Vec::new(),
    }
}
