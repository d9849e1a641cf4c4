//! User namespaces: who owns what, inside and outside.

mod life;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};

use wharf_tests_system::{Client, Engine, image, needs};

/// The first id of the engine's mapping, and how many there are.
const FIRST: u32 = 300_000;
const COUNT: u32 = 65_536;
const SUBIDS: [&str; 2] = ["/etc/subuid", "/etc/subgid"];

/// An engine that does not run yet and sees these subordinate ids.
fn prepare(subids: &str) -> Option<Engine> {
    if !needs::met(&["docker", "busybox", "nft", "ip", "unshare"]) {
        return None;
    }
    let mut engine = Engine::prepare();
    for file in SUBIDS {
        engine.replace(file, subids);
    }
    Some(engine)
}

/// An engine whose containers have ids from [`FIRST`] on.
fn remapped() -> Option<Engine> {
    let mut engine = prepare(&format!("dockremap:{FIRST}:{COUNT}\n"))?;
    engine.argument("--userns-remap=default");
    engine.launch();
    engine.import(&image::busybox(), "busybox");
    Some(engine)
}

/// An engine whose containers get ids of their own from 400,000 on.
fn automatic() -> Option<Engine> {
    let mut engine = prepare("containers:400000:200000\n")?;
    engine.launch();
    engine.import(&image::busybox(), "busybox");
    Some(engine)
}

fn owner(path: &Path) -> (u32, u32) {
    let metadata = fs::symlink_metadata(path).unwrap();
    (metadata.uid(), metadata.gid())
}

/// A container's root, as the host sees it.
fn root_of(engine: &Engine, name: &str) -> PathBuf {
    let pid = engine.inspect(name, "{{.State.Pid}}");
    PathBuf::from(format!("/proc/{pid}/root"))
}

