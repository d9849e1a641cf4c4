//! The engine dies at any moment: nothing is lost, nothing is left.

use std::collections::BTreeSet;

use rustix::process::{Pid, Signal, kill_process};
use wharf_tests_system::{Client, Engine, image, needs, wait};

use crate::engine;

#[test]
fn containers_outlive_the_engine() {
    let Some(mut engine) = engine() else { return };
    let counting = "i=0; while :; do i=$((i+1)); echo $i; usleep 2000; done";
    engine
        .wharf(&[
            "run", "-d", "--name", "count", "busybox", "sh", "-c", counting,
        ])
        .succeeded();
    engine
        .wharf(&[
            "run",
            "-d",
            "-i",
            "--name",
            "waits",
            "busybox",
            "sh",
            "-c",
            "read x; exit 5",
        ])
        .succeeded();
    engine
        .wharf(&[
            "run",
            "-d",
            "--name",
            "brief",
            "busybox",
            "sh",
            "-c",
            "sleep 0.3; exit 6",
        ])
        .succeeded();
    let pid = engine.inspect("count", "{{.State.Pid}}");
    engine.kill();
    wait::until_true("the end of brief, with no engine", || {
        let listing = std::fs::read_dir(engine.data_root().join("containers")).unwrap();
        listing
            .flatten()
            .any(|entry| entry.path().join("exit.json").exists())
    });
    engine.launch();
    // It still runs, and is the same process.
    assert_eq!(
        engine.inspect("count", "{{.State.Running}} {{.State.Pid}}"),
        format!("true {pid}")
    );
    assert_eq!(
        engine.inspect("brief", "{{.State.Status}} {{.State.ExitCode}}"),
        "exited 6"
    );
    for client in Client::ALL {
        assert_eq!(
            engine.run(client, &["exec", "count", "echo", "in"]).out(),
            "in"
        );
    }
    // The log has no hole.
    let log = engine.wharf(&["logs", "count"]);
    let numbers: Vec<u64> = log
        .out()
        .lines()
        .map(|line| line.parse().unwrap())
        .collect();
    assert!(numbers.len() > 100, "{}", numbers.len());
    assert!(
        numbers
            .iter()
            .zip(1..)
            .all(|(number, expected)| *number == expected)
    );
    engine.wharf(&["kill", "waits"]).succeeded();
    assert_eq!(engine.wharf(&["wait", "waits"]).out(), "137");
    engine.wharf(&["stop", "-t", "1", "count"]).succeeded();
    engine.finish();
}

#[test]
fn an_orderly_stop_leaves_containers_running_too() {
    let Some(mut engine) = engine() else { return };
    engine
        .wharf(&[
            "run", "-d", "--name", "box", "-p", "80", "busybox", "sleep", "1000",
        ])
        .succeeded();
    let before = engine.inspect("box", "{{.State.Pid}} {{json .NetworkSettings.Ports}}");
    engine.stop();
    engine.launch();
    assert_eq!(
        engine.inspect("box", "{{.State.Pid}} {{json .NetworkSettings.Ports}}"),
        before
    );
    // A new container does not get the address of one that runs.
    engine
        .wharf(&["run", "-d", "--name", "crate", "busybox", "sleep", "1000"])
        .succeeded();
    let address = |name| engine.inspect(name, "{{.NetworkSettings.Networks.bridge.IPAddress}}");
    assert_ne!(address("box"), address("crate"));
    engine.finish();
}

/// The commands whose every step is killed once. What comes before them is not.
const OPERATIONS: &[(&str, &[&[&str]])] = &[
    (
        "create",
        &[&[
            "create", "--name", "box", "-p", "80", "busybox", "sleep", "1000",
        ]],
    ),
    ("start", &[&["start", "ready"]]),
    (
        "run",
        &[&[
            "run", "-d", "--name", "box", "-p", "80", "busybox", "sleep", "1000",
        ]],
    ),
    (
        "run-userns",
        &[&[
            "run", "-d", "--name", "box", "-p", "80", "--userns", "auto", "busybox", "sleep",
            "1000",
        ]],
    ),
    (
        "run-rm",
        &[&["run", "--rm", "--name", "brief", "busybox", "true"]],
    ),
    ("stop", &[&["stop", "running"]]),
    ("rm", &[&["rm", "-f", "running"]]),
    ("rm-stopped", &[&["rm", "ready"]]),
    (
        "update",
        &[&[
            "update",
            "--cpu-shares",
            "300",
            "--restart",
            "on-failure:3",
            "running",
        ]],
    ),
    ("rename", &[&["rename", "ready", "readied"]]),
    ("prune", &[&["container", "prune", "-f"]]),
    ("restart", &[&["restart", "running"]]),
    ("exec", &[&["exec", "running", "true"]]),
    ("kill", &[&["kill", "running"]]),
    ("pause", &[&["pause", "running"], &["unpause", "running"]]),
    (
        "volume",
        &[
            &["volume", "create", "data"],
            &[
                "create",
                "--name",
                "box",
                "-v",
                "data:/etc",
                "-v",
                "/bin",
                "busybox",
                "true",
            ],
            &["rm", "-v", "box"],
            &["volume", "rm", "data"],
        ],
    ),
];

