//! Containers whose runtime is another program.

use serde_json::json;
use wharf_tests_system::{Client, Engine, image, needs};

use crate::with_both;

#[test]
fn runc_runs_a_container_with_all_its_life() {
    if !needs::met(&["runc"]) {
        return;
    }
    with_both(|engine, client| {
        let run = |arguments: &[&str]| engine.run(client, arguments);
        let runc = |flags: &[&str], command: &str| {
            let fixed = ["run", "--rm", "--runtime", "runc"];
            run(&[&fixed, flags, &["busybox", "sh", "-c", command]].concat())
        };
        let ran = runc(&[], "echo out; echo err >&2; exit 7");
        ran.exited(7).says("err");
        assert_eq!(ran.stdout, "out\n");
        let flags = ["-v", "data:/data", "-m", "32m", "-h", "guest", "-u", "5"];
        let seen = runc(
            &flags,
            "hostname; id -u; grep -c ' /data ' /proc/mounts; ip -o -4 addr show eth0 | wc -l; \
             grep Seccomp: /proc/self/status",
        );
        assert_eq!(seen.out(), "guest\n5\n1\n1\nSeccomp:\t2");
        run(&["volume", "rm", "data"]).succeeded();
        // A terminal, further processes, signals, the log.
        assert_eq!(runc(&["-t"], "tty").out().trim(), "/dev/pts/0");
        run(&[
            "run",
            "-d",
            "--name",
            "box",
            "--runtime",
            "runc",
            "busybox",
            "sh",
            "-c",
            "echo logged; sleep 1000",
        ])
        .succeeded();
        assert_eq!(engine.inspect("box", "{{.HostConfig.Runtime}}"), "runc");
        assert_eq!(
            run(&["exec", "-e", "A=b", "box", "sh", "-c", "echo $A"]).out(),
            "b"
        );
        run(&["exec", "box", "sh", "-c", "exit 3"]).exited(3);
        run(&["pause", "box"]).succeeded();
        run(&["unpause", "box"]).succeeded();
        run(&["top", "box"]).tells("sleep 1000");
        assert_eq!(run(&["logs", "box"]).out(), "logged");
        run(&["stop", "-t", "0", "box"]).succeeded();
        assert_eq!(engine.inspect("box", "{{.State.ExitCode}}"), "137");
        run(&["start", "box"]).succeeded();
        run(&["rm", "-f", "box"]).succeeded();
        runc(&["--entrypoint", "/nonexistent"], "").exited(127);
        runc(&["-w", "/etc/passwd"], "true").says("OCI runtime create failed");
        run(&["info", "--format", "{{json .Runtimes}}"]).tells("runc");
    });
}

#[test]
fn a_container_of_runc_outlives_the_engine() {
    if !needs::met(&["runc"]) {
        return;
    }
    let Some(mut engine) = crate::engine() else {
        return;
    };
    engine
        .wharf(&[
            "run",
            "-d",
            "--name",
            "box",
            "--runtime",
            "runc",
            "busybox",
            "sleep",
            "1000",
        ])
        .succeeded();
    let pid = engine.inspect("box", "{{.State.Pid}}");
    engine.kill();
    engine.launch();
    assert_eq!(engine.inspect("box", "{{.State.Pid}}"), pid);
    assert_eq!(engine.wharf(&["exec", "box", "echo", "in"]).out(), "in");
    engine.wharf(&["rm", "-f", "box"]).succeeded();
    engine.finish();
}

#[test]
fn runtimes_of_the_configuration_are_used_and_the_default_is_one_of_them() {
    if !needs::met(&["runc", "docker", "busybox", "nft", "ip"]) {
        return;
    }
    let mut engine = Engine::prepare();
    let runc = needs::program("runc").unwrap();
    // Told apart from the runc that is known without being named by what it leaves behind.
    let called = engine.directory().join("called");
    let wrapper = engine.directory().join("wrapper");
    let script = format!(
        "#!/bin/sh\necho \"$1\" >> {}\nshift\nexec {} \"$@\"\n",
        called.display(),
        runc.display()
    );
    std::fs::write(&wrapper, script).unwrap();
    std::process::Command::new("chmod")
        .arg("755")
        .arg(&wrapper)
        .status()
        .unwrap();
    let settings = json!({
        "default-runtime": "mine",
        "runtimes": {
            "mine": {"path": &wrapper, "runtimeArgs": ["argument"]},
            "gone": {"path": "/nonexistent/runtime"},
        },
    });
    let file = engine.directory().join("daemon.json");
    std::fs::write(&file, settings.to_string()).unwrap();
    engine.argument("--config-file");
    engine.argument(file.to_str().unwrap());
    engine.launch();
    engine.import(&image::busybox(), "busybox");
    let calls = || {
        std::fs::read_to_string(&called)
            .unwrap_or_default()
            .lines()
            .count()
    };
    for client in Client::ALL {
        let run = |flags: &[&str]| {
            let command = ["busybox", "echo", "hi"];
            engine.run(client, &[&["run", "--rm"], flags, &command].concat())
        };
        let before = calls();
        assert_eq!(run(&[]).out(), "hi");
        let after = calls();
        assert!(after > before, "the default runtime was not called");
        let text = std::fs::read_to_string(&called).unwrap();
        assert!(
            text.lines().all(|argument| argument == "argument"),
            "{text}"
        );
        // The engine's own, and one that is known without, are a flag away.
        for own in ["wharf", "runc"] {
            assert_eq!(run(&["--runtime", own]).out(), "hi");
        }
        assert_eq!(calls(), after);
        run(&["--runtime", "gone"])
            .exited(125)
            .says("the program of the runtime gone, /nonexistent/runtime, is not there");
        run(&["--runtime", "nobodys"])
            .exited(125)
            .says("unknown or invalid runtime name: nobodys");
        let told = engine.run(
            client,
            &[
                "info",
                "--format",
                "{{.DefaultRuntime}} {{range $n, $r := .Runtimes}}{{$n}} {{end}}",
            ],
        );
        for name in ["mine", "gone", "runc", "wharf"] {
            assert!(told.out().split(' ').any(|word| word == name), "{told:?}");
        }
        assert!(told.out().starts_with("mine "), "{told:?}");
    }
    engine
        .wharf(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"])
        .succeeded();
    assert_eq!(engine.inspect("box", "{{.HostConfig.Runtime}}"), "mine");
    // A container keeps the runtime it was made with.
    engine.stop();
    std::fs::write(
        &file,
        settings.to_string().replace("\"mine\",\"", "\"wharf\",\""),
    )
    .unwrap();
    engine.launch();
    assert_eq!(engine.wharf(&["exec", "box", "echo", "in"]).out(), "in");
    engine.wharf(&["restart", "-t", "0", "box"]).succeeded();
    assert_eq!(engine.inspect("box", "{{.HostConfig.Runtime}}"), "mine");
    engine.wharf(&["rm", "-f", "box"]).succeeded();
    engine.finish();
}
