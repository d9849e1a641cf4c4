//! A connection to a service: a socket, and TLS in it where that is asked for.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use rustls::{ClientConfig, ClientConnection};

use crate::plan::Remote;
use crate::syslog::{Address, Syslog};
use crate::tls;
use crate::writer::OpenError;

/// How long a connection may take to be made.
pub(super) const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Where the machine's own syslog daemon may listen.
const LOCAL: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) socket: OwnedFd,
    /// Messages have no bounds in it.
    pub(super) stream: bool,
    made: Made,
    tls: Option<Box<ClientConnection>>,
    /// TLS has an entry that has not gone yet.
    handed_over: bool,
}

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Made {
    /// The other side has not accepted it.
    No,
    /// The two have not agreed on how to speak TLS.
    Connected,
    Yes,
}

/// Why nothing more was sent.
#[derive(Debug)]
pub(super) enum Stop {
    /// The socket takes no more at the moment.
    Full,
    /// It takes no message of that length.
    TooLong,
    /// It is of no use any more.
    Broken(io::Error),
}

/// What TLS needs beyond its plan.
pub(super) fn security(remote: &Remote) -> Result<Option<Arc<ClientConfig>>, OpenError> {
    match remote {
        Remote::Syslog(Syslog {
            address: Address::Tls(_, tls),
            ..
        }) => Ok(Some(tls.open()?)),
        _ => Ok(None),
    }
}

impl Connection {
    /// Sends a part of an entry; returns how much of it has gone.
    ///
    /// With TLS it is all or nothing: what was handed over and has not gone yet goes first at the next
    /// call, for which the same bytes are given again.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<usize, Stop> {
        if self.tls.is_some() {
            return self.send_secured(bytes);
        }
        loop {
            match rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL) {
                Ok(count) => return Ok(count),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN | Errno::NOBUFS) => return Err(Stop::Full),
                Err(Errno::MSGSIZE) => return Err(Stop::TooLong),
                Err(error) => return Err(Stop::Broken(error.into())),
            }
        }
    }

    fn send_secured(&mut self, bytes: &[u8]) -> Result<usize, Stop> {
        let Self {
            socket,
            tls,
            handed_over,
            ..
        } = self;
        let Some(tls) = tls else { return Ok(0) };
        let mut wire = Wire(socket.as_fd());
        // Tickets and the end of the connection come unasked.
        listen(tls, &mut wire).map_err(Stop::Broken)?;
        if !*handed_over {
            let taken = io::Write::write_all(&mut tls.writer(), bytes);
            taken.map_err(Stop::Broken)?;
            *handed_over = true;
        }
        if !write_all(tls, &mut wire).map_err(Stop::Broken)? {
            return Err(Stop::Full);
        }
        *handed_over = false;
        Ok(bytes.len())
    }

    /// Tells the other side that nothing more comes, where there are words for it.
    pub(super) fn close(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            // The socket is closed in any case, which says the same less politely.
            write_all(tls, &mut Wire(self.socket.as_fd())).ok();
        }
    }

    /// Goes on with making the connection; whether it is made.
    pub(super) fn go_on(&mut self) -> io::Result<bool> {
        if self.made == Made::No {
            rustix::net::sockopt::socket_error(&self.socket)??;
            match rustix::net::getpeername(&self.socket) {
                Ok(_) => self.made = Made::Connected,
                Err(Errno::NOTCONN) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        let Some(tls) = &mut self.tls else {
            self.made = Made::Yes;
            return Ok(true);
        };
        let mut wire = Wire(self.socket.as_fd());
        let mut sent = true;
        while sent && tls.is_handshaking() {
            sent = write_all(tls, &mut wire)?;
            if !listen(tls, &mut wire)? {
                break;
            }
        }
        // The last message of the handshake is ours.
        if !tls.is_handshaking() && write_all(tls, &mut wire)? {
            self.made = Made::Yes;
        }
        Ok(self.is_made())
    }

    pub(super) fn is_made(&self) -> bool {
        self.made == Made::Yes
    }

    /// Whether the other side has the word.
    pub(super) fn listens(&self) -> bool {
        let waits = |tls: &ClientConnection| !tls.wants_write();
        self.made == Made::Connected && self.tls.as_deref().is_some_and(waits)
    }

    /// Waits until the connection is made.
    fn finish(&mut self) -> io::Result<()> {
        let end = Instant::now() + CONNECT_TIME;
        while !self.go_on()? {
            let flag = match self.listens() {
                true => PollFlags::IN,
                false => PollFlags::OUT,
            };
            let left = end.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).expect("some seconds");
            if rustix::event::poll(&mut [PollFd::new(&self.socket, flag)], Some(&left))? == 0 {
                return Err(io::Error::from(Errno::TIMEDOUT));
            }
        }
        Ok(())
    }
}

