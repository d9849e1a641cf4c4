//! Attaching over a WebSocket, byte for byte.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use serde_json::json;
use wharf_tests_system::{Engine, needs, wait};

/// A client's frame; its mask is zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    assert!(length < 126);
    [&[first, 0x80 | length, 0, 0, 0, 0], payload].concat()
}

fn read(stream: &mut UnixStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// Opens a conversation; the answer's head is read.
fn open(engine: &Engine, path: &str) -> (UnixStream, String) {
    let mut stream = UnixStream::connect(engine.socket()).unwrap();
    stream.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: wharf\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend_from_slice(&read(&mut stream, 1));
    }
    (stream, String::from_utf8(head).unwrap())
}

fn create(engine: &Engine, command: &[&str]) -> String {
    let body = json!({
        "Image": "busybox", "Cmd": command, "OpenStdin": true, "StdinOnce": true, "AttachStdin": true,
        "HostConfig": {"NetworkMode": "none"},
    });
    let answer = engine.request("POST", "/containers/create", body.to_string().as_bytes());
    answer.unwrap().json()["Id"].as_str().unwrap().to_owned()
}

#[test]
fn a_conversation_to_its_end() {
    if !needs::met(&["busybox"]) {
        return;
    }
    let engine = Engine::with_busybox();
    let streams = "stream=1&stdin=1&stdout=1&stderr=1";
    for (version, kind) in [("v1.51", 0x82), ("v1.41", 0x82), ("v1.27", 0x81)] {
        let id = create(
            &engine,
            &[
                "sh",
                "-c",
                "read word; echo $word; read end; echo ended >&2",
            ],
        );
        // Older versions are connected to all streams, whatever is asked for.
        let query = if version == "v1.51" {
            streams
        } else {
            "stream=1"
        };
        let (mut stream, head) = open(
            &engine,
            &format!("/{version}/containers/{id}/attach/ws?{query}"),
        );
        assert!(
            head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
            "{head}"
        );
        assert!(
            head.to_lowercase()
                .contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="),
            "{head}"
        );
        let started = engine
            .request("POST", &format!("/containers/{id}/start"), b"")
            .unwrap();
        assert_eq!(started.status, 204);
        // In two pieces, with a ping between them.
        stream.write_all(&frame(0x01, b"wo")).unwrap();
        stream.write_all(&frame(0x89, b"?")).unwrap();
        assert_eq!(read(&mut stream, 3), b"\x8a\x01?");
        stream.write_all(&frame(0x80, b"rd\n")).unwrap();
        assert_eq!(read(&mut stream, 7), [&[kind, 5], &b"word\n"[..]].concat());
        stream.write_all(&frame(0x82, b"end\n")).unwrap();
        assert_eq!(read(&mut stream, 8), [&[kind, 6], &b"ended\n"[..]].concat());
        assert_eq!(read(&mut stream, 4), b"\x88\x02\x03\xe8");
    }
    engine.finish();
}

#[test]
fn what_is_no_websocket_is_refused() {
    if !needs::met(&["busybox"]) {
        return;
    }
    let engine = Engine::with_busybox();
    let id = create(&engine, &["cat"]);
    let plain = engine
        .request("GET", &format!("/containers/{id}/attach/ws"), b"")
        .unwrap();
    assert_eq!(
        (plain.status, plain.json()["message"].as_str()),
        (400, Some("not a websocket request"))
    );
    let (_, head) = open(&engine, "/containers/nobody/attach/ws?stream=1");
    assert!(head.starts_with("HTTP/1.1 404 Not Found\r\n"), "{head}");
    engine.finish();
}
