//! Where the engine's certificate, its key and its clients' authority are.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use wharf_api::Tls;

use super::values::Values;

/// Longest file of certificates.
const MAX_PEM: u64 = 1 << 20;

/// The files TLS is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TlsFiles {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    /// Who signs for clients; without it any client may connect.
    pub(super) client_authority: Option<PathBuf>,
}

impl TlsFiles {
    /// Reads the settings, by dockerd's rules: to say anything about verification is to ask for TLS, and files that
    /// are not named are in the directory where Docker's client looks for its own.
    pub(super) fn read(values: &Values) -> Option<Self> {
        let verify = values.truth("tlsverify");
        if verify.is_none() && values.truth("tls") != Some(true) {
            return None;
        }
        let file = |key: &str, name: &str| {
            let named = values.text(key).map(PathBuf::from);
            named.unwrap_or_else(|| default_directory().join(name))
        };
        Some(Self {
            certificate: file("tlscert", "cert.pem"),
            key: file("tlskey", "key.pem"),
            client_authority: (verify == Some(true)).then(|| file("tlscacert", "ca.pem")),
        })
    }

    /// Reads the files.
    pub(super) fn load(&self) -> anyhow::Result<Tls> {
        let certificate = read(&self.certificate)?;
        let key = read(&self.key)?;
        let authority = self.client_authority.as_deref().map(read).transpose()?;
        Tls::new(&certificate, &key, authority.as_deref()).with_context(|| {
            let (certificate, key) = (self.certificate.display(), self.key.display());
            format!("TLS with certificate {certificate} and key {key}")
        })
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let shown = || format!("TLS file {}", path.display());
    let length = std::fs::metadata(path).with_context(shown)?.len();
    anyhow::ensure!(length <= MAX_PEM, "TLS file {} is too long", path.display());
    std::fs::read(path).with_context(shown)
}

fn default_directory() -> PathBuf {
    if let Some(directory) = std::env::var_os("DOCKER_CERT_PATH").filter(|path| !path.is_empty()) {
        return PathBuf::from(directory);
    }
    let home = std::env::var_os("HOME").unwrap_or_else(|| "/root".into());
    PathBuf::from(home).join(".docker")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verification_implies_tls() {
        let files = |pairs: &[(&'static str, bool)]| {
            let mut values = Values::default();
            for (key, on) in pairs {
                values.set(key, *on);
            }
            values.set("tlscacert", "/ca");
            TlsFiles::read(&values)
        };
        assert_eq!(files(&[]), None);
        assert_eq!(files(&[("tls", false)]), None);
        let authority = |files: Option<TlsFiles>| files.expect("TLS").client_authority;
        assert_eq!(authority(files(&[("tls", true)])), None);
        assert_eq!(authority(files(&[("tlsverify", false)])), None);
        assert_eq!(
            authority(files(&[("tlsverify", true)])),
            Some(PathBuf::from("/ca"))
        );
    }
}
