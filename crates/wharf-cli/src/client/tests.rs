//! The client beside an engine made of canned answers.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::LocalSet;

use super::*;

/// What an engine saw: the connection's number and the request's first line.
type Seen = Rc<RefCell<Vec<(usize, String)>>>;

/// Answers each request by what `answer` makes of its first line.
async fn serve(listener: UnixListener, seen: Seen, answer: fn(&str) -> String) {
    for number in 0.. {
        let (stream, _) = listener.accept().await.expect("a connection");
        tokio::task::spawn_local(converse(stream, number, Rc::clone(&seen), answer));
    }
}

async fn converse(stream: UnixStream, number: usize, seen: Seen, answer: fn(&str) -> String) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if stream.read_line(&mut first).await.expect("a line") == 0 {
            return;
        }
        let mut length = 0;
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.expect("a line");
            let line = line.trim().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().expect("a number");
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.expect("a body");
        let first = first.trim().trim_end_matches(" HTTP/1.1").to_owned();
        seen.borrow_mut().push((number, first.clone()));
        stream
            .write_all(answer(&first).as_bytes())
            .await
            .expect("an answer");
    }
}

fn http(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Runs `act` with a client of an engine that answers by `answer`; returns what the engine saw.
fn with_engine(answer: fn(&str) -> String, act: impl AsyncFnOnce(&Client)) -> Vec<(usize, String)> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("sock");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let seen = Seen::default();
    LocalSet::new().block_on(&runtime, async {
        let listener = UnixListener::bind(&path).expect("a socket");
        let serving = tokio::task::spawn_local(serve(listener, Rc::clone(&seen), answer));
        act(&client(path.clone())).await;
        serving.abort();
    });
    seen.take()
}

fn client(path: PathBuf) -> Client {
    let host = Host {
        address: Address::Unix(path),
        tls: None,
        chosen: true,
    };
    Client::new(host, Program::Wharf, Manner::default())
}

#[test]
fn requests_share_a_connection_and_a_takeover_has_its_own() {
    let answer = |line: &str| {
        if line.contains("attach") {
            "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nhello".to_owned()
        } else {
            http("200 OK", "{}")
        }
    };
    let seen = with_engine(answer, async |client| {
        let _: Value = client.get("/a").await.expect("an answer");
        let _: Value = client.get("/b").await.expect("an answer");
        let mut stream = client
            .upgrade("/containers/x/attach", None::<&()>)
            .await
            .expect("a stream");
        let mut hello = [0; 5];
        stream.read_exact(&mut hello).await.expect("the stream");
        assert_eq!(&hello, b"hello");
        let _: Value = client.get("/c").await.expect("an answer");
    });
    assert_eq!(
        seen,
        [
            (0, "GET /v1.51/a".to_owned()),
            (0, "GET /v1.51/b".to_owned()),
            (1, "POST /v1.51/containers/x/attach".to_owned()),
            (0, "GET /v1.51/c".to_owned()),
        ]
    );
}

#[test]
fn an_older_engine_is_spoken_to_in_its_version() {
    let answer = |line: &str| {
        if line.contains("/v1.41/") {
            http("200 OK", "{\"a\":1}")
        } else {
            http(
                "400 Bad Request",
                "{\"message\":\"client version 1.51 is too new. Maximum supported API version is 1.41\"}",
            )
        }
    };
    let seen = with_engine(answer, async |client| {
        let body = client.post_json("/a", &serde_json::json!({ "x": 1 })).await;
        let _: Value = body.expect("an answer").json().await.expect("a document");
        let _: Value = client.get("/b").await.expect("an answer");
        assert_eq!(client.api_version(), "1.41");
    });
    let lines: Vec<_> = seen.into_iter().map(|(_, line)| line).collect();
    assert_eq!(lines, ["POST /v1.51/a", "POST /v1.41/a", "GET /v1.41/b"]);
}

#[test]
fn an_engine_that_offers_nothing_older_is_not_asked_for_ever() {
    let answer = |_: &str| {
        http(
            "400 Bad Request",
            "{\"message\":\"client version 1.51 is too new. Maximum supported API version is 1.51\"}",
        )
    };
    let seen = with_engine(answer, async |client| {
        let error = client.get::<Value>("/a").await.expect_err("refused");
        assert_eq!(error.status(), Some(StatusCode::BAD_REQUEST));
    });
    assert_eq!(seen.len(), 1);
}

#[test]
fn refusals_are_told_in_the_engine_s_words() {
    let answer = |line: &str| match line {
        "GET /v1.51/a" => http("404 Not Found", "{\"message\":\"No such container: x\"}"),
        "GET /v1.51/b" => http("500 Internal Server Error", "plain words\n"),
        "GET /v1.51/c" => http("409 Conflict", ""),
        _ => http("304 Not Modified", ""),
    };
    with_engine(answer, async |client| {
        let error = async |path: &str| client.get::<Value>(path).await.expect_err(path).to_string();
        assert_eq!(
            error("/a").await,
            "Error response from daemon: No such container: x"
        );
        assert_eq!(error("/b").await, "Error response from daemon: plain words");
        assert_eq!(
            error("/c").await,
            "Error response from daemon: 409 Conflict"
        );
        client.post("/d").await.expect("not modified is no error");
    });
}

#[test]
fn no_engine_is_told_as_docker_tells_it() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let client = client(PathBuf::from("/nonexistent/sock"));
    let error = runtime
        .block_on(client.get::<Value>("/a"))
        .expect_err("nobody");
    assert_eq!(
        error.to_string(),
        "Cannot connect to the Wharf daemon at unix:///nonexistent/sock. Is the wharf daemon running?"
    );
}
