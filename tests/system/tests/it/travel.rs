//! Images travel between engines and registries: whole, once, and on after every interruption.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::process::Command;

use wharf_tests_system::{Client, Engine, ForeignRegistry, Line, command, needs, wait};

const NEEDED: [&str; 6] = [
    "docker",
    "busybox",
    "nft",
    "ip",
    "docker-registry",
    "skopeo",
];

/// An engine that has no image.
fn bare(arguments: &[&str]) -> Engine {
    let mut engine = Engine::prepare();
    for argument in arguments {
        engine.argument(argument);
    }
    engine.launch();
    engine
}

/// Bytes that no compression makes less.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Brings an image of this many bytes to a registry, and returns the bytes of its layers there.
fn publish(registry: &str, name: &str, length: usize) -> u64 {
    let engine = Engine::with_busybox();
    let content = noise(length);
    let archive = wharf_tests_system::image::busybox_with(|add| add.file("noise", 0o644, &content));
    let remote = format!("{registry}/{name}");
    engine.import_bytes(&archive, &remote, &[]).succeeded();
    engine.wharf(&["push", &remote]).succeeded();
    engine.finish();
    let raw = raw_manifest(&remote);
    let manifest: serde_json::Value = serde_json::from_str(&raw).unwrap();
    let layers = manifest["layers"].as_array().unwrap().iter();
    layers.map(|layer| layer["size"].as_u64().unwrap()).sum()
}

fn raw_manifest(remote: &str) -> String {
    let mut skopeo = Command::new("skopeo");
    skopeo
        .args(["inspect", "--tls-verify=false", "--raw"])
        .arg(format!("docker://{remote}"));
    let ran = command::run(skopeo, b"");
    ran.succeeded();
    ran.out().to_owned()
}

/// Bytes that an engine may have read and not written yet: two pieces, and documents.
const IN_HAND: u64 = 140_000;

/// What a store has that belongs to nothing.
fn is_whole(engine: &Engine) {
    let verified = engine.wharf(&["system", "df", "--verify"]);
    verified.succeeded();
    let line = verified
        .out()
        .lines()
        .find(|line| line.contains("unaccounted"));
    let count = line.and_then(|line| line.split_whitespace().last());
    assert_eq!(count, Some("0"), "{verified:?}");
}

/// Bytes of layers that are on their way.
fn incoming(engine: &Engine) -> u64 {
    let directory = engine.data_root().join("store/incoming");
    let entries = std::fs::read_dir(directory).unwrap().flatten();
    entries.map(|entry| entry.metadata().unwrap().len()).sum()
}

fn within_two_percent(passed: u64, size: u64) {
    assert!(passed <= size + size / 50, "{passed} bytes for {size}");
}

#[test]
fn a_line_that_is_cut_again_and_again_costs_no_byte_twice() {
    if !needs::met(&NEEDED) {
        return;
    }
    let registry = ForeignRegistry::open();
    let size = publish(&registry.address(), "app:1", 12 << 20);
    let line = Line::to(&registry.address(), Some(700_000));
    let engine = bare(&[]);
    let remote = format!("{}/app:1", line.address());
    engine.wharf(&["pull", "-q", &remote]).succeeded();
    assert!(line.passed() > size);
    within_two_percent(line.passed(), size);
    let run = ["run", "--rm", &remote, "wc", "-c", "/noise"];
    assert_eq!(engine.wharf(&run).out(), "12582912 /noise");
    // With everything here nothing but the manifest is asked for.
    let before = line.passed();
    engine.wharf(&["pull", "-q", &remote]).succeeded();
    assert!(line.passed() - before < 4096);
    is_whole(&engine);
    engine.finish();
}

