//! Random trees, written as archives and unpacked again.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::extract::{Bounds, extract};
use crate::files::open_directory;
use crate::tree::Attributes;

/// One step of making a tree; names are few, so that steps meet.
#[derive(Debug, Clone)]
enum Step {
    Directory {
        name: String,
        mode: u32,
    },
    File {
        name: String,
        mode: u32,
        data: Vec<u8>,
    },
    Sparse {
        name: String,
        at: u64,
        length: u64,
    },
    Symlink {
        name: String,
        target: String,
    },
    HardLink {
        name: String,
        target: String,
    },
    Attribute {
        name: String,
        value: Vec<u8>,
    },
    Owner {
        name: String,
        uid: u32,
    },
    Fifo {
        name: String,
    },
}

fn path() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        prop_oneof!["[abc]", "[abc]", "\\PC{1,8}", "x{90,200}"]
            .prop_map(|name| name.replace(['/', '.', '\0'], "_")),
        1..4,
    )
    .prop_map(|components| components.join("/"))
}

fn step() -> impl Strategy<Value = Step> {
    let mode = 0..0o10000_u32;
    prop_oneof![
        (path(), mode.clone()).prop_map(|(name, mode)| Step::Directory { name, mode }),
        (
            path(),
            mode,
            proptest::collection::vec(any::<u8>(), 0..3000)
        )
            .prop_map(|(name, mode, data)| Step::File { name, mode, data }),
        (path(), 0..5_000_000_u64, 0..5_000_000_u64).prop_map(|(name, at, length)| Step::Sparse {
            name,
            at,
            length
        }),
        (path(), "[^\0]{1,150}").prop_map(|(name, target)| Step::Symlink { name, target }),
        (path(), path()).prop_map(|(name, target)| Step::HardLink { name, target }),
        (path(), proptest::collection::vec(any::<u8>(), 0..60))
            .prop_map(|(name, value)| Step::Attribute { name, value }),
        (
            path(),
            any::<u32>().prop_filter("-1 means none", |uid| *uid != u32::MAX)
        )
            .prop_map(|(name, uid)| Step::Owner { name, uid }),
        path().prop_map(|name| Step::Fifo { name }),
    ]
}

/// Does a step where the tree allows it: that it does not is no matter here.
fn perform(root: &Path, step: &Step) -> std::io::Result<()> {
    let at = |name: &str| root.join(name);
    let parent = |name: &str| std::fs::create_dir_all(at(name).parent().unwrap_or(root));
    match step {
        Step::Directory { name, mode } => {
            std::fs::create_dir_all(at(name))?;
            std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(*mode))
        }
        Step::File { name, mode, data } => {
            parent(name)?;
            // A FIFO that is there already must not be waited for.
            let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
            let nofollow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
            let file = File::options()
                .write(true)
                .create(true)
                .truncate(true)
                .custom_flags(nonblock | nofollow)
                .open(at(name))?;
            file.write_all_at(data, 0)?;
            file.set_permissions(std::fs::Permissions::from_mode(*mode))
        }
        Step::Sparse {
            name,
            at: start,
            length,
        } => {
            parent(name)?;
            let file = File::create_new(at(name))?;
            file.set_len(start + length + 10)?;
            file.write_all_at(b"data", *start)
        }
        Step::Symlink { name, target } => {
            parent(name)?;
            symlink(target, at(name))
        }
        Step::HardLink { name, target } => {
            parent(name)?;
            std::fs::hard_link(at(target), at(name))
        }
        Step::Attribute { name, value } => {
            let flags = rustix::fs::XattrFlags::empty();
            Ok(rustix::fs::lsetxattr(at(name), "user.test", value, flags)?)
        }
        Step::Owner { name, uid } => std::os::unix::fs::lchown(at(name), Some(*uid), Some(7)),
        Step::Fifo { name } => {
            parent(name)?;
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            Ok(rustix::fs::mknodat(
                rustix::fs::CWD,
                at(name),
                FileType::Fifo,
                mode,
                0,
            )?)
        }
    }
}

/// What of an entry must come through: kind and mode, owners, size and content, time, attributes.
type Facts = (u32, (u32, u32), wharf_types::Digest, (i64, i64), Attributes);

fn facts(root: &Path) -> BTreeMap<PathBuf, Facts> {
    let mut facts = BTreeMap::new();
    let directory = open_directory(root).expect("open");
    tree::walk::<crate::PathError>(directory.as_fd(), &mut |item| {
        let content = match item.kind() {
            FileType::RegularFile => std::fs::read(root.join(item.path)).expect("read"),
            FileType::Symlink => item.read_link()?.into_bytes(),
            _ => Vec::new(),
        };
        let content = wharf_types::Digest::of(&content);
        let stat = item.stat;
        let modified = (
            stat.st_mtime,
            i64::try_from(stat.st_mtime_nsec).unwrap_or(0),
        );
        facts.insert(
            item.path.to_owned(),
            (
                stat.st_mode,
                (stat.st_uid, stat.st_gid),
                content,
                modified,
                item.attributes()?,
            ),
        );
        Ok(true)
    })
    .map_err(|error| format!("{error:?}"))
    .expect("walk");
    facts
}

