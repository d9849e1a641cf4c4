//! How our client finds an engine and talks to it: contexts, configuration, TLS, another machine's shell.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use wharf_tests_system::{Client, Engine, Ran, binary, command, needs};

use crate::daemon::{certificates, port};
use crate::engine;

/// Our client without a host, in an environment of its own.
fn wharf(engine: &Engine, environment: &[(&str, &str)], arguments: &[&str]) -> Ran {
    let mut line = Command::new(binary::wharf());
    line.args(arguments);
    for name in [
        "DOCKER_HOST",
        "WHARF_HOST",
        "DOCKER_CONTEXT",
        "DOCKER_TLS_VERIFY",
    ] {
        line.env_remove(name);
    }
    line.env("DOCKER_CONFIG", configuration(engine));
    line.envs(environment.iter().copied());
    command::run(line, &[])
}

fn configuration(engine: &Engine) -> String {
    engine.directory().join("config").display().to_string()
}

fn configure(engine: &Engine, text: &str) {
    let directory = configuration(engine);
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(Path::new(&directory).join("config.json"), text).unwrap();
}

#[test]
fn a_context_says_which_engine_is_meant() {
    let Some(engine) = engine() else { return };
    let host = format!("host={}", engine.host());
    let run =
        |environment: &[(&str, &str)], arguments: &[&str]| wharf(&engine, environment, arguments);
    run(&[], &["context", "create", "mine", "--docker", &host]).succeeded();
    run(
        &[],
        &[
            "context",
            "create",
            "gone",
            "--docker",
            "host=unix:///nonexistent/sock",
        ],
    )
    .succeeded();
    let images = ["images", "--format", "{{.Repository}}"];
    assert!(
        run(&[], &["--context", "mine", "images"])
            .out()
            .contains("busybox")
    );
    assert!(
        run(&[("DOCKER_CONTEXT", "mine")], &images)
            .out()
            .contains("busybox")
    );
    run(&[], &["context", "use", "gone"]).succeeded();
    run(&[], &images).exited(1).says("unix:///nonexistent/sock");
    // A host is nearer than the context that is in use, but not than the one that is named.
    assert!(
        run(&[("WHARF_HOST", &engine.host())], &images)
            .out()
            .contains("busybox")
    );
    run(
        &[("DOCKER_HOST", &engine.host())],
        &["--context", "gone", "images"],
    )
    .exited(1);
    run(&[], &["context", "use", "mine"]).succeeded();
    assert!(run(&[], &images).out().contains("busybox"));
    // Docker's client sees the same contexts.
    let mut docker = Command::new(needs::program("docker").unwrap());
    docker.args(["images", "--format", "{{.Repository}}"]);
    docker
        .env_remove("DOCKER_HOST")
        .env("DOCKER_CONFIG", configuration(&engine));
    assert!(command::run(docker, &[]).out().contains("busybox"));
    let archive = engine.directory().join("mine.tar");
    let archive = archive.to_str().unwrap();
    run(&[], &["context", "export", "mine", archive]).succeeded();
    run(&[], &["context", "import", "copy", archive]).succeeded();
    assert!(
        run(&[], &["--context", "copy", "images"])
            .out()
            .contains("busybox")
    );
    engine.finish();
}

#[test]
fn the_configuration_has_formats_proxies_and_keys() {
    let Some(engine) = engine() else { return };
    configure(
        &engine,
        r#"{"psFormat":"{{.Names}}!","imagesFormat":"{{.Tag}}?","detachKeys":"ctrl-1",
            "proxies":{"default":{"httpProxy":"http://proxy:1","noProxy":"a,b"}}}"#,
    );
    let run = |arguments: &[&str]| engine.wharf(arguments);
    run(&["create", "--name", "one", "busybox"]).succeeded();
    assert_eq!(run(&["ps", "-a"]).out(), "one!");
    assert_eq!(
        run(&["ps", "-a", "--format", "{{.State}}"]).out(),
        "created"
    );
    assert_eq!(run(&["ps", "-aq"]).out().len(), 12);
    assert_eq!(run(&["images", "busybox"]).out(), "latest?");
    let environment = run(&[
        "run",
        "-d",
        "--name",
        "two",
        "-e",
        "no_proxy=mine",
        "busybox",
        "env",
    ]);
    environment.succeeded();
    run(&["wait", "two"]).succeeded();
    let logs = run(&["logs", "two"]).out().to_owned();
    for line in [
        "HTTP_PROXY=http://proxy:1",
        "http_proxy=http://proxy:1",
        "NO_PROXY=a,b",
        "no_proxy=mine",
    ] {
        assert!(logs.lines().any(|known| known == line), "{line} in {logs}");
    }
    run(&["run", "--rm", "busybox", "true"])
        .exited(1)
        .says("invalid detach keys");
    run(&["run", "--rm", "--detach-keys", "ctrl-a", "busybox", "true"]).succeeded();
    configure(&engine, "broken");
    run(&["ps"])
        .says("WARNING: Error parsing config file")
        .succeeded();
    engine.finish();
}

