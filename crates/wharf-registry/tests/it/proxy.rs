//! Pull-through: a registry before another one.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::json;
use wharf_registry::{Access, Proxies, ProxySettings, Service, Upstream};
use wharf_types::Digest;

use crate::client::Registry;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn before(upstream: SocketAddr, credentials: Option<(&str, &str)>, fresh: Duration) -> Registry {
    let upstream = Upstream {
        prefix: "hub".to_owned(),
        url: format!("http://{upstream}"),
        credentials: credentials.map(|(name, password)| (name.to_owned(), password.to_owned())),
    };
    let settings = ProxySettings {
        upstreams: vec![upstream],
        fresh,
        ..ProxySettings::default()
    };
    Registry::start_with(Access::open(), |service| Service {
        proxies: Some(Proxies::new(settings).expect("an upstream")),
        ..service
    })
}

#[test]
fn what_nobody_asks_for_any_more_goes() {
    let upstream = Registry::start(Access::open());
    let (layer, manifest) = push(&upstream, "app", "1", b"content");
    let settings = ProxySettings {
        upstreams: vec![Upstream {
            prefix: "hub".to_owned(),
            url: format!("http://{}", upstream.address()),
            credentials: None,
        }],
        keep: Some(Duration::from_millis(1)),
        ..ProxySettings::default()
    };
    let registry = Registry::start_with(Access::open(), |service| Service {
        proxies: Some(Proxies::new(settings).expect("an upstream")),
        collect_every: Some(Duration::from_millis(200)),
        ..service
    });
    push(&registry, "own", "1", b"own");
    // The collection may be quicker than the answer: then it is asked for again.
    let path = "/v2/hub/app/manifests/1";
    assert!(wait(|| registry.get(path).body == manifest));
    let blob = registry.get(&format!("/v2/hub/app/blobs/{layer}"));
    assert_eq!(blob.body, b"content");
    assert!(wait(|| {
        let metrics = registry.operator("/metrics").text();
        metrics.contains("wharf_registry_manifests 1\n")
    }));
    assert!(
        wait(|| registry.get(path).body == manifest),
        "it is fetched again"
    );
    assert_eq!(registry.get("/v2/own/manifests/1").status, 200);
}

fn wait(condition: impl Fn() -> bool) -> bool {
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(20) {
        if condition() {
            return true;
        }
    }
    false
}

fn push(registry: &Registry, repository: &str, tag: &str, content: &[u8]) -> (String, Vec<u8>) {
    let layer = registry.push_blob(repository, content);
    let document = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": layer, "size": content.len()},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": content.len()}],
    });
    let bytes = document.to_string().into_bytes();
    let path = format!("/v2/{repository}/manifests/{tag}");
    let put = registry.send("PUT", &path, &[("Content-Type", MANIFEST)], &bytes);
    assert_eq!(put.status, 201, "{put:?}");
    (layer, bytes)
}

#[test]
fn what_is_missing_is_fetched_once_and_outlives_upstream() {
    let upstream = Registry::start(Access::open());
    let content = vec![b'x'; 3_000_000];
    let (layer, manifest) = push(&upstream, "app", "1", &content);
    let registry = before(upstream.address(), None, Duration::ZERO);
    let path = format!("/v2/hub/app/blobs/{layer}");
    assert_eq!(registry.get("/v2/hub/app/manifests/1").body, manifest);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(registry.get(&path).body, content));
        }
    });
    let asked = upstream.operator("/metrics").text();
    let once = r#"answers_total{method="GET",route="blob",status="200"} 1"#;
    assert!(asked.contains(once), "{asked}");
    let part = registry.send("GET", &path, &[("Range", "bytes=10-19")], b"");
    assert_eq!((part.status, part.body.len()), (206, 10));
    assert_eq!(
        registry.get("/v2/hub/app/tags/list").json()["tags"],
        json!(["1"])
    );
    assert_eq!(
        registry.get("/v2/hub/none/manifests/1").code(),
        "MANIFEST_UNKNOWN"
    );
    let absent = format!("/v2/hub/app/blobs/{}", Digest::of(b"absent"));
    assert_eq!(registry.get(&absent).code(), "BLOB_UNKNOWN");
    let pushed = registry.send("POST", "/v2/hub/app/blobs/uploads/", &[], b"");
    assert_eq!(
        (pushed.status, pushed.code().as_str()),
        (405, "UNSUPPORTED")
    );
    registry.push_blob("own", b"x");
    // Another image under the same tag.
    let (_, second) = push(&upstream, "app", "1", b"second");
    assert_eq!(registry.get("/v2/hub/app/manifests/1").body, second);
    drop(upstream);
    let stale = registry.get("/v2/hub/app/manifests/1");
    assert_eq!((stale.status, &stale.body), (200, &second));
    assert!(
        stale.header("warning").contains("upstream does not answer"),
        "{stale:?}"
    );
    assert_eq!(registry.get(&path).body, content);
    assert_eq!(
        registry.get("/v2/hub/app/tags/list").json()["tags"],
        json!(["1"])
    );
    assert_eq!(registry.get("/v2/hub/app/manifests/2").status, 502);
}