/// An engine with a container that runs and one that is ready to.
fn populated(fail_point: Option<&str>) -> Engine {
    let mut engine = Engine::with_busybox();
    engine
        .wharf(&["run", "-d", "--name", "running", "busybox", "sleep", "1000"])
        .succeeded();
    engine
        .wharf(&["create", "--name", "ready", "busybox", "sleep", "1000"])
        .succeeded();
    if let Some(fail_point) = fail_point {
        // The engine that meets the fail point is a new one, with the same data.
        engine.stop();
        engine.set("WHARF_FAILPOINT", fail_point);
        engine.launch();
    }
    engine
}

/// The names that an operation passes by.
fn fail_points(commands: &[&[&str]], load: Option<&[u8]>) -> BTreeSet<String> {
    let mut engine = populated(None);
    engine.stop();
    let list = engine.directory().join("fail-points");
    engine.set("WHARF_FAILPOINT", &format!("list-file:{}", list.display()));
    engine.launch();
    let before = std::fs::read_to_string(&list).unwrap_or_default().len();
    for command in commands {
        engine.wharf(command).succeeded();
    }
    if let Some(bytes) = load {
        engine.import_bytes(bytes, "loaded", &[]).succeeded();
    }
    let passed = std::fs::read_to_string(&list).unwrap_or_default();
    engine.unset("WHARF_FAILPOINT");
    engine.finish();
    passed[before..].lines().map(str::to_owned).collect()
}

/// Dies at one point, comes back, and is whole.
fn die_at(point: &str, commands: &[&[&str]], load: Option<&[u8]>) {
    let mut engine = populated(Some(point));
    for command in commands {
        // The engine, or the shim, dies under it: whatever it says is fine.
        engine.wharf(command);
    }
    if let Some(bytes) = load {
        engine.import_bytes(bytes, "loaded", &[]);
    }
    engine.unset("WHARF_FAILPOINT");
    if engine.settled_to_end() {
        engine.launch();
    } else {
        engine.stop();
        engine.launch();
    }
    let names = engine.wharf(&["ps", "-a", "--format", "{{.Names}} {{.State}}"]);
    let known = |name: &str| names.out().lines().any(|line| line.starts_with(name));
    let removing = commands
        .iter()
        .any(|command| matches!(command[..2], ["rm", _] | [_, "prune"]));
    assert!(
        removing || (known("running ") && (known("ready ") || known("readied "))),
        "{point}: {names:?}"
    );
    // Every container that is there can be inspected, and is in a state it can leave.
    for line in names.out().lines() {
        let (name, state) = line.split_once(' ').unwrap();
        // One that goes as it ends may be seen going.
        let is_going = name == "brief" && state == "removing";
        assert!(
            is_going || ["created", "running", "exited", "paused"].contains(&state),
            "{point}: {line}"
        );
        if name == "brief" {
            // It goes as it ends, also when that is now.
            if state == "created" {
                engine.wharf(&["start", name]).succeeded();
            }
            wait::until_true("the removal of a brief container", || {
                engine.wharf(&["inspect", name]).code != 0
            });
        } else if state == "exited" {
            let code = engine.inspect(name, "{{.State.ExitCode}}");
            assert!(code.parse::<i32>().is_ok(), "{point}: {code}");
        } else if state == "created" {
            engine.wharf(&["start", name]).succeeded();
        }
    }
    // The command can be given again, or has been done.
    assert_eq!(
        engine
            .wharf(&["run", "--rm", "busybox", "echo", "fine"])
            .out(),
        "fine"
    );
    engine.finish();
}

fn kill_at_every_point_of(operation: &str) {
    if !needs::met(&["docker", "busybox", "nft", "ip"]) {
        return;
    }
    let (_, commands) = OPERATIONS
        .iter()
        .find(|(name, _)| *name == operation)
        .unwrap();
    let points = fail_points(commands, None);
    assert!(!points.is_empty(), "{operation} passes no fail point");
    for point in points {
        die_at(&point, commands, None);
    }
}

#[test]
fn create_recovers_at_every_step() {
    kill_at_every_point_of("create");
}