fn written(root: &Path, holes: Holes) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut archive = Archive::new(&mut bytes, holes);
    let directory = open_directory(root).expect("open");
    tree::walk::<DiffError>(directory.as_fd(), &mut |item| {
        archive.item(item)?;
        Ok(true)
    })
    .map_err(|error| format!("{error:?}"))
    .expect("walk");
    archive.finish().expect("finish");
    bytes
}

fn unpacked(bytes: &[u8], into: &Path) {
    std::fs::create_dir(into).expect("mkdir");
    let root = open_directory(into).expect("open");
    let bounds = Bounds {
        bytes: 1 << 30,
        entries: 10_000,
    };
    extract(bytes, root.as_fd(), bounds).expect("unpack");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_tree_is_the_same_after_an_archive(steps in proptest::collection::vec(step(), 0..30)) {
        let directory = tempfile::tempdir().expect("tempdir");
        let root = directory.path().join("root");
        std::fs::create_dir(&root).expect("mkdir");
        for step in &steps {
            drop(perform(&root, step));
        }
        let expected = facts(&root);
        for (name, holes) in [("kept", Holes::Kept), ("written", Holes::Written)] {
            let copy = directory.path().join(name);
            let bytes = written(&root, holes);
            unpacked(&bytes, &copy);
            prop_assert_eq!(&facts(&copy), &expected);
            prop_assert!(written(&copy, Holes::Written) == written(&root, Holes::Written));
        }
    }
}

/// GNU tar and the store read each other.
#[test]
fn gnu_tar_reads_and_writes_the_same() {
    let directory = tempfile::tempdir().expect("tempdir");
    let root = directory.path().join("root");
    std::fs::create_dir(&root).expect("mkdir");
    let long = "l".repeat(150);
    let steps = [
        Step::Directory {
            name: "d/e".to_owned(),
            mode: 0o2755,
        },
        Step::File {
            name: "d/f".to_owned(),
            mode: 0o4711,
            data: b"data".to_vec(),
        },
        Step::HardLink {
            name: "d/g".to_owned(),
            target: "d/f".to_owned(),
        },
        Step::Symlink {
            name: "s".to_owned(),
            target: long.clone(),
        },
        Step::Sparse {
            name: format!("{long}/disk"),
            at: 3_000_000,
            length: 4_000_000,
        },
        Step::Attribute {
            name: "d/f".to_owned(),
            value: b"value".to_vec(),
        },
        Step::Owner {
            name: "s".to_owned(),
            uid: 3_000_000,
        },
        Step::Fifo {
            name: "fifo".to_owned(),
        },
    ];
    for step in &steps {
        perform(&root, step).expect("perform");
    }
    let expected = facts(&root);
    let tar = |arguments: &[&str]| {
        let output = std::process::Command::new("tar")
            .args(arguments)
            .output()
            .expect("the program tar");
        assert!(output.status.success(), "{output:?}");
        output.stdout
    };
    let source = root.display().to_string();
    for format in [
        &["--format=gnu"][..],
        &["--format=oldgnu"],
        &["--format=pax", "--xattrs", "--sparse-version=0.0"],
        &["--format=pax", "--xattrs", "--sparse-version=0.1"],
        &["--format=pax", "--xattrs", "--sparse-version=1.0"],
    ] {
        let bytes = tar(&[&["-C", &source, "-cS"], format, &["."]].concat());
        let copy = directory.path().join(format.concat());
        unpacked(&bytes, &copy);
        let mut found = facts(&copy);
        if format.len() == 1 {
            // These formats have whole seconds and no attributes.
            for (path, facts) in &mut found {
                facts.3.1 = expected[path].3.1;
                facts.4.clone_from(&expected[path].4);
            }
        }
        assert_eq!(found, expected, "{format:?}");
    }
    let file = directory.path().join("ours.tar");
    std::fs::write(&file, written(&root, Holes::Kept)).expect("write");
    let copy = directory.path().join("theirs");
    std::fs::create_dir(&copy).expect("mkdir");
    tar(&[
        "-C",
        &copy.display().to_string(),
        "-xpf",
        &file.display().to_string(),
        "--xattrs",
        "--numeric-owner",
        "--same-owner",
    ]);
    assert_eq!(facts(&copy), expected);
}
