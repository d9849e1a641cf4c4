//! Connections, byte for byte: how they are taken over, handed on, ended and bounded.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it expects"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};
use wharf_tests_system::{Engine, needs, wait};

/// A connection to the engine.
struct Wire {
    stream: UnixStream,
    read: Vec<u8>,
}

impl Wire {
    fn open(engine: &Engine) -> Self {
        let stream = UnixStream::connect(engine.socket()).unwrap();
        stream.set_read_timeout(Some(wait::PATIENCE)).unwrap();
        Self {
            stream,
            read: Vec::new(),
        }
    }

    fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    fn post(&mut self, path: &str, headers: &str, body: &str) {
        let length = body.len();
        let kind = "Content-Type: application/json\r\n";
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nHost: wharf\r\n{kind}Content-Length: {length}\r\n{headers}\r\n{body}"
        ));
    }

    fn more(&mut self) -> bool {
        let mut piece = [0; 4096];
        let length = self.stream.read(&mut piece).unwrap();
        self.read.extend_from_slice(&piece[..length]);
        length > 0
    }

    /// Reads up to and with `mark`, and takes it.
    fn until(&mut self, mark: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self
                .read
                .windows(mark.len())
                .position(|window| window == mark)
            {
                return self.read.drain(..at + mark.len()).collect();
            }
            let text = String::from_utf8_lossy(&self.read).into_owned();
            assert!(self.more(), "the connection ended after {text:?}");
        }
    }

    /// Reads an answer's head.
    fn head(&mut self) -> String {
        String::from_utf8(self.until(b"\r\n\r\n")).unwrap()
    }

    /// Reads to the end.
    fn rest(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.read)
    }

    fn end_of_sending(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }
}

/// Takes a framed stream apart: what was said on each of the two streams.
fn unframed(mut bytes: &[u8]) -> [String; 2] {
    let mut said = [Vec::new(), Vec::new()];
    while let Some((header, rest)) = bytes.split_at_checked(8) {
        let length = u32::from_be_bytes(header[4..].try_into().unwrap()) as usize;
        said[usize::from(header[0]) - 1].extend_from_slice(&rest[..length]);
        bytes = &rest[length..];
    }
    assert!(bytes.is_empty(), "half a header: {bytes:?}");
    said.map(|bytes| String::from_utf8(bytes).unwrap())
}

fn create(engine: &Engine, command: &[&str], more: Value) -> String {
    let mut body = json!({
        "Image": "busybox", "Cmd": command, "OpenStdin": true, "StdinOnce": true, "AttachStdin": true,
        "HostConfig": {"NetworkMode": "none"},
    });
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let answer = engine
        .request("POST", "/containers/create", body.to_string().as_bytes())
        .unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["Id"].as_str().unwrap().to_owned()
}

fn start(engine: &Engine, id: &str) {
    let answer = engine
        .request("POST", &format!("/containers/{id}/start"), b"")
        .unwrap();
    assert_eq!(answer.status, 204, "{}", answer.text());
}

