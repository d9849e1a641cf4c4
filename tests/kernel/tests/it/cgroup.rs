//! Control groups, of whichever version the kernel has.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Signal};
use rustix::thread::ThreadNameSpaceType;
use wharf_cgroup::{Cgroup, CgroupError, Hierarchies};
use wharf_oci::runtime::{Cpu, DeviceRule, HugepageLimit, Memory, Pids, Resources};

use wharf_tests_kernel::group::{Group, private_path, read_line, wait};
use wharf_tests_system::wait::until_true as until;

fn limits(memory: i64) -> Resources {
    Resources {
        memory: Some(Memory {
            limit: Some(memory),
            swap: Some(memory * 2),
            ..Memory::default()
        }),
        ..Resources::default()
    }
}

#[test]
fn limits_are_in_the_files() {
    let group = Group::new(&Resources {
        cpu: Some(Cpu {
            shares: Some(512),
            quota: Some(50_000),
            period: Some(200_000),
            ..Cpu::default()
        }),
        pids: Some(Pids { limit: 77 }),
        ..limits(64 << 20)
    });
    assert_eq!(group.read("pids", "pids.max"), "77");
    if group.hierarchies.is_v2() {
        assert_eq!(group.read("memory", "memory.max"), "67108864");
        assert_eq!(group.read("cpu", "cpu.max"), "50000 200000");
        assert_eq!(group.read("cpu", "cpu.weight"), "59");
    } else {
        assert_eq!(group.read("memory", "memory.limit_in_bytes"), "67108864");
        assert_eq!(group.read("cpu", "cpu.cfs_quota_us"), "50000");
        assert_eq!(group.read("cpu", "cpu.cfs_period_us"), "200000");
        assert_eq!(group.read("cpu", "cpu.shares"), "512");
        assert!(group.read("devices", "devices.list").starts_with("c *:* m"));
    }
    let current = group.cgroup.current().unwrap();
    assert_eq!(current.memory_limit, Some(64 << 20));
}

#[test]
fn memory_limit_grows_and_shrinks_with_its_swap_limit() {
    let group = Group::new(&limits(32 << 20));
    for memory in [64 << 20, 16 << 20, 128 << 20] {
        group.update(&limits(memory)).unwrap();
        let current = group.cgroup.current().unwrap();
        assert_eq!(current.memory_limit, Some(memory.unsigned_abs()));
    }
    let unlimited = Resources {
        memory: Some(Memory {
            limit: Some(-1),
            ..Memory::default()
        }),
        ..Resources::default()
    };
    group.update(&unlimited).unwrap();
    let current = group.cgroup.current().unwrap();
    assert_eq!((current.memory_limit, current.swap_limit), (None, None));
}

#[test]
fn hugepages_are_limited_also_beside_v1() {
    let group = Group::new(&Resources {
        hugepage_limits: vec![HugepageLimit {
            page_size: "2MB".to_owned(),
            limit: 4 << 20,
        }],
        ..Resources::default()
    });
    let (controller, file) = match group.cgroup.v2_dir() {
        Some(_) => (wharf_cgroup::UNIFIED, "hugetlb.2MB.max"),
        None => ("hugetlb", "hugetlb.2MB.limit_in_bytes"),
    };
    assert_eq!(group.read(controller, file), "4194304");
    assert!(group.cgroup.stats().unwrap().hugetlb.contains_key("2MB"));
}

#[test]
fn nested_group_takes_processes_and_is_removed_with_what_is_below() {
    let top = private_path();
    let group = Group::at(&top.join("middle/leaf"), &Resources::default()).unwrap();
    let mut child = group.entered("sleep 1000");
    let pid = Pid::from_child(&child);
    assert!(group.cgroup.pids().unwrap().contains(&pid));
    // Groups a container made below its own.
    for (_, dir) in group.cgroup.dirs() {
        std::fs::create_dir_all(dir.join("own/deeper")).unwrap();
    }
    group.cgroup.kill_all(Signal::KILL).unwrap();
    assert_eq!(wait(&mut child), 137);
    group.cgroup.remove().unwrap();
    assert!(group.cgroup.dirs().all(|(_, dir)| !dir.exists()));
    Cgroup::open(&group.hierarchies, &top)
        .unwrap()
        .remove()
        .unwrap();
}

