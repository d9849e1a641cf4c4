//! Files in and out of containers.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use wharf_tests_system::image::Archive;
use wharf_tests_system::{Client, Engine, Ran, command, wait};

use crate::{engine, with_both};

/// Both drivers do the same.
const DRIVERS: [&str; 2] = ["overlay2", "vfs"];

fn with_drivers(scenario: impl Fn(&Engine, Client)) {
    for driver in DRIVERS {
        if !wharf_tests_system::needs::met(&["docker", "busybox", "nft", "ip"]) {
            return;
        }
        let mut engine = Engine::prepare();
        engine.argument("--storage-driver");
        engine.argument(driver);
        engine.launch();
        engine.import(&wharf_tests_system::image::busybox(), "busybox");
        for client in Client::ALL {
            scenario(&engine, client);
        }
        engine.finish();
    }
}

/// A directory of this test's own with some files in it.
fn sources(engine: &Engine, client: Client) -> PathBuf {
    let directory = engine.directory().join(format!("src-{client:?}"));
    fs::create_dir_all(directory.join("dir/sub")).unwrap();
    fs::write(directory.join("file"), "file\n").unwrap();
    fs::write(directory.join("dir/inner"), "inner\n").unwrap();
    fs::set_permissions(
        directory.join("dir/inner"),
        fs::Permissions::from_mode(0o640),
    )
    .unwrap();
    symlink("file", directory.join("link")).unwrap();
    symlink("dir", directory.join("dirlink")).unwrap();
    directory
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain name")
}

/// A path of a container's as the client takes it.
fn inside(path: &str) -> String {
    format!("box:{path}")
}

fn started(engine: &Engine, client: Client, flags: &[&str], script: &str) {
    let script = format!("{script}\ntouch /tmp/ready; exec sleep 1000");
    let arguments = [
        &["run", "-d", "--name", "box"],
        flags,
        &["busybox", "sh", "-c", &script],
    ];
    engine.run(client, &arguments.concat()).succeeded();
    wait::until_true("the container's files", || {
        engine
            .wharf(&["exec", "box", "test", "-e", "/tmp/ready"])
            .code
            == 0
    });
}

#[test]
fn what_a_copy_makes_depends_on_what_its_paths_end_in() {
    with_drivers(|engine, client| {
        let source = sources(engine, client);
        started(engine, client, &[], "mkdir -p /w; echo old > /w/there");
        let list = || {
            let listed = engine.run(client, &["exec", "box", "sh", "-c", "cd /w; find . | sort"]);
            listed.out().replace('\n', " ")
        };
        let copy = |from: &str, to: &str| {
            engine.run(client, &["cp", text(&source.join(from)), &inside(to)])
        };
        // Source, destination, what is there afterwards or what is said.
        for (from, to, expected) in [
            ("file", "/w", "./file"),
            ("file", "/w/", "./file"),
            ("file", "/w/new", "./new"),
            ("file", "/w/new/", "no such directory"),
            ("file", "/w/there", ""),
            ("dir", "/w", "./dir ./dir/inner ./dir/sub"),
            ("dir", "/w/new", "./new ./new/inner ./new/sub"),
            ("dir", "/w/there", "cannot copy directory"),
            ("dir/.", "/w", "./inner ./sub"),
            ("dir/.", "/w/new", "./new ./new/inner ./new/sub"),
            ("link", "/w", "./link"),
            ("dirlink", "/w", "./dirlink"),
            ("dirlink/", "/w", "./dirlink ./dirlink/inner ./dirlink/sub"),
            ("none", "/w", "no such file or directory"),
            (
                "file",
                "/none/x",
                "Could not find the file /none in container box",
            ),
        ] {
            let ran = copy(from, to);
            if ran.code != 0 {
                ran.says(expected);
            } else {
                let all = list();
                let new = all.replace(". ", "").replace("./there", "");
                assert_eq!(new.trim(), expected, "{from} to {to}");
            }
            let clean = "rm -rf /w; mkdir /w; echo old > /w/there";
            engine
                .wharf(&["exec", "box", "sh", "-c", clean])
                .succeeded();
        }
        copy("dir", "/w").succeeded();
        let mode = ["exec", "box", "stat", "-c", "%a", "/w/dir/inner"];
        assert_eq!(engine.run(client, &mode).out(), "640");
        engine.wharf(&["rm", "-f", "box"]).succeeded();
        fs::remove_dir_all(source).unwrap();
    });
}

