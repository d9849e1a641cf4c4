//! What a connection is secured with: certificates and a key, as PEM files hold them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::failure::errno_text;

/// The names of the files in a directory of their own.
pub(crate) const FILES: [&str; 3] = ["ca.pem", "cert.pem", "key.pem"];

/// What a connection is secured with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tls {
    /// Whose certificates the engine may show.
    pub(crate) ca: Option<Vec<u8>>,
    /// What we show.
    pub(crate) certificate: Option<Vec<u8>>,
    pub(crate) key: Option<Vec<u8>>,
    /// Whether the engine's certificate is not looked at.
    pub(crate) unverified: bool,
}

/// A file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("open {}: {}", .0.display(), errno_text(.1))]
pub(crate) struct TlsFileError(pub(crate) PathBuf, pub(crate) io::Error);

/// Where the files are, as the flags say.
#[derive(Debug, Default)]
pub(crate) struct Flags {
    /// `--tls`.
    pub(crate) tls: bool,
    /// `--tlsverify`, if it was typed: either value asks for TLS.
    pub(crate) verify: Option<bool>,
    pub(crate) ca: Option<String>,
    pub(crate) certificate: Option<String>,
    pub(crate) key: Option<String>,
}

impl Flags {
    /// Reads the files; `None` when no TLS is asked for. A certificate and a key that are only expected by
    /// default may be missing, the authority's may not.
    pub(crate) fn load(
        &self,
        directory: &Path,
        variable: bool,
    ) -> Result<Option<Tls>, TlsFileError> {
        let verify = self.verify.unwrap_or(variable);
        if !self.tls && self.verify.is_none() && !verify {
            return Ok(None);
        }
        let [ca, certificate, key] = FILES.map(|name| directory.join(name));
        let own = |flag: &Option<String>, default: PathBuf| match flag {
            Some(path) => file(Path::new(path)).map(Some),
            None if default.exists() => file(&default).map(Some),
            None => Ok(None),
        };
        Ok(Some(Tls {
            ca: Some(file(&self.ca.as_ref().map_or(ca, PathBuf::from))?),
            certificate: own(&self.certificate, certificate)?,
            key: own(&self.key, key)?,
            unverified: !verify,
        }))
    }
}

/// Reads one file.
pub(crate) fn file(path: &Path) -> Result<Vec<u8>, TlsFileError> {
    fs::read(path).map_err(|error| TlsFileError(path.to_owned(), error))
}
