//! The engine's sockets.
//!
//! A unix socket is made under a temporary name beside its real one, gets its owner and mode there, and is renamed when
//! the engine is ready: there is no moment in which it stands with other rights, or unanswered. What was under the name
//! is replaced only when nobody listens on it.

use std::fmt;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use wharf_api::{Listener, Tls};

use super::group;

/// Rights of a unix socket: its owner's and its group's, nobody else's.
const MODE: u32 = 0o660;

/// Where the engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    /// A socket in the file system.
    Unix(PathBuf),
    /// A TCP port.
    Tcp(SocketAddr),
    /// The sockets the service manager has opened.
    Inherited,
}

/// Docker's port without TLS.
const PORT: u16 = 2375;
/// Docker's port with TLS.
const TLS_PORT: u16 = 2376;

/// A host that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum HostError {
    /// Of no known form.
    #[error("invalid host {0:?}: it must be unix:///path, tcp://address:port or fd://")]
    Malformed(String),
    /// TCP at a name.
    #[error("host {0}: it needs an IP address, and a port that is a number, if any")]
    Address(String),
    /// A path that depends on where the engine was started.
    #[error("host {0}: the path must be absolute")]
    Relative(String),
}

impl Host {
    /// Reads a host.
    pub(super) fn parse(text: &str, tls: bool) -> Result<Self, HostError> {
        match text.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix(PathBuf::from(path))),
            Some(("unix", _)) => Err(HostError::Relative(text.to_owned())),
            Some(("fd", "" | "*")) => Ok(Self::Inherited),
            Some(("tcp", address)) => {
                let port = if tls { TLS_PORT } else { PORT };
                let address = tcp_address(address.trim_end_matches('/'), port);
                address
                    .map(Self::Tcp)
                    .ok_or_else(|| HostError::Address(text.to_owned()))
            }
            _ => Err(HostError::Malformed(text.to_owned())),
        }
    }
}

/// Reads an address with or without a port. No address at all is this machine's own, as in dockerd: who wants to be
/// seen from outside says so.
fn tcp_address(text: &str, port: u16) -> Option<SocketAddr> {
    let (address, port) = match text.rsplit_once(':') {
        Some((address, digits)) if !digits.ends_with(']') => (address, digits.parse().ok()?),
        _ => (text, port),
    };
    let address = match address {
        "" | "localhost" => Ipv4Addr::LOCALHOST.into(),
        address => match address
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            Some(inside) => inside.parse::<Ipv6Addr>().ok()?.into(),
            None => address.parse::<Ipv4Addr>().ok()?.into(),
        },
    };
    Some(SocketAddr::new(address, port))
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListenError {
    /// Somebody listens there.
    #[error("another engine listens on unix://{}", .0.display())]
    InUse(PathBuf),
    /// Something else is there.
    #[error("{} exists and is not a socket", .0.display())]
    NotSocket(PathBuf),
    /// The group is not known.
    #[error("group {0} is not known")]
    NoGroup(String),
    /// The service manager has opened none.
    #[error("fd:// was asked for, but no sockets were handed over (LISTEN_FDS)")]
    NothingInherited,
    /// A TCP socket that would be open to everybody.
    #[error(
        "a TCP socket of the service manager would let everybody who can connect be root on this machine: \
         use --tlsverify, or --allow-insecure-tcp if that is what you want"
    )]
    Insecure,
    /// The system said no.
    #[error("socket {what}")]
    Io {
        /// Which.
        what: String,
        /// Why.
        source: io::Error,
    },
}

/// A unix socket under its temporary name.
#[derive(Debug)]
struct Unpublished {
    listener: UnixListener,
    temporary: PathBuf,
    path: PathBuf,
}

/// Sockets that nobody can reach yet.
#[derive(Debug)]
pub(super) struct Sockets {
    unix: Vec<Unpublished>,
    tcp: Vec<(TcpListener, SocketAddr)>,
    inherited: Vec<OwnedFd>,
}

/// How TCP sockets are guarded.
#[derive(Debug, Clone)]
pub(super) enum Guard {
    /// By certificates of the clients.
    Verified(Tls),
    /// By nothing, because somebody wants it so; with TLS or without.
    Open(Option<Tls>),
    /// There are to be none.
    Closed,
}

impl Guard {
    fn put_before(&self, listener: Listener) -> Result<Listener, ListenError> {
        match self {
            _ if matches!(listener, Listener::Unix(_)) => Ok(listener),
            Self::Verified(tls) | Self::Open(Some(tls)) => Ok(listener.with_tls(tls.clone())),
            Self::Open(None) => Ok(listener),
            Self::Closed => Err(ListenError::Insecure),
        }
    }
}

