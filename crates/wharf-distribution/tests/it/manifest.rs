//! Manifests, and Docker's words for those that do not come.

use wharf_distribution::{Credentials, Document, Error, Kind, Target};
use wharf_types::Digest;

use crate::registry::{Content, MANIFEST, app, app_with, client, manifest, settings};
use crate::server::{Reply, Request, Server};

fn tag(name: &str) -> Target {
    Target::Tag(name.parse().expect("tag"))
}

async fn error_of(reply: Reply) -> String {
    let server = Server::start(move |_: &Request| reply.clone()).await;
    let error = app(&server).resolve(&tag("1")).await.expect_err("refused");
    error.to_string().replace(&server.name(), "HOST")
}

#[tokio::test]
async fn a_tag_and_a_digest_lead_to_a_manifest() {
    let content = Content::image("1");
    let server = Server::start(move |request: &Request| content.answer(request)).await;
    let repository = app(&server);
    let by_tag = repository.resolve(&tag("1")).await.expect("manifest");
    assert_eq!(by_tag.bytes, manifest().as_bytes());
    assert_eq!(by_tag.digest, Digest::of(manifest().as_bytes()));
    assert_eq!(by_tag.media_type, MANIFEST);
    assert_eq!(by_tag.endpoint, server.name());
    assert!(matches!(&by_tag.document, Document::Image(image) if image.layers.len() == 1));
    let by_digest = repository.resolve(&by_tag.digest.into()).await;
    assert_eq!(by_digest.expect("manifest"), by_tag);
    let accept = server.requests()[0].header("accept").map(str::to_owned);
    let accept = accept.expect("accept");
    for part in [
        "manifest.list.v2+json",
        "manifest.v2+json",
        "oci.image.index",
        MANIFEST,
    ] {
        assert!(accept.contains(part), "{accept}");
    }
}

#[tokio::test]
async fn head_tells_without_the_document() {
    let content = Content::image("1");
    let server = Server::start(move |request: &Request| content.answer(request)).await;
    let repository = app(&server);
    let found = repository.head(&tag("1")).await.expect("head");
    let found = found.expect("there");
    assert_eq!(found.digest, Digest::of(manifest().as_bytes()).to_string());
    assert_eq!(found.size, manifest().len() as u64);
    assert_eq!(found.media_type, MANIFEST);
    assert_eq!(repository.head(&tag("2")).await.expect("head"), None);
    assert_eq!(
        server.lines(),
        ["HEAD /v2/app/manifests/1", "HEAD /v2/app/manifests/2"]
    );
}

#[tokio::test]
async fn head_of_a_registry_that_tells_no_digest_asks_for_the_document() {
    let server =
        Server::start(|_: &Request| Reply::ok(manifest()).with("Content-Type", MANIFEST)).await;
    let found = app(&server).head(&tag("1")).await.expect("head");
    let digest = Digest::of(manifest().as_bytes()).to_string();
    assert_eq!(found.expect("there").digest, digest);
}

#[tokio::test]
async fn attack_g5_a_manifest_that_is_not_its_digest_is_refused() {
    let server =
        Server::start(|_: &Request| Reply::ok(manifest()).with("Content-Type", MANIFEST)).await;
    let wanted = Digest::of(b"something else");
    let error = app(&server).resolve(&wanted.into()).await.expect_err("lie");
    assert!(matches!(error, Error::Digest { expected, .. } if expected == wanted));
    // What the registry itself calls it counts too, in SHA-256 and lower case only.
    for (named, refused) in [
        (wanted.to_string(), "gave content that is not"),
        (
            format!(
                "sha256:{}",
                Digest::of(manifest().as_bytes()).hex().to_uppercase()
            ),
            "invalid header Docker-Content-Digest",
        ),
        (
            format!("sha512:{}", "a".repeat(128)),
            "invalid header Docker-Content-Digest",
        ),
    ] {
        let text = error_of(
            Reply::ok(manifest())
                .with("Content-Type", MANIFEST)
                .with("Docker-Content-Digest", named),
        )
        .await;
        assert!(text.contains(refused), "{text}");
    }
}

