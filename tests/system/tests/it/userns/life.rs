//! What containers with a user namespace share, how they are probed, and images made of them.

use wharf_tests_system::{Client, wait};

use super::{COUNT, FIRST, owner, remapped, root_of};

#[test]
fn namespaces_of_another_container_are_shared_with_its_ids() {
    let Some(engine) = remapped() else { return };
    let lender = [
        "run",
        "-d",
        "--name",
        "lender",
        "--ipc=shareable",
        "busybox",
        "sleep",
        "1000",
    ];
    engine.wharf(&lender).succeeded();
    let other = lender.map(|word| if word == "lender" { "other" } else { word });
    engine.wharf(&other).succeeded();
    let left = ["exec", "lender", "sh", "-c", "echo 1 > /dev/shm/left"];
    engine.wharf(&left).succeeded();
    let network = "--network=container:lender";
    for client in Client::ALL {
        for more in [
            &[][..],
            &["--pid=container:lender"],
            &["--ipc=container:lender"],
        ] {
            let script = "cat /proc/self/uid_map | tr -s ' '; ls /sys/class/net | tr '\\n' ' '";
            let line = [
                &["run", "--rm", network],
                more,
                &["busybox", "sh", "-c", script],
            ];
            let ran = engine.run(client, &line.concat());
            assert_eq!(
                ran.out().trim(),
                format!("0 {FIRST} {COUNT}\neth0 lo"),
                "{more:?}"
            );
        }
        // Without its network: a new one, that the shared user namespace owns.
        for (flag, script) in [
            (
                "--pid=container:lender",
                "ps -o args | grep -c '^sleep 1000'",
            ),
            ("--ipc=container:lender", "cat /dev/shm/left"),
        ] {
            let script = format!(
                "cat /proc/self/uid_map | tr -s ' '; ls /sys/class/net | tr '\\n' ' '; {script}; \
                                  ip link set lo mtu 1500 && echo owned"
            );
            let caps = "--cap-add=NET_ADMIN";
            let line = ["run", "--rm", flag, caps, "busybox", "sh", "-c", &script];
            let ran = engine.run(client, &line);
            assert_eq!(
                ran.out().trim(),
                format!("0 {FIRST} {COUNT}\neth0 lo 1\nowned"),
                "{flag}: {ran:?}"
            );
        }
        let both = [
            "run",
            "--rm",
            "--network=none",
            "--pid=container:lender",
            "--ipc=container:lender",
            "busybox",
            "sh",
            "-c",
            "kill -0 1 && cat /dev/shm/left",
        ];
        assert_eq!(engine.run(client, &both).out(), "1");
        let mixed = [
            "run",
            "--rm",
            "--pid=container:lender",
            "--ipc=container:other",
            "busybox",
            "true",
        ];
        engine
            .run(client, &mixed)
            .exited(125)
            .says("each has a user namespace of its own, and only one can be joined");
    }
    let other = [
        "run",
        "--rm",
        "--userns=auto",
        "--network=container:lender",
        "busybox",
        "true",
    ];
    engine
        .wharf(&other)
        .exited(125)
        .says("it has other ids in its user namespace");
    engine.finish();
}

#[test]
fn health_is_probed_with_the_ids_of_the_container() {
    let Some(engine) = remapped() else { return };
    for client in Client::ALL {
        let probe = "test $(id -u) = 5 && test $(stat -c %u /made) = 5 && echo well; test -e /made";
        let line = [
            "run",
            "-d",
            "--name",
            "box",
            "-u",
            "5",
            "--tmpfs",
            "/run:mode=1777",
            "--health-cmd",
            probe,
            "--health-interval",
            "100ms",
            "--health-retries",
            "1",
            "-w",
            "/run",
            "busybox",
            "sleep",
            "1000",
        ];
        engine.run(client, &line).succeeded();
        let as_root = |script: &str| {
            let line = ["exec", "-u", "0", "box", "sh", "-c", script];
            engine.run(client, &line).succeeded();
        };
        let health = |wanted: &str| {
            wait::until_true(wanted, || {
                engine.inspect("box", "{{.State.Health.Status}}") == wanted
            });
        };
        health("unhealthy");
        as_root("touch /made; chown 5 /made");
        health("healthy");
        let output = "{{(index .State.Health.Log 0).ExitCode}} {{range .State.Health.Log}}{{.Output}}{{end}}";
        assert!(engine.inspect("box", output).contains("well"));
        engine.run(client, &["rm", "-f", "box"]).succeeded();
    }
    engine.finish();
}

#[test]
fn an_image_made_of_a_container_has_the_owners_it_saw() {
    let Some(engine) = remapped() else { return };
    let look = "stat -c '%n %u:%g' /made /made/file /bin/busybox";
    let seen = "/made 33:34\n/made/file 5:6\n/bin/busybox 0:0";
    for client in Client::ALL {
        let script =
            "mkdir /made; touch /made/file; chown 33:34 /made; chown 5:6 /made/file; sleep 1000";
        let line = ["run", "-d", "--name", "box", "busybox", "sh", "-c", script];
        engine.run(client, &line).succeeded();
        wait::until_true("the owners", || {
            let line = ["exec", "box", "sh", "-c", look];
            let ran = engine.run(client, &line);
            ran.code == 0 && ran.out() == seen
        });
        // While it runs, frozen, and when it has ended.
        for (name, stopped) in [("made:running", false), ("made:stopped", true)] {
            if stopped {
                engine.run(client, &["rm", "-f", "copy"]).succeeded();
                engine.run(client, &["kill", "box"]).succeeded();
                engine.run(client, &["wait", "box"]).succeeded();
            }
            engine.run(client, &["commit", "box", name]).succeeded();
            // With the same ids, with the host's, and in the layer itself.
            for flags in [&[][..], &["--userns=host"]] {
                let line = [&["run", "--rm"], flags, &[name, "sh", "-c", look]].concat();
                assert_eq!(engine.run(client, &line).out(), seen, "{name} {flags:?}");
            }
            let copy = ["run", "-d", "--name", "copy", name, "sleep", "1000"];
            if !stopped {
                engine.run(client, &copy).succeeded();
                let file = root_of(&engine, "copy").join("made/file");
                assert_eq!(owner(&file), (FIRST + 5, FIRST + 6));
            }
            let changes = engine.run(client, &["diff", "box"]);
            assert!(changes.out().contains("A /made/file"), "{changes:?}");
        }
        engine.run(client, &["rm", "-f", "box"]).succeeded();
        engine
            .run(client, &["rmi", "made:running", "made:stopped"])
            .succeeded();
    }
    engine.finish();
}
