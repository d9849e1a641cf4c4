//! Input that cannot work: a clear sentence, the right code, and nothing left behind.

use std::process::Command;

use wharf_tests_system::image::{Archive, sha256};
use wharf_tests_system::{Client, Engine, command, image, needs};

use crate::with_both;

#[test]
fn mistakes_are_named_and_leave_nothing() {
    with_both(|engine, client| {
        let check = |arguments: &[&str], code: i32, says: &str| {
            engine.run(client, arguments).exited(code).says(says);
        };
        check(&["run", "no-such"], 125, "no-such");
        check(&["run", "UPPER"], 125, "must be lowercase");
        check(
            &["run", "-m", "lots", "busybox"],
            125,
            "invalid argument \"lots\" for \"-m, --memory\" flag",
        );
        check(
            &["run", "-m", "1k", "busybox"],
            125,
            "Minimum memory limit allowed is 6MB",
        );
        check(
            &["run", "--cpus", "many", "busybox"],
            125,
            "invalid argument \"many\" for \"--cpus\" flag",
        );
        check(&["run", "-p", "http", "busybox"], 125, "http");
        check(&["run", "-p", "70000:80", "busybox"], 125, "70000");
        check(
            &["run", "-v", "relative:/x:sometimes", "busybox"],
            125,
            "sometimes",
        );
        check(
            &["run", "-v", "/x:relative", "busybox"],
            125,
            "mount path must be absolute",
        );
        check(
            &["run", "--mount", "type=bind,target=/x", "busybox"],
            125,
            "field Source must not be empty",
        );
        check(
            &["run", "--mount", "type=magic,target=/x", "busybox"],
            125,
            "magic",
        );
        check(&["run", "--restart", "perhaps", "busybox"], 125, "perhaps");
        check(
            &["run", "--name", "-bad", "busybox"],
            125,
            "Invalid container name (-bad)",
        );
        check(
            &["run", "--user", "nobody-here", "busybox"],
            125,
            "nobody-here",
        );
        check(&["run", "--cap-add", "FLY", "busybox"], 125, "FLY");
        check(&["run", "--network", "nowhere", "busybox"], 125, "nowhere");
        check(
            &["run", "--hostname", "bad_host!", "busybox"],
            125,
            "hostname",
        );
        check(&["run"], 1, "requires at least 1 argument");
        check(&["stop", "nobody"], 1, "No such container: nobody");
        check(&["logs", "nobody"], 1, "No such container: nobody");
        check(&["rm", "nobody"], 1, "No such container: nobody");
        check(&["load", "-i", "/no/such/file"], 1, "no such file");
        check(&["no-such-command"], 1, "no-such-command");
        // A container that could not be started may stay, as in Docker; finish() removes those.
        let left = engine.run(client, &["ps", "-a", "--format", "{{.Status}}"]);
        assert!(
            left.out().lines().all(|status| status == "Created"),
            "{left:?}"
        );
        for id in engine.run(client, &["ps", "-aq"]).out().lines() {
            engine.run(client, &["rm", id]).succeeded();
        }
    });
}

/// An image archive with a manifest and parts to choose.
fn docker_archive(manifest: &str, files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Archive::new(Vec::new());
    for (name, content) in files {
        archive.file(name, 0o644, content).unwrap();
    }
    archive
        .file("manifest.json", 0o644, manifest.as_bytes())
        .unwrap();
    archive.finish().unwrap()
}

