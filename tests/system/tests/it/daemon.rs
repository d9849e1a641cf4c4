//! The daemon program: its settings, its sockets, its signals.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use wharf_tests_system::{Client, Engine, binary, command, image, needs, wait};

/// Checks a configuration file; returns the exit code and what was said.
fn validate(engine: &Engine, file: &str, flags: &[&str]) -> (i32, String) {
    let path = engine.directory().join("validated.json");
    std::fs::write(&path, file).unwrap();
    let mut command = Command::new(binary::wharf());
    command.args(["daemon", "--validate", "--config-file"]);
    command.arg(&path).args(flags);
    let ran = command::run(command, b"");
    (ran.code, ran.stderr)
}

#[test]
fn a_configuration_is_checked_without_being_used() {
    if !needs::met(&[]) {
        return;
    }
    let engine = Engine::prepare();
    let good = validate(
        &engine,
        r#"{"debug":true,"log-opts":{"max-size":"1m"}}"#,
        &[],
    );
    assert_eq!(good, (0, "configuration OK\n".to_owned()));
    for (file, flags, said) in [
        (
            r#"{"debugg":true}"#,
            &[][..],
            "don't match any configuration option: debugg",
        ),
        (
            r#"{"metrics-addr":"127.0.0.1:9323"}"#,
            &[],
            "configuration option metrics-addr is known from dockerd",
        ),
        (
            r#"{"debug":true}"#,
            &["--debug"],
            "debug: (from flag: true, from file: true)",
        ),
        (
            r#"{"hosts":["tcp://0.0.0.0:2375"]}"#,
            &[],
            "--allow-insecure-tcp",
        ),
        ("{", &[], "validated.json: is not a JSON object: "),
        (
            "{}",
            &["--containerd", "/x"],
            "flag --containerd is known from dockerd",
        ),
        (
            "{}",
            &["--tlsverify", "--tlscert", "/nowhere"],
            "TLS file /nowhere: No such file",
        ),
    ] {
        let (code, stderr) = validate(&engine, file, flags);
        assert_eq!(code, 1, "{file} {flags:?}");
        assert!(stderr.contains(said), "{file} {flags:?}: {stderr}");
    }
}