/// Names of sockets that can be reached, with their inodes.
#[derive(Debug)]
pub(super) struct Published {
    paths: Vec<(PathBuf, u64)>,
    addresses: Vec<SocketAddr>,
    inherited: usize,
}

/// Makes the sockets. `group` is an error when it is not known; without it there is a default one, if it exists.
pub(super) fn bind(hosts: &[Host], group: Option<&str>) -> Result<Sockets, ListenError> {
    let owner = match group {
        Some(name) => {
            let found = group::find(name).map_err(|source| io_error("/etc/group", source))?;
            Some(found.ok_or_else(|| ListenError::NoGroup(name.to_owned()))?)
        }
        // A system without groups has none of ours either.
        None => group::find(super::settings::DEFAULT_GROUP).ok().flatten(),
    };
    let mut sockets = Sockets {
        unix: Vec::new(),
        tcp: Vec::new(),
        inherited: Vec::new(),
    };
    for host in hosts {
        match host {
            Host::Unix(path) => sockets
                .unix
                .push(bind_unix(path, owner.map(|group| group.as_raw()))?),
            Host::Tcp(address) => sockets.tcp.push(bind_tcp(*address)?),
            Host::Inherited => sockets.inherited = inherited()?,
        }
    }
    Ok(sockets)
}

/// Takes a port. Clients of it wait until the engine is ready.
fn bind_tcp(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ListenError> {
    let failed = |source| io_error(&format!("tcp://{address}"), source);
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

fn bind_unix(path: &Path, group: Option<u32>) -> Result<Unpublished, ListenError> {
    let failed = |source| io_error(&path.display().to_string(), source);
    check_free(path)?;
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let temporary = path.with_file_name(format!(".{name}.{}", std::process::id()));
    // Left by an engine that had our process id and was killed.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(&temporary).map_err(failed)?;
    chown(&temporary, Some(0), Some(group.unwrap_or(0))).map_err(failed)?;
    fs::set_permissions(&temporary, fs::Permissions::from_mode(MODE)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(Unpublished {
        listener,
        temporary,
        path: path.to_owned(),
    })
}

/// Finds out that nobody uses a path: there is nothing, or a socket nobody listens on.
fn check_free(path: &Path) -> Result<(), ListenError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(io_error(&path.display().to_string(), source)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(ListenError::NotSocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(ListenError::InUse(path.to_owned())),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
            ) =>
        {
            Ok(())
        }
        // Somebody listens and is busy.
        Err(_) => Err(ListenError::InUse(path.to_owned())),
    }
}

/// The sockets the service manager has opened for this process.
fn inherited() -> Result<Vec<OwnedFd>, ListenError> {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u32>().ok())
    };
    let count = number("LISTEN_FDS")
        .and_then(|count| u16::try_from(count).ok())
        .unwrap_or(0);
    if count == 0 || number("LISTEN_PID") != Some(std::process::id()) {
        return Err(ListenError::NothingInherited);
    }
    let failed = |source| io_error("from the service manager", source);
    let sockets = wharf_sys::process::inherited(count).map_err(failed)?;
    // The originals must not be inherited again by what the engine starts.
    wharf_sys::process::close_on_exec_from(3).map_err(failed)?;
    Ok(sockets)
}

fn io_error(what: &str, source: io::Error) -> ListenError {
    ListenError::Io {
        what: what.to_owned(),
        source,
    }
}

impl Sockets {
    /// Gives the sockets their names. Call it inside a tokio runtime.
    pub(super) fn publish(
        mut self,
        guard: &Guard,
    ) -> Result<(Vec<Listener>, Published), ListenError> {
        let mut listeners = Vec::new();
        let mut published = Published {
            paths: Vec::new(),
            addresses: Vec::new(),
            inherited: self.inherited.len(),
        };
        for Unpublished {
            listener,
            temporary,
            path,
        } in self.unix.drain(..)
        {
            let failed = |source| io_error(&path.display().to_string(), source);
            fs::rename(&temporary, &path).map_err(failed)?;
            let inode = fs::symlink_metadata(&path).map_err(failed)?.ino();
            listeners.push(
                tokio::net::UnixListener::from_std(listener)
                    .map_err(failed)?
                    .into(),
            );
            published.paths.push((path, inode));
        }
        for (listener, address) in self.tcp.drain(..) {
            let failed = |source| io_error(&format!("tcp://{address}"), source);
            let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
            listeners.push(guard.put_before(listener.into())?);
            published.addresses.push(address);
        }
        for socket in self.inherited.drain(..) {
            let listener = Listener::from_fd(socket);
            let listener =
                listener.map_err(|source| io_error("from the service manager", source))?;
            listeners.push(guard.put_before(listener)?);
        }
        Ok((listeners, published))
    }
}

