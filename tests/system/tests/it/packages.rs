//! Real servers from Debian's packages.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use wharf_tests_system::{Client, Engine, image, needs, wait};

/// How long a server may think.
const PATIENCE: Duration = Duration::from_secs(2);

/// An engine with Debian and a package, if the machine can have one.
fn engine_with(name: &str, package: &str) -> Option<Engine> {
    if !needs::met(&["docker", "mmdebstrap"]) {
        return None;
    }
    let engine = Engine::start();
    engine.import(&image::debian_with(name, &[package]), name);
    Some(engine)
}

fn ask(port: u16, question: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(question.as_bytes()).ok()?;
    let mut answer = [0; 4096];
    let length = stream.read(&mut answer).ok().filter(|length| *length > 0)?;
    Some(String::from_utf8_lossy(&answer[..length]).into_owned())
}

fn published(engine: &Engine, container: &str) -> u16 {
    let port = engine.wharf(&["port", container]);
    port.out().rsplit(':').next().unwrap().parse().unwrap()
}

#[test]
fn nginx_serves_a_page_from_a_bind_mount() {
    let Some(engine) = engine_with("nginx", "nginx-light") else {
        return;
    };
    let page = engine.directory().join("www");
    std::fs::create_dir(&page).unwrap();
    std::fs::write(page.join("index.html"), "bonjour").unwrap();
    let mount = format!("{}:/var/www/html:ro", page.display());
    for client in Client::ALL {
        let arguments = [
            "run",
            "-d",
            "--name",
            "web",
            "-p",
            "127.0.0.1::80",
            "-v",
            &mount,
            "nginx",
            "nginx",
            "-g",
            "daemon off;",
        ];
        engine.run(client, &arguments).succeeded();
        let port = published(&engine, "web");
        let request = "GET /index.html HTTP/1.0\r\n\r\n";
        let answer = wait::until("the page", || ask(port, request));
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains("bonjour"),
            "{answer}"
        );
        // nginx has a handler: it stops by itself, well.
        engine.run(client, &["stop", "web"]).succeeded();
        assert_eq!(engine.inspect("web", "{{.State.ExitCode}}"), "0");
        engine.run(client, &["rm", "web"]).succeeded();
    }
    engine.finish();
}

#[test]
fn redis_keeps_what_it_is_told() {
    let Some(engine) = engine_with("redis", "redis-server") else {
        return;
    };
    let arguments = [
        "run",
        "-d",
        "--name",
        "redis",
        "-p",
        "127.0.0.1::6379",
        "-m",
        "128m",
        "-u",
        "redis",
        "-w",
        "/var/lib/redis",
        "redis",
        "redis-server",
        "--bind",
        "0.0.0.0",
        "--protected-mode",
        "no",
    ];
    engine.wharf(&arguments).succeeded();
    let port = published(&engine, "redis");
    wait::until_true("redis", || {
        ask(port, "PING\r\n").as_deref() == Some("+PONG\r\n")
    });
    assert_eq!(ask(port, "SET a 1\r\n").unwrap(), "+OK\r\n");
    engine.wharf(&["restart", "redis"]).succeeded();
    let port = published(&engine, "redis");
    wait::until_true("what was set", || {
        ask(port, "GET a\r\n").as_deref() == Some("$1\r\n1\r\n")
    });
    let inside = engine.run(Client::Docker, &["exec", "redis", "redis-cli", "INCR", "a"]);
    assert_eq!(inside.out(), "2");
    engine.finish();
}

#[test]
fn postgresql_survives_the_engine() {
    let Some(mut engine) = engine_with("postgresql", "postgresql") else {
        return;
    };
    let script = "pg_ctlcluster 15 main start && exec tail -f /dev/null";
    engine
        .wharf(&[
            "run",
            "-d",
            "--init",
            "--name",
            "db",
            "postgresql",
            "sh",
            "-c",
            script,
        ])
        .succeeded();
    let query = |engine: &Engine, sql: &str| {
        engine.wharf(&[
            "exec", "-u", "postgres", "-w", "/", "db", "psql", "-qtAc", sql,
        ])
    };
    wait::until_true("the database", || query(&engine, "select 1").code == 0);
    query(
        &engine,
        "create table t as select generate_series(1, 1000) n",
    )
    .succeeded();
    engine.kill();
    engine.launch();
    assert_eq!(query(&engine, "select sum(n) from t").out(), "500500");
    engine.finish();
}
