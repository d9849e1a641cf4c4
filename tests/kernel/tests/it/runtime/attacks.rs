//! What a hostile image, configuration or container may try against the runtime.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use serde_json::json;
use wharf_tests_kernel::bundle::Bundle;
use wharf_tests_system::{Ran, binary, wait};

use super::{output, refused};

/// A file of the host that must stay as it is.
struct Sentinel {
    directory: PathBuf,
}

impl Sentinel {
    fn new(bundle: &Bundle) -> Self {
        let directory = bundle.directory.join("sentinel");
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("file"), "untouched").unwrap();
        Self { directory }
    }

    fn assert_untouched(&self) {
        let names = fs::read_dir(&self.directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        assert_eq!(names.collect::<Vec<_>>(), ["file"]);
        assert_eq!(
            fs::read_to_string(self.directory.join("file")).unwrap(),
            "untouched"
        );
    }
}

/// A program of the host that swaps a path of a tree back and forth until dropped.
struct Swapper(Child);

impl Swapper {
    fn new(script: &str, directory: &Path) -> Self {
        let mut shell = Command::new("busybox");
        shell
            .args(["sh", "-c", script])
            .current_dir(directory)
            .process_group(0)
            .stderr(Stdio::null());
        Self(shell.spawn().unwrap())
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.0);
        kill_process_group(group, Signal::KILL).unwrap();
        self.0.wait().unwrap();
        // What the shell ran last may still make a directory while the bundle is removed.
        wait::until_true("the end of what the shell ran", || {
            test_kill_process_group(group).is_err()
        });
    }
}

/// How long a race is tried for whose outcomes cannot be counted: some dozens of containers.
const RACE: Duration = Duration::from_secs(3);
/// How often a race is tried that can be counted.
const RACES: usize = 10_000;
/// Races of one container: making one takes longer than all of them.
const BATCH: usize = 250;
/// Longest time for all of them.
const RACES_TIME: Duration = Duration::from_secs(240);

#[test]
fn attack_r1_executable_of_a_joining_process_cannot_be_written() {
    let before = fs::metadata(binary::wharf()).unwrap();
    // The container's program is reached by a link to the joiner's own executable; being a script
    // it keeps that process alive as an interpreter would.
    let mut bundle = Bundle::new("true");
    bundle.capabilities(&[
        "CAP_SYS_PTRACE",
        "CAP_DAC_OVERRIDE",
        "CAP_SYS_ADMIN",
        "CAP_DAC_READ_SEARCH",
    ]);
    bundle.spec["root"]["readonly"] = json!(false);
    bundle.script(
        "while :; do for exe in /proc/[0-9]*/exe; do case $(readlink $exe) in \
         */busybox) ;; ?*) { echo overwritten > $exe; } 2>/dev/null && echo written >> /hit; echo seen >> /seen;; \
         esac; done; done",
    );
    bundle.namespace("pid", None);
    assert!(bundle.start() > 0);
    let begun = Instant::now();
    while begun.elapsed() < RACE {
        bundle.exec(&[], "true").succeeded();
    }
    let after = fs::metadata(binary::wharf()).unwrap();
    assert!(
        !bundle.rootfs("hit").exists(),
        "an executable was opened for writing"
    );
    assert_eq!(
        (before.len(), before.mtime_nsec()),
        (after.len(), after.mtime_nsec())
    );
}

#[test]
fn attack_r1_the_runtime_leaves_its_file_before_it_makes_a_container() {
    let bundle = Bundle::new("exec sleep 1000");
    bundle.create();
    let pid = bundle.pid();
    // The waiting process is still the runtime. Its file, reached through it, is on a read-only mount.
    let opened = fs::OpenOptions::new()
        .write(true)
        .open(format!("/proc/{pid}/exe"));
    let errno = opened.unwrap_err().raw_os_error();
    let read_only = rustix::io::Errno::ROFS.raw_os_error();
    let busy = rustix::io::Errno::TXTBSY.raw_os_error();
    assert!(errno == Some(read_only) || errno == Some(busy), "{errno:?}");
    let status = rustix::fs::statvfs(format!("/proc/{pid}/exe")).unwrap();
    assert!(
        status
            .f_flag
            .contains(rustix::fs::StatVfsMountFlags::RDONLY)
    );
}