#[test]
fn a_pull_goes_on_after_the_engine_was_killed() {
    if !needs::met(&NEEDED) {
        return;
    }
    let registry = ForeignRegistry::open();
    let size = publish(&registry.address(), "app:1", 24 << 20);
    let line = Line::to(&registry.address(), None);
    let mut engine = bare(&[]);
    let remote = format!("{}/app:1", line.address());
    for part in 1..3 {
        let allowed = size * part / 3;
        line.allow(allowed);
        let mut client = engine.client(Client::Wharf, &["pull", "-q", &remote]);
        client.stdout(std::process::Stdio::null());
        client.stderr(std::process::Stdio::null());
        let mut client = client.spawn().unwrap();
        // All that passed is on the disk, but for documents and a piece that is not full.
        wait::until_true("the part on the disk", || {
            line.passed() == allowed && incoming(&engine) + IN_HAND >= allowed
        });
        engine.kill();
        client.wait().unwrap();
        engine.launch();
        is_whole(&engine);
    }
    line.allow(u64::MAX);
    engine.wharf(&["pull", "-q", &remote]).succeeded();
    within_two_percent(line.passed(), size);
    assert_eq!(incoming(&engine), 0);
    is_whole(&engine);
    engine.finish();
}

#[test]
fn two_pulls_of_one_layer_share_it() {
    if !needs::met(&NEEDED) {
        return;
    }
    let registry = ForeignRegistry::open();
    let size = publish(&registry.address(), "app:1", 8 << 20);
    let line = Line::to(&registry.address(), None);
    line.allow(size / 2);
    let engine = bare(&[]);
    let remote = format!("{}/app:1", line.address());
    let pull = || {
        let mut client = engine.client(Client::Docker, &["pull", "-q", &remote]);
        client.stdout(std::process::Stdio::null());
        client.spawn().unwrap()
    };
    let mut first = pull();
    wait::until_true("the first half", || line.passed() == size / 2);
    let mut second = pull();
    // One that leaves takes nothing away from the other.
    let mut third = pull();
    wait::until_true("three who wait", || {
        engine.log().matches("/images/create").count() >= 3 || incoming(&engine) > 0
    });
    third.kill().unwrap();
    third.wait().unwrap();
    line.allow(u64::MAX);
    for client in [&mut first, &mut second] {
        assert!(client.wait().unwrap().success());
    }
    within_two_percent(line.passed(), size);
    is_whole(&engine);
    engine.finish();
}

#[test]
fn a_pull_that_nobody_waits_for_stops_and_keeps_what_came() {
    if !needs::met(&NEEDED) {
        return;
    }
    let registry = ForeignRegistry::open();
    let size = publish(&registry.address(), "app:1", 8 << 20);
    let line = Line::to(&registry.address(), None);
    line.allow(size / 2);
    let engine = bare(&[]);
    let remote = format!("{}/app:1", line.address());
    let mut client = engine
        .client(Client::Wharf, &["pull", "-q", &remote])
        .spawn()
        .unwrap();
    wait::until_true("the first half, on the disk", || {
        line.passed() == size / 2 && incoming(&engine) + IN_HAND >= size / 2
    });
    client.kill().unwrap();
    client.wait().unwrap();
    wait::until_true("the end of the request", || {
        engine.log().contains("a pull is given up")
    });
    line.allow(u64::MAX);
    engine.wharf(&["pull", "-q", &remote]).succeeded();
    within_two_percent(line.passed(), size);
    // What is left of a pull that never ends goes with the images that nothing uses.
    engine.wharf(&["rmi", &remote]).succeeded();
    engine.wharf(&["image", "prune", "-f"]).succeeded();
    assert_eq!(incoming(&engine), 0);
    engine.finish();
}

