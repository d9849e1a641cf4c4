//! TLS around a connection. Nothing of it is touched unless a host asks for it.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::ClientError;
use crate::settings::tls::Tls;

/// What is wrong with certificates or keys.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("could not read CA certificate: no certificate in it")]
    NoAuthority,
    #[error("could not load X509 key pair")]
    Pem(#[source] rustls::pki_types::pem::Error),
    #[error("could not load X509 key pair: there is a {0} without a {1}")]
    Half(&'static str, &'static str),
    #[error("{0:?} is no name that a certificate could have")]
    Name(String),
    #[error(transparent)]
    Setup(#[from] rustls::Error),
}

/// Secures a connection to the host of that name.
pub(super) async fn secure(
    stream: TcpStream,
    name: &str,
    tls: &Tls,
) -> Result<TlsStream<TcpStream>, ClientError> {
    let config = config(tls).map_err(ClientError::Tls)?;
    let server = ServerName::try_from(name.to_owned())
        .map_err(|_| ClientError::Tls(TlsError::Name(name.to_owned())))?;
    TlsConnector::from(Arc::new(config))
        .connect(server, stream)
        .await
        .map_err(ClientError::Handshake)
}

fn config(tls: &Tls) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let builder = if tls.unverified {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
    } else {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(tls.ca.as_deref().unwrap_or_default())? {
            roots.add(certificate)?;
        }
        if roots.is_empty() {
            return Err(TlsError::NoAuthority);
        }
        builder.with_root_certificates(roots)
    };
    match (&tls.certificate, &tls.key) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(chain), Some(key)) => {
            let key = PrivateKeyDer::from_pem_slice(key).map_err(TlsError::Pem)?;
            Ok(builder.with_client_auth_cert(certificates(chain)?, key)?)
        }
        (Some(_), None) => Err(TlsError::Half("certificate", "key")),
        (None, Some(_)) => Err(TlsError::Half("key", "certificate")),
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(TlsError::Pem)
}

/// Takes any certificate: what `--tls` without `--tlsverify` asks for. Signatures are still looked at.
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
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
