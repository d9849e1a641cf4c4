//! `wharf registry serve` as a service: certificates, settings, its end.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use wharf_tests_system::command::{self, Ran};
use wharf_tests_system::{Registry, binary, needs, wait};

/// Makes a certificate for 127.0.0.1 that signs itself.
fn certificate(directory: &Path, name: &str) {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args([
            "-days",
            "2",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-subj",
        ])
        .arg(format!("/CN={name}"))
        .arg("-keyout")
        .arg(directory.join(format!("{name}.key")))
        .arg("-out")
        .arg(directory.join(format!("{name}.crt")))
        .output();
    assert!(made.expect("openssl runs").status.success());
}

fn curl(arguments: &[&str]) -> Ran {
    let mut command = Command::new("curl");
    command.args(["-s"]).args(arguments);
    command::run(command, b"")
}

#[test]
fn a_certificate_is_renewed_without_a_restart() {
    if !needs::met(&["openssl", "curl"]) {
        return;
    }
    let mut registry = Registry::prepare();
    let directory = registry.beside("tls");
    std::fs::create_dir(&directory).unwrap();
    for name in ["first", "second"] {
        certificate(&directory, name);
    }
    let file = |name: &str| directory.join(name).display().to_string();
    let install = |name: &str| {
        std::fs::copy(file(&format!("{name}.key")), file("key")).unwrap();
        std::fs::copy(file(&format!("{name}.crt")), file("crt")).unwrap();
    };
    install("first");
    let (crt, key) = (file("crt"), file("key"));
    registry.launch(&[
        ("REGISTRY_HTTP_TLS_CERTIFICATE", &crt),
        ("REGISTRY_HTTP_TLS_KEY", &key),
        ("REGISTRY_HTTP_TLS_MINIMUMTLS", "tls1.3"),
    ]);
    let url = format!("https://{}/v2/", registry.address());
    let trusts = |name: &str| {
        let authority = file(&format!("{name}.crt"));
        curl(&[
            "--cacert",
            &authority,
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            &url,
        ])
        .stdout
            == "200"
    };
    assert!(trusts("first") && !trusts("second"));
    assert_ne!(curl(&["-k", "--tls-max", "1.2", &url]).code, 0);
    assert_ne!(curl(&[&url.replace("https", "http")]).stdout, "{}");
    // A key that does not fit changes nothing.
    std::fs::copy(file("second.key"), file("key")).unwrap();
    wait::until_true("a look at the key", || {
        assert!(trusts("first"));
        registry
            .log()
            .contains("what was there before stays in force")
    });
    install("second");
    wait::until_true("the second certificate", || trusts("second"));
    assert!(!trusts("first"));
}

#[test]
fn settings_that_make_no_sense_keep_it_from_starting() {
    let start = |arguments: &[&str], environment: &[(&str, &str)]| {
        let mut command = Command::new(binary::wharf());
        command
            .args(["registry", "serve", "--root", "/nonexistent/root"])
            .args(arguments)
            .envs(environment.iter().copied());
        let ran = command::run(command, b"");
        assert_ne!(ran.code, 0, "{ran:?}");
        ran
    };
    for (arguments, environment, said) in [
        (
            &[][..],
            &[("REGISTRY_STORAGE", "gcs")][..],
            "REGISTRY_STORAGE: \"gcs\" is not served",
        ),
        (
            &[],
            &[("REGISTRY_HTTP_ADRR", ":1")],
            "REGISTRY_HTTP_ADRR: there is no such setting",
        ),
        (
            &[],
            &[("REGISTRY_HTTP_ADDR", "five")],
            "REGISTRY_HTTP_ADDR: invalid value",
        ),
        (
            &[],
            &[("REGISTRY_AUTH", "htpasswd")],
            "--auth htpasswd needs --htpasswd",
        ),
        (
            &[],
            &[("REGISTRY_AUTH", "silly")],
            "REGISTRY_AUTH: invalid value",
        ),
        (
            &["--anonymous-read"],
            &[],
            "--anonymous-read needs --htpasswd",
        ),
        (&["--token-issue"], &[], "--token-issue needs --htpasswd"),
        (&["--tls-key", "/x"], &[], "--tls-certificate"),
        (&["--proxy", "a=docker"], &[], "upstream \"docker\" must be"),
        (&["--quota", "Team=1"], &[], "no repository can have"),
    ] {
        start(arguments, environment).says(said);
    }
}

fn connect(address: &str) -> TcpStream {
    let address: SocketAddr = address.parse().expect("an address");
    let timeout = Duration::from_secs(20);
    let stream = TcpStream::connect_timeout(&address, timeout).expect("connects");
    stream.set_read_timeout(Some(timeout)).expect("set");
    stream
}

#[test]
fn told_to_stop_it_finishes_what_is_under_way_and_says_what_it_cuts() {
    if !needs::met(&["curl"]) {
        return;
    }
    let mut registry = Registry::prepare();
    let flags = [
        "--drain",
        "1s",
        "--metrics-listen",
        "127.0.0.1:0",
        "--log-format",
        "text",
    ];
    registry.launch_with(&flags, &[]);
    let digest = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let head = |repository: &str| {
        format!(
            "POST /v2/{repository}/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: r\r\nContent-Length: 5\r\n\r\n"
        )
    };
    let (mut finished, mut cut) = (connect(&registry.address()), connect(&registry.address()));
    finished
        .write_all(head("finished").as_bytes())
        .expect("sent");
    cut.write_all(head("cut").as_bytes()).expect("sent");
    let metrics = format!("http://{}/metrics", registry.metrics_address());
    wait::until_true("both requests", || {
        curl(&[&metrics]).stdout.contains("requests_in_flight 2")
    });
    registry.terminate();
    wait::until_true("the signal", || {
        registry.log().contains("the registry stops")
    });
    finished.write_all(b"hello").expect("sent");
    let mut answer = String::new();
    finished.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert!(registry.ended_well());
    let log = registry.log();
    let cuts = log
        .lines()
        .filter(|line| line.contains("a request was cut"));
    let cuts: Vec<&str> = cuts.collect();
    assert_eq!(cuts.len(), 1, "{log}");
    assert!(cuts[0].contains("/v2/cut/blobs/uploads/"), "{log}");
    let audit = log
        .lines()
        .find(|line| line.contains("audit: write") && line.contains("repository=finished"));
    let audit = audit.unwrap_or_else(|| panic!("{log}"));
    for field in [
        "user=\"\"",
        "client=127.0.0.1:",
        "action=POST",
        "object=\"upload\"",
        digest,
        "status=201",
    ] {
        assert!(audit.contains(field), "{field}: {audit}");
    }
}
