//! Certificates of an authority of the test's own, made by OpenSSL.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

/// An authority, and what it certified, in a directory.
pub(crate) struct Authority {
    directory: tempfile::TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let authority = Self { directory };
        authority.run(&format!(
            "req -x509 {NEW_KEY} -days 2 -subj /CN=authority -keyout ca.key -out ca.pem"
        ));
        authority
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Certifies a host or a client, as `<name>.pem` and `<name>.key`.
    pub(crate) fn certify(&self, name: &str) {
        let extension = format!(
            "subjectAltName=DNS:{name}\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth,clientAuth\n"
        );
        std::fs::write(self.path("ext"), extension).expect("write");
        self.run(&format!(
            "req {NEW_KEY} -subj /CN={name} -keyout {name}.key -out {name}.csr"
        ));
        self.run(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out {name}.pem"
        ));
    }

    /// What a server of that name speaks TLS with; it may want to see a client's certificate.
    pub(crate) fn acceptor(&self, name: &str, wants_client: bool) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions");
        let builder = if wants_client {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(&self.path("ca.pem")) {
                roots.add(certificate).expect("authority");
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().expect("verifier"))
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).expect("key");
        let chain = certificates(&self.path(&format!("{name}.pem")));
        let configuration = builder.with_single_cert(chain, key).expect("certificate");
        TlsAcceptor::from(Arc::new(configuration))
    }

    fn run(&self, arguments: &str) {
        let output = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(self.directory.path())
            .output()
            .expect("openssl is installed");
        assert!(output.status.success(), "{arguments}: {output:?}");
    }
}

const NEW_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

fn certificates(path: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path)
        .expect("file")
        .collect::<Result<_, _>>()
        .expect("certificates")
}
