//! A container's streams: attach, exec, logs, events.

use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;
use wharf_engine::ErrorKind;
use wharf_wire as wire;

use crate::rig::{PATIENCE, Rig, rest, unframed};

const ALL: wire::AttachQuery = wire::AttachQuery {
    detach_keys: String::new(),
    logs: false,
    stream: true,
    stdin: true,
    stdout: true,
    stderr: true,
};

fn with_input(body: &mut wire::ContainerCreateBody) {
    body.config.open_stdin = true;
    body.config.stdin_once = true;
    body.config.attach_stdin = true;
}

#[tokio::test(flavor = "multi_thread")]
async fn attached_before_the_start_nothing_is_missed() {
    let Some(rig) = Rig::open().await else { return };
    let id = rig
        .create(&["sh", "-c", "echo first; cat; echo last >&2"], with_input)
        .await
        .unwrap();
    let mut attachment = rig.engine.attach(&id, &ALL).await.unwrap();
    rig.engine.start(&id).await.unwrap();
    attachment.socket.write_all(b"middle\n").await.unwrap();
    attachment.socket.shutdown().await.unwrap();
    assert_eq!(
        unframed(&rest(attachment).await),
        ["first\nmiddle\n", "last\n"]
    );
    assert_eq!(rig.logs(&id).await, ["first\nmiddle\n", "last\n"]);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_attached_hear_the_same() {
    let Some(rig) = Rig::open().await else { return };
    let id = rig
        .create(&["sh", "-c", "read line; echo $line"], with_input)
        .await
        .unwrap();
    let mut one = rig.engine.attach(&id, &ALL).await.unwrap();
    let other = rig
        .engine
        .attach(
            &id,
            &wire::AttachQuery {
                stdin: false,
                ..ALL
            },
        )
        .await
        .unwrap();
    rig.engine.start(&id).await.unwrap();
    one.socket.write_all(b"hello\n").await.unwrap();
    assert_eq!(unframed(&rest(one).await)[0], "hello\n");
    assert_eq!(unframed(&rest(other).await)[0], "hello\n");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_is_one_and_has_a_size() {
    let Some(rig) = Rig::open().await else { return };
    let id = rig
        .create(&["sh", "-c", "read line; stty size"], |body| {
            with_input(body);
            body.config.tty = true;
        })
        .await
        .unwrap();
    let mut attachment = rig.engine.attach(&id, &ALL).await.unwrap();
    assert!(attachment.tty);
    rig.engine.start(&id).await.unwrap();
    rig.engine
        .resize(
            &id,
            wire::ResizeQuery {
                height: 33,
                width: 121,
            },
        )
        .await
        .unwrap();
    attachment.socket.write_all(b"\n").await.unwrap();
    let said = String::from_utf8(rest(attachment).await).unwrap();
    assert!(said.contains("33 121\r\n"), "{said:?}");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_runs_beside() {
    let Some(rig) = Rig::open().await else { return };
    let id = rig.run(&["sleep", "1000"]).await;
    let (said, code) = rig
        .exec(&id, &["sh", "-c", "echo out; echo err >&2; exit 6"])
        .await;
    assert_eq!(
        (said, code),
        (["out\n".to_owned(), "err\n".to_owned()], Some(6))
    );
    let body = wire::ExecCreateBody {
        cmd: Some(vec!["nowhere".to_owned()].into()),
        ..Default::default()
    };
    let exec = rig.engine.exec_create(&id, body).await.unwrap().id;
    let error = rig
        .engine
        .exec_start(&exec, &wire::ExecStartBody::default())
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("executable file not found in $PATH"),
        "{error}"
    );
    assert_eq!(rig.engine.exec_inspect(&exec).unwrap().exit_code, Some(127));
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_needs_a_running_container_and_its_own_id() {
    let Some(rig) = Rig::open().await else { return };
    let id = rig.create(&["true"], |_| {}).await.unwrap();
    let body = || wire::ExecCreateBody {
        cmd: Some(vec!["true".to_owned()].into()),
        ..Default::default()
    };
    let error = rig.engine.exec_create(&id, body()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let error = rig.engine.exec_tty("nobody").unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::NotFound, "No such exec instance: nobody")
    );
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_follow_to_the_end_and_can_be_cut_at_both_ends() {
    let Some(rig) = Rig::open().await else { return };
    let id = rig
        .run(&[
            "sh",
            "-c",
            "for i in 1 2 3 4 5; do echo $i; sleep 0.1; done",
        ])
        .await;
    let query = wire::LogsQuery {
        follow: true,
        stdout: true,
        ..Default::default()
    };
    let log = rig.engine.logs(&id, &query).unwrap();
    let pieces = tokio::time::timeout(PATIENCE, log.collect::<Vec<_>>())
        .await
        .expect("the log ends");
    let bytes: Vec<u8> = pieces
        .into_iter()
        .flat_map(|piece| piece.unwrap())
        .collect();
    assert_eq!(unframed(&bytes)[0], "1\n2\n3\n4\n5\n");
    let query = wire::LogsQuery {
        stdout: true,
        tail: wire::Tail::Lines(2),
        ..Default::default()
    };
    let pieces = rig
        .engine
        .logs(&id, &query)
        .unwrap()
        .collect::<Vec<_>>()
        .await;
    let bytes: Vec<u8> = pieces
        .into_iter()
        .flat_map(|piece| piece.unwrap())
        .collect();
    assert_eq!(unframed(&bytes)[0], "4\n5\n");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_tell_a_life_in_order() {
    let Some(rig) = Rig::open().await else { return };
    let mut filters = wire::Filters::default();
    filters.add("type", "container");
    let mut events = rig
        .engine
        .events(&wire::EventsQuery {
            filters,
            ..Default::default()
        })
        .unwrap();
    let id = rig.run(&["true"]).await;
    rig.ended(&id).await;
    rig.engine
        .remove(&id, wire::RemoveQuery::default())
        .await
        .unwrap();
    let mut actions = Vec::new();
    while actions.last().is_none_or(|action| action != "destroy") {
        let event = tokio::time::timeout(PATIENCE, events.next())
            .await
            .expect("an event comes")
            .unwrap();
        assert_eq!(
            (event.kind.as_str(), event.actor.id.as_str()),
            ("container", id.as_str())
        );
        actions.push(event.action);
    }
    assert_eq!(actions, ["create", "start", "die", "destroy"]);
    rig.finish().await;
}
