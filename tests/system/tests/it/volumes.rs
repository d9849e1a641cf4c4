//! Volumes: with names and without, filled from the image, shared, kept and removed.

use wharf_tests_system::{Client, Engine};

use crate::with_both;

fn volumes(engine: &Engine) -> Vec<String> {
    let listed = engine.wharf(&["volume", "ls", "-q"]);
    listed.out().lines().map(str::to_owned).collect()
}

#[test]
fn a_named_volume_is_made_listed_and_removed() {
    with_both(|engine, client| {
        let run = |arguments: &[&str]| engine.run(client, arguments);
        let created = run(&["volume", "create", "--label", "a=b", "data"]);
        assert_eq!(created.out(), "data");
        // Asking again is asking for the same.
        assert_eq!(run(&["volume", "create", "data"]).out(), "data");
        let listed = run(&["volume", "ls"]);
        assert_eq!(listed.out(), "DRIVER    VOLUME NAME\nlocal     data");
        let shown = "{{.Name}} {{.Driver}} {{.Scope}} {{.Labels}}";
        assert_eq!(
            run(&["volume", "inspect", "-f", shown, "data"]).out(),
            "data local local map[a:b]"
        );
        let filtered = |filter: &str| run(&["volume", "ls", "-q", "-f", filter]).stdout;
        assert_eq!(filtered("label=a=b"), "data\n");
        assert_eq!(filtered("label=a=c"), "");
        assert_eq!(filtered("dangling=true"), "data\n");
        assert_eq!(filtered("name=at"), "data\n");
        run(&["volume", "ls", "-f", "bogus=1"])
            .exited(1)
            .says("invalid filter 'bogus'");
        // Kept as long as a container, running or not, mentions it.
        run(&["create", "--name", "box", "-v", "data:/data", "busybox"]).succeeded();
        let id = engine.inspect("box", "{{.Id}}");
        run(&["volume", "rm", "data"])
            .exited(1)
            .says(&format!("remove data: volume is in use - [{id}]"));
        assert_eq!(filtered("dangling=true"), "");
        run(&["rm", "-v", "box"]).succeeded();
        assert_eq!(run(&["volume", "rm", "data"]).out(), "data");
        run(&["volume", "rm", "data"])
            .exited(1)
            .says("get data: no such volume");
        run(&["volume", "inspect", "data"])
            .exited(1)
            .says("get data: no such volume");
    });
}

#[test]
fn what_is_written_to_a_volume_is_there_for_the_next() {
    with_both(|engine, client| {
        let run = |flags: &[&str], command: &str| {
            let arguments = [&["run", "--rm"], flags, &["busybox", "sh", "-c", command]];
            engine.run(client, &arguments.concat())
        };
        run(&["-v", "data:/data"], "echo kept > /data/file").succeeded();
        let read = run(
            &["-v", "data:/other:ro"],
            "cat /other/file; echo x > /other/y",
        );
        assert!(read.stdout.starts_with("kept\n"), "{read:?}");
        read.exited(1).says("Read-only file system");
        let mount = "type=volume,source=data,target=/m,readonly";
        assert_eq!(run(&["--mount", mount], "cat /m/file").out(), "kept");
        // A directory inside it; what leads out of it is not one.
        run(
            &["-v", "data:/data"],
            "mkdir /data/sub; echo below > /data/sub/f; ln -s /etc /data/out",
        )
        .succeeded();
        let within =
            |path: &str| format!("type=volume,source=data,target=/m,volume-subpath={path}");
        assert_eq!(run(&["--mount", &within("sub")], "cat /m/f").out(), "below");
        for path in ["out", "nowhere"] {
            run(&["--mount", &within(path)], "true")
                .exited(125)
                .says("cannot access path");
        }
        run(&["--mount", &within("../x")], "true")
            .exited(125)
            .says("subpath must be within the volume");
        engine.run(client, &["volume", "rm", "data"]).succeeded();
    });
}

