//! Published ports: who reaches what, as whom.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use wharf_network::{
    BridgeConfig, BridgeNetwork, Existing, HostPort, PortRequest, Protocol, PublishedPort, Sandbox,
};

use crate::lab::{
    PATIENCE, SILENCE, ask, ask_udp, host, inside, neighbour, network, request, run, serve,
    serve_udp, until,
};

/// A host with a neighbour and a container that serves TCP and UDP on port 80.
fn web() -> (OwnedFd, BridgeNetwork, Sandbox) {
    let neighbour = neighbour();
    let network = network();
    let web = network.take().unwrap();
    serve(&web.netns, 80, "web");
    serve_udp(&web.netns, 80, "web");
    (neighbour, network, web)
}

#[test]
fn published_port_answers_everybody() {
    host(|| {
        let (neighbour, network, web) = web();
        let published = network
            .publish(&[request("0.0.0.0", 8080, web.address, 80)])
            .unwrap();
        assert_eq!(ask("127.0.0.1", 8080, PATIENCE).unwrap(), "web 172.17.0.1");
        assert_eq!(ask("192.0.2.1", 8080, PATIENCE).unwrap(), "web 192.0.2.1");
        assert_eq!(ask("172.17.0.1", 8080, PATIENCE).unwrap(), "web 172.17.0.1");
        let other = network.take().unwrap();
        let from_other = |address: &str| inside(&other.netns, || ask(address, 8080, PATIENCE));
        assert_eq!(from_other("192.0.2.1").unwrap(), "web 172.17.0.1");
        assert_eq!(from_other("172.17.0.1").unwrap(), "web 172.17.0.1");
        let from_itself = inside(&web.netns, || ask("192.0.2.1", 8080, PATIENCE));
        assert_eq!(from_itself.unwrap(), "web 172.17.0.1");
        assert_eq!(
            inside(&neighbour, || ask("192.0.2.1", 8080, PATIENCE)).unwrap(),
            "web 192.0.2.2"
        );

        network.unpublish(&published).unwrap();
        assert_eq!(inside(&neighbour, || ask("192.0.2.1", 8080, SILENCE)), None);
        assert_eq!(ask("127.0.0.1", 8080, SILENCE), None);
        network.unpublish(&published).unwrap();
    });
}

#[test]
fn attack_n9_published_container_sees_the_clients_own_address() {
    host(|| {
        let (neighbour, network, web) = web();
        let udp = PortRequest {
            protocol: Protocol::Udp,
            ..request("0.0.0.0", 8080, web.address, 80)
        };
        network
            .publish(&[request("192.0.2.1", 8080, web.address, 80), udp])
            .unwrap();
        inside(&neighbour, || {
            assert_eq!(ask("192.0.2.1", 8080, PATIENCE).unwrap(), "web 192.0.2.2");
            assert_eq!(
                ask_udp("192.0.2.1", 8080, PATIENCE).unwrap(),
                "web 192.0.2.2"
            );
        });
    });
}

#[test]
fn udp_is_published_too() {
    host(|| {
        let (neighbour, network, web) = web();
        let udp = PortRequest {
            protocol: Protocol::Udp,
            ..request("0.0.0.0", 5353, web.address, 80)
        };
        network.publish(&[udp]).unwrap();
        assert_eq!(
            ask_udp("127.0.0.1", 5353, PATIENCE).unwrap(),
            "web 172.17.0.1"
        );
        assert_eq!(
            ask_udp("192.0.2.1", 5353, PATIENCE).unwrap(),
            "web 192.0.2.1"
        );
        assert_eq!(
            inside(&neighbour, || ask_udp("192.0.2.1", 5353, PATIENCE)).unwrap(),
            "web 192.0.2.2"
        );
        assert_eq!(
            inside(&neighbour, || ask("192.0.2.1", 5353, SILENCE)),
            None,
            "TCP is not"
        );
    });
}

#[test]
fn attack_n10_port_published_on_loopback_is_the_hosts_own() {
    host(|| {
        let (neighbour, network, web) = web();
        network
            .publish(&[request("127.0.0.1", 8081, web.address, 80)])
            .unwrap();
        assert_eq!(ask("127.0.0.1", 8081, PATIENCE).unwrap(), "web 172.17.0.1");
        assert_eq!(ask("192.0.2.1", 8081, SILENCE), None);
        // The neighbour sends to 127.0.0.1 by the host's hardware address.
        inside(&neighbour, || {
            assert_eq!(ask("192.0.2.1", 8081, SILENCE), None);
            run("ip addr flush dev lo");
            run("sysctl -qw net.ipv4.conf.all.route_localnet=1");
            run("ip rule add pref 0 from all lookup 7");
            run("ip rule add pref 1 from all lookup local");
            run("ip route add 127.0.0.1 via 192.0.2.1 dev eth0 table 7");
            assert_eq!(ask("127.0.0.1", 8081, SILENCE), None);
        });
        // So does another container; the bridge is the one interface that routes 127/8.
        let other = network.take().unwrap();
        let listener = TcpListener::bind("127.0.0.1:9999").unwrap();
        inside(&other.netns, || {
            run("ip addr flush dev lo");
            run("sysctl -qw net.ipv4.conf.all.route_localnet=1");
            run("ip rule add pref 0 from all lookup 7");
            run("ip route add 127.0.0.1 via 172.17.0.1 dev eth0 table 7");
            assert_eq!(ask("127.0.0.1", 8081, SILENCE), None);
            assert_eq!(ask("127.0.0.1", 9999, SILENCE), None);
        });
        drop(listener);
    });
}

