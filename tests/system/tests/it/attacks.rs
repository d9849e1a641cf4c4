//! Hostile images, archives and requests, through the API like any others.

use std::io::Write;
use std::time::{Duration, Instant};

use tar::EntryType;
use wharf_tests_system::image::{Archive, busybox_with};
use wharf_tests_system::{Client, Engine, command};

use crate::engine;

/// A file of the host that no container may change.
struct Sentinel {
    path: std::path::PathBuf,
}

impl Sentinel {
    fn new(engine: &Engine) -> Self {
        let path = engine.directory().join("sentinel");
        std::fs::write(&path, "untouched").unwrap();
        Self { path }
    }

    #[track_caller]
    fn check(&self) {
        assert_eq!(std::fs::read_to_string(&self.path).unwrap(), "untouched");
    }
}

/// CVE-2019-5736: a program of the container's that is the shim's own, by `/proc/self/exe`, is held open, and written
/// when nobody executes it any more.
#[test]
fn attack_r1_the_shims_executable_cannot_be_written() {
    let Some(engine) = engine() else { return };
    let program = wharf_tests_system::binary::wharf();
    let before = std::fs::read(&program).unwrap();
    let all = ["--cap-add=ALL", "--security-opt", "seccomp=unconfined"];
    let entered = [
        "--entrypoint",
        "/proc/self/exe",
        "busybox",
        "init",
        "--",
        "sleep",
        "1000",
    ];
    let line = [&["run", "-d", "--name", "box"], &all[..], &entered].concat();
    engine.wharf(&line).succeeded();
    let script = "readlink /proc/1/exe; echo x >> /proc/1/exe; exec 3</proc/1/exe; echo x >> /proc/self/fd/3; \
                  mount -o remount,rw /proc/1/exe; dd if=/dev/zero of=/proc/1/exe bs=1 count=1 conv=notrunc; true";
    let tried = engine.wharf(&["exec", "box", "sh", "-c", script]);
    assert_eq!(
        tried.stderr.matches("Read-only file system").count(),
        3,
        "{tried:?}"
    );
    // Held over the end of the process that executes it.
    let held = "/proc/1/exe init -- sleep 2 & sleep 1; exec 3</proc/$!/exe; wait; echo x >> /proc/self/fd/3; true";
    let tried = engine.wharf(&["exec", "box", "sh", "-c", held]);
    assert!(!tried.stderr.is_empty(), "{tried:?}");
    assert!(
        std::fs::read(&program).unwrap() == before,
        "the program was changed"
    );
    assert_eq!(
        engine
            .wharf(&["run", "--rm", "busybox", "echo", "fine"])
            .out(),
        "fine"
    );
    engine.finish();
}

