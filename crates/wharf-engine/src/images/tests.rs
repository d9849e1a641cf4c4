//! Names against a real store.

use std::io::Read;

use wharf_store::DriverChoice;
use wharf_wire as wire;

use super::*;

/// A tar of one empty file.
fn tar(name: &str) -> Vec<u8> {
    let mut block = vec![0; 1536];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..107].copy_from_slice(b"0000644");
    block[108..115].copy_from_slice(b"0000000");
    block[116..123].copy_from_slice(b"0000000");
    block[124..135].copy_from_slice(b"00000000000");
    block[136..147].copy_from_slice(b"00000000000");
    block[156] = b'0';
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].copy_from_slice(b"        ");
    let sum: u32 = block[..512].iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

pub(super) struct Fixture {
    pub(super) images: Images,
    records: Records,
    directory: tempfile::TempDir,
}

impl Fixture {
    pub(super) fn new() -> Self {
        Self::at(tempfile::tempdir().expect("a directory"))
    }

    fn at(directory: tempfile::TempDir) -> Self {
        let store = Store::open(&directory.path().join("store"), DriverChoice::Copy);
        let (records, contents) =
            Records::open(&directory.path().join("records.db")).expect("records");
        let images = Images::new(store.expect("store"), &contents.image_names);
        Self {
            images,
            records,
            directory,
        }
    }

    fn reopened(self) -> Self {
        let Self {
            images,
            records,
            directory,
        } = self;
        drop((images, records));
        Self::at(directory)
    }

    pub(super) fn import(&self, file: &str, repo: &str) -> Digest {
        let request = ImportRequest {
            repo: repo.to_owned(),
            ..ImportRequest::default()
        };
        let archive = tar(file);
        let imported = self
            .images
            .import(&self.records, archive.as_slice(), &request, |_| {});
        imported.expect("import")
    }

    fn list(&self, filters: &str) -> Vec<String> {
        let filters = wire::Filters::parse(filters).expect("filters");
        let query = wire::ImageListQuery {
            filters,
            ..Default::default()
        };
        let found = self.images.list(&query, &|_| -1).expect("list");
        let mut names: Vec<_> = found
            .into_iter()
            .map(|image| image.repo_tags.join(","))
            .collect();
        names.sort();
        names
    }
}

#[test]
fn names_are_found_and_outlast_the_engine() {
    let fixture = Fixture::new();
    let id = fixture.import("a", "debian:12");
    fixture
        .images
        .tag(&fixture.records, "debian:12", "me/app", "v1")
        .expect("tag");
    let fixture = fixture.reopened();
    for name in [
        "debian:12",
        "docker.io/library/debian:12",
        "me/app:v1",
        &id.to_string(),
        &id.hex(),
        &id.short(),
    ] {
        assert_eq!(
            fixture.images.for_container(name, "").expect(name).0,
            id,
            "{name}"
        );
    }
    for (name, message) in [
        ("debian", "No such image: debian:latest"),
        (
            "Debian",
            "invalid reference format: repository name (library/Debian) must be lowercase",
        ),
        ("00000000", "No such image: 00000000:latest"),
    ] {
        assert_eq!(
            fixture
                .images
                .for_container(name, "")
                .expect_err(name)
                .to_string(),
            message
        );
    }
}

#[test]
fn a_name_that_moves_leaves_an_image_without_one() {
    let fixture = Fixture::new();
    let old = fixture.import("a", "app");
    let new = fixture.import("b", "app");
    assert_ne!(old, new);
    assert_eq!(fixture.list("{}"), ["", "app:latest"]);
    assert_eq!(fixture.list(r#"{"dangling":["true"]}"#), [""]);
    assert_eq!(
        fixture.reopened().list(r#"{"reference":["a*"]}"#),
        ["app:latest"]
    );
}

#[test]
fn the_last_name_takes_the_image_away() {
    let fixture = Fixture::new();
    let id = fixture.import("a", "app");
    let remove = |name: &str| {
        let query = wire::ImageRemoveQuery::default();
        fixture
            .images
            .remove(&fixture.records, name, query, &|_| Vec::new())
            .expect("remove")
            .steps
    };
    fixture
        .images
        .tag(&fixture.records, "app", "other", "")
        .expect("tag");
    assert_eq!(remove("other").len(), 1);
    let removed = remove("app");
    assert_eq!(removed[0].untagged, "app:latest");
    assert_eq!(removed[1].deleted, id.to_string());
    assert_eq!(fixture.images.store.images(), []);
    let fixture = fixture.reopened();
    assert!(fixture.images.roots().is_empty());
}

#[test]
fn an_archive_goes_out_and_comes_in() {
    let fixture = Fixture::new();
    let id = fixture.import("a", "app:1");
    fixture
        .images
        .tag(&fixture.records, "app:1", "app", "2")
        .expect("tag");
    let mut archive = Vec::new();
    fixture
        .images
        .save(&["app".to_owned()], &[], &mut archive)
        .expect("save");
    let other = Fixture::new();
    let mut said = Vec::new();
    let reader: &mut dyn Read = &mut archive.as_slice();
    other
        .images
        .load(&other.records, reader, true, &[], |progress| {
            said.push(progress.stream);
        })
        .expect("load");
    assert_eq!(said, ["Loaded image: app:1\n", "Loaded image: app:2\n"]);
    assert_eq!(
        other.images.for_container("app:2", "").expect("app:2").0,
        id
    );
    let history = other.images.history("app:1", &[]).expect("history");
    assert_eq!(
        (history.len(), history[0].comment.as_str()),
        (1, "Imported from -")
    );
}

#[test]
fn what_is_no_archive_leaves_nothing() {
    let fixture = Fixture::new();
    for bytes in [&b"no archive"[..], &[0; 1024], &[]] {
        let error = fixture
            .images
            .load(&fixture.records, bytes, true, &[], |_| {})
            .expect_err("refused");
        assert_eq!(error.status(), 400, "{error}");
    }
    assert!(fixture.images.roots().is_empty());
    assert_eq!(fixture.images.store.images(), []);
}
