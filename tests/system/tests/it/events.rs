//! What happened, told as it happens and afterwards.

use wharf_tests_system::{binary, wait};

use crate::{engine, with_both};

/// A moment that is not yet over: Docker's client knows whole seconds only.
pub(crate) fn soon() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    (now.unwrap().as_secs() + 1).to_string()
}

#[test]
fn a_life_is_told_in_order_with_its_networks() {
    with_both(|engine, client| {
        let run = |arguments: &[&str]| engine.run(client, arguments).out().to_owned();
        let id = run(&[
            "create", "--name", "box", "--label", "a=b", "busybox", "sleep", "1000",
        ]);
        for action in [
            &["start", "box"][..],
            &["pause", "box"],
            &["unpause", "box"],
            &["exec", "box", "true"],
            &["top", "box"],
            &["rename", "box", "crate"],
            &["update", "--cpu-shares", "99", "crate"],
            &["restart", "-t", "0", "crate"],
            &["kill", "crate"],
            &["rm", "crate"],
        ] {
            run(action);
        }
        let told = |filters: &[&str], format: &str| {
            let until = soon();
            let mut arguments = vec![
                "events", "--since", "5m", "--until", &until, "--format", format,
            ];
            for filter in filters {
                arguments.extend(["--filter", filter]);
            }
            run(&arguments)
        };
        let of_id = format!("container={id}");
        let actions = told(&[&of_id], "{{.Action}}");
        let mut actions: Vec<&str> = actions
            .lines()
            .map(|action| action.split(':').next().unwrap_or_default())
            .collect();
        // A stopped container is killed by one signal or two, as it heeds the first or not.
        actions.dedup();
        assert_eq!(
            actions,
            [
                "create",
                "start",
                "pause",
                "unpause",
                "exec_create",
                "exec_start",
                "exec_die",
                "top",
                "rename",
                "update",
                "kill",
                "die",
                "stop",
                "start",
                "restart",
                "kill",
                "die",
                "destroy"
            ]
        );
        let old = told(
            &[&of_id, "event=rename"],
            "{{.Actor.Attributes.oldName}} {{.Actor.Attributes.name}}",
        );
        assert_eq!(old, "/box crate");
        assert_eq!(
            told(&[&of_id, "label=a=b", "event=create"], "{{.Type}}"),
            "container"
        );
        assert_eq!(told(&[&of_id, "label=a=c"], "{{.Type}}"), "");
        let networks = told(
            &["type=network"],
            "{{.Action}} {{.Actor.Attributes.container}}",
        );
        let networks: Vec<&str> = networks
            .lines()
            .filter(|line| line.ends_with(&id))
            .map(|line| line.split(' ').next().unwrap_or_default())
            .collect();
        assert_eq!(networks, ["connect", "disconnect", "connect", "disconnect"]);
    });
}

#[test]
fn the_past_outlives_the_engine() {
    if binary::reference().is_some() {
        return;
    }
    let Some(mut engine) = engine() else { return };
    let id = engine.wharf(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    let id = id.out().to_owned();
    let filter = format!("container={id}");
    let told = |engine: &wharf_tests_system::Engine| {
        let ran = engine.wharf(&[
            "events",
            "--since",
            "5m",
            "--until",
            "0s",
            "--filter",
            &filter,
            "--format",
            "{{.Action}} {{.TimeNano}}",
        ]);
        ran.out().to_owned()
    };
    let before = told(&engine);
    assert_eq!(before.lines().count(), 2, "{before}");
    // The thread that writes them is microseconds behind.
    let log = engine.data_root().join("events.log");
    wait::until_true("the events on the disk", || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.contains("\"start\""))
    });
    engine.kill();
    engine.launch();
    assert_eq!(told(&engine), before);
    engine.wharf(&["rm", "-f", "box"]).succeeded();
    engine.stop();
    engine.launch();
    let after = told(&engine);
    assert!(
        after.starts_with(&before) && after.contains("destroy"),
        "{after}"
    );
    engine.finish();
}
