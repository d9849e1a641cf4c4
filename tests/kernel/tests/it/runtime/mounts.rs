//! Mounts, devices, and what is hidden.

use std::fs;
use std::os::unix::fs::symlink;

use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount,
};
use rustix::thread::ThreadNameSpaceType;
use serde_json::json;
use wharf_tests_kernel::bundle::Bundle;

use super::{output, refused};

/// tmpfs.
const TMPFS_MAGIC: rustix::fs::FsWord = 0x0102_1994;

/// A directory of the host with a file in it, for binding.
fn volume(bundle: &Bundle) -> &'static str {
    fs::create_dir(bundle.path("volume")).unwrap();
    fs::write(bundle.path("volume/file"), "contents").unwrap();
    bundle.path("volume")
}

#[test]
fn the_default_file_systems_are_there() {
    let mounts = output("cut -d' ' -f2,3 /proc/self/mounts", |_| {});
    for line in [
        "/proc proc",
        "/dev tmpfs",
        "/dev/pts devpts",
        "/dev/shm tmpfs",
        "/dev/mqueue mqueue",
        "/sys sysfs",
    ] {
        assert!(
            mounts.lines().any(|mount| mount == line),
            "{line} in {mounts}"
        );
    }
    assert!(
        !mounts.contains("/tmp"),
        "the host's mounts are gone: {mounts}"
    );
}

#[test]
fn the_default_devices_and_links_are_there() {
    let script = "cd /dev; stat -c '%n %t:%T %a' full null random tty urandom zero; \
                  for link in fd ptmx stdin stdout stderr; do readlink $link; done";
    assert_eq!(
        output(script, |_| {}),
        "full 1:7 666\nnull 1:3 666\nrandom 1:8 666\ntty 5:0 666\nurandom 1:9 666\nzero 1:5 666\n\
         /proc/self/fd\npts/ptmx\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2"
    );
}

#[test]
fn devices_are_made_with_mode_and_owner() {
    let inside = output(
        "stat -c '%n %F %t:%T %a %u:%g' /dev/mine /dev/deep/fifo",
        |bundle| {
            bundle.spec["linux"]["devices"] = json!([
                { "path": "/dev/mine", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 5, "gid": 6 },
                { "path": "/dev/deep/fifo", "type": "p", "major": 0, "minor": 0 },
            ]);
        },
    );
    assert_eq!(
        inside,
        "/dev/mine character special file 1:3 640 5:6\n/dev/deep/fifo fifo 0:0 666 0:0"
    );
}

#[test]
fn a_directory_is_bound_with_its_options() {
    let script = "cat /data/file; touch /data/new 2>/dev/null || echo read-only; \
                  grep ' /data ' /proc/self/mounts | cut -d' ' -f4 | tr , '\n' | grep -E '^(ro|nosuid|noexec|noatime)$'";
    let inside = output(script, |bundle| {
        let volume = volume(bundle);
        bundle.mount(
            "bind",
            volume,
            "/data",
            &["rbind", "ro", "nosuid", "noexec", "noatime"],
        );
    });
    assert_eq!(inside, "contentsread-only\nro\nnosuid\nnoexec\nnoatime");
}

#[test]
fn a_file_is_bound_where_none_was() {
    let inside = output("cat /deep/down/here", |bundle| {
        let volume = volume(bundle);
        bundle.mount(
            "bind",
            &format!("{volume}/file"),
            "/deep/down/here",
            &["bind"],
        );
    });
    assert_eq!(inside, "contents");
}

#[test]
fn a_mount_on_a_dangling_link_lands_where_it_points() {
    let inside = output("cat /run/stub; readlink /etc/resolv.conf", |bundle| {
        symlink("../run/stub", bundle.rootfs("etc/resolv.conf")).unwrap();
        let volume = volume(bundle);
        bundle.mount(
            "bind",
            &format!("{volume}/file"),
            "/etc/resolv.conf",
            &["bind"],
        );
    });
    assert_eq!(inside, "contents../run/stub");
}