#[test]
fn group_in_use_is_not_taken_over() {
    let group = Group::new(&Resources::default());
    let mut child = group.entered("exec sleep 1000");
    let taken = Group::at(&group.path, &Resources::default());
    assert!(matches!(taken, Err(CgroupError::InUse { .. })));
    child.kill().unwrap();
    assert_eq!(wait(&mut child), 137);
    until("the group to be empty", || {
        group.cgroup.pids().unwrap().is_empty()
    });
    let again = Group::at(&group.path, &Resources::default()).unwrap();
    again.cgroup.remove().unwrap();
}

#[test]
fn failed_creation_leaves_nothing() {
    let path = private_path();
    let resources = Resources {
        cpu: Some(Cpu {
            cpus: Some("4000".to_owned()),
            ..Cpu::default()
        }),
        ..Resources::default()
    };
    let error = Group::at(&path, &resources).map(|_| ()).unwrap_err();
    assert!(error.to_string().starts_with("cannot write \"4000\" to"));
    let hierarchies = Hierarchies::detect().unwrap();
    for controller in ["cpu", "memory", "pids"] {
        assert!(!hierarchies.dir(controller, &path).unwrap().exists());
    }
}

#[test]
fn joiner_moves_the_caller() {
    let group = Group::new(&Resources::default());
    let joiner = group.cgroup.joiner().unwrap();
    // On v1 a thread moves, on v2 the process.
    let groups = std::thread::spawn(move || {
        joiner.join().unwrap();
        std::fs::read_to_string("/proc/thread-self/cgroup").unwrap()
    })
    .join()
    .unwrap();
    let name = group.path.to_str().unwrap();
    let mine = groups.lines().filter(|line| line.ends_with(name)).count();
    if group.hierarchies.is_v2() {
        assert_eq!(mine, 1, "{groups}");
        let root = group.cgroup.dir("").unwrap().parent().unwrap();
        std::fs::write(root.join("cgroup.procs"), "0").unwrap();
    } else {
        let mut dirs: Vec<&Path> = group.cgroup.dirs().map(|(_, dir)| dir).collect();
        dirs.dedup();
        assert_eq!(mine, dirs.len(), "{groups}");
    }
}

#[test]
fn frozen_group_stands_still() {
    let group = Group::new(&Resources::default());
    let mut child = group.entered("trap 'exit 7' USR1; echo up; while :; do :; done");
    read_line(&mut child, "up");
    let used = || group.cgroup.stats().unwrap().cpu.total;
    let before = used();
    until("the processor to be used", || used() > before);

    group.cgroup.freeze().unwrap();
    assert!(group.cgroup.frozen().unwrap());
    let stopped = used();
    assert_eq!(used(), stopped);
    // A signal that does not kill outright waits in a paused group, which stays so.
    group.cgroup.kill_all(Signal::USR1).unwrap();
    assert!(group.cgroup.frozen().unwrap());
    assert!(child.try_wait().unwrap().is_none());

    group.cgroup.thaw().unwrap();
    assert!(!group.cgroup.frozen().unwrap());
    assert_eq!(wait(&mut child), 7);
}

#[test]
fn killing_reaches_processes_that_fork() {
    let group = Group::new(&Resources::default());
    let mut child = group.entered("while :; do (sleep 1000) & (sleep 0.01); done");
    until("some forks", || group.cgroup.pids().unwrap().len() > 5);
    group.cgroup.kill_all(Signal::KILL).unwrap();
    assert_eq!(wait(&mut child), 137);
    group.cgroup.remove().unwrap();
}

#[test]
fn killing_ends_a_paused_group() {
    let group = Group::new(&Resources::default());
    let mut child = group.entered("exec sleep 1000");
    group.cgroup.freeze().unwrap();
    group.cgroup.kill_all(Signal::KILL).unwrap();
    assert_eq!(wait(&mut child), 137);
}

#[test]
fn devices_are_filtered() {
    let group = Group::new(&Resources {
        devices: vec![
            DeviceRule::default(),
            DeviceRule {
                allow: true,
                kind: Some("c".to_owned()),
                major: Some(10),
                minor: Some(237),
                access: Some("r".to_owned()),
            },
        ],
        ..Resources::default()
    });
    let nodes = std::env::temp_dir().join(format!("wt-cgroup-devices-{}", std::process::id()));
    std::fs::create_dir_all(&nodes).unwrap();
    let at = nodes.to_str().unwrap();
    // 10:237 is the loop devices' control, 1:11 the kernel's log; making nodes is allowed.
    let script = format!(
        "cd {at} && mknod zero c 1 5 && mknod log c 1 11 && mknod control c 10 237 || exit 3;
         head -c 1 < zero > /dev/null || exit 4;
         (: < log) && exit 5; (: < control) || test ! -e /dev/loop-control || exit 6; (: > control) && exit 7; exit 0"
    );
    let code = wait(&mut group.entered(&script));
    std::fs::remove_dir_all(&nodes).unwrap();
    assert_eq!(code, 0);
}