#[test]
fn attack_r2_workdir_in_proc_self_fd() {
    for number in 3..=20 {
        let mut bundle = Bundle::new("pwd");
        bundle.spec["process"]["cwd"] = json!(format!("/proc/self/fd/{number}"));
        let ran = bundle.run();
        assert_ne!(ran.code, 0, "{number}: {}", ran.stdout);
        assert_eq!(ran.stdout, "", "{number}");
    }
}

#[test]
fn attack_r2_workdir_of_exec_in_proc_self_fd() {
    let bundle = Bundle::new("exec sleep 1000");
    assert!(bundle.start() > 0);
    for number in 3..=20 {
        let link = format!("/tmp/link-{number}");
        symlink(format!("/proc/self/fd/{number}"), bundle.rootfs(&link[1..])).unwrap();
        for cwd in [format!("/proc/self/fd/{number}"), link] {
            let ran = bundle.exec(&["--cwd", &cwd], "pwd");
            ran.exited(255);
            assert_eq!(ran.stdout, "", "{cwd}");
        }
    }
}

#[test]
fn attack_r2_no_descriptor_of_the_host_is_open() {
    let script = "ls /proc/1/fd | tr '\\n' ' '";
    let bundle = Bundle::new(script);
    assert_eq!(bundle.run().out().trim(), "0 1 2");
    let bundle = Bundle::new("exec sleep 1000");
    assert!(bundle.start() > 0);
    // The shell's own, and the directory that ls reads.
    assert_eq!(
        bundle
            .exec(&[], "exec ls /proc/self/fd")
            .out()
            .lines()
            .count(),
        4
    );
}

#[test]
fn attack_r3_null_device_replaced_by_a_link() {
    let core_pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let mut bundle = Bundle::new("cat /etc/secret; stat -c %t:%T /etc/secret; cat /dev/null");
    // No tmpfs over /dev: the image's own is used.
    bundle.spec["mounts"]
        .as_array_mut()
        .unwrap()
        .retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
    symlink("/proc/sys/kernel/core_pattern", bundle.rootfs("dev/null")).unwrap();
    fs::write(bundle.rootfs("etc/secret"), "secret").unwrap();
    bundle.spec["linux"]["maskedPaths"] = json!(["/etc/secret", "/proc/kcore"]);
    let ran = bundle.run();
    assert_ne!(
        ran.code, 0,
        "a /dev/null that is no device is refused: {}",
        ran.stdout
    );
    assert!(!ran.stdout.contains("secret"));
    assert_eq!(
        fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(),
        core_pattern
    );
}

#[test]
fn attack_r3_null_device_swapped_while_paths_are_masked() {
    let core_pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let mut bundle = Bundle::new("stat -c %t:%T /etc/secret/* | sort | uniq -c");
    fs::create_dir(bundle.path("dev")).unwrap();
    bundle.mount("bind", bundle.path("dev"), "/dev", &["bind"]);
    fs::create_dir(bundle.rootfs("etc/secret")).unwrap();
    let secrets: Vec<String> = (0..BATCH).map(|i| format!("/etc/secret/{i}")).collect();
    for secret in &secrets {
        fs::write(bundle.rootfs(&secret[1..]), "secret").unwrap();
    }
    bundle.spec["linux"]["maskedPaths"] = json!(secrets);
    let _swapper = Swapper::new(
        "while :; do ln -s /proc/sys/kernel/core_pattern null; rm null; touch null; rm null; done",
        Path::new(bundle.path("dev")),
    );
    let begun = Instant::now();
    let mut races = 0;
    while races < RACES {
        assert!(begun.elapsed() < RACES_TIME, "{races} races only");
        let ran = bundle.run();
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let counted: Vec<&str> = ran.stdout.split_whitespace().collect();
        let all = BATCH.to_string();
        assert_eq!(counted, [&all, "1:3"], "what masks is the null device");
        races += BATCH;
    }
    assert_eq!(
        fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(),
        core_pattern
    );
}

#[test]
fn attack_r4_console_is_a_link() {
    let bundle = console_bundle(|bundle, sentinel| {
        symlink(sentinel.join("file"), bundle.rootfs("dev/console")).unwrap();
    });
    drop(bundle);
}

#[test]
fn attack_r4_terminals_are_a_link() {
    let bundle = console_bundle(|bundle, sentinel| {
        fs::remove_dir_all(bundle.rootfs("dev/pts")).unwrap();
        symlink(sentinel, bundle.rootfs("dev/pts")).unwrap();
    });
    drop(bundle);
}

