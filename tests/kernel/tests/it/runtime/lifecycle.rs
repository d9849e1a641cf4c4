//! The commands, and what they leave.

use std::fs::{self, File};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use serde_json::{Value, json};
use wharf_tests_kernel::bundle::Bundle;
use wharf_tests_system::wait::until_true;

#[test]
fn a_container_goes_through_its_life() {
    let bundle = Bundle::new("echo begun; exec sleep 1000");
    bundle.create();
    let state = bundle.state();
    assert_eq!(state["status"], "created");
    assert_eq!(state["id"], bundle.id);
    assert_eq!(state["ociVersion"], "1.2.0");
    assert_eq!(state["bundle"], bundle.path(""));
    assert_eq!(state["rootfs"], bundle.path("rootfs"));
    assert_eq!(bundle.output(), "", "nothing of the user's has run");
    bundle.runtime(&["start", &bundle.id]).succeeded();
    until_true("the program runs", || bundle.output() == "begun\n");
    assert_eq!(bundle.state()["status"], "running");
    bundle
        .runtime(&["start", &bundle.id])
        .exited(1)
        .says("already running");
    bundle
        .runtime(&["delete", &bundle.id])
        .exited(1)
        .says("not stopped: running");
    bundle.runtime(&["pause", &bundle.id]).succeeded();
    assert_eq!(bundle.state()["status"], "paused");
    bundle.exec(&[], "true").exited(255).says("paused");
    bundle.runtime(&["resume", &bundle.id]).succeeded();
    bundle
        .runtime(&["resume", &bundle.id])
        .exited(1)
        .says("not paused");
    bundle.runtime(&["kill", &bundle.id, "KILL"]).succeeded();
    until_true("the process ends", || bundle.state()["status"] == "stopped");
    assert_eq!(bundle.state()["pid"], 0);
    bundle
        .runtime(&["kill", &bundle.id])
        .exited(1)
        .says("container not running");
    bundle
        .runtime(&["start", &bundle.id])
        .exited(1)
        .says("stopped");
    bundle.exec(&[], "true").exited(255).says("stopped");
    bundle.runtime(&["delete", &bundle.id]).succeeded();
    bundle
        .runtime(&["state", &bundle.id])
        .exited(1)
        .says("container does not exist");
    bundle
        .runtime(&["delete", &bundle.id])
        .exited(1)
        .says("container does not exist");
    bundle
        .runtime(&["delete", "--force", &bundle.id])
        .succeeded();
}

#[test]
fn run_returns_the_container_s_exit_code_and_deletes_it() {
    let bundle = Bundle::new("exit 42");
    bundle.run().exited(42);
    bundle.runtime(&["state", &bundle.id]).exited(1);
    let bundle = Bundle::new("kill -9 $$");
    // The first process of a namespace is spared its own signals; its child is not.
    let mut bundle = bundle;
    bundle.script("sh -c 'kill -9 $$'; exit $?");
    bundle.run_with(&["--keep"]).exited(137);
    assert_eq!(bundle.state()["status"], "stopped");
}

#[test]
fn a_detached_container_goes_on_and_its_pid_is_written() {
    let bundle = Bundle::new("exec sleep 1000");
    bundle.write();
    let pid_file = bundle.path("pid");
    let options = [
        "run",
        "--detach",
        "--pid-file",
        pid_file,
        "--bundle",
        bundle.path(""),
        &bundle.id,
    ];
    assert_eq!(bundle.in_background(&options), 0, "{}", bundle.output());
    assert_eq!(
        fs::read_to_string(pid_file).unwrap(),
        bundle.pid().to_string()
    );
    let list = bundle.runtime(&["list"]);
    let line = list.out().lines().nth(1).unwrap().to_owned();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(
        words[..3],
        [bundle.id.as_str(), &bundle.pid().to_string(), "running"]
    );
    assert_eq!(bundle.runtime(&["list", "--quiet"]).out(), bundle.id);
    let json: Value = serde_json::from_str(bundle.runtime(&["list", "-f", "json"]).out()).unwrap();
    assert_eq!(json[0]["status"], "running");
}

#[test]
fn ids_are_checked_and_unique() {
    let bundle = Bundle::new("exec sleep 1000");
    let pid = bundle.start();
    let again = ["create", "--bundle", bundle.path(""), &bundle.id];
    bundle
        .runtime(&again)
        .exited(1)
        .says("container with given ID already exists");
    assert_eq!(bundle.pid(), pid, "the first is as it was");
    for id in ["../x", "a/b", "", "..", "a b"] {
        let create = ["create", "--bundle", bundle.path(""), id];
        bundle
            .runtime(&create)
            .exited(1)
            .says("invalid container ID format");
        bundle
            .runtime(&["state", id])
            .exited(1)
            .says("invalid container ID format");
    }
}