impl Drop for Sockets {
    /// Removes what never got its name.
    fn drop(&mut self) {
        for socket in &self.unix {
            if let Err(error) = fs::remove_file(&socket.temporary) {
                tracing::debug!(path = %socket.temporary.display(), %error, "could not remove a socket");
            }
        }
    }
}

impl Published {
    /// Removes the names, unless another engine has taken them since.
    pub(super) fn remove(&self) {
        for (path, inode) in &self.paths {
            let ours = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.ino() == *inode);
            if ours && let Err(error) = fs::remove_file(path) {
                tracing::warn!(path = %path.display(), %error, "could not remove the socket");
            }
        }
    }
}

impl fmt::Display for Published {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (path, _) in &self.paths {
            write!(formatter, "{separator}unix://{}", path.display())?;
            separator = " ";
        }
        for address in &self.addresses {
            write!(formatter, "{separator}tcp://{address}")?;
            separator = " ";
        }
        if self.inherited > 0 {
            write!(formatter, "{separator}fd://")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_paths_or_inherited() {
        let parse = |text: &str| Host::parse(text, false);
        assert_eq!(parse("unix:///x"), Ok(Host::Unix(PathBuf::from("/x"))));
        assert_eq!(parse("fd://"), Ok(Host::Inherited));
        for (text, expected) in [
            ("tcp://0.0.0.0:1234", "0.0.0.0:1234"),
            ("tcp://127.0.0.1", "127.0.0.1:2375"),
            ("tcp://:99", "127.0.0.1:99"),
            ("tcp://", "127.0.0.1:2375"),
            ("tcp://localhost:5/", "127.0.0.1:5"),
            ("tcp://[::1]:7", "[::1]:7"),
            ("tcp://[::]", "[::]:2375"),
        ] {
            let expected = expected.parse().expect(expected);
            assert_eq!(parse(text), Ok(Host::Tcp(expected)), "{text}");
        }
        let with_tls = Host::parse("tcp://127.0.0.1", true);
        assert_eq!(
            with_tls,
            Ok(Host::Tcp("127.0.0.1:2376".parse().expect("it is one")))
        );
        let error = |text: &str| parse(text).expect_err(text).to_string();
        assert_eq!(
            error("unix://x"),
            "host unix://x: the path must be absolute"
        );
        for text in [
            "tcp://name:2375",
            "tcp://1.2.3.4:99999",
            "tcp://[::1",
            "tcp://1.2.3.4:",
        ] {
            let expected = "it needs an IP address, and a port that is a number, if any";
            assert_eq!(error(text), format!("host {text}: {expected}"));
        }
        assert_eq!(
            error("x"),
            "invalid host \"x\": it must be unix:///path, tcp://address:port or fd://"
        );
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_used_one_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("wharf.sock");
        drop(UnixListener::bind(&path).expect("a socket"));
        let hosts = [Host::Unix(path.clone())];
        let (_listeners, published) = bind(&hosts, None)
            .expect("a stale socket")
            .publish(&Guard::Closed)
            .expect("a name");
        let mode = fs::symlink_metadata(&path).expect("the socket").mode() & 0o7777;
        assert_eq!(mode, MODE);
        let error = bind(&hosts, None).expect_err("used").to_string();
        assert_eq!(
            error,
            format!("another engine listens on unix://{}", path.display())
        );
        published.remove();
        assert_eq!(
            fs::read_dir(directory.path())
                .expect("the directory")
                .count(),
            0
        );
    }

    #[test]
    fn what_is_no_socket_stays() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        fs::write(&path, "precious").expect("a file");
        let error = bind(&[Host::Unix(path.clone())], None)
            .expect_err("a file")
            .to_string();
        assert_eq!(
            error,
            format!("{} exists and is not a socket", path.display())
        );
        assert_eq!(fs::read_to_string(&path).expect("the file"), "precious");
    }

    #[test]
    fn sockets_that_got_no_name_leave_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        drop(bind(&[Host::Unix(directory.path().join("x"))], None).expect("a socket"));
        assert_eq!(
            fs::read_dir(directory.path())
                .expect("the directory")
                .count(),
            0
        );
    }
}
