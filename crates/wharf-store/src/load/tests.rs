//! Archives of images, good and bad.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;

use wharf_oci::image::{Descriptor, Index, Manifest, Platform, media_type};
use wharf_types::{Digest, Reference};

use super::*;
use crate::fixtures::{World, archive, config, directory, docker_archive, entry, file, gzip, link};
use crate::{DocumentRefusal, DriverChoice, Exceeded, ExtractError, Limits, SaveImage, TarError};

fn world() -> World {
    World::new(DriverChoice::Auto)
}

fn layer(text: &str) -> Vec<u8> {
    archive(&[directory("etc"), file("etc/text", text.as_bytes())])
}

fn names(image: &LoadedImage) -> Vec<String> {
    image.names.iter().map(Reference::familiar).collect()
}

/// An OCI layout in the making.
#[derive(Default)]
struct Layout {
    blobs: BTreeMap<String, Vec<u8>>,
}

impl Layout {
    fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Descriptor {
        let digest = Digest::of(bytes);
        self.blobs
            .insert(format!("blobs/sha256/{}", digest.hex()), bytes.to_vec());
        Descriptor {
            media_type: media_type.to_owned(),
            digest: digest.to_string(),
            size: bytes.len() as u64,
            ..Descriptor::default()
        }
    }

    fn json<T: serde::Serialize>(&mut self, media_type: &str, value: &T) -> Descriptor {
        let bytes = serde_json::to_vec(value).expect("json");
        self.blob(media_type, &bytes)
    }

    fn manifest(&mut self, config: &ImageConfig, layers: Vec<Descriptor>) -> Descriptor {
        let config = self.json(media_type::CONFIG, config);
        self.json(
            media_type::MANIFEST,
            &Manifest {
                schema_version: 2,
                config,
                layers,
                ..Manifest::default()
            },
        )
    }

    fn index(manifests: Vec<Descriptor>) -> Index {
        Index {
            schema_version: 2,
            manifests,
            ..Index::default()
        }
    }

    /// Writes the archive, index and blobs.
    fn archive(&self, manifests: Vec<Descriptor>) -> Vec<u8> {
        let index = serde_json::to_vec(&Self::index(manifests)).expect("json");
        let mut entries: Vec<_> = self
            .blobs
            .iter()
            .map(|(name, bytes)| file(name, bytes))
            .collect();
        entries.push(file("index.json", &index));
        entries.push(file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#));
        archive(&entries)
    }
}

fn named(mut descriptor: Descriptor, name: &str) -> Descriptor {
    let key = "io.containerd.image.name".to_owned();
    descriptor.annotations.insert(key, name.to_owned());
    descriptor
}

fn for_platform(mut descriptor: Descriptor, architecture: &str) -> Descriptor {
    descriptor.platform = Some(Platform {
        os: "linux".to_owned(),
        architecture: architecture.to_owned(),
        ..Platform::default()
    });
    descriptor
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ::zstd::encode_all(bytes, 3).expect("zstd")
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ::bzip2::write::BzEncoder::new(Vec::new(), ::bzip2::Compression::fast());
    encoder.write_all(bytes).expect("bzip2");
    encoder.finish().expect("bzip2")
}

/// By the program: no encoder is compiled in.
fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut child = std::process::Command::new("xz")
        .arg("-c")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the program xz, of xz-utils");
    let mut stdin = child.stdin.take().expect("stdin");
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes));
    let output = child.wait_with_output().expect("xz");
    writer.join().expect("join").expect("write");
    output.stdout
}

