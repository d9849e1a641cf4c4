//! Blobs over lines that break.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use wharf_distribution::{Error, Kind, Settings};
use wharf_types::{Digest, Hasher};

use crate::registry::{app, app_with, content, read, read_verified, settings};
use crate::server::{Reply, Request, Server};

/// A mirror of a server's registry.
fn mirrored(registry: &Server, mirrors: &[&Server]) -> Settings {
    let mut settings = settings();
    settings.mirrors.insert(
        registry.name(),
        mirrors
            .iter()
            .map(|mirror| format!("http://{}", mirror.name()))
            .collect(),
    );
    settings
}

#[tokio::test]
async fn a_line_that_is_cut_anywhere_is_taken_up_where_it_broke() {
    const LENGTH: usize = 200_000;
    let blob = content(LENGTH);
    let digest = Digest::of(&blob);
    // Before the first byte, after it, at the borders of what is read at once, before the last.
    for cut in [0, 1, 4095, 4096, 65_536, 131_073, LENGTH - 1] {
        let bytes = blob.clone();
        let asked = AtomicUsize::new(0);
        let server = Server::start(move |request: &Request| {
            let reply = Reply::ranged(request, &bytes);
            match asked.fetch_add(1, Ordering::SeqCst) {
                0 => reply.cut_after(cut),
                _ => reply,
            }
        })
        .await;
        let stream = app(&server)
            .blob(&digest, Some(LENGTH as u64), 0)
            .await
            .expect("blob");
        assert_eq!(read_verified(stream).await.expect("bytes"), blob, "{cut}");
        let ranges: Vec<Option<usize>> =
            server.requests().iter().map(Request::range_start).collect();
        assert_eq!(ranges, [None, Some(cut).filter(|cut| *cut > 0)]);
    }
}

#[tokio::test]
async fn the_bytes_on_the_wire_stay_within_two_percent_however_often_the_line_drops() {
    const LENGTH: usize = 4_000_000;
    let blob = content(LENGTH);
    let digest = Digest::of(&blob);
    let bytes = blob.clone();
    // Each line gives another 20,011 bytes: 200 cuts.
    let server =
        Server::start(move |request: &Request| Reply::ranged(request, &bytes).cut_after(20_011))
            .await;
    let stream = app(&server)
        .blob(&digest, Some(LENGTH as u64), 0)
        .await
        .expect("blob");
    assert_eq!(read_verified(stream).await.expect("bytes"), blob);
    assert!(server.requests().len() >= 199);
    let sent = server.sent();
    assert!(sent <= LENGTH as u64 * 102 / 100, "{sent} bytes were sent");
}

#[tokio::test]
async fn a_pull_that_was_interrupted_goes_on_from_its_offset() {
    let blob = content(100_000);
    let digest = Digest::of(&blob);
    let bytes = blob.clone();
    let server = Server::start(move |request: &Request| Reply::ranged(request, &bytes)).await;
    let mut hasher = Hasher::new();
    hasher.update(&blob[..60_000]);
    let mut stream = app(&server)
        .blob(&digest, Some(100_000), 60_000)
        .await
        .expect("blob")
        .verified_after(hasher);
    let mut rest = Vec::new();
    while let Some(bytes) = stream.next().await.expect("bytes") {
        rest.extend_from_slice(&bytes);
    }
    assert_eq!(rest, blob[60_000..]);
    assert!(server.sent() < 41_000, "only the rest was sent");
    // Nothing is left: nothing is asked.
    let stream = app(&server).blob(&digest, Some(100_000), 100_000).await;
    assert_eq!(read(stream.expect("blob")).await.expect("bytes"), b"");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn an_endpoint_that_ignores_ranges_is_read_over() {
    let blob = content(50_000);
    let digest = Digest::of(&blob);
    let bytes = blob.clone();
    let asked = AtomicUsize::new(0);
    let server = Server::start(move |_: &Request| {
        let reply = Reply::ok(bytes.clone());
        match asked.fetch_add(1, Ordering::SeqCst) {
            0 => reply.cut_after(30_000),
            _ => reply,
        }
    })
    .await;
    let stream = app(&server).blob(&digest, Some(50_000), 0).await;
    assert_eq!(
        read_verified(stream.expect("blob")).await.expect("bytes"),
        blob
    );
}

#[tokio::test]
async fn the_tag_of_a_line_goes_along_when_it_is_taken_up() {
    let blob = content(50_000);
    let digest = Digest::of(&blob);
    let bytes = blob.clone();
    let server = Server::start(move |request: &Request| {
        let reply = Reply::ranged(request, &bytes).with("ETag", "\"tag\"");
        match request.range_start() {
            None => reply.cut_after(30_000),
            Some(_) => reply,
        }
    })
    .await;
    let stream = app(&server).blob(&digest, None, 0).await.expect("blob");
    assert_eq!(stream.size(), Some(50_000), "the head tells");
    assert_eq!(read_verified(stream).await.expect("bytes"), blob);
    let second = &server.requests()[1];
    assert_eq!(second.header("if-range"), Some("\"tag\""));
}

#[tokio::test]
async fn a_blob_of_unknown_length_ends_with_its_line() {
    let blob = content(50_000);
    let digest = Digest::of(&blob);
    let bytes = blob.clone();
    let server = Server::start(move |_: &Request| Reply::ok(bytes.clone()).unmeasured()).await;
    let stream = app(&server).blob(&digest, None, 0).await.expect("blob");
    assert_eq!(read_verified(stream).await.expect("bytes"), blob);
}

#[tokio::test]
async fn a_server_that_errs_stands_still_or_wants_a_pause_is_tried_again() {
    let blob = content(1000);
    let digest = Digest::of(&blob);
    let bytes = blob.clone();
    let asked = AtomicUsize::new(0);
    let server = Server::start(move |request: &Request| {
        match asked.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::status(503),
            1 => Reply::silent(),
            2 => Reply::status(429).with("Retry-After", "0"),
            // A length, and then nothing more but an open line.
            3 => Reply::ok(bytes[..100].to_vec()).with("Content-Length", 1000),
            _ => Reply::ranged(request, &bytes),
        }
    })
    .await;
    let stream = app(&server).blob(&digest, Some(1000), 0).await;
    assert_eq!(
        read_verified(stream.expect("blob")).await.expect("bytes"),
        blob
    );
    assert_eq!(server.requests().len(), 5);
    assert_eq!(server.requests()[4].range_start(), Some(100));
}