fn attach_path(id: &str) -> String {
    format!("/v1.51/containers/{id}/attach?stream=1&stdin=1&stdout=1&stderr=1")
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: tcp\r\n";

/// `cat` that says on standard error when its input has ended.
const CAT: [&str; 3] = ["sh", "-c", "cat; echo ended >&2"];

/// Sends input, ends it, and checks that all of it came back, and that its end was seen.
#[track_caller]
fn check_conversation(wire: &mut Wire) {
    wire.send("question\n");
    wire.until(b"question\n");
    wire.read.clear();
    wire.send("another\n");
    wire.end_of_sending();
    let [out, err] = unframed(&wire.rest());
    assert_eq!((out.as_str(), err.as_str()), ("another\n", "ended\n"));
}

#[test]
fn attach_with_upgrade_is_101_and_half_close_ends_the_input_only() {
    if !needs::met(&[]) {
        return;
    }
    let engine = Engine::with_busybox();
    let id = create(&engine, &CAT, json!({}));
    let mut wire = Wire::open(&engine);
    wire.post(&attach_path(&id), UPGRADE, "");
    let head = wire.head();
    assert!(head.starts_with("HTTP/1.1 101 UPGRADED\r\n"), "{head}");
    assert!(
        head.contains("Content-Type: application/vnd.docker.multiplexed-stream\r\n"),
        "{head}"
    );
    start(&engine, &id);
    check_conversation(&mut wire);
    engine.finish();
}

#[test]
fn attach_without_upgrade_is_200_and_the_same() {
    if !needs::met(&[]) {
        return;
    }
    let engine = Engine::with_busybox();
    let id = create(&engine, &CAT, json!({}));
    let mut wire = Wire::open(&engine);
    wire.post(&attach_path(&id), "", "");
    let head = wire.head();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(
        head.contains("Content-Type: application/vnd.docker.raw-stream\r\n"),
        "{head}"
    );
    start(&engine, &id);
    check_conversation(&mut wire);
    engine.finish();
}

#[test]
fn attach_later_on_a_kept_connection_is_the_same() {
    if !needs::met(&[]) {
        return;
    }
    let engine = Engine::with_busybox();
    let id = create(&engine, &CAT, json!({}));
    let mut wire = Wire::open(&engine);
    wire.send("GET /_ping HTTP/1.1\r\nHost: wharf\r\n\r\n");
    wire.until(b"\r\n\r\nOK");
    wire.post(&attach_path(&id), UPGRADE, "");
    let head = wire.head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    start(&engine, &id);
    check_conversation(&mut wire);
    engine.finish();
}

#[test]
fn input_sent_along_with_the_request_is_not_lost() {
    if !needs::met(&[]) {
        return;
    }
    let engine = Engine::with_busybox();
    let id = create(&engine, &CAT, json!({}));
    let mut wire = Wire::open(&engine);
    let path = attach_path(&id);
    wire.send(&format!(
        "POST {path} HTTP/1.1\r\nHost: wharf\r\n{UPGRADE}\r\nearly\n"
    ));
    wire.head();
    start(&engine, &id);
    wire.until(b"early\n");
    wire.read.clear();
    check_conversation(&mut wire);
    engine.finish();
}

#[test]
fn a_terminal_is_raw() {
    if !needs::met(&[]) {
        return;
    }
    let engine = Engine::with_busybox();
    let id = create(
        &engine,
        &["sh", "-c", "tty; echo told >&2"],
        json!({"Tty": true}),
    );
    let mut wire = Wire::open(&engine);
    wire.post(&attach_path(&id), UPGRADE, "");
    let head = wire.head();
    assert!(
        head.contains("Content-Type: application/vnd.docker.raw-stream\r\n"),
        "{head}"
    );
    start(&engine, &id);
    assert_eq!(
        String::from_utf8(wire.rest()).unwrap(),
        "/dev/pts/0\r\ntold\r\n"
    );
    engine.finish();
}

/// The first output of a container must reach whoever was told to be attached before the start.
#[test]
fn no_first_output_is_lost() {
    if !needs::met(&[]) {
        return;
    }
    let engine = Engine::with_busybox();
    for _ in 0..20 {
        let id = create(
            &engine,
            &["echo", "first"],
            json!({"OpenStdin": false, "AttachStdin": false}),
        );
        let mut wire = Wire::open(&engine);
        wire.post(&attach_path(&id), UPGRADE, "");
        wire.head();
        start(&engine, &id);
        assert_eq!(unframed(&wire.rest())[0], "first\n");
    }
    engine.finish();
}

#[test]
fn an_attached_client_outlives_the_engine() {
    if !needs::met(&[]) {
        return;
    }
    let mut engine = Engine::with_busybox();
    let id = create(&engine, &CAT, json!({}));
    let mut wire = Wire::open(&engine);
    wire.post(&attach_path(&id), UPGRADE, "");
    wire.head();
    start(&engine, &id);
    wire.send("before\n");
    wire.until(b"before\n");
    engine.kill();
    wire.read.clear();
    check_conversation(&mut wire);
    engine.launch();
    engine.finish();
}

fn exec(engine: &Engine, id: &str, command: &[&str]) -> String {
    let body =
        json!({"Cmd": command, "AttachStdin": true, "AttachStdout": true, "AttachStderr": true});
    let answer = engine
        .request(
            "POST",
            &format!("/containers/{id}/exec"),
            body.to_string().as_bytes(),
        )
        .unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["Id"].as_str().unwrap().to_owned()
}

fn exit_code(engine: &Engine, exec: &str) -> Value {
    let document = || {
        engine
            .request("GET", &format!("/exec/{exec}/json"), b"")
            .unwrap()
            .json()
    };
    wait::until_true("the exec's end", || document()["Running"] == false);
    document()["ExitCode"].clone()
}

#[test]
fn exec_converses_on_every_kind_of_connection() {
    if !needs::met(&[]) {
        return;
    }
    let engine = Engine::with_busybox();
    let id = create(&engine, &["sleep", "1000"], json!({}));
    start(&engine, &id);
    for (headers, kept) in [(UPGRADE, false), ("", false), (UPGRADE, true)] {
        let exec = exec(&engine, &id, &["sh", "-c", "cat; echo ended >&2; exit 7"]);
        let mut wire = Wire::open(&engine);
        if kept {
            wire.send("GET /_ping HTTP/1.1\r\nHost: wharf\r\n\r\n");
            wire.until(b"\r\n\r\nOK");
        }
        wire.post(&format!("/exec/{exec}/start"), headers, "{}");
        wire.head();
        check_conversation(&mut wire);
        assert_eq!(exit_code(&engine, &exec), 7, "{headers:?} {kept}");
    }
    engine.finish();
}

#[test]
fn an_exec_that_cannot_run_says_so_in_its_stream() {
    if !needs::met(&[]) {
        return;
    }
    let engine = Engine::with_busybox();
    let id = create(&engine, &["sleep", "1000"], json!({}));
    start(&engine, &id);
    let exec = exec(&engine, &id, &["/nowhere"]);
    let mut wire = Wire::open(&engine);
    wire.post(&format!("/exec/{exec}/start"), UPGRADE, "{}");
    wire.head();
    let [out, err] = unframed(&wire.rest());
    assert!(
        out.contains("no such file or directory") && out.ends_with("\r\n"),
        "{out:?}"
    );
    assert_eq!(err, "");
    assert_eq!(exit_code(&engine, &exec), 127);
    engine.finish();
}

#[test]
fn refusals_before_a_takeover_are_ordinary_answers() {
    if !needs::met(&[]) {
        return;
    }
    let engine = Engine::with_busybox();
    for (path, message) in [
        (
            "/containers/nobody/attach?stream=1",
            "No such container: nobody",
        ),
        ("/exec/nobody/start", "No such exec instance: nobody"),
    ] {
        for headers in [UPGRADE, ""] {
            let mut wire = Wire::open(&engine);
            wire.post(path, headers, "{}");
            wire.end_of_sending();
            let head = wire.head();
            assert!(head.starts_with("HTTP/1.1 404 Not Found\r\n"), "{head}");
            let body: Value = serde_json::from_slice(&wire.rest()).unwrap();
            assert_eq!(body, json!({"message": message}));
        }
    }
    engine.finish();
}

/// Connections to the engine's socket. The kernel names them by what the socket was bound to, which was renamed since.
fn connections(engine: &Engine) -> usize {
    let sockets = std::fs::read_to_string("/proc/net/unix").unwrap();
    let ours = |line: &&str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let path = fields.get(7).map(std::path::Path::new);
        fields[5] == "03" && path.and_then(std::path::Path::parent) == Some(engine.directory())
    };
    sockets.lines().filter(ours).count()
}

