//! Connections: names to addresses, TCP, a proxy's tunnel, TLS.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::address::{self, Origin, ip_of};
use crate::client::Inner;
use crate::error::{DialError, RequestError, TlsError};
use crate::proxy::Proxy;

/// How long one address has before the next is tried beside it (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);
/// Most bytes of a proxy's answer to `CONNECT`.
const PROXY_ANSWER_MAX: usize = 8 * 1024;

/// Makes the connections of one kind of trust.
#[derive(Clone)]
pub(crate) struct Dialer {
    pub(crate) client: std::sync::Weak<Inner>,
    pub(crate) tls: Arc<ClientConfig>,
    /// How a proxy is spoken to over TLS: as any host, without the registry's own arrangements.
    pub(crate) proxy_tls: Arc<ClientConfig>,
}

/// A connection, of whichever layers.
pub(crate) struct Stream {
    io: Pin<Box<dyn Duplex>>,
    /// Whether requests name the whole address, for a proxy.
    proxied: bool,
}

trait Duplex: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}

impl tower_service::Service<Uri> for Dialer {
    type Response = TokioIo<Stream>;
    type Error = RequestError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, RequestError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), RequestError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialer = self.clone();
        Box::pin(async move { dialer.dial(&uri).await.map(TokioIo::new) })
    }
}

impl Dialer {
    async fn dial(&self, uri: &Uri) -> Result<Stream, RequestError> {
        let client = self
            .client
            .upgrade()
            .ok_or_else(|| RequestError::Broken("the client is gone".to_owned()))?;
        let origin =
            address::origin(uri).ok_or_else(|| RequestError::Broken("no address".to_owned()))?;
        let Some(proxy) = client.proxies.proxy_for(&origin) else {
            let tcp = connect(&client, &origin).await?;
            if !origin.secure {
                return Ok(Stream::new(tcp, false));
            }
            return self.secure(&client, tcp, &origin, &self.tls).await;
        };
        let through = |error: RequestError| RequestError::Proxy(error.to_string());
        let tcp = connect(&client, &proxy.origin).await.map_err(through)?;
        let mut stream = if proxy.origin.secure {
            self.secure(&client, tcp, &proxy.origin, &self.proxy_tls)
                .await
                .map_err(through)?
        } else {
            Stream::new(tcp, false)
        };
        if !origin.secure {
            stream.proxied = true;
            return Ok(stream);
        }
        timeout(
            client.settings.limits.connect,
            tunnel(&mut stream, proxy, &origin),
        )
        .await
        .map_err(|_| RequestError::Proxy("i/o timeout".to_owned()))??;
        self.secure(&client, stream, &origin, &self.tls).await
    }

    async fn secure<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        client: &Inner,
        io: T,
        origin: &Origin,
        configuration: &Arc<ClientConfig>,
    ) -> Result<Stream, RequestError> {
        let name = match ip_of(&origin.host) {
            Some(address) => ServerName::IpAddress(address.into()),
            None => ServerName::try_from(origin.host.clone())
                .map_err(|_| RequestError::Tls(TlsError::WrongName(origin.host.clone())))?,
        };
        let handshake = TlsConnector::from(Arc::clone(configuration)).connect(name, io);
        match timeout(client.settings.limits.handshake, handshake).await {
            Ok(Ok(stream)) => Ok(Stream::new(stream, false)),
            Ok(Err(error)) => Err(handshake_fault(&error, &origin.host)),
            Err(_) => Err(RequestError::Tls(TlsError::Other(
                "TLS handshake timeout".to_owned(),
            ))),
        }
    }
}

