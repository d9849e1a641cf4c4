//! The same images in dockerd: what one writes the other reads, and both make the same tree of it.
//!
//! A dockerd of our own, with directories, a socket and no network of its own.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::fixtures::{World, archive, directory, docker_archive, entry, file, link};
use crate::tar::{Entry, Kind, Reader, Segment};
use crate::{DriverChoice, SaveImage};

struct Dockerd {
    process: Child,
    directory: tempfile::TempDir,
}

impl Dockerd {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("tempdir");
        let path = |name: &str| directory.path().join(name).display().to_string();
        let log = std::fs::File::create(path("log")).expect("log");
        let process = Command::new("dockerd")
            .args(["--data-root", &path("root"), "--exec-root", &path("exec")])
            .args([
                "--pidfile",
                &path("pid"),
                "--host",
                &format!("unix://{}", path("sock")),
            ])
            .args(["--bridge=none", "--iptables=false", "--ip6tables=false"])
            .stdout(log.try_clone().expect("log"))
            .stderr(log)
            .spawn()
            .expect("the program dockerd, of docker.io");
        let dockerd = Self { process, directory };
        let start = Instant::now();
        while !dockerd
            .docker(&["version"])
            .output()
            .expect("docker")
            .status
            .success()
        {
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "dockerd does not answer"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        dockerd
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn docker(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command
            .env_remove("DOCKER_HOST")
            .arg("--host")
            .arg(format!("unix://{}", self.path("sock").display()))
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = self.docker(arguments).output().expect("docker");
        assert!(output.status.success(), "docker {arguments:?}: {output:?}");
        String::from_utf8(output.stdout)
            .expect("text")
            .trim()
            .to_owned()
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        // Asked, so that it ends its containerd and unmounts what it has mounted.
        let pid = rustix::process::Pid::from_child(&self.process);
        if rustix::process::kill_process(pid, rustix::process::Signal::TERM).is_ok() {
            drop(self.process.wait());
        }
    }
}

/// An image with one of everything; dockerd cannot save one that has sparse entries.
fn tree(sparse: bool) -> Vec<Vec<u8>> {
    let mut program = file("bin/su", b"elf");
    program.0.mode = 0o4755;
    program.0.uid = 1000;
    program.0.gid = 100_000;
    program.0.xattrs = vec![(
        b"security.capability".to_vec(),
        b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec(),
    )];
    // dockerd gives the file what the link's header says.
    let mut mount = (program.0.clone(), &b""[..]);
    mount.0.path = b"bin/mount".to_vec();
    mount.0.kind = Kind::HardLink;
    mount.0.link = b"bin/su".to_vec();
    mount.0.size = 0;
    let mut null = entry("opt/null", Kind::Char);
    null.device = (1, 3);
    let mut disk = entry("opt/disk", Kind::Regular);
    disk.size = 4;
    if sparse {
        disk.size = 9 << 20;
        disk.sparse = Some(vec![Segment {
            offset: 5 << 20,
            length: 4,
        }]);
    }
    let long = format!("opt/{}/{}", "d".repeat(120), "f".repeat(200));
    vec![
        archive(&[
            directory("bin"),
            program,
            mount,
            link("sh", "bin/su", Kind::Symlink),
            file("opt/a/one", b"1"),
            file("opt/b/two", b"2"),
            file("opt/é", b"accent"),
            (disk, b"data"),
            (null, b""),
            (entry("opt/fifo", Kind::Fifo), b""),
            file(&long, b"long"),
        ]),
        archive(&[
            file("opt/a/.wh.one", b""),
            directory("opt/b"),
            file("opt/b/.wh..wh..opq", b""),
            file("opt/b/three", b"3"),
            file(".wh.sh", b""),
        ]),
    ]
}

type Tree = BTreeMap<String, (Entry, Vec<u8>)>;

/// Reads an exported tree, without what dockerd adds to each container.
fn read(bytes: &[u8]) -> Tree {
    const ADDED: [&str; 5] = ["dev/", "proc/", "sys/", "etc/", ".dockerenv"];
    let mut reader = Reader::new(bytes);
    let mut tree = Tree::new();
    while let Some(mut entry) = reader.next().expect("next") {
        let mut data = Vec::new();
        reader.read_to_end(&mut data).expect("data");
        let path = String::from_utf8(entry.path.clone()).expect("text");
        // How holes are written is each side's own; what they are is compared as bytes.
        if let Some(segments) = entry.sparse.take() {
            let mut whole = vec![0; usize::try_from(entry.size).expect("small")];
            let mut at = 0;
            for segment in segments {
                let offset = usize::try_from(segment.offset).expect("small");
                let length = usize::try_from(segment.length).expect("small");
                whole[offset..offset + length].copy_from_slice(&data[at..at + length]);
                at += length;
            }
            data = whole;
        }
        // Docker's archives have whole seconds.
        entry.mtime.nanoseconds = 0;
        if entry.kind == Kind::Directory {
            entry.mtime.seconds = 0;
        }
        if !ADDED.iter().any(|added| path.starts_with(added)) {
            tree.insert(path, (entry, data));
        }
    }
    tree
}

fn exported(world: &World, image: &wharf_types::Digest, name: &str) -> Tree {
    let id = name.parse().expect("id");
    world.store.create_snapshot(&id, image).expect("create");
    let mut bytes = Vec::new();
    let view = world.store.view(&id).expect("view");
    crate::RootedDir::open(view)
        .export(&mut bytes)
        .expect("export");
    read(&bytes)
}

fn exported_by(dockerd: &Dockerd, image: &str) -> Tree {
    let container = dockerd.run(&["create", "--network", "none", image, "sh"]);
    let file = dockerd.path("export.tar");
    dockerd.run(&[
        "export",
        "--output",
        &file.display().to_string(),
        &container,
    ]);
    read(&std::fs::read(file).expect("read"))
}

fn check(ours: &Tree, theirs: &Tree) {
    let names = |tree: &Tree| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(ours), names(theirs));
    for (name, entry) in ours {
        assert!(
            *entry == theirs[name],
            "{name}: {:?} {:?}",
            entry.0,
            theirs[name].0
        );
    }
}

