//! TLS, registries without it, proxies, and the directories of hosts.

use std::fs;
use std::path::Path;

use wharf_distribution::{Credentials, Error, Kind, Repository, Settings, Target};
use wharf_types::Digest;

use crate::certificates::Authority;
use crate::proxy::Proxy;
use crate::registry::{Content, app_with, client, read, settings};
use crate::server::{Reply, Request, Server};

fn tag(name: &str) -> Target {
    Target::Tag(name.parse().expect("tag"))
}

/// Settings that reach servers through a proxy, with a directory of hosts.
fn through(proxy: &Proxy, hosts: &Path) -> Settings {
    let mut settings = settings();
    settings.proxies.https = proxy.address();
    settings.proxies.http = proxy.address();
    settings.host_directories = vec![hosts.to_owned()];
    settings
}

fn at(settings: Settings, name: &str, credentials: Credentials) -> Repository {
    client(settings).repository(&name.parse().expect("name"), credentials)
}

async fn error_at(settings: Settings, name: &str) -> Error {
    let repository = at(settings, name, Credentials::None);
    repository.resolve(&tag("1")).await.expect_err("refused")
}

async fn image_server(tls: Option<tokio_rustls::TlsAcceptor>) -> Server {
    let content = Content::image("1");
    Server::with_tls(move |request: &Request| content.answer(request), tls).await
}

#[tokio::test]
async fn a_registry_is_certified_by_an_authority_of_its_own() {
    let authority = Authority::new();
    authority.certify("reg.test");
    let server = image_server(Some(authority.acceptor("reg.test", false))).await;
    let proxy = Proxy::start(&[("reg.test:443", &server), ("other.test:443", &server)]).await;
    let hosts = tempfile::tempdir().expect("directory");
    let error = error_at(through(&proxy, hosts.path()), "reg.test/app").await;
    assert_eq!(
        error.to_string(),
        "Get \"https://reg.test/v2/\": tls: failed to verify certificate: x509: certificate signed by unknown authority"
    );
    for name in ["reg.test", "other.test"] {
        fs::create_dir(hosts.path().join(name)).expect("directory");
        let to = hosts.path().join(name).join("ca.crt");
        fs::copy(authority.path("ca.pem"), to).expect("copy");
    }
    let repository = at(
        through(&proxy, hosts.path()),
        "reg.test/app",
        Credentials::None,
    );
    repository.resolve(&tag("1")).await.expect("certified");
    let error = error_at(through(&proxy, hosts.path()), "other.test/app").await;
    assert!(
        error
            .to_string()
            .ends_with("x509: certificate is not valid for other.test"),
        "{error}"
    );
    // The authorities of the machine hold as well.
    let mut settings = through(&proxy, Path::new("/nonexistent"));
    settings.root_certificates = vec!["/nonexistent".into(), authority.path("ca.pem")];
    let repository = at(settings, "reg.test/app", Credentials::None);
    repository.resolve(&tag("1")).await.expect("certified");
    // The proxy was shown its own credentials and nothing else.
    let head = &proxy.heads()[0];
    assert_eq!(
        head,
        "CONNECT reg.test:443 HTTP/1.1\r\nHost: reg.test:443\r\nProxy-Authorization: Basic cHJveHk6cHc=\r\n\r\n"
    );
}

#[tokio::test]
async fn a_registry_is_shown_the_clients_certificate() {
    let authority = Authority::new();
    authority.certify("reg.test");
    authority.certify("client");
    let server = image_server(Some(authority.acceptor("reg.test", true))).await;
    let proxy = Proxy::start(&[("reg.test:443", &server)]).await;
    let hosts = tempfile::tempdir().expect("directory");
    let directory = hosts.path().join("reg.test");
    fs::create_dir(&directory).expect("directory");
    let put = |from: &str, to: &str| {
        fs::copy(authority.path(from), directory.join(to)).expect("copy");
    };
    put("ca.pem", "ca.crt");
    let settings = || through(&proxy, hosts.path());
    let error = error_at(settings(), "reg.test/app").await;
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    put("client.pem", "client.cert");
    let error = error_at(settings(), "reg.test/app").await;
    assert_eq!(
        error.to_string(),
        format!(
            "{}: missing key client.key for client certificate client.cert. CA certificates must use the extension .crt",
            directory.display()
        )
    );
    assert_eq!(error.kind(), Kind::Invalid);
    put("client.key", "client.key");
    let repository = at(settings(), "reg.test/app", Credentials::None);
    repository.resolve(&tag("1")).await.expect("shown");
}

