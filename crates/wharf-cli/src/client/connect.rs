//! Connections to an engine: a socket, a host and port, perhaps secured, or another machine's shell.

mod ssh;
mod tls;

pub(crate) use tls::TlsError;

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::ClientError;
use crate::program::Program;
use crate::settings::{Address, Host};

/// A connection, however it was made.
pub(crate) trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection for S {}

/// Connects to an engine; starts the one that nobody chose and that does not run.
pub(crate) async fn dial(
    host: &Host,
    program: Program,
) -> Result<Box<dyn Connection>, ClientError> {
    let failed = |source| ClientError::connect(program, &host.address, source);
    match &host.address {
        Address::Unix(path) => match UnixStream::connect(path).await {
            Err(error) if !host.chosen && nobody_listens(&error) => {
                let stream = crate::launch::engine(path)
                    .await
                    .map_err(|source| ClientError::Launch { source })?;
                Ok(Box::new(stream))
            }
            other => Ok(Box::new(other.map_err(failed)?)),
        },
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address.socket).await.map_err(failed)?;
            // Keystrokes are small and wait for nobody.
            stream.set_nodelay(true).map_err(failed)?;
            match &host.tls {
                None => Ok(Box::new(stream)),
                Some(tls) => Ok(Box::new(tls::secure(stream, &address.name, tls).await?)),
            }
        }
        Address::Ssh(address) => Ok(Box::new(ssh::connect(address)?)),
    }
}

/// Whether a failed connection means that no engine runs.
pub(crate) fn nobody_listens(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}
