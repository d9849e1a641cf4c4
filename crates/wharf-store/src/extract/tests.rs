//! Archives good and bad, unpacked beside a sentinel that must not change.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use super::*;
use crate::files::open_directory;
use crate::fixtures::{archive, directory, entry, file, link};
use crate::tar::Segment;

const BOUNDS: Bounds = Bounds {
    bytes: 1 << 30,
    entries: 1000,
};

/// A directory to unpack into, and a host file beside it.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("tempdir");
        std::fs::create_dir(directory.path().join("tree")).expect("mkdir");
        std::fs::create_dir(directory.path().join("host")).expect("mkdir");
        std::fs::write(directory.path().join("host/passwd"), b"sentinel").expect("write");
        Self { directory }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join("tree").join(name)
    }

    fn unpack(&self, entries: &[(Entry, &[u8])]) -> Result<Extracted, ExtractError> {
        self.unpack_bytes(&archive(entries))
    }

    fn unpack_bytes(&self, bytes: &[u8]) -> Result<Extracted, ExtractError> {
        let root = open_directory(&self.path("")).expect("open");
        extract(bytes, root.as_fd(), BOUNDS)
    }

    /// The sentinel, and that nothing appeared beside it.
    fn check_sentinel(&self) {
        let host = self.directory.path().join("host");
        let metadata = std::fs::metadata(host.join("passwd")).expect("metadata");
        assert_eq!(
            std::fs::read(host.join("passwd")).expect("read"),
            b"sentinel"
        );
        assert_eq!((metadata.nlink(), metadata.mode() & 0o7777), (1, 0o644));
        let names = |path: &Path| {
            let mut names: Vec<_> = std::fs::read_dir(path)
                .expect("list")
                .map(|entry| entry.expect("entry").file_name())
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(&host), ["passwd"]);
        assert_eq!(names(self.directory.path()), ["host", "tree"]);
    }
}

fn is_whiteout(path: &Path) -> bool {
    let metadata = std::fs::symlink_metadata(path).expect("metadata");
    metadata.file_type().is_char_device() && metadata.rdev() == 0
}

fn opaque(path: &Path) -> bool {
    let directory = open_directory(path).expect("open");
    crate::tree::is_opaque(directory.as_fd(), path).expect("attribute")
}

#[test]
fn everything_a_file_has_is_kept() {
    let place = Place::new();
    let mut program = file("bin/su", b"elf");
    program.0.mode = 0o4755;
    program.0.uid = 1000;
    program.0.gid = 100_000;
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
    program.0.xattrs = vec![
        (b"security.capability".to_vec(), capability.clone()),
        (b"security.selinux".to_vec(), b"label".to_vec()),
        (b"user.note".to_vec(), b"kept".to_vec()),
    ];
    let mut node = entry("dev/null", Kind::Char);
    node.device = (1, 3);
    let mut sticky = directory("tmp");
    sticky.0.mode = 0o1777;
    let extracted = place
        .unpack(&[
            directory("./"),
            sticky,
            program,
            link("bin/mount", "bin/su", Kind::HardLink),
            link("bin/sh", "su", Kind::Symlink),
            (node, b""),
            (entry("run/fifo", Kind::Fifo), b""),
        ])
        .expect("unpack");
    assert_eq!(
        (extracted.entries, extracted.bytes, extracted.root),
        (7, 3, true)
    );
    let metadata = std::fs::metadata(place.path("bin/su")).expect("metadata");
    assert_eq!(
        (
            metadata.mode() & 0o7777,
            metadata.uid(),
            metadata.gid(),
            metadata.nlink()
        ),
        (0o4755, 1000, 100_000, 2)
    );
    assert_eq!(
        (metadata.mtime(), metadata.mtime_nsec()),
        (1_600_000_000, 123_456_789)
    );
    let mut value = [0; 64];
    let length = rustix::fs::getxattr(place.path("bin/su"), "security.capability", &mut value)
        .expect("capability");
    assert_eq!(&value[..length], capability);
    assert!(rustix::fs::getxattr(place.path("bin/su"), "user.note", &mut value).is_ok());
    assert!(rustix::fs::getxattr(place.path("bin/su"), "security.selinux", &mut value).is_err());
    let null = std::fs::metadata(place.path("dev/null")).expect("metadata");
    assert_eq!(null.rdev(), rustix::fs::makedev(1, 3));
    let tmp = std::fs::metadata(place.path("tmp")).expect("metadata");
    assert_eq!(
        (tmp.permissions().mode() & 0o7777, tmp.mtime()),
        (0o1777, 1_600_000_000)
    );
    assert!(
        std::fs::metadata(place.path("run/fifo"))
            .expect("fifo")
            .file_type()
            .is_fifo()
    );
    assert_eq!(
        std::fs::read_link(place.path("bin/sh")).expect("link"),
        Path::new("su")
    );
}