#[test]
fn running_out_of_memory_is_told() {
    let memory = Memory {
        limit: Some(16 << 20),
        swap: Some(16 << 20),
        ..Memory::default()
    };
    let group = Group::new(&Resources {
        memory: Some(memory),
        ..Resources::default()
    });
    let mut watch = group.cgroup.watch_oom().unwrap();
    assert_eq!(watch.take().unwrap(), 0);
    assert_eq!(group.cgroup.oom_kills().unwrap(), 0);

    let mut child = group.entered("tail /dev/zero");
    wait(&mut child);
    let mut polled = [PollFd::from_borrowed_fd(watch.as_fd(), PollFlags::IN)];
    let timeout = Timespec {
        tv_sec: 20,
        tv_nsec: 0,
    };
    assert_eq!(rustix::event::poll(&mut polled, Some(&timeout)), Ok(1));
    until("the count", || group.cgroup.oom_kills().unwrap() > 0);
    assert!(watch.take().unwrap() > 0);
}

#[test]
fn use_is_counted() {
    let group = Group::new(&Resources {
        pids: Some(Pids { limit: 50 }),
        ..limits(64 << 20)
    });
    let mut child =
        group.entered("i=0; while test $i -lt 20000; do i=$((i+1)); done; exec sleep 1000");
    until("processor time", || {
        group.cgroup.stats().unwrap().cpu.total > 1_000_000
    });
    let stats = group.cgroup.stats().unwrap();
    assert_eq!((stats.pids.current, stats.pids.limit), (1, Some(50)));
    assert_eq!(stats.memory.limit, 64 << 20);
    assert!(stats.memory.usage > 0);
    assert!(!stats.memory.stat.is_empty());
    child.kill().unwrap();
    wait(&mut child);
}

#[test]
fn unified_files_are_written_where_they_exist() {
    let resources = Resources {
        unified: [("memory.high".to_owned(), "33554432".to_owned())].into(),
        ..Resources::default()
    };
    let hierarchies = Hierarchies::detect().unwrap();
    if hierarchies.is_v2() {
        let group = Group::new(&resources);
        assert_eq!(group.read("memory", "memory.high"), "33554432");
    } else {
        let error = wharf_cgroup::plan(&resources, &hierarchies.target()).unwrap_err();
        let expected = "unified.memory.high does not exist on cgroup v1";
        assert_eq!(error.to_string(), expected);
    }
}

/// The situation of an engine in a container with a control group namespace of its own: the root
/// it sees has processes, the engine among them, and hands nothing down.
#[test]
fn namespace_root_is_vacated_when_it_is_ours() {
    let real = Hierarchies::detect().unwrap();
    assert!(!real.vacate_root().unwrap(), "the true root stays as it is");
    let Hierarchies::V2 { unified } = &real else {
        return;
    };
    let root = Group::new(&Resources::default());
    let seen = Hierarchies::V2 {
        unified: wharf_cgroup::Hierarchy {
            mount: root.cgroup.dir("").unwrap().to_owned(),
            controllers: unified.controllers.clone(),
        },
    };
    root.cgroup.joiner().unwrap().join().unwrap();
    let limited = wharf_cgroup::plan(&limits(64 << 20), &seen.target()).unwrap();
    let result = std::thread::spawn(move || {
        let refused = Cgroup::create(&seen, Path::new("/one"), &limited).map(|_| ());
        // A thread can have a view of its own; its process's group is the root of it.
        wharf_sys::namespace::unshare(ThreadNameSpaceType::CONTROL_GROUP).unwrap();
        let moved = seen.vacate_root();
        let made = Cgroup::create(&seen, Path::new("/one"), &limited);
        (refused, moved, made.and_then(|group| group.current()))
    })
    .join();
    std::fs::write(unified.mount.join("cgroup.procs"), "0").unwrap();
    let (refused, moved, made) = result.unwrap();
    assert!(
        matches!(refused, Err(CgroupError::NotDelegated { .. })),
        "{refused:?}"
    );
    assert!(moved.unwrap());
    assert_eq!(made.unwrap().memory_limit, Some(64 << 20));
}
