//! Containers on a terminal.

use wharf_tests_system::{Client, Engine, image, needs};

use crate::engine;

#[test]
fn bash_on_a_terminal_is_a_session() {
    if !needs::met(&["docker", "mmdebstrap", "script"]) {
        return;
    }
    let engine = Engine::start();
    engine.import(&image::debian(), "debian");
    for client in Client::ALL {
        let typed = "tty; ps -eo comm=; stty size >/dev/null && echo sized; exit 7\n";
        let ran = engine.on_terminal(client, &["run", "-it", "--rm", "debian", "bash"], typed);
        ran.exited(7);
        assert!(ran.stdout.contains("/dev/pts/0"), "{ran:?}");
        assert!(ran.stdout.contains("bash\r\nps\r\n"), "{ran:?}");
        assert!(ran.stdout.contains("sized"), "{ran:?}");
    }
    engine.finish();
}

#[test]
fn a_terminal_is_refused_without_one() {
    let Some(engine) = engine() else { return };
    for client in Client::ALL {
        let ran = engine.run(client, &["run", "-it", "--rm", "busybox", "true"]);
        // The standard input of a test is no terminal.
        assert_ne!(ran.code, 0);
        assert!(
            ran.stderr.contains("TTY") || ran.stderr.contains("tty"),
            "{ran:?}"
        );
    }
    engine.finish();
}

#[test]
fn a_terminal_without_input_needs_none() {
    let Some(engine) = engine() else { return };
    for client in Client::ALL {
        let ran = engine.run(client, &["run", "-t", "--rm", "busybox", "tty"]);
        assert_eq!(ran.stdout, "/dev/pts/0\r\n");
    }
    engine.finish();
}