#[test]
fn files_come_out_of_running_and_stopped_containers() {
    with_drivers(|engine, client| {
        let script = "mkdir -p /d/sub; echo f > /d/f; ln -s f /d/lf; ln -s /d /ld; ln /d/f /d/hard; \
                      chmod 600 /d/f; touch -d '2020-02-02 02:02:02' /d/f";
        started(engine, client, &[], script);
        for running in [true, false] {
            let target = engine.directory().join(format!("out-{client:?}-{running}"));
            fs::create_dir(&target).unwrap();
            let copy = |flags: &[&str], from: &str, to: &str| {
                let to = target.join(to);
                let arguments = [&["cp"], flags, &[&inside(from), text(&to)]];
                engine.run(client, &arguments.concat())
            };
            copy(&[], "/d", ".").succeeded();
            assert_eq!(fs::read_to_string(target.join("d/f")).unwrap(), "f\n");
            let metadata = fs::metadata(target.join("d/f")).unwrap();
            assert_eq!((metadata.mode() & 0o7777, metadata.nlink()), (0o600, 2));
            assert_eq!(metadata.mtime(), 1_580_608_922);
            assert_eq!(fs::read_link(target.join("d/lf")).unwrap(), Path::new("f"));
            copy(&[], "/d/lf", "link").succeeded();
            assert!(target.join("link").is_symlink());
            copy(&["-L"], "/d/lf", "followed").succeeded();
            assert_eq!(fs::read_to_string(target.join("followed")).unwrap(), "f\n");
            copy(&["-L"], "/ld", "named").succeeded();
            assert!(target.join("named/sub").is_dir());
            copy(&[], "/none", "x")
                .exited(1)
                .says("Could not find the file /none in container box");
            copy(&[], "/d/f", "no/such/x")
                .exited(1)
                .says("does not exist");
            if running {
                engine.wharf(&["stop", "-t", "0", "box"]).succeeded();
            }
        }
        engine.wharf(&["rm", "-f", "box"]).succeeded();
    });
}

#[test]
fn a_created_container_takes_files_before_it_ever_runs() {
    with_drivers(|engine, client| {
        let source = sources(engine, client);
        let volume = ["-v", "/data", "-v", "/deep/down"];
        let create = [
            &["create", "--name", "box"],
            &volume[..],
            &["busybox", "cat", "/data/file", "/etc/file"],
        ];
        engine.run(client, &create.concat()).succeeded();
        let copy = |to: &str| {
            engine
                .run(client, &["cp", text(&source.join("file")), &inside(to)])
                .succeeded();
        };
        copy("/data");
        copy("/etc");
        copy("/deep/down");
        let back = engine.directory().join(format!("back-{client:?}"));
        engine
            .run(client, &["cp", &inside("/deep/down/file"), text(&back)])
            .succeeded();
        assert_eq!(fs::read_to_string(back).unwrap(), "file\n");
        assert_eq!(
            engine.run(client, &["start", "-a", "box"]).out(),
            "file\nfile"
        );
        engine.wharf(&["rm", "-fv", "box"]).succeeded();
        fs::remove_dir_all(source).unwrap();
    });
}