#[test]
fn recursive_options_reach_the_mounts_below() {
    // The mounts are made in a namespace that only this test's thread and its children are in.
    wharf_sys::namespace::unshare(ThreadNameSpaceType::MOUNT).unwrap();
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).unwrap();
    let holder = Bundle::new("true");
    let outer = holder.path("outer");
    let inner = holder.path("outer/inner");
    for path in [outer, inner] {
        fs::create_dir(path).unwrap();
        mount("tmpfs", path, "tmpfs", MountFlags::empty(), c"mode=755").unwrap();
    }
    let script = "touch /outer/x 2>/dev/null && echo writable; \
                  touch /outer/inner/x 2>/dev/null && echo writable below; true";
    let inside = |option| {
        output(script, |bundle| {
            bundle.mount("bind", outer, "/outer", &["rbind", option]);
        })
    };
    assert_eq!(inside("ro"), "writable below");
    assert_eq!(inside("rro"), "");
    unmount(inner, UnmountFlags::empty()).unwrap();
    unmount(outer, UnmountFlags::empty()).unwrap();
}

#[test]
fn mounts_do_not_propagate_unless_asked() {
    let inside = output("grep ' /data ' /proc/self/mountinfo", |bundle| {
        let volume = volume(bundle);
        bundle.mount("bind", volume, "/data", &["bind", "rprivate"]);
    });
    assert!(
        !inside.contains("shared:") && !inside.contains("master:"),
        "{inside}"
    );
    let inside = output("grep ' /data ' /proc/self/mountinfo", |bundle| {
        let volume = volume(bundle);
        bundle.mount("bind", volume, "/data", &["bind", "rshared"]);
    });
    assert!(inside.contains("shared:"), "{inside}");
    let inside = output(
        "grep ' / / ' /proc/self/mountinfo || cat /proc/self/mountinfo",
        |bundle| {
            bundle.spec["linux"]["rootfsPropagation"] = json!("shared");
        },
    );
    assert!(
        inside.lines().next().unwrap().contains("shared:"),
        "{inside}"
    );
}

#[test]
fn a_tmpfs_has_its_size_and_is_filled() {
    let script = "cat /etc/passwd | head -n 1; stat -c '%a %u' /etc/deep/file; touch /etc/new; \
                  grep ' /etc ' /proc/self/mounts | grep -o 'size=[0-9a-z]*'";
    let inside = output(script, |bundle| {
        fs::create_dir(bundle.rootfs("etc/deep")).unwrap();
        fs::write(bundle.rootfs("etc/deep/file"), "x").unwrap();
        std::os::unix::fs::chown(bundle.rootfs("etc/deep/file"), Some(7), Some(7)).unwrap();
        bundle.mount("tmpfs", "tmpfs", "/etc", &["size=64k", "tmpcopyup"]);
    });
    assert_eq!(inside, "root:x:0:0::/root:/bin/sh\n644 7\nsize=64k");
}

#[test]
fn an_id_mapped_mount_shows_mapped_owners() {
    let mut bundle = Bundle::new("stat -c '%u:%g' /data/file");
    let volume = volume(&bundle);
    bundle.mount("bind", volume, "/data", &["bind"]);
    let mount = bundle.spec["mounts"]
        .as_array_mut()
        .unwrap()
        .last_mut()
        .unwrap();
    mount["uidMappings"] = json!([{ "containerID": 0, "hostID": 5000, "size": 10 }]);
    mount["gidMappings"] = json!([{ "containerID": 0, "hostID": 6000, "size": 10 }]);
    let ran = bundle.run();
    // tmpfs, the guest's root, can be mapped since Linux 6.3.
    if rustix::fs::statfs(volume).unwrap().f_type == TMPFS_MAGIC && ran.code != 0 {
        ran.says("set the attributes: invalid argument");
        return;
    }
    assert_eq!(ran.out(), "5000:6000");
}

#[test]
fn paths_are_masked_and_read_only() {
    let script = "cat /etc/secret /proc/timer_list; ls /etc/dir; touch /etc/dir/x 2>/dev/null || echo sealed; \
                  touch /tmp/locked/x 2>/dev/null || echo locked; touch /tmp/x && echo open";
    let inside = output(script, |bundle| {
        fs::write(bundle.rootfs("etc/secret"), "secret").unwrap();
        fs::create_dir(bundle.rootfs("etc/dir")).unwrap();
        fs::write(bundle.rootfs("etc/dir/secret"), "secret").unwrap();
        fs::create_dir(bundle.rootfs("tmp/locked")).unwrap();
        bundle.spec["linux"]["maskedPaths"] = json!([
            "/etc/secret",
            "/etc/dir",
            "/proc/timer_list",
            "/proc/acpi",
            "/not/there"
        ]);
        bundle.spec["linux"]["readonlyPaths"] = json!(["/tmp/locked", "/not/there"]);
        bundle.spec["root"]["readonly"] = json!(false);
    });
    assert_eq!(inside, "sealed\nlocked\nopen");
}