#[test]
fn a_client_that_leaves_an_endless_answer_is_let_go() {
    if !needs::met(&[]) {
        return;
    }
    let engine = Engine::with_busybox();
    let id = create(&engine, &["sleep", "1000"], json!({}));
    start(&engine, &id);
    for path in [
        "GET /events".to_owned(),
        format!("POST /containers/{id}/wait"),
        format!("GET /containers/{id}/logs?follow=1&stdout=1"),
    ] {
        let open: Vec<Wire> = (0..10)
            .map(|_| {
                let mut wire = Wire::open(&engine);
                wire.send(&format!(
                    "{path} HTTP/1.1\r\nHost: wharf\r\nContent-Length: 0\r\n\r\n"
                ));
                wire.head();
                wire
            })
            .collect();
        // Those of the requests before may still be on their way out.
        wait::until_true(&format!("ten connections for {path}"), || {
            connections(&engine) == 10
        });
        drop(open);
        wait::until_true("the engine to let go of them", || connections(&engine) == 0);
    }
    engine.finish();
}

/// The answer to `request`, whatever becomes of the connection; `None`: it ended without one.
fn status(engine: &Engine, request: &[u8]) -> Option<String> {
    let mut wire = Wire::open(engine);
    // The engine may have seen enough before it has read everything.
    if let Err(error) = wire.stream.write_all(request) {
        assert!(
            matches!(
                error.kind(),
                ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
            ),
            "{error}"
        );
    }
    let mut line = Vec::new();
    let mut byte = [0];
    while wire.stream.read(&mut byte).is_ok_and(|length| length == 1) && byte[0] != b'\r' {
        line.push(byte[0]);
    }
    (!line.is_empty()).then(|| String::from_utf8(line).unwrap())
}

