//! What is told of a life with everything in it, by dockerd and by ours: the same events, with the same
//! attributes, in the same order.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::Value;
use wharf_tests_system::{Client, Engine, needs, wait};

use super::{filter, now};

#[test]
fn the_same_events_are_told_with_the_same_attributes() {
    if !needs::met(&["docker", "dockerd", "containerd", "busybox", "ip", "nft"]) {
        return;
    }
    let (ours, theirs) = std::thread::scope(|scope| {
        let ours = scope.spawn(|| live(Engine::with_busybox()));
        let theirs = live(Engine::dockerd_with_busybox());
        let ours = ours.join();
        (
            ours.unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            theirs,
        )
    });
    let [own, other] = [&ours, &theirs].map(|told| comparable(told).join("\n"));
    assert_eq!(own, other, "ours, then dockerd's");
    for action in [
        "attach",
        "detach",
        "exec_create",
        "exec_start",
        "exec_die",
        "exec_detach",
        "resize",
        "top",
        "archive-path",
        "extract-to-dir",
        "export",
        "update",
        "rename",
        "commit",
        "prune",
        "mount",
        "unmount",
    ] {
        assert!(
            ours.iter()
                .any(|told| told.split([' ', ':']).nth(1) == Some(action)),
            "no {action} in\n{}",
            ours.join("\n")
        );
    }
}

/// What both tell. What dockerd of 2020 tells otherwise than newer ones is left out.
fn comparable(told: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut runs = false;
    for line in told {
        let mut words: Vec<&str> = line.split(' ').collect();
        match (words[0], words[1]) {
            ("container", "start") => runs = true,
            ("container", "kill") => runs = false,
            // Takes the reason why the client left for another one, and says that the program was missing.
            ("container", "exec_detach") => continue,
            ("container", "exec_die") if !line.contains("exitCode=0") => continue,
            // Mounts volumes once more for each copy.
            ("volume", "mount" | "unmount") if runs => continue,
            ("container", "die") => words.retain(|word| !word.starts_with("execDuration=")),
            // Names the image by its id.
            ("image", "untag") => words.truncate(3),
            _ => {}
        }
        let line = words.join(" ");
        // Tells of a volume once more when a container takes it.
        if !(line.starts_with("volume create ") && lines.contains(&line)) {
            lines.push(line);
        }
    }
    lines
}

/// Does everything to a container; returns what was told.
fn live(engine: Engine) -> Vec<String> {
    let start = now();
    let run = |line: &[&str]| engine.run(Client::Docker, line).succeeded();
    std::fs::write(engine.directory().join("file"), "text").unwrap();
    let file = engine.directory().join("file").display().to_string();
    run(&["volume", "create", "store"]);
    run(&[
        "create",
        "-it",
        "--name",
        "box",
        "--label",
        "a=b",
        "-v",
        "store:/store",
        "busybox",
        "cat",
    ]);
    run(&["start", "box"]);
    leave(
        &engine,
        "/containers/box/attach?stream=1&stdin=1&stdout=1",
        "",
    );
    told(&engine, &start, "detach");
    post(&engine, "/containers/box/resize?h=20&w=70", "");
    let exec = r#"{"AttachStdin":true,"AttachStdout":true,"Tty":true,"Cmd":["cat"]}"#;
    let made = post(&engine, "/containers/box/exec", exec);
    let id = made["Id"].as_str().unwrap();
    leave(&engine, &format!("/exec/{id}/start"), r#"{"Tty":true}"#);
    run(&["exec", "box", "sh", "-c", "exit 0"]);
    told(&engine, &start, "exec_die");
    for line in [
        &["top", "box"][..],
        &["cp", &file, "box:/tmp/file"],
        &["cp", "box:/tmp/file", &file],
        &["export", "-o", &file, "box"],
        &["commit", "-m", "hello", "box", "made:1"],
        &["update", "--cpu-shares", "99", "box"],
        &["rename", "box", "crate"],
        &["pause", "crate"],
        &["unpause", "crate"],
        &["tag", "made:1", "made:2"],
        &["kill", "crate"],
        &["wait", "crate"],
        &["rm", "crate"],
        &["create", "--name", "other", "busybox", "true"],
        &["container", "prune", "-f"],
        &["volume", "rm", "store"],
        &["volume", "prune", "-f"],
        &["rmi", "made:1", "made:2"],
        &["image", "prune", "-f"],
        &["network", "prune", "-f"],
    ] {
        run(line);
    }
    let all = events(&engine, &start);
    engine.finish();
    let mut lines: Vec<String> = all.iter().map(line).collect();
    // What ends at the same time is told in any order.
    let killed = lines
        .iter()
        .position(|line| line.starts_with("container kill "));
    let gone = lines
        .iter()
        .position(|line| line.starts_with("container destroy "));
    lines[killed.unwrap() + 1..gone.unwrap()].sort();
    lines
}

/// Takes a connection over, as clients with a terminal do, and leaves by the detach keys.
fn leave(engine: &Engine, path: &str, body: &str) {
    let mut stream = UnixStream::connect(engine.socket()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(40)))
        .unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: \
         application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 101");
    stream.write_all(b"\x10\x11").unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
}

fn post(engine: &Engine, path: &str, body: &str) -> Value {
    let answer = engine.request("POST", path, body.as_bytes()).unwrap();
    assert!(answer.status < 300, "{path}: {}", answer.text());
    match answer.body.is_empty() {
        true => Value::Null,
        false => answer.json(),
    }
}

/// Waits until something has been told.
fn told(engine: &Engine, start: &str, action: &str) {
    wait::until_true(action, || {
        events(engine, start)
            .iter()
            .any(|event| event["Action"] == action)
    });
}

fn events(engine: &Engine, start: &str) -> Vec<Value> {
    let path = format!("/events?since={start}&until={}", now());
    let answer = engine.request("GET", &path, &[]).unwrap();
    let text = answer.text();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// An event without what is another one each time.
fn line(event: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let actor = &event["Actor"];
    let mut attributes: Vec<String> = actor["Attributes"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| match name.as_str() {
            // Engines count an image's bytes differently.
            "reclaimed" => format!("{name}=…"),
            _ => format!("{name}={}", word(value)),
        })
        .collect();
    attributes.sort();
    let id = word(&actor["ID"]);
    let told = format!(
        "{} {} {id} {}",
        word(&event["Type"]),
        word(&event["Action"]),
        attributes.join(" ")
    );
    filter::volatile(&told.replace("sha256:", ""))
}
