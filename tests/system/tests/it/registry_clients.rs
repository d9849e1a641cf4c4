//! The registry, driven by every foreign client there is: docker, skopeo, podman, buildah.

use std::path::{Path, PathBuf};
use std::process::Command;

use wharf_tests_system::command::{self, Client, Ran};
use wharf_tests_system::{Engine, Registry, needs, wait};

/// A program in an environment of the test's own.
fn program(registry: &Registry, name: &str, arguments: &[&str]) -> Ran {
    let mut command = Command::new(name);
    let home = registry.beside("home");
    std::fs::create_dir_all(&home).unwrap();
    if !home.join("auth.json").exists() {
        std::fs::write(home.join("auth.json"), "{}").unwrap();
    }
    command
        .args(arguments)
        .env("HOME", &home)
        .env("XDG_RUNTIME_DIR", &home)
        .env("REGISTRY_AUTH_FILE", home.join("auth.json"));
    command::run(command, b"")
}

/// An archive of the image busybox.
fn archive(registry: &Registry) -> PathBuf {
    let engine = Engine::with_busybox();
    let path = registry.beside("busybox.tar");
    let to = path.display().to_string();
    engine.wharf(&["save", "-o", &to, "busybox"]).succeeded();
    engine.finish();
    path
}

/// A file of users whose passwords are their names.
fn users(registry: &Registry) -> String {
    let path = registry.beside("htpasswd").display().to_string();
    let made = Command::new("htpasswd")
        .args(["-Bbc", &path, "anna", "anna"])
        .output();
    assert!(made.expect("htpasswd runs").status.success());
    path
}

#[test]
fn skopeo_copies_in_all_directions() {
    if !needs::met(&["skopeo"]) {
        return;
    }
    let mut registry = Registry::prepare();
    registry.launch(&[]);
    let archive = archive(&registry);
    let beside = |name: &str| registry.beside(name).display().to_string();
    let remote = |name: &str| format!("docker://{}/{name}", registry.address());
    let skopeo = |arguments: &[&str]| {
        let fixed = ["--insecure-policy", "--tmpdir", "/tmp"];
        program(&registry, "skopeo", &[&fixed, arguments].concat())
    };
    let copy = |flags: &[&str], from: &str, to: &str| {
        let fixed = ["copy", "--src-tls-verify=false", "--dest-tls-verify=false"];
        skopeo(&[&fixed, flags, &[from, to]].concat()).succeeded();
    };
    let from_archive = format!("docker-archive:{}", archive.display());
    let layout = format!("oci:{}:x", beside("layout"));
    let saved = format!("docker-archive:{}:busybox:again", beside("saved.tar"));
    copy(&[], &from_archive, &remote("a/one:1"));
    copy(&["--format", "oci"], &remote("a/one:1"), &remote("b/two:1"));
    copy(
        &["--format", "v2s2"],
        &remote("b/two:1"),
        &remote("c/three:1"),
    );
    copy(&[], &remote("c/three:1"), &layout);
    copy(&[], &layout, &remote("d/four:1"));
    copy(
        &["--dest-compress-format", "zstd"],
        &layout,
        &remote("e/five:1"),
    );
    copy(&["--all"], &remote("e/five:1"), &remote("f/six:1"));
    copy(&[], &remote("f/six:1"), &saved);
    // The configuration, which names the layers by their uncompressed content, has stayed what it was.
    let layers = |name: &str| {
        let inspected = skopeo(&["inspect", "--config", "--tls-verify=false", &remote(name)]);
        let config: serde_json::Value = serde_json::from_str(inspected.out()).expect("JSON");
        config["rootfs"]["diff_ids"].clone()
    };
    for name in ["b/two:1", "c/three:1", "d/four:1", "e/five:1", "f/six:1"] {
        assert_eq!(layers(name), layers("a/one:1"), "{name}");
    }
    let digest = skopeo(&[
        "inspect",
        "--tls-verify=false",
        "--format",
        "{{.Digest}}",
        &remote("f/six:1"),
    ]);
    let by_digest = format!("docker://{}/f/six@{}", registry.address(), digest.out());
    copy(&[], &by_digest, &remote("g/seven:1"));
}

