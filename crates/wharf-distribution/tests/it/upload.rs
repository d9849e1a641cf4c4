//! Uploads over lines that break.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use wharf_distribution::{Chunks, Credentials, Error, Progress, Source, Target, Uploaded};
use wharf_types::Digest;

use crate::registry::{MANIFEST, app, app_with, content, manifest, settings};
use crate::server::{Behaviour, Reply, Request, Server};

/// A registry that takes uploads, and cuts lines where it is told.
#[derive(Default)]
pub(crate) struct Taking {
    blobs: Mutex<HashMap<String, Vec<u8>>>,
    data: Mutex<Vec<u8>>,
    cuts: Mutex<VecDeque<usize>>,
    /// Repositories that can be mounted from.
    mountable: Vec<String>,
    /// Longest body that is taken.
    pub(crate) most: Option<usize>,
    /// Knows nothing of uploads that were interrupted.
    forgetful: bool,
    /// What comes before the path in `Location`.
    location: String,
    /// Loses its answer to the last request of an upload.
    loses_last: bool,
}

impl Behaviour for Arc<Taking> {
    fn reads(&self, request: &Request) -> Option<usize> {
        if matches!(request.method.as_str(), "PUT" | "PATCH") && request.path.contains("uploads") {
            return self.cuts.lock().expect("cuts").pop_front();
        }
        None
    }

    fn answer(&self, request: &Request) -> Reply {
        let begun = || {
            self.data.lock().expect("data").clear();
            Reply::status(202).with(
                "Location",
                format!("{}/v2/app/blobs/uploads/1?state=x", self.location),
            )
        };
        match request.method.as_str() {
            "HEAD" => {
                let digest = request.path.rsplit('/').next().expect("digest");
                match self.blobs.lock().expect("blobs").contains_key(digest) {
                    true => Reply::status(200),
                    false => Reply::status(404),
                }
            }
            "POST" => match request.parameters("from").first() {
                Some(from) if self.mountable.contains(from) => Reply::status(201),
                Some(from) if from == "secret" => Reply::refusal(403, "DENIED", "no"),
                _ => begun(),
            },
            "DELETE" => Reply::status(204),
            "GET" => self.status(),
            "PATCH" => self.patch(request),
            "PUT" => self.put(request),
            other => panic!("{other}"),
        }
    }
}

impl Taking {
    /// Whether it has a blob, whole.
    pub(crate) fn has(&self, blob: &[u8]) -> bool {
        self.blobs
            .lock()
            .expect("blobs")
            .get(&Digest::of(blob).to_string())
            .is_some_and(|stored| stored == blob)
    }

    fn status(&self) -> Reply {
        let have = self.data.lock().expect("data").len();
        if self.forgetful {
            return Reply::refusal(
                404,
                "BLOB_UPLOAD_UNKNOWN",
                "blob upload unknown to registry",
            );
        }
        Reply::status(204).with("Range", format!("0-{}", have.saturating_sub(1)))
    }

    fn patch(&self, request: &Request) -> Reply {
        let mut data = self.data.lock().expect("data");
        let range = request.header("content-range").expect("range");
        let start: usize = range.split('-').next().expect("start").parse().expect("n");
        if start != data.len() {
            return Reply::status(416);
        }
        data.extend(&request.body);
        Reply::status(202)
            .with("Location", "1?state=y")
            .with("Range", format!("0-{}", data.len() - 1))
    }

    fn put(&self, request: &Request) -> Reply {
        if self.most.is_some_and(|most| request.body.len() > most) {
            return Reply::status(413);
        }
        let mut data = self.data.lock().expect("data");
        data.extend(&request.body);
        let digest = Digest::of(&data).to_string();
        if request.path.contains("manifests") {
            data.clear();
            return Reply::status(201);
        }
        if request.parameters("digest") != [digest.clone()] {
            return Reply::refusal(400, "DIGEST_INVALID", "provided digest did not match");
        }
        assert_eq!(request.parameters("state").len(), 1, "the place is kept");
        self.blobs
            .lock()
            .expect("blobs")
            .insert(digest, data.clone());
        if self.loses_last {
            return Reply::status(201).cut_after(0).with("Content-Length", 5);
        }
        Reply::status(201)
    }
}

fn silent() -> Progress {
    Arc::new(|_| {})
}

async fn upload(taking: &Arc<Taking>, blob: &Bytes) -> (Result<Uploaded, Error>, Server) {
    let server = Server::start(Arc::clone(taking)).await;
    let result = app(&server)
        .upload(&Digest::of(blob), blob.len() as u64, &[], blob, silent())
        .await;
    (result, server)
}

