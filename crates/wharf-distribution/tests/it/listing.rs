//! Lists, deletions, logging in, searching.

use wharf_distribution::{AnswerFault, Credentials, Error, Kind, LoggedIn, SearchResult, Target};
use wharf_types::Digest;

use crate::registry::{app, client, settings};
use crate::server::{Reply, Request, Server};

#[tokio::test]
async fn tags_come_in_pages() {
    let server = Server::start(|request: &Request| match request.path.as_str() {
        "/v2/app/tags/list?n=1000" => Reply::json(200, r#"{"name":"app","tags":["a","b"]}"#)
            .with("Link", "</v2/app/tags/list?last=b>; rel=\"next\""),
        "/v2/app/tags/list?last=b" => {
            Reply::json(200, r#"{"name":"app","tags":["c","not a tag"]}"#)
                .with("Link", "<?last=c>; rel=\"next\"")
        }
        "/v2/app/tags/list?last=c" => Reply::json(200, r#"{"name":"app","tags":null}"#),
        other => panic!("{other}"),
    })
    .await;
    assert_eq!(app(&server).tags().await.expect("tags"), ["a", "b", "c"]);
}

#[tokio::test]
async fn a_list_without_end_and_one_that_leads_elsewhere_are_refused() {
    let server = Server::start(|request: &Request| {
        Reply::json(200, r#"{"tags":["a"]}"#)
            .with("Link", format!("<{}>; rel=\"next\"", request.path))
    })
    .await;
    let error = app(&server).tags().await.expect_err("no end");
    assert!(
        matches!(
            error,
            Error::Answer {
                fault: AnswerFault::Endless,
                ..
            }
        ),
        "{error}"
    );
    let server = Server::start(|_: &Request| {
        Reply::json(200, r#"{"tags":["a"]}"#).with("Link", "<http://elsewhere.test/>; rel=\"next\"")
    })
    .await;
    let error = app(&server).tags().await.expect_err("elsewhere");
    assert_eq!(error.kind(), Kind::Untrustworthy);
}

fn index(entries: &[(&str, &str)]) -> String {
    let entries: Vec<String> = entries
        .iter()
        .map(|(name, kind)| {
            format!(
                r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{}","size":1,"artifactType":"{kind}"}}"#,
                Digest::of(name.as_bytes())
            )
        })
        .collect();
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{}]}}"#,
        entries.join(",")
    )
}

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

#[tokio::test]
async fn referrers_come_from_the_api_in_pages_and_are_filtered() {
    let digest = Digest::of(b"subject");
    let server = Server::start(move |request: &Request| {
        let reply = |text: String| Reply::ok(text).with("Content-Type", INDEX);
        match request.path.as_str() {
            path if path.ends_with("?artifactType=sig/x") => {
                reply(index(&[("a", "sig/x"), ("b", "sbom")])).with("Link", "<?page=2>; rel=next")
            }
            path if path.ends_with("?page=2") => reply(index(&[("c", "sig/x")])),
            other => panic!("{other}"),
        }
    })
    .await;
    let found = app(&server).referrers(&digest, Some("sig/x")).await;
    let digests: Vec<String> = found
        .expect("referrers")
        .manifests
        .into_iter()
        .map(|entry| entry.digest)
        .collect();
    assert_eq!(
        digests,
        [Digest::of(b"a").to_string(), Digest::of(b"c").to_string()]
    );
}

#[tokio::test]
async fn referrers_come_from_the_tag_where_there_is_no_api() {
    let digest = Digest::of(b"subject");
    let tag = format!("/v2/app/manifests/sha256-{}", digest.hex());
    let server = Server::start(move |request: &Request| {
        if request.path == tag {
            return Reply::ok(index(&[("a", "x"), ("b", "y")])).with("Content-Type", INDEX);
        }
        Reply::status(404)
    })
    .await;
    let repository = app(&server);
    let found = repository.referrers(&digest, Some("y")).await;
    assert_eq!(found.expect("referrers").manifests.len(), 1);
    let found = repository.referrers(&Digest::of(b"other"), None).await;
    assert_eq!(found.expect("none").manifests, []);
}

#[tokio::test]
async fn what_is_deleted_is_named() {
    let server = Server::start(|request: &Request| match request.method.as_str() {
        "DELETE" if request.path.ends_with("absent") => {
            Reply::refusal(404, "MANIFEST_UNKNOWN", "manifest unknown")
        }
        _ => Reply::status(202),
    })
    .await;
    let repository = app(&server);
    let digest = Digest::of(b"x");
    repository
        .delete_manifest(&digest.into())
        .await
        .expect("by digest");
    repository.delete_blob(&digest).await.expect("blob");
    let absent = Target::Tag("absent".parse().expect("tag"));
    let error = repository
        .delete_manifest(&absent)
        .await
        .expect_err("absent");
    assert_eq!(error.kind(), Kind::NotFound);
    assert_eq!(
        server.lines(),
        [
            format!("DELETE /v2/app/manifests/{digest}"),
            format!("DELETE /v2/app/blobs/{digest}"),
            "DELETE /v2/app/manifests/absent".to_owned(),
        ]
    );
}

#[tokio::test]
async fn a_login_with_a_password_is_checked() {
    let server = Server::start(|request: &Request| match request.header("authorization") {
        Some("Basic bWU6cHc=") => Reply::ok("{}"),
        Some(_) => Reply::refusal(401, "UNAUTHORIZED", "authentication required"),
        None => Reply::status(401).with("WWW-Authenticate", "Basic realm=\"x\""),
    })
    .await;
    let client = client(settings());
    let name = server.name();
    let good = Credentials::basic("me", "pw");
    let logged_in = client.login(&name, &good).await.expect("login");
    assert_eq!(logged_in, LoggedIn::default());
    let bad = Credentials::basic("me", "no");
    let error = client.login(&name, &bad).await.expect_err("wrong password");
    assert_eq!(
        error.to_string(),
        format!(
            "login attempt to http://{}/v2/ failed with status: 401 Unauthorized",
            server.name()
        )
    );
    assert_eq!(error.kind(), Kind::Unauthorized);
    assert!(
        server
            .requests()
            .iter()
            .all(|request| request.path == "/v2/")
    );
}

#[tokio::test]
async fn a_login_at_a_token_server_brings_an_identity_token() {
    let tokens = Server::start(|_: &Request| {
        Reply::json(200, r#"{"token":"good","refresh_token":"for later"}"#)
    })
    .await;
    let realm = format!("http://{}/token", tokens.name());
    let server = Server::start(
        move |request: &Request| match request.header("authorization") {
            Some("Bearer good") => Reply::ok("{}"),
            _ => Reply::status(401).with("WWW-Authenticate", format!("Bearer realm=\"{realm}\"")),
        },
    )
    .await;
    let client = client(settings());
    let logged_in = client
        .login(&server.name(), &Credentials::basic("me", "pw"))
        .await
        .expect("login");
    assert_eq!(logged_in.identity_token.as_deref(), Some("for later"));
    assert_eq!(
        tokens.lines(),
        ["GET /token?account=me&client_id=docker&offline_token=true"]
    );
}

#[tokio::test]
async fn an_index_is_searched() {
    let server = Server::start(|_: &Request| {
        Reply::json(
            200,
            r#"{"num_results":2,"query":"a b","results":[{"name":"x","description":null,"star_count":3,"is_official":true},{"name":"y","description":"\u001b[2J"}]}"#,
        )
    })
    .await;
    let client = client(settings());
    let credentials = Credentials::basic("me", "pw");
    let name = server.name();
    let found = client.search(&name, "a b&c", 500, &credentials).await;
    let expected = |name: &str, description: &str, star_count, is_official| SearchResult {
        name: name.to_owned(),
        description: description.to_owned(),
        star_count,
        is_official,
        is_automated: false,
    };
    assert_eq!(
        found.expect("results"),
        [
            expected("x", "", 3, true),
            expected("y", "\u{fffd}[2J", 0, false)
        ]
    );
    let request = &server.requests()[0];
    assert_eq!(request.path, "/v1/search?q=a%20b%26c&n=100");
    assert_eq!(request.header("authorization"), Some("Basic bWU6cHc="));
    let one = client.search(&server.name(), "a", 1, &credentials).await;
    assert_eq!(one.expect("results").len(), 1, "the index gave too many");
}
