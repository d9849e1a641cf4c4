//! Limits and restart policies, changed after a container was made.

use wharf_tests_system::{binary, wait};

use crate::{engine, with_both};

/// What the container itself sees of its limits, on either version of cgroups.
const LIMITS: &str = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max \
                      /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max \
                      /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; true";

#[test]
fn limits_of_a_running_container_change_at_once_and_stay() {
    with_both(|engine, client| {
        let run = |arguments: &[&str]| engine.run(client, arguments).out().to_owned();
        run(&[
            "run", "-d", "--name", "box", "-m", "64m", "busybox", "sleep", "1000",
        ]);
        let limits = || {
            let seen = run(&["exec", "box", "sh", "-c", LIMITS]);
            seen.lines()
                .map(|line| line.split(' ').next().unwrap_or_default().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(limits()[..2], ["67108864", "-1"].map(str::to_owned));
        assert_eq!(
            run(&[
                "update",
                "-m",
                "96m",
                "--memory-swap",
                "200m",
                "--cpus",
                "0.5",
                "--pids-limit",
                "50",
                "box"
            ]),
            "box"
        );
        let expected = ["100663296", "50000", "50"].map(str::to_owned);
        assert_eq!(limits(), expected);
        let template = "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.NanoCpus}} \
                        {{.HostConfig.PidsLimit}}";
        assert_eq!(
            engine.inspect("box", template),
            "100663296 209715200 500000000 50"
        );
        // No limit again, and what was not named stays.
        run(&["update", "--pids-limit", "-1", "box"]);
        assert_eq!(limits()[2], "max");
        assert_eq!(limits()[0], "100663296");
        run(&["restart", "-t", "0", "box"]);
        assert_eq!(limits(), ["100663296", "50000", "max"].map(str::to_owned));
        run(&["rm", "-f", "box"]);
    });
}

#[test]
fn what_an_update_cannot_be_is_refused_and_changes_nothing() {
    with_both(|engine, client| {
        let run = |arguments: &[&str]| engine.run(client, arguments);
        run(&["create", "--name", "box", "-m", "64m", "busybox", "true"]).succeeded();
        let refused = |arguments: &[&str], text: &str| {
            run(&[&["update"], arguments, &["box"]].concat())
                .exited(1)
                .says(text);
        };
        refused(
            &[],
            "you must provide one or more flags when using this command",
        );
        refused(&["-m", "1m"], "Minimum memory limit allowed is 6MB");
        refused(
            &["-m", "1g"],
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        );
        refused(&["--restart", "sometimes"], "invalid restart policy");
        refused(
            &["--cpu-period", "5"],
            "CPU cfs period can not be less than 1ms",
        );
        assert_eq!(
            engine.inspect(
                "box",
                "{{.HostConfig.Memory}} {{.HostConfig.RestartPolicy.Name}}"
            ),
            "67108864 no"
        );
        let two = run(&["update", "--cpu-shares", "200", "nosuch", "box"]);
        two.exited(1).says("No such container: nosuch");
        assert_eq!(two.stdout, "box\n");
        assert_eq!(engine.inspect("box", "{{.HostConfig.CpuShares}}"), "200");
        run(&["rm", "box"]).succeeded();
        run(&[
            "run", "-d", "--rm", "--name", "box", "busybox", "sleep", "1000",
        ])
        .succeeded();
        refused(
            &["--restart", "always"],
            "Restart policy cannot be updated because AutoRemove is enabled for the container",
        );
        run(&["rm", "-f", "box"]).succeeded();
    });
}

#[test]
fn what_no_container_can_be_given_later_is_refused_by_name() {
    if binary::reference().is_some() {
        return;
    }
    let Some(engine) = engine() else { return };
    engine
        .wharf(&["create", "--name", "box", "busybox", "true"])
        .succeeded();
    let answer = engine
        .request(
            "POST",
            "/containers/box/update",
            br#"{"Ulimits":[{"Name":"nofile","Hard":5,"Soft":5}]}"#,
        )
        .unwrap();
    assert_eq!(answer.status, 400);
    assert_eq!(
        answer.json()["message"],
        "Ulimits cannot be changed after a container was created"
    );
    engine.finish();
}

#[test]
fn a_policy_given_later_decides_at_the_next_end() {
    with_both(|engine, client| {
        let run = |arguments: &[&str]| engine.run(client, arguments).succeeded();
        run(&[
            "run",
            "-d",
            "-i",
            "--name",
            "box",
            "busybox",
            "sh",
            "-c",
            "sleep 0.2; exit 3",
        ]);
        run(&["update", "--restart", "on-failure:2", "box"]);
        wait::until_true("both restarts", || {
            engine.inspect("box", "{{.State.Status}} {{.RestartCount}}") == "exited 2"
        });
        run(&["rm", "box"]);
    });
}

#[test]
fn an_update_outlives_the_engine() {
    let Some(mut engine) = engine() else { return };
    engine
        .wharf(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"])
        .succeeded();
    engine
        .wharf(&[
            "update",
            "--cpu-shares",
            "300",
            "--restart",
            "unless-stopped",
            "box",
        ])
        .succeeded();
    engine.kill();
    engine.launch();
    let template = "{{.HostConfig.CpuShares}} {{.HostConfig.RestartPolicy.Name}} {{.State.Status}}";
    assert_eq!(
        engine.inspect("box", template),
        "300 unless-stopped running"
    );
    engine.wharf(&["rm", "-f", "box"]).succeeded();
    engine.finish();
}