#[test]
fn podman_and_buildah_log_in_for_tokens_push_and_pull() {
    if !needs::met(&["podman", "buildah", "htpasswd"]) {
        return;
    }
    let mut registry = Registry::prepare();
    let users = users(&registry);
    registry.launch_with(
        &["--htpasswd", &users, "--token-issue", "--anonymous-read"],
        &[],
    );
    let archive = archive(&registry).display().to_string();
    let address = registry.address();
    let storage = |name: &str| registry.beside(name).display().to_string();
    for (name, images) in [("podman", "storage-p"), ("buildah", "storage-b")] {
        let run = |arguments: &[&str]| {
            let (root, runroot) = (storage(images), storage(&format!("{images}-run")));
            let fixed = [
                "--root",
                &root,
                "--runroot",
                &runroot,
                "--storage-driver",
                "vfs",
            ];
            program(&registry, name, &[&fixed, arguments].concat())
        };
        let from = format!("docker-archive:{archive}");
        let loaded = run(&["pull", "-q", &from]);
        let image = loaded.out().lines().last().expect("an image").to_owned();
        let local = format!("{address}/team/{name}:1");
        run(&["tag", &image, &local]).succeeded();
        let push = ["push", "--tls-verify=false", &local];
        assert_ne!(run(&push).code, 0, "nobody may push");
        let wrong = [
            "login",
            "--tls-verify=false",
            "-u",
            "anna",
            "-p",
            "x",
            &address,
        ];
        assert_ne!(run(&wrong).code, 0);
        let login = [
            "login",
            "--tls-verify=false",
            "-u",
            "anna",
            "-p",
            "anna",
            &address,
        ];
        run(&login).succeeded();
        run(&push).succeeded();
        run(&["logout", &address]).succeeded();
        run(&["rmi", "-f", &image]).succeeded();
        run(&["pull", "-q", "--tls-verify=false", &local]).succeeded();
        let audit = "user=\"anna\" client=127.0.0.1";
        assert!(registry.log().contains(audit), "{}", registry.log());
    }
}

/// Stock docker with stock dockerd, on a registry that wants a token for everything.
#[test]
fn docker_logs_in_pushes_pulls_and_searches() {
    if !needs::met(&["dockerd", "docker", "htpasswd"]) {
        return;
    }
    let mut registry = Registry::prepare();
    let users = users(&registry);
    registry.launch_with(&["--htpasswd", &users, "--token-issue"], &[]);
    let engine = Engine::dockerd_with_busybox();
    let docker = |arguments: &[&str]| engine.run(Client::Docker, arguments);
    let config = registry.beside("docker-config").display().to_string();
    let with_login = |arguments: &[&str]| docker(&[&["--config", &config], arguments].concat());
    let address = registry.address();
    let image = format!("{address}/team/busybox:1");
    docker(&["tag", "busybox", &image]).succeeded();
    let refused = with_login(&["push", &image]);
    assert_ne!(refused.code, 0);
    let wrong = with_login(&["login", "-u", "anna", "-p", "x", &address]);
    assert_ne!(wrong.code, 0, "{wrong:?}");
    with_login(&["login", "-u", "anna", "-p", "anna", &address]).succeeded();
    with_login(&["push", &image]).succeeded();
    let second = format!("{address}/other/busybox:2");
    docker(&["tag", "busybox", &second]).succeeded();
    let mounted = with_login(&["push", &second]);
    mounted.tells("Mounted from team/busybox");
    docker(&["rmi", "-f", &image, &second, "busybox"]).succeeded();
    with_login(&["pull", &second]).tells("Status: Downloaded newer image");
    assert_eq!(
        docker(&["run", "--rm", &second, "echo", "works"]).out(),
        "works"
    );
    engine.finish();
}