#[test]
fn holes_stay_holes() {
    let place = Place::new();
    let mut sparse = entry("disk", Kind::Regular);
    sparse.size = 100 << 20;
    sparse.sparse = Some(vec![
        Segment {
            offset: 1 << 20,
            length: 5,
        },
        Segment {
            offset: 50 << 20,
            length: 4,
        },
    ]);
    place.unpack(&[(sparse, b"firstlast")]).expect("unpack");
    let metadata = std::fs::metadata(place.path("disk")).expect("metadata");
    assert_eq!(metadata.len(), 100 << 20);
    assert!(metadata.blocks() * 512 < 1 << 20);
    let bytes = std::fs::read(place.path("disk")).expect("read");
    assert_eq!(&bytes[1 << 20..(1 << 20) + 6], b"first\0");
    assert_eq!(&bytes[50 << 20..(50 << 20) + 4], b"last");
}

#[test]
fn nuls_become_holes() {
    let place = Place::new();
    let mut data = vec![0; 3 << 20];
    data[1 << 20] = 1;
    let zeros = vec![0; 1 << 20];
    place
        .unpack(&[
            file("middle", &data),
            file("zeros", &zeros),
            file("small", &[0; 9]),
        ])
        .expect("unpack");
    let check = |name: &str, data: &[u8]| {
        let metadata = std::fs::metadata(place.path(name)).expect("metadata");
        assert!(metadata.blocks() * 512 < 512 << 10, "{name}");
        assert!(
            std::fs::read(place.path(name)).expect("read") == data,
            "{name}"
        );
    };
    check("middle", &data);
    check("zeros", &zeros);
    check("small", &[0; 9]);
}

#[test]
fn whiteouts_become_overlay_s() {
    let place = Place::new();
    place
        .unpack(&[
            directory("etc"),
            file("etc/.wh.motd", b""),
            file("usr/.wh..wh..opq", b""),
            file(".wh..wh.plnk", b""),
            file(".wh..wh.aufs", b""),
            file("usr/new", b"n"),
        ])
        .expect("unpack");
    assert!(is_whiteout(&place.path("etc/motd")));
    assert!(opaque(&place.path("usr")));
    assert!(!opaque(&place.path("etc")));
    assert!(!place.path(".wh..wh.plnk").exists() && !place.path(".wh.plnk").exists());
}

#[test]
fn a_whiteout_hides_lower_layers_only() {
    for swapped in [false, true] {
        let place = Place::new();
        let mut entries = vec![
            file("a/.wh.file", b""),
            file("a/file", b"x"),
            file("a/.wh.dir", b""),
            directory("a/dir"),
            file("a/.wh.implied", b""),
            file("a/implied/f", b"y"),
        ];
        if swapped {
            entries.reverse();
        }
        place.unpack(&entries).expect("unpack");
        assert_eq!(std::fs::read(place.path("a/file")).expect("read"), b"x");
        assert!(opaque(&place.path("a/dir")), "{swapped}");
        assert!(opaque(&place.path("a/implied")), "{swapped}");
        assert_eq!(
            std::fs::read(place.path("a/implied/f")).expect("read"),
            b"y"
        );
    }
}

