use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use super::files::{Hosts, ResolvConf};
use super::message::{Kind, Reply, question, reply};
use super::*;

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().expect(text)).collect()
}

/// An answer to a question: an alias, then addresses.
fn answer(question: &[u8], flags: u16, data: &[&[u8]]) -> Vec<u8> {
    let mut bytes = question.to_vec();
    bytes[2..4].copy_from_slice(&flags.to_be_bytes());
    let count = u16::try_from(data.len() + 1).expect("count");
    bytes[6..8].copy_from_slice(&count.to_be_bytes());
    // An alias for `x.y`, then records that point to it.
    bytes.extend([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 30, 0, 5, 1, b'x', 1, b'y', 0]);
    for data in data {
        let kind = if data.len() == 4 { 1 } else { 28 };
        bytes.extend([0xc0, 30, 0, kind, 0, 1, 0, 0, 1, 0]);
        bytes.extend(u16::try_from(data.len()).expect("length").to_be_bytes());
        bytes.extend(*data);
    }
    bytes
}

#[test]
fn hosts_are_read() {
    let hosts = Hosts::parse(
        "127.0.0.1\tlocalhost\n10.0.0.1 Registry.test alias # comment\n::1 registry.test.\nnonsense line\n10.0.0.1 registry.test\n",
    );
    assert_eq!(
        hosts.addresses("registry.TEST"),
        addresses(&["10.0.0.1", "::1"])
    );
    assert_eq!(hosts.addresses("alias"), addresses(&["10.0.0.1"]));
    assert_eq!(hosts.addresses("comment"), addresses(&[]));
    assert_eq!(hosts.addresses("line"), addresses(&[]));
}

#[test]
fn resolv_conf_is_read() {
    let conf = ResolvConf::parse(
        "; comment\nnameserver 10.0.0.1\nnameserver fe80::1%eth0\nnameserver bad\nnameserver 10.0.0.3\nnameserver 10.0.0.4\nsearch a.test b.test.\noptions ndots:2 timeout:99 attempts:0 rotate\n",
    );
    let servers: Vec<String> = conf.servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["10.0.0.1:53", "[fe80::1]:53", "10.0.0.3:53"]);
    assert_eq!(conf.timeout, Duration::from_secs(30));
    assert_eq!(conf.attempts, 1);
    assert_eq!(conf.candidates("x"), ["x.a.test", "x.b.test", "x"]);
    assert_eq!(
        conf.candidates("x.y.z"),
        ["x.y.z", "x.y.z.a.test", "x.y.z.b.test"]
    );
    assert_eq!(conf.candidates("x."), ["x"]);
    assert_eq!(ResolvConf::parse(""), ResolvConf::default());
}

#[test]
fn an_answer_is_read_and_others_are_not() {
    let asked = question(7, "registry.test", Kind::A).expect("question");
    let bytes = answer(&asked, 0x8180, &[&[10, 0, 0, 1], &[10, 0, 0, 2]]);
    assert_eq!(
        reply(&asked, &bytes),
        Some(Reply::Found(addresses(&["10.0.0.1", "10.0.0.2"]), 30))
    );
    let others = question(8, "registry.test", Kind::A).expect("question");
    assert_eq!(reply(&others, &bytes), None, "another id");
    let others = question(7, "registry.best", Kind::A).expect("question");
    assert_eq!(reply(&others, &bytes), None, "another name");
    assert_eq!(reply(&asked, &asked), None, "a question");
    assert_eq!(
        reply(&asked, &answer(&asked, 0x8183, &[])),
        Some(Reply::NoSuchName)
    );
    assert_eq!(
        reply(&asked, &answer(&asked, 0x8182, &[])),
        Some(Reply::Failed)
    );
    assert_eq!(
        reply(&asked, &answer(&asked, 0x8380, &[])),
        Some(Reply::Truncated)
    );
    for end in 0..bytes.len() {
        assert_eq!(reply(&asked, &bytes[..end]), None, "cut at {end}");
    }
}

