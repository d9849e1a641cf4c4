//! Any bytes as a layer and as an image archive: taken in or refused, and nothing left outside
//! the store or in its temporary directory.
//!
//! Run: `RUSTC_BOOTSTRAP=1 cargo fuzz run archive` in `crates/wharf-store`, as root in a
//! throw-away machine or mount namespace with a tmpfs on `/tmp`.

#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use wharf_store::{DriverChoice, Limits, Roots, Store};

struct World {
    directory: tempfile::TempDir,
    store: Store,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let directory = tempfile::tempdir().expect("tempdir");
    std::fs::write(directory.path().join("sentinel"), b"sentinel").expect("write");
    let store = Store::open(&directory.path().join("store"), DriverChoice::Copy).expect("open");
    World {
        directory,
        store: store.with_limits(Limits {
            bytes: 1 << 20,
            entries: 1000,
            expansion_floor: 1 << 20,
            expansion: 10,
        }),
    }
});

fuzz_target!(|bytes: &[u8]| {
    let World { directory, store } = &*WORLD;
    let imported = store.import(bytes, wharf_oci::image::ImageConfig::default(), &mut |_| {});
    let loaded = store.load(bytes, &mut |_| {});
    for image in imported.iter().chain(loaded.iter().flatten()) {
        store
            .image(&image.id)
            .expect("an image that was taken in is there");
        store.remove_image(&image.id).expect("remove");
    }
    let report = store.verify(&Roots::default(), false).expect("verify");
    assert!(report.is_clean(), "{report:?}");
    store.empty_trash().expect("empty");
    assert!(names(&directory.path().join("store/tmp")).is_empty());
    assert_eq!(names(directory.path()), ["sentinel", "store"]);
    let sentinel = std::fs::read(directory.path().join("sentinel")).expect("read");
    assert_eq!(sentinel, b"sentinel");
});

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .expect("list")
        .map(|entry| {
            entry
                .expect("entry")
                .file_name()
                .into_string()
                .expect("text")
        })
        .collect();
    names.sort();
    names
}
