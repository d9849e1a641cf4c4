use wharf_oci::runtime::{
    BlockIo, BlockIoDeviceWeight, BlockIoThrottle, Cpu, DeviceRule, HugepageLimit, Memory, Network,
    Pids, Rdma, Resources,
};

use super::*;

fn v1() -> Target {
    let names = [
        "cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids",
    ];
    Target {
        v2: false,
        controllers: names.iter().map(|&name| name.to_owned()).collect(),
        unified: vec!["hugetlb".to_owned()],
        swap: true,
        current: None,
    }
}

fn v2() -> Target {
    let names = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma"];
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    Target {
        v2: true,
        controllers: names.clone(),
        unified: names,
        swap: true,
        current: None,
    }
}

/// Updates do not speak of devices, which keeps them out of these plans.
fn updating(target: Target, memory_limit: Option<u64>) -> Target {
    let current = Current {
        memory_limit,
        swap_limit: None,
        memory_usage: 1 << 20,
    };
    Target {
        current: Some(current),
        ..target
    }
}

/// The plan as lines, `controller/file=value`, with a mark for what may fail.
fn lines(resources: &Resources, target: &Target) -> Vec<String> {
    plan(resources, target)
        .unwrap()
        .writes
        .iter()
        .map(|write| {
            let Write {
                controller,
                file,
                value,
                failure,
            } = write;
            let mark = match failure {
                Failure::Fatal => String::new(),
                Failure::SkipIfMissing => " ?".to_owned(),
                Failure::RetryAfterNext => " again".to_owned(),
                Failure::InsteadIfMissing { file, value } => format!(" or {file}={value}"),
            };
            format!("{controller}/{file}={value}{mark}")
        })
        .collect()
}

fn memory(memory: Memory) -> Resources {
    Resources {
        memory: Some(memory),
        ..Resources::default()
    }
}

fn cpu(cpu: Cpu) -> Resources {
    Resources {
        cpu: Some(cpu),
        ..Resources::default()
    }
}

fn throttle(rate: u64) -> Vec<BlockIoThrottle> {
    vec![BlockIoThrottle {
        major: 8,
        minor: 16,
        rate,
    }]
}

/// One of everything that both versions have.
fn full() -> Resources {
    Resources {
        devices: vec![DeviceRule::default()],
        memory: Some(Memory {
            limit: Some(64 << 20),
            swap: Some(96 << 20),
            reservation: Some(32 << 20),
            ..Memory::default()
        }),
        cpu: Some(Cpu {
            shares: Some(512),
            quota: Some(50_000),
            period: Some(200_000),
            burst: Some(1000),
            cpus: Some("0-1".to_owned()),
            mems: Some("0".to_owned()),
            idle: Some(0),
            ..Cpu::default()
        }),
        pids: Some(Pids { limit: 100 }),
        block_io: Some(BlockIo {
            weight: Some(500),
            weight_device: vec![BlockIoDeviceWeight {
                major: 8,
                minor: 0,
                weight: Some(10),
                leaf_weight: None,
            }],
            throttle_read_bps_device: throttle(1000),
            throttle_write_bps_device: throttle(0),
            throttle_read_iops_device: throttle(7),
            throttle_write_iops_device: throttle(8),
            ..BlockIo::default()
        }),
        hugepage_limits: vec![HugepageLimit {
            page_size: "2MB".to_owned(),
            limit: 4 << 20,
        }],
        ..Resources::default()
    }
}

#[test]
fn v1_plan_of_everything() {
    assert_eq!(
        lines(&full(), &v1()),
        [
            "cpu/cpu.shares=512",
            "cpu/cpu.cfs_period_us=200000 again",
            "cpu/cpu.cfs_burst_us=1000 again",
            "cpu/cpu.cfs_quota_us=50000",
            "cpu/cpu.idle=0",
            "cpuset/cpuset.cpus=0-1",
            "cpuset/cpuset.mems=0",
            "memory/memory.limit_in_bytes=67108864",
            "memory/memory.memsw.limit_in_bytes=100663296",
            "memory/memory.soft_limit_in_bytes=33554432",
            "pids/pids.max=100",
            "blkio/blkio.weight=500 or blkio.bfq.weight=500",
            "blkio/blkio.weight_device=8:0 10 or blkio.bfq.weight_device=8:0 10",
            "blkio/blkio.throttle.read_bps_device=8:16 1000",
            "blkio/blkio.throttle.write_bps_device=8:16 0",
            "blkio/blkio.throttle.read_iops_device=8:16 7",
            "blkio/blkio.throttle.write_iops_device=8:16 8",
            "unified/hugetlb.2MB.max=4194304",
            "unified/hugetlb.2MB.rsvd.max=4194304 ?",
            "devices/devices.deny=a",
            "devices/devices.allow=c *:* m",
            "devices/devices.allow=b *:* m",
            "devices/devices.allow=c 1:3 rwm",
            "devices/devices.allow=c 1:5 rwm",
            "devices/devices.allow=c 1:7 rwm",
            "devices/devices.allow=c 1:8 rwm",
            "devices/devices.allow=c 1:9 rwm",
            "devices/devices.allow=c 5:0 rwm",
            "devices/devices.allow=c 5:2 rwm",
            "devices/devices.allow=c 136:* rwm",
        ]
    );
}