#[test]
fn volumes_binds_and_memory_of_a_running_container_are_reached() {
    with_both(|engine, client| {
        let source = sources(engine, client);
        let bind = engine.directory().join(format!("bind-{client:?}"));
        fs::create_dir(&bind).unwrap();
        fs::write(bind.join("host"), "host\n").unwrap();
        let read_write = format!("{}:/bind", bind.display());
        let read_only = format!("{}:/fixed:ro", bind.display());
        let flags = [
            "-v",
            &read_write,
            "-v",
            &read_only,
            "-v",
            "/volume",
            "--tmpfs",
            "/memory",
        ];
        started(
            engine,
            client,
            &flags,
            "echo m > /memory/m; echo v > /volume/v",
        );
        let copy = |from: &str, to: &str| engine.run(client, &["cp", from, to]);
        let file = source.join("file");
        let inner = ["/bind", "/volume", "/memory", "/"];
        for place in inner {
            copy(text(&file), &inside(place)).succeeded();
            let path = format!("{place}/file");
            let seen = engine.run(client, &["exec", "box", "cat", &path]);
            assert_eq!(seen.out(), "file", "{place}");
        }
        assert_eq!(fs::read_to_string(bind.join("file")).unwrap(), "file\n");
        copy(text(&file), &inside("/fixed"))
            .exited(1)
            .says("mounted volume is marked read-only");
        for (path, expected) in [
            ("/bind/host", "host\n"),
            ("/fixed/host", "host\n"),
            ("/volume/v", "v\n"),
            ("/memory/m", "m\n"),
        ] {
            let back = engine.directory().join("back");
            copy(&inside(path), text(&back)).succeeded();
            assert_eq!(fs::read_to_string(&back).unwrap(), expected);
        }
        // The name of a mount point cannot be taken from it.
        copy(text(&file), &inside("/etc/hosts")).exited(1);
        engine
            .run(
                client,
                &["exec", "box", "grep", "-q", "localhost", "/etc/hosts"],
            )
            .succeeded();
        engine.wharf(&["rm", "-fv", "box"]).succeeded();
        fs::remove_dir_all(source).unwrap();
    });
}

#[test]
fn a_read_only_root_takes_no_files_but_its_volumes_do() {
    with_both(|engine, client| {
        let source = sources(engine, client);
        let file = source.join("file");
        let flags = ["--read-only", "-v", "/volume"];
        let create = [
            &["create", "--name", "box"],
            &flags[..],
            &["busybox", "sleep", "1000"],
        ];
        engine.run(client, &create.concat()).succeeded();
        for running in [false, true] {
            let copy = |to: &str| engine.run(client, &["cp", text(&file), &inside(to)]);
            copy("/etc")
                .exited(1)
                .says("container rootfs is marked read-only");
            copy("/volume").succeeded();
            if !running {
                engine.wharf(&["start", "box"]).succeeded();
            }
        }
        engine.wharf(&["rm", "-fv", "box"]).succeeded();
        fs::remove_dir_all(source).unwrap();
    });
}

#[test]
fn archives_go_through_the_standard_streams() {
    with_both(|engine, client| {
        started(engine, client, &[], "mkdir /d; echo f > /d/f");
        let out = engine
            .client(client, &["cp", "box:/d", "-"])
            .output()
            .unwrap();
        assert!(out.status.success(), "{out:?}");
        let mut archive = tar::Archive::new(out.stdout.as_slice());
        let names: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["d/", "d/f"]);
        let put = |to: &str| {
            command::run(
                engine.client(client, &["cp", "-", &inside(to)]),
                &out.stdout,
            )
        };
        put("/tmp").succeeded();
        let seen = engine.run(client, &["exec", "box", "cat", "/tmp/d/f"]);
        assert_eq!(seen.out(), "f");
        put("/d/f").exited(1).says("must be a directory");
        let refused = |arguments: &[&str], text: &str| {
            engine.run(client, arguments).exited(1).says(text);
        };
        refused(
            &["cp", "box:/a", "box:/b"],
            "copying between containers is not supported",
        );
        refused(
            &["cp", "a", "b"],
            "must specify at least one container source",
        );
        refused(&["cp", "none:/a", "."], "No such container: none");
        engine.wharf(&["rm", "-f", "box"]).succeeded();
    });
}

#[test]
fn owners_are_kept_or_the_containers_own() {
    with_both(|engine, client| {
        let source = sources(engine, client);
        let file = source.join("file");
        std::os::unix::fs::chown(&file, Some(1234), Some(1235)).unwrap();
        started(engine, client, &["-u", "www"], "true");
        for (flags, expected) in [(&[][..], "1234 1235"), (&["-a"][..], "33 33")] {
            let arguments = [&["cp"], flags, &[text(&file), "box:/tmp"]];
            engine.run(client, &arguments.concat()).succeeded();
            let owner = ["exec", "box", "stat", "-c", "%u %g", "/tmp/file"];
            assert_eq!(engine.run(client, &owner).out(), expected);
        }
        engine.wharf(&["rm", "-f", "box"]).succeeded();
        fs::remove_dir_all(source).unwrap();
    });
}

/// Sends an archive to a container's directory.
fn put(
    engine: &Engine,
    container: &str,
    path: &str,
    archive: &[u8],
) -> wharf_tests_system::api::Answer {
    let route = format!("/containers/{container}/archive?path={path}");
    wharf_tests_system::api::request(
        &engine.socket(),
        "PUT",
        &route,
        "application/x-tar",
        archive,
    )
    .unwrap()
}