#[test]
fn a_tag_is_not_asked_for_again_while_it_is_fresh() {
    let upstream = Registry::start(Access::open());
    let (_, first) = push(&upstream, "app", "1", b"first");
    let registry = before(upstream.address(), None, Duration::from_secs(3600));
    assert_eq!(registry.get("/v2/hub/app/manifests/1").body, first);
    push(&upstream, "app", "1", b"second");
    let again = registry.get("/v2/hub/app/manifests/1");
    assert_eq!((&again.body, again.header("warning")), (&first, ""));
}

#[test]
fn credentials_are_shown_upstream_and_needed_there() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let hash = bcrypt::hash("geheim", 4).expect("a hash");
    std::fs::write(file.path(), format!("anna:{hash}\n")).expect("written");
    let upstream = Registry::start(Access {
        rules: wharf_registry::Policy::users(false).into(),
        users: Some(Access::users(file.path().to_owned()).expect("read")),
        realm: "r".to_owned(),
        tokens: None,
    });
    let status = |credentials| {
        let registry = before(upstream.address(), credentials, Duration::ZERO);
        registry.get("/v2/hub/app/tags/list").status
    };
    assert_eq!(status(Some(("anna", "geheim"))), 404);
    assert_eq!(status(Some(("anna", "falsch"))), 403);
    assert_eq!(status(None), 403);
}

/// An upstream that answers each request for a blob with what it is told to send, piece by piece.
fn fake(length: usize) -> (SocketAddr, mpsc::Sender<Vec<u8>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("binds");
    let address = listener.local_addr().expect("an address");
    let (send, pieces) = mpsc::channel::<Vec<u8>>();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            // TLS is tried first, and not spoken here.
            let mut first = [0];
            if stream.peek(&mut first).is_err() || first != *b"G" {
                continue;
            }
            let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
            let mut lines = reader.by_ref().lines();
            let first = lines.next().and_then(Result::ok).unwrap_or_default();
            for line in lines {
                if line.is_ok_and(|line| line.is_empty()) {
                    break;
                }
            }
            let blob = first.contains("/blobs/");
            let length = if blob { length } else { 0 };
            let head =
                format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
            stream.write_all(head.as_bytes()).ok();
            let mut left = length;
            while left > 0 {
                let Ok(piece) = pieces.recv() else { return };
                left -= piece.len();
                stream.write_all(&piece).ok();
            }
        }
    });
    (address, send)
}

fn open(registry: &Registry, path: &str) -> TcpStream {
    let timeout = Duration::from_secs(20);
    let mut stream = TcpStream::connect_timeout(&registry.address(), timeout).expect("connects");
    stream.set_read_timeout(Some(timeout)).expect("set");
    let head = format!("GET {path} HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("sent");
    stream
}

#[test]
fn bytes_go_on_to_the_client_while_they_come() {
    let (half, rest) = (vec![b'a'; 600_000], vec![b'b'; 400_000]);
    let digest = Digest::of(&[half.clone(), rest.clone()].concat());
    let (address, upstream) = fake(half.len() + rest.len());
    let registry = before(address, None, Duration::ZERO);
    let path = format!("/v2/hub/app/blobs/{digest}");
    upstream.send(half).expect("sent");
    let mut stream = open(&registry, &path);
    let mut begun = vec![0; 200_000];
    stream
        .read_exact(&mut begun)
        .expect("the beginning comes before the end is there");
    assert!(begun.ends_with(b"aaaa"));
    upstream.send(rest).expect("sent");
    let mut all = begun;
    stream.read_to_end(&mut all).expect("the rest");
    assert!(all.ends_with(b"bbbb"));
    drop(upstream);
    assert_eq!(registry.get(&path).body.len(), 1_000_000, "it is here now");
}

#[test]
fn attack_g5_content_of_another_digest_is_neither_whole_nor_kept() {
    let wrong = vec![b'w'; 700_000];
    let digest = Digest::of(b"what was promised");
    let (address, upstream) = fake(wrong.len());
    let registry = before(address, None, Duration::ZERO);
    let path = format!("/v2/hub/app/blobs/{digest}");
    upstream.send(wrong.clone()).expect("sent");
    let mut stream = open(&registry, &path);
    let mut all = Vec::new();
    stream.read_to_end(&mut all).ok();
    let end = all.windows(4).position(|window| window == b"\r\n\r\n");
    let received = end.map_or(0, |end| all.len() - end - 4);
    assert!(received < wrong.len(), "{received} bytes");
    drop(upstream);
    let metrics = registry.operator("/metrics").text();
    assert!(
        metrics.contains("wharf_registry_stored_bytes 0"),
        "{metrics}"
    );
}