#[test]
fn attack_n5_heads_and_bodies_are_bounded() {
    if !needs::met(&[]) {
        return;
    }
    let engine = Engine::start();
    let long = format!(
        "GET /info HTTP/1.1\r\nHost: wharf\r\nX: {}\r\n\r\n",
        "x".repeat(1 << 20)
    );
    let many = format!(
        "GET /info HTTP/1.1\r\nHost: wharf\r\n{}\r\n",
        "X: x\r\n".repeat(5000)
    );
    let head =
        "POST /containers/create HTTP/1.1\r\nHost: wharf\r\nContent-Type: application/json\r\n";
    let body = format!(
        "{head}Content-Length: {}\r\n\r\n{{{}",
        1 << 26,
        " ".repeat(1 << 23)
    );
    for (request, expected) in [
        (
            long.as_bytes(),
            "HTTP/1.1 431 Request Header Fields Too Large",
        ),
        (
            many.as_bytes(),
            "HTTP/1.1 431 Request Header Fields Too Large",
        ),
        (body.as_bytes(), "HTTP/1.1 413 Payload Too Large"),
        (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            "HTTP/1.1 400 Bad Request",
        ),
        (
            b"POST /containers/create\r\n\r\n",
            "HTTP/1.1 400 Bad Request",
        ),
    ] {
        let shown = String::from_utf8_lossy(&request[..request.len().min(60)]).into_owned();
        assert_eq!(
            status(&engine, request).as_deref(),
            Some(expected),
            "{shown}"
        );
    }
    // Silent connections take nothing from others.
    let silent: Vec<Wire> = (0..300).map(|_| Wire::open(&engine)).collect();
    assert!(engine.answers());
    drop(silent);
    engine.finish();
}

#[test]
fn endless_answers_do_not_hold_up_the_engines_end() {
    if !needs::met(&[]) {
        return;
    }
    let mut engine = Engine::start();
    let mut wire = Wire::open(&engine);
    wire.send("GET /events HTTP/1.1\r\nHost: wharf\r\n\r\n");
    wire.head();
    let begun = std::time::Instant::now();
    engine.stop();
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "it took {:?}",
        begun.elapsed()
    );
    let rest = wire.rest();
    assert!(
        !rest.ends_with(b"0\r\n\r\n"),
        "an answer cut off must not look complete"
    );
}

/// Bytes of memory the engine has in use.
fn resident(engine: &Engine) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", engine.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line
        .and_then(|line| line.trim().strip_suffix(" kB"))
        .unwrap();
    kilobytes.trim().parse::<u64>().unwrap() * 1024
}

/// Asserts that the engine answers, and has not grown much beyond `before`.
#[track_caller]
fn assert_bounded(engine: &Engine, before: u64, most: u64, what: &str) {
    assert!(engine.answers(), "{what}");
    let grown = resident(engine).saturating_sub(before);
    assert!(grown < most, "{what}: {grown} bytes more");
}

#[test]
fn attack_n5_slow_heads_take_what_is_bounded() {
    if !needs::met(&[]) {
        return;
    }
    let engine = Engine::start();
    let before = resident(&engine);
    let piece = format!("X: {}\r\n", "x".repeat(1000)).repeat(60);
    for second in ["", "GET /_ping HTTP/1.1\r\nHost: wharf\r\n\r\n"] {
        // The first request of a connection and a later one are read by different hands.
        let open: Vec<Wire> = (0..500)
            .map(|_| {
                let mut wire = Wire::open(&engine);
                wire.send(second);
                wire.send("POST /containers/create HTTP/1.1\r\nHost: wharf\r\n");
                wire.send(&piece);
                wire
            })
            .collect();
        assert_bounded(&engine, before, 100 << 20, "500 heads of 60 KB");
        drop(open);
    }
    engine.finish();
}

