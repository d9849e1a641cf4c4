//! What the process is when its program begins.

use std::fs;
use std::io::{IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use serde_json::{Value, json};
use wharf_tests_kernel::bundle::Bundle;

use super::{output, refused};

const CAPABILITIES: &str = "grep -E '^Cap' /proc/self/status | tr '\\t' ' '";

#[test]
fn all_five_capability_sets_are_set() {
    let inside = output(CAPABILITIES, |bundle| {
        bundle.spec["process"]["capabilities"] = json!({
            "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_SYS_ADMIN", "CAP_NOT_YET_KNOWN"],
            "permitted": ["CAP_CHOWN", "CAP_KILL"],
            "effective": ["CAP_KILL"],
            "inheritable": ["CAP_CHOWN"],
            "ambient": ["CAP_CHOWN"],
        });
        bundle.spec["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    });
    // Of a user's sets, execve keeps the ambient ones.
    assert_eq!(
        inside,
        "CapInh: 0000000000000001\nCapPrm: 0000000000000001\nCapEff: 0000000000000001\n\
         CapBnd: 0000000000200021\nCapAmb: 0000000000000001"
    );
}

#[test]
fn all_capabilities_are_those_the_runtime_has() {
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let own = own
        .lines()
        .find(|line| line.starts_with("CapPrm"))
        .unwrap()
        .replace('\t', " ");
    let inside = output(CAPABILITIES, |bundle| {
        let ran = bundle.runtime(&["features"]);
        let features: Value = serde_json::from_str(ran.out()).unwrap();
        let all = features["linux"]["capabilities"].clone();
        bundle.spec["process"]["capabilities"] =
            json!({ "bounding": all, "effective": all, "permitted": all });
    });
    assert!(inside.contains(&own), "{own} in {inside}");
}

#[test]
fn no_capabilities_are_none() {
    let inside = output(CAPABILITIES, |bundle| {
        bundle.spec["process"]
            .as_object_mut()
            .unwrap()
            .remove("capabilities");
    });
    assert!(
        inside
            .lines()
            .all(|line| line.ends_with(" 0000000000000000")),
        "{inside}"
    );
}

#[test]
fn limits_are_set_and_clamped() {
    let mut bundle = Bundle::new("ulimit -n; ulimit -c; ulimit -u");
    bundle.spec["process"]["rlimits"] = json!([
        { "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 },
        { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 },
    ]);
    assert!(bundle.run().out().starts_with("100\n0\n"));
    let reason = refused(|bundle| {
        bundle.spec["process"]["rlimits"] = json!([{ "type": "RLIMIT_X", "soft": 1, "hard": 1 }]);
    });
    assert!(reason.contains("RLIMIT_X"), "{reason}");
}

#[test]
fn scheduling_priorities_and_score_are_set() {
    let script = "cut -d' ' -f19,41 /proc/self/stat; ionice -p $$; cat /proc/self/oom_score_adj; umask; uname -m";
    let inside = output(script, |bundle| {
        let process = &mut bundle.spec["process"];
        process["scheduler"] = json!({ "policy": "SCHED_BATCH", "nice": 5 });
        process["ioPriority"] = json!({ "class": "IOPRIO_CLASS_BE", "priority": 6 });
        process["oomScoreAdj"] = json!(123);
        process["user"]["umask"] = json!(0o27);
        bundle.spec["linux"]["personality"] = json!({ "domain": "LINUX32" });
    });
    for text in ["5 3\n", "best-effort: prio 6", "123\n0027\n"] {
        assert!(inside.contains(text), "{text} in {inside}");
    }
    assert!(inside.ends_with("86"), "a 32-bit machine: {inside}");
}

#[test]
fn home_is_the_user_s_when_it_is_not_given() {
    let home = |uid: u32| {
        output("echo $HOME", |bundle| {
            bundle.spec["process"]["user"]["uid"] = json!(uid);
        })
    };
    assert_eq!(
        (home(0).as_str(), home(1000).as_str(), home(7).as_str()),
        ("/root", "/home/me", "/")
    );
    let given = output("echo $HOME", |bundle| {
        bundle.spec["process"]["env"]
            .as_array_mut()
            .unwrap()
            .push(json!("HOME=/given"));
    });
    assert_eq!(given, "/given");
}

#[test]
fn programs_that_cannot_be_run_are_explained() {
    let reason = |program: &str| {
        refused(|bundle| {
            fs::write(bundle.rootfs("bin/plain"), "x").unwrap();
            fs::write(bundle.rootfs("bin/foreign"), "x").unwrap();
            fs::set_permissions(
                bundle.rootfs("bin/foreign"),
                fs::Permissions::from_mode(0o755),
            )
            .unwrap();
            bundle.spec["process"]["args"] = json!([program]);
        })
    };
    for (program, expected) in [
        (
            "nosuch",
            r#"exec: \"nosuch\": executable file not found in $PATH"#,
        ),
        (
            "/nosuch",
            r#"exec: \"/nosuch\": stat /nosuch: no such file or directory"#,
        ),
        ("plain", r#"exec: \"plain\": permission denied"#),
        ("/bin/plain", r#"exec: \"/bin/plain\": permission denied"#),
        ("/etc", r#"exec: \"/etc\": is a directory"#),
        ("/bin/foreign", "exec /bin/foreign: exec format error"),
    ] {
        let reason = reason(program);
        assert!(reason.contains(expected), "{expected} in {reason}");
    }
}

#[test]
fn a_filter_is_installed_with_and_without_new_privileges() {
    for no_new_privileges in [true, false] {
        let script = "mkdir /tmp/x 2>&1; grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status; grep CapEff /proc/self/status";
        let inside = output(script, |bundle| {
            bundle.spec["process"]["noNewPrivileges"] = json!(no_new_privileges);
            bundle.spec["linux"]["seccomp"] = json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "architectures": ["SCMP_ARCH_X86_64"],
                "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28 }],
            });
        });
        assert!(inside.contains("No space left on device"), "{inside}");
        assert!(inside.contains("Seccomp:\t2"), "{inside}");
        assert_eq!(
            inside.contains("NoNewPrivs:\t1"),
            no_new_privileges,
            "{inside}"
        );
        assert!(
            inside.contains("CapEff:\t0000000020000420"),
            "nothing is kept for the filter: {inside}"
        );
    }
}

#[test]
fn a_filter_that_kills_kills() {
    let mut bundle = Bundle::new("mkdir /tmp/x; echo never");
    bundle.spec["process"]["args"] = json!(["mkdir", "/tmp/x"]);
    bundle.spec["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS" }],
    });
    bundle.run().exited(128 + 31);
}

#[test]
fn the_listener_of_a_filter_is_handed_over() {
    let mut bundle = Bundle::new("true");
    let socket = bundle.path("listener");
    let listener = UnixListener::bind(socket).unwrap();
    bundle.spec["process"]["args"] = json!(["sleep", "1000"]);
    bundle.spec["annotations"] = json!({ "for": "the listener" });
    bundle.spec["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": socket,
        "listenerMetadata": "hello",
        "syscalls": [{ "names": ["swapon"], "action": "SCMP_ACT_NOTIFY" }],
    });
    bundle.create();
    let (mut connection, _) = listener.accept().unwrap();
    let mut text = vec![0; 65536];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut buffers = [IoSliceMut::new(&mut text)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let length = rustix::net::recvmsg(&connection, &mut buffers, &mut control, flags)
        .unwrap()
        .bytes;
    let fd = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    text.truncate(length);
    connection.read_to_end(&mut text).unwrap();
    let state: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(state["fds"], json!(["seccompFd"]));
    assert_eq!(state["metadata"], "hello");
    assert_eq!(state["pid"], bundle.pid());
    assert_eq!(
        state["state"]["annotations"],
        json!({ "for": "the listener" })
    );
    let listener = fd.unwrap();
    let path = format!(
        "/proc/self/fd/{}",
        std::os::fd::AsRawFd::as_raw_fd(&listener)
    );
    let link = fs::read_link(path);
    assert_eq!(link.unwrap().to_str(), Some("anon_inode:seccomp notify"));
    bundle.runtime(&["start", &bundle.id]).succeeded();
}

#[test]
fn configurations_that_make_no_sense_are_refused() {
    for (member, value, reason) in [
        ("/process/cwd", json!("relative"), "not an absolute path"),
        ("/process/args", json!([]), "process.args"),
        (
            "/process/user/uid",
            json!(4_294_967_295_u32),
            "not a user id",
        ),
        ("/process/args", json!(["a\0b"]), "contains a NUL"),
        (
            "/linux/rootfsPropagation",
            json!("sideways"),
            "no such propagation",
        ),
        (
            "/linux/intelRdt",
            json!({ "closID": "x" }),
            "intelRdt is not supported",
        ),
        ("/process/apparmorProfile", json!("p"), "AppArmor"),
        ("/hostname", json!("x".repeat(65)), "sethostname"),
        ("/root/path", json!("nowhere"), "open the root"),
    ] {
        let text = refused(|bundle| {
            let (parent, name) = member.rsplit_once('/').unwrap();
            bundle.spec.pointer_mut(parent).unwrap()[name] = value;
        });
        assert!(text.contains(reason), "{reason} in {text}");
    }
}
