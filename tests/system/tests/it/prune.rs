//! What nobody uses any more is removed.

use wharf_tests_system::command;

use crate::with_both;

#[test]
fn stopped_containers_go_and_others_stay() {
    with_both(|engine, client| {
        let run = |arguments: &[&str]| engine.run(client, arguments).out().to_owned();
        run(&["run", "-d", "--name", "runs", "busybox", "sleep", "1000"]);
        let made = run(&[
            "create", "--name", "made", "--label", "keep=no", "busybox", "true",
        ]);
        run(&[
            "run",
            "--name",
            "ended",
            "busybox",
            "sh",
            "-c",
            "head -c 5000 /dev/zero > /file",
        ]);
        run(&[
            "create", "--name", "kept", "--label", "keep=yes", "busybox", "true",
        ]);
        assert_eq!(
            run(&["container", "prune", "-f", "--filter", "until=24h"]),
            "Total reclaimed space: 0B"
        );
        engine
            .run(client, &["container", "prune", "-f", "--filter", "name=x"])
            .exited(1)
            .says("nvalid filter 'name'");
        let asked = command::run(engine.client(client, &["container", "prune"]), b"n\n");
        assert_eq!(
            asked.stdout,
            "WARNING! This will remove all stopped containers.\nAre you sure you want to continue? [y/N] "
        );
        let first = run(&["container", "prune", "-f", "--filter", "label=keep=no"]);
        assert_eq!(
            first,
            format!("Deleted Containers:\n{made}\n\nTotal reclaimed space: 0B")
        );
        let second = run(&["container", "prune", "-f", "--filter", "label!=keep=yes"]);
        assert!(second.contains("Total reclaimed space: 5"), "{second}");
        let names = run(&["ps", "-a", "--format", "{{.Names}}"]);
        assert_eq!(names, "kept\nruns");
        let all = command::run(engine.client(client, &["system", "prune"]), b"y\n");
        assert!(all.out().contains("Deleted Containers:"), "{all:?}");
        assert_eq!(run(&["ps", "-a", "--format", "{{.Names}}"]), "runs");
        run(&["rm", "-f", "runs"]);
    });
}