#[test]
fn archives_that_are_none_are_refused() {
    with_both(|engine, client| {
        let load = |bytes: &[u8]| command::run(engine.client(client, &["load"]), bytes);
        let images = || engine.wharf(&["images", "-aq"]).out().to_owned();
        let before = images();
        let layer = std::fs::read(image::busybox()).unwrap();
        let wrong = format!(
            "{{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{{}},\
             \"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[\"sha256:{}\"]}}}}",
            sha256(b"something else")
        );
        let manifest = r#"[{"Config":"c.json","RepoTags":["evil:1"],"Layers":["l.tar"]}]"#;
        let missing = r#"[{"Config":"c.json","RepoTags":["evil:1"],"Layers":["none.tar"]}]"#;
        let tag = r#"[{"Config":"c.json","RepoTags":["NOT A TAG"],"Layers":["l.tar"]}]"#;
        let good = wrong.replace(&sha256(b"something else"), &sha256(&layer));
        let cases: [(&str, Vec<u8>); 8] = [
            ("noise", b"this is no archive at all".repeat(100)),
            (
                "an empty archive",
                Archive::new(Vec::new()).finish().unwrap(),
            ),
            (
                "a cut gzip stream",
                vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3],
            ),
            ("a manifest that is no JSON", docker_archive("{", &[])),
            (
                "a layer that is missing",
                docker_archive(missing, &[("c.json", wrong.as_bytes())]),
            ),
            (
                "a configuration that is missing",
                docker_archive(manifest, &[("l.tar", &layer)]),
            ),
            (
                "a layer with another digest",
                docker_archive(manifest, &[("c.json", wrong.as_bytes()), ("l.tar", &layer)]),
            ),
            (
                "a name that is none",
                docker_archive(tag, &[("c.json", good.as_bytes()), ("l.tar", &layer)]),
            ),
        ];
        for (what, bytes) in cases {
            let ran = load(&bytes);
            assert!(ran.code != 0 && !ran.stderr.is_empty(), "{what}: {ran:?}");
            assert_eq!(images(), before, "{what}");
        }
        // The same parts, put together well, are an image.
        let fine = docker_archive(manifest, &[("c.json", good.as_bytes()), ("l.tar", &layer)]);
        load(&fine).succeeded();
        engine
            .run(client, &["run", "--rm", "evil:1", "true"])
            .succeeded();
        engine.run(client, &["rmi", "evil:1"]).succeeded();
    });
}

/// A small file system on a loop device, unmounted when dropped.
struct SmallDisk {
    directory: std::path::PathBuf,
}

impl SmallDisk {
    fn mount(parent: &std::path::Path, megabytes: u64) -> Self {
        let image = parent.join("disk.img");
        let file = std::fs::File::create(&image).unwrap();
        file.set_len(megabytes << 20).unwrap();
        let directory = parent.join("data");
        std::fs::create_dir(&directory).unwrap();
        let done = |program: &str, arguments: &[&std::ffi::OsStr]| {
            let output = Command::new(program).args(arguments).output().unwrap();
            assert!(output.status.success(), "{program}: {output:?}");
        };
        done("mkfs.ext4", &["-q".as_ref(), image.as_ref()]);
        done(
            "mount",
            &[
                "-o".as_ref(),
                "loop".as_ref(),
                image.as_ref(),
                directory.as_ref(),
            ],
        );
        // The engine accounts for every byte; this one is the file system's.
        std::fs::remove_dir(directory.join("lost+found")).unwrap();
        Self { directory }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount")
            .arg("--lazy")
            .arg(&self.directory)
            .output()
            .ok();
    }
}

#[test]
fn a_full_disk_is_said_and_recovered_from() {
    if !needs::met(&["docker", "busybox", "mkfs.ext4", "mount"]) {
        return;
    }
    let mut engine = Engine::prepare();
    let disk = SmallDisk::mount(engine.directory(), 48);
    engine.launch();
    engine.import(&image::busybox(), "busybox");
    let free = || {
        let stat = rustix::fs::statvfs(&disk.directory).unwrap();
        stat.f_bavail * stat.f_frsize
    };
    let before = free();
    let mut big = Archive::new(Vec::new());
    big.file("big", 0o644, &vec![1; 64 << 20]).unwrap();
    let big = big.finish().unwrap();
    let ran = command::run(engine.client(Client::Docker, &["import", "-", "big"]), &big);
    // Docker writes it in lower case, we as the kernel does.
    ran.exited(1).says("o space left on device");
    // What was written of it is given back.
    assert!(
        free() + (1 << 20) > before,
        "{} of {before} bytes are free",
        free()
    );
    let fill = "dd if=/dev/zero of=/fill bs=1M; echo status $?";
    let ran = engine.wharf(&["run", "--rm", "busybox", "sh", "-c", fill]);
    ran.says("No space left on device");
    // The engine works on.
    assert_eq!(
        engine
            .wharf(&["run", "--rm", "busybox", "echo", "fine"])
            .out(),
        "fine"
    );
    engine.wharf(&["system", "df", "--verify"]).succeeded();
    engine.stop();
    drop(disk);
}