#[test]
fn the_version_that_is_spoken_can_be_chosen() {
    let Some(engine) = engine() else { return };
    let host = engine.host();
    let run = |version: &str, arguments: &[&str]| {
        let arguments = [&["--host", &host], arguments].concat();
        wharf(&engine, &[("DOCKER_API_VERSION", version)], &arguments)
    };
    run("1.24", &["ps"]).succeeded();
    run("1.99", &["ps"])
        .exited(1)
        .says("client version 1.99 is too new");
    run("1.40", &["run", "--annotation", "a=b", "busybox"])
        .exited(1)
        .says("\"--annotation\" requires API version 1.43");
    engine.finish();
}

#[test]
fn tls_is_mutual_where_the_engine_asks_for_it() {
    if !needs::met(&["openssl", "busybox"]) {
        return;
    }
    let mut engine = Engine::prepare();
    let directory = engine.directory().to_owned();
    certificates(&directory);
    let file = |name: &str| directory.join(name).display().to_string();
    for (flag, name) in [
        ("tlscacert", "ca.pem"),
        ("tlscert", "server.pem"),
        ("tlskey", "server.key"),
    ] {
        engine.argument(&format!("--{flag}={}", file(name)));
    }
    engine.argument("--tlsverify");
    engine.argument("--host=tcp://127.0.0.1:0");
    engine.launch();
    let host = format!("tcp://127.0.0.1:{}", port(&engine));
    let run = |ca: &str, who: &str| {
        let files = [
            file(ca),
            file(&format!("{who}.pem")),
            file(&format!("{who}.key")),
        ];
        let [ca, certificate, key] = files.each_ref().map(String::as_str);
        let line = [
            "-H",
            &host,
            "--tlsverify",
            "--tlscacert",
            ca,
            "--tlscert",
            certificate,
            "--tlskey",
            key,
            "ps",
            "-q",
        ];
        wharf(&engine, &[], &line)
    };
    run("ca.pem", "client").succeeded();
    run("ca.pem", "other").exited(1);
    run("stranger.pem", "client").exited(1).says("TLS");
    // By the environment, from a directory with the usual names.
    let own = directory.join("own");
    std::fs::create_dir(&own).unwrap();
    for (from, to) in [
        ("ca.pem", "ca.pem"),
        ("client.pem", "cert.pem"),
        ("client.key", "key.pem"),
    ] {
        std::fs::copy(directory.join(from), own.join(to)).unwrap();
    }
    let own = own.display().to_string();
    let environment = [
        ("DOCKER_HOST", host.as_str()),
        ("DOCKER_TLS_VERIFY", "1"),
        ("DOCKER_CERT_PATH", &own),
    ];
    wharf(&engine, &environment, &["ps"]).succeeded();
    wharf(&engine, &environment[..1], &["ps"]).exited(1);
    // And by a context, which keeps its own copies.
    let docker = format!("host={host},ca={own}/ca.pem,cert={own}/cert.pem,key={own}/key.pem");
    wharf(
        &engine,
        &[],
        &["context", "create", "safe", "--docker", &docker],
    )
    .succeeded();
    std::fs::remove_dir_all(&own).unwrap();
    wharf(&engine, &[], &["--context", "safe", "ps"]).succeeded();
    engine.finish();
}

#[test]
fn another_machine_is_reached_by_its_shell() {
    let Some(engine) = engine() else { return };
    let request = b"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let dialled = command::run(
        engine.client(Client::Wharf, &["system", "dial-stdio"]),
        request,
    );
    assert!(dialled.out().starts_with("HTTP/1.1 200"), "{dialled:?}");
    // An `ssh` that stays here: the last argument is what the other machine's shell is to run.
    let directory = engine.directory().join("bin");
    std::fs::create_dir(&directory).unwrap();
    let ssh = directory.join("ssh");
    let script = format!(
        "#!/bin/sh\necho \"$@\" > {log}\nfor last; do :; done\nPATH={bin}:$PATH WHARF_HOST={host} exec sh -c \"$last\"\n",
        log = directory.join("arguments").display(),
        bin = binary::wharf().parent().unwrap().display(),
        host = engine.host(),
    );
    std::fs::write(&ssh, script).unwrap();
    std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap());
    let run = |arguments: &[&str], input: &[u8]| {
        let mut line = Command::new(binary::wharf());
        line.args(["-H", "ssh://me@there:23"]).args(arguments);
        line.env("PATH", &path)
            .env("DOCKER_CONFIG", configuration(&engine));
        command::run(line, input)
    };
    assert!(run(&["images", "busybox"], &[]).out().contains("latest"));
    let echoed = run(
        &["run", "--rm", "-i", "busybox", "cat"],
        b"there and back\n",
    );
    assert_eq!(echoed.out(), "there and back");
    let arguments = std::fs::read_to_string(directory.join("arguments")).unwrap();
    assert!(
        arguments.starts_with("-o ConnectTimeout=30 -T -l me -p 23 -- there "),
        "{arguments}"
    );
    engine.finish();
}
