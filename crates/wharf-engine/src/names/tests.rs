//! A name server played by the test.

use proptest::prelude::*;

use super::*;

fn hosts(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, text).unwrap();
    file
}

/// Answers what it is asked until its socket is closed: by name and kind, an alias before each address.
fn serve(known: &'static [(&'static str, &'static str)]) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            let asked = &buffer[12..length];
            let kind = asked[asked.len() - 3];
            let mut found = Vec::new();
            for (name, ip) in known {
                let ip: IpAddr = ip.parse().unwrap();
                let own = if ip.is_ipv4() { Kind::A } else { Kind::Aaaa };
                let known = question(name, own).unwrap();
                let name_of = |question: &[u8]| question[..question.len() - 4].to_ascii_lowercase();
                if name_of(&known) == name_of(asked) {
                    found.push((own as u8 == kind, ip));
                }
            }
            let here: Vec<IpAddr> = found
                .iter()
                .filter(|(is, _)| *is)
                .map(|(_, ip)| *ip)
                .collect();
            let code = if found.is_empty() { 3 } else { 0 };
            let count = u8::try_from(here.len() * 2).unwrap();
            let mut answer = [
                &buffer[..2],
                &[0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0],
                asked,
            ]
            .concat();
            for ip in here {
                answer.extend([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 2, 0xc0, 12]);
                let octets = match ip {
                    IpAddr::V4(ip) => ip.octets().to_vec(),
                    IpAddr::V6(ip) => ip.octets().to_vec(),
                };
                answer.extend([
                    0xc0,
                    12,
                    0,
                    kind,
                    0,
                    1,
                    0,
                    0,
                    0,
                    9,
                    0,
                    u8::try_from(octets.len()).unwrap(),
                ]);
                answer.extend(octets);
            }
            // Somebody else's answer comes first.
            let mut foreign = answer.clone();
            foreign[0] ^= 1;
            socket.send_to(&foreign, client).unwrap();
            socket.send_to(&answer, client).unwrap();
        }
    });
    address
}

#[test]
fn names_are_looked_up_in_hosts_then_at_servers() {
    let file =
        hosts("127.0.0.1 localhost\n10.0.0.1 a.example LOGHOST # x\n10.0.0.2 loghost\nx y\n");
    let server = serve(&[
        ("far.example", "192.0.2.1"),
        ("far.example", "2001:db8::1"),
        ("near.one.example", "192.0.2.2"),
        ("a.b", "192.0.2.3"),
        ("six.example", "2001:db8::6"),
    ]);
    let resolver = Resolver::parse("search none.example one.example\noptions ndots:1\n");
    let look_up = |name: &str| {
        let found = look_up_with(name, file.path(), &resolver, &[server]);
        found.map_err(|error| error.to_string()).map(|found| {
            let found: Vec<String> = found.iter().map(IpAddr::to_string).collect();
            found.join(" ")
        })
    };
    for (name, expected) in [
        ("loghost", Ok("10.0.0.1 10.0.0.2")),
        ("localhost", Ok("127.0.0.1")),
        ("far.example", Ok("192.0.2.1 2001:db8::1")),
        ("FAR.example.", Ok("192.0.2.1 2001:db8::1")),
        ("six.example", Ok("2001:db8::6")),
        ("near", Ok("192.0.2.2")),
        ("a.b", Ok("192.0.2.3")),
        ("nowhere", Err("no such host")),
        ("near.", Err("no such host")),
        ("a..b", Err("no such host")),
    ] {
        let expected = expected.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(look_up(name), expected, "{name}");
    }
}

#[test]
fn a_server_that_is_silent_does_not_hold_up_for_ever() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent = silent
        .local_addr()
        .map(|address| (silent, address))
        .unwrap();
    let server = serve(&[("a.example", "192.0.2.1")]);
    let resolver = Resolver::parse("options timeout:1 attempts:1\n");
    let file = hosts("");
    let found = look_up_with("a.example", file.path(), &resolver, &[silent.1, server]).unwrap();
    assert_eq!(found, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
    let error = look_up_with("a.example", file.path(), &resolver, &[silent.1]).unwrap_err();
    assert_eq!(error.to_string(), "i/o timeout");
    let error = look_up_with("a.example", file.path(), &resolver, &[]).unwrap_err();
    assert_eq!(error.to_string(), "server misbehaving");
}

proptest! {
    #[test]
    fn no_bytes_are_too_wrong(bytes: Vec<u8>, tail: Vec<u8>) {
        let asked = question("a.example", Kind::A).unwrap();
        read(&bytes, [0, 0], &asked, Kind::A);
        let counted = [&[0, 0, 0x80, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0], &asked[..], &tail].concat();
        read(&counted, [0, 0], &asked, Kind::Aaaa);
    }
}
