//! Killed at every step, or out of space: what the next opening finds.
//!
//! Each scenario runs in a process of its own: this test program again, told by the environment
//! where to work.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use wharf_oci::image::ImageConfig;

use crate::fixtures::{Remote, World, archive, directory, docker_archive, file};
use crate::{Commit, DriverChoice, MountOptions, Roots, SnapshotId, Store};

/// Tells the test program that it is the child, and the directory to work in.
const DIRECTORY: &str = "WHARF_STORE_TEST_DIRECTORY";

/// Runs one test of this program in another process.
fn child(test: &str, directory: &Path, failpoint: Option<&str>, namespace: bool) -> Output {
    let exe = std::env::current_exe().expect("exe");
    let mut command = if namespace {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "private"])
            .arg(exe);
        command
    } else {
        Command::new(exe)
    };
    command
        .args(["--exact", test, "--nocapture"])
        .env(DIRECTORY, directory);
    if let Some(failpoint) = failpoint {
        command.env(wharf_types::failpoint::VARIABLE, failpoint);
    }
    command.output().expect("spawn")
}

fn id(text: &str) -> SnapshotId {
    text.parse().expect("id")
}

fn images() -> Vec<u8> {
    docker_archive(
        &[
            archive(&[directory("etc"), file("etc/a", b"a")]),
            archive(&[file("etc/b", b"b")]),
        ],
        &["test:1"],
    )
}

fn remote() -> Remote {
    Remote::new(&[
        archive(&[file("etc/c", b"c")]),
        archive(&[file("etc/d", b"d")]),
    ])
}

/// Everything the store does that takes more than one step.
fn scenario(store: &Store) {
    let loaded = store
        .load(images().as_slice(), None, &mut |_| {})
        .expect("load");
    let image = loaded[0].id;
    store.create_snapshot(&id("one"), &image).expect("create");
    let mount = store
        .mount(&id("one"), MountOptions::default())
        .expect("mount");
    let new = crate::files::proc_path(mount.as_fd()).join("new");
    std::fs::write(new, "content").expect("write");
    drop(mount);
    let commit = Commit {
        snapshot: &id("one"),
        base: &image,
        paths: &BTreeSet::from([PathBuf::from("/new")]),
    };
    let made = store.commit(&commit, |_| ImageConfig::default());
    store
        .remove_image(&made.expect("commit").id)
        .expect("remove");
    store.remove_snapshot(&id("one")).expect("remove");
    store.create_snapshot(&id("two"), &image).expect("create");
    store.remove_image(&image).expect("remove");
    store.remove_snapshot(&id("two")).expect("remove");
    store
        .load(images().as_slice(), None, &mut |_| {})
        .expect("load");
    let loaded = store.load(images().as_slice(), None, &mut |_| {});
    let outgoing = store.outgoing(&loaded.expect("load")[0].id);
    drop(outgoing.expect("outgoing"));
    let pulled = remote().pull(store);
    let index = pulled.index.expect("index");
    store.remove_image(&pulled.id).expect("remove");
    remote().pull(store);
    store
        .remove_index(&index, &BTreeSet::new())
        .expect("remove");
    store.collect(&Roots::default()).expect("collect");
}

#[test]
fn the_scenario_ends() {
    match std::env::var_os(DIRECTORY) {
        Some(directory) => {
            scenario(&Store::open(Path::new(&directory), DriverChoice::Auto).expect("open"));
        }
        None => scenario(&World::new(DriverChoice::Auto).store),
    }
}

#[test]
fn killed_at_every_step_the_store_recovers() {
    let directory = tempfile::tempdir().expect("tempdir");
    let list = directory.path().join("names");
    let listing = format!("list-file:{}", list.display());
    let test = "crash::the_scenario_ends";
    let output = child(test, &directory.path().join("whole"), Some(&listing), false);
    assert!(output.status.success(), "{output:?}");
    let mut names: Vec<String> = std::fs::read_to_string(&list)
        .expect("names")
        .lines()
        .map(str::to_owned)
        .collect();
    names.sort();
    names.dedup();
    assert_eq!(names, documented());
    for name in names {
        let root = directory.path().join(&name);
        let output = child(test, &root, Some(&name), false);
        let signal = std::os::unix::process::ExitStatusExt::signal(&output.status);
        assert_eq!(signal, Some(6), "{name}: {output:?}");
        check_recovery(&root, &name);
    }
}

/// The names that the crate's documentation lists.
fn documented() -> Vec<String> {
    let mut names: Vec<String> = include_str!("lib.rs")
        .split('`')
        .filter(|word| word.starts_with("store."))
        .map(str::to_owned)
        .collect();
    names.sort();
    names
}