/// The first id of a container's mapping.
fn first_id(engine: &Engine, name: &str) -> u32 {
    let map = engine.wharf(&["exec", name, "cat", "/proc/self/uid_map"]);
    map.out()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

/// A directory that everybody may write to.
fn open_directory(engine: &Engine, name: &str) -> PathBuf {
    let directory = engine.directory().join(name);
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
    directory
}

#[test]
fn a_remapped_engine_shows_owners_right_on_both_sides() {
    let Some(engine) = remapped() else { return };
    let information = engine.wharf(&["info", "--format", "{{json .SecurityOptions}}"]);
    assert!(information.out().contains("name=userns"), "{information:?}");
    for client in Client::ALL {
        let name = format!("{client:?}").to_lowercase();
        let bind = open_directory(&engine, &name);
        let volume = format!("{}:/bind", bind.display());
        let script = "touch /made /volume/made /bind/made; chown 33:34 /made /volume/made /bind/made; \
                      sleep 1000";
        let started = engine.run(
            client,
            &[
                "run", "-d", "--name", &name, "-v", "/volume", "-v", &volume, "--tmpfs",
                "/scratch", "busybox", "sh", "-c", script,
            ],
        );
        started.succeeded();
        let run = |command: &str| engine.run(client, &["exec", &name, "sh", "-c", command]);
        assert_eq!(
            run(
                "while [ \"$(stat -c %u /bind/made)\" != 33 ]; do usleep 1000; done; \
                 cat /proc/self/uid_map | tr -s ' '"
            )
            .out()
            .trim(),
            format!("0 {FIRST} {COUNT}")
        );
        let owners = run(
            "stat -c '%n %u:%g' /made /volume /volume/made /bind /bind/made /scratch /bin/busybox /etc/hosts",
        );
        assert_eq!(
            owners.out(),
            "/made 33:34\n/volume 0:0\n/volume/made 33:34\n/bind 65534:65534\n/bind/made 33:34\n\
             /scratch 0:0\n/bin/busybox 0:0\n/etc/hosts 0:0"
        );
        run("echo 10.0.0.1 more >> /etc/hosts && grep -q more /etc/hosts").succeeded();
        // What it left on the host belongs to nobody there, and is stored as it saw it.
        let outside = (FIRST + 33, FIRST + 34);
        assert_eq!(owner(&bind.join("made")), outside);
        assert_eq!(owner(&root_of(&engine, &name).join("made")), outside);
        let volume = "{{range .Mounts}}{{if eq .Destination \"/volume\"}}{{.Source}}{{end}}{{end}}";
        let stored = PathBuf::from(engine.inspect(&name, volume));
        assert_eq!(owner(&stored.join("made")), (33, 34));
        let stored = engine.data_root().join("store/snapshots");
        let snapshot = stored
            .join(engine.inspect(&name, "{{.Id}}"))
            .join("fs/made");
        assert_eq!(owner(&snapshot), (33, 34));
        assert_eq!(run("echo out; echo err >/dev/stderr").stderr, "err\n");
        let user = engine.run(
            client,
            &[
                "exec",
                "-u",
                "1000",
                &name,
                "sh",
                "-c",
                "echo err >/dev/stderr; id -u",
            ],
        );
        assert_eq!(
            (user.stdout.as_str(), user.stderr.as_str()),
            ("1000\n", "err\n")
        );
        // The host's processes list shows the host's ids.
        let top = engine.run(client, &["top", &name, "-eo", "uid,pid,args"]);
        assert!(top.out().contains(&FIRST.to_string()), "{top:?}");
        // --userns=host is the host's own ids, with the same layers.
        let host = engine.run(
            client,
            &[
                "run",
                "--rm",
                "--userns=host",
                "busybox",
                "sh",
                "-c",
                "cat /proc/self/uid_map; stat -c %u /bin",
            ],
        );
        assert_eq!(
            host.out().split_whitespace().collect::<Vec<_>>(),
            ["0", "0", "4294967295", "0"]
        );
        engine.run(client, &["rm", "-f", "-v", &name]).succeeded();
    }
    engine.finish();
}

#[test]
fn what_would_share_the_host_is_refused() {
    let Some(engine) = remapped() else { return };
    for client in Client::ALL {
        for (flag, text) in [
            (
                "--privileged",
                "privileged mode is incompatible with user namespaces.  You must run the container in the host \
                 namespace when running privileged mode",
            ),
            (
                "--network=host",
                "cannot share the host's network namespace when user namespaces are enabled",
            ),
            (
                "--pid=host",
                "cannot share the host PID namespace when user namespaces are enabled",
            ),
        ] {
            let refused = engine.run(client, &["run", "--rm", flag, "busybox", "true"]);
            refused.exited(125).says(text);
            let host = ["run", "--rm", flag, "--userns=host", "busybox", "true"];
            engine.run(client, &host).succeeded();
        }
    }
    engine.finish();
}

#[test]
fn files_go_in_and_out_with_the_owners_that_containers_see() {
    let Some(engine) = remapped() else { return };
    // The archives are the API's, whoever asks for them.
    for client in [Client::Docker] {
        let name = format!("{client:?}").to_lowercase();
        let bind = open_directory(&engine, &name);
        let volume = format!("{}:/bind", bind.display());
        let made = [
            "run",
            "-d",
            "--name",
            &name,
            "-v",
            "/volume",
            "-v",
            &volume,
            "busybox",
            "sh",
            "-c",
            "touch /made; chown 33:34 /made; sleep 1000",
        ];
        engine.run(client, &made).succeeded();
        let local = engine.directory().join(format!("{name}-file"));
        fs::write(&local, "x").unwrap();
        std::os::unix::fs::chown(&local, Some(1000), Some(1001)).unwrap();
        let copy = |to: &str| {
            let target = format!("{name}:{to}");
            engine
                .run(client, &["cp", "-a", &local.display().to_string(), &target])
                .succeeded();
        };
        for stopped in [false, true] {
            if stopped {
                engine.run(client, &["kill", &name]).succeeded();
                engine.run(client, &["wait", &name]).succeeded();
            }
            for place in ["/copied", "/volume/copied", "/bind/copied"] {
                copy(&format!("{place}{stopped}"));
            }
            assert_eq!(
                owner(&bind.join(format!("copied{stopped}"))),
                (FIRST + 1000, FIRST + 1001)
            );
            let archive = engine.directory().join(format!("{name}-{stopped}.tar"));
            let archive = archive.display().to_string();
            let mut listings = String::new();
            for path in [
                "/made",
                &format!("/copied{stopped}"),
                &format!("/bind/copied{stopped}"),
            ] {
                let out = engine
                    .client(client, &["cp", "-a", &format!("{name}:{path}"), "-"])
                    .output();
                fs::write(&archive, out.unwrap().stdout).unwrap();
                let listed = std::process::Command::new("tar")
                    .args(["--numeric-owner", "-tvf", &archive])
                    .output()
                    .unwrap();
                listings.push_str(&String::from_utf8_lossy(&listed.stdout));
            }
            let owners: Vec<_> = listings
                .lines()
                .map(|line| line.split_whitespace().nth(1).unwrap())
                .collect();
            assert_eq!(owners, ["33/34", "1000/1001", "1000/1001"], "{listings}");
            let exported = engine.client(client, &["export", &name]).output().unwrap();
            fs::write(&archive, exported.stdout).unwrap();
            let listed = std::process::Command::new("tar")
                .args(["--numeric-owner", "-tvf", &archive, "made"])
                .output()
                .unwrap();
            assert!(
                String::from_utf8_lossy(&listed.stdout).contains(" 33/34 "),
                "{listed:?}"
            );
        }
        engine.run(client, &["start", &name]).succeeded();
        let seen = engine.run(
            client,
            &[
                "exec",
                &name,
                "stat",
                "-c",
                "%u:%g",
                "/copiedfalse",
                "/copiedtrue",
                "/volume/copiedtrue",
            ],
        );
        assert_eq!(seen.out(), "1000:1001\n1000:1001\n1000:1001");
        let changes = engine.run(client, &["diff", &name]);
        assert!(changes.out().contains("A /made"), "{changes:?}");
        engine.run(client, &["rm", "-f", "-v", &name]).succeeded();
    }
    engine.finish();
}

#[test]
fn a_terminal_belongs_to_its_user() {
    let Some(engine) = remapped() else { return };
    for client in Client::ALL {
        let line = [
            "run",
            "--rm",
            "-it",
            "-u",
            "1000",
            "busybox",
            "sh",
            "-c",
            "echo on >/dev/tty; stat -c %u $(tty)",
        ];
        let ran = engine.on_terminal(client, &line, "");
        // script(1) shows the end of its own input too.
        let shown = ran.stdout.replace('\r', "").replace("^@", "");
        assert_eq!(shown, "on\n1000\n", "{ran:?}");
    }
    engine.finish();
}

#[test]
fn a_mapping_that_the_host_does_not_give_is_told() {
    let Some(mut engine) = prepare("alice:100000:65536\n") else {
        return;
    };
    engine.argument("--userns-remap=default");
    engine.spawn();
    engine.ended();
    let log = engine.log();
    assert!(
        log.contains("add the line dockremap:165536:65536 to /etc/subuid"),
        "{log}"
    );
}

#[test]
fn automatic_ranges_are_apart_kept_and_given_back() {
    let Some(mut engine) = automatic() else {
        return;
    };
    let run = |engine: &Engine, name: &str, size: &str| {
        let mode = format!("--userns=auto{size}");
        engine
            .wharf(&[
                "run", "-d", "--name", name, &mode, "busybox", "sleep", "1000",
            ])
            .succeeded();
    };
    run(&engine, "one", "");
    run(&engine, "two", ":size=1000");
    assert_eq!(engine.inspect("one", "{{.HostConfig.UsernsMode}}"), "auto");
    assert_eq!(first_id(&engine, "one"), 400_000);
    assert_eq!(first_id(&engine, "two"), 465_536);
    // A range is the container's from its creation to its removal, over its own and the engine's ends.
    engine.wharf(&["kill", "one"]).succeeded();
    engine.kill();
    engine.launch();
    run(&engine, "three", "");
    assert_eq!(first_id(&engine, "three"), 466_536);
    engine.wharf(&["start", "one"]).succeeded();
    assert_eq!(first_id(&engine, "one"), 400_000);
    assert_eq!(first_id(&engine, "two"), 465_536);
    // 68,000 are left, less than a second range after the next.
    run(&engine, "four", "");
    let full = engine.wharf(&["create", "--userns=auto", "busybox", "true"]);
    full.exited(1).says("no 65536 ids in a row are free");
    engine.wharf(&["rm", "-f", "one"]).succeeded();
    run(&engine, "five", ":size=65536");
    assert_eq!(first_id(&engine, "five"), 400_000);
    engine.finish();
}

#[test]
fn keep_id_is_the_callers_own_id() {
    let Some(engine) = automatic() else { return };
    fs::set_permissions(engine.socket(), fs::Permissions::from_mode(0o666)).unwrap();
    fs::set_permissions(engine.directory(), fs::Permissions::from_mode(0o755)).unwrap();
    let bind = open_directory(&engine, "bind");
    let volume = format!("{}:/bind", bind.display());
    let script =
        "id -u; id -g; touch /bind/made; stat -c %u /bin; cat /proc/self/uid_map | tr -s ' '";
    let arguments = [
        "run",
        "--rm",
        "--userns=keep-id",
        "-v",
        &volume,
        "busybox",
        "sh",
        "-c",
        script,
    ];
    let mut command = engine.client(Client::Wharf, &arguments);
    let ran = command.uid(12_345).gid(23_456).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&ran.stdout),
        "12345\n23456\n0\n 0 400000 12345\n 12345 12345 1\n 12346 412346 53190\n",
        "{ran:?}"
    );
    assert_eq!(owner(&bind.join("made")), (12_345, 23_456));
    // With a number, that is the id inside.
    let arguments = [
        "run",
        "--rm",
        "--userns=keep-id:uid=7,gid=8",
        "-v",
        &volume,
        "busybox",
        "sh",
        "-c",
        "id -u; touch /bind/more",
    ];
    let mut command = engine.client(Client::Wharf, &arguments);
    let ran = command.uid(12_345).gid(23_456).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "7\n", "{ran:?}");
    assert_eq!(owner(&bind.join("more")), (12_345, 23_456));
    engine.finish();
}