/// Connects to the first address that answers, IPv4 first, the others joining in one after the other.
async fn connect(client: &Inner, origin: &Origin) -> Result<TcpStream, RequestError> {
    let limit = client.settings.limits.connect;
    let addresses = match timeout(limit, client.names.look_up(&origin.host)).await {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(reason)) => {
            return Err(RequestError::Lookup {
                host: origin.host.clone(),
                reason,
            });
        }
        Err(_) => {
            return Err(RequestError::Lookup {
                host: origin.host.clone(),
                reason: crate::error::LookupError::Timeout,
            });
        }
    };
    let first = addresses.first().copied();
    match timeout(limit, race(addresses, origin.port)).await {
        Ok(result) => result,
        Err(_) => Err(RequestError::Dial {
            address: first.map_or_else(
                || origin.authority(),
                |address| SocketAddr::new(address, origin.port).to_string(),
            ),
            reason: DialError::Timeout,
        }),
    }
}

async fn race(mut addresses: Vec<IpAddr>, port: u16) -> Result<TcpStream, RequestError> {
    addresses.sort_by_key(IpAddr::is_ipv6);
    let mut waiting = addresses.into_iter();
    let mut running = FuturesUnordered::new();
    let mut first_fault = None;
    loop {
        match waiting.next() {
            Some(address) => running.push(connect_to(SocketAddr::new(address, port))),
            None if running.is_empty() => {
                return Err(first_fault.unwrap_or(RequestError::Broken("no address".to_owned())));
            }
            None => {}
        }
        let more = waiting.len() > 0;
        tokio::select! {
            Some(result) = running.next() => match result {
                Ok(stream) => return Ok(stream),
                Err(fault) => first_fault = first_fault.or(Some(fault)),
            },
            () = tokio::time::sleep(STAGGER), if more => {}
        }
    }
}

async fn connect_to(address: SocketAddr) -> Result<TcpStream, RequestError> {
    let connected = async {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    connected
        .await
        .map_err(|error: io::Error| RequestError::Dial {
            address: address.to_string(),
            reason: match error.kind() {
                io::ErrorKind::ConnectionRefused => DialError::Refused,
                io::ErrorKind::HostUnreachable => DialError::NoRoute,
                io::ErrorKind::NetworkUnreachable => DialError::NoNetwork,
                io::ErrorKind::TimedOut => DialError::Timeout,
                kind => DialError::Other(kind),
            },
        })
}

/// Has a proxy open a way to a host: RFC 9110, section 9.3.6.
async fn tunnel(stream: &mut Stream, proxy: &Proxy, to: &Origin) -> Result<(), RequestError> {
    let authority = format!("{}:{}", to.host, to.port);
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n").into_bytes();
    if let Some(authorization) = &proxy.authorization {
        request.extend(b"Proxy-Authorization: ");
        request.extend(authorization.as_bytes());
        request.extend(b"\r\n");
    }
    request.extend(b"\r\n");
    let broken = |error: io::Error| RequestError::Proxy(error.to_string());
    stream.write_all(&request).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let mut answer = Vec::new();
    // The host speaks only after it was spoken to, so nothing of TLS can follow the answer yet.
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= PROXY_ANSWER_MAX {
            return Err(RequestError::Proxy("its answer is too long".to_owned()));
        }
        let byte = stream.read_u8().await.map_err(broken)?;
        answer.push(byte);
    }
    let line = answer
        .split(|byte| *byte == b'\r')
        .next()
        .unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.splitn(2, ' ');
    let is_http = words.next().is_some_and(|word| word.starts_with("HTTP/1."));
    let status = words.next().unwrap_or_default();
    if is_http && status.starts_with('2') {
        return Ok(());
    }
    Err(RequestError::Proxy(crate::refusal::harmless(status)))
}

fn handshake_fault(error: &io::Error, host: &str) -> RequestError {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
            RequestError::PlainAnswer
        }
        Some(inner) => RequestError::Tls(crate::tls::explain(inner, host)),
        None => RequestError::Tls(TlsError::Other(match error.kind() {
            io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
            kind => kind.to_string(),
        })),
    }
}

impl Stream {
    fn new(io: impl AsyncRead + AsyncWrite + Send + 'static, proxied: bool) -> Self {
        Self {
            io: Box::pin(io),
            proxied,
        }
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.proxied)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.io.as_mut().poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io.as_mut().poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
