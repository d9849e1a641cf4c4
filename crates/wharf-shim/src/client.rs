//! A connection to a shim, the engine's side.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

use crate::connection::{Connection, Received};
use crate::protocol::{Answer, Call, Failure, Message, Notice, Request, Status, UNHEARD};
use crate::{Idle, socket};

/// A connection to a shim. Cheap to clone; the connection ends with the shim, or with the runtime
/// that polls it.
#[derive(Debug, Clone)]
pub struct Shim {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// The same socket as the connection's: tells when to use it.
    readiness: UnixStream,
    connection: Mutex<Connection>,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    /// `None` once the connection has ended.
    answers: Option<HashMap<u64, oneshot::Sender<Result<Answer, Failure>>>>,
}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The shim says why.
    #[error(transparent)]
    Refused(#[from] Failure),
    /// The shim has gone.
    #[error("the container's shim has ended")]
    Gone,
    /// The message could not be sent.
    #[error("cannot reach the container's shim")]
    Send(#[source] io::Error),
}

/// What a shim says unasked; ends when the shim has gone.
pub type Notices = mpsc::UnboundedReceiver<Notice>;

impl Shim {
    /// Connects to the shim that listens in `directory`, and asks what it has. Waits for the
    /// answer, so that an engine can look at many before it serves anybody.
    ///
    /// # Errors
    /// What connect(2) says: none listens there any more. Or the shim does not answer in time.
    pub fn connect(directory: &Path) -> io::Result<(Self, Notices, Status)> {
        let mut connection = Connection::new(socket::connect(directory)?.into())?;
        let status = ask_status(&mut connection)?;
        let (shim, notices) = Self::start(connection, None)?;
        Ok((shim, notices, status))
    }

    /// Takes over an idle shim.
    ///
    /// # Errors
    /// The socket cannot be polled.
    pub fn adopt(idle: Idle) -> io::Result<(Self, Notices)> {
        Self::start(idle.connection, Some(idle.process))
    }

    fn start(connection: Connection, process: Option<OwnedFd>) -> io::Result<(Self, Notices)> {
        let socket = connection.as_fd().try_clone_to_owned()?;
        let readiness = std::os::unix::net::UnixStream::from(socket);
        let connection = Mutex::new(connection);
        let shared = Arc::new(Shared {
            readiness: UnixStream::from_std(readiness)?,
            connection,
            waiting: Mutex::new(Waiting {
                next: UNHEARD + 1,
                answers: Some(HashMap::new()),
            }),
        });
        let (notices, receiver) = mpsc::unbounded_channel();
        let reader = Arc::clone(&shared);
        tokio::spawn(async move {
            while reader.receive(&notices).await {}
            reader.waiting().answers = None;
            drop((reader, notices));
            if let Some(process) = process {
                // The shim may live on for a client that reads slowly; it is reaped when it ends.
                let reap = move || crate::spawner::reap(process.as_fd());
                drop(tokio::task::spawn_blocking(reap).await);
            }
        });
        Ok((Self { shared }, receiver))
    }

    /// Asks the shim for something whose answer nobody waits for.
    ///
    /// # Errors
    /// What sending the message returns.
    pub fn tell(&self, request: Request) -> Result<(), RequestError> {
        let call = Call {
            id: UNHEARD,
            request,
        };
        // What the socket does not take at once goes with the next request.
        let sent = self.shared.connection().send(&call, Vec::new());
        sent.map_err(send_error)
    }

    /// Ends a shim that has no container; returns when it has undone what it had begun.
    pub async fn dismiss(self, mut notices: Notices) {
        let socket = self.shared.connection().as_fd().try_clone_to_owned();
        // Without a connection there is nobody left to end.
        if let Ok(socket) = socket
            && rustix::net::shutdown(&socket, rustix::net::Shutdown::Write).is_ok()
        {
            while notices.recv().await.is_some() {}
        }
    }

    /// Asks the shim and waits for its answer.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn request(
        &self,
        request: Request,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Answer, RequestError> {
        let (sender, receiver) = oneshot::channel();
        let id = {
            let mut waiting = self.shared.waiting();
            let id = waiting.next;
            waiting.next += 1;
            let answers = waiting.answers.as_mut().ok_or(RequestError::Gone)?;
            answers.insert(id, sender);
            id
        };
        let call = Call { id, request };
        let sent = self.shared.connection().send(&call, descriptors);
        sent.map_err(send_error)?;
        self.shared.finish_sending().await?;
        receiver
            .await
            .map_err(|_| RequestError::Gone)?
            .map_err(RequestError::Refused)
    }
}

/// A shim that has ended since its last word is no failure of the connection.
fn send_error(error: io::Error) -> RequestError {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => RequestError::Gone,
        _ => RequestError::Send(error),
    }
}

/// How long a shim may take to tell its status; it answers at once unless it is being stopped.
const STATUS_TIME: Duration = Duration::from_secs(2);

fn ask_status(connection: &mut Connection) -> io::Result<Status> {
    let call = Call {
        // What comes first on this connection is its answer.
        id: UNHEARD,
        request: Request::Status,
    };
    connection.send(&call, Vec::new())?;
    let timeout = rustix::event::Timespec {
        tv_sec: i64::try_from(STATUS_TIME.as_secs()).map_err(io::Error::other)?,
        tv_nsec: 0,
    };
    loop {
        let mut wait = [PollFd::new(connection, PollFlags::IN)];
        if rustix::event::poll(&mut wait, Some(&timeout))? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if connection.receive()? == Received::End {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while let Some((message, _)) = connection.next_message::<Message>()? {
            match message {
                Message::Answer {
                    result: Ok(Answer::Status(status)),
                    ..
                } => return Ok(status),
                Message::Answer { result, .. } => {
                    return Err(io::Error::other(format!("unexpected answer {result:?}")));
                }
                // What happens at this moment shows in the exit status.
                Message::Notice(_) => {}
            }
        }
    }
}

impl Shared {
    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what the socket did not take at once.
    async fn finish_sending(&self) -> Result<(), RequestError> {
        while !self.connection().is_flushed() {
            let ready = self.readiness.writable().await;
            ready.map_err(send_error)?;
            let flush = || {
                let mut connection = self.connection();
                connection.flush()?;
                connection
                    .is_flushed()
                    .then_some(())
                    .ok_or(io::ErrorKind::WouldBlock.into())
            };
            match self.readiness.try_io(Interest::WRITABLE, flush) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    return Err(send_error(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads once and hands on what came; false at the connection's end.
    async fn receive(&self, notices: &mpsc::UnboundedSender<Notice>) -> bool {
        if self.readiness.readable().await.is_err() {
            return false;
        }
        let receive = || match self.connection().receive()? {
            Received::Nothing => Err(io::ErrorKind::WouldBlock.into()),
            other => Ok(other),
        };
        match self.readiness.try_io(Interest::READABLE, receive) {
            Ok(Received::Some) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
            Ok(_) | Err(_) => return false,
        }
        loop {
            let message = self.connection().next_message();
            match message {
                Ok(Some((message, _))) => self.deliver(message, notices),
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    fn deliver(&self, message: Message, notices: &mpsc::UnboundedSender<Notice>) {
        match message {
            // Whoever waited may have stopped waiting.
            Message::Answer { id, result } => {
                let sender = self.waiting().answers.as_mut().and_then(|a| a.remove(&id));
                drop(sender.map(|sender| sender.send(result)));
            }
            Message::Notice(notice) => drop(notices.send(notice)),
        }
    }
}
