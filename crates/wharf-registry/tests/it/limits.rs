//! What the server refuses to everybody, and what it tells those who run it.

use std::time::Duration;

use wharf_registry::{Access, Quota, Rate, Service};

use crate::client::Registry;

#[test]
fn who_asks_too_often_is_told_to_wait() {
    let registry = Registry::start_with(Access::open(), |service| Service {
        rate: Some(Rate {
            per_second: 1,
            burst: 3,
        }),
        ..service
    });
    for _ in 0..3 {
        assert_eq!(registry.get("/v2/").status, 200);
    }
    let limited = registry.get("/v2/");
    assert_eq!(
        (
            limited.status,
            limited.code().as_str(),
            limited.header("retry-after")
        ),
        (429, "TOOMANYREQUESTS", "1")
    );
    assert_eq!(registry.get("/healthz").status, 200);
    assert!(
        registry
            .operator("/metrics")
            .text()
            .contains("wharf_registry_limited_total 1")
    );
}

#[test]
fn a_full_quota_is_said_and_a_nearly_full_one_warned_of() {
    let registry = Registry::start_with(Access::open(), |service| Service {
        storage: service.storage.with_quotas(vec![Quota {
            prefix: "team".to_owned(),
            limit: 320,
        }]),
        ..service
    });
    let config = registry.push_blob("team/app", &[b' '; 150]);
    let document = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"x/y","digest":"{config}","size":150}},"layers":[]}}"#
    );
    let put = registry.send("PUT", "/v2/team/app/manifests/1", &[], document.as_bytes());
    assert_eq!(put.status, 201);
    assert!(put.header("warning").starts_with("299 - \""), "{put:?}");
    let digest = wharf_types::Digest::of(&[b'x'; 200]);
    let path = format!("/v2/team/app/blobs/uploads/?digest={digest}");
    let over = registry.send("POST", &path, &[], &[b'x'; 200]);
    assert_eq!((over.status, over.code().as_str()), (403, "DENIED"));
    assert_eq!(
        registry.get(&format!("/v2/team/app/blobs/{digest}")).status,
        404
    );
    registry.push_blob("other", &[b'x'; 200]);
}

#[test]
fn what_is_turned_off_is_refused() {
    let registry = Registry::start_with(Access::open(), |service| Service {
        deletes: false,
        ..service
    });
    let digest = registry.push_blob("app", b"x");
    let path = format!("/v2/app/blobs/{digest}");
    assert_eq!(
        registry.send("DELETE", &path, &[], b"").code(),
        "UNSUPPORTED"
    );
    let registry = Registry::start_with(Access::open(), |service| Service {
        read_only: true,
        ..service
    });
    let begun = registry.send("POST", "/v2/app/blobs/uploads/", &[], b"");
    assert_eq!((begun.status, begun.code().as_str()), (405, "UNSUPPORTED"));
}

#[test]
fn operators_have_an_address_of_their_own() {
    let registry = Registry::start(Access::open());
    registry.push_blob("app", b"0123456789");
    assert_eq!(registry.get("/metrics").status, 404);
    let metrics = registry.operator("/metrics").text();
    for line in [
        r#"wharf_registry_answers_total{method="POST",route="upload",status="201"} 1"#,
        "wharf_registry_stored_bytes 10",
        "wharf_registry_received_bytes_total 10",
        "wharf_registry_requests_in_flight 0",
        "wharf_registry_repositories 1",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    assert_eq!(registry.operator("/readyz").status, 200);
    assert_eq!(registry.operator("/debug/health").status, 200);
    assert_eq!(registry.operator("/v2/").status, 404);
}

#[test]
fn a_request_under_way_is_finished_and_what_takes_too_long_is_cut() {
    use std::io::{Read as _, Write as _};

    let registry = Registry::start_with(Access::open(), |service| Service {
        grace: Duration::from_millis(300),
        ..service
    });
    let connect = || {
        let stream =
            std::net::TcpStream::connect_timeout(&registry.address(), Duration::from_secs(5));
        stream.expect("connects")
    };
    let digest = wharf_types::Digest::of(b"hello");
    let head = format!(
        "POST /v2/app/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: r\r\nContent-Length: 5\r\n\r\n"
    );
    let (mut finished, mut cut) = (connect(), connect());
    for stream in [&mut finished, &mut cut] {
        stream.write_all(head.as_bytes()).expect("sent");
    }
    let in_flight = || {
        let metrics = registry.operator("/metrics").text();
        metrics.contains("wharf_registry_requests_in_flight 2")
    };
    let begun = std::time::Instant::now();
    while !in_flight() {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "both are under way"
        );
    }
    let ending = std::thread::spawn(move || drop(registry));
    finished.write_all(b"hello").expect("sent");
    let mut answer = String::new();
    finished.read_to_string(&mut answer).expect("answered");
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let mut nothing = String::new();
    cut.read_to_string(&mut nothing).ok();
    assert_eq!(nothing, "");
    ending.join().expect("it ends");
}
