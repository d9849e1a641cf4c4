//! `run`: a command in a container, and what its exit code says.

use wharf_tests_system::{Client, Engine, image, needs};

use crate::{engine, with_both};

#[test]
fn hello_world_needs_no_image_and_no_network() {
    if !needs::met(&["docker"]) {
        return;
    }
    let engine = Engine::start();
    let greeting = engine.wharf(&["run", "hello-world"]);
    assert!(greeting.out().contains("from Wharf"), "{greeting:?}");
    assert_eq!(
        engine
            .run(Client::Docker, &["run", "--rm", "hello-world"])
            .out(),
        greeting.out()
    );
    engine.finish();
}

#[test]
fn debian_echoes() {
    if !needs::met(&["docker", "mmdebstrap"]) {
        return;
    }
    let engine = Engine::start();
    engine.import(&image::debian(), "debian");
    for client in Client::ALL {
        let echo = engine.run(client, &["run", "debian", "echo", "bonjour mondedie"]);
        assert_eq!(echo.out(), "bonjour mondedie");
        // Its own processes alone, and itself as number one.
        let ps = engine.run(
            client,
            &["run", "--rm", "debian", "ps", "-eo", "pid=,comm="],
        );
        assert_eq!(ps.out().trim(), "1 ps");
    }
    engine.finish();
}

#[test]
fn exit_codes_are_the_commands_own_or_say_what_failed() {
    with_both(|engine, client| {
        let check = |command: &[&str], code: i32, says: &str| {
            let arguments = [&["run", "--rm", "busybox"], command].concat();
            engine.run(client, &arguments).exited(code).says(says);
        };
        check(&["true"], 0, "");
        check(&["false"], 1, "");
        check(&["sh", "-c", "exit 42"], 42, "");
        check(
            &["no-such-program"],
            127,
            "executable file not found in $PATH",
        );
        check(&["/no/such/program"], 127, "no such file or directory");
        check(&["/etc/passwd"], 126, "permission denied");
        check(&["/etc"], 126, "");
        // A child's death by a signal, as the shell reports it.
        check(&["sh", "-c", "sh -c 'kill -9 $$'; exit $?"], 137, "");
        check(&["sh", "-c", "sh -c 'kill -15 $$'; exit $?"], 143, "");
        engine
            .run(client, &["run", "--no-such-flag", "busybox"])
            .exited(125)
            .says("unknown flag");
        engine
            .run(client, &["run", "no-such-image"])
            .exited(125)
            .says("no-such-image");
    });
}

#[test]
fn the_command_line_reaches_the_process() {
    with_both(|engine, client| {
        let check = |arguments: &[&str], expected: &str| {
            let arguments = [&["run", "--rm"], arguments].concat();
            assert_eq!(
                engine.run(client, &arguments).out(),
                expected,
                "{arguments:?}"
            );
        };
        check(
            &[
                "-e",
                "A=b c",
                "-e",
                "EMPTY=",
                "busybox",
                "sh",
                "-c",
                "echo $A,$EMPTY.",
            ],
            "b c,.",
        );
        check(&["-w", "/tmp/new/dir", "busybox", "pwd"], "/tmp/new/dir");
        // The primary group, and those that /etc/group names the user in.
        let groups = "echo $(id -u) $(id -g); id -G | grep -o 1234";
        check(
            &["--user", "33", "busybox", "sh", "-c", groups],
            "33 33\n1234",
        );
        check(&["-u", "www:0", "busybox", "id", "-g"], "0");
        check(
            &["-u", "7:8", "busybox", "sh", "-c", "echo $(id -u):$(id -g)"],
            "7:8",
        );
        check(&["--entrypoint", "/bin/echo", "busybox", "a", "b"], "a b");
        check(&["--hostname", "ship", "busybox", "hostname"], "ship");
    });
}

