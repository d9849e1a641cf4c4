//! A container's life, step by step.

use std::time::{Duration, Instant};

use wharf_tests_system::{binary, wait};

use crate::{engine, with_both};

#[test]
fn a_container_goes_through_its_states() {
    with_both(|engine, client| {
        let status = || engine.inspect("box", "{{.State.Status}}");
        let run = |arguments: &[&str]| engine.run(client, arguments).out().to_owned();
        let id = run(&["create", "--name", "box", "busybox", "sleep", "1000"]);
        assert_eq!(status(), "created");
        assert_eq!(run(&["start", "box"]), "box");
        assert_eq!(status(), "running");
        assert_eq!(run(&["pause", "box"]), "box");
        assert_eq!(status(), "paused");
        assert_eq!(run(&["unpause", "box"]), "box");
        assert_eq!(
            run(&["ps", "--format", "{{.Names}} {{.State}} {{.Image}}"]),
            "box running busybox"
        );
        assert_eq!(run(&["ps", "-q", "--no-trunc"]), id);
        assert_eq!(run(&["rename", "box", "crate"]), "");
        assert_eq!(run(&["rename", "crate", "box"]), "");
        assert_eq!(run(&["kill", "box"]), "box");
        wait::until_true("the end", || status() == "exited");
        assert_eq!(
            engine.inspect("box", "{{.State.ExitCode}} {{.State.OOMKilled}}"),
            "137 false"
        );
        assert_eq!(run(&["ps", "-q"]), "");
        assert_eq!(run(&["ps", "-a", "--format", "{{.Names}}"]), "box");
        // It can be started again, with the same file system.
        assert_eq!(run(&["start", "box"]), "box");
        engine.run(client, &["rm", "box"]).exited(1).says("running");
        assert_eq!(run(&["rm", "-f", "box"]), "box");
        engine
            .run(client, &["inspect", "box"])
            .exited(1)
            .says("No such object: box");
        engine
            .run(client, &["start", "box"])
            .exited(1)
            .says("No such container: box");
    });
}

#[test]
fn wait_returns_the_exit_code_whenever_it_is_asked() {
    with_both(|engine, client| {
        let id = engine.run(
            client,
            &["run", "-d", "-i", "busybox", "sh", "-c", "read x; exit 9"],
        );
        let mut waiting = engine.client(client, &["wait", id.out()]);
        let waiting = std::thread::spawn(move || waiting.output().unwrap());
        engine
            .run(client, &["kill", "-s", "KILL", id.out()])
            .succeeded();
        assert_eq!(waiting.join().unwrap().stdout, b"137\n");
        assert_eq!(engine.run(client, &["wait", id.out()]).out(), "137");
        engine.run(client, &["rm", id.out()]).succeeded();
    });
}

/// A stop that comes while `wharf init` has not run its first line yet waits for it.
#[test]
fn a_stop_right_after_the_start_is_not_lost() {
    const ROUNDS: usize = 60;
    let Some(engine) = engine() else { return };
    let post = |path: &str| {
        let answer = engine.request("POST", path, &[]).unwrap();
        assert_eq!(answer.status, 204, "{path}: {}", answer.text());
    };
    for (init, code) in [(true, "143"), (false, "137")] {
        let mut create = vec!["create"];
        create.extend(init.then_some("--init"));
        create.extend(["busybox", "sleep", "1000"]);
        let id = engine.wharf(&create).out().to_owned();
        for _ in 0..ROUNDS {
            let began = Instant::now();
            post(&format!("/containers/{id}/start"));
            post(&format!("/containers/{id}/stop"));
            assert!(
                began.elapsed() < Duration::from_secs(9),
                "killed in the end"
            );
            assert_eq!(engine.inspect(&id, "{{.State.ExitCode}}"), code);
        }
        // What runs for longer, and what joins it, has no signal blocked.
        post(&format!("/containers/{id}/start"));
        let first = if init { "2" } else { "1" };
        let masks = [
            "sh",
            "-c",
            "grep -h SigBlk /proc/$0/status /proc/self/status",
        ];
        let read = || {
            let exec = [&["exec", &id], &masks[..], &[first]].concat();
            engine.wharf(&exec).out().to_owned()
        };
        wait::until_true("the program", || read().contains("SigBlk"));
        let none = "SigBlk:\t0000000000000000";
        assert_eq!(read(), [none, none].join("\n"));
    }
    engine.finish();
}

#[test]
fn stop_lets_a_handler_work() {
    with_both(|engine, client| {
        let script = "trap 'echo caught; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
        engine
            .run(
                client,
                &["run", "-d", "--name", "box", "busybox", "sh", "-c", script],
            )
            .succeeded();
        let logs = || engine.run(client, &["logs", "box"]).out().to_owned();
        wait::until_true("the handler", || logs() == "ready");
        assert_eq!(engine.run(client, &["stop", "box"]).out(), "box");
        assert_eq!(engine.inspect("box", "{{.State.ExitCode}}"), "3");
        assert_eq!(logs(), "ready\ncaught");
        engine.run(client, &["rm", "box"]).succeeded();
    });
}