#[test]
fn v2_plan_of_everything() {
    let mut resources = full();
    resources.rdma.insert(
        "mlx5_1".to_owned(),
        Rdma {
            hca_handles: Some(3),
            hca_objects: Some(10_000),
        },
    );
    resources
        .unified
        .insert("memory.high".to_owned(), "50331648".to_owned());
    resources
        .unified
        .insert("cgroup.max.depth".to_owned(), "5".to_owned());
    assert_eq!(
        lines(&resources, &v2()),
        [
            "pids/pids.max=100",
            "memory/memory.swap.max=33554432",
            "memory/memory.max=67108864",
            "memory/memory.low=33554432",
            "io/io.bfq.weight=500 or io.weight=4950",
            "io/io.bfq.weight=8:0 10 or io.weight=8:0 1",
            "io/io.max=8:16 rbps=1000",
            "io/io.max=8:16 wbps=max",
            "io/io.max=8:16 riops=7",
            "io/io.max=8:16 wiops=8",
            "cpu/cpu.idle=0",
            "cpu/cpu.weight=59",
            "cpu/cpu.max.burst=1000 again",
            "cpu/cpu.max=50000 200000",
            "cpuset/cpuset.cpus=0-1",
            "cpuset/cpuset.mems=0",
            "hugetlb/hugetlb.2MB.max=4194304",
            "hugetlb/hugetlb.2MB.rsvd.max=4194304 ?",
            "rdma/rdma.max=mlx5_1 hca_handle=3 hca_object=10000",
            "cgroup/cgroup.max.depth=5",
            "memory/memory.high=50331648",
        ]
    );
    assert!(plan(&resources, &v2()).unwrap().devices.is_some());
}

#[test]
fn shares_become_weights_with_the_defaults_meeting() {
    for (shares, weight) in [
        (2, 1),
        (1024, 100),
        (512, 59),
        (2048, 174),
        (262_144, 10_000),
    ] {
        let resources = cpu(Cpu {
            shares: Some(shares),
            ..Cpu::default()
        });
        let expected = [format!("cpu/cpu.weight={weight}")];
        assert_eq!(lines(&resources, &v2()), expected, "{shares}");
    }
}

#[test]
fn memory_and_swap_are_written_outer_first_when_growing() {
    let to = |limit, swap| {
        memory(Memory {
            limit: Some(limit),
            swap: Some(swap),
            ..Memory::default()
        })
    };
    const LIMIT: &str = "memory/memory.limit_in_bytes";
    const SWAP: &str = "memory/memory.memsw.limit_in_bytes";
    for (now, resources, expected) in [
        (
            None,
            to(100, 200),
            [format!("{LIMIT}=100"), format!("{SWAP}=200")],
        ),
        (
            Some(50),
            to(100, 200),
            [format!("{SWAP}=200"), format!("{LIMIT}=100")],
        ),
        (
            Some(500),
            to(100, 200),
            [format!("{LIMIT}=100"), format!("{SWAP}=200")],
        ),
        (
            Some(500),
            to(-1, -1),
            [format!("{SWAP}=-1"), format!("{LIMIT}=-1")],
        ),
        (
            Some(500),
            memory(Memory {
                limit: Some(-1),
                ..Memory::default()
            }),
            [format!("{SWAP}=-1"), format!("{LIMIT}=-1")],
        ),
    ] {
        assert_eq!(lines(&resources, &updating(v1(), now)), expected);
    }
}

#[test]
fn v2_swap_is_what_exceeds_memory() {
    let to = |limit, swap| {
        memory(Memory {
            limit,
            swap,
            ..Memory::default()
        })
    };
    for (limit, swap, expected) in [
        (
            Some(100),
            Some(100),
            vec!["memory/memory.swap.max=0 ?", "memory/memory.max=100"],
        ),
        (
            Some(100),
            Some(-1),
            vec!["memory/memory.swap.max=max ?", "memory/memory.max=100"],
        ),
        (Some(100), None, vec!["memory/memory.max=100"]),
        (
            Some(-1),
            None,
            vec!["memory/memory.swap.max=max ?", "memory/memory.max=max"],
        ),
        (
            Some(-1),
            Some(50),
            vec!["memory/memory.swap.max=50", "memory/memory.max=max"],
        ),
        (Some(0), Some(0), vec![]),
    ] {
        assert_eq!(
            lines(&to(limit, swap), &v2()),
            expected,
            "{limit:?} {swap:?}"
        );
    }
    assert_eq!(
        plan(&to(None, Some(50)), &v2()),
        Err(PlanError::SwapWithoutMemory)
    );
}

