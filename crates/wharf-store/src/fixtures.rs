//! Archives and stores for the tests of several modules.

use std::path::Path;

use wharf_oci::image::{ArchiveManifest, ContainerConfig, ImageConfig, RootFs};
use wharf_types::Digest;

use crate::tar::{Entry, Kind, Time, Writer};
use crate::{DriverChoice, LoadedImage, Roots, Store};

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
        let mut loaded = self.store.load(archive, &mut |_| {}).expect("load");
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