#[test]
fn attack_n5_http2_is_refused_before_its_streams() {
    if !needs::met(&[]) {
        return;
    }
    let engine = Engine::start();
    let before = resident(&engine);
    let mut request = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    request.extend_from_slice(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
    for stream in (1..200_000_u32).step_by(2) {
        // HEADERS, their end, `:method: GET`, `:path: /`.
        request.extend_from_slice(&[0, 0, 2, 1, 5]);
        request.extend_from_slice(&stream.to_be_bytes());
        request.extend_from_slice(&[0x82, 0x84]);
    }
    let answered = status(&engine, &request);
    let known = [Some("HTTP/1.1 400 Bad Request"), None];
    assert!(known.contains(&answered.as_deref()), "{answered:?}");
    // An offer to go on with HTTP/2 is not taken up.
    let upgrade = b"GET /_ping HTTP/1.1\r\nHost: wharf\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
        HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n";
    assert_eq!(status(&engine, upgrade).as_deref(), Some("HTTP/1.1 200 OK"));
    assert_bounded(&engine, before, 30 << 20, "100,000 streams");
    engine.finish();
}

#[test]
fn attack_n5_requests_nobody_reads_the_answers_of_wait() {
    if !needs::met(&[]) {
        return;
    }
    let engine = Engine::start();
    let before = resident(&engine);
    let mut wire = Wire::open(&engine);
    wire.stream.set_nonblocking(true).unwrap();
    let requests = "GET /info HTTP/1.1\r\nHost: wharf\r\n\r\n".repeat(100_000);
    let mut sent = 0;
    let mut full = None;
    wait::until_true("the engine to read no more", || {
        match wire.stream.write(&requests.as_bytes()[sent..]) {
            Ok(length) => {
                full = None;
                sent += length;
                sent == requests.len()
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                // Until it reads no more for want of room for its answers.
                let now = std::time::Instant::now();
                let since = *full.get_or_insert(now);
                now.duration_since(since) > Duration::from_secs(2)
            }
        }
    });
    assert!(sent < requests.len() / 2, "{sent} bytes were taken");
    assert_bounded(&engine, before, 30 << 20, "100,000 requests");
    drop(wire);
    engine.finish();
}

#[test]
fn attack_n5_trailers_are_bounded() {
    if !needs::met(&[]) {
        return;
    }
    let engine = Engine::start();
    let before = resident(&engine);
    let head = "POST /containers/create HTTP/1.1\r\nHost: wharf\r\nContent-Type: application/json\r\n\
        Transfer-Encoding: chunked\r\nTrailer: X\r\n\r\n2\r\n{}\r\n0\r\n";
    let trailers = "X: y\r\n".repeat(5_000_000);
    let answered = status(&engine, format!("{head}{trailers}\r\n").as_bytes());
    assert_eq!(answered.as_deref(), Some("HTTP/1.1 400 Bad Request"));
    assert_bounded(&engine, before, 30 << 20, "30 MB of trailers");
    engine.finish();
}

/// Nothing judges requests before the engine does, and bytes after a request are never taken for its body.
#[test]
fn attack_n1_a_body_is_as_long_as_its_length_says() {
    if !needs::met(&["busybox"]) {
        return;
    }
    let engine = Engine::with_busybox();
    let kind = "Host: wharf\r\nContent-Type: application/json\r\n";
    let body = r#"{"Image":"busybox"}"#;
    let length = body.len();
    for request in [
        format!("POST /containers/create HTTP/1.1\r\n{kind}Content-Length: 0\r\n\r\n{body}"),
        format!("POST /containers/create HTTP/1.1\r\n{kind}\r\n{body}"),
        format!(
            "POST /containers/create HTTP/1.1\r\n{kind}Content-Length: 0\r\nContent-Length: {length}\r\n\r\n{body}"
        ),
        format!(
            "POST /containers/create HTTP/1.1\r\n{kind}Content-Length: {length}\r\nTransfer-Encoding: identity\r\n\r\n{body}"
        ),
    ] {
        let answered = status(&engine, request.as_bytes());
        assert_eq!(
            answered.as_deref(),
            Some("HTTP/1.1 400 Bad Request"),
            "{request}"
        );
    }
    let list = engine
        .request("GET", "/containers/json?all=1", b"")
        .unwrap();
    assert_eq!(list.json(), json!([]));
    engine.finish();
}
