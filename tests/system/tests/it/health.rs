//! Health checks: probes, verdicts, and what is made of them.

use wharf_tests_system::{Client, Engine, binary, wait};

use crate::{engine, with_both};

fn health(engine: &Engine, name: &str) -> String {
    engine.inspect(name, "{{.State.Health.Status}}")
}

#[test]
fn a_container_is_probed_and_its_health_told() {
    with_both(|engine, client| {
        let run = |arguments: &[&str]| engine.run(client, arguments).out().to_owned();
        let id = run(&[
            "run",
            "-d",
            "--name",
            "box",
            "--health-cmd",
            "echo out; echo err >&2; test -e /good",
            "--health-interval",
            "100ms",
            "--health-retries",
            "2",
            "busybox",
            "sleep",
            "1000",
        ]);
        let listed = || run(&["ps", "--filter", "name=box", "--format", "{{.Status}}"]);
        wait::until_true("the verdict of two failures", || {
            health(engine, "box") == "unhealthy"
        });
        assert!(listed().ends_with("(unhealthy)"), "{}", listed());
        assert_eq!(
            run(&["ps", "-q", "--no-trunc", "--filter", "health=unhealthy"]),
            id
        );
        assert_eq!(run(&["ps", "-q", "--filter", "health=healthy"]), "");
        run(&["exec", "box", "touch", "/good"]);
        wait::until_true("the first success", || health(engine, "box") == "healthy");
        assert!(listed().ends_with("(healthy)"), "{}", listed());
        wait::until_true("five results", || {
            engine.inspect("box", "{{len .State.Health.Log}}") == "5"
        });
        let last = engine.inspect(
            "box",
            "{{with index .State.Health.Log 4}}{{.ExitCode}} {{.Output}}{{end}}",
        );
        assert!(
            last.starts_with("0 ") && last.contains("out\n") && last.contains("err"),
            "{last}"
        );
        run(&["stop", "-t", "0", "box"]);
        let events = run(&[
            "events",
            "--since",
            "1m",
            "--until",
            &crate::events::soon(),
            "--filter",
            &format!("container={id}"),
            "--format",
            "{{.Action}}",
        ]);
        let events: Vec<&str> = events.lines().collect();
        let of = |text: &str| {
            events
                .iter()
                .filter(|event| event.starts_with(text))
                .count()
        };
        assert_eq!(of("health_status: unhealthy"), 1, "{events:?}");
        assert_eq!(of("health_status: healthy"), 1, "{events:?}");
        assert!(
            of("exec_create: /bin/sh -c echo out") > 3 && of("exec_die") > 3,
            "{events:?}"
        );
        // As Docker shows a container that has ended.
        assert_eq!(health(engine, "box"), "unhealthy");
        run(&["rm", "box"]);
    });
}

#[test]
fn failures_in_the_start_period_do_not_count() {
    with_both(|engine, client| {
        let run = |arguments: &[&str]| engine.run(client, arguments).succeeded();
        run(&[
            "run",
            "-d",
            "--name",
            "box",
            "--health-cmd",
            "false",
            "--health-interval",
            "100ms",
            "--health-retries",
            "1",
            "--health-start-period",
            "1000s",
            "busybox",
            "sleep",
            "1000",
        ]);
        // The reference of an older version probes every interval, the newer every start interval.
        run(&["rm", "-f", "box"]);
        run(&[
            "run",
            "-d",
            "--name",
            "box",
            "--health-cmd",
            "false",
            "--health-interval",
            "100ms",
            "--health-retries",
            "1",
            "--health-start-period",
            "1000s",
            "--health-start-interval",
            "100ms",
            "busybox",
            "sleep",
            "1000",
        ]);
        wait::until_true("failures", || {
            engine.inspect("box", "{{len .State.Health.Log}}") == "5"
        });
        assert_eq!(
            engine.inspect(
                "box",
                "{{.State.Health.Status}} {{.State.Health.FailingStreak}}"
            ),
            "starting 0"
        );
        let status = engine.run(client, &["ps", "--format", "{{.Status}}"]);
        assert!(status.out().ends_with("(health: starting)"), "{status:?}");
        run(&["rm", "-f", "box"]);
    });
}

#[test]
fn a_probe_that_takes_too_long_is_killed_with_all_it_made() {
    with_both(|engine, client| {
        let run = |arguments: &[&str]| engine.run(client, arguments).out().to_owned();
        run(&[
            "run",
            "-d",
            "--name",
            "box",
            "--health-cmd",
            "echo begun; sleep 300; true",
            "--health-interval",
            "100ms",
            "--health-timeout",
            "300ms",
            "--health-retries",
            "2",
            "busybox",
            "sleep",
            "1000",
        ]);
        wait::until_true("the verdict", || health(engine, "box") == "unhealthy");
        let output = engine.inspect(
            "box",
            "{{with index .State.Health.Log 0}}{{.ExitCode}} {{.Output}}{{end}}",
        );
        assert!(
            output.starts_with("-1 Health check exceeded timeout (300ms)"),
            "{output}"
        );
        if binary::reference().is_none() {
            assert!(
                output.ends_with(": begun\n") || output.ends_with(": begun"),
                "{output}"
            );
            // At most the probe under way.
            let sleeping = run(&["top", "box"]);
            assert!(sleeping.matches("sleep 300").count() <= 3, "{sleeping}");
        }
        run(&["rm", "-f", "box"]);
    });
}

