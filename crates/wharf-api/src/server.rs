//! Listening, connections and their end.
//!
//! One task accepts on each listener and owns the tasks of its connections; [`serve`] owns the accepting tasks. When
//! it is told to stop, accepting ends at once, idle connections end, endless answers (somebody follows a log) are cut,
//! other requests under way get the engine's shutdown timeout to end, and what is left then is cut too. Connections handed over to shims are not the engine's and go on.
//!
//! Bounds: [`MAX_CONNECTIONS`] for each listener (more wait in the kernel's queue), [`MAX_HEAD`] and [`MAX_HEADERS`]
//! for a request's head, [`HEAD_TIME`] for it to arrive, which is also how long an idle connection is kept.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use wharf_engine::Engine;

use crate::client::Client;
use crate::guard::{self, Reach};
use crate::hijack::{self, Served};
use crate::link::{Link, Stopping};
use crate::opening::{self, Opening};
use crate::routes;
use crate::tls::Tls;

/// Connections of one listener at a time. With the longest heads each, they take 256 MB.
const MAX_CONNECTIONS: usize = 4096;

/// Longest head of a request.
pub(crate) const MAX_HEAD: usize = 64 * 1024;

/// Most headers of a request.
pub(crate) const MAX_HEADERS: usize = 100;

/// Longest time a head may take to arrive, as in dockerd.
const HEAD_TIME: Duration = Duration::from_secs(300);

/// Longest time what is on its way to a client is waited for at the end.
const FLUSH_TIME: Duration = Duration::from_secs(1);

/// Pause after a failed accept, which fails for want of descriptors or memory and would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A socket to take connections from.
#[derive(Debug)]
pub enum Listener {
    /// A unix socket.
    Unix(UnixListener),
    /// A TCP socket.
    Tcp(TcpListener),
    /// A TCP socket with TLS.
    Tls(TcpListener, Tls),
}

/// A connection that is not served yet.
enum Accepted {
    Clear(Client, Reach),
    Encrypted(TcpStream, Tls),
}

impl Listener {
    /// Takes a socket over that listens already, from the service manager for instance. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// It is not a listening stream socket of a kind known here.
    pub fn from_fd(socket: OwnedFd) -> io::Result<Self> {
        use rustix::net::{AddressFamily, SocketType, sockopt};

        let unusable = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
        if sockopt::socket_type(&socket)? != SocketType::STREAM
            || !sockopt::socket_acceptconn(&socket)?
        {
            return Err(unusable("not a listening stream socket"));
        }
        rustix::io::ioctl_fionbio(&socket, true)?;
        match sockopt::socket_domain(&socket)? {
            AddressFamily::UNIX => Ok(Self::Unix(UnixListener::from_std(socket.into())?)),
            AddressFamily::INET | AddressFamily::INET6 => {
                Ok(Self::Tcp(TcpListener::from_std(socket.into())?))
            }
            _ => Err(unusable("neither a unix nor a TCP socket")),
        }
    }

    /// The same with TLS, if it is a TCP socket.
    #[must_use]
    pub fn with_tls(self, tls: Tls) -> Self {
        match self {
            Self::Tcp(listener) => Self::Tls(listener, tls),
            other => other,
        }
    }

    async fn accept(&self) -> io::Result<Accepted> {
        Ok(match self {
            Self::Unix(listener) => {
                Accepted::Clear(listener.accept().await?.0.into(), Reach::Local)
            }
            Self::Tcp(listener) => Accepted::Clear(listener.accept().await?.0.into(), Reach::Tcp),
            Self::Tls(listener, tls) => {
                Accepted::Encrypted(listener.accept().await?.0, tls.clone())
            }
        })
    }
}

impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self::Unix(listener)
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

/// Serves the API on `listeners` until `shutdown` completes.
pub async fn serve(engine: Engine, listeners: Vec<Listener>, shutdown: impl Future<Output = ()>) {
    let (stop, stopping) = Stopping::channel();
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(engine.clone(), listener, stopping.clone()));
    }
    drop(stopping);
    shutdown.await;
    stop.send_replace(true);
    let mut cut = 0;
    while let Some(left) = accepting.join_next().await {
        cut += left.unwrap_or_default();
    }
    tracing::info!(connections.cut = cut, "the API has stopped");
}

/// Accepts connections until told to stop; returns how many had to be cut then.
async fn accept(engine: Engine, listener: Listener, mut stopping: Stopping) -> usize {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stopping.told() => break,
            Some(_) = connections.join_next() => {}
            accepted = async { (Arc::clone(&slots).acquire_owned().await, listener.accept().await) } => match accepted {
                (Ok(slot), Ok(accepted)) => {
                    let serving = admit(engine.clone(), accepted, stopping.clone());
                    connections.spawn(async move {
                        serving.await;
                        drop(slot);
                    });
                }
                (Ok(_), Err(error)) => {
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                (Err(_), _) => break,
            },
        }
    }
    drop(listener);
    drain(connections, engine.defaults().shutdown_timeout).await
}