#[test]
fn the_root_is_read_only_when_asked() {
    let script = "touch /x 2>/dev/null || echo read-only";
    assert_eq!(output(script, |_| {}), "read-only");
    assert_eq!(
        output(script, |bundle| bundle.spec["root"]["readonly"] =
            json!(false)),
        ""
    );
}

#[test]
fn a_read_only_dev_still_has_its_devices() {
    let inside = output(
        "touch /dev/x 2>/dev/null || echo read-only; echo x >/dev/null && echo written",
        |bundle| {
            for mount in bundle.spec["mounts"].as_array_mut().unwrap() {
                if mount["destination"] == "/dev" {
                    mount["options"] = json!(["nosuid", "ro", "mode=755"]);
                }
            }
        },
    );
    assert_eq!(inside, "read-only\nwritten");
}

#[test]
fn the_working_directory_is_made() {
    let inside = output("pwd", |bundle| {
        bundle.spec["process"]["cwd"] = json!("/made/here");
        bundle.spec["root"]["readonly"] = json!(false);
    });
    assert_eq!(inside, "/made/here");
}

#[test]
fn kernel_parameters_of_own_namespaces_are_set() {
    let script = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax";
    let inside = output(script, |bundle| {
        bundle.spec["linux"]["sysctl"] =
            json!({ "net.ipv4.ip_forward": "1", "kernel.msgmax": "4096" });
    });
    assert_eq!(inside, "1\n4096");
}

#[test]
fn kernel_parameters_of_the_host_are_refused() {
    for name in [
        "kernel.panic",
        "vm.swappiness",
        "kernel/core_pattern",
        "net...etc.passwd",
    ] {
        let reason = refused(|bundle| {
            bundle.spec["linux"]["sysctl"] = json!({ name: "1" });
        });
        assert!(reason.contains("sysctl"), "{name}: {reason}");
    }
    let reason = refused(|bundle| {
        bundle.spec["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1" });
        bundle.namespace("network", None);
        let namespaces = bundle.spec["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "network");
        bundle.spec["mounts"]
            .as_array_mut()
            .unwrap()
            .retain(|mount| mount["type"] != "sysfs");
    });
    assert!(
        reason.contains("not allowed in the host's network namespace"),
        "{reason}"
    );
}

#[test]
fn long_options_of_a_file_system_are_passed() {
    let inside = output("cat /merged/file | head -c 8", |bundle| {
        let mut lower = Vec::new();
        for number in 0..12 {
            let directory = bundle.path(&format!("lower-with-a-rather-long-name-{number}"));
            fs::create_dir(directory).unwrap();
            lower.push(directory);
        }
        fs::write(format!("{}/file", lower[11]), "contents").unwrap();
        let option = format!("lowerdir={}", lower.join(":"));
        assert!(option.len() > 255);
        bundle.mount("overlay", "overlay", "/merged", &[&option]);
    });
    assert_eq!(inside, "contents");
}

#[test]
fn impossible_mounts_are_explained() {
    let reason = refused(|bundle| bundle.mount("bind", "/not/there", "/data", &["bind"]));
    assert!(
        reason.contains(r#"error mounting \"/not/there\" to rootfs at \"/data\""#),
        "{reason}"
    );
    assert!(reason.contains("no such file or directory"), "{reason}");
    let reason = refused(|bundle| bundle.mount("nosuchfs", "x", "/data", &[]));
    assert!(reason.contains("no such device"), "{reason}");
    let reason = refused(|bundle| bundle.mount("tmpfs", "x", "/data", &["nosuchoption"]));
    assert!(reason.contains("invalid argument"), "{reason}");
}

#[test]
fn cgroups_are_shown() {
    let inside = output(
        "cat /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/pids/cgroup.procs 2>/dev/null; true",
        |bundle| {
            bundle.namespace("cgroup", None);
        },
    );
    assert!(
        inside.lines().any(|line| line == "1"),
        "the first process is in its group: {inside}"
    );
}
