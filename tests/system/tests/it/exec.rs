//! `exec` and `attach`: entering a container that runs.

use wharf_tests_system::{command, wait};

use crate::with_both;

#[test]
fn exec_runs_beside_the_container() {
    with_both(|engine, client| {
        engine
            .run(
                client,
                &[
                    "run", "-d", "--name", "box", "-e", "A=1", "busybox", "sleep", "1000",
                ],
            )
            .succeeded();
        let exec = |arguments: &[&str]| engine.run(client, &[&["exec"], arguments].concat());
        assert_eq!(exec(&["box", "echo", "hi"]).out(), "hi");
        assert_eq!(
            exec(&[
                "-e",
                "B=2",
                "-w",
                "/tmp",
                "box",
                "sh",
                "-c",
                "echo $A$B $PWD"
            ])
            .out(),
            "12 /tmp"
        );
        assert_eq!(exec(&["-u", "www", "box", "id", "-u"]).out(), "33");
        exec(&["box", "sh", "-c", "exit 5"]).exited(5);
        exec(&["box", "no-such-program"])
            .exited(127)
            .tells("executable file not found in $PATH");
        exec(&["box", "/etc/passwd"])
            .exited(126)
            .tells("permission denied");
        // The same namespaces, root and cgroup.
        let same = |kind: &str| {
            let path = format!("/proc/1/ns/{kind}");
            let own = format!("/proc/self/ns/{kind}");
            let both = format!("readlink {path}; readlink {own}");
            let ran = exec(&["box", "sh", "-c", &both]);
            let links: Vec<String> = ran.out().lines().map(str::to_owned).collect();
            assert_eq!(links[0], links[1], "{kind}");
        };
        ["pid", "net", "ipc", "uts", "mnt", "cgroup"]
            .into_iter()
            .for_each(same);
        assert_eq!(
            exec(&["box", "grep", "^CapInh", "/proc/self/status"]).out(),
            "CapInh:\t0000000000000000"
        );
        let piped = engine.client(client, &["exec", "-i", "box", "cat"]);
        assert_eq!(command::run(piped, b"through").out(), "through");
        exec(&["-d", "box", "touch", "/done"]).succeeded();
        wait::until_true("the detached command", || {
            exec(&["box", "test", "-e", "/done"]).code == 0
        });
        engine.run(client, &["kill", "box"]).succeeded();
        wait::until_true("the end", || exec(&["box", "true"]).code == 1);
        exec(&["box", "true"]).exited(1).says("is not running");
        exec(&["nobody", "true"])
            .exited(1)
            .says("No such container: nobody");
        engine.run(client, &["rm", "box"]).succeeded();
    });
}

#[test]
fn exec_on_a_terminal_is_a_session() {
    with_both(|engine, client| {
        engine
            .run(
                client,
                &["run", "-d", "--name", "box", "busybox", "sleep", "1000"],
            )
            .succeeded();
        let ran = engine.on_terminal(client, &["exec", "-it", "box", "sh"], "tty; exit 4\n");
        ran.exited(4);
        assert!(ran.stdout.contains("/dev/pts/"), "{ran:?}");
        engine.run(client, &["rm", "-f", "box"]).succeeded();
    });
}

#[test]
fn several_clients_attach_at_once() {
    with_both(|engine, client| {
        let script = "read go; echo $go for all; exit 6";
        engine
            .run(
                client,
                &[
                    "run", "-d", "-i", "--name", "box", "busybox", "sh", "-c", script,
                ],
            )
            .succeeded();
        let watchers: Vec<_> = (0..3)
            .map(|_| engine.client(client, &["attach", "--no-stdin", "box"]))
            .map(|watcher| std::thread::spawn(move || command::run(watcher, &[])))
            .collect();
        let events = [
            "events",
            "--since",
            "1h",
            "--until",
            "0s",
            "--filter",
            "event=attach",
        ];
        wait::until_true("all watchers", || {
            engine.run(client, &events).out().lines().count() >= watchers.len()
        });
        let typed = command::run(engine.client(client, &["attach", "box"]), b"one\n");
        typed.exited(6);
        for watcher in watchers {
            assert_eq!(watcher.join().unwrap().exited(6).stdout, "one for all\n");
        }
        engine.run(client, &["rm", "box"]).succeeded();
    });
}