#[test]
fn attack_r2_workdir_in_proc_self_fd() {
    let Some(engine) = engine() else { return };
    let plain = std::fs::read(wharf_tests_system::image::busybox()).unwrap();
    engine
        .wharf(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"])
        .succeeded();
    for fd in 3..=20 {
        for suffix in ["", "/..", "/../../.."] {
            let path = format!("/proc/self/fd/{fd}{suffix}");
            let seen = |ran: wharf_tests_system::Ran| {
                assert!(
                    ran.code != 0 || !ran.stdout.contains("etc/debian_version"),
                    "{path}: {ran:?}"
                );
            };
            let list = [
                "sh",
                "-c",
                "pwd; ls -d etc/debian_version ../../etc/debian_version",
            ];
            seen(engine.wharf(&[&["run", "--rm", "-w", &path, "busybox"], &list[..]].concat()));
            seen(engine.wharf(&[&["exec", "-w", &path, "box"], &list[..]].concat()));
        }
    }
    let link = busybox_with(|archive| archive.symlink("cwd", "/proc/self/fd/7"));
    engine
        .import_bytes(&link, "link", &["WORKDIR /cwd"])
        .succeeded();
    assert_ne!(engine.wharf(&["run", "--rm", "link", "true"]).code, 0);
    engine
        .import_bytes(&plain, "dir", &["WORKDIR /proc/self/fd/8"])
        .succeeded();
    assert_ne!(engine.wharf(&["run", "--rm", "dir", "true"]).code, 0);
    // Nothing but the three standard ones is open inside. The first process is one that opens nothing
    // itself; a shell would hold the ends of its pipes for a moment.
    let open = engine.wharf(&["exec", "box", "ls", "/proc/1/fd"]);
    let open: Vec<&str> = open.stdout.split_whitespace().collect();
    assert_eq!(open, ["0", "1", "2"]);
    engine.finish();
}

#[test]
fn attack_r10_exec_user_with_odd_strings() {
    let Some(engine) = engine() else { return };
    engine
        .wharf(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"])
        .succeeded();
    let odd = [
        "1000:",
        " 0",
        "-1",
        "0 ",
        "4294967295",
        "4294967296",
        "99999999999999999999",
        ":",
        "root:x y",
        "1:-1",
        "+0",
        "0x0",
    ];
    for user in odd {
        for arguments in [
            vec!["exec", "-u", user, "box", "id", "-u"],
            vec!["run", "--rm", "-u", user, "busybox", "id", "-u"],
        ] {
            let ran = engine.wharf(&arguments);
            assert!(
                ran.code != 0 || ran.stdout.trim() != "0",
                "{user:?}: {ran:?}"
            );
            if user != "1000:" {
                assert_ne!(ran.code, 0, "{user:?}: {ran:?}");
            }
        }
    }
    engine.finish();
}

#[test]
fn attack_r11_image_user_beyond_the_range() {
    let Some(engine) = engine() else { return };
    let plain = std::fs::read(wharf_tests_system::image::busybox()).unwrap();
    for user in [
        "4294967296:4294967296",
        "4294967296",
        "2147483648",
        "4294967295:0",
        "0:4294967296",
    ] {
        let change = format!("USER {user}");
        engine.import_bytes(&plain, "odd", &[&change]).succeeded();
        let ran = engine.wharf(&["run", "--rm", "odd", "id", "-u"]);
        assert_ne!(ran.code, 0, "{user}: {ran:?}");
    }
    engine.finish();
}

#[test]
fn attack_r17_mounts_over_proc_and_sys() {
    let Some(engine) = engine() else { return };
    let plain = std::fs::read(wharf_tests_system::image::busybox()).unwrap();
    let host = engine.directory().to_string_lossy().into_owned();
    for target in [
        "/proc",
        "/proc/sys",
        "/proc/self/attr",
        "/",
        "/tmp/../proc",
        "/sys/../proc/1",
    ] {
        for client in Client::ALL {
            let volume = format!("{host}:{target}");
            let ran = engine.run(client, &["run", "--rm", "-v", &volume, "busybox", "true"]);
            assert_ne!(ran.code, 0, "{target}: {ran:?}");
        }
    }
    let link = busybox_with(|archive| archive.symlink("innocent", "/proc"));
    engine.import_bytes(&link, "link", &[]).succeeded();
    let ran = engine.wharf(&[
        "run",
        "--rm",
        "-v",
        &format!("{host}:/innocent"),
        "link",
        "true",
    ]);
    assert_ne!(ran.code, 0, "{ran:?}");
    for volume in ["VOLUME /proc", "VOLUME /proc/self", "VOLUME [\"\"]"] {
        let imported = engine.import_bytes(&plain, "volume", &[volume]);
        let ran = engine.wharf(&["run", "--rm", "volume", "true"]);
        assert!(imported.code != 0 || ran.code != 0, "{volume}: {ran:?}");
    }
    engine.finish();
}

#[test]
fn attack_r18_image_volume_with_dots() {
    let Some(engine) = engine() else { return };
    let sentinel = Sentinel::new(&engine);
    let plain = std::fs::read(wharf_tests_system::image::busybox()).unwrap();
    for volume in ["/../../../../etc", "/a/../../../etc", "/tmp/../../.."] {
        let change = format!("VOLUME [\"{volume}\"]");
        engine.import_bytes(&plain, "dots", &[&change]).succeeded();
        let ran = engine.wharf(&["run", "--rm", "dots", "ls", "-R", "/etc"]);
        // Refused, or inside the root file system: never the host's files.
        assert!(!ran.stdout.contains("debian_version"), "{volume}: {ran:?}");
    }
    sentinel.check();
    engine.finish();
}

#[test]
fn attack_r22_passwd_that_is_no_file() {
    let Some(engine) = engine() else { return };
    let fifo = |name: &'static str| {
        move |archive: &mut Archive<Vec<u8>>| archive.raw(name, EntryType::Fifo, 0o644, "", &[])
    };
    let host_fifo = engine.directory().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &host_fifo, rustix::fs::Mode::RWXU).unwrap();
    let target = host_fifo.to_string_lossy().into_owned();
    let images = [
        ("passwd-fifo", busybox_with(fifo("etc/passwd"))),
        ("group-fifo", busybox_with(fifo("etc/group"))),
        (
            "passwd-link",
            busybox_with(|archive| archive.symlink("etc/passwd", &target)),
        ),
        (
            "passwd-device",
            busybox_with(|archive| archive.raw("etc/passwd", EntryType::Char, 0o644, "", &[])),
        ),
        (
            "passwd-huge",
            busybox_with(|archive| archive.file("etc/passwd", 0o644, &vec![b'x'; 32 << 20])),
        ),
    ];
    for (name, archive) in images {
        engine.import_bytes(&archive, name, &[]).succeeded();
        let start = Instant::now();
        let ran = engine.wharf(&["run", "--rm", "-u", "www", name, "true"]);
        // /etc/group alone is no reason to refuse a user who is in /etc/passwd.
        assert!(ran.code != 0 || name == "group-fifo", "{name}: {ran:?}");
        assert!(
            start.elapsed() < Duration::from_secs(2),
            "{name}: {:?}",
            start.elapsed()
        );
    }
    engine.finish();
}