#[test]
fn volumes_in_directories_of_the_host_are_not_mapped() {
    let Some(engine) = remapped() else { return };
    let place = open_directory(&engine, "place");
    let device = format!("device={}", place.display());
    let made = [
        "volume",
        "create",
        "-d",
        "local",
        "-o",
        "type=none",
        "-o",
        "o=bind",
        "-o",
        &device,
        "there",
    ];
    engine.wharf(&made).succeeded();
    let script = "cp /bin/busybox /there/sh; chmod 6755 /there/sh; stat -c %u /there";
    let ran = engine.wharf(&[
        "run",
        "--rm",
        "-v",
        "there:/there",
        "busybox",
        "sh",
        "-c",
        script,
    ]);
    assert_eq!(ran.out(), "65534");
    assert_eq!(owner(&place.join("sh")), (FIRST, FIRST));
    engine.wharf(&["volume", "rm", "there"]).succeeded();
    engine.finish();
}

#[test]
fn unknown_modes_are_refused() {
    let Some(engine) = automatic() else { return };
    let body = br#"{"Image":"busybox","HostConfig":{"UsernsMode":"private"}}"#;
    let answer = engine
        .request("POST", "/v1.44/containers/create", body)
        .unwrap();
    assert_eq!(answer.json()["message"], "invalid USER mode: private");
    engine.finish();
}