#[test]
fn the_api_answers_with_dockers_statuses() {
    let Some(engine) = engine() else { return };
    started(&engine, Client::Wharf, &["-v", "/volume"], "echo f > /f");
    let get = |path: &str| engine.request("GET", path, &[]).unwrap().status;
    assert_eq!(get("/containers/box/archive?path=/f"), 200);
    assert_eq!(get("/containers/box/archive?path=/none"), 404);
    assert_eq!(get("/containers/box/archive?path=/f/"), 400);
    assert_eq!(get("/containers/box/archive"), 400);
    assert_eq!(get("/containers/none/archive?path=/"), 404);
    let mut archive = Archive::new(Vec::new());
    archive.file("new", 0o644, b"new").unwrap();
    let archive = archive.finish().unwrap();
    let status = |path: &str, bytes: &[u8]| put(&engine, "box", path, bytes).status;
    assert_eq!(status("/tmp", &archive), 200);
    assert_eq!(status("/tmp", b""), 200);
    assert_eq!(status("/f", &archive), 400);
    assert_eq!(status("/none", &archive), 404);
    assert_eq!(status("/tmp", b"this is no archive at all"), 400);
    engine.finish();
}

/// While a container swaps a path for a link to the host, only its own bytes come out, and nothing of the host changes.
fn swapped(engine: &Engine, work: impl Fn(usize) -> Ran) {
    let host = engine.directory().join("host");
    fs::create_dir(&host).unwrap();
    fs::write(host.join("secret"), "outside").unwrap();
    let script = format!(
        "(while :; do mkdir -p /p; echo inside > /p/secret; mv /p /q; ln -s {} /p; rm -f /p; rm -rf /q; done) &",
        host.display()
    );
    started(engine, Client::Wharf, &["-v", "/p/volume"], &script);
    for race in 0..150 {
        let ran = work(race);
        assert!(!ran.stdout.contains("outside"), "{ran:?}");
    }
    assert_eq!(fs::read_to_string(host.join("secret")).unwrap(), "outside");
    assert_eq!(fs::read_dir(&host).unwrap().count(), 1);
}

#[test]
fn attack_a1_copies_out_of_a_container_that_swaps_paths() {
    let Some(engine) = engine() else { return };
    swapped(&engine, |race| {
        let path = ["box:/p/secret", "box:/p/", "box:/p"][race % 3];
        engine.wharf(&["cp", path, "-"])
    });
    engine.finish();
}

#[test]
fn attack_a2_copies_into_a_container_that_swaps_a_mount_point() {
    let Some(engine) = engine() else { return };
    let file = engine.directory().join("secret");
    fs::write(&file, "overwritten").unwrap();
    swapped(&engine, |race| {
        let path = ["box:/p/volume", "box:/p", "box:/p/new"][race % 3];
        engine.wharf(&["cp", text(&file), path])
    });
    engine.finish();
}

#[test]
fn attack_a3_nothing_of_the_container_decompresses() {
    let Some(engine) = engine() else { return };
    let program = b"#!/bin/sh\ntouch /ran\nexec /bin/busybox cat\n";
    let image = wharf_tests_system::image::busybox_with(|archive| {
        for name in ["xz", "unxz", "gzip", "unpigz", "zstd", "bzip2"] {
            archive.file(&format!("usr/bin/{name}"), 0o755, program)?;
        }
        Ok(())
    });
    engine.import_bytes(&image, "hostile", &[]).succeeded();
    engine
        .wharf(&[
            "run",
            "-d",
            "--name",
            "box",
            "hostile",
            "/bin/busybox",
            "sleep",
            "1000",
        ])
        .succeeded();
    let mut archive = Archive::new(Vec::new());
    archive.file("unpacked", 0o644, b"yes").unwrap();
    let archive = archive.finish().unwrap();
    let plain = engine.directory().join("plain.tar");
    fs::File::create(&plain)
        .unwrap()
        .write_all(&archive)
        .unwrap();
    for compressor in ["gzip", "xz", "zstd", "bzip2"] {
        let packed = std::process::Command::new(compressor)
            .arg("--stdout")
            .arg(&plain)
            .output()
            .unwrap();
        let answer = put(&engine, "box", "/tmp", &packed.stdout);
        assert_eq!(answer.status, 200, "{compressor}: {}", answer.text());
        engine
            .wharf(&["exec", "box", "/bin/busybox", "rm", "/tmp/unpacked"])
            .succeeded();
    }
    engine
        .wharf(&["exec", "box", "/bin/busybox", "test", "-e", "/ran"])
        .exited(1);
    engine.finish();
}