#[test]
fn an_empty_volume_begins_as_the_images_directory() {
    with_both(|engine, client| {
        let run = |flags: &[&str], command: &str| {
            let arguments = [&["run", "--rm"], flags, &["busybox", "sh", "-c", command]];
            engine.run(client, &arguments.concat())
        };
        let image = run(&[], "ls /bin | wc -l; stat -c '%a %u' /bin");
        assert_eq!(
            run(
                &["-v", "bins:/bin"],
                "ls /bin | wc -l; stat -c '%a %u' /bin"
            )
            .out(),
            image.out()
        );
        // Not a second time, and not when it is not wanted.
        run(&["-v", "bins:/x"], "rm -rf /x/*; echo mine > /x/own").succeeded();
        assert_eq!(
            run(&["-v", "bins:/etc"], "ls /etc").out().lines().count(),
            4
        );
        let empty = run(&["-v", "empty:/usr:nocopy"], "ls -A /usr");
        assert_eq!(empty.out(), "");
        engine
            .run(client, &["volume", "rm", "bins", "empty"])
            .succeeded();
    });
}

#[test]
fn volumes_without_a_name_go_with_their_container_when_asked() {
    with_both(|engine, client| {
        let run = |arguments: &[&str]| engine.run(client, arguments);
        run(&["create", "--name", "one", "-v", "/data", "busybox"]).succeeded();
        let name = engine.inspect("one", "{{(index .Mounts 0).Name}}");
        assert_eq!(name.len(), 64);
        assert_eq!(volumes(engine), std::slice::from_ref(&name));
        run(&["rm", "one"]).succeeded();
        assert_eq!(volumes(engine), std::slice::from_ref(&name));
        run(&["create", "--name", "two", "-v", "/data", "busybox"]).succeeded();
        run(&["rm", "-v", "two"]).succeeded();
        assert_eq!(volumes(engine), std::slice::from_ref(&name));
        run(&["run", "--rm", "-v", "/data", "busybox", "true"]).succeeded();
        wharf_tests_system::wait::until_true("the volume gone", || {
            volumes(engine) == std::slice::from_ref(&name)
        });
        // A clean-up takes those without a name, and all when asked.
        run(&["volume", "create", "named"]).succeeded();
        let pruned = run(&["volume", "prune", "-f"]);
        assert!(pruned.out().contains(&name), "{pruned:?}");
        assert_eq!(volumes(engine), ["named"]);
        run(&["volume", "prune", "-f", "-a"]).tells("named");
        assert!(volumes(engine).is_empty());
    });
}

#[test]
fn a_container_has_the_volumes_of_another() {
    with_both(|engine, client| {
        let run = |arguments: &[&str]| engine.run(client, arguments);
        run(&[
            "run",
            "--name",
            "giver",
            "-v",
            "data:/data",
            "-v",
            "/own",
            "busybox",
            "sh",
            "-c",
            "echo given > /data/f; echo own > /own/f",
        ])
        .succeeded();
        let taken = |from: &str, command: &str| {
            run(&[
                "run",
                "--rm",
                "--volumes-from",
                from,
                "busybox",
                "sh",
                "-c",
                command,
            ])
        };
        assert_eq!(taken("giver", "cat /data/f /own/f").out(), "given\nown");
        taken("giver:ro", "echo x > /data/g")
            .exited(1)
            .says("Read-only file system");
        taken("nobody", "true")
            .exited(125)
            .says("No such container: nobody");
        taken("giver:bogus", "true")
            .exited(125)
            .says("invalid mode: bogus");
        // What another one still uses does not go.
        run(&[
            "create",
            "--name",
            "taker",
            "--volumes-from",
            "giver",
            "busybox",
        ])
        .succeeded();
        run(&["rm", "-v", "giver"]).succeeded();
        assert_eq!(volumes(engine).len(), 2);
        run(&["rm", "-v", "taker"]).succeeded();
        assert_eq!(volumes(engine), ["data"]);
        run(&["volume", "rm", "data"]).succeeded();
    });
}

