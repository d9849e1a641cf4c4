//! Containers that become images, what they changed, and images that go again.

use std::collections::BTreeSet;

use wharf_tests_system::{Client, Engine, needs, wait};

use crate::{engine, with_both};

/// Changes of every kind.
const CHANGES: &str = "mkdir -p /n/m; echo 1 > /n/m/f; ln /n/m/f /n/hard; ln -s f /n/m/link; rm /bin/vi; \
                       rm -r /usr; mkdir /usr; echo new > /usr/new; chmod 700 /var; echo >> /etc/passwd; \
                       dd if=/dev/zero of=/n/sparse bs=1 count=1 seek=50M 2> /dev/null; mkfifo /n/fifo";

fn lines(text: &str) -> BTreeSet<String> {
    text.lines().map(str::to_owned).collect()
}

#[test]
fn an_image_is_what_its_container_was() {
    for driver in ["overlay2", "vfs"] {
        if !needs::met(&["docker", "busybox", "nft", "ip"]) {
            return;
        }
        let mut engine = Engine::prepare();
        engine.argument("--storage-driver");
        engine.argument(driver);
        engine.launch();
        engine.import(&wharf_tests_system::image::busybox(), "busybox");
        for client in Client::ALL {
            becomes_an_image(&engine, client);
        }
        engine.finish();
    }
}

fn becomes_an_image(engine: &Engine, client: Client) {
    let run = |arguments: &[&str]| engine.run(client, arguments);
    run(&[
        "run", "--name", "box", "-e", "A=1", "-v", "/volume", "busybox", "sh", "-c", CHANGES,
    ])
    .succeeded();
    let changed = lines(run(&["diff", "box"]).out());
    let expected = "A /n\nA /n/fifo\nA /n/hard\nA /n/m\nA /n/m/f\nA /n/m/link\nA /n/sparse\nA /usr/new\nA /volume\n\
                    C /bin\nC /etc\nC /etc/passwd\nC /usr\nC /var\nD /bin/vi";
    assert_eq!(changed, lines(expected));
    let made = run(&[
        "commit",
        "-a",
        "me <me@example.com>",
        "-m",
        "why",
        "-c",
        "CMD [\"cat\",\"/usr/new\"]",
        "-c",
        "ENV B=2",
        "-c",
        "LABEL l=v",
        "-c",
        "EXPOSE 80",
        "-c",
        "WORKDIR /n",
        "-c",
        "USER www",
        "-c",
        "VOLUME /other",
        "-c",
        "ENTRYPOINT []",
        "-c",
        "STOPSIGNAL SIGINT",
        "-c",
        "ONBUILD RUN true",
        "-c",
        "HEALTHCHECK NONE",
        "box",
        "made:1",
    ]);
    assert_eq!(made.out(), engine.inspect("made:1", "{{.Id}}"));
    let field = |template: &str| engine.inspect("made:1", template);
    assert_eq!(field("{{.Author}}|{{.Comment}}"), "me <me@example.com>|why");
    assert_eq!(field("{{join .Config.Env \" \"}}"), "A=1 B=2");
    assert_eq!(
        field(
            "{{.Config.User}} {{.Config.WorkingDir}} {{.Config.StopSignal}} {{.Config.Labels.l}}"
        ),
        "www /n SIGINT v"
    );
    assert_eq!(field("{{len .RootFS.Layers}}"), "2");
    let history = run(&[
        "history",
        "--no-trunc",
        "--format",
        "{{.CreatedBy}}|{{.Comment}}",
        "made:1",
    ]);
    assert!(
        history.out().lines().next().unwrap().ends_with("|why"),
        "{history:?}"
    );
    assert_eq!(run(&["run", "--rm", "made:1"]).out(), "new");
    let look = "ls /bin/vi; stat -c '%h %s %b' /n/hard /n/sparse; readlink /n/m/link; test -p /n/fifo && ls -A /usr";
    let seen = run(&["run", "--rm", "-u", "0", "made:1", "sh", "-c", look]);
    let seen: Vec<&str> = seen.stdout.lines().collect();
    assert!(seen[0].starts_with("2 2 "), "{seen:?}");
    let sparse: Vec<u64> = seen[1].split(' ').map(|n| n.parse().unwrap()).collect();
    assert!(sparse[1] > 50 << 20 && sparse[2] < 1000, "{seen:?}");
    assert_eq!(seen[2..], ["f", "new"]);
    // Nothing changed: an image without a layer more.
    run(&["create", "--name", "idle", "busybox", "true"]).succeeded();
    run(&["commit", "idle", "same"]).succeeded();
    assert_eq!(engine.inspect("same", "{{len .RootFS.Layers}}"), "1");
    run(&["rm", "-v", "box", "idle"]).succeeded();
    let removed = run(&["rmi", "made:1", "same"]);
    assert!(
        removed.out().contains("Untagged: made:1\nDeleted: sha256:"),
        "{removed:?}"
    );
}

#[test]
fn a_running_container_is_paused_meanwhile_or_not() {
    with_both(|engine, client| {
        let run = |arguments: &[&str]| engine.run(client, arguments);
        run(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]).succeeded();
        run(&["commit", "box", "made"]).succeeded();
        run(&["commit", "--pause=false", "box", "made"]).succeeded();
        assert_eq!(engine.inspect("box", "{{.State.Status}}"), "running");
        run(&["pause", "box"]).succeeded();
        run(&["commit", "box", "made"]).succeeded();
        assert_eq!(engine.inspect("box", "{{.State.Status}}"), "paused");
        let events = run(&[
            "events",
            "--since",
            "1h",
            "--until",
            &crate::events::soon(),
            "-f",
            "event=commit",
            "--format",
            "{{.Action}}",
        ]);
        assert!(events.out().lines().count() >= 3, "{events:?}");
        run(&["commit", "none"])
            .exited(1)
            .says("No such container: none");
        run(&["commit", "-c", "RUN x", "box"])
            .exited(1)
            .says("run is not a valid change command");
        run(&["commit", "box", "Made"]).exited(1);
        run(&["rm", "-f", "box"]).succeeded();
        run(&["image", "prune", "-af"]).succeeded();
        engine.import(&wharf_tests_system::image::busybox(), "busybox");
    });
}

