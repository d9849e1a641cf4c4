//! Proofs: who sees them, and who must not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wharf_distribution::{Credentials, Error, Kind, RealmFault, RequestError, Target};
use wharf_types::Digest;

use crate::registry::{Content, app_with, content, read_verified, settings};
use crate::server::{Reply, Request, Server};

fn tag(name: &str) -> Target {
    Target::Tag(name.parse().expect("tag"))
}

fn basic() -> Credentials {
    Credentials::basic("me", "hunter2")
}

/// `me:hunter2` as a header.
const BASIC: &str = "Basic bWU6aHVudGVyMg==";

/// A registry that wants a bearer token `good`, of a server at an address.
async fn token_registry(realm: String) -> Server {
    let content = Content::image("1");
    Server::start(move |request: &Request| {
        if request.header("authorization") == Some("Bearer good") {
            return content.answer(request);
        }
        Reply::refusal(401, "UNAUTHORIZED", "authentication required").with(
            "WWW-Authenticate",
            format!(
                "Bearer realm=\"{realm}\",service=\"the registry\",scope=\"repository:app:pull\""
            ),
        )
    })
    .await
}

#[tokio::test]
async fn a_token_is_fetched_once_and_shown_at_once_afterwards() {
    let tokens =
        Server::start(|_: &Request| Reply::json(200, r#"{"token":"good","expires_in":300}"#)).await;
    let registry = token_registry(format!("http://{}/token?x=y", tokens.name())).await;
    let repository = app_with(&registry, settings(), basic());
    repository.resolve(&tag("1")).await.expect("manifest");
    let stream = repository.blob(&Digest::of(b"layer"), None, 0).await;
    assert_eq!(
        read_verified(stream.expect("blob")).await.expect("bytes"),
        b"layer"
    );
    let [request] = &tokens.requests()[..] else {
        panic!("one token: {:?}", tokens.lines());
    };
    assert_eq!(
        request.path,
        "/token?x=y&account=me&service=the%20registry&scope=repository:app:pull"
    );
    assert_eq!(request.header("authorization"), Some(BASIC));
    // Refused once, and then never.
    let shown: Vec<Option<String>> = registry
        .requests()
        .iter()
        .map(|request| request.header("authorization").map(str::to_owned))
        .collect();
    let good = Some("Bearer good".to_owned());
    assert_eq!(shown, [None, good.clone(), good]);
}

#[tokio::test]
async fn who_comes_at_the_same_time_shares_a_token() {
    let tokens = Server::start(|_: &Request| Reply::json(200, r#"{"access_token":"good"}"#)).await;
    let registry = token_registry(format!("http://{}/token", tokens.name())).await;
    let repository = app_with(&registry, settings(), Credentials::None);
    let all = (0..16).map(|_| {
        let repository = repository.clone();
        tokio::spawn(async move { repository.resolve(&tag("1")).await })
    });
    for task in all.collect::<Vec<_>>() {
        task.await.expect("task").expect("manifest");
    }
    assert_eq!(tokens.requests().len(), 1);
    assert_eq!(tokens.requests()[0].header("authorization"), None);
}

#[tokio::test]
async fn a_token_that_is_refused_is_fetched_anew() {
    let issued = Arc::new(AtomicUsize::new(0));
    let valid = Arc::clone(&issued);
    let tokens = Server::start(move |_: &Request| {
        let number = issued.fetch_add(1, Ordering::SeqCst);
        Reply::json(200, &format!(r#"{{"token":"{number}"}}"#))
    })
    .await;
    let realm = format!("http://{}/token", tokens.name());
    let content = Content::image("1");
    let registry = Server::start(move |request: &Request| {
        // Each token is good for one request: the first after it was issued.
        let number = valid.load(Ordering::SeqCst);
        let asked = request.header("authorization").map(str::to_owned);
        if number > 0
            && asked == Some(format!("Bearer {}", number - 1))
            && request.path.contains("manifests")
        {
            return content.answer(request);
        }
        if asked == Some("Bearer 1".to_owned()) {
            return content.answer(request);
        }
        Reply::status(401).with("WWW-Authenticate", format!("Bearer realm=\"{realm}\""))
    })
    .await;
    let repository = app_with(&registry, settings(), Credentials::None);
    repository.resolve(&tag("1")).await.expect("with token 0");
    let stream = repository.blob(&Digest::of(b"layer"), None, 0).await;
    stream.expect("with token 1");
    assert_eq!(tokens.requests().len(), 2);
}

#[tokio::test]
async fn an_identity_token_is_exchanged() {
    let tokens = Server::start(|_: &Request| Reply::json(200, r#"{"token":"good"}"#)).await;
    let registry = token_registry(format!("http://{}/token", tokens.name())).await;
    let identity = Credentials::IdentityToken("a+b/c".to_owned());
    let repository = app_with(&registry, settings(), identity);
    repository.resolve(&tag("1")).await.expect("manifest");
    let request = &tokens.requests()[0];
    assert_eq!(
        (request.method.as_str(), request.path.as_str()),
        ("POST", "/token")
    );
    assert_eq!(
        String::from_utf8_lossy(&request.body),
        "grant_type=refresh_token&client_id=docker&service=the%20registry&scope=repository:app:pull&refresh_token=a%2Bb/c"
    );
}

#[tokio::test]
async fn a_registry_token_is_shown_as_it_is() {
    let registry = token_registry("http://127.0.0.1:1/".to_owned()).await;
    let token = |text: &str| Credentials::RegistryToken(text.to_owned());
    let repository = app_with(&registry, settings(), token("good"));
    repository.resolve(&tag("1")).await.expect("manifest");
    let repository = app_with(&registry, settings(), token("bad"));
    let error = repository.resolve(&tag("1")).await.expect_err("bad");
    assert_eq!(error.to_string(), "unauthorized: authentication required");
}

#[tokio::test]
async fn a_wrong_password_is_told_in_the_token_servers_words() {
    let tokens = Server::start(|_: &Request| {
        Reply::json(401, r#"{"details":"incorrect username or password"}"#)
    })
    .await;
    let registry = token_registry(format!("http://{}/token", tokens.name())).await;
    let repository = app_with(&registry, settings(), basic());
    let error = repository.resolve(&tag("1")).await.expect_err("wrong");
    assert_eq!(
        error.to_string(),
        format!(
            "Get \"http://{}/v2/app/manifests/1\": unauthorized: incorrect username or password",
            registry.name()
        )
    );
    assert_eq!(error.kind(), Kind::Unauthorized);
}

#[tokio::test]
async fn a_token_that_allows_too_little_is_denied_as_docker_says() {
    let tokens = Server::start(|_: &Request| Reply::json(200, r#"{"token":"weak"}"#)).await;
    let realm = format!("http://{}/token", tokens.name());
    let registry = Server::start(move |request: &Request| {
        let error = if request.header("authorization").is_some() {
            ",error=\"insufficient_scope\""
        } else {
            ""
        };
        Reply::refusal(401, "UNAUTHORIZED", "authentication required").with(
            "WWW-Authenticate",
            format!("Bearer realm=\"{realm}\"{error}"),
        )
    })
    .await;
    let repository = app_with(&registry, settings(), Credentials::None);
    let error = repository.resolve(&tag("1")).await.expect_err("denied");
    assert_eq!(
        error.to_string(),
        format!(
            "pull access denied for {}/app, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
            registry.name()
        )
    );
    // One refused without a token, one with; a weak token is not fetched again and again.
    assert!(registry.requests().len() <= 3, "{:?}", registry.lines());
}

#[tokio::test]
async fn attack_g8_a_realm_elsewhere_without_tls_sees_nothing() {
    let registry = token_registry("http://tokens.test/token".to_owned()).await;
    let repository = app_with(&registry, settings(), basic());
    let error = repository.resolve(&tag("1")).await.expect_err("refused");
    assert!(
        matches!(
            &error,
            Error::Request {
                reason: RequestError::Realm {
                    reason: RealmFault::Plain,
                    ..
                },
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(error.kind(), Kind::Untrustworthy);
    assert!(
        registry
            .requests()
            .iter()
            .all(|request| request.header("authorization").is_none()),
        "the password is not shown instead"
    );
}

#[tokio::test]
async fn attack_g8_a_redirect_to_another_host_carries_nothing() {
    let blob = content(1000);
    let digest = Digest::of(&blob);
    let bytes = blob.clone();
    let storage = Server::start(move |request: &Request| Reply::ranged(request, &bytes)).await;
    let place = format!("http://{}/blob?sig=1", storage.name());
    let registry = Server::start(
        move |request: &Request| match request.header("authorization") {
            Some(BASIC) => Reply::status(307).with("Location", &place),
            _ => Reply::status(401).with("WWW-Authenticate", "Basic realm=\"x\""),
        },
    )
    .await;
    let repository = app_with(&registry, settings(), basic());
    let stream = repository.blob(&digest, None, 0).await.expect("blob");
    assert_eq!(read_verified(stream).await.expect("bytes"), blob);
    let [request] = &storage.requests()[..] else {
        panic!("one request: {:?}", storage.lines());
    };
    assert_eq!(request.path, "/blob?sig=1");
    assert_eq!(request.header("authorization"), None);
    assert_eq!(request.header("cookie"), None);
}

#[tokio::test]
async fn a_redirect_at_the_same_host_keeps_the_proof_and_may_be_relative() {
    let blob = content(1000);
    let digest = Digest::of(&blob);
    let bytes = blob.clone();
    let registry = Server::start(move |request: &Request| {
        match (request.header("authorization"), request.path.as_str()) {
            (Some(BASIC), "/v2/app/blobs/here") => Reply::ranged(request, &bytes),
            (Some(BASIC), _) => Reply::status(302).with("Location", "here"),
            _ => Reply::status(401).with("WWW-Authenticate", "Basic realm=\"x\""),
        }
    })
    .await;
    let repository = app_with(&registry, settings(), basic());
    let stream = repository.blob(&digest, None, 0).await.expect("blob");
    assert_eq!(read_verified(stream).await.expect("bytes"), blob);
}

#[tokio::test]
async fn redirects_end() {
    let registry =
        Server::start(|request: &Request| Reply::status(307).with("Location", &request.path)).await;
    let repository = app_with(&registry, settings(), basic());
    let error = repository.resolve(&tag("1")).await.expect_err("a circle");
    assert!(
        error.to_string().contains("stopped after 10 redirects"),
        "{error}"
    );
    assert_eq!(registry.requests().len(), 11);
}

#[tokio::test]
async fn the_registrys_credentials_do_not_go_to_a_mirror() {
    let mirror = Server::start(|request: &Request| match request.header("authorization") {
        Some(_) => Reply::status(404),
        None => Reply::status(401).with("WWW-Authenticate", "Basic realm=\"x\""),
    })
    .await;
    let own = Server::start(|request: &Request| match request.header("authorization") {
        Some(_) => Reply::status(404),
        None => Reply::status(401).with("WWW-Authenticate", "Basic realm=\"x\""),
    })
    .await;
    let content = Content::image("1");
    let registry = Server::start(
        move |request: &Request| match request.header("authorization") {
            Some(BASIC) => content.answer(request),
            _ => Reply::status(401).with("WWW-Authenticate", "Basic realm=\"x\""),
        },
    )
    .await;
    let mut settings = settings();
    settings.mirrors.insert(
        registry.name(),
        vec![
            format!("http://{}", mirror.name()),
            format!("http://m:m@{}", own.name()),
        ],
    );
    let repository = app_with(&registry, settings, basic());
    repository
        .resolve(&tag("1"))
        .await
        .expect("at the registry");
    let seen = |server: &Server| -> Vec<Option<String>> {
        server
            .requests()
            .iter()
            .map(|request| request.header("authorization").map(str::to_owned))
            .collect()
    };
    assert_eq!(seen(&mirror), [None]);
    assert_eq!(seen(&own), [None, Some("Basic bTpt".to_owned())]);
}