/// Kills the engine at every step that a command passes; the next attempt must succeed. Each time it is
/// another command, as what one has brought to a registry is there for the next.
fn killed_at_every_step(
    prepare: impl Fn(&Engine, usize),
    command: impl Fn(usize) -> [String; 3],
    check: impl Fn(&Engine, usize),
) {
    let run = |engine: &Engine, attempt| {
        let words = command(attempt);
        engine.wharf(&words.each_ref().map(String::as_str))
    };
    let mut engine = bare(&[]);
    prepare(&engine, 0);
    engine.stop();
    let list = engine.directory().join("points");
    engine.set("WHARF_FAILPOINT", &format!("list-file:{}", list.display()));
    engine.launch();
    let before = std::fs::read_to_string(&list).unwrap_or_default().len();
    run(&engine, 0).succeeded();
    let passed = std::fs::read_to_string(&list).unwrap();
    let points: BTreeSet<&str> = passed[before..].lines().collect();
    engine.unset("WHARF_FAILPOINT");
    engine.finish();
    assert!(points.len() >= 3, "{points:?}");
    for (point, attempt) in points.into_iter().zip(1..) {
        let mut engine = bare(&[]);
        prepare(&engine, attempt);
        engine.stop();
        engine.set("WHARF_FAILPOINT", point);
        engine.launch();
        run(&engine, attempt);
        assert!(engine.settled_to_end(), "{point} was not passed");
        engine.unset("WHARF_FAILPOINT");
        engine.launch();
        is_whole(&engine);
        run(&engine, attempt).succeeded();
        check(&engine, attempt);
        is_whole(&engine);
        engine.finish();
    }
}

#[test]
fn a_pull_recovers_at_every_step() {
    if !needs::met(&NEEDED) {
        return;
    }
    let registry = ForeignRegistry::open();
    publish(&registry.address(), "app:1", 1 << 20);
    let remote = format!("{}/app:1", registry.address());
    killed_at_every_step(
        |_, _| {},
        |_| ["pull", "-q", &remote].map(str::to_owned),
        |engine, _| {
            assert_eq!(incoming(engine), 0);
            let run = ["run", "--rm", &remote, "wc", "-c", "/noise"];
            assert_eq!(engine.wharf(&run).out(), "1048576 /noise");
        },
    );
}

#[test]
fn a_push_recovers_at_every_step() {
    if !needs::met(&NEEDED) {
        return;
    }
    let registry = ForeignRegistry::open();
    publish(&registry.address(), "app:1", 1 << 20);
    let source = format!("{}/app:1", registry.address());
    let remote = |attempt| format!("{}/again-{attempt}:1", registry.address());
    let expected = raw_manifest(&source);
    killed_at_every_step(
        |engine, attempt| {
            engine.wharf(&["pull", "-q", &source]).succeeded();
            engine
                .wharf(&["tag", &source, &remote(attempt)])
                .succeeded();
        },
        |attempt| ["push", "-q", &remote(attempt)].map(str::to_owned),
        |_, attempt| assert_eq!(raw_manifest(&remote(attempt)), expected),
    );
}

/// An image for two platforms at a registry, made by podman's tools' own archive of it.
fn publish_for_two_platforms(engine: &Engine, registry: &str) -> String {
    let list = format!("{registry}/multi:1");
    let mut parts = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let part = format!("{registry}/multi:{architecture}");
        let archive = wharf_tests_system::image::busybox_with(|add| {
            add.file("architecture", 0o644, architecture.as_bytes())
        });
        let path = engine.directory().join(format!("{architecture}.tar"));
        std::fs::write(&path, archive).unwrap();
        let platform = format!("linux/{architecture}");
        let path = path.display().to_string();
        engine
            .wharf(&["import", "--platform", &platform, &path, &part])
            .succeeded();
        engine.wharf(&["push", "-q", &part]).succeeded();
        parts.push(part);
    }
    let create = [
        "manifest",
        "create",
        "--insecure",
        &list,
        &parts[0],
        &parts[1],
    ];
    engine.wharf(&create).succeeded();
    engine
        .wharf(&["manifest", "push", "--insecure", "--purge", &list])
        .succeeded();
    list
}