#[test]
fn attack_n10_taken_port_is_a_bind_error() {
    host(|| {
        let (_neighbour, network, web) = web();
        let _socket = UdpSocket::bind("0.0.0.0:5353").unwrap();
        let _listener = TcpListener::bind("127.0.0.1:8080").unwrap();
        let udp = PortRequest {
            protocol: Protocol::Udp,
            ..request("127.0.0.1", 5353, web.address, 53)
        };
        let refused = |request: PortRequest| network.publish(&[request]).unwrap_err().to_string();
        assert_eq!(
            refused(udp),
            "failed to bind host port for 127.0.0.1:5353:172.17.0.2:53/udp: address already in use"
        );
        assert_eq!(
            refused(request("0.0.0.0", 8080, web.address, 80)),
            "failed to bind host port for 0.0.0.0:8080:172.17.0.2:80/tcp: address already in use"
        );
        assert_eq!(
            refused(request("198.51.100.1", 80, web.address, 80)),
            "failed to bind host port for 198.51.100.1:80:172.17.0.2:80/tcp: cannot assign requested address"
        );
    });
}

#[test]
fn port_of_another_container_is_allocated() {
    host(|| {
        let (_neighbour, network, web) = web();
        let requests = [
            request("127.0.0.1", 81, web.address, 80),
            request("192.0.2.1", 81, web.address, 80),
        ];
        let published = network.publish(&requests).unwrap();
        let both = [
            request("0.0.0.0", 82, web.address, 80),
            request("0.0.0.0", 81, web.address, 80),
        ];
        let refused = network.publish(&both).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "Bind for 0.0.0.0:81 failed: port is already allocated"
        );
        assert!(
            TcpListener::bind("0.0.0.0:82").is_ok(),
            "all or none: 82 was let go"
        );
        assert!(
            TcpListener::bind("192.0.2.1:81").is_err(),
            "the host cannot have it either"
        );
        network.unpublish(&published).unwrap();
        assert_eq!(network.publish(&both).unwrap().len(), 2);
    });
}

#[test]
fn host_port_is_chosen_from_a_range() {
    host(|| {
        let (_neighbour, network, web) = web();
        std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40002").unwrap();
        let network = {
            drop(network);
            BridgeNetwork::open(BridgeConfig::default(), Existing::default()).unwrap()
        };
        let ephemeral = PortRequest {
            host_port: HostPort::Ephemeral,
            ..request("0.0.0.0", 0, web.address, 80)
        };
        let numbers = |requests: &[PortRequest]| {
            let published = network.publish(requests);
            published.map(|ports| ports.iter().map(|port| port.host_port).collect::<Vec<_>>())
        };
        let _taken = TcpListener::bind("0.0.0.0:40001").unwrap();
        assert_eq!(numbers(&[ephemeral, ephemeral]).unwrap(), [40000, 40002]);
        assert_eq!(
            numbers(&[ephemeral]).unwrap_err().to_string(),
            "all ports are allocated"
        );
        let range = PortRequest {
            host_port: HostPort::Range {
                first: 7000,
                last: 7002,
            },
            ..ephemeral
        };
        assert_eq!(numbers(&[range, range]).unwrap(), [7000, 7001]);
        assert_eq!(numbers(&[range]).unwrap(), [7002]);
        assert_eq!(
            numbers(&[range]).unwrap_err().to_string(),
            "all ports are allocated"
        );
    });
}

#[test]
fn unpublished_port_cannot_be_reached_from_outside() {
    host(|| {
        let (neighbour, network, web) = web();
        network
            .publish(&[request("0.0.0.0", 8080, web.address, 80)])
            .unwrap();
        serve(&web.netns, 81, "secret");
        inside(&neighbour, || {
            run("ip route add 172.17.0.0/16 via 192.0.2.1");
            assert_eq!(ask("172.17.0.2", 81, SILENCE), None);
            assert_eq!(
                ask("172.17.0.2", 80, SILENCE),
                None,
                "by its own address neither"
            );
            assert_eq!(ask("192.0.2.1", 8080, PATIENCE).unwrap(), "web 192.0.2.2");
        });
    });
}

