use std::io::Cursor;
use std::time::Duration;

use serde_json::json;
use wharf_oci::image::media_type;

use super::*;

mod limits;

struct Fixture {
    storage: Storage,
    directory: tempfile::TempDir,
}

fn name(text: &str) -> Repository {
    text.parse().expect("a name")
}

fn tag(text: &str) -> ManifestName {
    ManifestName::Tag(text.parse().expect("a tag"))
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self {
            storage: Storage::open(directory.path()).expect("opens"),
            directory,
        }
    }

    fn reopened(self) -> Self {
        let Self { storage, directory } = self;
        drop(storage);
        Self {
            storage: Storage::open(directory.path()).expect("opens again"),
            directory,
        }
    }

    fn blob(&self, repository: &Repository, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let id = self.storage.begin_upload(repository, None).expect("begins");
        self.storage
            .append(repository, &id, Expected::default(), bytes)
            .expect("appends");
        self.storage
            .finish_upload(repository, &id, digest)
            .expect("finishes");
        digest
    }

    fn image(&self, repository: &Repository, content: &str) -> (Vec<u8>, Digest) {
        let config = self.blob(repository, format!("config {content}").as_bytes());
        let layer = self.blob(repository, content.as_bytes());
        let bytes = manifest(config, layer, None);
        let stored = self
            .storage
            .put_manifest(
                repository,
                &tag("latest"),
                &bytes,
                Some(media_type::MANIFEST),
                Overwrite::Allowed,
            )
            .expect("stored");
        (bytes, stored.digest)
    }

    fn collect_all(&self) -> Collected {
        let retention = Retention {
            untagged: true,
            ..Retention::default()
        };
        let later = SystemTime::now() + Duration::from_secs(30 * 24 * 3600);
        self.storage.collect(retention, later).expect("collects")
    }

    fn files(&self) -> Vec<String> {
        fn walk(directory: &Path, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(directory).expect("a directory") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    walk(&path, found);
                } else {
                    found.push(path.display().to_string());
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.directory.path().join("docker"), &mut found);
        found
    }
}

fn manifest(config: Digest, layer: Digest, subject: Option<Digest>) -> Vec<u8> {
    let mut document = json!({
        "schemaVersion": 2,
        "mediaType": media_type::MANIFEST,
        "config": {"mediaType": media_type::CONFIG, "digest": config, "size": 1},
        "layers": [{"mediaType": media_type::LAYER_GZIP, "digest": layer, "size": 1}],
    });
    if let Some(subject) = subject {
        document["subject"] =
            json!({"mediaType": media_type::MANIFEST, "digest": subject, "size": 1});
        document["artifactType"] = json!("application/x-signature");
        document["annotations"] = json!({"a": "b"});
    }
    document.to_string().into_bytes()
}

#[test]
fn what_is_pushed_is_served_now_and_after_a_restart() {
    let app = name("team/app");
    let mut fixture = Fixture::new();
    let (bytes, digest) = fixture.image(&app, "one");
    for _ in 0..2 {
        let served = fixture
            .storage
            .manifest(&app, &tag("latest"))
            .expect("served");
        assert_eq!(
            (served.digest, &served.bytes),
            (digest, &Bytes::from(bytes.clone()))
        );
        assert_eq!(served.media_type, media_type::MANIFEST);
        let (mut file, size) = fixture
            .storage
            .open_blob(&app, Digest::of(b"one"))
            .expect("served");
        let mut content = String::new();
        file.read_to_string(&mut content).expect("read");
        assert_eq!((content.as_str(), size), ("one", 3));
        assert_eq!(
            fixture.storage.repositories(None, 10, |_| true),
            (vec!["team/app".to_owned()], false)
        );
        assert_eq!(
            fixture.storage.tags(&app, None, 10).expect("tags").0,
            ["latest"]
        );
        fixture = fixture.reopened();
    }
}

#[test]
fn a_directory_has_one_owner() {
    let fixture = Fixture::new();
    assert!(matches!(
        Storage::open(fixture.directory.path()),
        Err(OpenError::Owned(_))
    ));
}

