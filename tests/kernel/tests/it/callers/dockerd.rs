//! dockerd, one of its own for each test.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use wharf_tests_system::{Ran, command, image, needs, wait};

use super::{Place, assert_no_cgroups, clear_cgroup};

/// How long it may take to end when asked to.
const GRACE: Duration = Duration::from_secs(20);

struct Dockerd {
    place: Place,
    process: Child,
}

impl Dockerd {
    /// dockerd with an image `busybox`, if it is there.
    fn new() -> Option<Self> {
        if !needs::met(&["dockerd", "docker", "containerd", "busybox", "iptables"]) {
            return None;
        }
        let place = Place::new("dockerd");
        let log = File::create(place.join("log")).unwrap();
        let configuration = place.join("daemon.json");
        std::fs::write(&configuration, "{}").unwrap();
        let process = Command::new("dockerd")
            .arg("--data-root")
            .arg(place.join("data"))
            .arg("--exec-root")
            .arg(place.join("exec"))
            .arg("--pidfile")
            .arg(place.join("pid"))
            .arg(format!("--host=unix://{}", place.join("sock").display()))
            .arg(format!("--add-runtime=wharf={}", place.runtime().display()))
            .args([
                "--default-runtime=wharf",
                "--storage-driver=vfs",
                "--bridge=none",
            ])
            .args([
                "--iptables=false",
                "--ip6tables=false",
                "--ip-forward=false",
                "--ip-masq=false",
            ])
            .arg(format!("--cgroup-parent=/{}", place.name))
            .arg("--config-file")
            .arg(configuration)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let dockerd = Self { place, process };
        wait::until_true("dockerd answers", || dockerd.docker(&["version"]).code == 0);
        let archive = image::busybox();
        dockerd
            .docker(&["import", archive.to_str().unwrap(), "busybox"])
            .succeeded();
        Some(dockerd)
    }

    fn docker(&self, arguments: &[&str]) -> Ran {
        let mut docker = Command::new("docker");
        docker
            .arg("--host")
            .arg(format!("unix://{}", self.place.join("sock").display()))
            .args(arguments);
        command::run(docker, b"")
    }
}

impl Drop for Dockerd {
    #[expect(
        clippy::print_stdout,
        reason = "the test runner shows it when a test fails"
    )]
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The engine may hang for the same reason as the test.
            clear_cgroup(&self.place.name);
        } else {
            let all = self.docker(&["ps", "--all", "--quiet"]);
            for id in all.out().lines() {
                self.docker(&["rm", "--force", id]).succeeded();
            }
        }
        let pid = Pid::from_child(&self.process);
        kill_process(pid, Signal::TERM).unwrap();
        let ended = command::wait(&mut self.process, GRACE).is_some();
        if !ended {
            self.process.kill().unwrap();
            self.process.wait().unwrap();
        }
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.place.join("log")).unwrap_or_default();
            println!("--- dockerd\n{log}");
        } else {
            assert!(ended, "dockerd did not end");
            assert_no_cgroups(&self.place.name);
            clear_cgroup(&self.place.name);
        }
    }
}

#[test]
fn run_has_output_and_exit_code() {
    let Some(dockerd) = Dockerd::new() else {
        return;
    };
    let run = |arguments: &[&str]| dockerd.docker(&[&["run", "--rm"], arguments].concat());
    let ran = run(&["busybox", "sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (3, "out\n", "err\n")
    );
    run(&["busybox", "no-such-program"])
        .exited(127)
        .says("exec: \"no-such-program\": executable file not found in $PATH");
    run(&["busybox", "/etc"]).exited(126);
    let options = [
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
        "--tmpfs",
        "/scratch",
    ];
    let script =
        "hostname; echo $COLOUR; pwd; id -u; id -g; ulimit -n; grep CapBnd /proc/self/status;
                  touch /x 2>&1; touch /scratch/x; unshare -m true 2>&1; echo $$";
    let ran = run(&[&options[..], &["busybox", "sh", "-c", script]].concat());
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
            "1",
        ]
    );
}

#[test]
fn container_is_entered_paused_updated_and_killed() {
    let Some(dockerd) = Dockerd::new() else {
        return;
    };
    let trap = "trap 'exit 9' TERM; while :; do sleep 0.1; done";
    let id = dockerd
        .docker(&[
            "run",
            "--detach",
            "--name",
            "one",
            "--memory",
            "64m",
            "--pids-limit",
            "50",
            "busybox",
            "sh",
            "-c",
            trap,
        ])
        .out()
        .to_owned();
    let hierarchies = wharf_cgroup::Hierarchies::detect().unwrap();
    let path = format!("/{}/{id}", dockerd.place.name);
    let group = wharf_cgroup::Cgroup::open(&hierarchies, path.as_ref()).unwrap();
    assert_eq!(group.current().unwrap().memory_limit, Some(64 << 20));
    assert_eq!(group.stats().unwrap().pids.limit, Some(50));

    let ran = dockerd.docker(&["exec", "one", "sh", "-c", "echo entered; exit 5"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (5, "entered\n"));
    // 126 and standard output are this old dockerd's choice, the text is ours.
    let ran = dockerd.docker(&["exec", "one", "no-such-program"]);
    let text = "exec: \"no-such-program\": executable file not found in $PATH";
    assert!(ran.exited(126).stdout.contains(text), "{}", ran.stdout);
    let top = dockerd.docker(&["top", "one"]);
    assert!(top.out().contains("trap"), "{}", top.stdout);

    dockerd.docker(&["pause", "one"]).succeeded();
    assert!(group.frozen().unwrap());
    dockerd.docker(&["unpause", "one"]).succeeded();
    assert!(!group.frozen().unwrap());

    for memory in [128_u64, 32] {
        let limit = format!("{memory}m");
        let swap = format!("{}m", memory * 2);
        dockerd
            .docker(&[
                "update",
                "--memory",
                &limit,
                "--memory-swap",
                &swap,
                "--pids-limit",
                "60",
                "one",
            ])
            .succeeded();
        assert_eq!(group.current().unwrap().memory_limit, Some(memory << 20));
    }
    assert_eq!(group.stats().unwrap().pids.limit, Some(60));

    dockerd
        .docker(&["kill", "--signal", "TERM", "one"])
        .succeeded();
    assert_eq!(dockerd.docker(&["wait", "one"]).out(), "9");
    dockerd.docker(&["start", "one"]).succeeded();
    dockerd.docker(&["kill", "one"]).succeeded();
    assert_eq!(dockerd.docker(&["wait", "one"]).out(), "137");
}

#[test]
fn terminal_is_inside_and_an_oom_kill_is_told() {
    let Some(dockerd) = Dockerd::new() else {
        return;
    };
    let tty = dockerd.docker(&["run", "--rm", "--tty", "busybox", "tty"]);
    assert_eq!(tty.out().trim_end(), "/dev/pts/0");

    dockerd
        .docker(&[
            "run", "--detach", "--tty", "--name", "shell", "busybox", "sleep", "1000",
        ])
        .succeeded();
    let tty = dockerd.docker(&["exec", "--tty", "shell", "tty"]);
    assert_eq!(tty.out().trim_end(), "/dev/pts/1");

    let options = [
        "run",
        "--name",
        "hungry",
        "--memory",
        "16m",
        "--memory-swap",
        "16m",
        "busybox",
    ];
    dockerd
        .docker(&[&options[..], &["tail", "/dev/zero"]].concat())
        .exited(137);
    wait::until_true("the kill is on record", || {
        let ran = dockerd.docker(&["inspect", "--format", "{{.State.OOMKilled}}", "hungry"]);
        ran.out() == "true"
    });
}
