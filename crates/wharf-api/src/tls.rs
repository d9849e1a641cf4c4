//! TLS in front of the API.
//!
//! What a connection says in the clear goes through a pair of sockets, so that all else has a socket to work with,
//! the shim that takes a connection over too. The bytes still pass through here: such a connection ends with the
//! engine.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::client::Client;

/// Longest time a handshake may take.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// Bytes copied at a time: what one record holds.
const RECORD: usize = 16 * 1024;

/// Why there is no TLS.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A certificate or key is not PEM.
    #[error("{0} cannot be read")]
    Pem(&'static str, #[source] rustls::pki_types::pem::Error),
    /// There is no certificate where there should be one.
    #[error("{0} has no certificate in it")]
    Empty(&'static str),
    /// Certificates of authorities that are none.
    #[error("clients could not be verified")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
    /// Certificate and key do not fit, or are of no use.
    #[error("the certificate or its key cannot be used")]
    Unusable(#[from] rustls::Error),
}

/// The engine's side of TLS.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

impl std::fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Tls")
    }
}

impl Tls {
    /// Takes the engine's certificate chain and key, and the certificates of those who sign for clients; without
    /// these, any client may connect. All are PEM.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(
        certificate: &[u8],
        key: &[u8],
        client_authority: Option<&[u8]>,
    ) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = certificates("the certificate", certificate)?;
        let key =
            PrivateKeyDer::from_pem_slice(key).map_err(|error| TlsError::Pem("the key", error))?;
        let config = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let config = match client_authority {
            None => config.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates("the authority's certificate", authority)? {
                    roots.add(certificate)?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                config.with_client_cert_verifier(verifier.build().map_err(TlsError::Verifier)?)
            }
        };
        let mut config = config.with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Arc::new(config).into()))
    }

    /// Shakes hands; returns the connection in the clear, and what carries it there.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<(Client, Carrier)> {
        let wire = Client::from(stream);
        let handshake = tokio::time::timeout(HANDSHAKE_TIME, self.0.accept(wire.clone()));
        let tls = handshake
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let (near, far) = UnixStream::pair()?;
        Ok((near.into(), Carrier { wire, tls, far }))
    }
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read.map_err(|error| TlsError::Pem(what, error))? {
        none if none.is_empty() => Err(TlsError::Empty(what)),
        some => Ok(some),
    }
}

/// Carries bytes between a client and the end of a connection that is in the clear.
pub(crate) struct Carrier {
    wire: Client,
    tls: TlsStream<Client>,
    far: UnixStream,
}

impl Carrier {
    /// Carries until the engine's side has said all it has to say, or the client is gone. A client that ends its
    /// sending side, as TLS can, still hears the rest.
    pub(crate) async fn carry(self) -> io::Result<()> {
        let Self { mut wire, tls, far } = self;
        let (mut from_client, mut to_client) = tokio::io::split(tls);
        let (mut from_engine, mut to_engine) = far.into_split();
        let inbound = async {
            let mut piece = vec![0; RECORD];
            loop {
                match from_client.read(&mut piece).await? {
                    0 => break,
                    length => to_engine.write_all(&piece[..length]).await?,
                }
            }
            to_engine.shutdown().await?;
            // TLS has its own way to end a side: the end of the socket is the end of the client.
            while wire.read(&mut piece).await? > 0 {}
            Err(io::Error::from(io::ErrorKind::ConnectionReset))
        };
        let outbound = async {
            let mut piece = vec![0; RECORD];
            loop {
                match from_engine.read(&mut piece).await? {
                    0 => break,
                    length => to_client.write_all(&piece[..length]).await?,
                }
                to_client.flush().await?;
            }
            to_client.shutdown().await
        };
        tokio::select! {
            result = outbound => result,
            result = inbound => result,
        }
    }
}
