//! Logs.

use wharf_tests_system::command;

use crate::with_both;

#[test]
fn logs_are_kept_and_cut_as_asked() {
    with_both(|engine, client| {
        let script = "for i in 1 2 3 4 5; do echo out$i; echo err$i >&2; done";
        engine
            .run(
                client,
                &["run", "--name", "box", "busybox", "sh", "-c", script],
            )
            .succeeded();
        let logs = |flags: &[&str]| {
            let ran = engine.run(client, &[&["logs"], flags, &["box"]].concat());
            ran.succeeded();
            ran
        };
        let all = logs(&[]);
        assert_eq!(all.stdout, "out1\nout2\nout3\nout4\nout5\n");
        assert_eq!(all.stderr, "err1\nerr2\nerr3\nerr4\nerr5\n");
        let tail = logs(&["--tail", "2"]);
        assert_eq!(tail.stdout.lines().count() + tail.stderr.lines().count(), 2);
        let none = logs(&["-n", "0"]);
        assert_eq!((none.stdout.as_str(), none.stderr.as_str()), ("", ""));
        let stamped = logs(&["--timestamps", "--tail", "1"]);
        let line = format!("{}{}", stamped.stdout, stamped.stderr);
        let (stamp, _) = line.split_once(' ').unwrap();
        assert!(stamp.ends_with('Z') && stamp.contains('T'), "{line}");
        engine.run(client, &["rm", "box"]).succeeded();
    });
}

#[test]
fn following_ends_with_the_container() {
    with_both(|engine, client| {
        let script = "read go; seq 1 5000; echo end";
        let id = engine.run(
            client,
            &[
                "run", "-d", "-i", "--name", "box", "busybox", "sh", "-c", script,
            ],
        );
        id.succeeded();
        let follow = engine.client(client, &["logs", "-f", "box"]);
        let following = std::thread::spawn(move || command::run(follow, &[]));
        let attach = engine.client(client, &["attach", "box"]);
        let attached = command::run(attach, b"go\n");
        attached.succeeded();
        let followed = following.join().unwrap();
        assert_eq!(followed.out().lines().count(), 5001);
        assert_eq!(followed.out().lines().last(), Some("end"));
        engine.run(client, &["rm", "-f", "box"]).succeeded();
    });
}