#[test]
fn v1_oddities() {
    let resources = Resources {
        cpu: Some(Cpu {
            realtime_period: Some(1_000_000),
            realtime_runtime: Some(950_000),
            quota: Some(-1),
            ..Cpu::default()
        }),
        memory: Some(Memory {
            swappiness: Some(0),
            disable_oom_killer: Some(true),
            use_hierarchy: Some(true),
            kernel: Some(1 << 20),
            ..Memory::default()
        }),
        pids: Some(Pids { limit: -1 }),
        ..Resources::default()
    };
    let target = updating(v1(), None);
    assert_eq!(
        lines(&resources, &target),
        [
            "cpu/cpu.cfs_quota_us=-1",
            "cpu/cpu.rt_period_us=1000000 again",
            "cpu/cpu.rt_runtime_us=950000",
            "memory/memory.swappiness=0",
            "memory/memory.oom_control=1",
            "pids/pids.max=max",
        ]
    );
    assert_eq!(
        plan(&resources, &target).unwrap().warnings,
        ["memory.kernel is not limited: the kernel gave it up"]
    );
}

#[test]
fn hugepages_go_to_the_controller_that_is_there() {
    let resources = Resources {
        hugepage_limits: full().hugepage_limits,
        ..Resources::default()
    };
    let mut target = updating(v1(), None);
    target.controllers.push("hugetlb".to_owned());
    assert_eq!(
        lines(&resources, &target),
        [
            "hugetlb/hugetlb.2MB.limit_in_bytes=4194304",
            "hugetlb/hugetlb.2MB.rsvd.limit_in_bytes=4194304 ?",
        ]
    );
}

#[test]
fn what_a_version_cannot_hold_is_named() {
    let unified = |key: &str| Resources {
        unified: [(key.to_owned(), "1".to_owned())].into(),
        ..Resources::default()
    };
    let cases: Vec<(Resources, Target, &str)> = vec![
        (
            memory(Memory {
                swappiness: Some(60),
                ..Memory::default()
            }),
            v2(),
            "memory.swappiness does not exist on cgroup v2",
        ),
        (
            memory(Memory {
                disable_oom_killer: Some(true),
                ..Memory::default()
            }),
            v2(),
            "memory.disableOOMKiller does not exist on cgroup v2",
        ),
        (
            cpu(Cpu {
                realtime_runtime: Some(1),
                ..Cpu::default()
            }),
            v2(),
            "cpu.realtimeRuntime does not exist on cgroup v2",
        ),
        (
            Resources {
                network: Some(Network {
                    class_id: Some(1),
                    priorities: Vec::new(),
                }),
                ..Resources::default()
            },
            v2(),
            "network.classID does not exist on cgroup v2",
        ),
        (
            Resources {
                network: Some(Network {
                    class_id: Some(1),
                    priorities: Vec::new(),
                }),
                ..Resources::default()
            },
            v1(),
            "network.classID: the net_cls cgroup controller is not available",
        ),
        (
            unified("memory.high"),
            v1(),
            "unified.memory.high does not exist on cgroup v1",
        ),
        (
            unified("misc.max"),
            v2(),
            "unified.misc.max: the misc cgroup controller is not available",
        ),
        (
            unified("../memory.max"),
            v2(),
            "unified.../memory.max: \"../memory.max\" is not a file name without slashes",
        ),
        (
            unified("cgroup.kill"),
            v2(),
            "unified.cgroup.kill: \"cgroup.kill\" is not a file that may be written",
        ),
        (
            cpu(Cpu {
                shares: Some(1),
                ..Cpu::default()
            }),
            v1(),
            "cpu.shares: 1 is not within 2 to 262144",
        ),
        (
            cpu(Cpu {
                cpus: Some("0;1".to_owned()),
                ..Cpu::default()
            }),
            v1(),
            "cpu.cpus: \"0;1\" is not a list such as 0-3,7",
        ),
        (
            memory(Memory {
                limit: Some(200),
                swap: Some(100),
                ..Memory::default()
            }),
            v1(),
            "memory.swap: the limit of memory and swap (100) is below that of memory (200)",
        ),
        (
            memory(Memory {
                limit: Some(200),
                swap: Some(300),
                ..Memory::default()
            }),
            Target {
                swap: false,
                ..v1()
            },
            "memory.swap: the kernel does not account swap",
        ),
        (
            memory(Memory {
                swappiness: Some(101),
                ..Memory::default()
            }),
            v1(),
            "memory.swappiness: 101 is not within 0 to 100",
        ),
        (
            memory(Memory {
                limit: Some(4096),
                check_before_update: Some(true),
                ..Memory::default()
            }),
            updating(v2(), None),
            "memory.limit: 4096 is below the 1048576 bytes in use",
        ),
        (
            Resources {
                block_io: Some(BlockIo {
                    weight: Some(9),
                    ..BlockIo::default()
                }),
                ..Resources::default()
            },
            v1(),
            "blockIO.weight: 9 is not within 10 to 1000",
        ),
        (
            Resources {
                hugepage_limits: vec![HugepageLimit {
                    page_size: "../x".to_owned(),
                    limit: 1,
                }],
                ..Resources::default()
            },
            v2(),
            "hugepageLimits.pageSize: \"../x\" is not a page size such as 2MB",
        ),
    ];
    for (resources, target, message) in cases {
        assert_eq!(plan(&resources, &target).unwrap_err().to_string(), message);
    }
}
