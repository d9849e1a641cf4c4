//! A syslog daemon behind TLS, played by the test.
//!
//! The certificates beside this file are of an authority nobody has the key of, for the host `loghost`
//! and for a client, for a hundred years.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use wharf_log::{LogWriter, Plan, Remote, Stream, Syslog, SyslogAddress, SyslogFormat, Tls};

use crate::remote::{PATIENCE, host};

fn certificate(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/certificates")
        .join(name)
}

/// A daemon that wants to know its clients.
struct Daemon {
    listener: TcpListener,
    config: Arc<ServerConfig>,
}

type Secured = BufReader<StreamOwned<ServerConnection, TcpStream>>;

impl Daemon {
    fn new() -> Self {
        let read = |name| CertificateDer::from_pem_file(certificate(name)).expect("certificate");
        let mut roots = RootCertStore::empty();
        roots.add(read("ca.pem")).expect("authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let key = PrivateKeyDer::from_pem_file(certificate("server.key")).expect("key");
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(clients.build().expect("verifier"))
            .with_single_cert(vec![read("server.pem")], key)
            .expect("configuration");
        Self {
            listener: TcpListener::bind("127.0.0.1:0").expect("bind"),
            config: Arc::new(config),
        }
    }

    fn plan(&self, name: &str, tls: Tls) -> Plan {
        Plan {
            remote: Some(Remote::Syslog(Syslog {
                address: SyslogAddress::Tls(host(name), tls),
                sockets: vec![self.listener.local_addr().expect("address")],
                format: SyslogFormat::Rfc5424,
                facility: 3,
                tag: "box".to_owned(),
                hostname: "host".to_owned(),
            })),
            ..Plan::default()
        }
    }

    fn accept(&self) -> Secured {
        let (socket, _) = self.listener.accept().expect("accept");
        self.secure(socket)
    }

    fn secure(&self, socket: TcpStream) -> Secured {
        socket.set_nonblocking(false).expect("blocking");
        socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
        let tls = ServerConnection::new(Arc::clone(&self.config)).expect("connection");
        BufReader::new(StreamOwned::new(tls, socket))
    }
}

fn known() -> Tls {
    Tls {
        authority: Some(certificate("ca.pem")),
        certificate: Some(certificate("client.pem")),
        key: Some(certificate("client.key")),
        unverified: false,
    }
}

#[test]
fn who_knows_the_daemon_and_is_known_sends_every_line() {
    let daemon = Daemon::new();
    let plan = daemon.plan("loghost", known());
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut log = LogWriter::open(plan).expect("open");
            let long = [vec![b'x'; 100_000], b"\n".to_vec()].concat();
            log.push(Stream::Stdout, &[b"first\n".to_vec(), long].concat());
            let end = Instant::now() + PATIENCE;
            while !log.is_flushed() && Instant::now() < end {
                log.flush();
                std::thread::park_timeout(Duration::from_millis(1));
            }
            log.finish();
            assert_eq!(log.lost(), 0);
        });
        let mut all = String::new();
        // Its end is told: otherwise this is an error.
        daemon.accept().read_to_string(&mut all).expect("read");
        assert!(
            all.starts_with("<30>1 ")
                && all.lines().next().is_some_and(|l| l.ends_with(" - first"))
        );
        assert_eq!(
            all.matches('x').count(),
            100_000 + all.matches("box").count()
        );
        sender.join().expect("sender");
    });
}

#[test]
fn a_secured_connection_is_made_anew_and_waits_for_nobody() {
    let daemon = Daemon::new();
    let plan = daemon.plan("loghost", known());
    std::thread::scope(|scope| {
        let first = scope.spawn(|| {
            let mut line = String::new();
            daemon.accept().read_line(&mut line).expect("read");
            line
        });
        let mut log = LogWriter::open(plan).expect("open");
        log.push(Stream::Stdout, b"first\n");
        assert!(first.join().expect("daemon").ends_with(" - first\n"));
        daemon.listener.set_nonblocking(true).expect("nonblocking");
        let end = Instant::now() + PATIENCE;
        let socket = loop {
            assert!(Instant::now() < end, "no second connection");
            log.push(Stream::Stdout, b"again\n");
            // Nobody speaks TLS with it yet.
            assert!(!log.holds_up());
            match daemon.listener.accept() {
                Ok((socket, _)) => break socket,
                Err(_) => std::thread::park_timeout(Duration::from_millis(5)),
            }
        };
        log.push(Stream::Stdout, b"last\n");
        let reader = scope.spawn(|| {
            let mut lines = daemon.secure(socket).lines();
            lines.find(|line| line.as_ref().is_ok_and(|line| line.ends_with(" - last")))
        });
        while !log.is_flushed() {
            assert!(Instant::now() < end, "not sent");
            log.flush();
            std::thread::park_timeout(Duration::from_millis(1));
        }
        assert!(reader.join().expect("daemon").is_some());
        assert!(
            log.take_trouble()
                .is_some_and(|trouble| trouble.error.is_some())
        );
    });
}

#[test]
fn another_daemon_or_an_unknown_client_is_refused_and_said() {
    let check = |name: &str, tls: Tls, says: &[&str]| {
        let daemon = Daemon::new();
        let plan = daemon.plan(name, tls);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut line = String::new();
                daemon.accept().read_line(&mut line).ok();
            });
            let error = LogWriter::open(plan)
                .map(drop)
                .expect_err("refused")
                .to_string();
            assert!(says.iter().any(|text| error.contains(text)), "{error}");
        });
    };
    check("elsewhere", known(), &["not valid for name"]);
    let authority = None;
    check(
        "loghost",
        Tls {
            authority,
            ..known()
        },
        &["UnknownIssuer"],
    );
}

#[test]
fn files_that_are_missing_or_empty_are_named() {
    let daemon = Daemon::new();
    let open = |tls| {
        let opened = LogWriter::open(daemon.plan("loghost", tls));
        opened.map(drop).expect_err("refused").to_string()
    };
    let missing = || Some(PathBuf::from("/nonono.pem"));
    let (authority, key) = (missing(), missing());
    assert_eq!(
        open(Tls {
            authority,
            ..known()
        }),
        "could not read CA certificate \"/nonono.pem\""
    );
    assert_eq!(
        open(Tls { key, ..known() }),
        "could not load X509 key pair: open /nonono.pem"
    );
    let key = None;
    assert!(open(Tls { key, ..known() }).contains("belong together"));
    let authority = Some(certificate("client.key"));
    let text = open(Tls {
        authority,
        ..known()
    });
    assert!(
        text.starts_with("failed to append certificates from PEM file: "),
        "{text}"
    );
}