#[test]
fn a_directory_of_the_host_can_be_a_volume() {
    with_both(|engine, client| {
        let host = engine.directory().join(format!("bound-{client:?}"));
        std::fs::create_dir(&host).unwrap();
        std::fs::write(host.join("file"), "of the host").unwrap();
        let device = format!("device={}", host.display());
        let run = |arguments: &[&str]| engine.run(client, arguments);
        run(&[
            "volume",
            "create",
            "-o",
            "type=none",
            "-o",
            "o=bind",
            "-o",
            &device,
            "host",
        ])
        .succeeded();
        let read = run(&["run", "--rm", "-v", "host:/h", "busybox", "cat", "/h/file"]);
        assert_eq!(read.out(), "of the host");
        run(&["volume", "rm", "host"]).succeeded();
        assert!(host.join("file").exists());
        run(&["volume", "create", "-o", "bogus=1", "x1"])
            .exited(1)
            .says("create x1: invalid option: \"bogus\"");
        run(&[
            "volume",
            "create",
            "-o",
            "type=nfs",
            "-o",
            "device=:/x",
            "x1",
        ])
        .exited(1)
        .says("volumes of type \"nfs\" are not supported yet");
        run(&["volume", "create", "-d", "nope", "x1"])
            .exited(1)
            .says("create x1: error looking up volume plugin nope: plugin \"nope\" not found");
        run(&["volume", "create", "a/b"])
            .exited(1)
            .says("includes invalid characters for a local volume name");
    });
}

#[test]
fn volumes_are_told_of_and_accounted_for() {
    with_both(|engine, client| {
        let run = |arguments: &[&str]| engine.run(client, arguments);
        run(&[
            "run",
            "--rm",
            "-v",
            "data:/data",
            "busybox",
            "sh",
            "-c",
            "echo 12345 > /data/f",
        ])
        .succeeded();
        let sizes = run(&["system", "df", "-v"]);
        let own = sizes.out().lines().find(|line| line.starts_with("data "));
        assert!(own.is_some_and(|line| line.ends_with(" 6B")), "{sizes:?}");
        run(&["volume", "rm", "data"]).succeeded();
        // Clients name a time by its second, and this one is not over.
        wharf_tests_system::wait::until_true("all that was told", || {
            let told = run(&[
                "events",
                "--since",
                "1m",
                "--until",
                "0s",
                "--filter",
                "type=volume",
                "--filter",
                "volume=data",
                "--format",
                "{{.Action}}",
            ]);
            let actions: Vec<&str> = told.out().lines().collect();
            actions.ends_with(&["create", "mount", "unmount", "destroy"])
        });
    });
}

#[test]
fn attack_r18_an_images_volume_stays_inside() {
    with_both(|engine, client| {
        let image = format!("outside-{client:?}").to_lowercase();
        let archive = wharf_tests_system::image::busybox_with(|archive| {
            archive.symlink("link", "/../../../../../../etc")
        });
        engine
            .import_bytes(
                &archive,
                &image,
                &["VOLUME /../../../../../../root", "VOLUME /link"],
            )
            .succeeded();
        let ran = engine.run(
            client,
            &[
                "run",
                "--rm",
                &image,
                "sh",
                "-c",
                "ls -A /root /etc/shadow; mount",
            ],
        );
        assert!(!ran.stdout.contains(".bash"), "{ran:?}");
        assert!(!ran.stdout.contains("/etc/shadow\n"), "{ran:?}");
        engine.run(client, &["rmi", &image]).succeeded();
    });
}

#[test]
fn volumes_outlive_the_engine() {
    let Some(mut engine) = crate::engine() else {
        return;
    };
    let client = Client::Wharf;
    engine
        .run(client, &["volume", "create", "--label", "x=y", "data"])
        .succeeded();
    engine
        .run(
            client,
            &[
                "create", "--name", "box", "-v", "data:/d", "-v", "/e", "busybox",
            ],
        )
        .succeeded();
    let before = engine.wharf(&["volume", "inspect", "data"]).stdout;
    engine.kill();
    engine.launch();
    assert_eq!(engine.wharf(&["volume", "inspect", "data"]).stdout, before);
    assert_eq!(volumes(&engine).len(), 2);
    engine.run(client, &["volume", "rm", "data"]).exited(1);
    engine.run(client, &["rm", "-v", "box"]).succeeded();
    engine.run(client, &["volume", "rm", "data"]).succeeded();
    engine.finish();
}
