//! A registry on a port of its own, and a client that says exactly what a test wants to say.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tokio::sync::oneshot;
use wharf_registry::{Access, Listeners, Service, Storage};

/// A running registry; it ends with the value.
pub(crate) struct Registry {
    address: SocketAddr,
    operators: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    server: Option<std::thread::JoinHandle<()>>,
    _directory: tempfile::TempDir,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Registry {
    pub(crate) fn start(access: Access) -> Self {
        Self::start_with(access, |service| service)
    }

    pub(crate) fn start_with(access: Access, change: impl FnOnce(Service) -> Service) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let storage = Storage::open(directory.path()).expect("opens");
        let service = change(Service::new(storage, access));
        let (stop, stopped) = oneshot::channel();
        let (told, bound) = std::sync::mpsc::channel();
        let server = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
                    .await
                    .expect("binds");
                let operators = tokio::net::TcpListener::bind(("127.0.0.1", 0))
                    .await
                    .expect("binds");
                let addresses = [&listener, &operators]
                    .map(|listener| listener.local_addr().expect("an address"));
                told.send(addresses).expect("somebody waits");
                let listeners = Listeners {
                    clients: listener,
                    operators: Some(operators),
                };
                let stopped = async {
                    stopped.await.ok();
                };
                wharf_registry::serve(service, listeners, stopped).await;
            });
        });
        let [address, operators] = bound.recv().expect("it is bound");
        Self {
            address,
            operators,
            stop: Some(stop),
            server: Some(server),
            _directory: directory,
        }
    }

    /// Sends a request with a body and reads the whole answer.
    pub(crate) fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        send(self.address, method, target, headers, body)
    }

    /// Asks the address of those who run the registry.
    pub(crate) fn operator(&self, target: &str) -> Answer {
        send(self.operators, "GET", target, &[], b"")
    }

    /// Where clients connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn get(&self, target: &str) -> Answer {
        self.send("GET", target, &[], b"")
    }

    /// Pushes a blob in one request and returns its digest.
    pub(crate) fn push_blob(&self, repository: &str, bytes: &[u8]) -> String {
        let digest = wharf_types::Digest::of(bytes).to_string();
        let answer = self.send(
            "POST",
            &format!("/v2/{repository}/blobs/uploads/?digest={digest}"),
            &[],
            bytes,
        );
        assert_eq!(answer.status, 201, "{answer:?}");
        digest
    }
}

fn send(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut stream =
        TcpStream::connect_timeout(&address, Duration::from_secs(20)).expect("connects");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("set");
    let mut head = format!(
        "{method} {target} HTTP/1.1\r\nHost: registry\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).expect("sent");
    // A refused body may not be read to its end.
    stream.write_all(body).ok();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok();
    Answer::read(&bytes)
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(server) = self.server.take() {
            server.join().expect("the server ends well");
        }
    }
}

impl Answer {
    fn read(bytes: &[u8]) -> Self {
        let end = bytes
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .expect("a head");
        let head = std::str::from_utf8(&bytes[..end]).expect("text");
        let mut lines = head.lines();
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1))
            .expect("a status");
        let headers = lines.filter_map(|line| line.split_once(": "));
        Self {
            status: status.parse().expect("a number"),
            headers: headers
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                .collect(),
            body: bytes[end + 4..].to_vec(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a document")
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("text")
    }

    /// The code of a refusal.
    pub(crate) fn code(&self) -> String {
        self.json()["errors"][0]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}
