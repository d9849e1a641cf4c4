//! Images on their way to a registry.
//!
//! What came compressed goes byte by byte. What came plain goes compressed by gzip: its layer has
//! another digest then, and the image another manifest, as with every engine that compresses when it
//! pushes. It is compressed once: the blob rests in that form afterwards. (Sending it as it rested, in
//! Zstandard, would need no work, but Docker before 23.0 cannot read it.)
//!
//! Fail points: `store.pack.written`, `store.pack.renamed`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use wharf_oci::image::{Manifest, media_type};
use wharf_types::{Digest, Hasher, failpoint};

use crate::blob::Resting;
use crate::files::{self, failed};
use crate::session::Pins;
use crate::{ImageError, PathError, Store};

/// An image as it goes to a registry; what it needs stays in the store meanwhile.
#[derive(Debug)]
pub struct OutgoingImage {
    /// Digest of its manifest.
    pub manifest: Digest,
    /// Type of its manifest.
    pub media_type: String,
    /// Its manifest.
    pub manifest_bytes: Vec<u8>,
    /// Its layers, lowest first.
    pub layers: Vec<OutgoingLayer>,
    /// Its configuration.
    pub config: OutgoingBlob,
    _pins: Pins,
}

/// A layer as it goes to a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingLayer {
    /// Its digest in the store.
    pub stored: Digest,
    /// Digest of its plain tar.
    pub diff_id: Digest,
    /// What goes.
    pub blob: OutgoingBlob,
}

/// Bytes that go to a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingBlob {
    /// Digest of the file.
    pub digest: Digest,
    /// Bytes of the file.
    pub size: u64,
    /// The file.
    pub path: PathBuf,
}

impl Store {
    /// Returns an image ready to go to a registry. Blocks: layers that came plain are read once.
    ///
    /// # Errors
    /// [`ImageError`].
    pub fn outgoing(&self, id: &Digest) -> Result<OutgoingImage, ImageError> {
        let mut pins = Pins::new(self);
        let image = self.image(id)?;
        for layer in &image.layers {
            pins.add(layer.blob);
        }
        pins.add(*id);
        pins.add(image.manifest);
        let mut layers = Vec::new();
        for layer in &image.layers {
            let blob = self.outgoing_blob(id, &layer.blob)?;
            layers.push(OutgoingLayer {
                stored: layer.blob,
                diff_id: layer.diff_id,
                blob,
            });
        }
        let (manifest_bytes, media_type) = if layers.iter().all(|l| l.blob.digest == l.stored) {
            (image.manifest_bytes, image.manifest_media_type)
        } else {
            let bytes = compressed(&image.manifest_bytes, &layers)
                .map_err(|source| ImageError::Document { image: *id, source })?;
            (bytes, media_type::MANIFEST.to_owned())
        };
        Ok(OutgoingImage {
            manifest: Digest::of(&manifest_bytes),
            media_type,
            manifest_bytes,
            config: self.outgoing_blob(id, id)?,
            layers,
            _pins: pins,
        })
    }

    /// Returns a blob of an index that is no image's, ready to go to a registry.
    ///
    /// # Errors
    /// [`ImageError::MissingBlob`].
    pub fn outgoing_blob(&self, image: &Digest, blob: &Digest) -> Result<OutgoingBlob, ImageError> {
        let missing = || ImageError::MissingBlob {
            image: *image,
            blob: *blob,
        };
        let (mut path, resting) = self.shared.blobs.resting(blob).ok_or_else(missing)?;
        let digest = match resting {
            Resting::AsItIs => *blob,
            Resting::Gzip => self.packed(blob, &path)?,
            Resting::Zstd => {
                self.pack(blob)?;
                path = self.shared.blobs.path(blob, Resting::Gzip);
                self.packed(blob, &path)?
            }
        };
        let size = std::fs::metadata(&path).map_err(failed("look at", &path))?;
        Ok(OutgoingBlob {
            digest,
            size: size.len(),
            path,
        })
    }

