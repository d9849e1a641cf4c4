//! TLS: whom a host must be certified by, and what it is shown.

use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::error::{Error, TlsError};

/// Most bytes of a file of certificates.
const FILE_MAX: u64 = 16 * 1024 * 1024;

/// Whom a host must be certified by, beside the authorities of this machine, and what it is shown.
///
/// Two of the same share their connections; a file that was changed makes another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Trusted {
    /// Certificates of authorities.
    pub(crate) authorities: Vec<FileStamp>,
    /// Certificates of the client, and their keys.
    pub(crate) client: Vec<(FileStamp, FileStamp)>,
    /// Whether anybody is believed.
    pub(crate) unverified: bool,
}

/// A file as it was.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct FileStamp {
    pub(crate) path: PathBuf,
    pub(crate) length: u64,
    pub(crate) modified: SystemTime,
}

impl Trusted {
    /// Returns what holds where a host leads to another one: the same authorities, which vouch for the
    /// storage behind a registry too, but nothing that tells who the client is.
    pub(crate) fn for_others(&self) -> Self {
        Self {
            client: Vec::new(),
            ..self.clone()
        }
    }
}

/// Reads the authorities of this machine: the first of the files that is there, else Mozilla's list.
pub(crate) fn roots(files: &[PathBuf]) -> RootCertStore {
    for path in files {
        let Ok(bytes) = read(path) else {
            continue;
        };
        let mut store = RootCertStore::empty();
        let certificates = CertificateDer::pem_slice_iter(&bytes).filter_map(Result::ok);
        let (added, _) = store.add_parsable_certificates(certificates);
        if added > 0 {
            return store;
        }
    }
    RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    }
}

/// Makes the configuration of connections.
pub(crate) fn configuration(
    trusted: &Trusted,
    roots: &RootCertStore,
) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring has the suites of both versions");
    let builder = if trusted.unverified {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(algorithms)))
    } else {
        let mut store = roots.clone();
        for file in &trusted.authorities {
            add_authorities(&mut store, &file.path)?;
        }
        builder.with_root_certificates(store)
    };
    if trusted.client.is_empty() {
        return Ok(builder.with_no_client_auth());
    }
    let keys = trusted
        .client
        .iter()
        .map(|(certificate, key)| client_key(&certificate.path, &key.path, &provider))
        .collect::<Result<_, _>>()?;
    Ok(builder.with_client_cert_resolver(Arc::new(ClientKeys(keys))))
}

fn add_authorities(store: &mut RootCertStore, path: &Path) -> Result<(), Error> {
    let bytes = read(path)?;
    let mut seen = HashSet::new();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|error| fault(path, &error.to_string()))?;
        if seen.insert(certificate.to_vec()) {
            store
                .add(certificate)
                .map_err(|error| fault(path, &error.to_string()))?;
        }
    }
    if seen.is_empty() {
        return Err(fault(path, "it has no certificate"));
    }
    Ok(())
}

fn client_key(
    certificate: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, Error> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&read(certificate)?)
        .collect::<Result<_, _>>()
        .map_err(|error| fault(certificate, &error.to_string()))?;
    let private = PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|error| fault(key, &error.to_string()))?;
    CertifiedKey::from_der(chain, private, provider)
        .map(Arc::new)
        .map_err(|error| fault(key, &error.to_string()))
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let length = std::fs::File::open(path)
        .and_then(|file| file.take(FILE_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| fault(path, &error.to_string()))?;
    if length as u64 > FILE_MAX {
        return Err(fault(path, "it is too long"));
    }
    Ok(bytes)
}

fn fault(path: &Path, reason: &str) -> Error {
    Error::HostFile {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

/// Says in Go's words what rustls found.
pub(crate) fn explain(error: &rustls::Error, host: &str) -> TlsError {
    use rustls::CertificateError as Certificate;
    match error {
        rustls::Error::InvalidCertificate(reason) => match reason {
            Certificate::UnknownIssuer => TlsError::UnknownAuthority,
            Certificate::Expired
            | Certificate::ExpiredContext { .. }
            | Certificate::NotValidYet
            | Certificate::NotValidYetContext { .. } => TlsError::Expired,
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                TlsError::WrongName(host.to_owned())
            }
            // A certificate that signs itself, as servers are set up in a hurry.
            Certificate::Other(_) => TlsError::UnknownAuthority,
            other => TlsError::Other(format!("failed to verify certificate: {other}")),
        },
        other => TlsError::Other(crate::refusal::harmless(&other.to_string())),
    }
}

/// The client's certificates; a server is shown the first that it can check.
#[derive(Debug)]
struct ClientKeys(Vec<Arc<CertifiedKey>>);

impl ResolvesClientCert for ClientKeys {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0
            .iter()
            .find(|key| key.key.choose_scheme(schemes).is_some())
            .map(Arc::clone)
    }

    fn has_certs(&self) -> bool {
        !self.0.is_empty()
    }
}

/// Believes any certificate: for registries the operator listed as insecure. The signatures of the
/// handshake are checked all the same, which costs nothing.
#[derive(Debug)]
struct Anybody(WebPkiSupportedAlgorithms);

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
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