#[test]
fn an_image_for_several_platforms_travels_whole() {
    if !needs::met(&NEEDED) {
        return;
    }
    let registry = ForeignRegistry::open();
    let address = registry.address();
    let mut engine = bare(&[]);
    let configuration = engine.directory().join("client").display().to_string();
    engine.set("DOCKER_CONFIG", &configuration);
    let list = publish_for_two_platforms(&engine, &address);
    let index = raw_manifest(&list);
    engine.finish();

    let engine = bare(&[]);
    engine.wharf(&["pull", "-q", &list]).succeeded();
    let digests = engine.inspect(&list, "{{join .RepoDigests \" \"}}");
    let digest = wharf_tests_system::image::sha256(index.as_bytes());
    assert_eq!(digests, format!("{address}/multi@sha256:{digest}"));
    let run = ["run", "--rm", &list, "cat", "/architecture"];
    assert_eq!(engine.wharf(&run).out(), "amd64");
    // Of the index only this machine's part is here: that is what goes.
    let part = format!("{address}/part:1");
    engine.wharf(&["tag", &list, &part]).succeeded();
    engine.wharf(&["push", "-q", &part]).succeeded();
    assert!(!raw_manifest(&part).contains("arm64"));
    // With the other part it is whole, and goes whole, byte by byte.
    engine
        .wharf(&["pull", "-q", "--platform", "linux/arm64", &list])
        .succeeded();
    assert_eq!(engine.inspect(&list, "{{.Architecture}}"), "arm64");
    // Without a platform it is this machine's again.
    engine.wharf(&["pull", "-q", &list]).succeeded();
    assert_eq!(engine.wharf(&run).out(), "amd64");
    let again = format!("{address}/again:1");
    engine.wharf(&["tag", &list, &again]).succeeded();
    engine.wharf(&["push", "-q", &again]).succeeded();
    assert_eq!(raw_manifest(&again), index);
    // And so it goes through an archive.
    let archive = engine.directory().join("multi.tar").display().to_string();
    engine.wharf(&["save", "-o", &archive, &list]).succeeded();
    engine
        .wharf(&["rmi", "-f", &list, &again, &part])
        .succeeded();
    engine.wharf(&["image", "prune", "-af"]).succeeded();
    assert_eq!(engine.wharf(&["images", "-aq"]).out(), "");
    is_whole(&engine);
    engine.wharf(&["load", "-qi", &archive]).succeeded();
    let loaded = format!("{address}/loaded:1");
    engine.wharf(&["tag", &list, &loaded]).succeeded();
    engine.wharf(&["push", "-q", &loaded]).succeeded();
    assert_eq!(raw_manifest(&loaded), index);
    is_whole(&engine);
    engine.finish();
}

#[test]
fn the_removal_of_an_index_recovers_at_every_step() {
    if !needs::met(&NEEDED) {
        return;
    }
    let registry = ForeignRegistry::open();
    let mut engine = bare(&[]);
    let configuration = engine.directory().join("client").display().to_string();
    engine.set("DOCKER_CONFIG", &configuration);
    let list = publish_for_two_platforms(&engine, &registry.address());
    engine.finish();
    let pull = |engine: &Engine, platform: &str| {
        let words = ["pull", "-q", "--platform", platform, &list];
        engine.wharf(&words).succeeded();
    };
    killed_at_every_step(
        |engine, _| {
            pull(engine, "linux/arm64");
            pull(engine, "linux/amd64");
        },
        |_| ["image", "prune", "-af"].map(str::to_owned),
        |engine, _| {
            let left = std::fs::read_dir(engine.data_root().join("store/indexes")).unwrap();
            assert_eq!(
                (engine.wharf(&["images", "-aq"]).out(), left.count()),
                ("", 0)
            );
        },
    );
}

#[test]
fn attack_g9_a_digest_of_another_repository_is_not_found() {
    if !needs::met(&NEEDED) {
        return;
    }
    let registry = ForeignRegistry::open();
    publish(&registry.address(), "app:1", 1024);
    publish(&registry.address(), "other:1", 2048);
    let raw = raw_manifest(&format!("{}/other:1", registry.address()));
    let digest = wharf_tests_system::image::sha256(raw.as_bytes());
    let engine = bare(&[]);
    let crossed = format!("{}/app:1@sha256:{digest}", registry.address());
    engine
        .wharf(&["pull", &crossed])
        .exited(1)
        .tells("not found");
    // The digest decides, whatever the tag says.
    let own = format!("{}/other:nonsense@sha256:{digest}", registry.address());
    engine.wharf(&["pull", "-q", &own]).succeeded();
    assert_eq!(
        engine
            .wharf(&["run", "--rm", &own, "wc", "-c", "/noise"])
            .out(),
        "2048 /noise"
    );
    engine.finish();
}