#[test]
fn signals_have_names_and_reach_all_processes() {
    let bundle = Bundle::new(
        "trap 'echo hup' HUP; trap 'echo rt' 37; sleep 1000 & while :; do sleep 0.01; done",
    );
    let pid = bundle.start();
    until_true("the shell has its traps", || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        status
            .lines()
            .any(|line| line.starts_with("SigCgt") && !line.ends_with("0000"))
    });
    until_true("HUP arrives", || {
        bundle.runtime(&["kill", &bundle.id, "SIGHUP"]).succeeded();
        bundle.output().contains("hup")
    });
    bundle.runtime(&["kill", &bundle.id, "RTMIN+3"]).succeeded();
    until_true("a real-time signal arrives", || {
        bundle.output().contains("rt")
    });
    bundle
        .runtime(&["kill", &bundle.id, "NOSUCH"])
        .exited(1)
        .says("unknown signal");
    bundle
        .runtime(&["kill", "--all", &bundle.id, "9"])
        .succeeded();
    until_true("the container stops", || {
        bundle.state()["status"] == "stopped"
    });
}

#[test]
fn exec_joins_everything() {
    let mut bundle = Bundle::new("exec sleep 1000");
    bundle.map_users();
    bundle.namespace("time", None);
    let pid = bundle.start();
    let script = "for kind in cgroup ipc mnt net pid time user uts; do readlink /proc/self/ns/$kind; done; \
                  cat /proc/self/cgroup; pwd; id -u; echo $MORE; exit 7";
    let ran = bundle.exec(&["--env", "MORE=more", "--cwd", "/tmp"], script);
    ran.exited(7);
    let mut lines = ran.stdout.lines();
    for kind in ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"] {
        let link = fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        assert_eq!(lines.next(), link.to_str(), "{kind}");
    }
    let rest: Vec<&str> = lines.collect();
    assert!(rest.ends_with(&["/tmp", "0", "more"]), "{rest:?}");
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(cgroups.contains(&bundle.id));
}

#[test]
fn exec_takes_user_capabilities_and_a_process_file() {
    let bundle = Bundle::new("exec sleep 1000");
    assert!(bundle.start() > 0);
    let options = [
        "--user",
        "5:6",
        "-g",
        "7",
        "--cap",
        "CAP_CHOWN",
        "--no-new-privs",
    ];
    let ran = bundle.exec(&options, "id; grep -E 'CapBnd|NoNew' /proc/self/status");
    assert!(
        ran.out().starts_with("uid=5 gid=6 groups=7"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout.contains("CapBnd:\t0000000020000421"),
        "{}",
        ran.stdout
    );
    let file = bundle.path("process.json");
    let process = json!({ "args": ["echo", "from a file"], "cwd": "/", "user": { "uid": 0, "gid": 0 },
        "env": ["PATH=/bin"] });
    fs::write(file, process.to_string()).unwrap();
    assert_eq!(
        bundle
            .runtime(&["exec", "--process", file, &bundle.id])
            .out(),
        "from a file"
    );
    bundle
        .runtime(&["exec", &bundle.id, "nosuch"])
        .exited(255)
        .says("executable file not found");
    bundle
        .exec(&["--cwd", "/nosuch"], "true")
        .exited(255)
        .says("chdir to cwd");
    bundle
        .runtime(&["exec", &bundle.id])
        .exited(255)
        .says("process args cannot be empty");
}

#[test]
fn a_detached_exec_goes_on() {
    let bundle = Bundle::new("exec sleep 1000");
    assert!(bundle.start() > 0);
    let pid_file = bundle.path("exec-pid");
    let options = [
        "exec",
        "--detach",
        "--pid-file",
        pid_file,
        &bundle.id,
        "sleep",
        "999",
    ];
    assert_eq!(bundle.in_background(&options), 0, "{}", bundle.output());
    let pid = fs::read_to_string(pid_file).unwrap();
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    assert_eq!(command, b"sleep\x00999\0");
    let pids: Vec<i32> =
        serde_json::from_str(bundle.runtime(&["ps", "-f", "json", &bundle.id]).out()).unwrap();
    assert!(
        pids.contains(&pid.parse().unwrap()) && pids.contains(&bundle.pid()),
        "{pids:?}"
    );
}

/// Takes the terminal that a runtime sends to a socket.
fn receive(listener: &UnixListener) -> OwnedFd {
    let (connection, _) = listener.accept().unwrap();
    let mut text = [0; 256];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut buffers = [IoSliceMut::new(&mut text)];
    rustix::net::recvmsg(
        &connection,
        &mut buffers,
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )
    .unwrap();
    control
        .drain()
        .find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        })
        .unwrap()
}