fn save(world: &World, image: &crate::LoadedImage, file: &Path) {
    let save = SaveImage {
        id: image.id,
        names: image.names.clone(),
        index: image.index,
    };
    let file = std::fs::File::create(file).expect("create");
    world.store.save(&[save], file).expect("save");
}

#[test]
fn dockerd_and_the_store_read_each_other() {
    let dockerd = Dockerd::start();
    let world = World::new(DriverChoice::Auto);
    for sparse in [true, false] {
        let name = format!("compared:{sparse}");
        let image = world.load(&docker_archive(
            &tree(sparse),
            &[&name, "example.com/other:2"],
        ));
        let saved = dockerd.path("saved.tar");
        save(&world, &image, &saved);
        let said = dockerd.run(&["load", "--input", &saved.display().to_string()]);
        assert!(said.contains(&format!("Loaded image: {name}")), "{said}");
        assert!(said.contains("Loaded image: example.com/other:2"), "{said}");
        let id = dockerd.run(&["inspect", "--type=image", "--format={{.Id}}", &name]);
        assert_eq!(id, image.id.to_string());
        let theirs = exported_by(&dockerd, &name);
        check(
            &exported(&world, &image.id, &name.replace(':', "-")),
            &theirs,
        );
        if sparse {
            continue;
        }
        let saved = dockerd.path("saved-by-docker.tar");
        dockerd.run(&["save", "--output", &saved.display().to_string(), &name]);
        let other = World::new(DriverChoice::Copy);
        let again = other.load(&std::fs::read(saved).expect("read"));
        assert_eq!((again.id, &again.names[..]), (image.id, &image.names[..1]));
        check(&exported(&other, &again.id, "again"), &theirs);
    }
}
