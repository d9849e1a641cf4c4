//! What a container can be created with, beyond what other files have.

use crate::with_both;

#[test]
fn limits_are_refused_in_dockers_words() {
    with_both(|engine, client| {
        let refused = |flags: &[&str], message: &str| {
            let arguments = [&["create"], flags, &["busybox"]].concat();
            engine.run(client, &arguments).exited(1).says(message);
        };
        refused(&["-m", "1m"], "Minimum memory limit allowed is 6MB");
        refused(
            &["-m", "20m", "--memory-swap", "10m"],
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        );
        refused(&["--cpus", "1000"], "range of CPUs is from 0.01 to");
        refused(
            &["--cpus", "1", "--cpu-quota", "5000"],
            "Conflicting options: Nano CPUs and CPU Quota cannot both be set",
        );
        refused(
            &["--cpuset-cpus", "9999"],
            "Invalid value 9999 for cpuset cpus: invalid format: 9999",
        );
        refused(
            &["--oom-score-adj", "2000"],
            "Invalid value 2000, range for oom score adj is [-1000, 1000]",
        );
        refused(
            &["--uts", "host", "-h", "name"],
            "conflicting options: hostname and the UTS mode",
        );
        refused(&["--cgroup-parent", "user.slice"], "systemd's to make");
        refused(
            &["--storage-opt", "size=1g"],
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
        );
        refused(
            &["--runtime", "nope"],
            "unknown or invalid runtime name: nope",
        );
        refused(
            &["--gpus", "all"],
            "could not select device driver \"\" with capabilities: [[gpu]]",
        );
        refused(
            &["--device", "vendor.test/thing=one"],
            "unresolvable CDI devices vendor.test/thing=one",
        );
        refused(&["--link", "a:b"], "HostConfig.Links is not supported yet");
        refused(
            &["--ip", "172.17.0.9"],
            "user specified IP address is supported on user defined networks only",
        );
    });
}

#[test]
fn devices_are_mapped_and_may_be_used() {
    with_both(|engine, client| {
        let run = |flags: &[&str], command: &str| {
            let arguments = [&["run", "--rm"], flags, &["busybox", "sh", "-c", command]];
            engine.run(client, &arguments.concat())
        };
        let tunnel = run(
            &["--device", "/dev/net/tun:/dev/mine:r"],
            ": < /dev/mine && echo open; echo x > /dev/mine",
        );
        assert_eq!(tunnel.stdout, "open\n", "{tunnel:?}");
        tunnel.says("Operation not permitted");
        // A directory stands for what is in it.
        let listed = run(&["--device", "/dev/net"], "ls /dev/net");
        assert_eq!(listed.out(), "tun");
        run(&["--device", "/dev/nonexistent"], "true").says(
            "error gathering device information while adding custom device \"/dev/nonexistent\"",
        );
        run(&["--device-cgroup-rule", "c 1:3 x"], "true")
            .exited(125)
            .says("c 1:3 x");
    });
}

#[test]
fn options_of_security_are_carried_out() {
    with_both(|engine, client| {
        let run = |flags: &[&str], command: &str| {
            let arguments = [&["run", "--rm"], flags, &["busybox", "sh", "-c", command]];
            engine.run(client, &arguments.concat())
        };
        let own = "mkdir /sys/fs/cgroup/pids/own 2>/dev/null || mkdir /sys/fs/cgroup/own";
        run(&[], own).exited(1).says("Read-only file system");
        run(&["--security-opt", "writable-cgroups=true"], own).succeeded();
        let privileges = "grep NoNewPrivs /proc/self/status";
        let set = |option: &str| run(&["--security-opt", option], privileges).stdout;
        assert_eq!(set("no-new-privileges"), "NoNewPrivs:\t1\n");
        assert_eq!(set("no-new-privileges:false"), "NoNewPrivs:\t0\n");
        run(&["--security-opt", "no-new-privileges=maybe"], "true")
            .exited(125)
            .says("invalid --security-opt 2: \"no-new-privileges=maybe\"");
        let hidden = run(
            &["--security-opt", "systempaths=unconfined"],
            "mount | grep -c ' /proc/' || true",
        );
        assert_eq!(hidden.out(), "0");
    });
}

#[test]
fn a_cgroup_can_have_another_parent() {
    with_both(|engine, client| {
        let parent = format!("{}-parent", engine.bridge());
        let run = |arguments: &[&str]| engine.run(client, arguments);
        run(&[
            "run",
            "-d",
            "--name",
            "box",
            "--cgroup-parent",
            &parent,
            "busybox",
            "sleep",
            "1000",
        ])
        .succeeded();
        let id = engine.inspect("box", "{{.Id}}");
        let pid = engine.inspect("box", "{{.State.Pid}}");
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        assert!(groups.contains(&format!("/{parent}/{id}")), "{groups}");
        run(&["top", "box"]).tells("sleep 1000");
        run(&["exec", "box", "true"]).succeeded();
        run(&["rm", "-f", "box"]).succeeded();
        // The parent is the user's, who may have others in it.
        for line in groups.lines() {
            let controllers = line.split(':').nth(1).unwrap();
            let directory = match controllers {
                "" => format!("/sys/fs/cgroup/unified/{parent}"),
                named => format!(
                    "/sys/fs/cgroup/{}/{parent}",
                    named.trim_start_matches("name=")
                ),
            };
            drop(std::fs::remove_dir(directory));
        }
        drop(std::fs::remove_dir(format!("/sys/fs/cgroup/{parent}")));
    });
}