/// Makes a container with a terminal in a `/dev` that the image has prepared.
fn console_bundle(prepare: impl FnOnce(&Bundle, &Path)) -> Bundle {
    let mut bundle = Bundle::new("echo x > /dev/console");
    let sentinel = Sentinel::new(&bundle);
    bundle.spec["mounts"]
        .as_array_mut()
        .unwrap()
        .retain(|mount| {
            let destination = mount["destination"].as_str().unwrap();
            destination == "/dev/pts" || !destination.starts_with("/dev")
        });
    fs::create_dir(bundle.rootfs("dev/pts")).unwrap();
    prepare(&bundle, &sentinel.directory);
    bundle.spec["process"]["terminal"] = json!(true);
    let ran = bundle.run();
    sentinel.assert_untouched();
    // Either refused, or the terminal was made inside the root.
    assert!(!ran.stdout.contains("untouched"));
    bundle
}

#[test]
fn attack_r5_proc_is_something_else() {
    let ip_forward = fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
    // A tmpfs over parts of /proc, laid out as the files that the runtime writes.
    let inside = output("cat /proc/sys/net/ipv4/ip_forward", |bundle| {
        bundle.spec["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1" });
        bundle.spec["process"]["oomScoreAdj"] = json!(100);
    });
    assert_eq!(inside, "1");
    assert_eq!(
        fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(),
        ip_forward
    );
    for destination in [
        "/proc/self/attr",
        "/proc/self",
        "/proc/sys",
        "/proc/thread-self",
    ] {
        let reason = refused(|bundle| bundle.mount("tmpfs", "tmpfs", destination, &[]));
        assert!(reason.contains("inside /proc"), "{destination}: {reason}");
    }
    let reason = refused(|bundle| {
        bundle.mount(
            "bind",
            "/proc/self/sched",
            "/proc/self/attr/exec",
            &["bind"],
        );
    });
    assert!(reason.contains("inside /proc"), "{reason}");
}

#[test]
fn attack_r6_dev_is_a_link() {
    for (target, keeps_tmpfs) in [
        ("/etc", true),
        ("/etc", false),
        ("/..", false),
        ("../../sentinel", false),
    ] {
        let mut bundle = Bundle::new("true");
        let sentinel = Sentinel::new(&bundle);
        fs::remove_dir(bundle.rootfs("dev")).unwrap();
        symlink(target, bundle.rootfs("dev")).unwrap();
        bundle.spec["mounts"]
            .as_array_mut()
            .unwrap()
            .retain(|mount| {
                keeps_tmpfs || !mount["destination"].as_str().unwrap().starts_with("/dev")
            });
        let ran = bundle.run();
        sentinel.assert_untouched();
        assert!(!Path::new("/etc/ptmx").exists() && !Path::new("/etc/null").exists());
        let outside: Vec<_> = fs::read_dir(&bundle.directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !["config.json", "rootfs", "sentinel", "state"].contains(&name.as_str()))
            .collect();
        assert_eq!(outside, Vec::<String>::new(), "{target}: {}", ran.stderr);
    }
}

#[test]
fn attack_r7_proc_or_sys_is_a_link() {
    for name in ["proc", "sys"] {
        let reason = refused(|bundle| {
            fs::remove_dir(bundle.rootfs(name)).unwrap();
            fs::create_dir_all(bundle.rootfs("elsewhere")).unwrap();
            symlink("elsewhere", bundle.rootfs(name)).unwrap();
        });
        assert!(reason.contains(&format!("/{name}")), "{reason}");
    }
}