#[test]
fn start_recovers_at_every_step() {
    kill_at_every_point_of("start");
}

#[test]
fn run_recovers_at_every_step() {
    kill_at_every_point_of("run");
}

#[test]
fn run_in_a_user_namespace_recovers_at_every_step() {
    kill_at_every_point_of("run-userns");
}

#[test]
fn run_with_rm_recovers_at_every_step() {
    kill_at_every_point_of("run-rm");
}

#[test]
fn a_shim_that_died_with_the_engine_is_no_obstacle() {
    let Some(mut engine) = engine() else { return };
    let run = ["run", "-d", "--name"];
    for (name, flags) in [("box", &[][..]), ("brief", &["--rm"])] {
        let command = ["busybox", "sleep", "1000"];
        let line = [&run[..], &[name], flags, &command].concat();
        engine.wharf(&line).succeeded();
    }
    let shims = ["box", "brief"].map(|name| {
        let pid = engine.inspect(name, "{{.State.Pid}}");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        let parent = parent.and_then(|pid| pid.trim().parse().ok());
        Pid::from_raw(parent.unwrap()).unwrap()
    });
    engine.kill();
    for shim in shims {
        kill_process(shim, Signal::KILL).unwrap();
    }
    engine.launch();
    let ended = engine.inspect("box", "{{.State.Status}} {{.State.ExitCode}}");
    assert_eq!(ended, "exited 255");
    wait::until_true("the removal of a brief container", || {
        engine.wharf(&["inspect", "brief"]).code != 0
    });
    engine.finish();
}

#[test]
fn stop_recovers_at_every_step() {
    kill_at_every_point_of("stop");
}

#[test]
fn rm_recovers_at_every_step() {
    kill_at_every_point_of("rm");
    kill_at_every_point_of("rm-stopped");
}

#[test]
fn update_recovers_at_every_step() {
    kill_at_every_point_of("update");
}

#[test]
fn prune_recovers_at_every_step() {
    kill_at_every_point_of("prune");
}

#[test]
fn rename_recovers_at_every_step() {
    kill_at_every_point_of("rename");
}

#[test]
fn restart_recovers_at_every_step() {
    kill_at_every_point_of("restart");
}

#[test]
fn exec_recovers_at_every_step() {
    kill_at_every_point_of("exec");
}

#[test]
fn kill_and_pause_recover_at_every_step() {
    kill_at_every_point_of("kill");
    kill_at_every_point_of("pause");
}

#[test]
fn volumes_recover_at_every_step() {
    kill_at_every_point_of("volume");
}

#[test]
fn health_recovers_at_every_step() {
    for point in ["engine.health.probed", "engine.health.recorded"] {
        let mut engine = populated(Some(point));
        // It dies at the first probe, whatever the client has heard by then.
        engine.wharf(&[
            "run",
            "-d",
            "--name",
            "box",
            "--health-cmd",
            "true",
            "--health-interval",
            "100ms",
            "busybox",
            "sleep",
            "1000",
        ]);
        engine.ended();
        engine.unset("WHARF_FAILPOINT");
        engine.launch();
        assert_eq!(
            engine.inspect("box", "{{.State.Status}}"),
            "running",
            "{point}"
        );
        wharf_tests_system::wait::until_true("a healthy container", || {
            engine.inspect("box", "{{.State.Health.Status}}") == "healthy"
        });
        engine.finish();
    }
}

#[test]
fn load_recovers_at_every_step() {
    if !needs::met(&["docker", "busybox", "nft", "ip"]) {
        return;
    }
    let archive = image::busybox_with(|archive| archive.file("new", 0o644, b"layer"));
    let points = fail_points(&[], Some(&archive));
    assert!(!points.is_empty(), "import passes no fail point");
    for point in points {
        die_at(&point, &[], Some(&archive));
    }
}

/// Kills from outside, at moments nobody chose.
#[test]
fn a_storm_of_kills_loses_nothing() {
    let Some(mut engine) = engine() else { return };
    for round in 0..8_u32 {
        let name = format!("c{round}");
        let mut start = engine.client(
            Client::Wharf,
            &["run", "-d", "--name", &name, "busybox", "sleep", "1000"],
        );
        let child = start
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn();
        let mut child = child.unwrap();
        // A different moment each time, from before the request to after the answer.
        std::thread::park_timeout(std::time::Duration::from_millis(u64::from(round) * 3));
        engine.kill();
        child.wait().unwrap();
        engine.launch();
    }
    let listed = engine.wharf(&["ps", "-a", "--format", "{{.State}}"]);
    assert!(
        listed.out().lines().all(|state| state != "dead"),
        "{listed:?}"
    );
    engine.finish();
}
