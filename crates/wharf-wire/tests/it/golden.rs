//! Answers of dockerd 20.10 (API 1.41) and bodies of the docker client 28.2, read and written again.
//!
//! Where the result differs, the difference is listed here: members that later versions of the API added
//! (`+`), or dropped or leave out at their zero value (`-`).

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn read(file: &str) -> String {
    std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("testdata")
            .join(file),
    )
    .unwrap()
}

/// Reads a document as a `T`, writes it, and returns what was added, lost and changed.
fn round_trip<T: DeserializeOwned + Serialize>(text: &str) -> Vec<String> {
    let original: Value = serde_json::from_str(text).unwrap();
    let typed: T = serde_json::from_str(text).unwrap();
    let mut differences = Vec::new();
    compare(
        "",
        &original,
        &serde_json::to_value(&typed).unwrap(),
        &mut differences,
    );
    differences
}

fn compare(path: &str, before: &Value, after: &Value, out: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for (key, value) in before {
                match after.get(key) {
                    Some(other) => compare(&format!("{path}.{key}"), value, other, out),
                    None => out.push(format!("-{path}.{key} {value}")),
                }
            }
            let added = after.iter().filter(|(key, _)| !before.contains_key(*key));
            out.extend(added.map(|(key, value)| format!("+{path}.{key} {value}")));
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (index, (value, other)) in before.iter().zip(after).enumerate() {
                compare(&format!("{path}[{index}]"), value, other, out);
            }
        }
        _ if before == after => {}
        _ => out.push(format!("{path} {before} -> {after}")),
    }
}

fn check<T: DeserializeOwned + Serialize>(file: &str, expected: &[&str]) {
    assert_eq!(round_trip::<T>(&read(file)), expected, "{file}");
}

#[test]
fn bodies_of_create_keep_everything_the_client_sends() {
    check::<wharf_wire::ContainerCreateBody>("create_plain.json", &[]);
    check::<wharf_wire::ContainerCreateBody>("create_full.json", &[]);
}

#[test]
fn containers_are_as_dockerd_writes_them() {
    check::<wharf_wire::ContainerInspect>(
        "container_inspect.json",
        &[
            "-.HostConfig.KernelMemory 0",
            "-.HostConfig.KernelMemoryTCP 0",
            "+.NetworkSettings.Networks.none.GwPriority 0",
            "+.NetworkSettings.Networks.none.DNSNames null",
        ],
    );
    check::<Vec<wharf_wire::ContainerSummary>>(
        "container_list.json",
        &[
            "+[0].NetworkSettings.Networks.none.GwPriority 0",
            "+[0].NetworkSettings.Networks.none.DNSNames null",
        ],
    );
    check::<wharf_wire::TopResult>("top.json", &[]);
    check::<Vec<wharf_wire::ChangeItem>>("changes.json", &[]);
    check::<wharf_wire::ExecInspect>("exec_inspect.json", &[]);
}

#[test]
fn images_are_as_dockerd_writes_them() {
    check::<Vec<wharf_wire::ImageSummary>>("image_list.json", &["[0].RepoDigests null -> []"]);
    let lost = round_trip::<wharf_wire::ImageInspect>(&read("image_inspect.json"));
    let lost: Vec<&str> = lost
        .iter()
        .map(|line| line.split_once(' ').map_or(line.as_str(), |(path, _)| path))
        .collect();
    let container_settings = [
        "Hostname",
        "Domainname",
        "User",
        "AttachStdin",
        "AttachStdout",
        "AttachStderr",
        "Tty",
        "OpenStdin",
        "StdinOnce",
        "Image",
        "Volumes",
        "WorkingDir",
        "Entrypoint",
        "OnBuild",
    ];
    let expected: Vec<String> = ["-.Container".to_owned(), "-.ContainerConfig".to_owned()]
        .into_iter()
        .chain(container_settings.map(|name| format!("-.Config.{name}")))
        .collect();
    assert_eq!(lost, expected);
    check::<Vec<wharf_wire::ImageHistoryItem>>("image_history.json", &[]);
}

#[test]
fn the_engine_is_as_dockerd_writes_it() {
    check::<wharf_wire::Version>("version.json", &[]);
    check::<wharf_wire::SystemInfo>(
        "info.json",
        &["-.InitCommit.Expected \"\"", "+.CDISpecDirs null"],
    );
    check::<wharf_wire::DiskUsage>(
        "disk_usage.json",
        &[
            ".Images[0].RepoDigests null -> []",
            "+.Containers[0].NetworkSettings.Networks.none.GwPriority 0",
            "+.Containers[0].NetworkSettings.Networks.none.DNSNames null",
            ".BuildCache null -> []",
            "-.BuilderSize 0",
        ],
    );
}

#[test]
fn networks_and_volumes_are_as_dockerd_writes_them() {
    check::<Vec<wharf_wire::NetworkInspect>>(
        "network_list.json",
        &["+[0].EnableIPv4 false", "+[1].EnableIPv4 false"],
    );
    check::<wharf_wire::NetworkInspect>("network_inspect.json", &["+.EnableIPv4 false"]);
    check::<wharf_wire::VolumeList>("volume_list.json", &[]);
}

#[test]
fn streams_of_documents_are_as_dockerd_writes_them() {
    for line in read("events.jsonl").lines() {
        assert_eq!(round_trip::<wharf_wire::Event>(line), [""; 0], "{line}");
    }
    for line in read("load.jsonl").lines() {
        assert_eq!(round_trip::<wharf_wire::Progress>(line), [""; 0], "{line}");
    }
}

#[test]
fn null_is_zero_everywhere() {
    let nulls = |value: Value| -> String {
        let Value::Object(map) = value else {
            panic!("a document is an object")
        };
        Value::Object(map.into_iter().map(|(key, _)| (key, Value::Null)).collect()).to_string()
    };
    fn same<T: Default + PartialEq + std::fmt::Debug + Serialize + DeserializeOwned>(
        nulls: impl Fn(Value) -> String,
    ) {
        let text = nulls(serde_json::to_value(T::default()).unwrap());
        assert_eq!(
            serde_json::from_str::<T>(&text).unwrap(),
            T::default(),
            "{text}"
        );
    }
    same::<wharf_wire::ContainerCreateBody>(nulls);
    same::<wharf_wire::HostConfig>(nulls);
    same::<wharf_wire::ContainerInspect>(nulls);
    same::<wharf_wire::ImageInspect>(nulls);
    same::<wharf_wire::SystemInfo>(nulls);
    same::<wharf_wire::ExecCreateBody>(nulls);
    same::<wharf_wire::Event>(nulls);
}
