//! The registry, driven by a client that is not ours.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use wharf_tests_system::command::{self, Ran};
use wharf_tests_system::{Engine, Registry, needs, wait};

const NEEDED: [&str; 1] = ["skopeo"];

/// skopeo without its own configuration, on a registry without TLS.
fn skopeo(arguments: &[&str]) -> Ran {
    let mut command = Command::new("skopeo");
    command
        .args(["--insecure-policy", "--tmpdir", "/tmp"])
        .args(arguments);
    command::run(command, b"")
}

fn copy(from: &str, to: &str) -> Ran {
    skopeo(&[
        "copy",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        from,
        to,
    ])
}

/// An archive of the image busybox.
fn archive(registry: &Registry) -> String {
    let engine = Engine::with_busybox();
    let path = registry.beside("busybox.tar").display().to_string();
    engine.wharf(&["save", "-o", &path, "busybox"]).succeeded();
    engine.finish();
    path
}

fn remote(registry: &Registry, name: &str) -> String {
    format!("docker://{}/{name}", registry.address())
}

fn digest(reference: &str) -> String {
    let inspected = skopeo(&[
        "inspect",
        "--tls-verify=false",
        "--format",
        "{{.Digest}}",
        reference,
    ]);
    inspected.out().to_owned()
}

#[test]
fn skopeo_pushes_copies_lists_and_deletes() {
    if !needs::met(&NEEDED) {
        return;
    }
    let mut registry = Registry::prepare();
    registry.launch(&[]);
    let archive = archive(&registry);
    let first = remote(&registry, "team/busybox:1");
    copy(&format!("docker-archive:{archive}"), &first).succeeded();
    // Within the registry, which mounts the blobs.
    let second = remote(&registry, "other/busybox:2");
    copy(&first, &second).succeeded();
    assert!(registry.log().contains("mount") || digest(&first) == digest(&second));
    let layout = format!("oci:{}:x", registry.beside("layout").display());
    copy(&second, &layout).succeeded();
    copy(&layout, &remote(&registry, "oci/busybox:3")).succeeded();
    let tags = skopeo(&[
        "list-tags",
        "--tls-verify=false",
        &remote(&registry, "team/busybox"),
    ]);
    assert!(tags.out().contains("\"1\""), "{tags:?}");
    let before = digest(&first);
    registry.kill();
    registry.launch(&[]);
    let first = remote(&registry, "team/busybox:1");
    assert_eq!(digest(&first), before);
    skopeo(&["delete", "--tls-verify=false", &first]).succeeded();
    assert_ne!(skopeo(&["inspect", "--tls-verify=false", &first]).code, 0);
    assert_eq!(digest(&remote(&registry, "other/busybox:2")), before);
}

#[test]
fn a_push_recovers_at_every_step() {
    if !needs::met(&NEEDED) {
        return;
    }
    let mut registry = Registry::prepare();
    let archive = format!("docker-archive:{}", archive(&registry));
    let list = registry.beside("points");
    registry.launch(&[("WHARF_FAILPOINT", &format!("list-file:{}", list.display()))]);
    copy(&archive, &remote(&registry, "app:1")).succeeded();
    let expected = digest(&remote(&registry, "app:1"));
    registry.kill();
    let points: BTreeSet<String> = std::fs::read_to_string(&list)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    assert!(points.len() >= 8, "{points:?}");
    for point in points {
        std::fs::remove_dir_all(registry.root()).unwrap();
        registry.launch(&[("WHARF_FAILPOINT", &point)]);
        copy(&archive, &remote(&registry, "app:1"));
        // The client may see its connection end before the process has ended.
        wait::until_true(&point, || !registry.runs());
        registry.launch(&[]);
        // Either nothing is there yet, or all of it.
        let seen = skopeo(&[
            "inspect",
            "--tls-verify=false",
            "--format",
            "{{.Digest}}",
            &remote(&registry, "app:1"),
        ]);
        assert!(seen.code != 0 || seen.out() == expected, "{point}");
        copy(&archive, &remote(&registry, "app:1")).succeeded();
        assert_eq!(digest(&remote(&registry, "app:1")), expected, "{point}");
        registry.kill();
        assert_eq!(temporary(&registry.root()), Vec::<String>::new(), "{point}");
    }
}

#[test]
fn the_engine_runs_a_registry_of_its_own() {
    if !needs::met(&NEEDED) {
        return;
    }
    let engine = Engine::with_busybox();
    let data = engine.directory().join("registry");
    std::fs::create_dir(&data).unwrap();
    let mount = format!("{}:/var/lib/registry", data.display());
    for tag in ["2", "latest"] {
        let (image, name) = (format!("registry:{tag}"), format!("registry-{tag}"));
        let run = [
            "run",
            "-d",
            "-p",
            "127.0.0.1::5000",
            "--name",
            &name,
            "-v",
            &mount,
            &image,
        ];
        engine.wharf(&run).succeeded();
        let port = engine.wharf(&["port", &name, "5000"]);
        let image = format!("docker://{}/course/busybox:{tag}", port.out());
        let archive = engine.directory().join("busybox.tar").display().to_string();
        engine
            .wharf(&["save", "-o", &archive, "busybox"])
            .succeeded();
        wait::until_true("the registry's answer", || {
            copy(&format!("docker-archive:{archive}"), &image).code == 0
        });
        let tree = data
            .join("docker/registry/v2/repositories/course/busybox/_manifests/tags")
            .join(tag);
        assert!(tree.join("current/link").is_file());
        // The next one finds what this one was given.
        engine.wharf(&["rm", "-f", &name]).succeeded();
    }
    engine.finish();
}

/// Files that were to be renamed and were not.
fn temporary(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(temporary(&path));
        } else if path.extension().is_some_and(|extension| extension == "tmp") {
            found.push(path.display().to_string());
        }
    }
    found
}
