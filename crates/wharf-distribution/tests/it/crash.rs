//! Dying at each step of a push: what the registry has is whole, and the next push succeeds.

use std::collections::BTreeSet;
use std::process::{Command, ExitStatus};
use std::sync::Arc;

use bytes::Bytes;
use wharf_distribution::{Credentials, Target, Uploaded};
use wharf_types::{Digest, failpoint};

use crate::registry::{MANIFEST, app_with, client, content, manifest, settings};
use crate::server::Server;
use crate::upload::Taking;

/// Where the process that dies finds the registry.
const REGISTRY: &str = "WHARF_TEST_REGISTRY";

fn blob() -> Bytes {
    content(50_000)
}

/// The push of the process that dies; without an address there is nothing to do.
#[tokio::test]
async fn push_of_a_process_that_dies() {
    let Ok(address) = std::env::var(REGISTRY) else {
        return;
    };
    let mut settings = settings();
    settings.limits.upload_piece = 20_000;
    let name = format!("{address}/app").parse().expect("name");
    let repository = client(settings).repository(&name, Credentials::None);
    let from = ["other".parse().expect("repository")];
    let blob = blob();
    let size = blob.len() as u64;
    let result = repository
        .upload(&Digest::of(&blob), size, &from, &blob, Arc::new(|_| {}))
        .await;
    result.expect("upload");
    let tag = Target::Tag("1".parse().expect("tag"));
    repository
        .put_manifest(&tag, MANIFEST, manifest().into())
        .await
        .expect("manifest");
}

async fn run(server: &Server, failpoint: &str) -> ExitStatus {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command
        .args(["--exact", "crash::push_of_a_process_that_dies"])
        .env(REGISTRY, server.name())
        .env(failpoint::VARIABLE, failpoint)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    // The server answers meanwhile, on this thread.
    let ended = tokio::task::spawn_blocking(move || command.status());
    ended.await.expect("task").expect("it starts")
}

/// A registry that takes pieces only, so that all steps are gone through.
fn taking() -> Arc<Taking> {
    let mut taking = Taking::default();
    taking.most = Some(20_000);
    Arc::new(taking)
}

#[tokio::test]
async fn a_push_that_dies_at_any_step_is_done_by_the_next() {
    let directory = tempfile::tempdir().expect("directory");
    let list = directory.path().join("list");
    let server = Server::start(taking()).await;
    let listing = format!("list-file:{}", list.display());
    assert!(run(&server, &listing).await.success());
    let passed = std::fs::read_to_string(&list).expect("list");
    let points: BTreeSet<&str> = passed.lines().collect();
    assert_eq!(
        points.iter().copied().collect::<Vec<_>>(),
        [
            "distribution.push.manifest",
            "distribution.upload.begun",
            "distribution.upload.finished",
            "distribution.upload.mount",
            "distribution.upload.piece",
        ]
    );
    for point in points {
        let taking = taking();
        let server = Server::start(Arc::clone(&taking)).await;
        assert!(!run(&server, point).await.success(), "{point}: alive");
        let has_blob = taking.has(&blob());
        let is_late = matches!(
            point,
            "distribution.push.manifest" | "distribution.upload.finished"
        );
        assert_eq!(has_blob, is_late, "{point}");
        // The same client, alive.
        let mut settings = settings();
        settings.limits.upload_piece = 20_000;
        let repository = app_with(&server, settings, Credentials::None);
        let blob = blob();
        let size = blob.len() as u64;
        let result = repository
            .upload(&Digest::of(&blob), size, &[], &blob, Arc::new(|_| {}))
            .await;
        let expected = if is_late {
            Uploaded::Existed
        } else {
            Uploaded::Sent
        };
        assert_eq!(result.expect("upload"), expected, "{point}");
        assert!(taking.has(&blob), "{point}");
    }
}
