//! podman, with storage of its own.

use std::path::PathBuf;
use std::process::Command;

use wharf_tests_system::{Ran, command, needs};

use super::{Place, assert_no_cgroups, clear_cgroup};

struct Podman {
    place: Place,
    runtime: PathBuf,
    rootfs: PathBuf,
}

impl Podman {
    /// podman, if it is there.
    fn new() -> Option<Self> {
        if !needs::met(&["podman", "conmon", "busybox"]) {
            return None;
        }
        let place = Place::new("podman");
        Some(Self {
            runtime: place.runtime(),
            rootfs: place.busybox(),
            place,
        })
    }

    fn podman(&self, arguments: &[&str]) -> Ran {
        let mut podman = Command::new("podman");
        podman
            .arg("--root")
            .arg(self.place.join("root"))
            .arg("--runroot")
            .arg(self.place.join("run"))
            .arg("--tmpdir")
            .arg(self.place.join("tmp"))
            .arg("--runtime")
            .arg(&self.runtime)
            .args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"])
            .args(arguments);
        command::run(podman, b"")
    }

    /// `podman run` with the options that all tests share; `options` and a command follow.
    fn run(&self, options: &[&str], program: &[&str]) -> Ran {
        let parent = format!("/{}", self.place.name);
        let rootfs = self.rootfs.to_str().unwrap();
        let mut arguments = vec!["run", "--network", "none", "--cgroup-parent", &parent];
        arguments.extend(options);
        arguments.extend(["--rootfs", rootfs]);
        arguments.extend(program);
        self.podman(&arguments)
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The engine may hang for the same reason as the test.
            clear_cgroup(&self.place.name);
            return;
        }
        self.podman(&["rm", "--force", "--all", "--time", "0"])
            .succeeded();
        assert_no_cgroups(&self.place.name);
        clear_cgroup(&self.place.name);
    }
}

#[test]
fn run_has_output_and_exit_code() {
    let Some(podman) = Podman::new() else { return };
    let ran = podman.run(&["--rm"], &["sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (3, "out\n"));
    // Before it may stand that a limit podman asks for is more than this machine lets it have.
    assert!(ran.stderr.ends_with("err\n"), "{}", ran.stderr);
    podman
        .run(&["--rm"], &["no-such-program"])
        .exited(127)
        .says("executable file");
    podman.run(&["--rm"], &["/etc"]).exited(126);
    assert_eq!(
        podman.run(&["--rm", "-t"], &["tty"]).out().trim_end(),
        "/dev/pts/0"
    );
}

#[test]
fn settings_reach_the_process() {
    let Some(podman) = Podman::new() else { return };
    let options = [
        "--rm",
        "--hostname",
        "inside",
        "--env",
        "COLOUR=blue",
        "--workdir",
        "/tmp",
        "--user",
        "1000:1001",
        "--read-only",
        "--ulimit",
        "nofile=77:88",
        "--cap-drop",
        "ALL",
    ];
    let script =
        "hostname; echo $COLOUR; pwd; id -u; id -g; ulimit -n; grep CapBnd /proc/self/status;
                  touch /x 2>&1; unshare -m true 2>&1; true";
    let ran = podman.run(&options, &["sh", "-c", script]);
    assert_eq!(
        ran.out().lines().collect::<Vec<_>>(),
        [
            "inside",
            "blue",
            "/tmp",
            "1000",
            "1001",
            "77",
            "CapBnd:\t0000000000000000",
            "touch: /x: Read-only file system",
            "unshare: unshare(0x20000): Operation not permitted",
        ]
    );
}

#[test]
fn limits_are_set() {
    let Some(podman) = Podman::new() else { return };
    let hierarchies = wharf_cgroup::Hierarchies::detect().unwrap();
    let options = [
        "--name",
        "limited",
        "--memory",
        "64m",
        "--pids-limit",
        "50",
        "--cpus",
        "0.5",
        "--detach",
    ];
    let id = podman.run(&options, &["sleep", "1000"]).out().to_owned();
    let path = format!("/{}/libpod-{id}", podman.place.name);
    let group = wharf_cgroup::Cgroup::open(&hierarchies, path.as_ref()).unwrap();
    assert_eq!(group.current().unwrap().memory_limit, Some(64 << 20));
    assert_eq!(group.stats().unwrap().pids.limit, Some(50));
    podman
        .podman(&["rm", "--force", "--time", "0", "limited"])
        .succeeded();
}

#[test]
fn container_is_entered_paused_and_killed() {
    let Some(podman) = Podman::new() else { return };
    let trap = "trap 'exit 9' TERM; while :; do sleep 0.1; done";
    let _id = podman
        .run(&["--name", "one", "--detach"], &["sh", "-c", trap])
        .out();
    let ran = podman.podman(&["exec", "one", "sh", "-c", "echo entered; exit 5"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (5, "entered\n"));
    podman
        .podman(&["exec", "one", "no-such-program"])
        .exited(127);
    assert_eq!(
        podman
            .podman(&["exec", "-t", "one", "tty"])
            .out()
            .trim_end(),
        "/dev/pts/0"
    );
    let state = || {
        let ran = podman.podman(&["inspect", "--format", "{{.State.Status}}", "one"]);
        ran.out().to_owned()
    };
    podman.podman(&["pause", "one"]).succeeded();
    assert_eq!(state(), "paused");
    podman.podman(&["unpause", "one"]).succeeded();
    assert_eq!(state(), "running");
    podman
        .podman(&["kill", "--signal", "TERM", "one"])
        .succeeded();
    assert_eq!(podman.podman(&["wait", "one"]).out(), "9");
    podman.podman(&["start", "one"]).succeeded();
    podman.podman(&["kill", "one"]).succeeded();
    assert_eq!(podman.podman(&["wait", "one"]).out(), "137");
}