/// A program that a container's root marks as set-user-id runs as nobody of the host's.
#[test]
fn attack_userns_setuid_files_are_not_roots_outside() {
    let Some(engine) = remapped() else { return };
    let bind = open_directory(&engine, "bind");
    let volume = format!("{}:/bind", bind.display());
    let script = "cp /bin/busybox /bind/sh && chmod 6755 /bind/sh; mknod /bind/disk b 8 0; \
                  mount -t tmpfs none /mnt; chown 4294967294 /bind/sh; true";
    engine
        .wharf(&[
            "run",
            "--rm",
            "--cap-add=ALL",
            "--security-opt=seccomp=unconfined",
            "-v",
            &volume,
            "busybox",
            "sh",
            "-c",
            script,
        ])
        .succeeded();
    assert_eq!(owner(&bind.join("sh")), (FIRST, FIRST));
    assert!(!bind.join("disk").exists(), "a device of the host was made");
    engine.finish();
}

/// All capabilities of a user namespace reach nothing of the host's.
#[test]
fn attack_r15_the_hosts_cgroups_and_settings_are_out_of_reach() {
    let Some(engine) = remapped() else { return };
    let script = "
        for group in /sys/fs/cgroup /sys/fs/cgroup/*; do
            mount -o remount,rw $group 2>/dev/null
            mkdir $group/made 2>/dev/null && echo made $group
            for file in release_agent notify_on_release cgroup.procs tasks cgroup.subtree_control; do
                test -e $group/$file && echo 1 > $group/$file && echo wrote $group/$file
            done
        done 2>/dev/null
        mount -o remount,rw /proc/sys 2>/dev/null
        umount /proc/sys 2>/dev/null
        echo x > /proc/sys/kernel/core_pattern && echo wrote core_pattern
        echo h > /proc/sysrq-trigger && echo wrote sysrq
        echo '0 0 4294967295' > /proc/self/uid_map && echo mapped
        cat /proc/1/uid_map | tr -s ' '
        true";
    let ran = engine.wharf(&[
        "run",
        "--rm",
        "--cap-add=ALL",
        "--security-opt=seccomp=unconfined",
        "busybox",
        "sh",
        "-c",
        script,
    ]);
    assert_eq!(ran.out().trim(), format!("0 {FIRST} {COUNT}"), "{ran:?}");
    engine.finish();
}

/// A container sees files of another mapping as nobody's, and cannot take them.
#[test]
fn attack_userns_containers_do_not_own_each_others_files() {
    let Some(engine) = automatic() else { return };
    let bind = open_directory(&engine, "bind");
    let volume = format!("{}:/bind", bind.display());
    let run = |name: &str, script: &str| {
        engine.wharf(&[
            "run",
            "--rm",
            "--name",
            name,
            "--userns=auto:size=1000",
            "-v",
            &volume,
            "busybox",
            "sh",
            "-c",
            script,
        ])
    };
    engine
        .wharf(&[
            "create",
            "--name",
            "first",
            "--userns=auto:size=1000",
            "-v",
            &volume,
            "busybox",
            "sh",
            "-c",
            "echo secret > /bind/file; chmod 600 /bind/file",
        ])
        .succeeded();
    engine.wharf(&["start", "-a", "first"]).succeeded();
    let ran = run(
        "second",
        "stat -c %u /bind/file; cat /bind/file; chown 0 /bind/file; chmod 777 /bind/file; true",
    );
    assert_eq!(ran.stdout, "65534\n", "{ran:?}");
    assert_eq!(owner(&bind.join("file")), (400_000, 400_000));
    assert_eq!(
        fs::metadata(bind.join("file")).unwrap().mode() & 0o777,
        0o600
    );
    engine.finish();
}