#[test]
fn attack_g5_content_under_a_foreign_digest_is_not_stored() {
    let app = name("app");
    let fixture = Fixture::new();
    let id = fixture.storage.begin_upload(&app, None).expect("begins");
    fixture
        .storage
        .append(&app, &id, Expected::default(), b"evil".as_slice())
        .expect("appends");
    let finished = fixture
        .storage
        .finish_upload(&app, &id, Digest::of(b"good"));
    assert!(matches!(
        finished,
        Err(StorageError::Upload(UploadError::Digest { .. }))
    ));
    assert!(
        fixture
            .storage
            .open_blob(&app, Digest::of(b"good"))
            .is_err()
    );
    let config = fixture.blob(&app, b"c");
    let bytes = manifest(config, config, None);
    let put = fixture.storage.put_manifest(
        &app,
        &ManifestName::Digest(Digest::of(b"other")),
        &bytes,
        None,
        Overwrite::Allowed,
    );
    assert!(matches!(put, Err(StorageError::Digest { .. })));
}

#[test]
fn attack_g1_a_blob_is_served_where_it_was_pushed_only() {
    let (private, mine) = (name("private/x"), name("mine/y"));
    let fixture = Fixture::new();
    let digest = fixture.blob(&private, b"secret");
    assert!(fixture.storage.open_blob(&mine, digest).is_err());
    assert_eq!(fixture.storage.blob_size(&mine, digest), None);
    // A manifest cannot get at it either.
    let put = fixture.storage.put_manifest(
        &mine,
        &tag("t"),
        &manifest(digest, digest, None),
        None,
        Overwrite::Allowed,
    );
    assert!(matches!(put, Err(StorageError::Incomplete { .. })));
    assert!(
        !fixture
            .storage
            .mount(&mine, &name("other"), digest)
            .expect("asked")
    );
    assert!(
        fixture
            .storage
            .mount(&mine, &private, digest)
            .expect("mounted")
    );
    assert_eq!(fixture.storage.blob_size(&mine, digest), Some(6));
}

#[test]
fn attack_g7_an_upload_has_one_writer_one_repository_and_no_holes() {
    let app = name("app");
    let fixture = Fixture::new();
    let id = fixture.storage.begin_upload(&app, None).expect("begins");
    let at = |start| Expected {
        start: Some(start),
        length: None,
    };
    assert_eq!(
        fixture
            .storage
            .append(&app, &id, at(0), b"abc".as_slice())
            .expect("appends"),
        3
    );
    for start in [0, 2, 4] {
        let appended = fixture
            .storage
            .append(&app, &id, at(start), b"x".as_slice());
        assert!(
            matches!(appended, Err(UploadError::Offset { offset: 3, .. })),
            "{start}"
        );
    }
    assert!(matches!(
        fixture.storage.upload_offset(&name("other"), &id),
        Err(UploadError::Unknown(_))
    ));
    struct Second<'a>(&'a Storage, &'a Repository, UploadId);
    impl Read for Second<'_> {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            let second = self
                .0
                .append(self.1, &self.2, Expected::default(), b"y".as_slice());
            assert!(matches!(second, Err(UploadError::Busy(_))));
            Ok(0)
        }
    }
    fixture
        .storage
        .append(&app, &id, at(3), Second(&fixture.storage, &app, id))
        .expect("nothing more");
}

#[test]
fn an_upload_goes_on_after_a_cut_and_a_restart() {
    struct Cut(Cursor<&'static [u8]>);
    impl Read for Cut {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            match self.0.read(out)? {
                0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
                length => Ok(length),
            }
        }
    }
    let app = name("app");
    let fixture = Fixture::new();
    let id = fixture.storage.begin_upload(&app, None).expect("begins");
    let cut = fixture
        .storage
        .append(&app, &id, Expected::default(), Cut(Cursor::new(b"first ")));
    assert!(matches!(cut, Err(UploadError::Body(_))));
    let fixture = fixture.reopened();
    assert_eq!(fixture.storage.upload_offset(&app, &id).expect("known"), 6);
    fixture
        .storage
        .append(
            &app,
            &id,
            Expected {
                start: Some(6),
                length: None,
            },
            b"second".as_slice(),
        )
        .expect("appends");
    fixture
        .storage
        .finish_upload(&app, &id, Digest::of(b"first second"))
        .expect("finishes");
    assert!(matches!(
        fixture.storage.upload_offset(&app, &id),
        Err(UploadError::Unknown(_))
    ));
}