#[test]
fn a_docker_archive_is_taken_in() {
    let world = world();
    let layers = [layer("one"), layer("two")];
    let mut events = Vec::new();
    let bytes = docker_archive(&layers, &["test:1", "example.com/a/b:2"]);
    let loaded = world
        .store
        .load(bytes.as_slice(), None, &mut |event| {
            events.push(match event {
                LoadEvent::Layer { id, current, total } => format!("{id} {current}/{total}"),
                LoadEvent::Loaded(image) => image.id.to_string(),
            });
        })
        .expect("load");
    assert_eq!(names(&loaded[0]), ["test:1", "example.com/a/b:2"]);
    let image = world.store.image(&loaded[0].id).expect("image");
    assert_eq!(image.config.config.cmd, Some(vec!["sh".to_owned()]));
    assert_eq!(image.size(), 6);
    assert_eq!(image.id, Digest::of(&image.config_bytes));
    assert_eq!(image.manifest, Digest::of(&image.manifest_bytes));
    let diff_ids: Vec<_> = image.layers.iter().map(|layer| layer.diff_id).collect();
    assert_eq!(diff_ids, layers.map(|layer| Digest::of(&layer)));
    assert_eq!(events.last(), Some(&image.id.to_string()));
    assert!(
        events.contains(&format!("0 {0}/{0}", layer("one").len())),
        "{events:?}"
    );
    world.check_clean();
}

#[test]
fn every_compression_is_recognised_outside_and_inside() {
    let plain = [layer("one"), layer("two")];
    let expected = docker_archive(&plain, &["test:1"]);
    let id = world().load(&expected).id;
    for compress in [gzip, zstd, xz, bzip2] {
        let outside = world();
        assert_eq!(outside.load(&compress(&expected)).id, id);
        outside.check_clean();
        let inside = world();
        let mut layout = Layout::default();
        let layers = plain
            .iter()
            .map(|layer| layout.blob(media_type::LAYER_GZIP, &compress(layer)))
            .collect();
        let manifest = layout.manifest(&config(&plain), layers);
        let image = inside.load(&layout.archive(vec![manifest]));
        assert_eq!(image.id, id);
        inside.check_clean();
        let mut saved = Vec::new();
        let save = SaveImage {
            id,
            names: Vec::new(),
            index: None,
        };
        inside.store.save(&[save], &mut saved).expect("save");
        assert_eq!(world().load(&saved).id, id);
    }
}

#[test]
fn a_layout_keeps_its_bytes_through_save_and_load() {
    let layers = [layer("one"), layer("two")];
    let mut layout = Layout::default();
    let blobs = vec![
        layout.blob(media_type::LAYER_GZIP, &gzip(&layers[0])),
        layout.blob(media_type::LAYER, &layers[1]),
    ];
    let manifest = layout.manifest(&config(&layers), blobs);
    let first = world();
    let name = "docker.io/library/test:1";
    let image = first.load(&layout.archive(vec![named(manifest.clone(), name)]));
    assert_eq!(image.manifest.to_string(), manifest.digest);
    assert_eq!(names(&image), ["test:1"]);
    let mut saved = Vec::new();
    let save = SaveImage {
        id: image.id,
        names: image.names.clone(),
        index: image.index,
    };
    first
        .store
        .save(std::slice::from_ref(&save), &mut saved)
        .expect("save");
    let second = world();
    assert_eq!(second.load(&saved), image);
    second.check_clean();
    let mut again = Vec::new();
    second.store.save(&[save], &mut again).expect("save");
    assert_eq!(again, saved);
    for (name, bytes) in &layout.blobs {
        let digest = Digest::from_hex(&name["blobs/sha256/".len()..]).expect("digest");
        let blob = second.store.shared.blobs.read(&digest).expect("read");
        assert_eq!(blob.as_ref(), Some(bytes));
    }
}