#[test]
fn a_probe_that_cannot_be_run_is_a_failure_with_its_reason() {
    with_both(|engine, client| {
        let body = br#"{"Image":"busybox","Cmd":["sleep","1000"],
            "Healthcheck":{"Test":["CMD","/no/such"],"Interval":100000000,"Retries":1}}"#;
        let answer = engine
            .request("POST", "/containers/create?name=box", body)
            .unwrap();
        assert_eq!(answer.status, 201, "{:?}", answer.json());
        engine.run(client, &["start", "box"]).succeeded();
        wait::until_true("the verdict", || health(engine, "box") == "unhealthy");
        let output = engine.inspect(
            "box",
            "{{with index .State.Health.Log 0}}{{.ExitCode}} {{.Output}}{{end}}",
        );
        assert!(
            output.starts_with("-1 ") && output.contains("/no/such"),
            "{output}"
        );
        engine.run(client, &["rm", "-f", "box"]).succeeded();
    });
}

#[test]
fn no_check_means_no_health() {
    with_both(|engine, client| {
        let run = |arguments: &[&str]| engine.run(client, arguments).out().to_owned();
        run(&[
            "run",
            "-d",
            "--name",
            "box",
            "--no-healthcheck",
            "busybox",
            "sleep",
            "1000",
        ]);
        assert!(!engine.inspect("box", "{{json .State}}").contains("Health"));
        assert_eq!(
            run(&["ps", "--filter", "health=none", "--format", "{{.Names}}"]),
            "box"
        );
        engine
            .run(
                client,
                &[
                    "create",
                    "--health-cmd",
                    "a",
                    "--health-interval",
                    "1us",
                    "busybox",
                ],
            )
            .exited(1)
            .says("Interval in Healthcheck cannot be less than 1ms");
        run(&["rm", "-f", "box"]);
    });
}

#[test]
fn health_outlives_the_engine() {
    let Some(mut engine) = engine() else { return };
    engine
        .wharf(&[
            "run",
            "-d",
            "--name",
            "box",
            "--health-cmd",
            "true",
            "--health-interval",
            "1h",
            "--health-start-period",
            "1h",
            "--health-start-interval",
            "50ms",
            "busybox",
            "sleep",
            "1000",
        ])
        .succeeded();
    wait::until_true("the first success", || health(&engine, "box") == "healthy");
    engine.kill();
    engine.launch();
    assert_eq!(health(&engine, "box"), "healthy");
    engine.finish();
}

#[test]
fn an_unhealthy_container_is_dealt_with_as_asked() {
    if binary::reference().is_some() {
        return;
    }
    let Some(engine) = engine() else { return };
    let sick = |name: &str, action: &str, more: &[&str]| {
        let flags = [
            "run",
            "-d",
            "--name",
            name,
            "--health-cmd",
            "false",
            "--health-interval",
            "50ms",
            "--health-retries",
            "1",
            "--health-on-failure",
            action,
        ];
        engine
            .wharf(&[&flags, more, &["busybox", "sleep", "1000"]].concat())
            .succeeded();
    };
    let state = |name: &str| engine.inspect(name, "{{.State.Status}} {{.State.ExitCode}}");
    sick("killed", "kill", &[]);
    wait::until_true("the kill", || state("killed") == "exited 137");
    sick("again", "kill", &["--restart", "always"]);
    wait::until_true("the policy's restart", || {
        engine
            .inspect("again", "{{.RestartCount}}")
            .parse::<u32>()
            .unwrap()
            > 1
    });
    sick("stopped", "stop", &["--restart", "always"]);
    wait::until_true("the stop", || state("stopped") == "exited 137");
    sick("restarted", "restart", &[]);
    wait::until_true("a restart", || {
        let events = engine.run(
            Client::Wharf,
            &[
                "events",
                "--since",
                "1m",
                "--until",
                "0s",
                "--filter",
                "container=restarted",
                "--filter",
                "event=restart",
            ],
        );
        !events.out().is_empty()
    });
    engine
        .wharf(&[
            "create",
            "--health-cmd",
            "a",
            "--health-on-failure",
            "pray",
            "busybox",
        ])
        .exited(1)
        .says("unknown action 'pray'");
    engine.finish();
}