/// Runs containers with volumes below a path that is swapped for a link to the host meanwhile. Each
/// volume's mount is a race.
fn race(options: &[&str], kind: &str) {
    let mut bundle = Bundle::new("true");
    let sentinel = Sentinel::new(&bundle);
    fs::create_dir_all(bundle.path("shared/real")).unwrap();
    bundle.mount("bind", bundle.path("shared"), "/shared", &["bind"]);
    let source = if kind == "bind" {
        bundle.path("volume")
    } else {
        "tmpfs"
    };
    fs::create_dir(bundle.path("volume")).unwrap();
    fs::write(bundle.path("volume/mine"), "").unwrap();
    for number in 0..BATCH {
        let target = format!("/shared/point/deep/volume{number}");
        bundle.mount(kind, source, &target, options);
    }
    bundle.spec["root"]["readonly"] = json!(false);
    let up = "../".repeat(12);
    let target = format!("{up}{}", sentinel.directory.display());
    let script = format!(
        "ln -s {target} link; while :; do mv -T link point; mv -T point link; mkdir -p point; rmdir point/deep/* point/deep point; done 2>/dev/null"
    );
    let _swapper = Swapper::new(&script, Path::new(bundle.path("shared")));
    let begun = Instant::now();
    let mut races = 0;
    while races < RACES {
        assert!(begun.elapsed() < RACES_TIME, "{races} races only");
        // It runs or is refused; either way nothing of it is on the host.
        let ran = bundle.run();
        assert!([0, 1].contains(&ran.code), "{}", ran.stderr);
        sentinel.assert_untouched();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(
            !mounts.contains(bundle.path("sentinel")),
            "a mount is on the host"
        );
        races += mounts_tried(&ran);
    }
}

/// How many of the volumes a run came to: all, or up to the one it was refused for.
fn mounts_tried(ran: &Ran) -> usize {
    if ran.code == 0 {
        return BATCH;
    }
    let rest = ran.stderr.split("/deep/volume").nth(1);
    let number = rest.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    let number = number.and_then(|digits| digits.parse::<usize>().ok());
    number.map_or(0, |number| number + 1)
}

#[test]
fn attack_r8_volume_target_is_swapped_during_the_mount() {
    race(&["bind"], "bind");
}

#[test]
fn attack_r9_mount_point_is_swapped_while_it_is_made() {
    race(&["size=64k"], "tmpfs");
}

#[test]
fn attack_r10_odd_users_of_exec() {
    let bundle = Bundle::new("exec sleep 1000");
    assert!(bundle.start() > 0);
    for user in [
        "1000:",
        " 0",
        "-1",
        "4294967296",
        "2147483648",
        "root",
        "",
        ":",
        "0x0",
    ] {
        let option = format!("--user={user}");
        let ran = bundle.exec(&[&option], "id");
        ran.exited(255).says("as user failed");
        assert_eq!(ran.stdout, "", "{user:?}");
    }
}

#[test]
fn attack_r12_inheritable_capabilities_are_none() {
    let script = "grep CapInh /proc/self/status";
    assert_eq!(output(script, |_| {}), "CapInh:\t0000000000000000");
    let bundle = Bundle::new("exec sleep 1000");
    assert!(bundle.start() > 0);
    assert_eq!(bundle.exec(&[], script).out(), "CapInh:\t0000000000000000");
    assert_eq!(
        bundle.exec(&["--cap", "CAP_CHOWN"], script).out(),
        "CapInh:\t0000000000000000"
    );
}

#[test]
fn attack_r13_groups_are_exactly_the_declared_ones() {
    let script = "grep Groups /proc/self/status | cut -f2- | tr -s ' '; id -g";
    let groups = |groups: serde_json::Value| {
        let inside = output(script, |bundle| {
            bundle.spec["process"]["user"] =
                json!({ "uid": 1000, "gid": 1000, "additionalGids": groups });
        });
        inside
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(groups(json!([])), ["1000"]);
    assert_eq!(groups(json!([5, 9])), ["5", "9", "1000"]);
}

#[test]
fn attack_r14_more_mappings_than_the_kernel_takes() {
    let reason = refused(|bundle| {
        bundle.map_users();
        let mappings: Vec<_> = (0..20_000)
            .map(|id| json!({ "containerID": id * 2, "hostID": 100_000 + id * 2, "size": 1 }))
            .collect();
        bundle.spec["linux"]["uidMappings"] = json!(mappings);
    });
    assert!(reason.contains("the kernel takes at most 340"), "{reason}");
}

/// With and without a cgroup namespace, with and without a user namespace of its own.
#[test]
fn attack_r15_the_cgroup_tree_is_read_only() {
    let script = "cd /sys/fs/cgroup; for d in . *; do [ -d $d ] || continue; \
                  mkdir $d/x 2>/dev/null && echo made $d/x; \
                  { echo 1 > $d/notify_on_release; } 2>/dev/null && echo written $d; \
                  { echo 1 > $d/cgroup.procs; } 2>/dev/null && echo joined $d; \
                  mount -o remount,bind,rw $d 2>/dev/null && echo remounted $d; done; echo done";
    for (mapped, own_view) in [(false, true), (true, true), (false, false), (true, false)] {
        let inside = output(script, |bundle| {
            bundle.capabilities(&["CAP_DAC_OVERRIDE"]);
            if mapped {
                bundle.map_users();
            }
            if !own_view {
                without_cgroup_namespace(bundle);
            }
        });
        assert_eq!(inside, "done", "mapped {mapped}, own view {own_view}");
    }
}

/// The host's groups are not there to be read either: each hierarchy shows the container's group as
/// its root, with nothing below.
#[test]
fn attack_r15_the_host_s_groups_are_not_visible() {
    let script = "for d in /sys/fs/cgroup/*; do [ -L $d ] || find $d/ -mindepth 1 -type d; done; \
                  cut -d: -f3 /proc/self/cgroup | sort -u; \
                  awk '$5 ~ \"^/sys/fs/cgroup/\" { print $4 }' /proc/self/mountinfo | sort -u";
    for mapped in [false, true] {
        let inside = output(script, |bundle| {
            if mapped {
                bundle.map_users();
            }
        });
        assert!(
            inside.split_whitespace().all(|word| word == "/"),
            "{inside}"
        );
    }
}

fn without_cgroup_namespace(bundle: &mut Bundle) {
    let namespaces = bundle.spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace| namespace["type"] != "cgroup");
}