#[test]
fn docker_searches() {
    if !needs::met(&["dockerd", "docker", "skopeo"]) {
        return;
    }
    let mut registry = Registry::prepare();
    registry.launch(&[]);
    let archive = archive(&registry);
    let address = registry.address();
    for name in ["team/busybox", "team/other"] {
        let from = format!("docker-archive:{}", archive.display());
        let to = format!("docker://{address}/{name}:1");
        let copy = [
            "--insecure-policy",
            "copy",
            "--dest-tls-verify=false",
            &from,
            &to,
        ];
        program(&registry, "skopeo", &copy).succeeded();
    }
    let engine = Engine::dockerd_with_busybox();
    let format = ["--format", "{{.Name}}"];
    let found = |term: &str| {
        let term = format!("{address}/{term}");
        engine.run(
            Client::Docker,
            &[&["search"], &format[..], &[&term]].concat(),
        )
    };
    assert_eq!(found("busy").out(), "team/busybox");
    assert_eq!(found("team").out(), "team/busybox\nteam/other");
    assert_eq!(found("none").out(), "");
    engine.finish();
}

/// The course's exercise: to a registry on a directory, away, and back by a new one.
#[test]
fn an_image_outlives_its_registry() {
    if !needs::met(&["dockerd", "docker"]) {
        return;
    }
    let mut registry = Registry::prepare();
    registry.launch(&[]);
    let engine = Engine::dockerd_with_busybox();
    let docker = |arguments: &[&str]| engine.run(Client::Docker, arguments);
    let image = |registry: &Registry| format!("{}/hello:1", registry.address());
    docker(&["tag", "busybox", &image(&registry)]).succeeded();
    docker(&["push", &image(&registry)]).succeeded();
    docker(&["rmi", &image(&registry)]).succeeded();
    docker(&["pull", &image(&registry)]).succeeded();
    docker(&["rmi", &image(&registry)]).succeeded();
    let link = "docker/registry/v2/repositories/hello/_manifests/tags/1/current/link";
    assert!(registry.root().join(Path::new(link)).is_file());
    registry.kill();
    registry.launch(&[]);
    docker(&["pull", &image(&registry)]).succeeded();
    engine.finish();
}

/// A registry that fetches from another one dies at every step of it.
#[test]
fn a_pull_through_recovers_at_every_step() {
    if !needs::met(&["skopeo"]) {
        return;
    }
    let (mut upstream, mut registry) = (Registry::prepare(), Registry::prepare());
    upstream.launch(&[]);
    // Only for its directory.
    let scratch = Registry::prepare();
    let archive = format!("docker-archive:{}", archive(&scratch).display());
    let fixed = ["--insecure-policy", "--tmpdir", "/tmp", "copy"];
    let flags = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    let copy = |from: &str, to: &str| {
        let arguments = [&fixed[..], &flags, &[from, to]].concat();
        program(&scratch, "skopeo", &arguments)
    };
    let to_upstream = format!("docker://{}/app:1", upstream.address());
    copy(&archive, &to_upstream).succeeded();
    let proxy = format!("hub=http://{}", upstream.address());
    let flags = ["--proxy", &proxy, "--proxy-fresh", "0s"];
    let pull = |registry: &Registry| {
        let to = registry.beside("pulled");
        std::fs::remove_dir_all(&to).ok();
        let from = format!("docker://{}/hub/app:1", registry.address());
        copy(&from, &format!("dir:{}", to.display()))
    };
    let list = registry.beside("points");
    let listing = format!("list-file:{}", list.display());
    registry.launch_with(&flags, &[("WHARF_FAILPOINT", &listing)]);
    pull(&registry).succeeded();
    registry.kill();
    let points = std::fs::read_to_string(&list).unwrap();
    let points: std::collections::BTreeSet<&str> = points.lines().collect();
    assert!(points.contains("registry.proxy.received"), "{points:?}");
    for point in points {
        std::fs::remove_dir_all(registry.root()).unwrap();
        registry.launch_with(&flags, &[("WHARF_FAILPOINT", point)]);
        assert_ne!(pull(&registry).code, 0, "{point}");
        // The client may see its connection end before the process has ended.
        wait::until_true(point, || !registry.runs());
        registry.launch_with(&flags, &[]);
        pull(&registry).succeeded();
        registry.kill();
    }
    // All of it is here now.
    registry.launch_with(&flags, &[]);
    upstream.kill();
    pull(&registry).succeeded();
}