#[test]
fn the_last_of_a_name_wins() {
    let place = Place::new();
    place
        .unpack(&[
            file("a", b"first"),
            file("a", b"second"),
            file("b", b"file"),
            directory("b"),
            file("b/c", b"below"),
            directory("d"),
            file("d/e", b"gone"),
            file("d", b"file"),
            link("l", "a", Kind::Symlink),
            file("l", b"no longer a link"),
            directory("m"),
            file("m/kept", b"k"),
            directory("m"),
        ])
        .expect("unpack");
    let read = |name: &str| std::fs::read(place.path(name)).expect(name);
    assert_eq!(read("a"), b"second");
    assert_eq!(read("b/c"), b"below");
    assert_eq!(read("d"), b"file");
    assert_eq!(read("l"), b"no longer a link");
    assert_eq!(read("m/kept"), b"k");
}

#[test]
fn links_of_the_archive_are_followed_inside() {
    let place = Place::new();
    place
        .unpack(&[
            directory("usr/bin"),
            link("bin", "usr/bin", Kind::Symlink),
            link("sbin", "/usr/bin", Kind::Symlink),
            file("bin/sh", b"sh"),
            file("sbin/init", b"init"),
            link("usr/bin/ash", "bin/sh", Kind::HardLink),
        ])
        .expect("unpack");
    assert_eq!(
        std::fs::read(place.path("usr/bin/sh")).expect("read"),
        b"sh"
    );
    assert_eq!(
        std::fs::read(place.path("usr/bin/init")).expect("read"),
        b"init"
    );
    assert_eq!(
        std::fs::read(place.path("usr/bin/ash")).expect("read"),
        b"sh"
    );
}

#[test]
fn attack_a5_names_that_go_up_are_refused() {
    for name in [
        "../host/passwd",
        "a/../../host/passwd",
        "/../host/passwd",
        "a/..",
    ] {
        let place = Place::new();
        let refused = place.unpack(&[file(name, b"evil")]).expect_err(name);
        assert!(
            matches!(
                refused,
                ExtractError::Name {
                    reason: NameRefusal::Parent,
                    ..
                }
            ),
            "{refused}"
        );
        place.check_sentinel();
    }
}

#[test]
fn attack_a5_absolute_names_stay_inside() {
    let place = Place::new();
    let host = place.directory.path().join("host/passwd");
    let name = host.to_str().expect("text");
    place.unpack(&[file(name, b"evil")]).expect("unpack");
    place.check_sentinel();
    assert_eq!(
        std::fs::read(place.path("").join(&name[1..])).expect("read"),
        b"evil"
    );
}

#[test]
fn attack_a5_hard_links_out_are_refused() {
    let place = Place::new();
    let absolute = place.directory.path().join("host/passwd");
    let absolute = absolute.to_str().expect("text");
    for target in [
        "../host/passwd",
        "../../etc/passwd",
        absolute,
        "/etc/passwd",
        "none",
        "",
    ] {
        let refused = place
            .unpack(&[link("l", target, Kind::HardLink)])
            .expect_err(target);
        assert!(
            matches!(refused, ExtractError::HardLink { .. }),
            "{refused}"
        );
        place.check_sentinel();
    }
    // Through a link that leads out: it ends at the root, where there is no such file.
    let refused = place
        .unpack(&[
            link("up", "../host", Kind::Symlink),
            link("l", "up/passwd", Kind::HardLink),
        ])
        .expect_err("through a link");
    assert!(
        matches!(refused, ExtractError::HardLink { .. }),
        "{refused}"
    );
    place.check_sentinel();
}

#[test]
fn attack_a5_writing_through_a_link_stays_inside() {
    for target in ["../host", "/../../host", "host-not-there"] {
        let place = Place::new();
        let refused = place
            .unpack(&[
                link("out", target, Kind::Symlink),
                file("out/passwd", b"evil"),
            ])
            .expect_err(target);
        assert!(
            matches!(
                refused,
                ExtractError::Name {
                    reason: NameRefusal::ParentNotDirectory,
                    ..
                }
            ),
            "{refused}"
        );
        place.check_sentinel();
    }
    // A file over a link replaces the link.
    let place = Place::new();
    place
        .unpack(&[
            link("passwd", "../host/passwd", Kind::Symlink),
            file("passwd", b"evil"),
        ])
        .expect("unpack");
    place.check_sentinel();
}

