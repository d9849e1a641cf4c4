//! Archives and stores for the tests of several modules.

use std::io::Write;
use std::path::Path;

use wharf_oci::image::{
    ArchiveManifest, ContainerConfig, Descriptor, ImageConfig, Index, Manifest, RootFs, media_type,
};
use wharf_types::Digest;

use crate::tar::{Entry, Kind, Time, Writer};
use crate::{
    Assembly, DriverChoice, LoadError, LoadedImage, Received, RemoteBlob, RemoteImage, RemoteIndex,
    Roots, Store,
};

/// A store in a directory of its own.
pub(crate) struct World {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) store: Store,
}

impl World {
    pub(crate) fn new(driver: DriverChoice) -> Self {
        let directory = tempfile::tempdir().expect("tempdir");
        let store = Store::open(&directory.path().join("store"), driver).expect("open");
        Self { directory, store }
    }

    pub(crate) fn load(&self, archive: &[u8]) -> LoadedImage {
        let mut loaded = self.store.load(archive, None, &mut |_| {}).expect("load");
        assert_eq!(loaded.len(), 1);
        loaded.remove(0)
    }

    /// Everything in `tmp/`.
    pub(crate) fn temporary(&self) -> Vec<String> {
        crate::store::names(&self.store.root().join("tmp")).expect("list")
    }

    /// Checks that nothing is there but what the store knows, and nothing in the making.
    pub(crate) fn check_clean(&self) {
        let report = self.store.verify(&self.roots(), true).expect("verify");
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(self.temporary(), Vec::<String>::new());
    }

    pub(crate) fn roots(&self) -> Roots {
        Roots {
            indexes: self.store.indexes().into_iter().collect(),
            images: self.store.images().into_iter().collect(),
            snapshots: self.store.snapshots().into_iter().collect(),
        }
    }

    /// Closes the store and opens it again.
    pub(crate) fn reopen(self, driver: DriverChoice) -> Self {
        let Self { directory, store } = self;
        drop(store);
        let store = Store::open(&directory.path().join("store"), driver).expect("open again");
        Self { directory, store }
    }
}

pub(crate) fn entry(path: &str, kind: Kind) -> Entry {
    Entry {
        path: path.as_bytes().to_vec(),
        link: Vec::new(),
        kind,
        mode: if kind == Kind::Directory {
            0o755
        } else {
            0o644
        },
        uid: 0,
        gid: 0,
        mtime: Time {
            seconds: 1_600_000_000,
            nanoseconds: 123_456_789,
        },
        device: (0, 0),
        size: 0,
        sparse: None,
        xattrs: Vec::new(),
    }
}

pub(crate) fn file<'a>(path: &str, data: &'a [u8]) -> (Entry, &'a [u8]) {
    let mut entry = entry(path, Kind::Regular);
    entry.size = data.len() as u64;
    (entry, data)
}

pub(crate) fn directory(path: &str) -> (Entry, &'static [u8]) {
    (entry(path, Kind::Directory), b"")
}

pub(crate) fn link(path: &str, target: &str, kind: Kind) -> (Entry, &'static [u8]) {
    let mut entry = entry(path, kind);
    entry.link = target.as_bytes().to_vec();
    (entry, b"")
}

pub(crate) fn archive(entries: &[(Entry, &[u8])]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (entry, data) in entries {
        writer.append(entry, &mut &**data).expect("append");
    }
    writer.finish().expect("finish")
}

pub(crate) fn config(layers: &[Vec<u8>]) -> ImageConfig {
    ImageConfig {
        architecture: "amd64".to_owned(),
        os: "linux".to_owned(),
        config: ContainerConfig {
            cmd: Some(vec!["sh".to_owned()]),
            ..ContainerConfig::default()
        },
        rootfs: RootFs {
            kind: "layers".to_owned(),
            diff_ids: layers
                .iter()
                .map(|layer| Digest::of(layer).to_string())
                .collect(),
        },
        ..ImageConfig::default()
    }
}