/// Reads from a terminal until a text has come.
fn read_until(terminal: &OwnedFd, end: &str) -> String {
    let mut text = String::new();
    while !text.contains(end) {
        let mut bytes = [0; 256];
        let length = rustix::io::read(terminal, &mut bytes).unwrap();
        text.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
    }
    text
}

#[test]
fn terminals_are_handed_to_the_console_socket() {
    let mut bundle = Bundle::new("tty; stty size; stat -c %F /dev/console; exec sleep 1000");
    bundle.spec["process"]["terminal"] = json!(true);
    bundle.spec["process"]["consoleSize"] = json!({ "height": 31, "width": 97 });
    bundle.write();
    let plain = ["create", "--bundle", bundle.path(""), &bundle.id];
    bundle.runtime(&plain).exited(1).says("console socket");
    let socket = bundle.path("console");
    let listener = UnixListener::bind(socket).unwrap();
    let options = [
        "create",
        "--console-socket",
        socket,
        "--bundle",
        bundle.path(""),
        &bundle.id,
    ];
    assert_eq!(bundle.in_background(&options), 0, "{}", bundle.output());
    let terminal = receive(&listener);
    bundle.runtime(&["start", &bundle.id]).succeeded();
    let text = read_until(&terminal, "file");
    assert_eq!(
        text.trim_end(),
        "/dev/pts/0\r\n31 97\r\ncharacter special file"
    );
    let options = [
        "exec",
        "--tty",
        "--detach",
        "--console-socket",
        socket,
        &bundle.id,
        "tty",
    ];
    assert_eq!(bundle.in_background(&options), 0, "{}", bundle.output());
    let terminal = receive(&listener);
    assert_eq!(read_until(&terminal, "\n"), "/dev/pts/1\r\n");
}

#[test]
fn hooks_run_in_order_with_the_state() {
    let mut bundle = Bundle::new("echo program >> /log/order");
    fs::create_dir(bundle.path("log")).unwrap();
    bundle.mount("bind", bundle.path("log"), "/log", &["bind"]);
    bundle.spec["root"]["readonly"] = json!(false);
    bundle.spec["annotations"] = json!({ "for": "hooks" });
    let mut hooks = json!({});
    let points = [
        "prestart",
        "createRuntime",
        "createContainer",
        "startContainer",
        "poststart",
        "poststop",
    ];
    for point in points {
        // What runs in the container sees the log where it is mounted.
        let log = if point == "startContainer" {
            "/log"
        } else {
            bundle.path("log")
        };
        let script = format!("echo {point} >> {log}/order; cat > {log}/{point}.json");
        hooks[point] = json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"] }]);
    }
    bundle.spec["hooks"] = hooks;
    bundle.create();
    bundle.runtime(&["start", &bundle.id]).succeeded();
    until_true("the program ends", || bundle.state()["status"] == "stopped");
    bundle.runtime(&["delete", &bundle.id]).succeeded();
    let order = fs::read_to_string(bundle.path("log/order")).unwrap();
    let mut order: Vec<&str> = order.lines().collect();
    // The program and the hook after its start run at the same time.
    order.retain(|line| *line != "program");
    assert_eq!(order, points);
    for (point, status) in points.into_iter().zip([
        "creating", "creating", "creating", "created", "running", "stopped",
    ]) {
        let text = fs::read(bundle.path(&format!("log/{point}.json"))).unwrap();
        let state: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(state["id"], bundle.id, "{point}");
        assert_eq!(state["annotations"], json!({ "for": "hooks" }), "{point}");
        assert_eq!(state["status"], status, "{point}");
    }
}

#[test]
fn a_failing_hook_ends_the_creation() {
    for point in ["prestart", "createRuntime", "createContainer"] {
        let mut bundle = Bundle::new("echo never");
        bundle.spec["hooks"] = json!({ point: [{ "path": "/bin/false" }] });
        let ran = bundle.run();
        ran.exited(1).says(&format!("error running {point} hook"));
        assert_eq!(ran.stdout, "");
        bundle
            .runtime(&["state", &bundle.id])
            .exited(1)
            .says("does not exist");
    }
    let mut bundle = Bundle::new("echo never");
    bundle.spec["hooks"] =
        json!({ "prestart": [{ "path": "/bin/sleep", "args": ["sleep", "100"], "timeout": 1 }] });
    bundle.run().exited(1).says("did not end within 1 s");
}

