use super::*;

const SPECIFICATION: &str = r#"{
    "cdiVersion": "0.6.0",
    "kind": "vendor.com/thing",
    "containerEdits": {"env": ["KIND=thing"]},
    "devices": [
        {
            "name": "one",
            "containerEdits": {
                "env": ["THING=1"],
                "deviceNodes": [{"path": "/dev/thing", "hostPath": "/dev/null", "permissions": "rw"}],
                "mounts": [{"hostPath": "/etc", "containerPath": "/thing", "options": ["ro", "bind"]}],
                "hooks": [{"hookName": "createContainer", "path": "/bin/true", "args": ["true"]}],
                "additionalGids": [7]
            }
        },
        {"name": "two", "containerEdits": {"env": ["THING=2"]}}
    ]
}"#;

fn asked(driver: &str, ids: &[&str]) -> wire::HostConfig {
    let gpus = driver != "cdi";
    wire::HostConfig {
        device_requests: Some(vec![wire::DeviceRequest {
            driver: driver.to_owned(),
            device_ids: Some(ids.iter().map(|id| (*id).to_owned()).collect()),
            capabilities: gpus.then(|| vec![vec!["gpu".to_owned()]]),
            count: if gpus { -1 } else { 0 },
            ..Default::default()
        }]),
        ..Default::default()
    }
}

#[test]
fn a_device_brings_what_its_specification_says() {
    let dir = tempfile::tempdir().expect("dir");
    fs::write(dir.path().join("vendor.json"), SPECIFICATION).expect("write");
    let host = asked("cdi", &["vendor.com/thing=one", "vendor.com/thing=two"]);
    let mut spec = Spec {
        process: Some(wharf_oci::runtime::Process::default()),
        ..Default::default()
    };
    let edits = resolve(&host, &[dir.path().to_owned()]).expect("resolved");
    assert_eq!(edits.len(), 3, "what the kind brings comes once");
    for edits in edits {
        edits.apply(&mut spec).expect("applied");
    }
    let process = spec.process.expect("process");
    assert_eq!(process.env, ["KIND=thing", "THING=2"]);
    assert_eq!(process.user.additional_gids, [7]);
    let linux = spec.linux.expect("linux");
    assert_eq!(linux.devices[0].path, Path::new("/dev/thing"));
    assert_eq!((linux.devices[0].major, linux.devices[0].minor), (1, 3));
    let rules = linux.resources.expect("resources").devices;
    assert_eq!(rules[0].access.as_deref(), Some("rw"));
    assert_eq!(spec.mounts[0].destination, Path::new("/thing"));
    let hooks = spec.hooks.expect("hooks");
    assert_eq!(hooks.create_container[0].path, Path::new("/bin/true"));
}

#[test]
fn what_is_not_installed_is_refused_by_name() {
    let dir = tempfile::tempdir().expect("dir");
    let error = |host: &wire::HostConfig| {
        let error = resolve(host, &[dir.path().to_owned()]).expect_err("refused");
        error.to_string()
    };
    let host = asked("cdi", &["vendor.com/thing=nine"]);
    assert_eq!(
        error(&host),
        "CDI device injection failed: unresolvable CDI devices vendor.com/thing=nine"
    );
    assert_eq!(
        error(&asked("", &[])),
        "could not select device driver \"\" with capabilities: [[gpu]]"
    );
    fs::write(dir.path().join("vendor.yaml"), "kind: vendor.com/thing").expect("write");
    assert!(
        error(&host).contains("read as JSON only"),
        "{}",
        error(&host)
    );
    fs::write(dir.path().join("broken.json"), "{").expect("write");
    assert!(error(&host).contains("broken.json"), "{}", error(&host));
}

#[test]
fn graphics_processors_are_devices_of_one_kind() {
    let dir = tempfile::tempdir().expect("dir");
    let text = SPECIFICATION
        .replace("vendor.com/thing", GPUS)
        .replace("\"one\"", "\"all\"")
        .replace("\"two\"", "\"0\"");
    fs::write(dir.path().join("gpu.json"), text).expect("write");
    let found =
        |ids: &[&str]| resolve(&asked("", ids), &[dir.path().to_owned()]).expect("resolved");
    assert_eq!(found(&[]).last().expect("edits").env, ["THING=1"]);
    assert_eq!(found(&["0"]).last().expect("edits").env, ["THING=2"]);
}
