//! Archives out of and into a tree that is changed at the same time, beside a sentinel.

mod reading;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::*;
use crate::extract::{Exceeded, ExtractError};
use crate::files::open_directory;
use crate::fixtures::{archive, directory, entry, file, link};
use crate::store::Limits;
use crate::tar::{Entry, Kind, Reader, Segment};

/// As many as the attack's row asks for.
const RACES: usize = 100_000;

/// A container's root, and beside it what it must never reach.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("tempdir");
        for name in ["root", "host"] {
            fs::create_dir(directory.path().join(name)).expect("mkdir");
        }
        fs::write(directory.path().join("host/secret"), b"outside").expect("write");
        Self { directory }
    }

    fn root(&self) -> RootedDir {
        RootedDir::open(open_directory(&self.path("")).expect("open"))
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.directory.path().join("root").join(inside)
    }

    fn host(&self) -> PathBuf {
        self.directory.path().join("host")
    }

    fn extract(&self, path: &str, entries: &[(Entry, &[u8])]) -> Result<(), ExtractError> {
        self.extract_with(path, &archive(entries), &ExtractOptions::default())
    }

    fn extract_with(
        &self,
        path: &str,
        bytes: &[u8],
        options: &ExtractOptions,
    ) -> Result<(), ExtractError> {
        self.root()
            .extract(&InsidePath::new(Path::new(path)), bytes, options)
    }

    fn check_host(&self) {
        let host = self.host();
        let names: Vec<_> = fs::read_dir(&host)
            .expect("list")
            .map(|entry| entry.expect("entry").file_name())
            .collect();
        assert_eq!(names, ["secret"]);
        let secret = host.join("secret");
        assert_eq!(fs::read(&secret).expect("read"), b"outside");
        let metadata = fs::metadata(&secret).expect("metadata");
        assert_eq!((metadata.nlink(), metadata.mode() & 0o7777), (1, 0o644));
    }

    /// Swaps two names as fast as possible while `work` is done.
    fn swapping(&self, one: &str, other: &str, work: impl FnOnce()) {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let (one, other) = (self.path(one), self.path(other));
                while !done.load(Ordering::Relaxed) {
                    renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).expect("swap");
                }
            });
            work();
            done.store(true, Ordering::Relaxed);
        });
    }
}

fn names(bytes: &[u8]) -> Vec<String> {
    let mut reader = Reader::new(bytes);
    let mut names = Vec::new();
    while let Some(entry) = reader.next().expect("entry") {
        names.push(String::from_utf8_lossy(&entry.path).into_owned());
    }
    names
}

#[test]
fn attack_a1_only_the_containers_bytes_come_out() {
    let place = Place::new();
    fs::create_dir(place.path("p")).expect("mkdir");
    fs::write(place.path("p/secret"), b"inside!").expect("write");
    symlink(place.host(), place.path("link")).expect("link");
    let root = place.root();
    let path = InsidePath::new(Path::new("/p/secret"));
    let whole = InsidePath::new(Path::new("/p/"));
    let mut came = 0;
    place.swapping("p", "link", || {
        for race in 0..RACES {
            let mut bytes = Vec::new();
            let path = if race % 2 == 0 { &path } else { &whole };
            came += usize::from(root.archive(path, &mut bytes).is_ok());
            assert!(!bytes.windows(7).any(|window| window == b"outside"));
        }
    });
    assert!(came > 0, "nothing ever came out");
}

#[test]
fn attack_a2_nothing_is_written_outside() {
    let place = Place::new();
    fs::create_dir(place.path("p")).expect("mkdir");
    symlink(place.host(), place.path("link")).expect("link");
    let bytes = archive(&[file("p/secret", b"overwritten"), file("p/new", b"new")]);
    let root = place.root();
    let target = InsidePath::new(Path::new("/p"));
    let top = InsidePath::new(Path::new("/"));
    let options = ExtractOptions::default();
    place.swapping("p", "link", || {
        for race in 0..RACES / 10 {
            let target = if race % 2 == 0 { &target } else { &top };
            // Refused or confined: what a container does to its own tree is its own affair.
            root.extract(target, bytes.as_slice(), &options).ok();
        }
    });
    place.check_host();
}

#[test]
fn attack_a5_hostile_entries_stay_inside() {
    let place = Place::new();
    let host = place.host();
    let host = host.to_str().expect("plain");
    for name in ["../host/secret", "a/../../host/secret", ".."] {
        let refused = place.extract("/", &[file(name, b"bad")]);
        assert!(matches!(refused, Err(ExtractError::Name { .. })), "{name}");
    }
    // An absolute name means the same below the destination.
    place
        .extract("/", &[file(&format!("{host}/secret"), b"inside")])
        .expect("confined");
    // The link's target is looked for inside, where it is not.
    let through = place.extract(
        "/",
        &[
            link("up", "../host", Kind::Symlink),
            file("up/secret", b"bad"),
        ],
    );
    assert!(matches!(through, Err(ExtractError::Name { .. })));
    let hard = place.extract("/", &[link("hard", "../host/secret", Kind::HardLink)]);
    assert!(matches!(hard, Err(ExtractError::HardLink { .. })));
    // The mode of a node is set on the node, whatever is there by then.
    let mut fifo = (entry("pipe", Kind::Fifo), &b""[..]);
    fifo.0.mode = 0o4777;
    place.extract("/", &[fifo]).expect("fifo");
    // A link in the tree is followed inside the whole root, not from the destination.
    fs::create_dir_all(place.path("d/e")).expect("mkdir");
    symlink("/d", place.path("d/e/l")).expect("link");
    place
        .extract("/d/e", &[file("l/through", b"x")])
        .expect("inside");
    assert!(place.path("d/through").is_file());
    // Names that mean something in a layer are names here.
    place
        .extract("/", &[file(".wh.d", b""), file(".wh..wh..opq", b"")])
        .expect("plain names");
    assert!(place.path("d").is_dir() && place.path(".wh.d").is_file());
    place.check_host();
}

