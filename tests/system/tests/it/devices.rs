//! Devices by a vendor's specification.

use serde_json::json;
use wharf_tests_system::{Client, Engine, image, needs};

/// An engine that finds specifications in a directory of the test's.
fn with_specification(specification: &serde_json::Value) -> Option<Engine> {
    if !needs::met(&["docker", "busybox", "nft", "ip"]) {
        return None;
    }
    let mut engine = Engine::prepare();
    let directory = engine.directory().join("cdi");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("vendor.json"), specification.to_string()).unwrap();
    engine.argument("--cdi-spec-dir");
    engine.argument(directory.to_str().unwrap());
    engine.launch();
    engine.import(&image::busybox(), "busybox");
    Some(engine)
}

#[test]
fn a_device_brings_its_node_variables_mounts_and_hooks() {
    let shared = std::env::temp_dir().join(format!("wharf-cdi-{}", std::process::id()));
    std::fs::create_dir_all(&shared).unwrap();
    std::fs::write(shared.join("library"), "of the vendor's\n").unwrap();
    let mark = shared.join("hooked");
    let specification = json!({
        "cdiVersion": "0.6.0",
        "kind": "vendor.com/thing",
        "containerEdits": {"env": ["KIND=thing"]},
        "devices": [
            {
                "name": "one",
                "containerEdits": {
                    "env": ["THING=1"],
                    "deviceNodes": [{"path": "/dev/thing", "hostPath": "/dev/loop-control", "permissions": "r"}],
                    "mounts": [{"hostPath": &shared, "containerPath": "/usr/lib/thing", "options": ["ro", "bind"]}],
                    "hooks": [{
                        "hookName": "createRuntime",
                        "path": "/bin/sh",
                        "args": ["sh", "-c", format!("cat > {}", mark.display())],
                    }],
                    "additionalGids": [77],
                },
            },
            {"name": "two", "containerEdits": {"env": ["THING=2"]}},
        ],
    });
    let Some(engine) = with_specification(&specification) else {
        return;
    };
    let info = engine.request("GET", "/info", b"").unwrap().json();
    let directory = engine.directory().join("cdi");
    assert_eq!(info["CDISpecDirs"], json!([directory.to_str().unwrap()]));
    let script = "echo $KIND $THING; (exec 3</dev/thing) && echo open; (exec 2>&- 3>/dev/thing) || echo guarded; \
                  cat /usr/lib/thing/library; touch /usr/lib/thing/x 2>&- || echo read-only; id -G";
    for client in Client::ALL {
        let command = ["busybox", "sh", "-c", script];
        let line = [
            &["run", "--rm", "--device", "vendor.com/thing=one"][..],
            &command,
        ]
        .concat();
        let ran = engine.run(client, &line);
        assert_eq!(
            ran.out(),
            "thing 1\nopen\nguarded\nof the vendor's\nread-only\n0 77",
            "{client:?}"
        );
        // The hook was given the container's state.
        let state = std::fs::read(&mark).unwrap();
        let state: serde_json::Value = serde_json::from_slice(&state).unwrap();
        assert!(state["pid"].as_i64().is_some_and(|pid| pid > 1), "{state}");
        std::fs::remove_file(&mark).unwrap();
        let two = ["run", "--rm", "--device", "vendor.com/thing=two", "busybox"];
        let script = "echo $KIND $THING; test -e /dev/thing || echo none";
        let ran = engine.run(client, &[&two[..], &["sh", "-c", script]].concat());
        assert_eq!(ran.out(), "thing 2\nnone");
        for (flag, text) in [
            (
                "vendor.com/thing=three",
                "CDI device injection failed: unresolvable CDI devices vendor.com/thing=three",
            ),
            (
                "other.com/thing=one",
                "CDI device injection failed: unresolvable CDI devices other.com/thing=one",
            ),
        ] {
            let refused = engine.run(client, &["run", "--rm", "--device", flag, "busybox"]);
            refused.exited(125).says(text);
        }
        let gpus = engine.run(client, &["run", "--rm", "--gpus", "all", "busybox", "true"]);
        gpus.exited(125)
            .says("could not select device driver \"\" with capabilities: [[gpu]]");
    }
    // What is installed when it starts counts.
    let made = [
        "create",
        "--name",
        "box",
        "--device",
        "vendor.com/thing=two",
        "busybox",
    ];
    engine.wharf(&made).succeeded();
    std::fs::remove_file(directory.join("vendor.json")).unwrap();
    let refused = engine.wharf(&["start", "box"]);
    refused
        .exited(1)
        .says("unresolvable CDI devices vendor.com/thing=two");
    // Labels and annotations ask for nothing.
    let words = [
        "--label",
        "cdi.k8s.io/x=vendor.com/thing=one",
        "--annotation",
        "cdi.k8s.io/x=vendor.com/thing=one",
    ];
    let line = [
        &["run", "--rm"][..],
        &words,
        &["busybox", "sh", "-c", "echo $KIND"],
    ]
    .concat();
    assert_eq!(engine.wharf(&line).out(), "");
    std::fs::remove_dir_all(&shared).unwrap();
    engine.finish();
}

#[test]
fn gpus_are_the_devices_of_their_kind() {
    let device =
        |name: &str| json!({"name": name, "containerEdits": {"env": [format!("GPU{name}=here")]}});
    let specification = json!({
        "cdiVersion": "0.6.0",
        "kind": "nvidia.com/gpu",
        "devices": [device("0"), device("1"), device("all")],
    });
    let Some(engine) = with_specification(&specification) else {
        return;
    };
    for client in Client::ALL {
        for (asked, found) in [("all", "GPUall"), ("1", "GPU0"), ("device=1", "GPU1")] {
            let line = [
                "run",
                "--rm",
                "--gpus",
                asked,
                "busybox",
                "sh",
                "-c",
                "env | grep GPU",
            ];
            assert_eq!(
                engine.run(client, &line).out(),
                format!("{found}=here"),
                "{asked}"
            );
        }
        let refused = engine.run(client, &["run", "--rm", "--gpus", "5", "busybox", "true"]);
        refused
            .exited(125)
            .says("unresolvable CDI devices nvidia.com/gpu=2");
    }
    engine.finish();
}