async fn drain(mut connections: JoinSet<()>, grace: Duration) -> usize {
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(grace, all_ended).await.is_ok() {
        return 0;
    }
    let left = connections.len();
    connections.shutdown().await;
    left
}

/// Serves one connection to its end, and carries its bytes where they are encrypted.
async fn admit(engine: Engine, accepted: Accepted, mut stopping: Stopping) {
    let (stream, tls) = match accepted {
        Accepted::Clear(client, reach) => return connection(engine, client, reach, stopping).await,
        Accepted::Encrypted(stream, tls) => (stream, tls),
    };
    let shaken = tokio::select! {
        shaken = tls.accept(stream) => shaken,
        () = stopping.told() => return,
    };
    let (client, carrier) = match shaken {
        Ok(both) => both,
        Err(error) => {
            tracing::debug!(%error, "a TLS handshake failed");
            return;
        }
    };
    let serving = connection(engine, client, Reach::Tls, stopping.clone());
    let carrying = async {
        if let Err(error) = carrier.carry().await {
            tracing::debug!(%error, "a TLS connection ended badly");
        }
    };
    tokio::pin!(serving, carrying);
    tokio::select! {
        () = &mut carrying => return serving.await,
        () = &mut serving => {}
    }
    // A connection that was handed over goes on as long as the engine does.
    let told = async {
        stopping.told().await;
        tokio::time::sleep(FLUSH_TIME).await;
    };
    tokio::select! {
        () = carrying => {}
        () = told => {}
    }
}

/// Serves one connection to its end.
async fn connection(engine: Engine, mut client: Client, reach: Reach, mut stopping: Stopping) {
    let link = Link::new(client.clone(), reach, stopping.clone());
    let opening = tokio::select! {
        opening = tokio::time::timeout(HEAD_TIME, opening::read(&mut client)) => opening,
        () = stopping.told() => return,
    };
    let client = match opening {
        Ok(Ok(Opening::Http(read))) if read.is_empty() => return,
        Ok(Ok(Opening::Http(read))) => client.with_unread(read),
        // The words for it are with the routes.
        Ok(Ok(Opening::Takeover(takeover))) if guard::check(reach, &takeover.headers).is_err() => {
            client.with_unread(takeover.read)
        }
        Ok(Ok(Opening::Takeover(takeover))) => {
            let span = tracing::debug_span!("takeover", kind = ?takeover.kind, name = takeover.params.name());
            tracing::debug!(parent: &span, upgrade = takeover.upgrade, "a connection is taken over");
            match hijack::serve(&engine, client, &link, *takeover).await {
                Ok(Served::GivenBack(client)) => client,
                Ok(Served::Done) => return,
                Err(error) => {
                    tracing::debug!(parent: &span, %error, "a connection ended badly");
                    return;
                }
            }
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, "a connection ended before its first request");
            return;
        }
        Err(_) => return,
    };
    http(engine, client, link, stopping).await;
}

/// Serves a connection with hyper, and what comes after if a request takes it over.
async fn http(engine: Engine, client: Client, link: Link, mut stopping: Stopping) {
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(link.clone());
        let answer = routes::answer(engine.clone(), request);
        async { Ok::<_, std::convert::Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .half_close(true)
        .title_case_headers(true)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(client), service)
        .with_upgrades();
    tokio::pin!(connection);
    let served = tokio::select! {
        served = &mut connection => served,
        () = stopping.told() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended badly");
    }
    if let Some(work) = link.take_afterwards()
        && let Err(error) = work.await
    {
        tracing::debug!(%error, "a connection taken over ended badly");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[tokio::test]
    async fn only_listening_stream_sockets_are_taken_over() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("socket");
        let unix = std::os::unix::net::UnixListener::bind(&path).expect("binds");
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
        assert!(matches!(
            Listener::from_fd(unix.into()),
            Ok(Listener::Unix(_))
        ));
        assert!(matches!(
            Listener::from_fd(tcp.into()),
            Ok(Listener::Tcp(_))
        ));
        let (datagram, _other) = UnixDatagram::pair().expect("a pair");
        let (connected, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let file = std::fs::File::open("/dev/null").expect("opens");
        for socket in [OwnedFd::from(datagram), connected.into(), file.into()] {
            assert!(Listener::from_fd(socket).is_err());
        }
    }

    #[tokio::test]
    async fn a_socket_taken_over_accepts() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("socket");
        let unix = std::os::unix::net::UnixListener::bind(&path).expect("binds");
        let listener = Listener::from_fd(unix.into()).expect("listens");
        let connecting = tokio::net::UnixStream::connect(&path);
        let (accepted, connected) = tokio::join!(listener.accept(), connecting);
        assert!(accepted.is_ok() && connected.is_ok());
    }
}
