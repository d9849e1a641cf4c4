//! The whole engine on this kernel's control groups. What it can do is tested elsewhere; here it
//! runs once where the machine is of the other version, and of an older kernel.

use std::path::Path;

use wharf_cgroup::{Cgroup, Hierarchies};
use wharf_tests_system::{Engine, needs, wait};

#[test]
fn engine_runs_limits_and_pauses_containers() {
    if !needs::met(&["busybox"]) {
        return;
    }
    let engine = Engine::with_busybox();
    let options = [
        "run",
        "--detach",
        "--name",
        "one",
        "--memory",
        "32m",
        "--pids-limit",
        "50",
    ];
    let id = engine.wharf(&[&options[..], &["busybox", "sleep", "1000"]].concat());
    let path = format!("/{}/{}", engine.bridge(), id.out());
    let group = Cgroup::open(&Hierarchies::detect().unwrap(), Path::new(&path)).unwrap();
    assert_eq!(group.current().unwrap().memory_limit, Some(32 << 20));
    assert_eq!(group.stats().unwrap().pids.limit, Some(50));

    engine.wharf(&["pause", "one"]).succeeded();
    assert!(group.frozen().unwrap());
    engine.wharf(&["unpause", "one"]).succeeded();
    let entered = engine.wharf(&["exec", "one", "sh", "-c", "echo entered; exit 5"]);
    assert_eq!((entered.code, entered.stdout.as_str()), (5, "entered\n"));
    engine.wharf(&["rm", "--force", "one"]).succeeded();
    wait::until_true("the group is gone", || {
        group.dirs().all(|(_, dir)| !dir.exists())
    });
    engine.finish();
}

#[test]
fn engine_tells_an_oom_kill() {
    if !needs::met(&["busybox"]) {
        return;
    }
    let engine = Engine::with_busybox();
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
    engine
        .wharf(&[&options[..], &["tail", "/dev/zero"]].concat())
        .exited(137);
    assert_eq!(engine.inspect("hungry", "{{.State.OOMKilled}}"), "true");
    engine.wharf(&["rm", "hungry"]).succeeded();
    engine.finish();
}

#[test]
fn engine_publishes_a_port() {
    if !needs::met(&["busybox", "ip"]) {
        return;
    }
    let engine = Engine::with_busybox();
    let options = [
        "run",
        "--detach",
        "--name",
        "web",
        "--publish",
        "127.0.0.1::80",
        "busybox",
    ];
    let server = ["httpd", "-f", "-p", "80", "-h", "/etc"];
    engine.wharf(&[&options[..], &server].concat()).succeeded();
    let port = engine.wharf(&["port", "web", "80/tcp"]);
    let url = format!("http://{}/hostname", port.out());
    let mut answer = String::new();
    wait::until_true("the server answers", || {
        let output = std::process::Command::new("busybox")
            .args(["wget", "-q", "-O", "-", &url])
            .output();
        answer = String::from_utf8(output.unwrap().stdout).unwrap();
        !answer.is_empty()
    });
    let hostname = engine.wharf(&["exec", "web", "hostname"]);
    assert_eq!(answer.trim_end(), hostname.out());
    engine.wharf(&["rm", "--force", "web"]).succeeded();
    engine.finish();
}
