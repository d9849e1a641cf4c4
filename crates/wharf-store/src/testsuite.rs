//! What every driver must do: the laws of snapshots, run for overlay and for copies.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::fixtures::{World, archive, directory, docker_archive, entry, file, link, read};
use crate::tar::{Entry, Kind, Reader};
use crate::{
    Change, ChangeKind, DriverChoice, ImageError, MountOptions, SnapshotError, SnapshotId,
};

macro_rules! laws {
    ($($law:ident),* $(,)?) => {
        mod overlay {
            $(#[test] fn $law() { super::$law(crate::DriverChoice::Overlay); })*
        }
        mod overlay_of_old_kernels {
            $(#[test] fn $law() { super::$law(crate::DriverChoice::OverlayOfOldKernels); })*
        }
        mod copy {
            $(#[test] fn $law() { super::$law(crate::DriverChoice::Copy); })*
        }
    };
}

laws!(
    a_snapshot_shows_its_image,
    snapshots_do_not_see_each_other,
    a_read_only_mount_refuses_writes,
    the_root_directory_is_the_images,
    changes_are_listed,
    what_is_exported_is_what_is_seen,
    a_layer_of_the_changes_makes_the_same_tree,
    usage_counts_what_is_new,
    an_id_is_taken_once,
    images_without_layers,
    layers_live_as_long_as_a_snapshot_uses_them,
    snapshots_survive_reopening,
    a_view_beside_a_writable_mount,
    volatile_mounts_can_be_repeated,
    a_hundred_and_thirty_layers,
);

fn id(text: &str) -> SnapshotId {
    text.parse().expect("id")
}

fn three_layers() -> Vec<Vec<u8>> {
    let mut root = directory("./");
    root.0.mode = 0o750;
    let mut program = file("bin/su", b"elf");
    program.0.mode = 0o4755;
    program.0.xattrs = vec![(
        b"security.capability".to_vec(),
        b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec(),
    )];
    vec![
        archive(&[
            root,
            directory("bin"),
            program,
            link("bin/mount", "bin/su", Kind::HardLink),
            link("sh", "bin/su", Kind::Symlink),
            file("etc/passwd", b"root"),
            file("etc/motd", b"hello"),
            file("opt/a/one", b"1"),
            file("opt/a/two", b"2"),
            file("var/old/x", b"x"),
        ]),
        archive(&[
            file("etc/.wh.motd", b""),
            directory("opt/a"),
            file("opt/a/.wh..wh..opq", b""),
            file("opt/a/three", b"3"),
            file(".wh.var", b""),
        ]),
        archive(&[
            file("etc/passwd", b"root and more"),
            directory("var"),
            file("var/new", b"n"),
        ]),
    ]
}

struct Case {
    world: World,
    image: wharf_types::Digest,
}

fn case(driver: DriverChoice) -> Case {
    let world = World::new(driver);
    let image = world
        .load(&docker_archive(&three_layers(), &["test:latest"]))
        .id;
    Case { world, image }
}

impl Case {
    fn snapshot(&self, name: &str) -> SnapshotId {
        let id = id(name);
        self.world
            .store
            .create_snapshot(&id, &self.image)
            .expect("create");
        id
    }

    fn mount(&self, id: &SnapshotId) -> Mounted {
        Mounted::new(
            self.world
                .store
                .mount(id, MountOptions::default())
                .expect("mount"),
        )
    }
}

/// Places to mount on that overlay has below every image, but for `etc`, which these have anyway.
const PLACES: [&str; 6] = [
    "dev",
    "etc/hostname",
    "etc/hosts",
    "etc/resolv.conf",
    "proc",
    "sys",
];

/// A detached mount and a path to it.
struct Mounted {
    fd: OwnedFd,
    path: PathBuf,
}

impl Mounted {
    fn new(fd: OwnedFd) -> Self {
        let path = crate::files::proc_path(fd.as_fd());
        Self { fd, path }
    }

    /// All paths of the image and of what was changed, and the content of files.
    fn content(&self) -> BTreeMap<PathBuf, String> {
        let mut content = BTreeMap::new();
        crate::tree::walk::<crate::PathError>(self.fd.as_fd(), &mut |item| {
            let text = match item.kind() {
                rustix::fs::FileType::RegularFile => {
                    read(&self.path, item.path.to_str().expect("text"))
                }
                rustix::fs::FileType::Symlink => item.read_link()?.into_string().expect("text"),
                _ => String::new(),
            };
            let about = format!(
                "{:o} {}:{} {:?} {text}",
                item.stat.st_mode,
                item.stat.st_uid,
                item.stat.st_gid,
                item.attributes()?,
            );
            let is_place = PLACES.iter().any(|place| item.path == Path::new(place));
            if !is_place || !text.is_empty() {
                content.insert(item.path.to_owned(), about);
            }
            Ok(true)
        })
        .map_err(|error| format!("{error:?}"))
        .expect("walk");
        content
    }
}

fn a_snapshot_shows_its_image(driver: DriverChoice) {
    let case = case(driver);
    let mount = case.mount(&case.snapshot("s"));
    assert_eq!(read(&mount.path, "etc/passwd"), "root and more");
    assert_eq!(read(&mount.path, "opt/a/three"), "3");
    assert_eq!(read(&mount.path, "sh"), "elf");
    let paths: Vec<String> = mount
        .content()
        .keys()
        .map(|path| path.display().to_string())
        .collect();
    assert_eq!(
        paths,
        [
            "bin",
            "bin/mount",
            "bin/su",
            "etc",
            "etc/passwd",
            "opt",
            "opt/a",
            "opt/a/three",
            "sh",
            "var",
            "var/new"
        ]
    );
    let program = std::fs::metadata(mount.path.join("bin/su")).expect("metadata");
    assert_eq!((program.mode() & 0o7777, program.nlink()), (0o4755, 2));
    assert_eq!(
        (program.mtime(), program.mtime_nsec()),
        (1_600_000_000, 123_456_789)
    );
    let mut value = [0; 64];
    let length = rustix::fs::getxattr(
        mount.path.join("bin/mount"),
        "security.capability",
        &mut value,
    );
    assert_eq!(length, Ok(20));
}

fn snapshots_do_not_see_each_other(driver: DriverChoice) {
    let case = case(driver);
    let one = case.mount(&case.snapshot("one"));
    let two = case.mount(&case.snapshot("two"));
    std::fs::write(one.path.join("etc/passwd"), b"changed").expect("write");
    std::fs::remove_file(one.path.join("var/new")).expect("remove");
    assert_eq!(read(&two.path, "etc/passwd"), "root and more");
    let three = case.mount(&case.snapshot("three"));
    assert_eq!(read(&three.path, "var/new"), "n");
    assert_eq!(read(&one.path, "etc/passwd"), "changed");
}

fn a_read_only_mount_refuses_writes(driver: DriverChoice) {
    let case = case(driver);
    let snapshot = case.snapshot("s");
    let options = MountOptions {
        readonly: true,
        volatile: false,
    };
    let mount = Mounted::new(case.world.store.mount(&snapshot, options).expect("mount"));
    let error = std::fs::write(mount.path.join("new"), b"x").expect_err("read-only");
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    assert_eq!(read(&mount.path, "etc/passwd"), "root and more");
}

fn the_root_directory_is_the_images(driver: DriverChoice) {
    let case = case(driver);
    let mount = case.mount(&case.snapshot("s"));
    let metadata = std::fs::metadata(&mount.path).expect("metadata");
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o750);
}

fn change_everything(root: &Path) {
    std::fs::write(root.join("etc/passwd"), b"changed").expect("write");
    std::fs::write(root.join("etc/new"), b"new").expect("write");
    std::fs::remove_file(root.join("var/new")).expect("remove");
    std::fs::remove_dir_all(root.join("opt")).expect("remove");
    std::fs::remove_file(root.join("sh")).expect("remove");
    symlink("etc", root.join("sh")).expect("link");
    std::fs::remove_dir_all(root.join("bin")).expect("remove");
    std::fs::create_dir(root.join("bin")).expect("mkdir");
    std::fs::write(root.join("bin/su"), b"other").expect("write");
    std::fs::create_dir_all(root.join("home/me")).expect("mkdir");
    std::fs::write(root.join("home/me/f"), b"f").expect("write");
    std::fs::hard_link(root.join("home/me/f"), root.join("home/g")).expect("link");
}

fn changes_are_listed(driver: DriverChoice) {
    use ChangeKind::{Added, Deleted, Modified};
    let case = case(driver);
    let snapshot = case.snapshot("s");
    assert_eq!(case.world.store.diff(&snapshot).expect("diff"), []);
    let mount = case.mount(&snapshot);
    change_everything(&mount.path);
    std::fs::write(mount.path.join("passing"), b"x").expect("write");
    std::fs::remove_file(mount.path.join("passing")).expect("remove");
    let mut changes = case.world.store.diff(&snapshot).expect("diff");
    changes.retain(|change| !(change.path == Path::new("/bin") && change.kind == Modified));
    let expected = [
        ("/bin/mount", Deleted),
        ("/bin/su", Modified),
        ("/etc", Modified),
        ("/etc/new", Added),
        ("/etc/passwd", Modified),
        ("/home", Added),
        ("/home/g", Added),
        ("/home/me", Added),
        ("/home/me/f", Added),
        ("/opt", Deleted),
        ("/sh", Modified),
        ("/var", Modified),
        ("/var/new", Deleted),
    ]
    .map(|(path, kind)| Change {
        path: PathBuf::from(path),
        kind,
    });
    assert_eq!(changes, expected);
}

/// Reads an archive back into paths, kinds and contents.
fn contents(bytes: &[u8]) -> BTreeMap<String, (Entry, Vec<u8>)> {
    let mut reader = Reader::new(bytes);
    let mut entries = BTreeMap::new();
    while let Some(entry) = reader.next().expect("next") {
        let mut data = Vec::new();
        reader.read_to_end(&mut data).expect("data");
        let path = String::from_utf8(entry.path.clone()).expect("text");
        assert!(entries.insert(path, (entry, data)).is_none());
    }
    entries
}

fn what_is_exported_is_what_is_seen(driver: DriverChoice) {
    let case = case(driver);
    let snapshot = case.snapshot("s");
    let mount = case.mount(&snapshot);
    change_everything(&mount.path);
    let sparse = std::fs::File::create(mount.path.join("disk")).expect("create");
    sparse.set_len(50 << 20).expect("length");
    sparse.write_all_at(b"data", 20 << 20).expect("write");
    symlink("/etc/shadow", mount.path.join("leak")).expect("link");
    let mut bytes = Vec::new();
    let view = case.world.store.view(&snapshot).expect("view");
    crate::RootedDir::open(view)
        .export(&mut bytes)
        .expect("export");
    assert!(bytes.len() < 1 << 20, "holes are not written");
    let entries = contents(&bytes);
    let names: Vec<&str> = entries.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "bin/",
            "bin/su",
            "disk",
            "etc/",
            "etc/new",
            "etc/passwd",
            "home/",
            "home/g",
            "home/me/",
            "home/me/f",
            "leak",
            "sh",
            "var/"
        ]
    );
    let (disk, data) = &entries["disk"];
    assert_eq!(disk.size, 50 << 20);
    let segment = disk.sparse.as_ref().expect("sparse")[0];
    assert_eq!(
        &data[usize::try_from((20 << 20) - segment.offset).expect("small")..][..4],
        b"data"
    );
    // Attack A8: a link is a link.
    let (leak, _) = &entries["leak"];
    assert_eq!(
        (leak.kind, leak.link.as_slice()),
        (Kind::Symlink, &b"/etc/shadow"[..])
    );
    let (linked, _) = &entries["home/me/f"];
    assert_eq!(
        (linked.kind, linked.link.as_slice()),
        (Kind::HardLink, &b"home/g"[..])
    );
    assert_eq!(entries["etc/passwd"].1, b"changed");

    let again = World::new(driver);
    let image = again
        .store
        .import(
            bytes.as_slice(),
            wharf_oci::image::ImageConfig::default(),
            &mut |_| {},
        )
        .expect("import");
    again
        .store
        .create_snapshot(&id("t"), &image.id)
        .expect("create");
    let copy = Mounted::new(
        again
            .store
            .mount(&id("t"), MountOptions::default())
            .expect("mount"),
    );
    assert_eq!(copy.content(), mount.content());
    let disk = std::fs::metadata(copy.path.join("disk")).expect("metadata");
    assert!(disk.blocks() * 512 < 1 << 20, "holes are kept");
}