#[test]
fn attack_r23_top_with_a_ps_of_the_images_own() {
    let Some(engine) = engine() else { return };
    let sentinel = Sentinel::new(&engine);
    let script = format!("#!/bin/sh\necho pwned > {}\n", sentinel.path.display());
    let fake = busybox_with(|archive| {
        archive.file("bin/ps", 0o755, script.as_bytes())?;
        archive.file("bin/nsenter", 0o755, script.as_bytes())
    });
    engine.import_bytes(&fake, "fake", &[]).succeeded();
    engine
        .wharf(&["run", "-d", "--name", "box", "fake", "sleep", "1000"])
        .succeeded();
    for client in Client::ALL {
        let top = engine.run(client, &["top", "box"]);
        assert!(top.out().contains("sleep 1000"), "{top:?}");
    }
    sentinel.check();
    engine.finish();
}

#[test]
fn attack_r20_labels_and_annotations_that_look_like_the_engines() {
    let Some(engine) = engine() else { return };
    let hit = engine.directory().join("hit");
    let program = engine.directory().join("evil");
    std::fs::write(
        &program,
        format!("#!/bin/sh\necho hit >> {}\n", hit.display()),
    )
    .unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, mode).unwrap();
    let [program, hit_path] = [&program, &hit].map(|path| path.to_str().unwrap());
    let keys = [
        ("run.oci.handler", program),
        ("run.oci.hooks.stdout", hit_path),
        ("io.containerd.runtime", program),
        ("io.containerd.runc.v2.binary", program),
        ("io.containerd.log.uri", &format!("binary://{program}")),
        ("containerd.io/log-uri", &format!("file://{hit_path}")),
        ("cdi.k8s.io/box", "vendor.com/class=all"),
        ("org.criu.config", hit_path),
        ("io.podman.annotations.privileged", "TRUE"),
        ("com.docker.runtime", program),
        ("wharf.runtime", program),
        ("wharf.log", hit_path),
        ("wharf.privileged", "true"),
    ];
    let busybox = std::fs::read(wharf_tests_system::image::busybox()).unwrap();
    let labels = keys.map(|(key, value)| format!("LABEL {key}={value:?}"));
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    engine
        .import_bytes(&busybox, "labelled", &labels)
        .succeeded();
    let look =
        "ls /dev; grep -E '^(Cap|NoNewPrivs|Seccomp)' /proc/self/status; wc -l < /proc/mounts";
    let plain = engine.wharf(&["run", "--name", "plain", "busybox", "sh", "-c", look]);
    let mut run: Vec<String> = ["run", "--name", "marked"].map(str::to_owned).to_vec();
    for (key, value) in keys {
        run.extend(["--label".to_owned(), format!("{key}={value}")]);
        run.extend(["--annotation".to_owned(), format!("{key}={value}")]);
    }
    run.extend(["labelled", "sh", "-c", look].map(str::to_owned));
    let run: Vec<&str> = run.iter().map(String::as_str).collect();
    let marked = engine.wharf(&run);
    assert_eq!(marked.out(), plain.out());
    let settings =
        "{{.HostConfig.Runtime}} {{.HostConfig.Privileged}} {{.HostConfig.LogConfig.Type}}";
    assert_eq!(
        engine.inspect("marked", settings),
        engine.inspect("plain", settings)
    );
    assert!(!hit.exists(), "a label or annotation was acted on");
    engine.finish();
}