#[test]
fn mirrors_serve_any_registry_and_the_digest_decides() {
    if !needs::met(&NEEDED) {
        return;
    }
    let registry = ForeignRegistry::open();
    publish(&registry.address(), "library/app:1", 1024);
    publish(&registry.address(), "team/app:1", 2048);
    let mirror = format!("http://{}", registry.address());
    let file = std::env::temp_dir().join(format!("wt-mirrors-{}.json", std::process::id()));
    let settings = serde_json::json!({
        "registry-mirrors": ["http://127.0.0.1:1", mirror],
        "mirrors": { "registry.invalid:5000": [mirror] },
    });
    std::fs::write(&file, settings.to_string()).unwrap();
    let engine = bare(&["--config-file", &file.display().to_string()]);
    engine.wharf(&["pull", "-q", "app:1"]).succeeded();
    let other = "registry.invalid:5000/team/app:1";
    engine.wharf(&["pull", "-q", other]).succeeded();
    let size = |name| {
        engine
            .wharf(&["run", "--rm", name, "wc", "-c", "/noise"])
            .out()
            .to_owned()
    };
    assert_eq!([size("app:1"), size(other)], ["1024 /noise", "2048 /noise"]);
    engine.finish();
    std::fs::remove_file(file).unwrap();
}

#[test]
fn a_policy_refuses_what_is_not_signed() {
    if !needs::met(&NEEDED) {
        return;
    }
    let registry = ForeignRegistry::open();
    publish(&registry.address(), "app:1", 1024);
    let file = std::env::temp_dir().join(format!("wt-policy-{}.json", std::process::id()));
    std::fs::write(&file, r#"{"default":"reject"}"#).unwrap();
    let engine = bare(&["--trust-policy", &file.display().to_string()]);
    let remote = format!("{}/app:1", registry.address());
    engine
        .wharf(&["pull", &remote])
        .exited(1)
        .tells("refused by the trust policy");
    assert_eq!(engine.wharf(&["images", "-aq"]).out(), "");
    is_whole(&engine);
    engine.finish();
    std::fs::remove_file(file).unwrap();
}

/// Waits for what a container has begun to do when its start has long been told.
fn listens(address: &str) {
    let address = address.parse().unwrap();
    let limit = std::time::Duration::from_secs(1);
    wait::until_true("the registry's socket", || {
        TcpStream::connect_timeout(&address, limit).is_ok()
    });
}

/// The course's exercise, as typed but for the port, which other tests have too.
#[test]
fn a_registry_in_a_container_and_on_a_bind_mount() {
    if !needs::met(&NEEDED) {
        return;
    }
    for client in Client::ALL {
        let engine = bare(&[]);
        let run = |words: &[&str]| engine.run(client, words);
        let begin = ["run", "-d", "-p", "127.0.0.1::5000", "--name", "registry"];
        run(&[&begin[..], &["registry"]].concat()).succeeded();
        let port = run(&["port", "registry", "5000"]).out().to_owned();
        listens(&port);
        let name = format!("{port}/hello-world");
        run(&["pull", "hello-world"]).succeeded();
        run(&["tag", "hello-world", &name]).succeeded();
        run(&["push", &name]).succeeded();
        run(&["image", "remove", "hello-world"]).succeeded();
        run(&["image", "remove", &name]).succeeded();
        run(&["pull", &name]).succeeded();
        assert!(run(&["run", "--rm", &name]).out().contains("Wharf"));

        run(&["container", "stop", "registry"]).succeeded();
        run(&["container", "rm", "-v", "registry"]).succeeded();
        let data = engine.directory().join("registry-data");
        std::fs::create_dir(&data).unwrap();
        let mount = format!("{}:/var/lib/registry", data.display());
        run(&[&begin[..], &["-v", &mount, "registry:2"]].concat()).succeeded();
        let port = run(&["port", "registry", "5000"]).out().to_owned();
        listens(&port);
        let moved = format!("{port}/hello-world");
        run(&["tag", &name, &moved]).succeeded();
        run(&["push", &moved]).succeeded();
        let tags =
            "docker/registry/v2/repositories/hello-world/_manifests/tags/latest/current/link";
        assert!(data.join(tags).exists());
        run(&["image", "remove", &moved]).succeeded();
        run(&["pull", &moved]).succeeded();

        let archive = engine.directory().join("hello.tar").display().to_string();
        run(&["save", "-o", &archive, &moved]).succeeded();
        run(&["image", "remove", "-f", &moved, &name]).succeeded();
        run(&["load", "-i", &archive]).succeeded();
        assert!(run(&["run", "--rm", &moved]).out().contains("Wharf"));
        run(&["rm", "-f", "registry"]).succeeded();
        engine.finish();
    }
}

/// What this engine sends others read.
#[test]
fn dockerd_podman_and_buildah_pull_what_was_pushed() {
    if !needs::met(&[&NEEDED[..], &["dockerd", "podman"]].concat()) {
        return;
    }
    let registry = ForeignRegistry::open();
    publish(&registry.address(), "app:1", 4096);
    let remote = format!("{}/app:1", registry.address());
    let dockerd = Engine::dockerd_with_busybox();
    dockerd.wharf(&["pull", "-q", &remote]).succeeded();
    let run = [
        "run",
        "--rm",
        "--network",
        "none",
        &remote,
        "wc",
        "-c",
        "/noise",
    ];
    assert_eq!(dockerd.wharf(&run).out(), "4096 /noise");
    let mut podman = Command::new("podman");
    let root = dockerd.directory().join("podman");
    podman
        .args(["--storage-driver", "vfs", "--root"])
        .arg(root.join("root"))
        .arg("--runroot")
        .arg(root.join("run"))
        .args(["pull", "-q", "--tls-verify=false", &remote]);
    command::run(podman, b"").succeeded();
    // And what dockerd sends comes back, under the digest it has there.
    let theirs = format!("{}/busybox:theirs", registry.address());
    dockerd.wharf(&["tag", "busybox", &theirs]).succeeded();
    dockerd.wharf(&["push", "-q", &theirs]).succeeded();
    dockerd.finish();
    let engine = bare(&[]);
    engine.wharf(&["pull", "-q", &theirs]).succeeded();
    let digest = wharf_tests_system::image::sha256(raw_manifest(&theirs).as_bytes());
    let digests = engine.inspect(&theirs, "{{join .RepoDigests \" \"}}");
    assert!(digests.ends_with(&digest), "{digests}");
    engine.finish();
}

#[test]
fn images_go_by_themselves_when_the_disk_fills_up() {
    if !needs::met(&["docker", "busybox", "nft", "ip"]) {
        return;
    }
    // Every disk that tests run on is fuller than this.
    let settings = r#"{"image-collection":{"high":2,"low":1,"keep":["kept:*"]}}"#;
    let file = std::env::temp_dir().join(format!("wt-marks-{}.json", std::process::id()));
    std::fs::write(&file, settings).unwrap();
    let engine = bare(&["--config-file", &file.display().to_string()]);
    let busybox = wharf_tests_system::image::busybox();
    engine.import(&busybox, "kept:1");
    engine
        .wharf(&["create", "--name", "user", "kept:1", "true"])
        .succeeded();
    let other = wharf_tests_system::image::busybox_with(|add| add.file("other", 0o644, b"x"));
    engine.import_bytes(&other, "unused:1", &[]).succeeded();
    wait::until_true("the end of an image that nothing uses", || {
        engine.wharf(&["images", "-q", "unused"]).out().is_empty()
    });
    assert_eq!(
        engine
            .wharf(&["images", "-q", "kept"])
            .out()
            .lines()
            .count(),
        1
    );
    is_whole(&engine);
    engine.finish();
    std::fs::remove_file(file).unwrap();
}