/// Docker waits ten seconds for a PID 1 that cannot hear the signal; there is nothing to wait for.
#[test]
fn stop_does_not_wait_for_a_process_without_handler() {
    if binary::reference().is_some() {
        return;
    }
    with_both(|engine, client| {
        engine
            .run(
                client,
                &["run", "-d", "--name", "box", "busybox", "sleep", "1000"],
            )
            .succeeded();
        let start = Instant::now();
        engine.run(client, &["stop", "box"]).succeeded();
        assert!(
            start.elapsed() < Duration::from_secs(3),
            "{:?}",
            start.elapsed()
        );
        assert_eq!(engine.inspect("box", "{{.State.ExitCode}}"), "137");
        engine.run(client, &["rm", "box"]).succeeded();
    });
}

#[test]
fn restart_policies_decide_after_an_exit() {
    with_both(|engine, client| {
        let count = |name: &str| engine.inspect(name, "{{.RestartCount}}");
        let failing = [
            "run",
            "-d",
            "--name",
            "fails",
            "--restart",
            "on-failure:2",
            "busybox",
            "false",
        ];
        engine.run(client, &failing).succeeded();
        wait::until_true("the last attempt", || {
            engine.inspect("fails", "{{.State.Status}}") == "exited" && count("fails") == "2"
        });
        let fine = [
            "run",
            "-d",
            "--name",
            "fine",
            "--restart",
            "on-failure",
            "busybox",
            "true",
        ];
        engine.run(client, &fine).succeeded();
        engine.run(client, &["wait", "fine"]).succeeded();
        assert_eq!(count("fine"), "0");
        let always = [
            "run",
            "-d",
            "--name",
            "again",
            "--restart",
            "always",
            "busybox",
            "true",
        ];
        engine.run(client, &always).succeeded();
        wait::until_true("a few restarts", || {
            count("again").parse::<u32>().unwrap() >= 2
        });
        engine
            .run(client, &["rm", "-f", "fails", "fine", "again"])
            .succeeded();
        assert_eq!(engine.run(client, &["ps", "-aq"]).out(), "");
    });
}

#[test]
fn restart_and_start_again_keep_the_file_system() {
    with_both(|engine, client| {
        let script = "echo x >> /count; wc -l < /count; sleep 1000";
        engine
            .run(
                client,
                &["run", "-d", "--name", "box", "busybox", "sh", "-c", script],
            )
            .succeeded();
        let logs = || engine.run(client, &["logs", "box"]).out().to_owned();
        wait::until_true("the first run", || logs() == "1");
        engine
            .run(client, &["restart", "-t", "1", "box"])
            .succeeded();
        wait::until_true("the second run", || logs() == "1\n2");
        engine.run(client, &["rm", "-f", "box"]).succeeded();
    });
}

#[test]
fn rm_by_itself_leaves_no_container() {
    with_both(|engine, client| {
        engine
            .run(client, &["run", "--rm", "--name", "box", "busybox", "true"])
            .succeeded();
        wait::until_true("its removal", || {
            engine.run(client, &["ps", "-aq"]).out().is_empty()
        });
        let gone = engine.run(client, &["run", "-d", "--rm", "busybox", "true"]);
        gone.succeeded();
        wait::until_true("its removal", || {
            engine.run(client, &["ps", "-aq"]).out().is_empty()
        });
    });
}

#[test]
fn inspect_tells_what_was_asked_for() {
    with_both(|engine, client| {
        let arguments = [
            "create",
            "--name",
            "box",
            "-e",
            "A=1",
            "-w",
            "/tmp",
            "-u",
            "33",
            "--hostname",
            "h",
            "--label",
            "k=v",
            "-m",
            "64m",
            "--cpus",
            "0.5",
            "--pids-limit",
            "50",
            "--restart",
            "unless-stopped",
            "-p",
            "127.0.0.1::80",
            "--read-only",
            "busybox",
            "sleep",
            "5",
        ];
        engine.run(client, &arguments).succeeded();
        let field = |template: &str| {
            engine
                .run(client, &["inspect", "-f", template, "box"])
                .out()
                .to_owned()
        };
        assert_eq!(
            field("{{.Name}} {{.Config.Image}} {{.Config.WorkingDir}}"),
            "/box busybox /tmp"
        );
        assert_eq!(field("{{.Config.User}} {{.Config.Hostname}}"), "33 h");
        assert_eq!(
            field("{{json .Config.Cmd}} {{index .Config.Labels \"k\"}}"),
            "[\"sleep\",\"5\"] v"
        );
        assert_eq!(
            field("{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}}"),
            "67108864 500000000"
        );
        assert_eq!(
            field("{{.HostConfig.PidsLimit}} {{.HostConfig.ReadonlyRootfs}}"),
            "50 true"
        );
        assert_eq!(
            field("{{.HostConfig.RestartPolicy.Name}}"),
            "unless-stopped"
        );
        assert_eq!(
            field("{{(index (index .HostConfig.PortBindings \"80/tcp\") 0).HostIp}}"),
            "127.0.0.1"
        );
        engine.run(client, &["rm", "box"]).succeeded();
    });
}

#[test]
fn top_shows_the_processes_without_the_images_help() {
    with_both(|engine, client| {
        engine
            .run(
                client,
                &["run", "-d", "--name", "box", "busybox", "sleep", "1000"],
            )
            .succeeded();
        let top = engine.run(client, &["top", "box"]);
        let lines: Vec<&str> = top.out().lines().collect();
        assert_eq!(lines.len(), 2, "{top:?}");
        assert!(
            lines[0].contains("PID") && lines[1].contains("sleep 1000"),
            "{top:?}"
        );
        engine.run(client, &["rm", "-f", "box"]).succeeded();
    });
}
