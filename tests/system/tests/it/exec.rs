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
                    "run", "-d", "--name", "c", "-e", "A=1", "busybox", "sleep", "1000",
                ],
            )
            .succeeded();
        let exec = |arguments: &[&str]| engine.run(client, &[&["exec"], arguments].concat());
        assert_eq!(exec(&["c", "echo", "hi"]).out(), "hi");
        assert_eq!(
            exec(&["-e", "B=2", "-w", "/tmp", "c", "sh", "-c", "echo $A$B $PWD"]).out(),
            "12 /tmp"
        );
        assert_eq!(exec(&["-u", "www", "c", "id", "-u"]).out(), "33");
        exec(&["c", "sh", "-c", "exit 5"]).exited(5);
        exec(&["c", "no-such-program"])
            .exited(127)
            .says("executable file not found in $PATH");
        exec(&["c", "/etc/passwd"])
            .exited(126)
            .says("permission denied");
        // The same namespaces, root and cgroup.
        let same = |kind: &str| {
            let path = format!("/proc/1/ns/{kind}");
            let own = format!("/proc/self/ns/{kind}");
            let ran = exec(&["c", "readlink", &path, &own]);
            let links: Vec<String> = ran.out().lines().map(str::to_owned).collect();
            assert_eq!(links[0], links[1], "{kind}");
        };
        ["pid", "net", "ipc", "uts", "mnt", "cgroup"]
            .into_iter()
            .for_each(same);
        assert_eq!(
            exec(&["c", "grep", "^CapInh", "/proc/self/status"]).out(),
            "CapInh:\t0000000000000000"
        );
        let piped = engine.client(client, &["exec", "-i", "c", "cat"]);
        assert_eq!(command::run(piped, b"through").out(), "through");
        exec(&["-d", "c", "touch", "/done"]).succeeded();
        wait::until_true("the detached command", || {
            exec(&["c", "test", "-e", "/done"]).code == 0
        });
        engine.run(client, &["kill", "c"]).succeeded();
        wait::until_true("the end", || exec(&["c", "true"]).code == 1);
        exec(&["c", "true"]).exited(1).says("is not running");
        exec(&["nobody", "true"])
            .exited(1)
            .says("No such container: nobody");
        engine.run(client, &["rm", "c"]).succeeded();
    });
}

#[test]
fn exec_on_a_terminal_is_a_session() {
    with_both(|engine, client| {
        engine
            .run(
                client,
                &["run", "-d", "--name", "c", "busybox", "sleep", "1000"],
            )
            .succeeded();
        let ran = engine.on_terminal(client, &["exec", "-it", "c", "sh"], "tty; exit 4\n");
        ran.exited(4);
        assert!(ran.stdout.contains("/dev/pts/"), "{ran:?}");
        engine.run(client, &["rm", "-f", "c"]).succeeded();
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
                    "run", "-d", "-i", "--name", "c", "busybox", "sh", "-c", script,
                ],
            )
            .succeeded();
        let watchers: Vec<_> = (0..3)
            .map(|_| engine.client(client, &["attach", "--no-stdin", "c"]))
            .map(|watcher| std::thread::spawn(move || command::run(watcher, &[])))
            .collect();
        wait::until_true("all watchers", || {
            let events = engine.request("GET", "/containers/c/json", &[]).unwrap();
            events.status == 200 && watchers.iter().all(|watcher| !watcher.is_finished())
        });
        let typed = command::run(engine.client(client, &["attach", "c"]), b"one\n");
        assert_eq!(typed.exited(6).stdout, "one for all\n");
        for watcher in watchers {
            watcher.join().unwrap().exited(6);
        }
        engine.run(client, &["rm", "c"]).succeeded();
    });
}
