//! TLS to a syslog daemon: who it has to be, and who this is.
//!
//! As Docker's `tlsconfig` has it: the machine's own authorities count beside the one that is named.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use serde::{Deserialize, Serialize};

/// Where distributions keep the certificates of the authorities they trust; the first that is there
/// counts, as with Go.
const AUTHORITIES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// How TLS is spoken with a syslog daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// The authority's certificates.
    pub authority: Option<PathBuf>,
    /// The own certificate and its chain.
    pub certificate: Option<PathBuf>,
    /// The key of the own certificate.
    pub key: Option<PathBuf>,
    /// Whether any certificate will do.
    pub unverified: bool,
}

/// What is wrong with certificates or keys, in the words of Docker's `tlsconfig`.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The authority's file.
    #[error("could not read CA certificate {path:?}")]
    Authority {
        /// Where it should be.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nothing in it.
    #[error("failed to append certificates from PEM file: {0:?}")]
    NoAuthority(PathBuf),
    /// The own certificate or its key.
    #[error("could not load X509 key pair: open {}", path.display())]
    File {
        /// Where it should be.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is in them.
    #[error("could not load X509 key pair: {0}")]
    Pem(rustls::pki_types::pem::Error),
    /// One of them without the other.
    #[error("could not load X509 key pair: a certificate and its key belong together")]
    Half,
    /// The host's name.
    #[error("{0:?} is no name that a certificate could have")]
    Name(String),
    /// TLS itself.
    #[error(transparent)]
    Setup(#[from] rustls::Error),
}

impl Tls {
    /// Reads the files; what is made of them serves every connection.
    pub(crate) fn open(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = if self.unverified {
            let anybody = Arc::new(Anybody(provider));
            builder
                .dangerous()
                .with_custom_certificate_verifier(anybody)
        } else {
            builder.with_root_certificates(roots(self.authority.as_deref())?)
        };
        let config = match (&self.certificate, &self.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(certificate), Some(key)) => {
                let chain = CertificateDer::pem_slice_iter(&read(certificate)?)
                    .collect::<Result<_, _>>()
                    .map_err(TlsError::Pem)?;
                let key = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(TlsError::Pem)?;
                builder.with_client_auth_cert(chain, key)?
            }
            _ => return Err(TlsError::Half),
        };
        Ok(Arc::new(config))
    }
}

/// Begins to speak with the host of that name.
pub(crate) fn begin(config: Arc<ClientConfig>, host: &str) -> Result<ClientConnection, TlsError> {
    let name =
        ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Name(host.to_owned()))?;
    let mut connection = ClientConnection::new(config, name)?;
    // What is queued has a bound of its own.
    connection.set_buffer_limit(None);
    Ok(connection)
}

fn roots(authority: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(bundle) = AUTHORITIES.iter().find_map(|path| std::fs::read(path).ok()) {
        // Some of a distribution's certificates may be of a kind that is not understood here.
        let certificates = CertificateDer::pem_slice_iter(&bundle).filter_map(Result::ok);
        roots.add_parsable_certificates(certificates);
    }
    if let Some(path) = authority {
        let pem = std::fs::read(path).map_err(|source| TlsError::Authority {
            path: path.to_owned(),
            source,
        })?;
        let certificates = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok);
        let (added, _) = roots.add_parsable_certificates(certificates);
        if added == 0 {
            return Err(TlsError::NoAuthority(path.to_owned()));
        }
    }
    Ok(roots)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::File {
        path: path.to_owned(),
        source,
    })
}

/// Takes any certificate, as `syslog-tls-skip-verify` asks for. Signatures are still looked at.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