#[test]
fn unused_images_are_pruned() {
    with_both(|engine, client| {
        let run = |arguments: &[&str]| engine.run(client, arguments);
        let with = |name: &str| {
            wharf_tests_system::image::busybox_with(|archive| archive.file(name, 0o644, b"x"))
        };
        // The second takes the name from the first.
        engine
            .import_bytes(&with("older"), "labelled", &[])
            .succeeded();
        engine
            .import_bytes(&with("newer"), "labelled", &["LABEL keep=yes"])
            .succeeded();
        let ids = || run(&["images", "-aq", "--no-trunc"]).out().lines().count();
        let before = ids();
        run(&["create", "--name", "box", "busybox", "true"]).succeeded();
        run(&["image", "prune", "-f", "--filter", "nope=1"])
            .exited(1)
            .says("invalid filter 'nope'");
        assert_eq!(
            run(&["image", "prune", "-f", "--filter", "until=24h"]).out(),
            "Total reclaimed space: 0B"
        );
        let pruned = run(&["image", "prune", "-f"]);
        assert!(
            pruned
                .out()
                .starts_with("Deleted Images:\ndeleted: sha256:"),
            "{pruned:?}"
        );
        assert_eq!(ids(), before - 1);
        let kept = run(&["image", "prune", "-af", "--filter", "label!=keep=yes"]);
        assert_eq!(kept.out(), "Total reclaimed space: 0B");
        let pruned = run(&["image", "prune", "-af"]);
        assert!(
            pruned.out().contains("untagged: labelled:latest"),
            "{pruned:?}"
        );
        // What a container is made of stays.
        assert_eq!(
            run(&["images", "--format", "{{.Repository}}"]).out(),
            "busybox"
        );
        run(&["rm", "box"]).succeeded();
    });
}

#[test]
fn an_image_is_for_one_platform() {
    let Some(engine) = engine() else { return };
    let own = engine.inspect("busybox", "{{.Os}}/{{.Architecture}}");
    for client in Client::ALL {
        let file = engine.directory().join("saved");
        let file = file.to_str().unwrap();
        let run = |arguments: &[&str]| engine.run(client, arguments);
        run(&["image", "inspect", "--platform", &own, "busybox"]).succeeded();
        run(&["history", "--platform", &own, "busybox"]).succeeded();
        run(&["save", "--platform", &own, "-o", file, "busybox"]).succeeded();
        run(&["load", "--platform", &own, "-i", file]).succeeded();
        for arguments in [
            &["image", "inspect", "--platform", "linux/s390x", "busybox"][..],
            &["history", "--platform", "linux/s390x", "busybox"],
            &["save", "--platform", "linux/s390x", "-o", file, "busybox"],
            &["load", "--platform", "linux/s390x", "-i", file],
        ] {
            assert_ne!(run(arguments).code, 0, "{arguments:?}");
        }
    }
    engine.finish();
}

/// The engine dies at each step of an operation; the next one has all containers and nothing too much.
fn dies_at_every_step_of(operation: &[&str]) {
    if !needs::met(&["docker", "busybox", "nft", "ip"]) {
        return;
    }
    let prepare = |point: &str| {
        let mut engine = Engine::with_busybox();
        let script = "echo new > /new; touch /ready; exec sleep 1000";
        engine
            .wharf(&["run", "-d", "--name", "box", "busybox", "sh", "-c", script])
            .succeeded();
        wait::until_true("the container's files", || {
            engine.wharf(&["exec", "box", "test", "-e", "/ready"]).code == 0
        });
        engine.wharf(&["commit", "box", "unused"]).succeeded();
        engine.stop();
        engine.set("WHARF_FAILPOINT", point);
        engine.launch();
        engine
    };
    let list =
        std::env::temp_dir().join(format!("wt-points-{}-{}", std::process::id(), operation[0]));
    let mut engine = prepare(&format!("list-file:{}", list.display()));
    let before = std::fs::read_to_string(&list).unwrap_or_default().len();
    engine.wharf(operation).succeeded();
    let points = lines(&std::fs::read_to_string(&list).unwrap()[before..]);
    std::fs::remove_file(list).unwrap();
    engine.unset("WHARF_FAILPOINT");
    engine.finish();
    assert!(points.len() > 1, "{points:?}");
    for point in points {
        let mut engine = prepare(&point);
        engine.wharf(operation);
        engine.unset("WHARF_FAILPOINT");
        if !engine.settled_to_end() {
            engine.stop();
        }
        engine.launch();
        wait::until_true(&format!("{point}: the container runs"), || {
            engine.inspect("box", "{{.State.Status}}") == "running"
        });
        assert_eq!(
            engine.wharf(&["exec", "box", "cat", "/new"]).out(),
            "new",
            "{point}"
        );
        engine.wharf(operation).succeeded();
        // Accounts for every byte.
        engine.finish();
    }
}

#[test]
fn commit_recovers_at_every_step() {
    dies_at_every_step_of(&["commit", "box", "made"]);
}

#[test]
fn image_prune_recovers_at_every_step() {
    dies_at_every_step_of(&["image", "prune", "-af"]);
}

#[test]
fn cp_recovers_at_every_step() {
    dies_at_every_step_of(&["cp", "/etc/hostname", "box:/tmp"]);
}