/// An index of three platforms and an attestation, by name.
fn multi_platform(layout: &mut Layout) -> (Descriptor, Vec<Descriptor>) {
    let mut manifests = Vec::new();
    for architecture in ["arm64", "amd64", "riscv64"] {
        let layers = [layer(architecture)];
        let blob = layout.blob(media_type::LAYER_GZIP, &gzip(&layers[0]));
        let mut config = config(&layers);
        architecture.clone_into(&mut config.architecture);
        manifests.push(for_platform(
            layout.manifest(&config, vec![blob]),
            architecture,
        ));
    }
    let statement = layout.blob("application/vnd.in-toto+json", b"{\"a\":1}");
    let nothing = layout.blob(media_type::CONFIG, b"{}");
    let attestation = Manifest {
        schema_version: 2,
        config: nothing,
        layers: vec![statement],
        ..Manifest::default()
    };
    let attestation = layout.json(media_type::MANIFEST, &attestation);
    manifests.push(for_platform(attestation, "unknown"));
    let index = layout.json(media_type::INDEX, &Layout::index(manifests.clone()));
    (named(index, "docker.io/me/multi:1"), manifests)
}

#[test]
fn an_image_for_several_platforms_stays_whole() {
    let mut layout = Layout::default();
    let (index, _) = multi_platform(&mut layout);
    let digest: Digest = index.digest.parse().expect("digest");
    let world = world();
    let image = world.load(&layout.archive(vec![index]));
    assert_eq!(
        (names(&image), image.index),
        (vec!["me/multi:1".to_owned()], Some(digest))
    );
    let host = world.store.image(&image.id).expect("image");
    assert_eq!(host.config.architecture, "amd64");
    assert_eq!(world.store.images().len(), 3);
    assert!(world.store.index(&digest).expect("index").is_complete());
    world.check_clean();
    let world = world.reopen(DriverChoice::Auto);
    world.check_clean();

    // It goes to another store with every byte.
    let save = SaveImage {
        id: image.id,
        names: image.names.clone(),
        index: image.index,
    };
    let mut saved = Vec::new();
    world.store.save(&[save], &mut saved).expect("save");
    let second = World::new(DriverChoice::Auto);
    assert_eq!(second.load(&saved), image);
    for (name, bytes) in &layout.blobs {
        let digest = Digest::from_hex(&name["blobs/sha256/".len()..]).expect("digest");
        let blob = second.store.shared.blobs.read(&digest).expect("read");
        assert_eq!(blob.as_ref(), Some(bytes));
    }
    second.check_clean();

    // What has a name of its own stays when the index goes.
    let kept = BTreeSet::from([image.id]);
    world.store.remove_index(&digest, &kept).expect("remove");
    assert_eq!(world.store.images(), [image.id]);
    world.check_clean();
    let none = BTreeSet::new();
    second.store.remove_index(&digest, &none).expect("remove");
    assert_eq!(second.store.images(), []);
    for directory in ["layers", "blobs/sha256", "indexes"] {
        let left = crate::store::names(&second.store.root().join(directory)).expect("list");
        assert_eq!(left, Vec::<String>::new(), "{directory}");
    }
}

#[test]
fn only_the_platforms_that_are_asked_for_come_in() {
    let mut layout = Layout::default();
    let (index, manifests) = multi_platform(&mut layout);
    let digest: Digest = index.digest.parse().expect("digest");
    let archive = layout.archive(vec![index]);
    let world = world();
    let load = |architecture: &str| {
        let wanted = |config: &ImageConfig| config.architecture == architecture;
        let archive = archive.as_slice();
        world.store.load(archive, Some(&wanted), &mut |_| {})
    };
    let loaded = load("riscv64").expect("load");
    assert_eq!(world.store.images(), [loaded[0].id]);
    let index = world.store.index(&digest).expect("index");
    assert!(!index.is_complete());
    assert_eq!(
        index.member(&manifests[2]).and_then(|member| member.image),
        Some(loaded[0].id)
    );
    world.check_clean();
    let error = load("s390x").expect_err("no platform").to_string();
    assert_eq!(
        error,
        "the archive has images for linux/arm64, linux/amd64, linux/riscv64 only"
    );
    world.check_clean();
    // The rest comes later, and what was there stays.
    load("arm64").expect("load");
    load("amd64").expect("load");
    assert!(world.store.index(&digest).expect("index").is_complete());
    world.check_clean();
}

