//! Limits of resources.

use crate::{engine, with_both};

#[test]
fn memory_beyond_the_limit_is_an_oom_kill_that_is_seen() {
    with_both(|engine, client| {
        let greedy = "tail /dev/zero";
        let ran = engine.run(
            client,
            &[
                "run", "--name", "box", "-m", "16m", "busybox", "sh", "-c", greedy,
            ],
        );
        assert_eq!(ran.code, 137, "{ran:?}");
        assert_eq!(
            engine.inspect("box", "{{.State.OOMKilled}} {{.State.ExitCode}}"),
            "true 137"
        );
        engine.run(client, &["rm", "box"]).succeeded();
    });
}

#[test]
fn processes_beyond_the_limit_are_refused() {
    with_both(|engine, client| {
        let many = "for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; wait";
        let ran = engine.run(
            client,
            &[
                "run",
                "--rm",
                "--pids-limit",
                "4",
                "busybox",
                "sh",
                "-c",
                many,
            ],
        );
        ran.says("Resource temporarily unavailable");
    });
}

#[test]
fn limits_are_written_to_the_cgroup() {
    with_both(|engine, client| {
        let arguments = [
            "run",
            "-d",
            "--name",
            "box",
            "-m",
            "64m",
            "--cpus",
            "0.5",
            "--pids-limit",
            "20",
            "busybox",
            "sleep",
            "1000",
        ];
        engine.run(client, &arguments).succeeded();
        let pid = engine.inspect("box", "{{.State.Pid}}");
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let read = |controller: &str, v1: &str, v2: &str| {
            let path = groups.lines().find_map(|line| {
                let mut parts = line.splitn(3, ':').skip(1);
                let (controllers, path) = (parts.next()?, parts.next()?);
                let named = controllers.split(',').any(|name| name == controller);
                named.then(|| format!("/sys/fs/cgroup/{controllers}{path}/{v1}"))
            });
            let unified = groups.lines().find_map(|line| line.strip_prefix("0::"));
            let path = path.unwrap_or_else(|| format!("/sys/fs/cgroup{}/{v2}", unified.unwrap()));
            std::fs::read_to_string(path).unwrap().trim().to_owned()
        };
        assert_eq!(
            read("memory", "memory.limit_in_bytes", "memory.max"),
            "67108864"
        );
        assert_eq!(read("pids", "pids.max", "pids.max"), "20");
        assert!(read("cpu", "cpu.cfs_quota_us", "cpu.max").starts_with("50000"));
        engine.run(client, &["rm", "-f", "box"]).succeeded();
    });
}

#[test]
fn the_engine_may_open_all_files_it_can_and_containers_begin_with_fewer() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    const SOFT: u64 = 900;
    let own = getrlimit(Resource::Nofile);
    let lowered = Rlimit {
        current: Some(SOFT),
        ..own
    };
    // Each test is a process of its own.
    setrlimit(Resource::Nofile, lowered).unwrap();
    let Some(engine) = engine() else { return };
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", engine.pid())).unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let words: Vec<&str> = line.unwrap().split_whitespace().collect();
    assert_eq!(words[3], words[4], "{limits}");
    let run = ["run", "--rm", "busybox", "sh", "-c", "ulimit -Sn"];
    assert_eq!(engine.wharf(&run).out(), SOFT.to_string());
    engine.finish();
}