#[test]
fn container_speaks_to_the_outside_as_the_host() {
    host(|| {
        let (neighbour, _network, web) = web();
        serve(&neighbour, 443, "internet");
        serve_udp(&neighbour, 53, "internet");
        inside(&web.netns, || {
            assert_eq!(
                ask("192.0.2.2", 443, PATIENCE).unwrap(),
                "internet 192.0.2.1"
            );
            assert_eq!(
                ask_udp("192.0.2.2", 53, PATIENCE).unwrap(),
                "internet 192.0.2.1"
            );
        });
    });
}

#[test]
fn ports_outlive_the_engine_and_are_the_next_ones() {
    host(|| {
        let (neighbour, network, web) = web();
        let kept = network
            .publish(&[request("0.0.0.0", 8080, web.address, 80)])
            .unwrap();
        network
            .publish(&[request("0.0.0.0", 8090, web.address, 80)])
            .unwrap();
        drop(network);
        let outside = |port| inside(&neighbour, || ask("192.0.2.1", port, PATIENCE));
        assert_eq!(
            outside(8080).unwrap(),
            "web 192.0.2.2",
            "with no engine at all"
        );
        assert_eq!(outside(8090).unwrap(), "web 192.0.2.2");

        let existing = Existing {
            addresses: &[web.address],
            ports: &kept,
        };
        let network = BridgeNetwork::open(BridgeConfig::default(), existing).unwrap();
        assert_eq!(outside(8080).unwrap(), "web 192.0.2.2");
        assert_eq!(outside(8090), None, "nobody has this one on record");
        assert!(TcpListener::bind("0.0.0.0:8080").is_err(), "held again");
        network.unpublish(&kept).unwrap();
        assert_eq!(outside(8080), None);
    });
}

#[test]
fn port_taken_while_no_engine_ran_is_told() {
    host(|| {
        let _listener = TcpListener::bind("0.0.0.0:8080").unwrap();
        let port = PublishedPort {
            protocol: Protocol::Tcp,
            host_address: Ipv4Addr::UNSPECIFIED,
            host_port: 8080,
            container_address: Ipv4Addr::new(172, 17, 0, 2),
            container_port: 80,
        };
        let existing = Existing {
            addresses: &[port.container_address],
            ports: &[port],
        };
        let network = BridgeNetwork::open(BridgeConfig::default(), existing).unwrap();
        let told = network.warnings().last().unwrap().to_string();
        assert_eq!(
            told,
            "port 8080 of a running container is now also used by a process of the host"
        );
        network.unpublish(&[port]).unwrap();
    });
}

#[test]
fn ten_thousand_ports_are_one_change() {
    host(|| {
        let (neighbour, network, web) = web();
        let (files, _) = rustix_limits();
        assert!(
            files > 11_000,
            "the test needs more open files than {files}"
        );
        let requests: Vec<_> = (20000..30000)
            .map(|port| PortRequest {
                protocol: Protocol::Udp,
                ..request("0.0.0.0", port, web.address, 80)
            })
            .collect();
        let start = std::time::Instant::now();
        let published = network.publish(&requests).unwrap();
        // A tenth of a second, on a machine with nothing else to do.
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{:?}",
            start.elapsed()
        );
        assert_eq!(
            inside(&neighbour, || ask_udp("192.0.2.1", 29999, PATIENCE)).unwrap(),
            "web 192.0.2.2"
        );
        network.unpublish(&published).unwrap();
    });
}

/// Lets this process open as many files as it may, as the engine does.
fn rustix_limits() -> (u64, u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    let files = limit.maximum.unwrap_or(u64::MAX);
    (files, files)
}

/// A client that never stops sending from the same port, as DNS forwarders and SIP phones do.
#[test]
fn udp_client_follows_the_port_from_container_to_container() {
    host(|| {
        let (neighbour, network, first) = web();
        let second = network.take().unwrap();
        serve_udp(&second.netns, 80, "second");
        let client = inside(&neighbour, || UdpSocket::bind("192.0.2.2:0").unwrap());
        client.connect("192.0.2.1:5353").unwrap();
        client
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        let answer = || {
            client.send(b"who").unwrap();
            let mut buffer = [0; 64];
            let length = client.recv(&mut buffer).ok()?;
            Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
        };
        let answers = |expected: Option<&str>| {
            until(&format!("{expected:?}"), || answer().as_deref() == expected);
        };
        let udp = |container| PortRequest {
            protocol: Protocol::Udp,
            ..request("0.0.0.0", 5353, container, 80)
        };
        assert_eq!(
            answer(),
            None,
            "tracked already before anything is published"
        );
        let published = network.publish(&[udp(first.address)]).unwrap();
        answers(Some("web 192.0.2.2"));
        network.unpublish(&published).unwrap();
        answers(None);
        network.publish(&[udp(second.address)]).unwrap();
        answers(Some("second 192.0.2.2"));
    });
}