#[test]
fn what_a_manifest_needs_cannot_be_deleted() {
    let app = name("app");
    let fixture = Fixture::new();
    let (_, digest) = fixture.image(&app, "one");
    let layer = Digest::of(b"one");
    assert!(matches!(
        fixture.storage.delete_blob(&app, layer),
        Err(StorageError::InUse { .. })
    ));
    fixture
        .storage
        .delete_manifest(&app, &ManifestName::Digest(digest))
        .expect("deleted");
    assert!(
        fixture
            .storage
            .tags(&app, None, 10)
            .expect("tags")
            .0
            .is_empty(),
        "its tags went with it"
    );
    fixture.storage.delete_blob(&app, layer).expect("deleted");
    assert!(matches!(
        fixture.storage.delete_blob(&app, layer),
        Err(StorageError::NoBlob { .. })
    ));
}

#[test]
fn collection_leaves_nothing_of_what_nothing_names() {
    let (app, other) = (name("app"), name("other"));
    let fixture = Fixture::new();
    fixture.image(&app, "one");
    fixture.image(&app, "two");
    fixture.image(&other, "two");
    fixture.storage.begin_upload(&app, None).expect("begins");
    let collected = fixture.collect_all();
    assert_eq!(
        (collected.manifests, collected.blobs, collected.uploads),
        (1, 3, 1),
        "the first image is untagged"
    );
    fixture
        .storage
        .delete_manifest(&app, &tag("latest"))
        .expect("untagged");
    fixture.collect_all();
    assert!(fixture.storage.manifest(&other, &tag("latest")).is_ok());
    fixture
        .storage
        .delete_manifest(&other, &tag("latest"))
        .expect("untagged");
    fixture.collect_all();
    assert_eq!(
        fixture.storage.repositories(None, 10, |_| true).0,
        Vec::<String>::new()
    );
    let left: Vec<String> = fixture
        .files()
        .into_iter()
        .filter(|path| !path.contains("/_manifests/tags/"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn a_blob_somebody_asked_for_is_kept_for_a_while() {
    let app = name("app");
    let fixture = Fixture::new();
    let digest = fixture.blob(&app, b"layer");
    let soon = SystemTime::now() + Duration::from_secs(3600);
    let collected = fixture
        .storage
        .collect(Retention::default(), soon)
        .expect("collects");
    assert_eq!(collected, Collected::default());
    assert!(fixture.storage.blob_size(&app, digest).is_some());
}

#[test]
fn attack_g11_collection_beside_pushes_and_deletes_never_breaks_an_image() {
    let fixture = Fixture::new();
    let storage = &fixture.storage;
    let none = Retention {
        blobs: Duration::ZERO,
        uploads: Duration::from_secs(3600),
        untagged: true,
    };
    let running = std::sync::atomic::AtomicUsize::new(32);
    let running = &running;
    std::thread::scope(|scope| {
        for client in 0..32 {
            let fixture = &fixture;
            scope.spawn(move || {
                let app = name(&format!("app{}", client % 4));
                for round in 0..8 {
                    // The same layers again and again, so that the collector and the clients meet.
                    let layer = fixture.storage.begin_upload(&app, None).expect("begins");
                    let content = format!("layer {}", round % 3);
                    fixture
                        .storage
                        .append(&app, &layer, Expected::default(), content.as_bytes())
                        .expect("appends");
                    let digest = Digest::of(content.as_bytes());
                    fixture
                        .storage
                        .finish_upload(&app, &layer, digest)
                        .expect("finishes");
                    // The blob may be collected before the manifest comes: that is told, and tried again.
                    let put = fixture.storage.put_manifest(
                        &app,
                        &tag(&format!("t{client}")),
                        &manifest(digest, digest, None),
                        None,
                        Overwrite::Allowed,
                    );
                    assert!(
                        matches!(put, Ok(_) | Err(StorageError::Incomplete { .. })),
                        "{put:?}"
                    );
                    if round % 4 == 3 {
                        let deleted = fixture
                            .storage
                            .delete_manifest(&app, &tag(&format!("t{client}")));
                        assert!(
                            matches!(deleted, Ok(()) | Err(StorageError::NoManifest { .. })),
                            "{deleted:?}"
                        );
                    }
                }
                running.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
            });
        }
        scope.spawn(move || {
            while running.load(std::sync::atomic::Ordering::SeqCst) > 0 {
                storage
                    .collect(none, SystemTime::now() + Duration::from_secs(1))
                    .expect("collects");
                for repository in storage.repositories(None, 100, |_| true).0 {
                    let repository = name(&repository);
                    let Ok((tags, _)) = storage.tags(&repository, None, 100) else {
                        continue;
                    };
                    for text in tags {
                        let Ok(manifest) = storage.manifest(&repository, &tag(&text)) else {
                            continue;
                        };
                        let document = Document::read(&manifest.bytes, None).expect("a manifest");
                        let whole = document
                            .blobs
                            .iter()
                            .all(|digest| storage.open_blob(&repository, *digest).is_ok());
                        // Unless it was deleted meanwhile.
                        assert!(
                            whole
                                || storage
                                    .manifest(&repository, &ManifestName::Digest(manifest.digest))
                                    .is_err()
                        );
                    }
                }
            }
        });
    });
}

#[test]
fn referrers_are_found_by_subject_and_by_the_tag_of_older_clients() {
    let app = name("app");
    let fixture = Fixture::new();
    let (_, subject) = fixture.image(&app, "one");
    let config = fixture.blob(&app, b"{}");
    let signature = manifest(config, config, Some(subject));
    let stored = fixture
        .storage
        .put_manifest(
            &app,
            &ManifestName::Digest(Digest::of(&signature)),
            &signature,
            None,
            Overwrite::Allowed,
        )
        .expect("stored");
    assert_eq!(stored.subject, Some(subject));
    let kept = Digest::of(b"kept elsewhere");
    let other = manifest(config, Digest::of(b"{}"), None);
    let other_digest = fixture
        .storage
        .put_manifest(&app, &tag("other"), &other, None, Overwrite::Allowed)
        .expect("stored")
        .digest;
    let index = json!({"schemaVersion": 2, "mediaType": media_type::INDEX,
        "manifests": [{"mediaType": media_type::MANIFEST, "digest": other_digest, "size": 3, "artifactType": "application/x-old"}]});
    fixture
        .storage
        .put_manifest(
            &app,
            &tag(&format!("sha256-{}", subject.hex())),
            index.to_string().as_bytes(),
            None,
            Overwrite::Allowed,
        )
        .expect("stored");
    let found = fixture.storage.referrers(&app, subject, None);
    let digests: Vec<&str> = found
        .manifests
        .iter()
        .map(|descriptor| descriptor.digest.as_str())
        .collect();
    assert_eq!(
        digests,
        [other_digest.to_string(), stored.digest.to_string()]
    );
    assert_eq!(found.manifests[1].annotations["a"], "b");
    let filtered = fixture
        .storage
        .referrers(&app, subject, Some("application/x-signature"));
    assert_eq!(filtered.manifests.len(), 1);
    assert!(
        fixture
            .storage
            .referrers(&app, kept, None)
            .manifests
            .is_empty()
    );
}

#[test]
fn lists_come_in_pages() {
    let fixture = Fixture::new();
    for number in 0..5 {
        fixture.blob(&name(&format!("app{number}")), b"x");
    }
    let (first, more) = fixture.storage.repositories(None, 2, |_| true);
    assert_eq!(
        (first, more),
        (vec!["app0".to_owned(), "app1".to_owned()], true)
    );
    let (rest, more) = fixture.storage.repositories(Some("app1"), 10, |_| true);
    assert_eq!((rest.len(), more), (3, false));
}

#[test]
fn damaged_trees_are_served_as_far_as_they_are_whole() {
    let app = name("app");
    let fixture = Fixture::new();
    let (_, digest) = fixture.image(&app, "one");
    let layout = Layout::new(fixture.directory.path());
    std::fs::write(
        layout.tag_link(&app, &"latest".parse().expect("a tag")),
        "sha256:no",
    )
    .expect("written");
    std::fs::create_dir_all(layout.blob_directory(Digest::of(b"cut"))).expect("made");
    std::fs::create_dir_all(layout.repositories().join("Bad Name/_layers")).expect("made");
    let fixture = fixture.reopened();
    assert!(fixture.storage.manifest(&app, &tag("latest")).is_err());
    assert!(
        fixture
            .storage
            .manifest(&app, &ManifestName::Digest(digest))
            .is_ok()
    );
    assert!(!layout.blob_directory(Digest::of(b"cut")).exists());
}
