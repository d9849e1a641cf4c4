//! Sends entries to a service, over a socket that never makes its caller wait.
//!
//! What the service does not take at once waits in a queue. When the container is to wait too
//! ([`Queue::holds_up`]), its output is not read while more than [`HELD_MAX`] bytes are there. When it
//! is not, or while the service cannot be reached, what comes beyond the queue's bound is lost and
//! counted. A connection that broke is made anew when there is something to send, once in
//! [`RETRY_TIME`].

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use crate::entry::Piece;
use crate::journald;
use crate::plan::Remote;
use crate::syslog::Address;
use crate::writer::OpenError;

/// Bytes that wait before the container does.
const HELD_MAX: usize = 256 * 1024;
/// Bytes that wait where nothing else was asked for; Docker's bound of its buffer.
const BOUND: u64 = 1 << 20;
/// How long after a failure the connection is tried again.
const RETRY_TIME: Duration = Duration::from_secs(1);
/// How long the first connection may take.
const CONNECT_TIME: Timespec = Timespec {
    tv_sec: 5,
    tv_nsec: 0,
};
/// Where the machine's own syslog daemon may listen.
const LOCAL: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];

/// The way to a service.
#[derive(Debug)]
pub(crate) struct Queue {
    remote: Remote,
    connection: Option<Connection>,
    /// Connections made so far.
    connections: u64,
    entries: VecDeque<Vec<u8>>,
    /// Bytes of all entries.
    bytes: usize,
    /// Bytes of the first entry that are sent.
    sent: usize,
    /// Set when the container does not wait.
    bound: Option<u64>,
    tried: Instant,
    lost: u64,
    trouble: Option<io::Error>,
}

#[derive(Debug)]
struct Connection {
    socket: OwnedFd,
    /// Messages have no bounds in it.
    stream: bool,
    /// Not made yet.
    pending: bool,
}

impl Queue {
    pub(crate) fn open(remote: Remote, bound: Option<u64>) -> Result<Self, OpenError> {
        let mut connection = connect(&remote)?;
        if connection.pending {
            finish_connecting(&mut connection).map_err(|error| connect_error(&remote, error))?;
        }
        Ok(Self {
            remote,
            connection: Some(connection),
            connections: 1,
            entries: VecDeque::new(),
            bytes: 0,
            sent: 0,
            bound,
            tried: Instant::now(),
            lost: 0,
            trouble: None,
        })
    }

    pub(crate) fn push(&mut self, piece: &Piece<'_>) {
        let entry = match &self.remote {
            Remote::Syslog(syslog) => match syslog.encode(piece) {
                Some(entry) => entry,
                None => return,
            },
            Remote::Journald(journal) => journal.encode(piece),
        };
        let bound = match self.bound {
            Some(bound) => bound,
            None if self.connection.is_some() => u64::MAX,
            None => BOUND,
        };
        if !self.entries.is_empty() && (self.bytes + entry.len()) as u64 > bound {
            self.lost += entry.len() as u64;
            return;
        }
        self.bytes += entry.len();
        self.entries.push_back(entry);
    }

    /// Sends what can be sent at once.
    pub(crate) fn flush(&mut self) {
        if self.entries.is_empty() || !self.reconnect() {
            return;
        }
        while let (Some(entry), Some(connection)) = (self.entries.front(), &self.connection) {
            match connection.send(&entry[self.sent..]) {
                Ok(count) if connection.stream && self.sent + count < entry.len() => {
                    self.sent += count;
                }
                Ok(_) => self.drop_front(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN | Errno::NOBUFS) => return,
                Err(Errno::MSGSIZE) => {
                    let whole = match (&self.remote, &connection.socket) {
                        (Remote::Journald(_), socket) => journald::send_as_file(socket, entry),
                        _ => Err(Errno::MSGSIZE.into()),
                    };
                    if let Err(error) = whole {
                        self.lost += entry.len() as u64;
                        self.trouble = Some(error);
                    }
                    self.drop_front();
                }
                Err(error) => {
                    self.disconnect(error.into());
                    return;
                }
            }
        }
        if self.entries.is_empty() {
            // A burst may have grown it.
            self.entries = VecDeque::new();
        }
    }