fn a_layer_of_the_changes_makes_the_same_tree(driver: DriverChoice) {
    let case = case(driver);
    let snapshot = case.snapshot("s");
    let mount = case.mount(&snapshot);
    change_everything(&mount.path);
    let mut layer = Vec::new();
    case.world
        .store
        .write_layer(&snapshot, &mut layer)
        .expect("layer");
    let mut layers = three_layers();
    layers.push(layer);
    let image = case.world.load(&docker_archive(&layers, &[])).id;
    case.world
        .store
        .create_snapshot(&id("t"), &image)
        .expect("create");
    let copy = case.mount(&id("t"));
    assert_eq!(copy.content(), mount.content());
    assert_eq!(case.world.store.diff(&id("t")).expect("diff"), []);
}

fn usage_counts_what_is_new(driver: DriverChoice) {
    let case = case(driver);
    let snapshot = case.snapshot("s");
    let store = &case.world.store;
    assert_eq!(store.snapshot_usage(&snapshot).expect("usage").bytes, 0);
    let mount = case.mount(&snapshot);
    std::fs::write(mount.path.join("new"), vec![1; 10_000]).expect("write");
    std::fs::hard_link(mount.path.join("new"), mount.path.join("same")).expect("link");
    assert_eq!(
        store.snapshot_usage(&snapshot).expect("usage").bytes,
        10_000
    );
    let size = store.image_size(&case.image).expect("size");
    assert_eq!(size, store.image(&case.image).expect("image").size());
    assert_eq!(size, 3 + 4 + 5 + 1 + 1 + 1 + 1 + 13 + 1);
}