#[test]
fn attack_a5_whiteouts_through_a_link_stay_inside() {
    let place = Place::new();
    let refused = place.unpack(&[
        link("out", "../host", Kind::Symlink),
        file("out/.wh.passwd", b""),
    ]);
    assert!(matches!(refused, Err(ExtractError::Name { .. })));
    let refused = place.unpack(&[file("out/.wh..wh..opq", b"")]);
    assert!(matches!(refused, Err(ExtractError::Name { .. })));
    place.check_sentinel();
    for name in [".wh...", ".wh..", ".wh."] {
        let refused = place.unpack(&[file(name, b"")]);
        assert!(matches!(refused, Err(ExtractError::Name { .. })), "{name}");
    }
    place.check_sentinel();
}

#[test]
fn attack_a5_names_with_nul_or_without_end_are_refused() {
    let place = Place::new();
    let long = "n".repeat(256);
    let deep = "d/".repeat(600);
    let reason = |name: &str| match place.unpack(&[file(name, b"")]) {
        Err(ExtractError::Name { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(reason(&long), NameRefusal::TooLong);
    assert_eq!(reason(&(deep + "f")), NameRefusal::TooDeep);
    assert_eq!(
        reason(&format!("a/é{}\0b", "x".repeat(100))),
        NameRefusal::Nul
    );
    place.check_sentinel();
}

#[test]
fn attack_a5_orders_to_overlay_are_refused() {
    for attribute in [
        "trusted.overlay.opaque",
        "trusted.overlay.redirect",
        "user.overlay.x",
    ] {
        let place = Place::new();
        let mut dir = directory("d");
        dir.0.xattrs = vec![(attribute.as_bytes().to_vec(), b"y".to_vec())];
        let refused = place.unpack(&[dir]).expect_err(attribute);
        assert!(
            matches!(refused, ExtractError::Attribute { .. }),
            "{refused}"
        );
    }
}

#[test]
fn attack_a7_too_many_entries_are_refused() {
    let place = Place::new();
    let entries: Vec<_> = (0..1001).map(|n| file(&format!("f{n}"), b"")).collect();
    let refused = place.unpack(&entries).expect_err("too many");
    assert!(matches!(
        refused,
        ExtractError::Exceeded(Exceeded::Entries(1000))
    ));
}

#[test]
fn attack_a7_sparse_files_beyond_the_limit_are_refused() {
    let place = Place::new();
    let mut sparse = entry("disk", Kind::Regular);
    sparse.size = 1 << 63;
    sparse.sparse = Some(Vec::new());
    let refused = place.unpack(&[(sparse, b"")]).expect_err("2^63");
    assert!(
        matches!(refused, ExtractError::Exceeded(Exceeded::Bytes(_))),
        "{refused}"
    );
    let halves: Vec<_> = ["a", "b"]
        .map(|name| {
            let mut sparse = entry(name, Kind::Regular);
            sparse.size = 600 << 20;
            sparse.sparse = Some(Vec::new());
            (sparse, &b""[..])
        })
        .into();
    let refused = place.unpack(&halves).expect_err("sum");
    assert!(
        matches!(refused, ExtractError::Exceeded(Exceeded::Bytes(_))),
        "{refused}"
    );
}

#[test]
fn unknown_kinds_are_refused() {
    let place = Place::new();
    let refused = place.unpack(&[(entry("odd", Kind::Other(b'V')), b"")]);
    assert!(matches!(refused, Err(ExtractError::Kind { flag: 'V', .. })));
}

#[test]
fn a_link_to_itself_stays() {
    let place = Place::new();
    place
        .unpack(&[file("a", b"data"), link("a", "a", Kind::HardLink)])
        .expect("unpack");
    assert_eq!(std::fs::read(place.path("a")).expect("read"), b"data");
}