fn check_recovery(root: &Path, name: &str) {
    let store = Store::open(root, DriverChoice::Auto).expect("open");
    assert_eq!(
        crate::store::names(&root.join("tmp")).expect("list"),
        Vec::<String>::new()
    );
    // What is there is whole; what belongs to nothing is at most an orphan.
    let roots = Roots {
        indexes: store.indexes().into_iter().collect(),
        images: store.images().into_iter().collect(),
        snapshots: store.snapshots().into_iter().collect(),
    };
    let report = store.verify(&roots, true).expect("verify");
    assert_eq!(
        (report.missing.len(), report.damaged.len()),
        (0, 0),
        "{name}: {report:?}"
    );
    for image in store.images() {
        store.create_snapshot(&id("again"), &image).expect("create");
        store
            .mount(&id("again"), MountOptions::default())
            .expect("mount");
        store.remove_snapshot(&id("again")).expect("remove");
    }
    store.collect(&roots).expect("collect");
    let report = store.verify(&roots, true).expect("verify");
    assert!(report.is_clean(), "{name}: {report:?}");
    // The engine knows of none of it: all goes.
    store.collect(&Roots::default()).expect("collect");
    store.empty_trash().expect("empty");
    for directory in [
        "blobs/sha256",
        "images",
        "indexes",
        "layers",
        "snapshots",
        "tmp",
        "trash",
    ] {
        let left = crate::store::names(&root.join(directory)).expect("list");
        assert_eq!(left, Vec::<String>::new(), "{name}: {directory}");
    }
    // And the same works from here.
    scenario(&store);
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .expect(program);
    assert!(output.status.success(), "{program}: {output:?}");
}

#[test]
fn a_full_disk_is_said_and_left_clean() {
    let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) else {
        // In a mount namespace of its own, so that the loop mount cannot be left behind.
        let directory = tempfile::tempdir().expect("tempdir");
        let test = "crash::a_full_disk_is_said_and_left_clean";
        let output = child(test, directory.path(), None, true);
        assert!(output.status.success(), "{output:?}");
        return;
    };
    let image = directory.join("disk");
    let disk = std::fs::File::create(&image).expect("create");
    disk.set_len(24 << 20).expect("length");
    let (image, mount) = (image.display().to_string(), directory.join("mount"));
    std::fs::create_dir(&mount).expect("mkdir");
    run("mkfs.ext4", &["-q", "-F", &image]);
    run(
        "mount",
        &["-o", "loop", &image, &mount.display().to_string()],
    );
    let store = Store::open(&mount.join("store"), DriverChoice::Auto).expect("open");
    // Random bytes: neither the file system nor a blob at rest makes them smaller.
    let mut bytes = vec![0; 12 << 20];
    for chunk in bytes.chunks_mut(1 << 20) {
        rustix::rand::getrandom(chunk, rustix::rand::GetRandomFlags::empty()).expect("random");
    }
    let small = docker_archive(&[archive(&[file("f", b"small")])], &["small:1"]);
    let kept = store
        .load(small.as_slice(), None, &mut |_| {})
        .expect("load")[0]
        .id;
    let large = docker_archive(&[archive(&[file("f", &bytes)])], &["large:1"]);
    let free = || rustix::fs::statvfs(&mount).expect("statvfs").f_bfree;
    let before = free();
    let error = store
        .load(large.as_slice(), None, &mut |_| {})
        .expect_err("full");
    let mut chain: Vec<String> = Vec::new();
    let mut next: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = next {
        chain.push(error.to_string());
        next = error.source();
    }
    let text = chain.join(": ");
    assert!(
        text.ends_with("No space left on device (os error 28)"),
        "{text}"
    );
    assert!(
        before - free() < 32,
        "space is not freed: {before} {}",
        free()
    );
    let roots = Roots {
        indexes: BTreeSet::new(),
        images: [kept].into(),
        ..Roots::default()
    };
    let report = store.verify(&roots, true).expect("verify");
    assert!(report.is_clean(), "{report:?}");
    store
        .create_snapshot(&id("s"), &kept)
        .expect("what is there works");
}

/// An engine on an older kernel died between `mount(2)` and taking the mount off.
#[test]
fn a_mount_left_in_tmp_is_removed() {
    let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) else {
        let directory = tempfile::tempdir().expect("tempdir");
        let test = "crash::a_mount_left_in_tmp_is_removed";
        let output = child(test, directory.path(), None, true);
        assert!(output.status.success(), "{output:?}");
        return;
    };
    drop(Store::open(&directory, DriverChoice::Auto).expect("open"));
    let left = directory.join("tmp/mount-1-1");
    std::fs::create_dir(&left).expect("mkdir");
    run(
        "mount",
        &["-t", "tmpfs", "none", &left.display().to_string()],
    );
    let store = Store::open(&directory, DriverChoice::Auto).expect("open");
    store.empty_trash().expect("empty");
    assert!(
        store
            .verify(&Roots::default(), true)
            .expect("verify")
            .is_clean()
    );
    assert_eq!(
        crate::store::names(&directory.join("tmp")).expect("list"),
        Vec::<String>::new()
    );
}