fn an_id_is_taken_once(driver: DriverChoice) {
    let case = case(driver);
    let snapshot = case.snapshot("s");
    let store = &case.world.store;
    assert!(matches!(
        store.create_snapshot(&snapshot, &case.image),
        Err(SnapshotError::Exists(_))
    ));
    let unknown = wharf_types::Digest::of(b"unknown");
    assert!(matches!(
        store.create_snapshot(&id("t"), &unknown),
        Err(SnapshotError::Image(ImageError::NotFound(_)))
    ));
    assert!(matches!(
        store.mount(&id("t"), MountOptions::default()),
        Err(SnapshotError::NotFound(_))
    ));
    store.remove_snapshot(&snapshot).expect("remove");
    store.remove_snapshot(&snapshot).expect("remove again");
    store
        .create_snapshot(&snapshot, &case.image)
        .expect("free again");
    case.world.check_clean();
}

fn images_without_layers(driver: DriverChoice) {
    let world = World::new(driver);
    let image = world.load(&docker_archive(&[], &["scratch:latest"])).id;
    world
        .store
        .create_snapshot(&id("s"), &image)
        .expect("create");
    let mount = Mounted::new(
        world
            .store
            .mount(&id("s"), MountOptions::default())
            .expect("mount"),
    );
    std::fs::write(mount.path.join("file"), b"x").expect("write");
    let changes = world.store.diff(&id("s")).expect("diff");
    assert_eq!(changes.len(), 1);
    let mut bytes = Vec::new();
    let view = world.store.view(&id("s")).expect("view");
    crate::RootedDir::open(view)
        .export(&mut bytes)
        .expect("export");
    assert_eq!(contents(&bytes).len(), 1);
    let world = world.reopen(driver);
    let mount = Mounted::new(world.store.view(&id("s")).expect("view"));
    assert_eq!(read(&mount.path, "file"), "x");
    world.check_clean();
}