/// A socket as TLS reads and writes it.
struct Wire<'a>(BorrowedFd<'a>);

impl io::Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (count, _) = rustix::net::recv(self.0, buffer, RecvFlags::empty())?;
        Ok(count)
    }
}

impl io::Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(self.0, bytes, SendFlags::NOSIGNAL)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes what TLS has for the other side; whether all of it has gone.
fn write_all(tls: &mut ClientConnection, wire: &mut Wire<'_>) -> io::Result<bool> {
    while tls.wants_write() {
        match tls.write_tls(wire) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Takes what the other side has said; whether it has said anything.
fn listen(tls: &mut ClientConnection, wire: &mut Wire<'_>) -> io::Result<bool> {
    let mut heard = false;
    loop {
        match tls.read_tls(wire) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => heard = true,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(heard),
            Err(error) => return Err(error),
        }
        let state = tls.process_new_packets().map_err(io::Error::other)?;
        if state.peer_has_closed() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // A syslog daemon has nothing to say.
        let said = state.plaintext_bytes_to_read() as u64;
        io::copy(&mut io::Read::take(tls.reader(), said), &mut io::sink())?;
    }
}

/// Connects to a service for the first time, at the first of its addresses that answers.
pub(super) fn open(
    remote: &Remote,
    config: Option<&Arc<ClientConfig>>,
) -> Result<Connection, OpenError> {
    let places = match remote {
        Remote::Syslog(syslog) => syslog.sockets.len().max(1),
        Remote::Journald(_) => 1,
    };
    let mut outcome = Err(OpenError::NoSyslog);
    for place in 0..places {
        outcome = connect(remote, config, place).and_then(|mut connection| {
            let finished = connection.finish();
            finished.map_err(|error| connect_error(remote, place, error))?;
            Ok(connection)
        });
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// Begins to connect to a service, at one of its addresses.
pub(super) fn connect(
    remote: &Remote,
    config: Option<&Arc<ClientConfig>>,
    place: usize,
) -> Result<Connection, OpenError> {
    let syslog = match remote {
        Remote::Journald(journal) => {
            return unix(&journal.socket, SocketType::DGRAM).map_err(|_| OpenError::NoJournal);
        }
        Remote::Syslog(syslog) => syslog,
    };
    let made = match &syslog.address {
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
        Address::Udp(_) => inet(syslog, place, SocketType::DGRAM),
        Address::Tcp(_) | Address::Tls(..) => inet(syslog, place, SocketType::STREAM),
    };
    let mut made = made.map_err(|error| connect_error(remote, place, error))?;
    if let (Address::Tls(host, _), Some(config)) = (&syslog.address, config) {
        made.tls = Some(Box::new(tls::begin(Arc::clone(config), &host.name)?));
        made.made = Made::No;
    }
    Ok(made)
}

/// Words a failure as Go does, where Docker's text comes from.
fn connect_error(remote: &Remote, place: usize, source: io::Error) -> OpenError {
    let Remote::Syslog(syslog) = remote else {
        return OpenError::NoJournal;
    };
    let socket = syslog.sockets.get(place);
    let socket = socket.map_or_else(String::new, SocketAddr::to_string);
    let address = match &syslog.address {
        Address::Local => return OpenError::NoSyslog,
        Address::Unix(path) => format!("unix {}", path.display()),
        Address::UnixGram(path) => format!("unixgram {}", path.display()),
        Address::Udp(_) => format!("udp {socket}"),
        Address::Tcp(_) => format!("tcp {socket}"),
        // What TLS says of the other side has its own words.
        Address::Tls(..) if source.raw_os_error().is_none() => return OpenError::Secure(source),
        Address::Tls(..) => format!("tcp {socket}"),
    };
    OpenError::Connect { address, source }
}

fn unix(path: &Path, kind: SocketType) -> io::Result<Connection> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, kind, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(Connection::new(socket, kind, Made::Yes))
}

fn inet(syslog: &Syslog, place: usize, kind: SocketType) -> io::Result<Connection> {
    let address = syslog.sockets.get(place).ok_or(Errno::ADDRNOTAVAIL)?;
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, kind, flags, None)?;
    let made = match rustix::net::connect(&socket, address) {
        Ok(()) => Made::Yes,
        Err(Errno::INPROGRESS) => Made::No,
        Err(error) => return Err(error.into()),
    };
    Ok(Connection::new(socket, kind, made))
}

impl Connection {
    fn new(socket: OwnedFd, kind: SocketType, made: Made) -> Self {
        Self {
            socket,
            stream: kind == SocketType::STREAM,
            made,
            tls: None,
            handed_over: false,
        }
    }
}
