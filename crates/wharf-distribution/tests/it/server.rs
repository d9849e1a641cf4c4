//! A server of the test's own: each request is noted and answered as the test says, cut lines included.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// A request as it came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// What is answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Ends the connection after so many bytes of the body.
    cut: Option<usize>,
    /// Never answers.
    silent: bool,
    /// Sends no length: the end of the connection is the end of the body.
    unmeasured: bool,
}

/// How a server behaves.
pub(crate) trait Behaviour: Send + Sync + 'static {
    /// Answers a request.
    fn answer(&self, request: &Request) -> Reply;

    /// How many bytes of a request's body are read before the line is cut.
    fn reads(&self, _: &Request) -> Option<usize> {
        None
    }
}

impl<F: Fn(&Request) -> Reply + Send + Sync + 'static> Behaviour for F {
    fn answer(&self, request: &Request) -> Reply {
        self(request)
    }
}

/// A running server. Dropped, it is gone.
pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    behaviour: Box<dyn Behaviour>,
    tls: Option<TlsAcceptor>,
    requests: Mutex<Vec<Request>>,
    sent: AtomicU64,
    received: AtomicU64,
    connections: AtomicU64,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The value of a parameter of the query, still encoded.
    pub(crate) fn parameters(&self, name: &str) -> Vec<String> {
        let query = self.path.split_once('?').map_or("", |(_, query)| query);
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .filter(|(own, _)| *own == name)
            .map(|(_, value)| value.to_owned())
            .collect()
    }

    /// `Range: bytes=N-`.
    pub(crate) fn range_start(&self) -> Option<usize> {
        let range = self.header("range")?.strip_prefix("bytes=")?;
        Some(
            range
                .strip_suffix('-')
                .expect("open")
                .parse()
                .expect("number"),
        )
    }
}

impl Reply {
    pub(crate) fn status(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::status(200).body(body)
    }

    pub(crate) fn json(status: u16, body: &str) -> Self {
        Self::status(status)
            .with("Content-Type", "application/json")
            .body(body)
    }

    /// A registry's refusal.
    pub(crate) fn refusal(status: u16, code: &str, message: &str) -> Self {
        Self::json(
            status,
            &format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#),
        )
    }

    pub(crate) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn cut_after(mut self, bytes: usize) -> Self {
        self.cut = Some(bytes);
        self
    }

    pub(crate) fn silent() -> Self {
        Self {
            silent: true,
            ..Self::default()
        }
    }

    pub(crate) fn unmeasured(mut self) -> Self {
        self.unmeasured = true;
        self
    }

    /// The bytes that a request's `Range` asks for.
    pub(crate) fn ranged(request: &Request, body: &[u8]) -> Self {
        match request.range_start() {
            Some(start) if start < body.len() => Self::status(206)
                .with(
                    "Content-Range",
                    format!("bytes {start}-{}/{}", body.len() - 1, body.len()),
                )
                .body(&body[start..]),
            Some(_) => Self::status(416),
            None => Self::ok(body),
        }
    }
}

impl Server {
    pub(crate) async fn start(behaviour: impl Behaviour) -> Self {
        Self::with_tls(behaviour, None).await
    }

    pub(crate) async fn with_tls(behaviour: impl Behaviour, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let shared = Arc::new(Shared {
            behaviour: Box::new(behaviour),
            tls,
            requests: Mutex::default(),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            connections: AtomicU64::new(0),
        });
        let task = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self {
            address,
            shared,
            task,
        }
    }

    /// Host and port.
    pub(crate) fn name(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().expect("requests").clone()
    }

    /// The requests as `METHOD path` lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.requests()
            .iter()
            .map(|request| format!("{} {}", request.method, request.path))
            .collect()
    }

    /// Bytes that were sent, heads included.
    pub(crate) fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::SeqCst)
    }

    /// Bytes that were received, heads included.
    pub(crate) fn received(&self) -> u64 {
        self.shared.received.load(Ordering::SeqCst)
    }

    pub(crate) fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Dropped with the task, so that connections end with the server.
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("accept");
        shared.connections.fetch_add(1, Ordering::SeqCst);
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            // A client that goes away is what tests are about.
            drop(connection(stream, &shared).await);
        });
    }
}

async fn connection(stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    match &shared.tls {
        Some(acceptor) => serve(acceptor.accept(stream).await?, shared).await,
        None => {
            let mut first = [0];
            if stream.peek(&mut first).await? == 1 && first[0] == 0x16 {
                let mut stream = stream;
                stream
                    .write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nspeak HTTP\n")
                    .await?;
                return Ok(());
            }
            serve(stream, shared).await
        }
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    shared: &Shared,
) -> std::io::Result<()> {
    loop {
        let Some(mut request) = read_head(&mut stream, shared).await? else {
            return Ok(());
        };
        let length = body_length(&request);
        let wanted = shared.behaviour.reads(&request);
        let most = wanted.unwrap_or(usize::MAX).min(length);
        request.body.resize(most, 0);
        let mut have = 0;
        while have < most {
            let read = stream.read(&mut request.body[have..]).await?;
            shared.received.fetch_add(read as u64, Ordering::SeqCst);
            if read == 0 {
                break;
            }
            have += read;
        }
        request.body.truncate(have);
        shared
            .requests
            .lock()
            .expect("requests")
            .push(request.clone());
        let reply = shared.behaviour.answer(&request);
        if have < length {
            return Ok(());
        }
        if reply.silent {
            std::future::pending::<()>().await;
        }
        let is_last = reply.cut.is_some() || reply.unmeasured;
        let bytes = written(&request, &reply);
        shared.sent.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        stream.write_all(&bytes).await?;
        stream.flush().await?;
        if is_last {
            stream.shutdown().await?;
            return Ok(());
        }
    }
}

fn body_length(request: &Request) -> usize {
    assert_eq!(
        request.header("transfer-encoding"),
        None,
        "bodies have a length"
    );
    request
        .header("content-length")
        .map_or(0, |length| length.parse().expect("length"))
}

async fn read_head(
    stream: &mut (impl AsyncRead + Unpin),
    shared: &Shared,
) -> std::io::Result<Option<Request>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await? == 0 {
            return Ok(None);
        }
        head.push(byte[0]);
    }
    shared
        .received
        .fetch_add(head.len() as u64, Ordering::SeqCst);
    let head = String::from_utf8(head).expect("text");
    let mut lines = head.trim_end().split("\r\n");
    let mut words = lines.next().expect("request line").split(' ');
    Ok(Some(Request {
        method: words.next().expect("method").to_owned(),
        path: words.next().expect("path").to_owned(),
        headers: lines
            .map(|line| {
                let (name, value) = line.split_once(':').expect("header");
                (name.to_owned(), value.trim().to_owned())
            })
            .collect(),
        body: Vec::new(),
    }))
}

fn written(request: &Request, reply: &Reply) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {} Status\r\n", reply.status);
    for (name, value) in &reply.headers {
        write!(head, "{name}: {value}\r\n").expect("text");
    }
    let has_length = reply
        .headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    if !reply.unmeasured && !has_length && reply.status != 204 {
        write!(head, "Content-Length: {}\r\n", reply.body.len()).expect("text");
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    if request.method != "HEAD" {
        let end = reply.cut.unwrap_or(usize::MAX).min(reply.body.len());
        bytes.extend(&reply.body[..end]);
    }
    bytes
}