#[test]
fn attack_r21_checkpoints_are_refused() {
    let Some(engine) = engine() else { return };
    engine
        .wharf(&["create", "--name", "box", "busybox", "true"])
        .succeeded();
    let refused = |method: &str, path: &str| {
        let answer = engine.request(method, path, b"{}").unwrap();
        assert!(answer.status >= 400, "{method} {path}: {}", answer.text());
    };
    refused("POST", "/containers/box/checkpoints");
    refused("GET", "/containers/box/checkpoints");
    refused("DELETE", "/containers/box/checkpoints/c1");
    refused("POST", "/containers/box/start?checkpoint=c1");
    refused(
        "POST",
        "/containers/box/start?checkpoint=c1&checkpoint-dir=/tmp",
    );
    assert_eq!(engine.inspect("box", "{{.State.Status}}"), "created");
    // What `podman container checkpoint --export` writes, naming an image and a device.
    let images = engine.wharf(&["images", "--all", "--quiet"]);
    let mut archive = Archive::new(Vec::new());
    let config = br#"{"id":"x","name":"restored","rootfsImageName":"evil:latest","rootfsImage":"sha256:00"}"#;
    let spec =
        br#"{"annotations":{"cdi.k8s.io/x":"vendor.com/class=all"},"process":{"args":["true"]}}"#;
    archive.file("config.dump", 0o600, config).unwrap();
    archive.file("spec.dump", 0o600, spec).unwrap();
    archive
        .file("checkpoint/inventory.img", 0o600, b"x")
        .unwrap();
    archive
        .file("../../../tmp/wt-escaped", 0o600, b"x")
        .unwrap();
    let archive = archive.finish().unwrap();
    let load = engine.client(Client::Wharf, &["load"]);
    assert_ne!(command::run(load, &archive).code, 0);
    assert_eq!(
        engine.wharf(&["images", "--all", "--quiet"]).out(),
        images.out()
    );
    assert!(!std::path::Path::new("/tmp/wt-escaped").exists());
    engine.finish();
}

#[test]
fn attack_r24_environment_of_another_container() {
    let Some(engine) = engine() else { return };
    engine
        .wharf(&[
            "run",
            "-d",
            "--name",
            "first",
            "-e",
            "SECRET=of-a",
            "busybox",
            "sleep",
            "1000",
        ])
        .succeeded();
    engine
        .wharf(&["exec", "-e", "EXEC=secret", "first", "true"])
        .succeeded();
    let ran = engine.wharf(&["run", "--rm", "busybox", "env"]);
    let mut names: Vec<&str> = ran
        .out()
        .lines()
        .filter_map(|line| line.split('=').next())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["HOME", "HOSTNAME", "PATH"]);
    engine.finish();
}