    /// Has a blob that came plain rest in gzip instead of Zstandard.
    fn pack(&self, blob: &Digest) -> Result<(), PathError> {
        let blobs = &self.shared.blobs;
        let place = blobs.path(blob, Resting::Gzip);
        let Some(plain) = blobs.open(blob)? else {
            return Ok(());
        };
        let directory = self.temporary();
        files::make_directory(&directory)?;
        let temporary = directory.join("packed");
        let packed = File::create_new(&temporary)
            .and_then(|file| {
                let mut hashing = HashingWriter {
                    file,
                    hasher: Hasher::new(),
                };
                crate::pack::gzip(plain, &mut hashing)?;
                hashing.file.sync_all()?;
                Ok(hashing.hasher.finish())
            })
            .map_err(failed("compress", &temporary));
        let renamed = packed.and_then(|digest| {
            failpoint::hit("store.pack.written");
            files::rename(&temporary, &place)?;
            self.state().packed.insert(*blob, digest);
            failpoint::hit("store.pack.renamed");
            files::sync_directory(blobs.directory())?;
            self.discard(&blobs.path(blob, Resting::Zstd))
        });
        self.clear(&directory);
        renamed
    }

    /// Returns the digest of a blob as it rests; read once while the store is open.
    fn packed(&self, blob: &Digest, path: &Path) -> Result<Digest, PathError> {
        if let Some(digest) = self.state().packed.get(blob) {
            return Ok(*digest);
        }
        let mut file = File::open(path).map_err(failed("open", path))?;
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; 256 << 10];
        loop {
            match file.read(&mut buffer).map_err(failed("read", path))? {
                0 => break,
                count => hasher.update(&buffer[..count]),
            }
        }
        let digest = hasher.finish();
        self.state().packed.insert(*blob, digest);
        Ok(digest)
    }
}

/// A file that is digested as it is written.
struct HashingWriter {
    file: File,
    hasher: Hasher,
}

impl Write for HashingWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes a manifest anew, with the layers as they go.
fn compressed(manifest: &[u8], layers: &[OutgoingLayer]) -> Result<Vec<u8>, serde_json::Error> {
    let mut manifest: Manifest = serde_json::from_slice(manifest)?;
    manifest.media_type = Some(media_type::MANIFEST.to_owned());
    media_type::CONFIG.clone_into(&mut manifest.config.media_type);
    for (descriptor, layer) in manifest.layers.iter_mut().zip(layers) {
        if layer.blob.digest != layer.stored {
            descriptor.digest = layer.blob.digest.to_string();
            descriptor.size = layer.blob.size;
            media_type::LAYER_GZIP.clone_into(&mut descriptor.media_type);
        } else if descriptor.media_type == media_type::DOCKER_LAYER_GZIP {
            media_type::LAYER_GZIP.clone_into(&mut descriptor.media_type);
        }
    }
    serde_json::to_vec(&manifest)
}

#[cfg(test)]
mod tests {
    use wharf_types::Digest;

    use crate::DriverChoice;
    use crate::fixtures::{Remote, World, archive, docker_archive, file};

    #[test]
    fn what_came_plain_goes_compressed_and_comes_back_the_same() {
        let world = World::new(DriverChoice::Auto);
        let layers = [archive(&[file("a", b"a")]), archive(&[file("b", b"b")])];
        let image = world.load(&docker_archive(&layers, &["a:1"]));
        let outgoing = world.store.outgoing(&image.id).expect("outgoing");
        assert_ne!(outgoing.manifest, image.manifest);
        let read = |path: &std::path::Path| std::fs::read(path).expect("read");
        let remote = Remote {
            manifest: outgoing.manifest_bytes.clone(),
            config: read(&outgoing.config.path),
            layers: outgoing
                .layers
                .iter()
                .map(|layer| read(&layer.blob.path))
                .collect(),
        };
        // It rests in the new form, and is what it was.
        world.check_clean();
        assert_eq!(
            world.store.outgoing(&image.id).expect("again").manifest,
            outgoing.manifest
        );
        let other = World::new(DriverChoice::Auto);
        for (layer, bytes) in outgoing.layers.iter().zip(&remote.layers) {
            assert_eq!(layer.blob.digest, Digest::of(bytes));
        }
        assert_eq!(remote.pull(&other.store).id, image.id);
        other.check_clean();
        // What is on its way stays.
        world.store.remove_image(&image.id).expect("remove");
        assert!(outgoing.layers.iter().all(|layer| layer.blob.path.exists()));
    }

    #[test]
    fn what_came_compressed_goes_byte_by_byte() {
        let world = World::new(DriverChoice::Auto);
        let remote = Remote::new(&[archive(&[file("a", b"a")])]);
        let pulled = remote.pull(&world.store);
        let outgoing = world.store.outgoing(&pulled.id).expect("outgoing");
        assert_eq!(outgoing.manifest_bytes, remote.manifest);
        assert_eq!(outgoing.manifest, pulled.manifest);
        assert_eq!(
            std::fs::read(&outgoing.layers[0].blob.path).expect("read"),
            remote.layers[0]
        );
    }
}