#[tokio::test]
async fn a_blob_goes_in_one_request() {
    let blob = content(300_000);
    let taking = Arc::new(Taking::default());
    let server = Server::start(Arc::clone(&taking)).await;
    let gone = Arc::new(AtomicU64::new(0));
    let noted = Arc::clone(&gone);
    let progress: Progress = Arc::new(move |bytes| noted.store(bytes, Ordering::SeqCst));
    let digest = Digest::of(&blob);
    let repository = app(&server);
    let result = repository
        .upload(&digest, 300_000, &[], &blob, progress)
        .await;
    assert_eq!(result.expect("upload"), Uploaded::Sent);
    assert!(taking.has(&blob));
    assert_eq!(gone.load(Ordering::SeqCst), 300_000);
    assert_eq!(
        server.lines(),
        [
            format!("HEAD /v2/app/blobs/{digest}"),
            "POST /v2/app/blobs/uploads/".to_owned(),
            format!("PUT /v2/app/blobs/uploads/1?state=x&digest={digest}"),
        ]
    );
    let result = repository
        .upload(&digest, 300_000, &[], &blob, silent())
        .await;
    assert_eq!(result.expect("again"), Uploaded::Existed);
}

#[tokio::test]
async fn a_line_that_is_cut_anywhere_is_taken_up_where_the_registry_says() {
    const LENGTH: usize = 500_000;
    let blob = content(LENGTH);
    for cuts in [
        vec![1],
        vec![2],
        vec![65_536],
        vec![LENGTH - 1],
        vec![100_000, 100_000, 0, 50_000, 1],
    ] {
        let taking = Arc::new(Taking {
            cuts: Mutex::new(cuts.clone().into()),
            ..Taking::default()
        });
        let (result, server) = upload(&taking, &blob).await;
        assert_eq!(result.expect("upload"), Uploaded::Sent, "{cuts:?}");
        assert!(taking.has(&blob), "{cuts:?}");
        let received = server.received();
        assert!(
            received < LENGTH as u64 * 102 / 100 + 2000,
            "{cuts:?}: {received} bytes"
        );
    }
}

#[tokio::test]
async fn a_registry_that_forgot_is_sent_the_blob_anew() {
    let blob = content(100_000);
    let taking = Arc::new(Taking {
        cuts: Mutex::new([50_000, 60_000].into()),
        forgetful: true,
        ..Taking::default()
    });
    let (result, _server) = upload(&taking, &blob).await;
    assert_eq!(result.expect("upload"), Uploaded::Sent);
    assert!(taking.has(&blob));
}

#[tokio::test]
async fn a_registry_that_always_cuts_is_given_up() {
    let blob = content(100_000);
    let taking = Arc::new(Taking {
        cuts: Mutex::new(vec![0; 100].into()),
        ..Taking::default()
    });
    let (result, server) = upload(&taking, &blob).await;
    let error = result.expect_err("never");
    assert!(matches!(error, Error::Request { .. }), "{error}");
    let puts = server
        .lines()
        .iter()
        .filter(|line| line.starts_with("PUT"))
        .count();
    assert_eq!(puts, 5);
}

#[tokio::test]
async fn an_answer_that_is_lost_is_not_paid_for_twice() {
    let blob = content(100_000);
    let taking = Arc::new(Taking {
        loses_last: true,
        ..Taking::default()
    });
    let (result, server) = upload(&taking, &blob).await;
    assert_eq!(result.expect("upload"), Uploaded::Sent);
    assert!(server.received() < 110_000);
}

#[tokio::test]
async fn a_registry_that_refuses_the_whole_gets_pieces() {
    let blob = content(100_000);
    let taking = Arc::new(Taking {
        most: Some(30_000),
        cuts: Mutex::new([usize::MAX, usize::MAX, 7_000].into()),
        ..Taking::default()
    });
    let server = Server::start(Arc::clone(&taking)).await;
    let mut settings = settings();
    settings.limits.upload_piece = 30_000;
    let result = app_with(&server, settings, Credentials::None)
        .upload(&Digest::of(&blob), 100_000, &[], &blob, silent())
        .await;
    assert_eq!(result.expect("upload"), Uploaded::Sent);
    assert!(taking.has(&blob));
}

#[tokio::test]
async fn an_empty_blob_is_a_blob() {
    let taking = Arc::new(Taking::default());
    let (result, _server) = upload(&taking, &Bytes::new()).await;
    assert_eq!(result.expect("upload"), Uploaded::Sent);
    assert!(taking.has(b""));
}

