//! What containers use, told once and as it changes.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use wharf_tests_system::image::busybox_with;
use wharf_tests_system::{Client, binary};

use crate::{engine, with_both};

#[test]
fn use_is_shown_once_for_each_container() {
    with_both(|engine, client| {
        let run = |arguments: &[&str]| engine.run(client, arguments).out().to_owned();
        run(&[
            "run",
            "-d",
            "--name",
            "busy",
            "-m",
            "64m",
            "busybox",
            "sh",
            "-c",
            "sleep 1000 & while :; do :; done",
        ]);
        run(&["run", "-d", "--name", "idle", "busybox", "sleep", "1000"]);
        let table = run(&["stats", "--no-stream"]);
        let head = table.lines().next().unwrap();
        let heads: Vec<&str> = head
            .split("  ")
            .map(str::trim)
            .filter(|h| !h.is_empty())
            .collect();
        assert_eq!(
            heads,
            [
                "CONTAINER ID",
                "NAME",
                "CPU %",
                "MEM USAGE / LIMIT",
                "MEM %",
                "NET I/O",
                "BLOCK I/O",
                "PIDS"
            ]
        );
        assert_eq!(table.lines().count(), 3, "{table}");
        let format = "{{.Name}} {{.CPUPerc}} {{.MemUsage}} {{.PIDs}}";
        let busy = run(&["stats", "--no-stream", "--format", format, "busy"]);
        let fields: Vec<&str> = busy.split(' ').collect();
        assert_eq!(
            (fields[0], fields[4], fields[5]),
            ("busy", "64MiB", "2"),
            "{busy}"
        );
        let share: f64 = fields[1].trim_end_matches('%').parse().unwrap();
        assert!((5.0..110.0).contains(&share), "{busy}");
        run(&["create", "--name", "made", "busybox", "true"]);
        let names = run(&["stats", "--no-stream", "--all", "--format", "{{.Name}}"]);
        let mut names: Vec<&str> = names.lines().collect();
        names.sort_unstable();
        assert_eq!(names, ["busy", "idle", "made"]);
        engine
            .run(client, &["stats", "--no-stream", "nosuch"])
            .exited(1)
            .says("No such container: nosuch");
        run(&["rm", "-f", "busy", "idle", "made"]);
    });
}

#[test]
fn a_picture_follows_containers_that_come_and_go() {
    with_both(|engine, client| {
        engine
            .run(
                client,
                &["run", "-d", "--name", "first", "busybox", "sleep", "1000"],
            )
            .succeeded();
        let mut child = engine
            .client(client, &["stats", "--format", "{{.Name}}"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut see = |name: &str, there: bool| {
            // A picture begins with the first line after the cursor went home.
            let mut pictures = 0;
            let mut seen = false;
            for line in lines.by_ref() {
                let line = line.unwrap();
                if line.contains("\u{1b}[H") {
                    pictures += 1;
                    if seen == there && pictures > 1 {
                        return;
                    }
                    seen = false;
                }
                seen |= line.contains(name);
                assert!(pictures < 60, "{name} {there}");
            }
            panic!("stats ended");
        };
        see("first", true);
        engine
            .run(
                client,
                &["run", "-d", "--name", "second", "busybox", "sleep", "1000"],
            )
            .succeeded();
        see("second", true);
        engine.run(client, &["rm", "-f", "first"]).succeeded();
        see("first", false);
        child.kill().unwrap();
        child.wait().unwrap();
        engine.run(client, &["rm", "-f", "second"]).succeeded();
    });
}

#[test]
fn the_document_is_whole() {
    let Some(engine) = engine() else { return };
    engine
        .wharf(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"])
        .succeeded();
    let once = |query: &str| {
        let path = format!("/containers/box/stats?{query}");
        engine.request("GET", &path, &[]).unwrap().json()
    };
    let two = once("stream=0");
    for member in [
        "read",
        "preread",
        "pids_stats",
        "blkio_stats",
        "num_procs",
        "storage_stats",
        "cpu_stats",
        "precpu_stats",
        "memory_stats",
        "name",
        "id",
        "networks",
    ] {
        assert!(!two[member].is_null(), "{member}: {two}");
    }
    assert_eq!(two["name"], "/box");
    let number = |path: &str| {
        two.pointer(path)
            .and_then(serde_json::Value::as_u64)
            .unwrap_or_default()
    };
    let passed = number("/cpu_stats/system_cpu_usage") - number("/precpu_stats/system_cpu_usage");
    assert!((500_000_000..60_000_000_000).contains(&passed), "{two}");
    assert!(
        number("/memory_stats/usage") > 0 && number("/memory_stats/limit") > 0,
        "{two}"
    );
    assert_eq!(number("/pids_stats/current"), 1);
    assert!(two["networks"]["eth0"]["rx_bytes"].is_u64(), "{two}");
    let one = once("stream=0&one-shot=1");
    assert_eq!(one["preread"], "0001-01-01T00:00:00Z");
    engine.wharf(&["stop", "-t", "0", "box"]).succeeded();
    let none = once("stream=0");
    assert_eq!(none["read"], "0001-01-01T00:00:00Z");
    assert_eq!(none["memory_stats"], serde_json::json!({}));
    engine.finish();
}

#[test]
fn attack_r23_stats_with_an_image_full_of_lies() {
    if binary::reference().is_some() {
        return;
    }
    let Some(engine) = engine() else { return };
    let sentinel = engine.directory().join("sentinel");
    let script = format!("#!/bin/sh\necho pwned > {}\n", sentinel.display());
    let fake = busybox_with(|archive| {
        for name in ["bin/ps", "usr/bin/nsenter", "sbin/ip", "bin/cat"] {
            archive.file(name, 0o755, script.as_bytes())?;
        }
        archive.file("sys/fs/cgroup/memory/memory.usage_in_bytes", 0o644, b"1")?;
        archive.file("proc/net/dev", 0o644, b"eth0: 9 9 9 9")
    });
    engine.import_bytes(&fake, "fake", &[]).succeeded();
    engine
        .wharf(&["run", "-d", "--name", "box", "fake", "sleep", "1000"])
        .succeeded();
    for client in Client::ALL {
        let line = engine.run(
            client,
            &[
                "stats",
                "--no-stream",
                "--format",
                "{{.MemUsage}} {{.PIDs}}",
                "box",
            ],
        );
        assert!(
            line.out().ends_with(" 1") && !line.out().starts_with("1B"),
            "{line:?}"
        );
        engine.run(client, &["top", "box"]).succeeded();
    }
    assert!(!sentinel.exists());
    engine.finish();
}