#[tokio::test]
async fn a_pause_longer_than_is_sensible_is_not_waited_for() {
    let server = Server::start(|_: &Request| {
        Reply::refusal(
            429,
            "TOOMANYREQUESTS",
            "You have reached your pull rate limit",
        )
        .with("Retry-After", "3600")
    })
    .await;
    let error = app(&server)
        .blob(&Digest::of(b"x"), None, 0)
        .await
        .expect_err("refused");
    assert_eq!(
        error.to_string(),
        "toomanyrequests: You have reached your pull rate limit"
    );
    assert_eq!(error.kind(), Kind::TooManyRequests);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn tries_without_progress_end() {
    let server = Server::start(|_: &Request| Reply::ok(content(1000)).cut_after(0)).await;
    let stream = app(&server)
        .blob(&Digest::of(b"x"), Some(1000), 0)
        .await
        .expect("head");
    let error = read(stream).await.expect_err("no byte ever comes");
    assert!(error.to_string().ends_with("unexpected EOF"), "{error}");
    assert_eq!(server.requests().len(), 5);
}

#[tokio::test]
async fn the_next_mirror_goes_on_where_one_stopped() {
    let blob = content(100_000);
    let digest = Digest::of(&blob);
    let (one, two, three) = (blob.clone(), blob.clone(), blob.clone());
    let first = Server::start(move |request: &Request| match request.range_start() {
        None => Reply::ranged(request, &one).cut_after(30_000),
        Some(_) => Reply::status(404),
    })
    .await;
    let second = Server::start(move |request: &Request| match request.range_start() {
        // Begins elsewhere than it should.
        Some(start) => Reply::status(206)
            .with("Content-Range", format!("bytes {}-99999/100000", start + 1))
            .body(&two[start + 1..]),
        None => Reply::ok(two.clone()),
    })
    .await;
    let registry = Server::start(move |request: &Request| Reply::ranged(request, &three)).await;
    let settings = mirrored(&registry, &[&first, &second]);
    let repository = app_with(&registry, settings, wharf_distribution::Credentials::None);
    let stream = repository
        .blob(&digest, Some(100_000), 0)
        .await
        .expect("blob");
    assert_eq!(stream.endpoint(), first.name());
    assert_eq!(read_verified(stream).await.expect("bytes"), blob);
    assert_eq!(registry.requests()[0].range_start(), Some(30_000));
    assert_eq!(registry.requests().len(), 1);
}

#[tokio::test]
async fn attack_g5_a_blob_that_is_not_its_digest_is_refused_and_its_mirror_not_asked_again() {
    let blob = content(10_000);
    let digest = Digest::of(&blob);
    let bytes = blob.clone();
    let mirror = Server::start(|_: &Request| Reply::ok(vec![0; 10_000])).await;
    let registry = Server::start(move |request: &Request| Reply::ranged(request, &bytes)).await;
    let settings = mirrored(&registry, &[&mirror]);
    let repository = app_with(&registry, settings, wharf_distribution::Credentials::None);
    let stream = repository.blob(&digest, None, 0).await.expect("blob");
    let error = read_verified(stream).await.expect_err("zeros");
    assert!(
        matches!(&error, Error::Digest { endpoint, expected, actual }
            if *endpoint == mirror.name() && *expected == digest && *actual == Digest::of(&[0; 10_000])),
        "{error}"
    );
    let stream = repository.blob(&digest, None, 0).await.expect("blob");
    assert_eq!(read_verified(stream).await.expect("bytes"), blob);
    assert_eq!(mirror.requests().len(), 1);
}

#[tokio::test]
async fn another_length_is_refused_before_it_is_read() {
    let mirror = Server::start(|_: &Request| Reply::ok(content(999))).await;
    let registry = Server::start(|_: &Request| Reply::ok(content(1001))).await;
    let settings = mirrored(&registry, &[&mirror]);
    let repository = app_with(&registry, settings, wharf_distribution::Credentials::None);
    let digest = Digest::of(&content(1000));
    let error = repository
        .blob(&digest, Some(1000), 0)
        .await
        .expect_err("both lie");
    assert!(
        matches!(&error, Error::Size { endpoint, expected: 1000, actual: 1001, .. } if *endpoint == registry.name()),
        "{error}"
    );
    // Without a length in the head, what comes is counted.
    let registry = Server::start(|_: &Request| Reply::ok(content(1001)).unmeasured()).await;
    let stream = app(&registry)
        .blob(&digest, Some(1000), 0)
        .await
        .expect("head");
    assert!(matches!(read(stream).await, Err(Error::Size { .. })));
}

#[tokio::test]
async fn a_foreign_layer_comes_from_its_addresses_and_then_from_the_registry() {
    let blob = content(1000);
    let digest = Digest::of(&blob);
    let (one, two) = (blob.clone(), blob.clone());
    let elsewhere = Server::start(move |request: &Request| Reply::ranged(request, &one)).await;
    let registry = Server::start(move |request: &Request| Reply::ranged(request, &two)).await;
    let urls = [
        "file:///etc/passwd".to_owned(),
        format!("http://{}/layer", elsewhere.name()),
    ];
    let repository = app(&registry);
    let stream = repository
        .foreign_blob(&urls, &digest, Some(1000), 0)
        .await
        .expect("blob");
    assert_eq!(read_verified(stream).await.expect("bytes"), blob);
    assert_eq!(elsewhere.lines(), ["GET /layer"]);
    assert!(registry.requests().is_empty());
    drop(elsewhere);
    let stream = repository
        .foreign_blob(&urls, &digest, Some(1000), 0)
        .await
        .expect("blob");
    assert_eq!(read_verified(stream).await.expect("bytes"), blob);
    assert_eq!(registry.requests().len(), 1);
}

#[tokio::test]
async fn connections_are_used_again() {
    let blob = content(1000);
    let digest = Digest::of(&blob);
    let server = Server::start(move |request: &Request| Reply::ranged(request, &blob)).await;
    let repository = app(&server);
    for _ in 0..10 {
        let stream = repository.blob(&digest, None, 0).await.expect("blob");
        read_verified(stream).await.expect("bytes");
    }
    // One that asked for TLS, and one for all requests; one more where a read raced with the pool.
    assert!(server.connections() <= 3, "{}", server.connections());
}

#[tokio::test]
async fn a_reader_that_gives_up_while_it_waits_loses_nothing() {
    let blob = content(100_000);
    let digest = Digest::of(&blob);
    let bytes = blob.clone();
    let asked = AtomicUsize::new(0);
    let server =
        Server::start(
            move |request: &Request| match asked.fetch_add(1, Ordering::SeqCst) {
                0 => Reply::ranged(request, &bytes).cut_after(50_000),
                1 => Reply::silent(),
                _ => Reply::ranged(request, &bytes),
            },
        )
        .await;
    let mut stream = app(&server).blob(&digest, None, 0).await.expect("blob");
    let mut all = Vec::new();
    loop {
        match tokio::time::timeout(Duration::from_millis(20), stream.next()).await {
            Err(_) => {}
            Ok(bytes) => match bytes.expect("bytes") {
                Some(bytes) => all.extend_from_slice(&bytes),
                None => break,
            },
        }
    }
    assert_eq!(all, blob);
}
