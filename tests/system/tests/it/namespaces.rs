//! Namespaces that a container shares with another one.

use crate::with_both;

#[test]
fn a_container_sees_the_processes_of_another() {
    with_both(|engine, client| {
        let run = |arguments: &[&str]| engine.run(client, arguments);
        run(&["run", "-d", "--name", "seen", "busybox", "sleep", "1234"]).succeeded();
        run(&["run", "--rm", "--pid", "container:seen", "busybox", "ps"]).tells("sleep 1234");
        // The one ends without the other.
        run(&[
            "run",
            "-d",
            "--name",
            "guest",
            "--pid",
            "container:seen",
            "busybox",
            "sleep",
            "4321",
        ])
        .succeeded();
        run(&["exec", "seen", "ps"]).tells("sleep 4321");
        run(&["rm", "-f", "guest"]).succeeded();
        assert!(!run(&["exec", "seen", "ps"]).stdout.contains("4321"));
        run(&["rm", "-f", "seen"]).succeeded();
        run(&["run", "--rm", "--pid", "container:seen", "busybox", "true"])
            .exited(125)
            .says("No such container: seen");
    });
}

#[test]
fn a_container_shares_the_memory_of_one_that_shares() {
    with_both(|engine, client| {
        let run = |arguments: &[&str]| engine.run(client, arguments);
        run(&[
            "run",
            "-d",
            "--name",
            "donor",
            "--ipc",
            "shareable",
            "--shm-size",
            "1m",
            "busybox",
            "sh",
            "-c",
            "echo shared > /dev/shm/file; exec sleep 1000",
        ])
        .succeeded();
        wharf_tests_system::wait::until_true("the file", || {
            run(&["exec", "donor", "test", "-e", "/dev/shm/file"]).code == 0
        });
        let joined = |command: &str| {
            let ipc = "container:donor";
            run(&["run", "--rm", "--ipc", ipc, "busybox", "sh", "-c", command])
        };
        let seen =
            joined("cat /dev/shm/file; readlink /proc/self/ns/ipc; df -k /dev/shm | tail -1");
        let own = run(&["exec", "donor", "readlink", "/proc/self/ns/ipc"]);
        assert!(
            seen.out().starts_with(&format!("shared\n{}", own.out())),
            "{seen:?}"
        );
        assert!(seen.out().contains(" 1024 "), "{seen:?}");
        run(&["run", "-d", "--name", "alone", "busybox", "sleep", "1000"]).succeeded();
        run(&["run", "--rm", "--ipc", "container:alone", "busybox", "true"])
            .exited(125)
            .says("non-shareable IPC (hint: use IpcMode:shareable for the donor container)");
        run(&["rm", "-f", "alone", "donor"]).succeeded();
    });
}

#[test]
fn a_container_has_the_network_of_another() {
    with_both(|engine, client| {
        let run = |arguments: &[&str]| engine.run(client, arguments);
        run(&[
            "run", "-d", "--name", "lender", "-h", "lends", "busybox", "sleep", "1000",
        ])
        .succeeded();
        let network = "container:lender";
        let look = "ip -o -4 addr show eth0; hostname; echo $HOSTNAME; cat /etc/hosts";
        let own = run(&["exec", "lender", "sh", "-c", look]);
        let joined = run(&[
            "run",
            "--rm",
            "--network",
            network,
            "busybox",
            "sh",
            "-c",
            look,
        ]);
        assert_eq!(joined.out(), own.out());
        assert!(own.out().contains("lends"), "{own:?}");
        run(&["create", "--name", "guest", "--network", network, "busybox"]).succeeded();
        let id = engine.inspect("lender", "{{.Id}}");
        assert_eq!(
            engine.inspect(
                "guest",
                "{{.HostConfig.NetworkMode}} {{len .NetworkSettings.Networks}}"
            ),
            format!("container:{id} 0")
        );
        run(&["stop", "-t", "0", "lender"]).succeeded();
        run(&["start", "guest"]).exited(1).says(&format!(
            "cannot join network of a non running container: {id}"
        ));
        run(&["rm", "-f", "guest", "lender"]).succeeded();
        run(&[
            "run",
            "--rm",
            "--network",
            network,
            "-p",
            "80",
            "busybox",
            "true",
        ])
        .exited(125)
        .says("conflicting options: port publishing and the container type network mode");
    });
}