#[test]
fn attack_a5_archives_that_leave_their_root() {
    let Some(engine) = engine() else { return };
    let sentinel = Sentinel::new(&engine);
    let host = sentinel.path.to_string_lossy().into_owned();
    let up = format!("{}{}", "../".repeat(12), host.trim_start_matches('/'));
    let evil = |name: &str, add: &dyn Fn(&mut Archive<Vec<u8>>)| {
        let mut archive = Archive::new(Vec::new());
        add(&mut archive);
        (name.to_owned(), archive.finish().unwrap())
    };
    let archives = [
        evil("dots", &|a| a.file(&up, 0o644, b"pwned").unwrap()),
        evil("absolute", &|a| a.file(&host, 0o644, b"pwned").unwrap()),
        evil("hard link", &|a| {
            a.raw("link", EntryType::Link, 0o644, &up, &[]).unwrap();
            a.file("link", 0o644, b"pwned").unwrap();
        }),
        evil("symlink", &|a| {
            a.symlink("dir", engine.directory().to_str().unwrap())
                .unwrap();
            a.file("dir/sentinel", 0o644, b"pwned").unwrap();
        }),
        evil("symlink itself", &|a| {
            a.symlink("file", &host).unwrap();
            a.file("file", 0o644, b"pwned").unwrap();
        }),
        evil("whiteout through a symlink", &|a| {
            a.symlink("dir", engine.directory().to_str().unwrap())
                .unwrap();
            a.file("dir/.wh.sentinel", 0o644, b"").unwrap();
        }),
        evil("plnk", &|a| a.directory(".wh..wh.plnk", 0o755).unwrap()),
    ];
    for (name, bytes) in &archives {
        for client in Client::ALL {
            let import = engine.client(client, &["import", "-", "evil"]);
            let imported = command::run(import, bytes);
            if imported.code == 0 {
                // Confined: the container may see it, the host may not.
                engine.run(client, &["create", "--name", "box", "evil", "x"]);
                engine.run(client, &["export", "-o", "/dev/null", "box"]);
                engine.run(client, &["rm", "-f", "box"]);
            }
            sentinel.check();
            assert!(!std::path::Path::new("/pwned").exists(), "{name}");
        }
    }
    engine.finish();
}

#[test]
fn attack_a6_load_with_traversal_in_the_manifest() {
    let Some(engine) = engine() else { return };
    let sentinel = Sentinel::new(&engine);
    let host = sentinel.path.to_string_lossy().into_owned();
    let dots = format!("{}{}", "../".repeat(12), host.trim_start_matches('/'));
    for path in [dots.as_str(), host.as_str(), "../../x", "link"] {
        for manifest in [
            format!("[{{\"Config\":\"{path}\",\"RepoTags\":[\"e:1\"],\"Layers\":[]}}]"),
            format!("[{{\"Config\":\"c.json\",\"RepoTags\":[\"e:1\"],\"Layers\":[\"{path}\"]}}]"),
        ] {
            let mut archive = Archive::new(Vec::new());
            archive.symlink("link", &host).unwrap();
            let config = "{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"type\":\
                          \"layers\",\"diff_ids\":[\"sha256:../../../x\"]}}";
            archive.file("c.json", 0o644, config.as_bytes()).unwrap();
            archive
                .file("manifest.json", 0o644, manifest.as_bytes())
                .unwrap();
            let bytes = archive.finish().unwrap();
            let ran = command::run(engine.client(Client::Docker, &["load"]), &bytes);
            assert_ne!(ran.code, 0, "{manifest}: {ran:?}");
            sentinel.check();
        }
    }
    assert_eq!(engine.wharf(&["images", "-q"]).out().lines().count(), 1);
    engine.finish();
}

#[test]
fn attack_a7_sizes_that_lie() {
    let Some(engine) = engine() else { return };
    // A header that promises 2^63 bytes, sparse or not.
    for kind in [EntryType::Regular, EntryType::GNUSparse] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.as_old_mut().name[..3].copy_from_slice(b"big");
        header.as_old_mut().size = [
            0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        ];
        if let Some(gnu) = header.as_gnu_mut() {
            gnu.realsize = [
                0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            ];
        }
        header.set_cksum();
        let bytes = [header.as_bytes().as_slice(), &[0; 4096]].concat();
        let ran = command::run(
            engine.client(Client::Docker, &["import", "-", "big"]),
            &bytes,
        );
        assert_ne!(ran.code, 0, "{kind:?}: {ran:?}");
    }
    // A stream that grows a thousandfold, in a file that goes on for ever.
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.as_old_mut().name[..4].copy_from_slice(b"bomb");
    header.set_size(1 << 42);
    header.set_cksum();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(header.as_bytes()).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..2048 {
        gzip.write_all(&zeros).unwrap();
    }
    let bomb = gzip.finish().unwrap();
    assert!(bomb.len() < 4 << 20);
    let ran = command::run(
        engine.client(Client::Docker, &["import", "-", "bomb"]),
        &bomb,
    );
    assert_ne!(ran.code, 0, "{ran:?}");
    assert_eq!(engine.wharf(&["images", "-q"]).out().lines().count(), 1);
    // The space is given back: finish() lets the engine account for every byte.
    engine.finish();
}
