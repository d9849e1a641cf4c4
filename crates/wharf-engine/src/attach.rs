//! Connecting clients to a container's first process.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rustix::net::SendFlags;
use wharf_shim::Shim;
use wharf_shim::protocol::{Client, Request, Target};
use wharf_wire as wire;

use crate::container::{Container, Live, refuse};
use crate::error::Error;
use crate::inner::Inner;
use crate::start::WAITING_MAX;
use crate::state::{Denied, State};
use crate::streams::Attachment;

impl Inner {
    /// See [`crate::Engine::attach`].
    pub(crate) async fn attach(
        self: &Arc<Self>,
        container: &Arc<Container>,
        query: &wire::AttachQuery,
    ) -> Result<Attachment, Error> {
        let (ours, theirs) = pair()?;
        self.attach_socket(container, query, theirs.into(), |_| Vec::new())
            .await?;
        attachment(ours, container.tty())
    }

    /// See [`crate::Engine::attach_socket`].
    pub(crate) async fn attach_socket(
        self: &Arc<Self>,
        container: &Arc<Container>,
        query: &wire::AttachQuery,
        socket: OwnedFd,
        head: impl FnOnce(bool) -> Vec<u8> + Send,
    ) -> Result<bool, Error> {
        let tty = container.tty();
        let client = Client {
            stdin: query.stdin && query.stream && container.definition.config.open_stdin,
            stdout: query.stdout && query.stream,
            stderr: query.stderr && query.stream,
            detach_keys: detach_keys(&query.detach_keys)?,
            held: false,
        };
        if query.logs {
            let wanted = wire::LogsQuery {
                stdout: query.stdout,
                stderr: query.stderr,
                ..Default::default()
            };
            let log = self.follow_log(container, &wanted)?;
            if query.stream {
                self.settled(container).await;
                way(container, &container.live())?;
            }
            write_all(&socket, &head(tty))?;
            self.tell(container, "attach");
            let client = query.stream.then_some(client);
            let (inner, replayed) = (Arc::clone(self), Arc::clone(container));
            // The client may read it only when it has its answer.
            tokio::spawn(async move {
                if let Err(error) = inner.replay(&replayed, log, client, socket).await {
                    tracing::debug!(container.id = %replayed.id(), %error, "a client got no more");
                }
            });
        } else {
            let write_head = |socket: &OwnedFd| write_all(socket, &head(tty));
            self.connect(container, client, socket, query.stream, write_head)
                .await?;
        }
        Ok(tty)
    }

    /// Gives a socket to the shim, or keeps it for the start. The head is written while the
    /// container can neither start nor end.
    async fn connect(
        &self,
        container: &Arc<Container>,
        client: Client,
        socket: OwnedFd,
        stream: bool,
        write_head: impl FnOnce(&OwnedFd) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.settled(container).await;
        let shim = {
            let mut live = container.live();
            let shim = way(container, &live)?;
            write_head(&socket)?;
            // Before the client can leave again.
            self.tell(container, "attach");
            match shim {
                _ if !stream => return Ok(()),
                Some(shim) => shim,
                None => {
                    live.waiting.push((socket, client));
                    return Ok(());
                }
            }
        };
        let request = Request::Attach(Target::Container, client);
        match shim.request(request, vec![socket]).await {
            // It has just ended: the client sees the end of its stream, which is what there is.
            Ok(_) | Err(wharf_shim::RequestError::Gone | wharf_shim::RequestError::Refused(_)) => {
                Ok(())
            }
            Err(error) => Err(Error::internal("cannot attach", error)),
        }
    }
}

/// Whom a client is to be given to: the shim, or, without one, whoever starts the container next.
pub(crate) fn way(container: &Container, live: &Live) -> Result<Option<Shim>, Error> {
    match &container.status().state {
        State::Running(_) => match &live.shim {
            Some(shim) => Ok(Some(shim.clone())),
            None => Err(refuse(container, Denied::NotRunning)),
        },
        State::Paused(_) => {
            let id = container.id();
            Err(Error::conflict(format!(
                "container {id} is paused, unpause the container before attach"
            )))
        }
        State::Created(_) | State::Exited(_) | State::Starting(_) | State::Restarting(_)
            if live.waiting.len() >= WAITING_MAX =>
        {
            Err(Error::conflict("too many clients wait for the container"))
        }
        State::Created(_) | State::Exited(_) | State::Starting(_) | State::Restarting(_) => {
            Ok(None)
        }
        State::Dead(_) => Err(refuse(container, Denied::Dead)),
        _ => Err(refuse(container, Denied::Removing)),
    }
}

pub(crate) fn socket_error(error: std::io::Error) -> Error {
    Error::internal("cannot connect the client", error)
}

pub(crate) fn pair() -> Result<(UnixStream, UnixStream), Error> {
    UnixStream::pair().map_err(socket_error)
}

pub(crate) fn attachment(socket: UnixStream, tty: bool) -> Result<Attachment, Error> {
    socket.set_nonblocking(true).map_err(socket_error)?;
    let socket = tokio::net::UnixStream::from_std(socket).map_err(socket_error)?;
    Ok(Attachment { tty, socket })
}

/// Writes a few bytes to a fresh socket, which has room for them.
fn write_all(socket: &OwnedFd, mut bytes: &[u8]) -> Result<(), Error> {
    while !bytes.is_empty() {
        match rustix::net::send(socket, bytes, SendFlags::NOSIGNAL) {
            Ok(count) => bytes = &bytes[count..],
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(socket_error(error.into())),
        }
    }
    Ok(())
}

/// Reads `ctrl-p,ctrl-q`, Docker's default when nothing is given.
pub(crate) fn detach_keys(text: &str) -> Result<Vec<u8>, Error> {
    const DEFAULT: [u8; 2] = [16, 17];
    if text.is_empty() {
        return Ok(DEFAULT.to_vec());
    }
    let key = |word: &str| {
        let invalid = || Error::invalid(format!("Invalid detach keys ({text}) provided"));
        let byte = |word: &str| match word.as_bytes() {
            [byte] => Some(*byte),
            _ => None,
        };
        let Some(control) = word.strip_prefix("ctrl-") else {
            return byte(word).ok_or_else(invalid);
        };
        match byte(control) {
            Some(letter @ b'a'..=b'z') => Ok(letter - b'a' + 1),
            Some(b'@') => Ok(0),
            Some(b'[') => Ok(27),
            Some(b'\\') => Ok(28),
            Some(b']') => Ok(29),
            Some(b'^') => Ok(30),
            Some(b'_') => Ok(31),
            _ => Err(invalid()),
        }
    };
    text.split(',').map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detach_keys_as_docker_writes_them() {
        let keys = |text| detach_keys(text).map_err(|error| error.to_string());
        assert_eq!(keys(""), Ok(vec![16, 17]));
        assert_eq!(keys("ctrl-a,x,ctrl-]"), Ok(vec![1, b'x', 29]));
        assert_eq!(
            keys("ctrl-A"),
            Err("Invalid detach keys (ctrl-A) provided".to_owned())
        );
        assert!(keys("ctrl-,x").is_err() && keys("xx").is_err());
    }
}