#[tokio::test]
async fn attack_g9_a_digest_of_another_repository_is_an_error() {
    let content = Content::image("1");
    let server = Server::start(move |request: &Request| content.answer(request)).await;
    let reference: wharf_types::Reference =
        format!("{}/app:1@{}", server.name(), Digest::of(b"another's"))
            .parse()
            .expect("reference");
    let repository = client(settings()).repository(&reference, Credentials::None);
    let error = repository
        .resolve(&Target::of(&reference))
        .await
        .expect_err("not there, whatever the tag leads to");
    assert!(matches!(error, Error::ManifestUnknown { .. }), "{error}");
    assert_eq!(error.kind(), Kind::NotFound);
}

#[tokio::test]
async fn refusals_are_in_dockers_words() {
    assert_eq!(
        error_of(Reply::refusal(404, "MANIFEST_UNKNOWN", "manifest unknown")).await,
        "manifest for HOST/app:1 not found: manifest unknown: manifest unknown"
    );
    assert_eq!(
        error_of(Reply::status(404)).await,
        "manifest for HOST/app:1 not found: manifest unknown: manifest unknown"
    );
    assert_eq!(
        error_of(Reply::refusal(
            404,
            "NAME_UNKNOWN",
            "repository name not known to registry"
        ))
        .await,
        "repository HOST/app not found: name unknown: repository name not known to registry"
    );
    assert_eq!(
        error_of(Reply::refusal(
            403,
            "DENIED",
            "requested access to the resource is denied"
        ))
        .await,
        "pull access denied for HOST/app, repository does not exist or may require 'docker login': denied: requested access to the resource is denied"
    );
    assert_eq!(
        error_of(Reply::refusal(
            401,
            "UNAUTHORIZED",
            "authentication required"
        ))
        .await,
        "unauthorized: authentication required"
    );
    assert_eq!(
        error_of(Reply::status(500)).await,
        "received unexpected HTTP status: 500 Internal Server Error"
    );
    assert_eq!(
        error_of(Reply::status(401).with("WWW-Authenticate", "Basic realm=\"x\"")).await,
        "Get \"http://HOST/v2/app/manifests/1\": no basic auth credentials"
    );
}

#[tokio::test]
async fn schema_1_is_refused_with_what_to_do() {
    let text = error_of(Reply::ok("{}").with(
        "Content-Type",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    ))
    .await;
    assert!(text.contains("schema 1"), "{text}");
    assert!(text.contains("rebuild"), "{text}");
}

#[tokio::test]
async fn attack_g10_a_document_without_end_is_not_read() {
    let long = vec![b' '; wharf_distribution::MANIFEST_MAX + 1];
    let text = error_of(Reply::ok(long.clone()).with("Content-Type", MANIFEST)).await;
    assert!(text.contains("longer than"), "{text}");
    let text = error_of(Reply::ok(long).with("Content-Type", MANIFEST).unmeasured()).await;
    assert!(text.contains("longer than"), "{text}");
}

#[tokio::test]
async fn nobody_listening_is_told_as_docker_does() {
    let server = Server::start(|_: &Request| Reply::status(200)).await;
    let name = server.name();
    let repository = app(&server);
    drop(server);
    let error = loop {
        // The listener is closed when its task has ended.
        let error = repository.resolve(&tag("1")).await.expect_err("nobody");
        if error.to_string().contains("refused") {
            break error;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(
        error.to_string(),
        format!("Get \"http://{name}/v2/\": dial tcp {name}: connect: connection refused")
    );
    assert_eq!(error.kind(), Kind::Unavailable);
}

#[tokio::test]
async fn a_mirror_is_believed_for_a_tag_and_checked_for_a_digest() {
    let mirror_content = Content::image("1");
    let mirror = Server::start(move |request: &Request| mirror_content.answer(request)).await;
    let content = Content::image("2");
    let registry = Server::start(move |request: &Request| content.answer(request)).await;
    let mut settings = settings();
    settings.mirrors.insert(
        registry.name(),
        vec![format!("http://me:pw@{}", mirror.name())],
    );
    let repository = app_with(&registry, settings, Credentials::basic("you", "secret"));
    let found = repository.resolve(&tag("1")).await.expect("at the mirror");
    assert_eq!(found.endpoint, mirror.name());
    assert!(registry.requests().is_empty());
    let found = repository
        .resolve(&tag("2"))
        .await
        .expect("at the registry");
    assert_eq!(found.endpoint, registry.name());
}
