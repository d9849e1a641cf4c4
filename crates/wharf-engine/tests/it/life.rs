//! A container's life.

use wharf_engine::ErrorKind;
use wharf_wire as wire;

use crate::rig::{PATIENCE, Rig, until};

fn stop_in(seconds: i64) -> wire::StopQuery {
    wire::StopQuery {
        signal: String::new(),
        timeout: Some(seconds),
    }
}

const NO_FORCE: wire::RemoveQuery = wire::RemoveQuery {
    force: false,
    volumes: false,
    link: false,
};
const FORCE: wire::RemoveQuery = wire::RemoveQuery {
    force: true,
    volumes: false,
    link: false,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_life() {
    let Some(rig) = Rig::open().await else { return };
    let id = rig
        .create(&["sh", "-c", "echo out; echo err >&2; exit 3"], |_| {})
        .await
        .unwrap();
    assert_eq!(rig.state(&id).status, "created");
    rig.engine.start(&id).await.unwrap();
    assert_eq!(rig.ended(&id).await, 3);
    let state = rig.state(&id);
    assert_eq!(
        (state.status.as_str(), state.exit_code, state.pid),
        ("exited", 3, 0)
    );
    assert_eq!(rig.logs(&id).await, ["out\n", "err\n"]);
    rig.engine.start(&id).await.unwrap();
    assert_eq!(rig.ended(&id).await, 3);
    assert_eq!(rig.logs(&id).await, ["out\nout\n", "err\nerr\n"]);
    rig.engine.remove(&id, NO_FORCE).await.unwrap();
    assert_eq!(
        rig.engine.inspect(&id, false).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn starting_twice_is_not_modified_and_so_is_stopping() {
    let Some(rig) = Rig::open().await else { return };
    let id = rig.run(&["sleep", "1000"]).await;
    assert_eq!(
        rig.engine.start(&id).await.unwrap_err().kind(),
        ErrorKind::NotModified
    );
    rig.engine.stop(&id, &stop_in(0)).await.unwrap();
    assert_eq!(
        rig.engine.stop(&id, &stop_in(0)).await.unwrap_err().kind(),
        ErrorKind::NotModified
    );
    assert_eq!(rig.state(&id).exit_code, 137);
    rig.finish().await;
}

/// PID 1 without a handler for the stop signal would never see it; waiting for the grace would be in vain.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_process_deaf_to_the_stop_signal_is_not_waited_for() {
    let Some(rig) = Rig::open().await else { return };
    let id = rig.run(&["sleep", "1000"]).await;
    let begun = std::time::Instant::now();
    rig.engine.stop(&id, &stop_in(30)).await.unwrap();
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_process_that_handles_the_stop_signal_ends_its_own_way() {
    let Some(rig) = Rig::open().await else { return };
    let id = rig
        .run(&[
            "sh",
            "-c",
            "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.1; done",
        ])
        .await;
    while rig.logs(&id).await[0] != "ready\n" {
        tokio::task::yield_now().await;
    }
    rig.engine.stop(&id, &stop_in(20)).await.unwrap();
    assert_eq!(rig.state(&id).exit_code, 5);
    assert_eq!(rig.logs(&id).await[0], "ready\nbye\n");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_sends_the_signal_and_only_to_what_runs() {
    let Some(rig) = Rig::open().await else { return };
    let id = rig.run(&["sleep", "1000"]).await;
    assert_eq!(
        rig.engine.kill(&id, "SIGNOT").await.unwrap_err().kind(),
        ErrorKind::Invalid
    );
    rig.engine.kill(&id, "").await.unwrap();
    assert_eq!(rig.ended(&id).await, 137);
    let error = rig.engine.kill(&id, "KILL").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("is not running"), "{error}");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_runs_it_again() {
    let Some(rig) = Rig::open().await else { return };
    let id = rig.run(&["sleep", "1000"]).await;
    let before = rig.state(&id);
    rig.engine.restart(&id, &stop_in(0)).await.unwrap();
    let after = rig.state(&id);
    assert!(
        after.running && after.pid != before.pid && after.started_at > before.started_at,
        "{before:?} {after:?}"
    );
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_container_stands_still_and_can_be_removed() {
    let Some(rig) = Rig::open().await else { return };
    let id = rig.run(&["sleep", "1000"]).await;
    rig.engine.pause(&id).await.unwrap();
    let state = rig.state(&id);
    assert_eq!(
        (state.status.as_str(), state.running, state.paused),
        ("paused", true, true)
    );
    assert_eq!(
        rig.engine.pause(&id).await.unwrap_err().kind(),
        ErrorKind::Conflict
    );
    rig.engine.unpause(&id).await.unwrap();
    assert_eq!(
        rig.engine.unpause(&id).await.unwrap_err().kind(),
        ErrorKind::Conflict
    );
    rig.engine.pause(&id).await.unwrap();
    rig.engine.remove(&id, FORCE).await.unwrap();
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_container_is_removed_only_by_force() {
    let Some(rig) = Rig::open().await else { return };
    let id = rig.run(&["sleep", "1000"]).await;
    let error = rig.engine.remove(&id, NO_FORCE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    rig.engine.remove(&id, FORCE).await.unwrap();
    assert!(
        rig.engine
            .list(&wire::ListQuery {
                all: true,
                ..Default::default()
            })
            .unwrap()
            .is_empty()
    );
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_cannot_run_leaves_the_container_created() {
    let Some(rig) = Rig::open().await else { return };
    for (command, code, words) in [
        ("nowhere", 127, "executable file not found in $PATH"),
        ("/etc/passwd", 126, "permission denied"),
        ("/nowhere", 127, "no such file or directory"),
    ] {
        let id = rig.create(&[command], |_| {}).await.unwrap();
        let error = rig.engine.start(&id).await.unwrap_err();
        assert!(error.to_string().contains(words), "{command}: {error}");
        let state = rig.state(&id);
        assert_eq!(
            (state.status.as_str(), state.exit_code),
            ("created", code),
            "{command}"
        );
        assert!(state.error.contains(words), "{command}: {}", state.error);
    }
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_unique_and_can_change() {
    let Some(rig) = Rig::open().await else { return };
    let body = || {
        let mut body = wire::ContainerCreateBody::default();
        body.config.image = "busybox".into();
        body
    };
    let first = rig
        .engine
        .create(&named("one"), body(), None)
        .await
        .unwrap()
        .id;
    let error = rig
        .engine
        .create(&named("one"), body(), None)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(
        error
            .to_string()
            .contains(&format!("is already in use by container \"{first}\"")),
        "{error}"
    );
    rig.engine.rename("one", "two").await.unwrap();
    assert_eq!(rig.engine.inspect("two", false).unwrap().name, "/two");
    assert_eq!(
        rig.engine.inspect("one", false).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(rig.engine.inspect(&first[..12], false).unwrap().id, first);
    rig.engine
        .create(&named("one"), body(), None)
        .await
        .unwrap();
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn auto_remove_removes_and_whoever_waits_for_it_is_told() {
    let Some(rig) = Rig::open().await else { return };
    let id = rig
        .create(&["sh", "-c", "exit 9"], |body| {
            body.host_config.auto_remove = true;
        })
        .await
        .unwrap();
    let gone = rig.engine.wait(&id, wire::WaitCondition::Removed).unwrap();
    rig.engine.start(&id).await.unwrap();
    assert_eq!(
        tokio::time::timeout(PATIENCE, gone)
            .await
            .expect("it is removed")
            .status_code,
        9
    );
    assert_eq!(
        rig.engine.inspect(&id, false).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_restarts_until_its_count_is_reached() {
    let Some(rig) = Rig::open().await else { return };
    let id = rig
        .create(&["sh", "-c", "echo run; exit 1"], |body| {
            body.host_config.restart_policy = wire::RestartPolicy {
                name: "on-failure".into(),
                maximum_retry_count: 2,
            };
        })
        .await
        .unwrap();
    rig.engine.start(&id).await.unwrap();
    until("the policy gives up", || {
        let container = rig.engine.inspect(&id, false).unwrap();
        container.state.status == "exited" && container.restart_count == 2
    })
    .await;
    assert_eq!(rig.logs(&id).await[0], "run\nrun\nrun\n");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_run_on_without_their_engine() {
    let Some(rig) = Rig::open().await else {
        return;
    };
    let ends = rig.run(&["sh", "-c", "sleep 1; echo late; exit 4"]).await;
    let stays = rig.run(&["sleep", "1000"]).await;
    let pid = rig.state(&stays).pid;
    let rig = rig.reopen().await;
    assert_eq!(rig.state(&stays).pid, pid);
    assert_eq!(rig.ended(&ends).await, 4);
    assert_eq!(rig.logs(&ends).await[0], "late\n");
    let (said, code) = rig.exec(&stays, &["echo", "hi"]).await;
    assert_eq!((said, code), (["hi\n".to_owned(), String::new()], Some(0)));
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once() {
    let Some(rig) = Rig::open().await else { return };
    let all = futures_util::future::join_all((0..16).map(|number| {
        let rig = &rig;
        async move {
            let id = rig
                .run(&["sh", "-c", &format!("echo {number}; exit {number}")])
                .await;
            (number, rig.ended(&id).await, rig.logs(&id).await[0].clone())
        }
    }));
    for (number, code, said) in all.await {
        assert_eq!((code, said), (number, format!("{number}\n")));
    }
    rig.finish().await;
}

fn named(name: &str) -> wharf_wire::CreateQuery {
    wharf_wire::CreateQuery {
        name: Some(name.to_owned()),
        ..wharf_wire::CreateQuery::default()
    }
}
