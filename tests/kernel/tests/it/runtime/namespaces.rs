//! Namespaces, new and joined.

use std::fs;

use serde_json::json;
use wharf_tests_kernel::bundle::Bundle;

use super::output;

const KINDS: [(&str, &str); 8] = [
    ("cgroup", "cgroup"),
    ("ipc", "ipc"),
    ("mnt", "mount"),
    ("net", "network"),
    ("pid", "pid"),
    ("time", "time"),
    ("user", "user"),
    ("uts", "uts"),
];

const LIST: &str =
    "for kind in cgroup ipc mnt net pid time user uts; do readlink /proc/self/ns/$kind; done";

fn own() -> Vec<String> {
    let link = |(file, _): (&str, &str)| fs::read_link(format!("/proc/self/ns/{file}")).unwrap();
    KINDS
        .map(link)
        .map(|link| link.to_str().unwrap().to_owned())
        .to_vec()
}

#[test]
fn all_namespaces_can_be_new() {
    let inside = output(LIST, |bundle| {
        bundle.map_users();
        bundle.namespace("time", None);
    });
    for (own, inside) in own().iter().zip(inside.lines()) {
        assert_ne!(own, inside);
    }
}

#[test]
fn namespaces_not_listed_are_the_caller_s() {
    let inside = output(LIST, |bundle| {
        bundle.spec["linux"]["namespaces"] = json!([{ "type": "mount" }]);
        bundle.spec.as_object_mut().unwrap().remove("hostname");
        // A file system of a namespace is mounted by its owner only; all are the host's here.
        bundle.spec["mounts"]
            .as_array_mut()
            .unwrap()
            .retain(|mount| mount["type"] != "cgroup");
    });
    for ((own, inside), (file, _)) in own().iter().zip(inside.lines()).zip(KINDS) {
        assert_eq!(own == inside, file != "mnt", "{file}");
    }
}

#[test]
fn all_namespaces_can_be_joined() {
    let mut first = Bundle::new("exec sleep 1000");
    first.map_users();
    first.namespace("time", None);
    let pid = first.start();
    let of = |file| fs::read_link(format!("/proc/{pid}/ns/{file}")).unwrap();
    let expected: Vec<String> = KINDS
        .map(|(file, _)| of(file).to_str().unwrap().to_owned())
        .to_vec();
    let inside = output(LIST, |bundle| {
        for (file, kind) in KINDS {
            bundle.namespace(kind, Some(&format!("/proc/{pid}/ns/{file}")));
        }
        bundle.spec.as_object_mut().unwrap().remove("hostname");
        bundle.namespace("mount", None);
        let namespaces = bundle.spec["linux"]["namespaces"].as_array_mut().unwrap();
        assert_eq!(namespaces.len(), KINDS.len());
    });
    for ((expected, inside), (file, _)) in expected.iter().zip(inside.lines()).zip(KINDS) {
        assert_eq!(expected == inside, file != "mnt", "{file}");
    }
}

#[test]
fn a_network_namespace_is_joined_by_path() {
    let first = Bundle::new("exec sleep 1000");
    let pid = first.start();
    let expected = fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    let inside = output("readlink /proc/self/ns/net", |bundle| {
        bundle.namespace("network", Some(&format!("/proc/{pid}/ns/net")));
    });
    assert_eq!(inside, expected.to_str().unwrap());
}

#[test]
fn a_process_namespace_is_joined() {
    let first = Bundle::new("exec sleep 1234");
    let pid = first.start();
    let inside = output("ps; echo $$", |bundle| {
        bundle.namespace("pid", Some(&format!("/proc/{pid}/ns/pid")));
    });
    assert!(inside.contains("sleep 1234"), "{inside}");
    assert!(inside.lines().last().unwrap() != "1", "{inside}");
}

#[test]
fn users_are_mapped() {
    let inside = output(
        "cat /proc/self/uid_map; id -u; stat -c %u /dev/mqueue; echo x >/dev/null",
        |bundle| {
            bundle.map_users();
        },
    );
    let words: Vec<&str> = inside.split_whitespace().collect();
    assert_eq!(words, ["0", "100000", "65536", "0", "0"]);
}

#[test]
fn names_are_the_container_s() {
    let before = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let inside = output("hostname; cat /proc/sys/kernel/domainname", |bundle| {
        bundle.spec["hostname"] = json!("box");
        bundle.spec["domainname"] = json!("example.org");
    });
    assert_eq!(inside, "box\nexample.org");
    assert_eq!(
        fs::read_to_string("/proc/sys/kernel/hostname").unwrap(),
        before
    );
}

#[test]
fn clocks_are_set_off() {
    let inside = output(
        "cat /proc/uptime; cat /proc/self/timens_offsets",
        |bundle| {
            bundle.namespace("time", None);
            bundle.spec["linux"]["timeOffsets"] = json!({
                "boottime": { "secs": 1_000_000, "nanosecs": 0 },
                "monotonic": { "secs": 500_000, "nanosecs": 7 },
            });
        },
    );
    let uptime: f64 = inside.split_whitespace().next().unwrap().parse().unwrap();
    assert!(uptime > 1_000_000.0, "{inside}");
    let words: Vec<&str> = inside.split_whitespace().skip(2).collect();
    assert_eq!(
        words,
        ["monotonic", "500000", "7", "boottime", "1000000", "0"]
    );
}

#[test]
fn the_cgroup_namespace_begins_at_the_container_s_group() {
    let inside = output("cut -d: -f2,3 /proc/self/cgroup", |bundle| {
        bundle.namespace("cgroup", None);
    });
    // Hierarchies in which the container has no group show the caller's.
    let roots = inside.lines().filter(|line| line.ends_with(":/")).count();
    assert!(roots > 0 && !inside.contains("wt-runtime"), "{inside}");
}

#[test]
fn loopback_is_up_in_a_new_network_namespace() {
    let inside = output("ip -o addr show dev lo; ip -o link | wc -l", |_| {});
    assert!(inside.contains("127.0.0.1/8"), "{inside}");
    assert_eq!(inside.lines().last(), Some("1"));
}
