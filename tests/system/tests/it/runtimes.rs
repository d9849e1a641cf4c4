//! Containers whose runtime is another program.

use wharf_tests_system::needs;

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
