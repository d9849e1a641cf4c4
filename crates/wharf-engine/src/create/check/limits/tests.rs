use super::*;

fn with(
    controllers: &Controllers,
    change: impl FnOnce(&mut wire::HostConfig),
) -> Result<(wire::HostConfig, Vec<String>), String> {
    let mut host = wire::HostConfig::default();
    change(&mut host);
    check(&mut host, controllers)
        .map(|warnings| (host, warnings))
        .map_err(|error| error.to_string())
}

fn error(change: impl FnOnce(&mut wire::HostConfig)) -> String {
    with(&Controllers::all(), change).expect_err("a limit that is refused")
}

#[test]
fn limits_have_dockers_bounds() {
    type Change = fn(&mut wire::HostConfig);
    let cases: [(Change, &str); 16] = [
        (|h| h.memory = 1, "Minimum memory limit allowed is 6MB"),
        (|h| h.memory = -1, "Minimum memory limit allowed is 6MB"),
        (
            |h| (h.memory, h.memory_swap) = (10 << 20, 5 << 20),
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ),
        (
            |h| h.memory_swap = 1,
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        ),
        (
            |h| h.memory_reservation = 1000,
            "Minimum memory reservation allowed is 6MB",
        ),
        (
            |h| (h.memory, h.memory_reservation) = (10 << 20, 20 << 20),
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        ),
        (
            |h| h.memory_swappiness = Some(101),
            "Invalid value: 101, valid memory swappiness range is 0-100",
        ),
        (
            |h| h.kernel_memory = 1000,
            "Minimum kernel memory limit allowed is 6MB",
        ),
        (
            |h| (h.nano_cpus, h.cpu_quota) = (1, 1000),
            "Conflicting options: Nano CPUs and CPU Quota cannot both be set",
        ),
        (
            |h| h.cpu_quota = 10,
            "CPU cfs quota can not be less than 1ms (i.e. 1000)",
        ),
        (
            |h| (h.cpu_realtime_period, h.cpu_realtime_runtime) = (1000, 2000),
            "cpu real-time runtime cannot be higher than cpu real-time period",
        ),
        (
            |h| "0-99".clone_into(&mut h.cpuset_cpus),
            "Requested CPUs are not available - requested 0-99, available: 0-1",
        ),
        (
            |h| "9".clone_into(&mut h.cpuset_mems),
            "Requested memory nodes are not available - requested 9, available: 0",
        ),
        (
            |h| h.blkio_weight = 5,
            "Range of blkio weight is from 10 to 1000",
        ),
        (
            |h| h.io_maximum_iops = 2,
            "Invalid QoS settings: linux does not support configuration of maximum IOPs",
        ),
        (
            |h| {
                h.ulimits = Some(vec![wire::Ulimit {
                    name: "nofile".to_owned(),
                    soft: 10,
                    hard: 1,
                }]);
            },
            "ulimit soft limit must be less than or equal to hard limit: 10 > 1",
        ),
    ];
    for (change, message) in cases {
        assert_eq!(error(change), message);
    }
}

#[test]
fn sets_are_lists_of_ranges() {
    for text in [
        "abc",
        "1-0",
        "0,,1",
        "-1",
        "0-",
        ",",
        "99999999999",
        "0-4294967295",
    ] {
        let found = error(|host| text.clone_into(&mut host.cpuset_cpus));
        assert_eq!(
            found,
            format!("Invalid value {text} for cpuset cpus: invalid format: {text}")
        );
    }
    for text in ["0", "0-1", "0,1", "1,0-0"] {
        with(&Controllers::all(), |host| {
            text.clone_into(&mut host.cpuset_cpus);
        })
        .expect(text);
    }
}

#[test]
fn what_the_kernel_cannot_limit_is_taken_out_and_said() {
    let none = Controllers {
        block_io_weight: false,
        swappiness: false,
        oom_kill_disable: false,
        ..Controllers::all()
    };
    let (host, warnings) = with(&none, |host| {
        host.blkio_weight = 500;
        host.memory_swappiness = Some(10);
        host.oom_kill_disable = Some(true);
        host.cpu_percent = 2;
        host.kernel_memory = 64 << 20;
    })
    .expect("accepted");
    assert_eq!((host.blkio_weight, host.memory_swappiness), (0, None));
    assert_eq!((host.oom_kill_disable, host.kernel_memory), (None, 0));
    assert_eq!(
        warnings,
        [
            "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory \
             swappiness discarded.",
            "Your kernel does not support OomKillDisable. OomKillDisable discarded.",
            "Specifying a kernel memory limit is deprecated and will be removed in a future release.",
            "Your kernel does not support kernel memory limit capabilities or the cgroup is not mounted. \
             Limitation discarded.",
            "linux does not support CPU percent. Percent discarded.",
            "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.",
        ]
    );
}

#[test]
fn unset_members_get_dockers_defaults() {
    let (host, warnings) = with(&Controllers::all(), |host| {
        host.memory = 64 << 20;
        host.memory_swappiness = Some(-1);
        host.pids_limit = Some(0);
    })
    .expect("accepted");
    assert_eq!(host.memory_swap, 128 << 20);
    assert_eq!((host.memory_swappiness, host.pids_limit), (None, None));
    assert_eq!(warnings, Vec::<String>::new());
}