#[test]
fn names_dns_cannot_have_are_not_asked_for() {
    for name in ["", "a..b", ".a", &"a".repeat(64), &"a.".repeat(200)] {
        assert_eq!(question(1, name, Kind::A), None, "{name}");
    }
}

/// A name server of the test's: the first query for IPv4 is not answered, the second one is said not
/// to fit, and over TCP it is answered.
async fn serve(udp: UdpSocket, tcp: TcpListener) {
    let mut seen = 0;
    let mut buffer = [0; 512];
    loop {
        tokio::select! {
            received = udp.recv_from(&mut buffer) => {
                let (length, from) = received.expect("datagram");
                let asked = &buffer[..length];
                let is_four = asked[length - 3] == 1;
                let flags = match (is_four, seen) {
                    (true, 0) => {
                        seen += 1;
                        continue;
                    }
                    (true, _) => 0x8380,
                    (false, _) => 0x8180,
                };
                let reply = answer(asked, flags, &[&[0; 16]]);
                // A forger's guess comes first.
                let mut guess = answer(asked, 0x8180, &[&[6, 6, 6, 6]]);
                guess[0] ^= 1;
                udp.send_to(&guess, from).await.expect("guess");
                udp.send_to(&reply, from).await.expect("reply");
            }
            accepted = tcp.accept() => {
                let (mut stream, _) = accepted.expect("connection");
                let length = stream.read_u16().await.expect("length");
                let mut asked = vec![0; usize::from(length)];
                stream.read_exact(&mut asked).await.expect("question");
                let reply = answer(&asked, 0x8180, &[&[10, 0, 0, 9]]);
                stream.write_u16(u16::try_from(reply.len()).expect("length")).await.expect("length");
                stream.write_all(&reply).await.expect("reply");
            }
        }
    }
}

#[tokio::test]
async fn servers_are_asked_again_and_over_tcp() {
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.expect("udp");
        let address = udp.local_addr().expect("address");
        if let Ok(tcp) = TcpListener::bind(address).await {
            break (udp, tcp);
        }
    };
    let address: SocketAddr = udp.local_addr().expect("address");
    let server = tokio::spawn(serve(udp, tcp));
    let conf = ResolvConf {
        servers: vec![address],
        timeout: Duration::from_millis(200),
        ..ResolvConf::default()
    };
    let found = query::look_up("registry.test", &conf).await.expect("found");
    assert_eq!(found.addresses, addresses(&["10.0.0.9", "::"]));
    assert_eq!(found.time_to_live, Duration::from_secs(30));
    server.abort();
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_from_a_name_that_is_not() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("udp");
    let conf = ResolvConf {
        servers: vec![socket.local_addr().expect("address")],
        timeout: Duration::from_millis(20),
        ..ResolvConf::default()
    };
    assert_eq!(
        query::look_up("registry.test", &conf).await,
        Err(LookupError::Timeout)
    );
    assert_eq!(
        query::look_up("no..name", &conf).await,
        Err(LookupError::NoSuchHost)
    );
}

#[tokio::test]
async fn the_hosts_file_comes_before_any_server() {
    let directory = tempfile::tempdir().expect("directory");
    let hosts = directory.path().join("hosts");
    std::fs::write(&hosts, "127.0.0.9 registry.test\n").expect("hosts");
    let names = Names::new(&hosts, &directory.path().join("absent"));
    assert_eq!(
        names.look_up("registry.test").await,
        Ok(addresses(&["127.0.0.9"]))
    );
    assert_eq!(names.look_up("[::1]").await, Ok(addresses(&["::1"])));
    assert_eq!(
        names.look_up("x.localhost").await,
        Ok(addresses(&["127.0.0.1", "::1"]))
    );
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, tail: Vec<u8>) {
        let asked = question(7, "registry.test", Kind::A).expect("question");
        drop(reply(&asked, &bytes));
        let mut answering = answer(&asked, 0x8180, &[]);
        answering[7] = 200;
        answering.extend(tail);
        drop(reply(&asked, &answering));
    }
}