#[test]
fn links_between_layers_of_old_archives_are_followed() {
    let bytes = layer("same");
    let layers = [bytes.clone(), bytes.clone()];
    let config = serde_json::to_vec(&config(&layers)).expect("config");
    let manifest =
        br#"[{"Config":"c.json","RepoTags":null,"Layers":["a/layer.tar","b/layer.tar"]}]"#;
    for second in [
        link("b/layer.tar", "../a/layer.tar", Kind::Symlink),
        link("b/layer.tar", "a/layer.tar", Kind::HardLink),
    ] {
        let world = world();
        let image = world.load(&archive(&[
            file("a/layer.tar", &bytes),
            second,
            file("c.json", &config),
            file("manifest.json", manifest),
        ]));
        assert_eq!(world.store.image(&image.id).expect("image").layers.len(), 2);
        world.check_clean();
    }
}

#[test]
fn images_share_layers_and_blobs() {
    let world = world();
    let base = layer("base");
    let one = world.load(&docker_archive(&[base.clone(), layer("one")], &["one:1"]));
    let two = world.load(&docker_archive(&[base.clone(), layer("two")], &["two:1"]));
    let again = world.load(&docker_archive(&[base, layer("one")], &["again:1"]));
    assert_eq!((again.id, again.manifest), (one.id, one.manifest));
    let count = |name: &str| {
        crate::store::names(&world.store.root().join(name))
            .expect("list")
            .len()
    };
    // Three layers, and two configurations and manifests.
    assert_eq!((count("layers"), count("blobs/sha256")), (3, 3 + 4));
    world.store.remove_image(&one.id).expect("remove");
    assert_eq!((count("layers"), count("blobs/sha256")), (2, 2 + 2));
    world.check_clean();
    world.store.remove_image(&two.id).expect("remove");
    assert_eq!((count("layers"), count("blobs/sha256")), (0, 0));
}

#[test]
fn many_images_come_and_go_in_one_archive() {
    let first = world();
    let images: Vec<_> = (0..3)
        .map(|n| {
            let name = format!("image-{n}:latest");
            first.load(&docker_archive(
                &[layer("base"), layer(&n.to_string())],
                &[&name],
            ))
        })
        .collect();
    let save: Vec<_> = images
        .iter()
        .map(|image| SaveImage {
            id: image.id,
            names: image.names.clone(),
            index: image.index,
        })
        .collect();
    let mut bytes = Vec::new();
    first.store.save(&save, &mut bytes).expect("save");
    let second = world();
    let mut loaded = second
        .store
        .load(bytes.as_slice(), None, &mut |_| {})
        .expect("load");
    loaded.sort_by(|a, b| a.names.cmp(&b.names));
    assert_eq!(loaded, images);
    // What is there already is checked and not kept twice.
    let mut again = second
        .store
        .load(bytes.as_slice(), None, &mut |_| {})
        .expect("load");
    again.sort_by(|a, b| a.names.cmp(&b.names));
    assert_eq!(again, images);
    second.check_clean();
}

#[test]
fn host_files_become_an_image() {
    let world = world();
    let program = std::env::current_exe().expect("exe");
    let files = [
        HostFile {
            path: std::path::Path::new("hello"),
            mode: 0o755,
            source: HostSource::Path(program.clone()),
        },
        HostFile {
            path: std::path::Path::new("etc/note"),
            mode: 0o644,
            source: HostSource::Bytes(b"note"),
        },
        HostFile {
            path: std::path::Path::new("tmp"),
            mode: 0o1777,
            source: HostSource::Directory,
        },
    ];
    let import = || world.store.import_files(&files, ImageConfig::default());
    let image = import().expect("import");
    assert_eq!(import().expect("again").id, image.id);
    let found = world.store.image(&image.id).expect("image");
    let diff = world.store.shared.layers.diff(&found.layers[0].chain);
    assert!(
        std::fs::read(diff.join("hello")).expect("read") == std::fs::read(&program).expect("read")
    );
    assert_eq!(found.config.os, "linux");
    world.check_clean();
    let missing = [HostFile {
        path: std::path::Path::new("x"),
        mode: 0o644,
        source: HostSource::Path(PathBuf::from("/nonexistent/file")),
    }];
    let error = world
        .store
        .import_files(&missing, ImageConfig::default())
        .expect_err("missing");
    assert_eq!(error.to_string(), "open /nonexistent/file");
    world.check_clean();
}