#[test]
fn attack_a7_what_holds_too_much_is_stopped_and_its_space_freed() {
    let place = Place::new();
    let limits = Limits {
        bytes: 1 << 20,
        entries: 10,
        expansion_floor: 64 << 10,
        expansion: 10,
    };
    let options = ExtractOptions {
        limits,
        ..ExtractOptions::default()
    };
    let zeros = vec![0; 1 << 20];
    let bomb = zstd::encode_all(&archive(&[file("bomb", &zeros)])[..], 19).expect("zstd");
    let refused = place.extract_with("/", &bomb, &options);
    assert!(matches!(
        refused,
        Err(ExtractError::Exceeded(Exceeded::Expansion { .. }))
    ));
    let large = archive(&[file("large", &[zeros, vec![1]].concat())]);
    let refused = place.extract_with("/", &large, &options);
    assert!(matches!(
        refused,
        Err(ExtractError::Exceeded(Exceeded::Bytes(_)))
    ));
    let mut sparse = file("sparse", b"");
    sparse.0.size = 1 << 62;
    sparse.0.sparse = Some(vec![Segment {
        offset: 1 << 62,
        length: 0,
    }]);
    let refused = place.extract_with("/", &archive(&[sparse]), &options);
    assert!(refused.is_err());
    let many: Vec<_> = (0..11).map(|n| file(&format!("f{n}"), b"")).collect();
    let refused = place.extract_with("/", &archive(&many), &options);
    assert!(matches!(
        refused,
        Err(ExtractError::Exceeded(Exceeded::Entries(10)))
    ));
    for name in ["bomb", "large", "sparse"] {
        assert!(!place.path(name).exists(), "{name} stays");
    }
}

#[test]
fn what_is_there_is_replaced_or_merged() {
    let place = Place::new();
    fs::create_dir_all(place.path("d/old")).expect("mkdir");
    fs::set_permissions(place.path("d"), fs::Permissions::from_mode(0o700)).expect("chmod");
    fs::write(place.path("f"), b"old").expect("write");
    fs::hard_link(place.path("f"), place.path("other")).expect("link");
    place
        .extract("/", &[directory("./"), directory("d"), file("f", b"new")])
        .expect("merge");
    assert!(place.path("d/old").is_dir());
    assert_eq!(
        fs::metadata(place.path("d")).expect("metadata").mode() & 0o7777,
        0o755
    );
    // A new file takes the name; what else had it keeps its content.
    assert_eq!(fs::read(place.path("f")).expect("read"), b"new");
    assert_eq!(fs::read(place.path("other")).expect("read"), b"old");
    let keep = ExtractOptions {
        keep_kinds: true,
        ..ExtractOptions::default()
    };
    let error = place.extract_with("/", &archive(&[file("d", b"x")]), &keep);
    assert_eq!(
        error.expect_err("refused").to_string(),
        r#"cannot overwrite directory "/d" with non-directory "/""#
    );
    let error = place.extract_with("/", &archive(&[directory("f")]), &keep);
    assert_eq!(
        error.expect_err("refused").to_string(),
        r#"cannot overwrite non-directory "/f" with directory "/""#
    );
    place.extract("/", &[file("d", b"x")]).expect("replaced");
    assert!(place.path("d").is_file());
}

#[test]
fn owners_and_names_are_what_was_asked_for() {
    let place = Place::new();
    let mut given = file("x/f", b"1");
    (given.0.uid, given.0.gid) = (1234, 1235);
    let hard = link("x/hard", "x/f", Kind::HardLink);
    let bytes = archive(&[directory("x"), given, hard]);
    for (owners, expected) in [
        (crate::Owners::AsGiven, (1234, 1235)),
        (crate::Owners::One { uid: 7, gid: 8 }, (7, 8)),
        (crate::Owners::Caller, (0, 0)),
    ] {
        let options = ExtractOptions {
            owners,
            renamed: Some(Renamed {
                from: b"x".to_vec(),
                to: b"y".to_vec(),
            }),
            ..ExtractOptions::default()
        };
        place
            .extract_with("/", &bytes, &options)
            .expect("extracted");
        let metadata = fs::metadata(place.path("y/f")).expect("metadata");
        assert_eq!((metadata.uid(), metadata.gid()), expected);
        assert_eq!(metadata.nlink(), 2);
    }
    assert!(!place.path("x").exists());
}

#[test]
fn entries_are_called_as_the_path_was_given() {
    let place = Place::new();
    fs::create_dir_all(place.path("d/sub")).expect("mkdir");
    fs::write(place.path("d/f"), b"1").expect("write");
    symlink("d", place.path("l")).expect("link");
    let root = place.root();
    let archived = |given: &str| {
        let mut bytes = Vec::new();
        let path = InsidePath::new(Path::new(given));
        root.archive(&path, &mut bytes).expect(given);
        names(&bytes)
    };
    assert_eq!(archived("/d"), ["d/", "d/f", "d/sub/"]);
    assert_eq!(archived("/d/."), ["./", "./f", "./sub/"]);
    assert_eq!(archived("/l"), ["l"]);
    assert_eq!(archived("/l/"), ["l/", "l/f", "l/sub/"]);
    assert_eq!(archived("/d/f"), ["f"]);
    assert_eq!(archived("/"), ["/", "/d/", "/d/f", "/d/sub/", "/l"]);
}