fn layers_live_as_long_as_a_snapshot_uses_them(driver: DriverChoice) {
    let case = case(driver);
    let snapshot = case.snapshot("s");
    let store = &case.world.store;
    store.remove_image(&case.image).expect("remove");
    assert!(matches!(
        store.image(&case.image),
        Err(ImageError::NotFound(_))
    ));
    case.world.check_clean();
    let mount = case.mount(&snapshot);
    assert_eq!(read(&mount.path, "etc/passwd"), "root and more");
    drop(mount);
    store.remove_snapshot(&snapshot).expect("remove");
    store.empty_trash().expect("empty");
    for directory in [
        "layers",
        "snapshots",
        "images",
        "blobs/sha256",
        "trash",
        "tmp",
    ] {
        let left = crate::store::names(&store.root().join(directory)).expect("list");
        assert_eq!(left, Vec::<String>::new(), "{directory}");
    }
}

fn snapshots_survive_reopening(driver: DriverChoice) {
    let case = case(driver);
    let snapshot = case.snapshot("s");
    let mount = case.mount(&snapshot);
    change_everything(&mount.path);
    let before = mount.content();
    drop(mount);
    let world = case.world.reopen(driver);
    assert_eq!(world.store.snapshots(), std::slice::from_ref(&snapshot));
    let mount = Mounted::new(
        world
            .store
            .mount(&snapshot, MountOptions::default())
            .expect("mount"),
    );
    assert_eq!(mount.content(), before);
    world.check_clean();
}

