//! Sends entries to a service, over a socket that never makes its caller wait.
//!
//! What the service does not take at once waits in a queue. When the container is to wait too
//! ([`Queue::holds_up`]), its output is not read while more than [`HELD_MAX`] bytes are there. When it
//! is not, or while the service cannot be reached, what comes beyond the queue's bound is lost and
//! counted. A connection that broke is made anew when there is something to send, once in
//! [`RETRY_TIME`].

mod connection;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustls::ClientConfig;

use self::connection::{CONNECT_TIME, Connection, Stop};
use crate::entry::Piece;
use crate::journald;
use crate::plan::Remote;
use crate::writer::OpenError;

/// Bytes that wait before the container does.
const HELD_MAX: usize = 256 * 1024;
/// Bytes that wait where nothing else was asked for; Docker's bound of its buffer.
const BOUND: u64 = 1 << 20;
/// How long after a failure the connection is tried again.
const RETRY_TIME: Duration = Duration::from_secs(1);

/// The way to a service.
#[derive(Debug)]
pub(crate) struct Queue {
    remote: Remote,
    /// What its TLS is made of.
    security: Option<Arc<ClientConfig>>,
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
    /// Connections tried after the first.
    tries: usize,
    lost: u64,
    trouble: Option<io::Error>,
}

impl Queue {
    pub(crate) fn open(remote: Remote, bound: Option<u64>) -> Result<Self, OpenError> {
        let security = connection::security(&remote)?;
        let connection = connection::open(&remote, security.as_ref())?;
        Ok(Self {
            remote,
            security,
            connection: Some(connection),
            connections: 1,
            entries: VecDeque::new(),
            bytes: 0,
            sent: 0,
            bound,
            tried: Instant::now(),
            tries: 0,
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
            None if self.is_connected() => u64::MAX,
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
        while let (Some(entry), Some(connection)) = (self.entries.front(), &mut self.connection) {
            match connection.send(&entry[self.sent..]) {
                Ok(count) if connection.stream && self.sent + count < entry.len() => {
                    self.sent += count;
                }
                Ok(_) => self.drop_front(),
                Err(Stop::Full) => return,
                Err(Stop::TooLong) => {
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
                Err(Stop::Broken(error)) => {
                    self.disconnect(error);
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
        if let Some(connection) = &mut self.connection {
            connection.close();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What becomes writable when more can be sent, and the how manieth connection it is.
    pub(crate) fn socket(&self) -> Option<(u64, BorrowedFd<'_>)> {
        let connection = self.connection.as_ref()?;
        Some((self.connections, connection.socket.as_fd()))
    }

    /// Whether it is the service that has the word, in a connection that is being made.
    pub(crate) fn listens(&self) -> bool {
        self.connection.as_ref().is_some_and(Connection::listens)
    }

    /// Whether the container has to wait. For a service that cannot be reached it does not.
    pub(crate) fn holds_up(&self) -> bool {
        self.bound.is_none() && self.is_connected() && self.bytes > HELD_MAX
    }

    fn is_connected(&self) -> bool {
        self.connection.as_ref().is_some_and(Connection::is_made)
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
        if self.connection.is_none() {
            if self.tried.elapsed() < RETRY_TIME {
                return false;
            }
            self.tried = Instant::now();
            let place = self.next_place();
            match connection::connect(&self.remote, self.security.as_ref(), place) {
                Ok(connection) => {
                    self.connection = Some(connection);
                    self.connections += 1;
                }
                Err(error) => {
                    self.trouble = Some(io::Error::other(error));
                    return false;
                }
            }
        }
        let Some(connection) = &mut self.connection else {
            return false;
        };
        if connection.is_made() {
            return true;
        }
        let made = match connection.go_on() {
            Ok(false) if self.tried.elapsed() > CONNECT_TIME => Err(Errno::TIMEDOUT.into()),
            made => made,
        };
        made.unwrap_or_else(|error| {
            self.disconnect(error);
            false
        })
    }

    /// Which of the service's addresses is tried now: each in turn.
    fn next_place(&mut self) -> usize {
        self.tries += 1;
        match &self.remote {
            Remote::Syslog(syslog) => self.tries % syslog.sockets.len().max(1),
            Remote::Journald(_) => 0,
        }
    }
}