#[test]
fn limits_are_updated() {
    let bundle = Bundle::new("exec sleep 1000");
    assert!(bundle.start() > 0);
    let hierarchies = wharf_cgroup::Hierarchies::detect().unwrap();
    let read = |controller: &str, v1: &str, v2: &str| {
        let directory = hierarchies
            .dir(controller, std::path::Path::new(&bundle.id))
            .unwrap();
        let file = if hierarchies.is_v2() { v2 } else { v1 };
        fs::read_to_string(directory.join(file))
            .unwrap()
            .trim()
            .to_owned()
    };
    bundle
        .runtime(&[
            "update",
            "--memory",
            "64m",
            "--pids-limit",
            "77",
            &bundle.id,
        ])
        .succeeded();
    assert_eq!(
        read("memory", "memory.limit_in_bytes", "memory.max"),
        (64 << 20).to_string()
    );
    assert_eq!(read("pids", "pids.max", "pids.max"), "77");
    let file = bundle.path("limits.json");
    fs::write(file, r#"{"pids":{"limit":88}}"#).unwrap();
    bundle
        .runtime(&["update", "-r", file, &bundle.id])
        .succeeded();
    assert_eq!(read("pids", "pids.max", "pids.max"), "88");
    bundle
        .runtime(&["update", "--memory", "lots", &bundle.id])
        .exited(1)
        .says("invalid size");
    bundle
        .runtime(&["update", "--kernel-memory", "1", &bundle.id])
        .exited(1)
        .says("not supported");
}

#[test]
fn statistics_are_printed() {
    let bundle = Bundle::new("exec sleep 1000");
    assert!(bundle.start() > 0);
    let event: Value =
        serde_json::from_str(bundle.runtime(&["events", "--stats", &bundle.id]).out()).unwrap();
    assert_eq!(event["type"], "stats");
    assert_eq!(event["id"], bundle.id);
    assert_eq!(event["data"]["pids"]["current"], 1);
    assert!(event["data"]["memory"]["usage"]["usage"].as_u64().unwrap() > 0);
}

#[test]
fn descriptors_are_passed_on_when_asked() {
    let script = "ls /proc/self/fd | wc -l; cat <&3";
    let bundle = Bundle::new(script);
    bundle.write();
    fs::write(bundle.path("passed"), "through").unwrap();
    let run = |options: &str| {
        let mut shell = std::process::Command::new("sh");
        let wharf = wharf_tests_system::binary::wharf();
        let line = format!(
            "exec 3<{} 4</dev/null; exec {} runtime --root {} run {options} --bundle {} {}",
            bundle.path("passed"),
            wharf.display(),
            bundle.path("state"),
            bundle.path(""),
            bundle.id,
        );
        shell.arg("-c").arg(line);
        wharf_tests_system::command::run(shell, b"")
    };
    // Three streams, and the directory that ls reads.
    assert_eq!(run("--preserve-fds 1").out(), "5\nthrough");
    let without = run("");
    assert!(without.stdout.starts_with("4\n"), "{}", without.stdout);
}

#[test]
fn failures_are_logged_as_engines_read_them() {
    let bundle = Bundle::new("true");
    let log = bundle.path("log.json");
    let options = ["--log", log, "--log-format", "json", "state", "nosuch"];
    bundle
        .runtime(&options)
        .exited(1)
        .says("container does not exist");
    let line: Value = serde_json::from_str(fs::read_to_string(log).unwrap().trim()).unwrap();
    assert_eq!(line["level"], "error");
    assert!(
        line["msg"]
            .as_str()
            .unwrap()
            .contains("container does not exist")
    );
    assert!(line["time"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn what_is_not_done_is_refused_by_name() {
    let bundle = Bundle::new("true");
    bundle
        .runtime(&["checkpoint", "x"])
        .exited(1)
        .says("not supported");
    bundle
        .runtime(&["restore", "--image-path", "/x", "x"])
        .exited(1)
        .says("not supported");
    bundle
        .runtime(&["--systemd-cgroup", "list"])
        .exited(1)
        .says("--systemd-cgroup is not supported");
    bundle
        .runtime(&["--rootless", "true", "list"])
        .exited(1)
        .says("--rootless is not supported");
    bundle
        .runtime(&["spec", "--bundle", bundle.path("")])
        .exited(1)
        .says("config.json exists");
    let features: Value = serde_json::from_str(bundle.runtime(&["features"]).out()).unwrap();
    assert_eq!(features["ociVersionMax"], "1.2.0");
    assert_eq!(features["linux"]["cgroup"]["systemd"], false);
    let known = File::open("/proc/sys/kernel/cap_last_cap")
        .map(std::io::read_to_string)
        .unwrap()
        .unwrap();
    let known: usize = known.trim().parse().unwrap();
    assert_eq!(
        features["linux"]["capabilities"].as_array().unwrap().len(),
        known + 1
    );
}

#[test]
fn a_runtime_killed_while_creating_leaves_nothing_that_stays() {
    let bundle = Bundle::new("true");
    // What such a runtime has left: a directory without a state.
    fs::create_dir_all(bundle.directory.join("state").join(&bundle.id)).unwrap();
    bundle
        .runtime(&["state", &bundle.id])
        .exited(1)
        .says("container does not exist");
    bundle
        .runtime(&["delete", "--force", &bundle.id])
        .succeeded();
    bundle.run().succeeded();
}
