//! The bridge, the way out, and published ports.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

use wharf_tests_system::{Client, Engine, image, needs, wait};

use crate::with_both;

/// The host's port for a container's, as `docker port` prints it.
#[track_caller]
fn host_port(engine: &Engine, client: Client, container: &str, port: &str) -> u16 {
    let ran = engine.run(client, &["port", container, port]);
    let first = ran.out().lines().next().unwrap().to_owned();
    first.rsplit(':').next().unwrap().parse().unwrap()
}

/// A connection, if somebody takes it within two seconds.
fn connect(address: &str) -> Option<TcpStream> {
    let timeout = Duration::from_secs(2);
    let stream = TcpStream::connect_timeout(&address.parse().ok()?, timeout).ok()?;
    stream.set_read_timeout(Some(timeout)).ok()?;
    Some(stream)
}

/// What a TCP server says to whoever connects.
fn greeting(address: &str) -> Option<String> {
    let mut stream = connect(address)?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    (!text.is_empty()).then_some(text)
}

const TCP_SERVER: &str = "while :; do echo hello | nc -l -p 80; done";

#[test]
fn tcp_ports_are_reached_from_the_host() {
    with_both(|engine, client| {
        let server = [
            "run", "-d", "--name", "box", "-p", "80", "busybox", "sh", "-c", TCP_SERVER,
        ];
        engine.run(client, &server).succeeded();
        let port = host_port(engine, client, "box", "80/tcp");
        let address = engine.inspect("box", "{{.NetworkSettings.Networks.bridge.IPAddress}}");
        let direct = wait::until("the server", || greeting(&format!("{address}:80")));
        assert_eq!(direct, "hello\n");
        let published = wait::until("the port", || greeting(&format!("127.0.0.1:{port}")));
        assert_eq!(published, "hello\n");
        engine.run(client, &["rm", "-f", "box"]).succeeded();
        wait::until_true("its closing", || {
            connect(&format!("127.0.0.1:{port}")).is_none()
        });
    });
}

/// Busybox here speaks no UDP; Debian has perl.
const UDP_SERVER: &str = "my $s = IO::Socket::INET->new(LocalPort => 53, Proto => 'udp') or die; \
                          my $m; while (1) { $s->recv($m, 99); $s->send($m) }";

#[test]
fn udp_ports_are_reached_from_the_host() {
    if !needs::met(&["docker", "mmdebstrap", "nft", "ip"]) {
        return;
    }
    let engine = Engine::start();
    engine.import(&image::debian(), "debian");
    for client in Client::ALL {
        let flags = ["run", "-d", "--name", "box", "-p", "53/udp", "debian"];
        let server = ["perl", "-MIO::Socket::INET", "-e", UDP_SERVER];
        engine
            .run(client, &[&flags[..], &server[..]].concat())
            .succeeded();
        let port = host_port(&engine, client, "box", "53/udp");
        let answer = wait::until("an answer", || {
            let socket = UdpSocket::bind("127.0.0.1:0").ok()?;
            socket
                .set_read_timeout(Some(Duration::from_millis(300)))
                .ok()?;
            socket.send_to(b"ping", ("127.0.0.1", port)).ok()?;
            let mut buffer = [0; 16];
            let (length, _) = socket.recv_from(&mut buffer).ok()?;
            Some(buffer[..length].to_vec())
        });
        assert_eq!(answer, b"ping");
        engine.run(client, &["rm", "-f", "box"]).succeeded();
    }
    engine.finish();
}

#[test]
fn a_port_taken_is_said_and_leaves_nothing() {
    with_both(|engine, client| {
        let run = |name: &str, publish: &str| {
            engine.run(
                client,
                &[
                    "run", "-d", "--name", name, "-p", publish, "busybox", "sleep", "1000",
                ],
            )
        };
        run("one", "127.0.0.1::80").succeeded();
        let port = host_port(engine, client, "one", "80/tcp");
        let same = format!("127.0.0.1:{port}:80");
        run("two", &same)
            .exited(125)
            .says("port is already allocated");
        engine.run(client, &["rm", "-f", "one", "two"]).succeeded();
        run("three", &same).succeeded();
        engine.run(client, &["rm", "-f", "three"]).succeeded();
        // Taken by a process of the host.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = format!("127.0.0.1:{}:80", listener.local_addr().unwrap().port());
        run("four", &taken)
            .exited(125)
            .says("address already in use");
        engine.run(client, &["rm", "-f", "four"]).succeeded();
    });
}

#[test]
fn containers_have_their_names_files_and_addresses() {
    with_both(|engine, client| {
        let script =
            "cat /etc/hosts; cat /etc/hostname; hostname -i; cat /etc/resolv.conf; ip route";
        engine
            .run(
                client,
                &["run", "--name", "box", "busybox", "sh", "-c", script],
            )
            .succeeded();
        let ran = engine.run(client, &["logs", "box"]);
        let id = engine.inspect("box", "{{slice .Id 0 12}}");
        assert!(ran.out().contains(&format!("\t{id}")), "{ran:?}");
        assert!(
            ran.out().contains("localhost") && ran.out().contains("nameserver"),
            "{ran:?}"
        );
        assert!(ran.out().contains("default via 10."), "{ran:?}");
        engine.run(client, &["rm", "box"]).succeeded();
        let none = engine.run(
            client,
            &[
                "run",
                "--rm",
                "--network",
                "none",
                "busybox",
                "ip",
                "-o",
                "link",
            ],
        );
        assert_eq!(
            none.out()
                .lines()
                .filter(|line| line.contains("eth"))
                .count(),
            0,
            "{none:?}"
        );
        assert!(none.out().contains("lo"), "{none:?}");
    });
}

#[test]
fn containers_reach_each_other_on_the_bridge() {
    with_both(|engine, client| {
        let server = [
            "run", "-d", "--name", "box", "busybox", "sh", "-c", TCP_SERVER,
        ];
        engine.run(client, &server).succeeded();
        let address = engine.inspect("box", "{{.NetworkSettings.Networks.bridge.IPAddress}}");
        let ask = format!("until nc -w 1 {address} 80; do :; done");
        let ran = engine.run(client, &["run", "--rm", "busybox", "sh", "-c", &ask]);
        assert_eq!(ran.out(), "hello");
        engine.run(client, &["rm", "-f", "box"]).succeeded();
    });
}

#[test]
fn a_burst_of_connections_loses_none() {
    let Some(engine) = crate::engine() else {
        return;
    };
    let script = "exec nc -ll -p 80 -e echo hello";
    let server = [
        "run", "-d", "--name", "box", "-p", "80", "busybox", "sh", "-c", script,
    ];
    engine.wharf(&server).succeeded();
    let port = host_port(&engine, Client::Wharf, "box", "80/tcp");
    let address = format!("127.0.0.1:{port}");
    wait::until("the server", || greeting(&address));
    for _ in 0..100 {
        let mut stream = connect(&address).unwrap();
        stream.write_all(b"x").unwrap();
    }
    engine.finish();
}

#[test]
fn apt_get_update_works_inside() {
    if !needs::met(&["docker", "mmdebstrap"]) {
        return;
    }
    let engine = Engine::start();
    engine.import(&image::debian(), "debian");
    // The machine's own sources: where it can reach a mirror, a container can.
    let ran = engine.wharf(&["run", "--rm", "debian", "apt-get", "update"]);
    assert!(ran.out().contains("Reading package lists"), "{ran:?}");
    assert!(!ran.stderr.contains("Failed to fetch"), "{ran:?}");
    engine.finish();
}
