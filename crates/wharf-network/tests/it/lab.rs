//! Hosts, neighbours and what they say to each other.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;
use wharf_network::{BridgeConfig, BridgeNetwork, Existing, HostPort, PortRequest, Protocol};

/// How long anything may take before it counts as not happening.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How long silence must last to count as silence.
pub(crate) const SILENCE: Duration = Duration::from_millis(300);

/// Runs a test as a host: in a network namespace with nothing but its loopback.
pub(crate) fn host<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    on_thread(|| {
        wharf_sys::netlink::enter_new_network_namespace()
            .expect("these tests need root, to make network namespaces");
        run("ip link set lo up");
        // A new namespace has what the machine's first one has now.
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
        test()
    })
}

/// Does something in another namespace.
pub(crate) fn inside<T: Send>(netns: impl AsFd + Sync, work: impl FnOnce() -> T + Send) -> T {
    on_thread(|| {
        move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        work()
    })
}

fn on_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| match scope.spawn(work).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// The calling thread's namespace.
pub(crate) fn own_netns() -> OwnedFd {
    std::fs::File::open("/proc/thread-self/ns/net")
        .unwrap()
        .into()
}

/// Runs a program, by words; returns what it printed.
pub(crate) fn run(line: &str) -> String {
    let (success, output) = attempt(line);
    assert!(success, "{line}: {output}");
    output
}

/// Runs a program; whether it succeeded, and all it printed.
pub(crate) fn attempt(line: &str) -> (bool, String) {
    let mut words = line.split_ascii_whitespace();
    let program = words.next().unwrap();
    let output = Command::new(program)
        .args(words)
        .output()
        .unwrap_or_else(|error| panic!("{program} is needed: {error}"));
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

/// Loads rules as an administrator would.
pub(crate) fn nft(rules: &str) {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("nft is needed");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(rules.as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success(), "{rules}");
}

/// What `ip -j` or `nft -j` prints.
pub(crate) fn json(line: &str) -> Value {
    serde_json::from_str(&run(line)).unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// Waits until something is so.
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(
            start.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        thread::sleep(Duration::from_millis(5));
    }
}

/// How many interfaces the bridge has.
pub(crate) fn ports_of_the_bridge() -> usize {
    json("ip -j link show master wharf0")
        .as_array()
        .unwrap()
        .len()
}

/// A bridge network with a small pool, that is full.
pub(crate) fn network() -> BridgeNetwork {
    let others = if attempt("ip link show wharf0").0 {
        ports_of_the_bridge()
    } else {
        0
    };
    let config = BridgeConfig {
        pool: 2,
        ..BridgeConfig::default()
    };
    let network = BridgeNetwork::open(config, Existing::default()).unwrap();
    until("the pool is full", || ports_of_the_bridge() >= others + 2);
    network
}

/// A machine on the host's other side: a namespace connected by `eth0` on both ends, the host being
/// 192.0.2.1 and the neighbour 192.0.2.2.
pub(crate) fn neighbour() -> OwnedFd {
    let netns = on_thread(|| {
        wharf_sys::netlink::enter_new_network_namespace().unwrap();
        own_netns()
    });
    let path = format!(
        "/proc/{}/fd/{}",
        std::process::id(),
        std::os::fd::AsRawFd::as_raw_fd(&netns)
    );
    run(&format!(
        "ip link add eth0 mtu 1400 type veth peer name eth0 mtu 1400 netns {path}"
    ));
    run("ip addr add 192.0.2.1/24 dev eth0");
    run("ip link set eth0 up");
    inside(&netns, || {
        run("ip link set lo up");
        run("ip addr add 192.0.2.2/24 dev eth0");
        run("ip link set eth0 up");
    });
    run("ip route add default via 192.0.2.2");
    netns
}

/// A wish to publish.
pub(crate) fn request(
    host: &str,
    host_port: u16,
    container: Ipv4Addr,
    container_port: u16,
) -> PortRequest {
    PortRequest {
        protocol: Protocol::Tcp,
        host_address: host.parse().unwrap(),
        host_port: HostPort::Fixed(host_port),
        container_address: container,
        container_port,
    }
}

/// Serves TCP in a namespace: tells each client its address as seen from there, and `name`.
pub(crate) fn serve(netns: impl AsFd + Sync, port: u16, name: &'static str) {
    let listener = inside(netns, || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))
        .expect("the port is free");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let peer = stream.peer_addr().unwrap().ip();
            // A client that has gone already is no failure of the server's.
            if stream
                .write_all(format!("{name} {peer}").as_bytes())
                .is_err()
            {
                continue;
            }
        }
    });
}

/// Serves UDP in a namespace in the same way.
pub(crate) fn serve_udp(netns: impl AsFd + Sync, port: u16, name: &'static str) {
    let socket =
        inside(netns, || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))).expect("the port is free");
    thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
            socket
                .send_to(format!("{name} {}", peer.ip()).as_bytes(), peer)
                .unwrap();
        }
    });
}

/// What a server answers to a client in the calling thread's namespace; None for no answer.
pub(crate) fn ask(address: &str, port: u16, patience: Duration) -> Option<String> {
    let address = SocketAddr::V4(SocketAddrV4::new(address.parse().unwrap(), port));
    let mut stream = TcpStream::connect_timeout(&address, patience).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// The same by UDP.
pub(crate) fn ask_udp(address: &str, port: u16, patience: Duration) -> Option<String> {
    let address = SocketAddrV4::new(address.parse().unwrap(), port);
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    socket.set_read_timeout(Some(patience)).unwrap();
    socket.connect(address).ok()?;
    socket.send(b"who").ok()?;
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer).ok()?;
    Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
}
