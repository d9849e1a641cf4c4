//! Attaching with the log: what is on record first, then what comes, with no gap and nothing twice.
//!
//! 1. The log is written to the client's connection as far as it goes.
//! 2. The shim takes the connection, holds the client's output back, and says where the log ends.
//! 3. What came between 1 and 2 is written, up to there, and the shim lets the client go on.
//!
//! The container's output waits during 3 only, which is short because 1 was not. For a container that
//! does not run, the log is whole before the connection waits for the start.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use wharf_shim::Shim;
use wharf_shim::protocol::{Answer, Client, Request, Target};

use super::Follower;
use crate::attach::{socket_error, way};
use crate::container::Container;
use crate::error::Error;
use crate::inner::Inner;

impl Inner {
    /// Writes the log to a client's connection and, if `client` is given, connects it.
    pub(crate) async fn replay(
        &self,
        container: &Arc<Container>,
        mut log: Follower,
        client: Option<Client>,
        socket: OwnedFd,
    ) -> Result<(), Error> {
        rustix::io::ioctl_fionbio(&socket, true).map_err(|error| socket_error(error.into()))?;
        let ours = socket.try_clone().map_err(socket_error)?;
        let ours = std::os::unix::net::UnixStream::from(ours);
        let mut ours = UnixStream::from_std(ours).map_err(socket_error)?;
        let Some(client) = client else {
            return copy(&mut log, &mut ours).await;
        };
        let mut waiting = Some((socket, client));
        let run = running(container);
        loop {
            // Looked at before the log: what is written between the two is read.
            let ended = run.is_some() && running(container) != run;
            copy(&mut log, &mut ours).await?;
            if ended {
                return Ok(());
            }
            self.settled(container).await;
            if run.is_some() && running(container) != run {
                continue;
            }
            match next(container, &mut log, &mut waiting)? {
                Next::Running(shim) => {
                    let client = waiting.map(|(_, client)| client).unwrap_or_default();
                    return self.hand_over(shim, log, client, ours).await;
                }
                Next::More(rest) => ours.write_all(&rest).await.map_err(socket_error)?,
                Next::Waits => return Ok(()),
            }
        }
    }

    async fn hand_over(
        &self,
        shim: Shim,
        mut log: Follower,
        client: Client,
        mut socket: UnixStream,
    ) -> Result<(), Error> {
        let theirs = socket.as_fd().try_clone_to_owned().map_err(socket_error)?;
        let held = Client {
            held: true,
            ..client
        };
        let request = Request::Attach(Target::Container, held);
        match shim.request(request, vec![theirs]).await {
            Ok(Answer::Held {
                client,
                log: Some(end),
            }) => {
                log.end_at(end);
                let copied = copy(&mut log, &mut socket).await;
                let released =
                    shim.request(Request::Release(Target::Container, client), Vec::new());
                released
                    .await
                    .map_err(|error| Error::internal("cannot attach", error))?;
                copied
            }
            // It has just ended: the log has all of it.
            Err(wharf_shim::RequestError::Gone | wharf_shim::RequestError::Refused(_)) => {
                copy(&mut log, &mut socket).await
            }
            Ok(_) => Err(Error::internal(
                "cannot attach",
                crate::start::UnexpectedAnswer,
            )),
            Err(error) => Err(Error::internal("cannot attach", error)),
        }
    }
}

/// Which of its runs a container is in.
fn running(container: &Container) -> Option<u64> {
    let status = container.status();
    status.state.running().map(|_| status.run)
}

/// What is to be done with a client that has the log so far.
enum Next {
    /// The container's shim takes it over.
    Running(Shim),
    /// There is more.
    More(Vec<u8>),
    /// It waits for the start.
    Waits,
}

/// Has a client wait for the start if there is nothing else to do with it. The log is looked at once
/// more while nobody can take those who wait.
fn next(
    container: &Container,
    log: &mut Follower,
    client: &mut Option<(OwnedFd, Client)>,
) -> Result<Next, Error> {
    let mut live = container.live();
    if let Some(shim) = way(container, &live)? {
        return Ok(Next::Running(shim));
    }
    let rest = log.read_now().map_err(log_error)?;
    if !rest.is_empty() {
        return Ok(Next::More(rest));
    }
    live.waiting.extend(client.take());
    Ok(Next::Waits)
}

fn log_error(error: std::io::Error) -> Error {
    Error::internal("cannot read the log", error)
}

async fn copy(log: &mut Follower, socket: &mut UnixStream) -> Result<(), Error> {
    while let Some(chunk) = log.next().await.map_err(log_error)? {
        socket.write_all(&chunk).await.map_err(socket_error)?;
    }
    Ok(())
}