fn a_view_beside_a_writable_mount(driver: DriverChoice) {
    let case = case(driver);
    let snapshot = case.snapshot("s");
    let mount = case.mount(&snapshot);
    std::fs::write(mount.path.join("etc/passwd"), b"changed").expect("write");
    let view = Mounted::new(case.world.store.view(&snapshot).expect("view"));
    assert_eq!(read(&view.path, "etc/passwd"), "changed");
    assert!(std::fs::write(view.path.join("new"), b"x").is_err());
}

fn volatile_mounts_can_be_repeated(driver: DriverChoice) {
    let case = case(driver);
    let snapshot = case.snapshot("s");
    let options = MountOptions {
        readonly: false,
        volatile: true,
    };
    for round in 0..2 {
        let mount = Mounted::new(case.world.store.mount(&snapshot, options).expect("mount"));
        std::fs::write(mount.path.join(format!("file-{round}")), b"x").expect("write");
        assert_eq!(read(&mount.path, "file-0"), "x");
    }
}

fn a_hundred_and_thirty_layers(driver: DriverChoice) {
    let layers: Vec<Vec<u8>> = (0..130)
        .map(|number| {
            let name = format!("file-{number}");
            let hides = format!(".wh.file-{}", number - 2);
            let mut top = entry("top", Kind::Regular);
            let text = number.to_string();
            top.size = text.len() as u64;
            archive(&[file(&name, b"x"), file(&hides, b""), (top, text.as_bytes())])
        })
        .collect();
    let world = World::new(driver);
    let image = world.load(&docker_archive(&layers, &["many:latest"])).id;
    world
        .store
        .create_snapshot(&id("s"), &image)
        .expect("create");
    let mount = Mounted::new(
        world
            .store
            .mount(&id("s"), MountOptions::default())
            .expect("mount"),
    );
    assert_eq!(read(&mount.path, "top"), "129");
    let names: Vec<_> = mount.content().into_keys().collect();
    assert_eq!(names, ["file-128", "file-129", "top"].map(PathBuf::from));
    assert_eq!(world.store.diff(&id("s")).expect("diff"), []);
}

#[test]
fn a_snapshot_stays_with_its_driver() {
    let mut case = case(DriverChoice::Overlay);
    change_everything(&case.mount(&case.snapshot("overlay")).path);
    case.world = case.world.reopen(DriverChoice::Copy);
    change_everything(&case.mount(&case.snapshot("copy")).path);
    for driver in [DriverChoice::Copy, DriverChoice::Overlay] {
        let overlay = case.mount(&id("overlay"));
        assert_eq!(case.mount(&id("copy")).content(), overlay.content());
        drop(overlay);
        let diff = |name| {
            let mut changes = case.world.store.diff(&id(name)).expect("diff");
            // Only overlay tells that a directory was replaced by its like.
            changes.retain(|change| change.path != Path::new("/bin"));
            changes
        };
        assert_eq!(diff("copy"), diff("overlay"));
        case.world = case.world.reopen(driver);
    }
    case.world.check_clean();
}

#[test]
fn long_paths_are_mounted() {
    let directory = tempfile::tempdir().expect("tempdir");
    let root = directory.path().join("d".repeat(250)).join("store");
    let store = crate::Store::open(&root, DriverChoice::Overlay).expect("open");
    let archive = docker_archive(&three_layers(), &[]);
    let image = store
        .load(archive.as_slice(), None, &mut |_| {})
        .expect("load")[0]
        .id;
    store.create_snapshot(&id("s"), &image).expect("create");
    let mount = Mounted::new(
        store
            .mount(&id("s"), MountOptions::default())
            .expect("mount"),
    );
    assert_eq!(read(&mount.path, "var/new"), "n");
}