#[tokio::test]
async fn an_insecure_registry_is_believed_with_any_certificate_and_without_tls() {
    let authority = Authority::new();
    authority.certify("somebody.test");
    let server = image_server(Some(authority.acceptor("somebody.test", false))).await;
    let plain = image_server(None).await;
    let proxy = Proxy::start(&[("reg.test:443", &server), ("plain.test:443", &plain)]).await;
    let hosts = Path::new("/nonexistent");
    let mut settings = through(&proxy, hosts);
    settings.insecure_registries = vec!["reg.test".to_owned(), "plain.test".to_owned()];
    let repository = at(settings.clone(), "reg.test/app", Credentials::None);
    repository
        .resolve(&tag("1"))
        .await
        .expect("any certificate");
    // A proxy of the test's that speaks for plain servers: requests name the whole address.
    let content = Content::image("1");
    let forward = Server::start(move |request: &Request| {
        let Some(path) = request.path.strip_prefix("http://plain.test") else {
            return Reply::status(502);
        };
        assert_eq!(request.header("host"), Some("plain.test"));
        let mut inner = request.clone();
        inner.path = path.to_owned();
        content.answer(&inner)
    })
    .await;
    settings.proxies.http = format!("http://u:p@{}", forward.name());
    let repository = at(settings.clone(), "plain.test/app", Credentials::None);
    repository.resolve(&tag("1")).await.expect("without TLS");
    repository.resolve(&tag("1")).await.expect("again");
    assert!(
        forward
            .requests()
            .iter()
            .all(|request| request.header("proxy-authorization") == Some("Basic dTpw"))
    );
    // It is remembered that there is no TLS.
    let asked = proxy
        .heads()
        .iter()
        .filter(|head| head.contains("plain.test"))
        .count();
    assert_eq!(asked, 1);
    // One that is not listed is told on as Docker does.
    settings.insecure_registries.clear();
    let error = error_at(settings, "plain.test/app").await;
    assert_eq!(
        error.to_string(),
        "Get \"https://plain.test/v2/\": http: server gave HTTP response to HTTPS client"
    );
    assert_eq!(forward.requests().len(), 2);
}

#[tokio::test]
async fn attack_g8_a_redirect_from_https_to_http_is_not_followed() {
    let authority = Authority::new();
    authority.certify("reg.test");
    let storage = Server::start(|_: &Request| Reply::ok("stolen")).await;
    let place = format!("http://{}/blob", storage.name());
    let server = Server::with_tls(
        move |_: &Request| Reply::status(307).with("Location", &place),
        Some(authority.acceptor("reg.test", false)),
    )
    .await;
    let proxy = Proxy::start(&[("reg.test:443", &server)]).await;
    let mut settings = through(&proxy, Path::new("/nonexistent"));
    settings.root_certificates = vec![authority.path("ca.pem")];
    let repository = at(settings, "reg.test/app", Credentials::basic("me", "pw"));
    let error = repository
        .blob(&Digest::of(b"x"), None, 0)
        .await
        .expect_err("refused");
    assert!(
        error.to_string().ends_with("it would leave https"),
        "{error}"
    );
    assert_eq!(error.kind(), Kind::Untrustworthy);
    assert!(storage.requests().is_empty());
}