#[tokio::test]
async fn a_blob_of_another_repository_is_mounted() {
    let blob = content(1000);
    let digest = Digest::of(&blob);
    let taking = Arc::new(Taking {
        mountable: vec!["library/base".to_owned()],
        ..Taking::default()
    });
    let server = Server::start(Arc::clone(&taking)).await;
    let from =
        ["absent", "secret", "library/base", "more"].map(|name| name.parse().expect("repository"));
    let result = app(&server)
        .upload(&digest, 1000, &from, &blob, silent())
        .await;
    assert_eq!(
        result.expect("upload"),
        Uploaded::Mounted("library/base".to_owned())
    );
    let posts: Vec<String> = server.lines().split_off(1);
    assert_eq!(
        posts,
        ["absent", "secret", "library/base"]
            .map(|name| format!("POST /v2/app/blobs/uploads/?mount={digest}&from={name}"))
    );
}

#[tokio::test]
async fn an_upload_that_a_failed_mount_began_is_used_and_others_are_cancelled() {
    let blob = content(1000);
    let taking = Arc::new(Taking::default());
    let server = Server::start(Arc::clone(&taking)).await;
    let from = ["a", "b"].map(|name| name.parse().expect("repository"));
    let result = app(&server)
        .upload(&Digest::of(&blob), 1000, &from, &blob, silent())
        .await;
    assert_eq!(result.expect("upload"), Uploaded::Sent);
    let methods: Vec<String> = server
        .requests()
        .iter()
        .map(|request| request.method.clone())
        .collect();
    assert_eq!(methods, ["HEAD", "POST", "POST", "DELETE", "PUT"]);
}

#[tokio::test]
async fn a_refusal_is_told_in_the_registrys_words() {
    let server = Server::start(|request: &Request| match request.method.as_str() {
        "HEAD" => Reply::status(404),
        _ => Reply::refusal(403, "DENIED", "requested access to the resource is denied"),
    })
    .await;
    let blob = content(10);
    let error = app(&server)
        .upload(&Digest::of(&blob), 10, &[], &blob, silent())
        .await
        .expect_err("denied");
    assert_eq!(
        error.to_string(),
        "denied: requested access to the resource is denied"
    );
}

/// A source whose bytes cannot be read to the end.
struct Broken;

impl Source for Broken {
    fn open(&self, _: u64) -> std::io::Result<Chunks> {
        let pieces = [
            Ok(Bytes::from_static(b"01234")),
            Err(std::io::Error::other("the disk is on fire")),
        ];
        Ok(Box::pin(futures_util::stream::iter(pieces)))
    }
}

#[tokio::test]
async fn a_source_that_cannot_be_read_is_no_fault_of_the_registry() {
    let server = Server::start(Arc::new(Taking::default())).await;
    let error = app(&server)
        .upload(&Digest::of(b"0123456789"), 10, &[], &Broken, silent())
        .await
        .expect_err("fire");
    assert!(error.to_string().contains("the disk is on fire"), "{error}");
    let puts = server
        .lines()
        .iter()
        .filter(|line| line.starts_with("PUT"))
        .count();
    assert!(puts <= 1, "it is not tried again");
}

#[tokio::test]
async fn a_manifest_is_put_and_its_digest_compared() {
    let server = Server::start(|request: &Request| match request.path.as_str() {
        "/v2/app/manifests/1" => {
            Reply::status(201).with("Docker-Content-Digest", Digest::of(&request.body))
        }
        _ => Reply::status(201).with("Docker-Content-Digest", Digest::of(b"another")),
    })
    .await;
    let repository = app(&server);
    let put = |tag: &str| {
        let target = Target::Tag(tag.parse().expect("tag"));
        let repository = repository.clone();
        async move {
            repository
                .put_manifest(&target, MANIFEST, manifest().into())
                .await
        }
    };
    let digest = put("1").await.expect("put");
    assert_eq!(digest, Digest::of(manifest().as_bytes()));
    let request = &server.requests()[0];
    assert_eq!(request.body, manifest().as_bytes());
    assert_eq!(request.header("content-type"), Some(MANIFEST));
    assert!(matches!(put("2").await, Err(Error::Digest { .. })));
    let target = Target::Digest(Digest::of(b"another"));
    let error = repository.put_manifest(&target, MANIFEST, manifest().into());
    assert!(matches!(error.await, Err(Error::Digest { .. })));
    assert_eq!(server.requests().len(), 2, "nothing was sent");
}