    /// Gives up what could not be sent.
    pub(crate) fn finish(&mut self) {
        self.flush();
        self.lost += self.bytes as u64;
        self.entries = VecDeque::new();
        self.bytes = 0;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What becomes writable when more can be sent, and the how manieth connection it is.
    pub(crate) fn socket(&self) -> Option<(u64, BorrowedFd<'_>)> {
        let connection = self.connection.as_ref()?;
        Some((self.connections, connection.socket.as_fd()))
    }

    /// Whether the container has to wait. For a service that cannot be reached it does not.
    pub(crate) fn holds_up(&self) -> bool {
        self.bound.is_none() && self.connection.is_some() && self.bytes > HELD_MAX
    }

    pub(crate) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    pub(crate) fn take_trouble(&mut self) -> Option<io::Error> {
        self.trouble.take()
    }

    fn drop_front(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= entry.len();
        }
        self.sent = 0;
    }

    fn disconnect(&mut self, error: io::Error) {
        self.connection = None;
        self.tried = Instant::now();
        // A message that was cut is sent again from its beginning.
        self.sent = 0;
        self.trouble = Some(error);
    }

    /// Sees to it that there is a connection; false while there is none.
    fn reconnect(&mut self) -> bool {
        match &mut self.connection {
            Some(connection) if connection.pending => match connection.outcome() {
                Ok(pending) => {
                    connection.pending = pending;
                    !pending
                }
                Err(error) => {
                    self.disconnect(error);
                    false
                }
            },
            Some(_) => true,
            None if self.tried.elapsed() < RETRY_TIME => false,
            None => {
                self.tried = Instant::now();
                match connect(&self.remote) {
                    Ok(connection) => {
                        let ready = !connection.pending;
                        self.connection = Some(connection);
                        self.connections += 1;
                        ready
                    }
                    Err(error) => {
                        self.trouble = Some(io::Error::other(error));
                        false
                    }
                }
            }
        }
    }
}

impl Connection {
    fn send(&self, bytes: &[u8]) -> Result<usize, Errno> {
        rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL)
    }

    /// Whether a connection is still being made.
    fn outcome(&self) -> io::Result<bool> {
        rustix::net::sockopt::socket_error(&self.socket)??;
        match rustix::net::getpeername(&self.socket) {
            Ok(_) => Ok(false),
            Err(Errno::NOTCONN) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

fn finish_connecting(connection: &mut Connection) -> io::Result<()> {
    let mut wait = [PollFd::new(&connection.socket, PollFlags::OUT)];
    if rustix::event::poll(&mut wait, Some(&CONNECT_TIME))? == 0 {
        return Err(io::Error::from(Errno::TIMEDOUT));
    }
    if connection.outcome()? {
        return Err(io::Error::from(Errno::TIMEDOUT));
    }
    connection.pending = false;
    Ok(())
}

fn connect(remote: &Remote) -> Result<Connection, OpenError> {
    let address = match remote {
        Remote::Journald(journal) => {
            return unix(&journal.socket, SocketType::DGRAM).map_err(|_| OpenError::NoJournal);
        }
        Remote::Syslog(syslog) => &syslog.address,
    };
    let made = match address {
        Address::Local => {
            let kinds = [SocketType::DGRAM, SocketType::STREAM];
            let mut places = kinds
                .iter()
                .flat_map(|kind| LOCAL.map(|path| (path, *kind)));
            return places
                .find_map(|(path, kind)| unix(Path::new(path), kind).ok())
                .ok_or(OpenError::NoSyslog);
        }
        Address::Unix(path) => unix(path, SocketType::STREAM),
        Address::UnixGram(path) => unix(path, SocketType::DGRAM),
        Address::Udp(address) => inet(address, SocketType::DGRAM),
        Address::Tcp(address) => inet(address, SocketType::STREAM),
    };
    made.map_err(|error| connect_error(remote, error))
}

/// Words a failure as Go does, where Docker's text comes from.
fn connect_error(remote: &Remote, source: io::Error) -> OpenError {
    let Remote::Syslog(syslog) = remote else {
        return OpenError::NoJournal;
    };
    let address = match &syslog.address {
        Address::Local => return OpenError::NoSyslog,
        Address::Unix(path) => format!("unix {}", path.display()),
        Address::UnixGram(path) => format!("unixgram {}", path.display()),
        Address::Udp(address) => format!("udp {address}"),
        Address::Tcp(address) => format!("tcp {address}"),
    };
    OpenError::Connect { address, source }
}

fn unix(path: &Path, kind: SocketType) -> io::Result<Connection> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, kind, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(Connection {
        socket,
        stream: kind == SocketType::STREAM,
        pending: false,
    })
}

fn inet(address: &SocketAddr, kind: SocketType) -> io::Result<Connection> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, kind, flags, None)?;
    let pending = match rustix::net::connect(&socket, address) {
        Ok(()) => false,
        Err(Errno::INPROGRESS) => true,
        Err(error) => return Err(error.into()),
    };
    Ok(Connection {
        socket,
        stream: kind == SocketType::STREAM,
        pending,
    })
}
