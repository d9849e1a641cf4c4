//! Lists of images for several platforms, which both clients make in the same directory.

use std::path::Path;

use wharf_tests_system::{Client, Engine, ForeignRegistry, Ran, command, needs};

#[track_caller]
fn run(engine: &Engine, client: Client, words: &[&str]) -> Ran {
    let mut command = engine.client(client, &[&["manifest"], words].concat());
    command.env("DOCKER_CONFIG", configuration(engine));
    command::run(command, b"")
}

fn configuration(engine: &Engine) -> std::path::PathBuf {
    engine.directory().join("manifests-configuration")
}

/// All files below a directory with their contents.
fn files(directory: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(next) = directories.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let name = path.strip_prefix(directory).unwrap().display().to_string();
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_list_is_begun_with_one_client_and_ended_with_the_other() {
    if !needs::met(&[
        "docker",
        "dockerd",
        "containerd",
        "busybox",
        "docker-registry",
    ]) {
        return;
    }
    let engine = Engine::dockerd_with_busybox();
    let registry = ForeignRegistry::open();
    let at = |name: &str| format!("{}/team/{name}", registry.address());
    let (one, two) = (at("one:1"), at("two:1"));
    for image in [&one, &two] {
        engine.wharf(&["tag", "busybox", image]).succeeded();
        engine.wharf(&["push", image]).succeeded();
    }
    let mut ends = Vec::new();
    for (first, second) in [
        (Client::Docker, Client::Wharf),
        (Client::Wharf, Client::Docker),
    ] {
        let list = at("list:1");
        let begun = run(&engine, first, &["create", "--insecure", &list, &one]);
        assert_eq!(begun.out(), format!("Created manifest list {list}"));
        run(&engine, second, &["create", "--insecure", &list, &two])
            .exited(1)
            .says("refusing to amend an existing manifest list with no --amend flag");
        run(
            &engine,
            second,
            &["create", "--amend", "--insecure", &list, &two],
        )
        .succeeded();
        let flags = [
            "annotate",
            "--arch",
            "arm64",
            "--os",
            "linux",
            "--variant",
            "v8",
            "--os-version",
            "1",
            "--os-features",
            "a,b",
        ];
        run(&engine, first, &[&flags[..], &[&list, &two]].concat()).succeeded();
        let kept = files(&configuration(&engine).join("manifests"));
        assert_eq!(kept.len(), 2);
        let shown: Vec<String> = [
            &["inspect", &list][..],
            &["inspect", "-v", &list],
            &["inspect", &list, &two],
            &["inspect", "-v", &list, &two],
        ]
        .iter()
        .map(|line| {
            let [ours, theirs] =
                Client::ALL.map(|client| run(&engine, client, line).out().to_owned());
            assert_eq!(ours, theirs, "{line:?}");
            ours
        })
        .collect();
        let pushed = run(&engine, second, &["push", "--insecure", "--purge", &list])
            .out()
            .to_owned();
        assert_eq!(files(&configuration(&engine).join("manifests")), []);
        for line in [
            &["inspect", "--insecure", &list][..],
            &["inspect", "--insecure", "-v", &list],
            &["inspect", "--insecure", &one],
            &["inspect", "--insecure", "-v", &one],
        ] {
            let [ours, theirs] =
                Client::ALL.map(|client| run(&engine, client, line).out().to_owned());
            assert_eq!(ours, theirs, "{line:?}");
        }
        ends.push((kept, shown, pushed));
    }
    assert_eq!(ends[0], ends[1], "whoever began");
    engine.finish();
}

#[test]
fn what_is_wrong_is_told_by_both_in_the_same_words() {
    if !needs::met(&["docker", "docker-registry"]) {
        return;
    }
    let engine = Engine::prepare();
    let registry = ForeignRegistry::open();
    let at = |name: &str| format!("{}/team/{name}", registry.address());
    let nosuch = at("nosuch:1");
    for line in [
        &["create", "--insecure", &nosuch, &at("one:1")][..],
        &["create", "--insecure", "UPPER", &nosuch],
        &["create", "--insecure", &nosuch, "UPPER"],
        &["create", "x"],
        &["inspect", "--insecure", &nosuch],
        &["inspect", &nosuch, &nosuch],
        &["annotate", "--arch", "arm64", &nosuch, &nosuch],
        &["annotate", "UPPER", &nosuch],
        &["annotate", &nosuch, "UPPER"],
        &["push", &nosuch],
        &["push", "UPPER"],
        &["rm", &nosuch, "UPPER"],
        &["rm"],
        &["nosuch"],
    ] {
        let [ours, theirs] = Client::ALL.map(|client| {
            let ran = run(&engine, client, line);
            (ran.code, ran.stdout, ran.stderr.replace("wharf", "docker"))
        });
        assert_eq!(ours.0, theirs.0, "{line:?}");
        assert_eq!(ours.1, theirs.1, "{line:?}");
        assert_eq!(ours.2.lines().next(), theirs.2.lines().next(), "{line:?}");
    }
}