#[test]
fn attack_r16_release_agent_is_out_of_reach() {
    let script = "unshare -Urm sh -c 'mkdir -p /tmp/c; mount -t cgroup -o rdma,memory x /tmp/c && echo mounted' 2>&1; \
                  mount -t cgroup -o memory x /tmp 2>&1 && echo mounted; true";
    let inside = output(script, |bundle| {
        let profile = wharf_seccomp::default_profile(
            &["CAP_CHOWN"],
            wharf_seccomp::Arch::native(),
            wharf_seccomp::KernelVersion::running(),
        );
        bundle.spec["linux"]["seccomp"] = serde_json::to_value(profile).unwrap();
        bundle.spec["process"]["user"]["uid"] = json!(1000);
    });
    assert!(!inside.contains("mounted"), "{inside}");
    assert!(
        inside.contains("not permitted") || inside.contains("denied"),
        "{inside}"
    );
}

#[test]
fn attack_r17_volumes_over_the_kernel_s_trees() {
    for destination in [
        "/proc",
        "/proc/",
        "/sys",
        "/",
        "",
        "/../..",
        "/proc/self",
        "//proc/sys/kernel",
    ] {
        let reason = refused(|bundle| bundle.mount("bind", "/tmp", destination, &["bind"]));
        assert!(
            [
                "reserved for the kernel",
                "not inside the root",
                "inside /proc"
            ]
            .iter()
            .any(|text| reason.contains(text)),
            "{destination:?}: {reason}"
        );
    }
    // Through a link of the image's as well.
    let reason = refused(|bundle| {
        symlink("/proc/sys/kernel", bundle.rootfs("innocent")).unwrap();
        bundle.mount("bind", "/tmp", "/innocent", &["bind"]);
    });
    assert!(reason.contains("inside /proc"), "{reason}");
}

#[test]
fn attack_r22_passwd_is_a_fifo_a_link_or_endless() {
    let home = |prepare: &dyn Fn(&Path)| {
        let begun = Instant::now();
        let home = output("echo $HOME", |bundle| {
            let passwd = bundle.rootfs("etc/passwd");
            fs::remove_file(&passwd).unwrap();
            prepare(&passwd);
        });
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "it does not hang"
        );
        home
    };
    assert_eq!(
        home(&|path| {
            rustix::fs::mkfifoat(
                rustix::fs::CWD,
                path,
                rustix::fs::Mode::from_raw_mode(0o644),
            )
            .unwrap();
        }),
        "/"
    );
    assert_eq!(home(&|path| symlink("/dev/zero", path).unwrap()), "/");
    assert_eq!(home(&|path| symlink("/proc/self/fd/3", path).unwrap()), "/");
    assert_eq!(
        home(&|path| {
            fs::File::create(path).unwrap().set_len(10 << 30).unwrap();
        }),
        "/"
    );
}