#[tokio::test]
async fn a_realm_at_another_host_is_asked_over_https() {
    let authority = Authority::new();
    authority.certify("reg.test");
    authority.certify("tokens.test");
    let content = Content::image("1");
    let registry = Server::with_tls(
        move |request: &Request| match request.header("authorization") {
            Some("Bearer good") => content.answer(request),
            _ => Reply::status(401).with(
                "WWW-Authenticate",
                "Bearer realm=\"https://tokens.test/token\"",
            ),
        },
        Some(authority.acceptor("reg.test", false)),
    )
    .await;
    let tokens = Server::with_tls(
        |_: &Request| Reply::json(200, r#"{"token":"good"}"#),
        Some(authority.acceptor("tokens.test", false)),
    )
    .await;
    let proxy = Proxy::start(&[("reg.test:443", &registry), ("tokens.test:443", &tokens)]).await;
    let mut settings = through(&proxy, Path::new("/nonexistent"));
    settings.root_certificates = vec![authority.path("ca.pem")];
    let repository = at(settings, "reg.test/app", Credentials::basic("me", "pw"));
    repository.resolve(&tag("1")).await.expect("with a token");
    let [request] = &tokens.requests()[..] else {
        panic!("one token");
    };
    assert_eq!(request.header("authorization"), Some("Basic bWU6cHc="));
}

#[tokio::test]
async fn a_proxy_that_refuses_is_told() {
    let proxy = Proxy::start(&[]).await;
    let error = error_at(through(&proxy, Path::new("/nonexistent")), "reg.test/app").await;
    assert_eq!(
        error.to_string(),
        "Get \"https://reg.test/v2/\": proxyconnect tcp: 502 Bad Gateway"
    );
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_told_as_go_does() {
    let directory = tempfile::tempdir().expect("directory");
    let mut settings = settings();
    // A name server that is not there.
    settings.resolv_conf = directory.path().join("resolv.conf");
    fs::write(
        &settings.resolv_conf,
        "nameserver 127.0.0.254\noptions timeout:1 attempts:1\n",
    )
    .expect("write");
    let error = error_at(settings, "reg.test/app").await;
    let text = error.to_string();
    assert!(
        text.starts_with("Get \"https://reg.test/v2/\": dial tcp: lookup reg.test: "),
        "{text}"
    );
}

#[tokio::test]
async fn a_hosts_toml_leads_to_mirrors_with_headers_of_their_own() {
    let first = Server::start(|_: &Request| Reply::status(404)).await;
    let content = Content::image("1");
    let second = Server::start(move |request: &Request| {
        let mut inner = request.clone();
        inner.path = request.path.replace("/deep/hub/app/", "/v2/app/");
        content.answer(&inner)
    })
    .await;
    let only_push = Server::start(|_: &Request| Reply::status(500)).await;
    let registry = image_server(None).await;
    let hosts = tempfile::tempdir().expect("directory");
    let directory = hosts.path().join(registry.name().replace(':', "_") + "_");
    fs::create_dir(&directory).expect("directory");
    fs::write(
        directory.join("hosts.toml"),
        format!(
            r#"
            [host."http://{}"]
              capabilities = ["pull", "resolve"]
            [host."http://{}"]
              capabilities = ["push"]
            [host."http://{}/deep/hub"]
              capabilities = ["pull", "resolve"]
              override_path = true
              [host."http://{2}/deep/hub".header]
                authorization = "Bearer mirror"
            "#,
            first.name(),
            only_push.name(),
            second.name()
        ),
    )
    .expect("write");
    let mut settings = settings();
    settings.host_directories = vec!["/nonexistent".into(), hosts.path().to_owned()];
    let repository = app_with(&registry, settings, Credentials::basic("me", "pw"));
    let found = repository.resolve(&tag("1")).await.expect("manifest");
    assert_eq!(found.endpoint, second.name());
    let stream = repository.blob(&Digest::of(b"layer"), None, 0).await;
    assert_eq!(read(stream.expect("blob")).await.expect("bytes"), b"layer");
    assert!(registry.requests().is_empty());
    assert!(only_push.requests().is_empty());
    let namespace = format!("?ns={}", registry.name());
    let first = &first.requests()[0];
    assert_eq!(first.path, format!("/v2/app/manifests/1{namespace}"));
    assert_eq!(first.header("authorization"), None);
    let second = &second.requests()[0];
    assert_eq!(second.path, format!("/deep/hub/app/manifests/1{namespace}"));
    assert_eq!(second.header("authorization"), Some("Bearer mirror"));
    // What takes pushes is the host that is listed for them.
    let error = repository.has_blob(&Digest::of(b"x")).await;
    assert_eq!(error.expect_err("500").kind(), Kind::Unavailable);
    assert!(!only_push.requests().is_empty());
}

#[tokio::test]
async fn a_hosts_toml_names_the_registry_itself_and_what_is_wrong_is_told() {
    let registry = Server::start(|request: &Request| match request.header("authorization") {
        Some("Basic bWU6cHc=") => Content::image("1").answer(request),
        _ => Reply::status(401).with("WWW-Authenticate", "Basic realm=\"x\""),
    })
    .await;
    let hosts = tempfile::tempdir().expect("directory");
    let directory = hosts.path().join("_default");
    fs::create_dir(&directory).expect("directory");
    let file = directory.join("hosts.toml");
    fs::write(&file, format!("[host.\"http://{}\"]\n", registry.name())).expect("write");
    let mut settings = settings();
    settings.host_directories = vec![hosts.path().to_owned()];
    let credentials = Credentials::basic("me", "pw");
    let repository = app_with(&registry, settings.clone(), credentials);
    let found = repository.resolve(&tag("1")).await;
    found.expect("the registry under its own name gets its credentials");
    // No TLS was tried where the operator says http.
    assert_eq!(registry.connections(), 1);
    fs::write(&file, "[host.\"https://a.test\"]\nmirror = true\n").expect("write");
    let repository = app_with(&registry, settings, Credentials::None);
    let error = repository
        .resolve(&tag("1"))
        .await
        .expect_err("unknown key");
    let text = error.to_string();
    assert!(text.starts_with(&format!("{}: ", file.display())), "{text}");
    assert!(text.contains("mirror"), "{text}");
}