#[test]
fn standard_input_output_and_error_are_kept_apart() {
    let Some(engine) = engine() else { return };
    for client in Client::ALL {
        let command = engine.client(
            client,
            &["run", "--rm", "-i", "busybox", "tr", "a-z", "A-Z"],
        );
        let ran = wharf_tests_system::command::run(command, b"some\x00text\n");
        assert_eq!(ran.out(), "SOME\0TEXT");
        let both = [
            "run",
            "--rm",
            "busybox",
            "sh",
            "-c",
            "echo out; echo err >&2",
        ];
        let ran = engine.run(client, &both);
        assert_eq!((ran.out(), ran.stderr.as_str()), ("out", "err\n"));
        // More than any pipe or window holds, and in order.
        let many = ["run", "--rm", "busybox", "seq", "200000"];
        let ran = engine.run(client, &many);
        assert_eq!(ran.out().lines().count(), 200_000);
        assert_eq!(ran.out().lines().last(), Some("200000"));
    }
    engine.finish();
}

#[test]
fn names_are_unique_and_made_up_when_not_given() {
    with_both(|engine, client| {
        let id = engine.run(
            client,
            &["run", "-d", "--name", "one", "busybox", "sleep", "100"],
        );
        let id = id.out().to_owned();
        assert!(
            id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()),
            "{id}"
        );
        let again = engine.run(client, &["run", "--name", "one", "busybox", "true"]);
        again.exited(125).says(&format!(
            "Conflict. The container name \"/one\" is already in use by container \"{id}\". You \
             have to remove (or rename) that container to be able to reuse that name."
        ));
        let other = engine.run(client, &["create", "busybox", "true"]);
        let name = engine.inspect(other.out(), "{{.Name}}");
        let (adjective, surname) = name.trim_start_matches('/').split_once('_').unwrap();
        assert!(!adjective.is_empty() && !surname.is_empty());
        // Any unique beginning of an id will do.
        assert_eq!(engine.inspect(&id[..10], "{{.Id}}"), id);
        engine
            .run(client, &["rm", "-f", &id[..12], other.out()])
            .succeeded();
    });
}

#[test]
fn init_is_there_when_asked_for_and_reaps() {
    with_both(|engine, client| {
        let script = "sh -c 'sleep 0.01 & exit 0'; cat /proc/1/cmdline | tr '\\0' ' '";
        let ran = engine.run(
            client,
            &["run", "--rm", "--init", "busybox", "sh", "-c", script],
        );
        assert!(ran.out().contains("init"), "{ran:?}");
        let id = engine.run(client, &["run", "-d", "--init", "busybox", "sleep", "1000"]);
        engine.run(client, &["stop", id.out()]).succeeded();
        assert_eq!(engine.inspect(id.out(), "{{.State.ExitCode}}"), "143");
        engine.run(client, &["rm", id.out()]).succeeded();
    });
}

#[test]
fn capabilities_are_dockers_and_can_be_changed() {
    with_both(|engine, client| {
        let effective = |flags: &[&str]| {
            let command = [
                "busybox",
                "sh",
                "-c",
                "grep -E '^Cap(Inh|Eff)' /proc/self/status",
            ];
            let arguments = [&["run", "--rm"], flags, &command].concat();
            let ran = engine.run(client, &arguments);
            let words: Vec<String> = ran.out().split_whitespace().map(str::to_owned).collect();
            assert_eq!(words[1], "0000000000000000", "nothing is inherited");
            words[3].clone()
        };
        assert_eq!(effective(&[]), "00000000a80425fb");
        assert_eq!(effective(&["--cap-drop", "ALL"]), "0000000000000000");
        assert_eq!(
            effective(&["--cap-drop", "ALL", "--cap-add", "chown"]),
            "0000000000000001"
        );
        assert_eq!(effective(&["--user", "33"]), "0000000000000000");
    });
}

#[test]
fn namespaces_of_the_host_are_joined_when_asked_for() {
    with_both(|engine, client| {
        for (flag, kind) in [
            ("--pid", "pid"),
            ("--ipc", "ipc"),
            ("--uts", "uts"),
            ("--network", "net"),
        ] {
            let own = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
            let command = ["busybox", "readlink", &format!("/proc/self/ns/{kind}")];
            let inside = |flags: &[&str]| {
                engine
                    .run(client, &[&["run", "--rm"], flags, &command].concat())
                    .out()
                    .to_owned()
            };
            assert_eq!(inside(&[flag, "host"]), own.to_string_lossy(), "{kind}");
            assert_ne!(inside(&[]), own.to_string_lossy(), "{kind}");
        }
    });
}
