//! Services that take logs, played by the test.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::time::{Duration, Instant};

use wharf_log::{
    Host, Journald, LogWriter, OpenError, Plan, Remote, Stream, Syslog, SyslogAddress, SyslogFormat,
};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

fn syslog(address: SyslogAddress, sockets: &[SocketAddr]) -> Plan {
    Plan {
        remote: Some(Remote::Syslog(Syslog {
            address,
            sockets: sockets.to_vec(),
            format: SyslogFormat::Rfc5424,
            facility: 3,
            tag: "box".to_owned(),
            hostname: "host".to_owned(),
        })),
        ..Plan::default()
    }
}

pub(crate) fn host(name: &str) -> Host {
    Host {
        name: name.to_owned(),
        port: 514,
    }
}

fn journal(path: &Path) -> Plan {
    let mut journal = Journald::new(vec![("CONTAINER_NAME".to_owned(), "box".to_owned())]);
    journal.socket = path.to_owned();
    Plan {
        remote: Some(Remote::Journald(journal)),
        ..Plan::default()
    }
}

#[test]
fn a_syslog_daemon_gets_every_line() {
    let dir = tempfile::tempdir().expect("dir");
    let datagrams = dir.path().join("datagrams");
    let gram = UnixDatagram::bind(&datagrams).expect("bind");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let mut buffer = [0; 1000];
    for (address, receive) in [
        (
            SyslogAddress::UnixGram(datagrams),
            &mut (|buffer: &mut [u8]| gram.recv(buffer)) as &mut dyn FnMut(&mut [u8]) -> _,
        ),
        (
            SyslogAddress::Udp(host("loghost")),
            &mut |buffer: &mut [u8]| udp.recv(buffer),
        ),
    ] {
        let sockets = [udp.local_addr().expect("address")];
        let mut log = LogWriter::open(syslog(address, &sockets)).expect("open");
        log.push(Stream::Stderr, b"hello\n\nworld\n");
        for word in ["hello\n", "world\n"] {
            let length = receive(&mut buffer).expect("receive");
            let text = std::str::from_utf8(&buffer[..length]).expect("text");
            assert!(text.starts_with("<27>1 ") && text.ends_with(word), "{text}");
        }
    }
}

#[test]
fn streams_are_connected_anew_and_wait_for_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    // The first of the host's addresses does not answer.
    let sockets = [closed, listener.local_addr()].map(|address| address.expect("address"));
    let plan = syslog(SyslogAddress::Tcp(host("loghost")), &sockets);
    let mut log = LogWriter::open(plan).expect("open");
    log.push(Stream::Stdout, b"first\n");
    let (mut first, _) = listener.accept().expect("accept");
    let mut text = [0; 500];
    let length = first.read(&mut text).expect("read");
    assert!(text[..length].ends_with(b" - first\n"));
    drop(first);
    listener.set_nonblocking(true).expect("nonblocking");
    let end = Instant::now() + PATIENCE;
    let second = loop {
        assert!(Instant::now() < end, "no second connection");
        log.push(Stream::Stdout, b"again\n");
        assert!(!log.holds_up());
        match listener.accept() {
            Ok((second, _)) => break second,
            // Not so fast that the connection is full before it is accepted.
            Err(_) => std::thread::park_timeout(Duration::from_millis(5)),
        }
    };
    log.push(Stream::Stdout, b"last\n");
    log.finish();
    second.set_nonblocking(false).expect("blocking");
    drop(log);
    let mut text = String::new();
    (&second).read_to_string(&mut text).expect("read");
    assert!(text.ends_with(" - last\n"), "{text}");
}

#[test]
fn a_slow_service_holds_the_container_up_or_loses_entries() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("stream");
    let listener = UnixListener::bind(&path).expect("bind");
    let line = [vec![b'x'; 1000], b"\n".to_vec()].concat();
    let mut waiting =
        LogWriter::open(syslog(SyslogAddress::Unix(path.clone()), &[])).expect("open");
    let end = Instant::now() + PATIENCE;
    while !waiting.holds_up() {
        assert!(Instant::now() < end);
        waiting.push(Stream::Stdout, &line);
    }
    assert_eq!(waiting.lost(), 0);
    let (slow, _) = listener.accept().expect("accept");
    let taken = std::thread::spawn(move || {
        let mut all = Vec::new();
        (&slow).read_to_end(&mut all).map(|_| all.len())
    });
    while !waiting.is_flushed() {
        assert!(Instant::now() < end);
        waiting.flush();
    }
    drop(waiting);
    assert!(taken.join().expect("thread").expect("read") > 256 * 1024);

    let mut plan = syslog(SyslogAddress::Unix(path), &[]);
    plan.buffer = Some(10_000);
    let mut losing = LogWriter::open(plan).expect("open");
    while losing.lost() == 0 {
        assert!(Instant::now() < end);
        losing.push(Stream::Stdout, &line);
        assert!(!losing.holds_up());
    }
    let trouble = losing.take_trouble().expect("trouble");
    assert_eq!(trouble.lost, losing.lost());
}

#[test]
fn the_journal_gets_long_entries_too() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("journal");
    let socket = UnixDatagram::bind(&path).expect("bind");
    let mut log = LogWriter::open(journal(&path)).expect("open");
    log.push(Stream::Stdout, b"hello\n");
    log.push(Stream::Stdout, &vec![b'y'; 20_000]);
    log.finish();
    let mut buffer = vec![0; 100_000];
    let length = socket.recv(&mut buffer).expect("receive");
    let text = String::from_utf8_lossy(&buffer[..length]);
    assert!(text.starts_with("MESSAGE=hello\nPRIORITY=6\n"), "{text}");
    assert!(text.ends_with("CONTAINER_NAME=box\n"), "{text}");
    for (piece, last) in [(16 * 1024, "false"), (20_000 - 16 * 1024, "false")] {
        let length = socket.recv(&mut buffer).expect("receive");
        let text = String::from_utf8_lossy(&buffer[..length]);
        assert!(text.starts_with(&format!("MESSAGE={}\n", "y".repeat(piece))));
        assert!(text.contains(&format!("CONTAINER_PARTIAL_LAST={last}\n")));
    }
}

#[test]
fn who_cannot_be_reached_is_named() {
    let dir = tempfile::tempdir().expect("dir");
    let nowhere = dir.path().join("none");
    let error = LogWriter::open(journal(&nowhere)).expect_err("no journal");
    assert_eq!(error.to_string(), "journald is not enabled on this host");
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = closed.expect("address");
    let error = LogWriter::open(syslog(SyslogAddress::Tcp(host("loghost")), &[address]))
        .expect_err("nobody listens");
    assert!(matches!(error, OpenError::Connect { .. }));
    assert_eq!(error.to_string(), format!("dial tcp {address}: connect"));
}