#[test]
fn attack_a4_no_library_of_the_container_is_loaded() {
    let Some(engine) = engine() else { return };
    let image = wharf_tests_system::image::busybox_with(|archive| {
        for name in ["libnss_files.so.2", "libnss_dns.so.2", "libc.so.6"] {
            archive.file(&format!("lib/{name}"), 0o755, b"\x7fELFbad")?;
            archive.file(
                &format!("lib/x86_64-linux-gnu/{name}"),
                0o755,
                b"\x7fELFbad",
            )?;
        }
        archive.file("etc/nsswitch.conf", 0o644, b"passwd: files\ngroup: files\n")
    });
    engine.import_bytes(&image, "hostile", &[]).succeeded();
    engine
        .wharf(&[
            "run", "-d", "-u", "www", "--name", "box", "hostile", "sleep", "1000",
        ])
        .succeeded();
    let file = engine.directory().join("file");
    fs::write(&file, "x").unwrap();
    engine
        .wharf(&["cp", "-a", text(&file), "box:/tmp"])
        .succeeded();
    engine
        .wharf(&["cp", "box:/tmp/file", text(&file)])
        .succeeded();
    let maps = fs::read_to_string(format!("/proc/{}/maps", engine.pid())).unwrap();
    let loaded: Vec<_> = maps.lines().filter(|line| line.contains(".so")).collect();
    assert_eq!(loaded, Vec::<&str>::new());
    engine.finish();
}

#[test]
fn attack_a5_hostile_archives_stay_in_the_container() {
    let Some(engine) = engine() else { return };
    let host = engine.directory().join("sentinel");
    fs::write(&host, "untouched").unwrap();
    started(&engine, Client::Wharf, &[], "true");
    type Entry<'a> = (&'a str, tar::EntryType, &'a str);
    let (file, link, hard) = (
        tar::EntryType::Regular,
        tar::EntryType::Symlink,
        tar::EntryType::Link,
    );
    let up = format!("../../../../../../../../{}", host.display());
    let parent = host.parent().unwrap().to_str().unwrap();
    let cases: [&[Entry<'_>]; 6] = [
        &[(&up, file, "")],
        &[(host.to_str().unwrap(), file, "")],
        &[("out", link, parent), ("out/sentinel", file, "")],
        &[
            ("up", link, "../../../../../.."),
            ("up/etc/passwd", file, ""),
        ],
        &[("hard", hard, &up), ("hard", file, "")],
        &[(".wh.etc", file, "")],
    ];
    for entries in cases {
        let mut archive = Archive::new(Vec::new());
        for (name, kind, target) in entries {
            let content: &[u8] = if *kind == file { b"hostile" } else { b"" };
            archive.raw(name, *kind, 0o644, target, content).unwrap();
        }
        put(&engine, "box", "/tmp", &archive.finish().unwrap());
        assert_eq!(
            fs::read_to_string(&host).unwrap(),
            "untouched",
            "{entries:?}"
        );
    }
    engine
        .wharf(&["exec", "box", "test", "-d", "/etc"])
        .succeeded();
    engine.finish();
}

#[test]
fn attack_a8_what_becomes_a_link_is_exported_as_a_link() {
    let Some(engine) = engine() else { return };
    let script =
        "(while :; do echo x > /leak; rm /leak; ln -s /etc/shadow /leak; rm /leak; done) &";
    started(&engine, Client::Wharf, &["-h", "inside"], script);
    let shadow = fs::read("/etc/shadow").unwrap();
    for _ in 0..10 {
        let out = engine
            .client(Client::Wharf, &["export", "box"])
            .output()
            .unwrap();
        assert!(out.status.success(), "{out:?}");
        let found = out
            .stdout
            .windows(shadow.len())
            .any(|window| window == shadow);
        assert!(!found, "the host's file is in the archive");
    }
    engine.finish();
}
