//! Bind mounts, tmpfs, read-only roots.

use crate::with_both;

#[test]
fn bind_mounts_show_the_hosts_files() {
    with_both(|engine, client| {
        let host = engine.directory().join(format!("{client:?}"));
        std::fs::create_dir(&host).unwrap();
        std::fs::write(host.join("file"), "of the host").unwrap();
        let bind = |options: &str| format!("{}:/mnt{options}", host.display());
        let run = |flags: &[&str], command: &str| {
            engine.run(
                client,
                &[&["run", "--rm"], flags, &["busybox", "sh", "-c", command]].concat(),
            )
        };
        assert_eq!(
            run(&["-v", &bind("")], "cat /mnt/file; echo new > /mnt/new").out(),
            "of the host"
        );
        assert_eq!(std::fs::read_to_string(host.join("new")).unwrap(), "new\n");
        run(&["-v", &bind(":ro")], "echo no > /mnt/file")
            .exited(1)
            .says("Read-only file system");
        let mount = format!("type=bind,source={},target=/mnt,readonly", host.display());
        assert_eq!(
            run(&["--mount", &mount], "cat /mnt/file").out(),
            "of the host"
        );
        run(&["--mount", &mount], "echo no > /mnt/file")
            .exited(1)
            .says("Read-only file system");
        // -v makes what is missing, --mount does not.
        let missing = host.join("made");
        run(&["-v", &format!("{}:/m", missing.display())], "true").succeeded();
        assert!(missing.is_dir());
        let mount = format!(
            "type=bind,source={},target=/mnt",
            host.join("nope").display()
        );
        run(&["--mount", &mount], "true")
            .exited(125)
            .says("bind source path does not exist");
        // A single file.
        let file = format!("{}:/etc/motd:ro", host.join("file").display());
        assert_eq!(run(&["-v", &file], "cat /etc/motd").out(), "of the host");
    });
}

#[test]
fn tmpfs_and_read_only_roots() {
    with_both(|engine, client| {
        let run = |flags: &[&str], command: &str| {
            engine.run(
                client,
                &[&["run", "--rm"], flags, &["busybox", "sh", "-c", command]].concat(),
            )
        };
        let read_only = run(&["--read-only"], "echo x > /x");
        read_only.exited(1).says("Read-only file system");
        let flags = ["--read-only", "--tmpfs", "/scratch:size=1m,mode=1777"];
        let ran = run(
            &flags,
            "echo x > /scratch/x && cat /scratch/x && grep /scratch /proc/mounts",
        );
        assert!(ran.out().starts_with("x\ntmpfs /scratch tmpfs"), "{ran:?}");
        assert!(ran.out().contains("size=1024k"), "{ran:?}");
        let mount = [
            "--mount",
            "type=tmpfs,target=/t,tmpfs-size=65536,tmpfs-mode=700",
        ];
        let ran = run(
            &mount,
            "dd if=/dev/zero of=/t/x bs=128k count=1; stat -c %a /t",
        );
        assert!(ran.stdout.ends_with("700\n"), "{ran:?}");
        ran.says("No space left on device");
    });
}

#[test]
fn dev_and_proc_are_as_in_docker() {
    with_both(|engine, client| {
        let run =
            |command: &str| engine.run(client, &["run", "--rm", "busybox", "sh", "-c", command]);
        assert_eq!(
            run("ls /dev | grep -v core | tr '\\n' ' '").out().trim(),
            "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"
        );
        run("echo 1 > /proc/sys/kernel/panic")
            .exited(1)
            .says("Read-only file system");
        assert_eq!(
            run("cat /proc/kcore | wc -c; cat /proc/timer_list | wc -c").out(),
            "0\n0"
        );
        run("mknod /tmp/disk b 8 0 && cat /tmp/disk").exited(1);
        run("mount -t tmpfs none /mnt").exited(1);
        let links = run("find /proc/self/fd -type l | wc -l; ls -l /proc/1/fd | grep -c ' -> /'");
        links.succeeded();
    });
}