/// An archive as `docker save` wrote it before version 25.
pub(crate) fn docker_archive(layers: &[Vec<u8>], names: &[&str]) -> Vec<u8> {
    let config = serde_json::to_vec(&config(layers)).expect("config");
    let id = Digest::of(&config).hex();
    let layer_names: Vec<String> = (0..layers.len())
        .map(|n| format!("{n}/layer.tar"))
        .collect();
    let manifest = [ArchiveManifest {
        config: format!("{id}.json"),
        repo_tags: names.iter().map(|name| (*name).to_owned()).collect(),
        layers: layer_names.clone(),
    }];
    let manifest = serde_json::to_vec(&manifest).expect("manifest");
    let config_name = format!("{id}.json");
    let mut entries: Vec<(Entry, &[u8])> = layer_names
        .iter()
        .zip(layers)
        .map(|(name, layer)| file(name, layer))
        .collect();
    entries.push(file(&config_name, &config));
    entries.push(file("manifest.json", &manifest));
    archive(&entries)
}

/// Reads a file by a detached mount.
pub(crate) fn read(mount: &Path, name: &str) -> String {
    std::fs::read_to_string(mount.join(name)).expect(name)
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("gzip");
    encoder.finish().expect("gzip")
}

/// An image as a registry has it, its layers in gzip.
pub(crate) struct Remote {
    pub(crate) manifest: Vec<u8>,
    pub(crate) config: Vec<u8>,
    pub(crate) layers: Vec<Vec<u8>>,
}

impl Remote {
    pub(crate) fn new(layers: &[Vec<u8>]) -> Self {
        Self::claiming(layers, &config(layers))
    }

    /// One whose configuration may say anything.
    pub(crate) fn claiming(layers: &[Vec<u8>], config: &ImageConfig) -> Self {
        let config = serde_json::to_vec(config).expect("json");
        let layers: Vec<Vec<u8>> = layers.iter().map(|layer| gzip(layer)).collect();
        let descriptor = |media_type: &str, bytes: &[u8]| Descriptor {
            media_type: media_type.to_owned(),
            digest: Digest::of(bytes).to_string(),
            size: bytes.len() as u64,
            ..Descriptor::default()
        };
        let manifest = Manifest {
            schema_version: 2,
            config: descriptor(media_type::CONFIG, &config),
            layers: layers
                .iter()
                .map(|layer| descriptor(media_type::LAYER_GZIP, layer))
                .collect(),
            ..Manifest::default()
        };
        Self {
            manifest: serde_json::to_vec(&manifest).expect("json"),
            config,
            layers,
        }
    }

    pub(crate) fn image(&self) -> Result<RemoteImage, LoadError> {
        RemoteImage::new(
            self.manifest.clone(),
            media_type::MANIFEST,
            self.config.clone(),
        )
    }

    pub(crate) fn bytes(&self, blob: &RemoteBlob) -> &[u8] {
        let mut layers = self.layers.iter();
        let is_it = |layer: &&Vec<u8>| Digest::of(layer) == blob.digest;
        layers.find(is_it).expect("a layer of this image")
    }

    /// Takes in what the store lacks.
    pub(crate) fn receive(&self, assembly: &Assembly, store: &Store) -> Vec<Received> {
        let missing = assembly.missing().iter();
        let receive = missing.map(|layer| {
            let receiving = store.receive(layer.blob).expect("receive");
            let from = usize::try_from(receiving.present()).expect("size");
            let rest = &self.bytes(&layer.blob)[from..];
            receiving.take_in(rest, &mut |_| {}).expect("take in")
        });
        receive.collect()
    }

    /// Takes it in whole, by an index that names it and another image.
    pub(crate) fn pull(&self, store: &Store) -> LoadedImage {
        let assembly = store.assemble(self.image().expect("image"));
        let assembly = assembly.expect("assemble");
        let layers = self.receive(&assembly, store);
        assembly
            .finish(&layers, Some(self.index()))
            .expect("finish")
    }

    pub(crate) fn index(&self) -> RemoteIndex {
        let digests = [Digest::of(&self.manifest), Digest::of(b"elsewhere")];
        let manifests = digests.map(|digest| Descriptor {
            media_type: media_type::MANIFEST.to_owned(),
            digest: digest.to_string(),
            size: self.manifest.len() as u64,
            ..Descriptor::default()
        });
        let index = Index {
            schema_version: 2,
            manifests: manifests.into(),
            ..Index::default()
        };
        RemoteIndex {
            bytes: serde_json::to_vec(&index).expect("json"),
            media_type: media_type::INDEX.to_owned(),
        }
    }
}