/// Loads what must be refused and leave nothing.
fn refused(bytes: &[u8]) -> LoadError {
    let world = world();
    let error = world
        .store
        .load(bytes, None, &mut |_| {})
        .expect_err("refused");
    world.check_clean();
    for name in ["blobs/sha256", "layers", "images"] {
        let left = crate::store::names(&world.store.root().join(name)).expect("list");
        assert_eq!(left, Vec::<String>::new());
    }
    error
}

fn manifest_archive(manifest: &str, config: &[u8]) -> Vec<u8> {
    let layer = layer("x");
    archive(&[
        file("layer.tar", &layer),
        file("config.json", config),
        file("manifest.json", manifest.as_bytes()),
    ])
}

#[test]
fn attack_a6_names_out_of_the_archive_are_refused() {
    let config = serde_json::to_vec(&config(&[layer("x")])).expect("config");
    for manifest in [
        r#"[{"Config":"../../x","Layers":["layer.tar"]}]"#,
        r#"[{"Config":"/etc/passwd","Layers":["layer.tar"]}]"#,
        r#"[{"Config":"config.json","Layers":["../../etc/passwd"]}]"#,
        r#"[{"Config":"config.json","Layers":["/etc/passwd"]}]"#,
    ] {
        let error = refused(&manifest_archive(manifest, &config));
        assert!(matches!(error, LoadError::Missing(_)), "{error}");
    }
    let layer = layer("x");
    for name in ["../../x", "/x", "a/../../x"] {
        let error = refused(&archive(&[file(name, &layer)]));
        assert!(matches!(error, LoadError::Name(_)), "{error}");
        let error = refused(&archive(&[link("layer.tar", name, Kind::Symlink)]));
        assert!(matches!(error, LoadError::Name(_)), "{error}");
    }
    let error = refused(&archive(&[file("blobs/sha256/../../../x", &layer)]));
    assert!(matches!(error, LoadError::Name(_)), "{error}");
}

#[test]
fn attack_a6_links_in_a_circle_end() {
    let config = serde_json::to_vec(&config(&[layer("x")])).expect("config");
    let error = refused(&archive(&[
        link("a", "b", Kind::Symlink),
        link("b", "a", Kind::Symlink),
        file("config.json", &config),
        file(
            "manifest.json",
            br#"[{"Config":"config.json","Layers":["a"]}]"#,
        ),
    ]));
    assert!(matches!(error, LoadError::Missing(_)), "{error}");
}

