//! TLS, from files that may change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::watched::{self, Watched};

/// Longest time a handshake may take.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// Longest file of certificates, in bytes.
const MAX_PEM: u64 = 1024 * 1024;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not PEM, or has not in it what it should.
    #[error("{path} has no {what} in it", path = path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// Clients' authorities that are none.
    #[error("clients could not be verified")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
    /// Certificate and key do not fit, or are of no use.
    #[error("the certificate and its key cannot be used")]
    Unusable(#[from] rustls::Error),
}

/// What TLS is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, and those between it and its authority, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// Who signs for clients, PEM; without it clients need no certificate.
    pub client_authority: Option<PathBuf>,
    /// Whether TLS 1.2 is refused.
    pub only_newest: bool,
}

/// The server's side of TLS.
#[derive(Debug)]
pub struct Tls {
    config: Watched<ServerConfig, TlsError>,
}

impl Tls {
    /// Reads the files, now and when they change.
    ///
    /// # Errors
    /// They cannot be read or used; of a later change, that is said in the log.
    pub fn new(files: TlsFiles) -> Result<Self, TlsError> {
        let watched = [&files.certificate, &files.key];
        let watched = watched.into_iter().chain(&files.client_authority);
        let config = Watched::new(watched.cloned().collect(), move || load(&files))?;
        Ok(Self { config })
    }

    /// Shakes hands.
    pub(crate) async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        let acceptor = TlsAcceptor::from(self.config.get());
        tokio::time::timeout(HANDSHAKE_TIME, acceptor.accept(stream))
            .await
            .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))?
    }
}

fn load(files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    static NEWEST: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = certificates(&files.certificate)?;
    let pem = read(&files.key)?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| TlsError::Pem {
        path: files.key.clone(),
        what: "private key",
    })?;
    let versions = if files.only_newest {
        &NEWEST[..]
    } else {
        rustls::DEFAULT_VERSIONS
    };
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)?;
    let config = match &files.client_authority {
        None => config.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            config.with_client_cert_verifier(verifier.build().map_err(TlsError::Verifier)?)
        }
    };
    let mut config = config.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(path)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = read.ok().filter(|found| !found.is_empty());
    found.ok_or_else(|| TlsError::Pem {
        path: path.to_owned(),
        what: "certificate",
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    watched::read(path, MAX_PEM).map_err(|source| TlsError::Read {
        path: path.to_owned(),
        source,
    })
}