#[test]
fn a_hangup_has_the_settings_read_again() {
    if !needs::met(&["busybox"]) {
        return;
    }
    let mut engine = Engine::prepare();
    let file = engine.directory().join("daemon.json");
    let write = |value: serde_json::Value| std::fs::write(&file, value.to_string()).unwrap();
    write(json!({"labels": ["a=1"], "mtu": 1400}));
    engine.argument("--config-file");
    engine.argument(file.to_str().unwrap());
    engine.launch();
    engine.import(&image::busybox(), "busybox");
    let hang_up = || {
        let pid = Pid::from_raw(i32::try_from(engine.pid()).unwrap()).unwrap();
        kill_process(pid, Signal::HUP).unwrap();
    };
    let info = |engine: &Engine| engine.request("GET", "/info", b"").unwrap().json();
    assert_eq!(info(&engine)["Labels"], json!(["a=1"]));

    write(json!({
        "labels": ["b=2"], "mtu": 1300, "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 64, "Hard": 64}},
    }));
    hang_up();
    wait::until_true("the new labels", || {
        info(&engine)["Labels"] == json!(["b=2"])
    });
    wait::until_true("what needs a restart to be named", || {
        engine
            .log()
            .contains("these settings change when the engine is restarted")
            && engine.log().contains("settings=\"mtu\"")
    });
    let limit = engine.wharf(&[
        "run",
        "--rm",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        "ulimit -n",
    ]);
    assert_eq!(limit.out(), "64");
    let query = "/events?since=1&until=9999999999&filters=%7B%22event%22%3A%5B%22reload%22%5D%7D";
    let told = || {
        let mut stream = std::os::unix::net::UnixStream::connect(engine.socket()).unwrap();
        write!(stream, "GET {query} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        stream.set_read_timeout(Some(wait::PATIENCE)).unwrap();
        let mut said = Vec::new();
        while !said.ends_with(b"}\n\r\n") {
            let mut piece = [0; 4096];
            let length = stream.read(&mut piece).unwrap();
            said.extend_from_slice(&piece[..length]);
        }
        String::from_utf8(said).unwrap()
    };
    let event = told();
    assert!(
        event.contains(r#""Type":"daemon","Action":"reload""#),
        "{event}"
    );
    assert!(event.contains(r#""labels":"[b=2]""#), "{event}");

    // What is wrong changes nothing.
    write(json!({"labels": ["c=3"], "nonsense": 1}));
    hang_up();
    wait::until_true("the error", || engine.log().contains("option: nonsense"));
    assert_eq!(info(&engine)["Labels"], json!(["b=2"]));
    engine.finish();
}

/// The port the engine got.
pub(crate) fn port(engine: &Engine) -> u16 {
    let log = engine.log();
    let (_, rest) = log
        .rsplit_once("tcp://127.0.0.1:")
        .expect("the engine tells its sockets");
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap();
    digits.parse().unwrap()
}

/// The answer's first line to a request over TCP.
fn status(port: u16, request: &str) -> String {
    let address = (Ipv4Addr::LOCALHOST, port).into();
    let mut stream = TcpStream::connect_timeout(&address, wait::PATIENCE).unwrap();
    stream.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).unwrap();
    let said = String::from_utf8_lossy(&said).into_owned();
    said.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn attack_m3_web_pages_do_not_reach_the_engine_over_tcp() {
    if !needs::met(&["docker"]) {
        return;
    }
    let mut engine = Engine::prepare();
    engine.argument("--allow-insecure-tcp");
    engine.argument("--host=tcp://127.0.0.1:0");
    engine.launch();
    let port = port(&engine);
    let own = format!("Host: 127.0.0.1:{port}\r\n");
    for (head, expected) in [
        (format!("GET /info HTTP/1.1\r\n{own}"), "HTTP/1.1 200 OK"),
        (
            "GET /info HTTP/1.1\r\nHost: evil.example\r\n".to_owned(),
            "HTTP/1.1 403 Forbidden",
        ),
        (
            format!("GET /info HTTP/1.1\r\n{own}Origin: http://evil.example\r\n"),
            "HTTP/1.1 403 Forbidden",
        ),
        (
            format!("GET /info HTTP/1.1\r\n{own}Sec-Fetch-Site: cross-site\r\n"),
            "HTTP/1.1 403 Forbidden",
        ),
        // Before hyper sees it.
        (
            "POST /containers/x/attach HTTP/1.1\r\nHost: evil.example\r\nUpgrade: tcp\r\n"
                .to_owned(),
            "HTTP/1.1 403 Forbidden",
        ),
        (
            format!("POST /containers/x/attach HTTP/1.1\r\n{own}Upgrade: tcp\r\n"),
            "HTTP/1.1 404 Not Found",
        ),
    ] {
        let request = format!("{head}Connection: close\r\n\r\n");
        assert_eq!(status(port, &request), expected, "{request}");
    }
    let mut docker = Command::new(needs::program("docker").unwrap());
    docker.args([
        "-H",
        &format!("tcp://127.0.0.1:{port}"),
        "version",
        "--format",
        "{{.Server.Os}}",
    ]);
    docker.env("DOCKER_CONFIG", engine.directory());
    assert_eq!(command::run(docker, b"").out(), "linux");
    assert!(engine.log().contains("is root on this machine"));
    engine.finish();
}

/// Makes an authority, and what it has signed: a server's and a client's certificate.
pub(crate) fn certificates(directory: &Path) {
    let script = r#"
        set -e
        authority() { openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$1" -keyout $1.key -out $1.pem; }
        leaf() {
            openssl req -newkey rsa:2048 -nodes -subj "/CN=$1" -keyout $1.key -out $1.csr
            printf '%s' "$2" > $1.ext
            openssl x509 -req -in $1.csr -CA $3.pem -CAkey $3.key -CAcreateserial -days 2 -extfile $1.ext -out $1.pem
        }
        authority ca; authority stranger
        leaf server "subjectAltName=IP:127.0.0.1" ca
        leaf client "extendedKeyUsage=clientAuth" ca
        leaf other "extendedKeyUsage=clientAuth" stranger
    "#;
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).current_dir(directory);
    command::run(shell, b"").succeeded();
}

#[test]
fn mutual_tls_lets_in_whom_the_authority_has_signed_for() {
    if !needs::met(&["docker", "openssl", "busybox"]) {
        return;
    }
    let mut engine = Engine::prepare();
    let directory = engine.directory().to_owned();
    certificates(&directory);
    let file = |name: &str| -> PathBuf { directory.join(name) };
    for (flag, name) in [
        ("tlscacert", "ca.pem"),
        ("tlscert", "server.pem"),
        ("tlskey", "server.key"),
    ] {
        engine.argument(&format!("--{flag}={}", file(name).display()));
    }
    engine.argument("--tlsverify");
    engine.argument("--host=tcp://127.0.0.1:0");
    engine.launch();
    engine.import(&image::busybox(), "busybox");
    let port = port(&engine);
    let docker = |who: &str, arguments: &[&str]| {
        let mut docker = Command::new(needs::program("docker").unwrap());
        docker.args(["-H", &format!("tcp://127.0.0.1:{port}"), "--tlsverify"]);
        docker.arg("--tlscacert").arg(file("ca.pem"));
        docker.arg("--tlscert").arg(file(&format!("{who}.pem")));
        docker.arg("--tlskey").arg(file(&format!("{who}.key")));
        docker.args(arguments).env("DOCKER_CONFIG", &directory);
        docker
    };
    let run = [
        "run",
        "--rm",
        "-i",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        "cat; echo told >&2; exit 5",
    ];
    let input = "x".repeat(100_000);
    let ran = command::run(docker("client", &run), input.as_bytes());
    ran.exited(5).says("told");
    assert_eq!(ran.stdout, input);
    let stranger = command::run(docker("other", &["ps"]), b"");
    assert_ne!(stranger.code, 0, "{stranger:?}");
    // Nobody is let in without a certificate, or without TLS.
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--cacert"]).arg(file("ca.pem"));
    curl.arg(format!("https://127.0.0.1:{port}/_ping"));
    let ran = command::run(curl, b"");
    assert!(ran.code != 0 && ran.stdout.is_empty(), "{ran:?}");
    let said = status(
        port,
        "GET /_ping HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
    );
    assert!(!said.contains("HTTP"), "{said:?}");

    // An attached client does not hold up the end.
    let mut attached = docker(
        "client",
        &[
            "run",
            "-i",
            "--network",
            "none",
            "--name",
            "box",
            "busybox",
            "cat",
        ],
    );
    attached.stdin(std::process::Stdio::piped());
    let mut attached = attached.spawn().unwrap();
    wait::until_true("the container", || {
        engine
            .run(
                Client::Wharf,
                &["inspect", "--format", "{{.State.Running}}", "box"],
            )
            .stdout
            == "true\n"
    });
    let begun = std::time::Instant::now();
    engine.stop();
    assert!(begun.elapsed().as_secs() < 8, "{:?}", begun.elapsed());
    drop(attached.stdin.take());
    assert!(command::wait(&mut attached, wait::PATIENCE).is_some());
    engine.launch();
    engine.finish();
}

#[test]
fn attack_m4_nobody_but_root_looks_into_the_data_root() {
    if !needs::met(&[]) {
        return;
    }
    let engine = Engine::prepare();
    // However it was before.
    std::fs::create_dir(engine.data_root()).unwrap();
    std::fs::set_permissions(engine.data_root(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let mut engine = engine;
    engine.launch();
    let metadata = std::fs::metadata(engine.data_root()).unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.uid()), (0o700, 0));
    let socket = std::fs::metadata(engine.socket()).unwrap();
    assert_eq!(socket.mode() & 0o7777, 0o660);
    engine.finish();
}

#[test]
fn the_log_is_json_when_asked_for() {
    if !needs::met(&[]) {
        return;
    }
    let mut engine = Engine::prepare();
    engine.argument("--log-format=json");
    engine.launch();
    let log = engine.log();
    for line in log.lines() {
        let line: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        assert!(
            line["level"].is_string() && line["message"].is_string(),
            "{line}"
        );
    }
    assert!(log.contains("the engine is ready"));
    engine.finish();
}