#[test]
fn attack_a6_content_that_is_not_its_digest_is_refused() {
    let other = Digest::of(b"other");
    let bytes = layer("x");
    let good = serde_json::to_vec(&config(std::slice::from_ref(&bytes))).expect("config");
    // A blob under another's name.
    let name = format!("blobs/sha256/{}", other.hex());
    let error = refused(&archive(&[file(&name, &bytes)]));
    assert!(matches!(error, LoadError::Digest { .. }), "{error}");
    // A configuration under another's id.
    let name = format!("{}.json", other.hex());
    let manifest = format!(r#"[{{"Config":"{name}","Layers":["layer.tar"]}}]"#);
    let error = refused(&archive(&[
        file("layer.tar", &bytes),
        file(&name, &good),
        file("manifest.json", manifest.as_bytes()),
    ]));
    assert!(matches!(error, LoadError::Digest { .. }), "{error}");
    // A layer that is not what the configuration says.
    let manifest = r#"[{"Config":"config.json","Layers":["layer.tar"]}]"#;
    let lying = serde_json::to_vec(&config(&[layer("y")])).expect("config");
    let error = refused(&manifest_archive(manifest, &lying));
    assert!(
        matches!(error, LoadError::DiffId { index: 0, .. }),
        "{error}"
    );
    // The image's id as a traversal.
    let error = refused(&manifest_archive(
        manifest,
        br#"{"rootfs":{"diff_ids":["../../x"]}}"#,
    ));
    assert!(
        matches!(
            error,
            LoadError::Document {
                reason: DocumentRefusal::Digest,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn attack_a6_a_known_layer_cannot_be_passed_off_as_another() {
    let world = world();
    let (one, two) = (layer("one"), layer("two"));
    world.load(&docker_archive(std::slice::from_ref(&one), &["one:1"]));
    world.load(&docker_archive(std::slice::from_ref(&two), &["two:1"]));
    // The configuration says `one`, the manifest names the blob of `two`; the store has both.
    let mut layout = Layout::default();
    let blob = layout.blob(media_type::LAYER, &two);
    let mut config = config(std::slice::from_ref(&one));
    config.author = Some("somebody else".to_owned());
    let manifest = layout.manifest(&config, vec![blob]);
    let bytes = layout.archive(vec![manifest.clone()]);
    let error = world
        .store
        .load(bytes.as_slice(), None, &mut |_| {})
        .expect_err("lie");
    assert!(matches!(error, LoadError::DiffId { .. }), "{error}");
    layout.blobs.retain(|_, blob| *blob != two);
    let bytes = layout.archive(vec![manifest]);
    let error = world
        .store
        .load(bytes.as_slice(), None, &mut |_| {})
        .expect_err("lie");
    assert!(matches!(error, LoadError::DiffId { .. }), "{error}");
    world.check_clean();
}

#[test]
fn attack_a5_in_a_layer_nothing_is_made_outside() {
    let up = archive(&[file("fine", b"x"), file("../../../../sentinel", b"evil")]);
    let out = archive(&[
        link("out", "../../../..", Kind::Symlink),
        file("out/sentinel", b"evil"),
    ]);
    let hard = archive(&[link("l", "../../../../sentinel", Kind::HardLink)]);
    for bytes in [up, out, hard] {
        let world = world();
        let sentinel = world.directory.path().join("sentinel");
        std::fs::write(&sentinel, b"sentinel").expect("write");
        let image = docker_archive(std::slice::from_ref(&bytes), &[]);
        let store = &world.store;
        let loaded = store.load(image.as_slice(), None, &mut |_| {}).map(drop);
        let config = ImageConfig::default();
        let imported = store
            .import(bytes.as_slice(), config, &mut |_| {})
            .map(drop);
        for result in [loaded, imported] {
            // Through its own link it ends inside, where the link means the root itself.
            assert!(
                matches!(&result, Ok(()) | Err(LoadError::Extract(_))),
                "{result:?}"
            );
        }
        assert_eq!(std::fs::read(&sentinel).expect("read"), b"sentinel");
        let found = crate::store::names(world.directory.path()).expect("list");
        assert_eq!(found.len(), 2, "{found:?}");
        world.check_clean();
    }
}

#[test]
fn attack_g5_odd_digests_are_refused() {
    let bytes = layer("x");
    let hex = Digest::of(&bytes).hex().to_uppercase();
    let error = refused(&archive(&[file(&format!("blobs/sha256/{hex}"), &bytes)]));
    assert!(matches!(error, LoadError::Name(_)), "{error}");
    let mut layout = Layout::default();
    let blob = layout.blob(media_type::LAYER, &bytes);
    let good = layout.manifest(&config(&[bytes]), vec![blob]);
    for digest in ["sha512:00", "sha256:../../etc/passwd", ""] {
        let mut bad = good.clone();
        digest.clone_into(&mut bad.digest);
        let error = refused(&layout.archive(vec![bad]));
        assert!(
            matches!(
                error,
                LoadError::Document {
                    reason: DocumentRefusal::Digest,
                    ..
                }
            ),
            "{error}"
        );
    }
    let mut short = good;
    short.size -= 1;
    let error = refused(&layout.archive(vec![short]));
    assert!(
        matches!(
            error,
            LoadError::Document {
                reason: DocumentRefusal::Size,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn attack_g4_a_manifest_that_is_also_an_index_is_refused() {
    let mut layout = Layout::default();
    let document = layout.blob(
        media_type::MANIFEST,
        br#"{"schemaVersion":2,"config":{},"layers":[],"manifests":[]}"#,
    );
    let error = refused(&layout.archive(vec![document]));
    assert!(
        matches!(
            error,
            LoadError::Document {
                reason: DocumentRefusal::Ambiguous,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn attack_g10_crafted_images_are_refused_soon() {
    let start = std::time::Instant::now();
    let reason = |bytes: &[u8]| match refused(bytes) {
        LoadError::Document { reason, .. } => reason,
        other => panic!("{other}"),
    };
    // Nested beyond reason.
    let mut layout = Layout::default();
    let mut index = layout.json(media_type::INDEX, &Layout::index(Vec::new()));
    for _ in 0..8 {
        index = layout.json(media_type::INDEX, &Layout::index(vec![index]));
    }
    assert_eq!(
        reason(&layout.archive(vec![index])),
        DocumentRefusal::TooDeep
    );
    // A hundred thousand layers.
    let mut layout = Layout::default();
    let mut many = config(&[]);
    many.rootfs.diff_ids = vec![Digest::of(b"").to_string(); 100_000];
    let manifest = layout.manifest(&many, Vec::new());
    let refusal = reason(&layout.archive(vec![manifest]));
    assert!(matches!(
        refusal,
        DocumentRefusal::TooManyLayers | DocumentRefusal::TooLarge
    ));
    // Fewer layers than diff ids, and no configuration.
    let mut layout = Layout::default();
    let manifest = layout.manifest(&config(&[layer("x")]), Vec::new());
    assert_eq!(
        reason(&layout.archive(vec![manifest])),
        DocumentRefusal::LayerCount
    );
    let error = refused(&manifest_archive(r#"[{"Config":"config.json"}]"#, b"null"));
    assert!(matches!(error, LoadError::Json { .. }), "{error}");
    let error = refused(&manifest_archive("[{}]", b"{}"));
    assert!(matches!(error, LoadError::Missing(_)), "{error}");
    assert!(start.elapsed() < std::time::Duration::from_secs(5));
}

#[test]
fn attack_a7_bombs_stop_at_the_limit_and_free_their_space() {
    let limits = Limits {
        bytes: 1 << 40,
        entries: 100,
        expansion_floor: 256 << 10,
        expansion: 100,
    };
    let mut zeros = entry("zeros", Kind::Regular);
    zeros.size = 6 << 20;
    let mut bomb = Vec::new();
    {
        let encoder = flate2::write::GzEncoder::new(&mut bomb, flate2::Compression::default());
        let mut writer = Writer::new(encoder);
        writer.append(&zeros, &mut io::repeat(0)).expect("append");
        writer.finish().expect("finish").finish().expect("gzip");
    }
    let world = world();
    let store = world.store.clone().with_limits(limits);
    let expands = |error: LoadError| {
        let mut chain: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = chain {
            if error.to_string().contains("beyond 100 times") {
                return;
            }
            chain = error.source();
        }
        panic!("{error:?}");
    };
    let config = ImageConfig::default();
    expands(
        store
            .import(bomb.as_slice(), config.clone(), &mut |_| {})
            .expect_err("import"),
    );
    let inside = archive(&[file("blobs/layer", &bomb)]);
    expands(
        store
            .load(inside.as_slice(), None, &mut |_| {})
            .expect_err("layer"),
    );
    expands(
        store
            .load(bomb.as_slice(), None, &mut |_| {})
            .expect_err("outside"),
    );
    let entries: Vec<_> = (0..101).map(|n| file(["a", "b"][n % 2], b"")).collect();
    let error = store
        .import(archive(&entries).as_slice(), config, &mut |_| {})
        .expect_err("entries");
    assert!(
        matches!(
            error,
            LoadError::Extract(ExtractError::Exceeded(Exceeded::Entries(100)))
        ),
        "{error}"
    );
    world.check_clean();
    let report = store.verify(&world.roots(), false).expect("verify");
    assert!(report.bytes < 1 << 20, "{report:?}");
}

#[test]
fn what_is_no_image_is_refused() {
    assert!(matches!(refused(b""), LoadError::NoImage));
    assert!(matches!(refused(&layer("x")), LoadError::NoImage));
    let error = refused(
        b"this is not an archive, but text; of more than one block"
            .repeat(20)
            .as_slice(),
    );
    assert!(
        matches!(error, LoadError::Archive(TarError::Checksum(0))),
        "{error}"
    );
    let whole = docker_archive(&[layer("x")], &[]);
    let error = refused(&whole[..1000]);
    assert!(
        matches!(error, LoadError::Archive(TarError::Truncated)),
        "{error}"
    );
    let compressed = gzip(&whole);
    let error = refused(&compressed[..compressed.len() / 2]);
    assert!(
        matches!(error, LoadError::Archive(TarError::Read(_))),
        "{error}"
    );
    let error = refused(&docker_archive(&[layer("x")], &["Bad Name"]));
    assert!(matches!(error, LoadError::Reference { .. }), "{error}");
}

#[test]
fn an_image_of_another_machine_comes_in_as_it_is() {
    let mut config = config(&[layer("x")]);
    "arm64".clone_into(&mut config.architecture);
    let config = serde_json::to_vec(&config).expect("json");
    let manifest = r#"[{"Config":"config.json","RepoTags":null,"Layers":["layer.tar"]}]"#;
    let world = world();
    let image = world.load(&manifest_archive(manifest, &config));
    let image = world.store.image(&image.id).expect("image");
    assert_eq!(image.config.architecture, "arm64");
    world.check_clean();
}

#[test]
fn loads_and_removals_at_once_leave_whole_images() {
    let world = world();
    let archives: Vec<_> = ["one", "two", "three"]
        .map(|text| docker_archive(&[layer("base"), layer(text)], &[]))
        .into();
    std::thread::scope(|scope| {
        for archive in &archives {
            for _ in 0..2 {
                let store = &world.store;
                scope.spawn(move || {
                    for _ in 0..10 {
                        let image = store
                            .load(archive.as_slice(), None, &mut |_| {})
                            .expect("load");
                        store.remove_image(&image[0].id).expect("remove");
                    }
                });
            }
        }
    });
    // One last time, as a removal may have come after a load of the same.
    for archive in &archives {
        let image = world.load(archive);
        let id = format!("s{}", image.id.hex()).parse().expect("id");
        world.store.create_snapshot(&id, &image.id).expect("create");
        world.store.view(&id).expect("all layers are there");
    }
    world.check_clean();
}

#[test]
fn an_import_of_what_is_no_archive_says_so() {
    let world = world();
    for bytes in [&b"text"[..], &[b'x'; 2000], &gzip(b"text")] {
        let error = world
            .store
            .import(bytes, ImageConfig::default(), &mut |_| {})
            .expect_err("no archive");
        assert!(
            error.to_string().starts_with("not a tar archive"),
            "{error}"
        );
    }
    world.check_clean();
}
