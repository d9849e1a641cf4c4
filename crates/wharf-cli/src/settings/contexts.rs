//! Named engines, kept as Docker's command line keeps them, so that both see the same.
//!
//! `contexts/meta/<SHA-256 of the name>/meta.json` says what a context is, and `contexts/tls/<the same>/docker/`
//! holds its certificates. The context `default` is in no file: it is what flags and environment come to.

pub(crate) mod archive;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use wharf_types::Digest;

use super::tls::{self, Tls, TlsFileError};
use crate::failure::errno_text;

/// The context that is in no file.
pub(crate) const DEFAULT: &str = "default";
/// The one endpoint a context has for us.
pub(crate) const DOCKER: &str = "docker";

/// What a context is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Meta {
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) metadata: Metadata,
    #[serde(default)]
    pub(crate) endpoints: BTreeMap<String, Endpoint>,
}

/// What is told about a context.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Metadata {
    #[serde(
        rename = "Description",
        default,
        skip_serializing_if = "String::is_empty"
    )]
    pub(crate) description: String,
    #[serde(flatten)]
    pub(crate) others: Map<String, Value>,
}

/// One of a context's engines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    #[serde(rename = "Host", default, skip_serializing_if = "String::is_empty")]
    pub(crate) host: String,
    #[serde(rename = "SkipTLSVerify", default)]
    pub(crate) skip_tls_verify: bool,
    #[serde(flatten)]
    pub(crate) others: Map<String, Value>,
}

/// The certificates of a context: of each endpoint the files.
pub(crate) type Certificates = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

/// Why a context cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContextError {
    #[error("context {name:?}: context not found: open {}: no such file or directory", .file.display())]
    NotFound { name: String, file: PathBuf },
    #[error("context {name:?}: {}: {}", .file.display(), errno_text(.source))]
    File {
        name: String,
        file: PathBuf,
        source: io::Error,
    },
    #[error("context {name:?}: {}: {source}", .file.display())]
    Document {
        name: String,
        file: PathBuf,
        source: serde_json::Error,
    },
    #[error(transparent)]
    Tls(#[from] TlsFileError),
    #[error(
        "context name {0:?} is invalid, names are validated against regexp \"^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$\""
    )]
    Name(String),
    #[error("{DEFAULT:?} is a reserved context name")]
    Reserved,
    #[error("context {0:?} has no endpoint of an engine")]
    NoEndpoint(String),
}

/// Refuses names that are no names, and the one that is taken.
pub(crate) fn check_name(name: &str) -> Result<(), ContextError> {
    if name == DEFAULT {
        return Err(ContextError::Reserved);
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    let good = name.len() > 1
        && name.bytes().next().is_some_and(plain)
        && name
            .bytes()
            .all(|byte| plain(byte) || b"_.+-".contains(&byte));
    if good {
        Ok(())
    } else {
        Err(ContextError::Name(name.to_owned()))
    }
}

/// Where the contexts are kept.
#[derive(Debug)]
pub(crate) struct Store(PathBuf);

impl Store {
    /// Returns the contexts of a configuration.
    pub(crate) fn new(configuration: &Path) -> Self {
        Self(configuration.join("contexts"))
    }

    /// Where a context's document is.
    pub(crate) fn meta_directory(&self, name: &str) -> PathBuf {
        self.0.join("meta").join(Digest::of(name.as_bytes()).hex())
    }

    /// Where a context's certificates are.
    pub(crate) fn tls_directory(&self, name: &str) -> PathBuf {
        self.0.join("tls").join(Digest::of(name.as_bytes()).hex())
    }

    /// Returns a context.
    pub(crate) fn get(&self, name: &str) -> Result<Meta, ContextError> {
        let file = self.meta_directory(name).join("meta.json");
        let name = name.to_owned();
        let bytes = match fs::read(&file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ContextError::NotFound { name, file });
            }
            Err(source) => return Err(ContextError::File { name, file, source }),
        };
        serde_json::from_slice(&bytes).map_err(|source| ContextError::Document {
            name,
            file,
            source,
        })
    }

    /// Returns all contexts, sorted by name as people sort.
    pub(crate) fn list(&self) -> Result<Vec<Meta>, ContextError> {
        let directory = self.0.join("meta");
        let failed = |source| ContextError::File {
            name: String::new(),
            file: directory.clone(),
            source,
        };
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut contexts = Vec::new();
        for entry in entries {
            let file = entry.map_err(failed)?.path().join("meta.json");
            let Ok(bytes) = fs::read(&file) else { continue };
            let meta: Meta =
                serde_json::from_slice(&bytes).map_err(|source| ContextError::Document {
                    name: String::new(),
                    file,
                    source,
                })?;
            contexts.push(meta);
        }
        contexts.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(contexts)
    }

    /// The certificates of a context.
    pub(crate) fn certificates(&self, name: &str) -> Result<Certificates, ContextError> {
        let directory = self.tls_directory(name);
        let mut all = Certificates::new();
        for endpoint in names(&directory)? {
            let files = directory.join(&endpoint);
            let mut of_endpoint = BTreeMap::new();
            for file in names(&files)? {
                let bytes = tls::file(&files.join(&file))?;
                of_endpoint.insert(file, bytes);
            }
            all.insert(endpoint, of_endpoint);
        }
        Ok(all)
    }

    /// What connections to a context's engine are secured with.
    pub(crate) fn tls(&self, name: &str, endpoint: &Endpoint) -> Result<Option<Tls>, ContextError> {
        let mut files = self.certificates(name)?.remove(DOCKER).unwrap_or_default();
        if files.is_empty() && !endpoint.skip_tls_verify {
            return Ok(None);
        }
        let [ca, certificate, key] = tls::FILES.map(|name| files.remove(name));
        Ok(Some(Tls {
            ca,
            certificate,
            key,
            unverified: endpoint.skip_tls_verify,
        }))
    }

    /// Writes a context, the certificates first: a document without them would be a context without security.
    pub(crate) fn put(&self, meta: &Meta, certificates: &Certificates) -> Result<(), ContextError> {
        let name = &meta.name;
        let failed = |file: &Path, source| ContextError::File {
            name: name.clone(),
            file: file.to_owned(),
            source,
        };
        let tls = self.tls_directory(name);
        remove(&tls).map_err(|error| failed(&tls, error))?;
        for (endpoint, files) in certificates {
            let directory = tls.join(endpoint);
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&directory)
                .map_err(|error| failed(&directory, error))?;
            for (file, bytes) in files {
                let file = directory.join(file);
                write_private(&file, bytes).map_err(|error| failed(&file, error))?;
            }
        }
        let directory = self.meta_directory(name);
        fs::create_dir_all(&directory).map_err(|error| failed(&directory, error))?;
        let file = directory.join("meta.json");
        let partial = directory.join(format!(".meta.json-{}", std::process::id()));
        let bytes = serde_json::to_vec(meta).map_err(|source| ContextError::Document {
            name: name.clone(),
            file: file.clone(),
            source,
        })?;
        fs::write(&partial, bytes)
            .and_then(|()| fs::rename(&partial, &file))
            .map_err(|error| failed(&file, error))
    }

    /// Removes a context; false when there is none.
    pub(crate) fn remove(&self, name: &str) -> Result<bool, ContextError> {
        let directory = self.meta_directory(name);
        if !directory.exists() {
            return Ok(false);
        }
        for directory in [directory, self.tls_directory(name)] {
            remove(&directory).map_err(|source| ContextError::File {
                name: name.to_owned(),
                file: directory,
                source,
            })?;
        }
        Ok(true)
    }
}

fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)?
        .write_all(bytes)
}

/// The names in a directory; none where there is no directory.
fn names(directory: &Path) -> Result<Vec<String>, TlsFileError> {
    let failed = |error| TlsFileError(directory.to_owned(), error);
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        if let Ok(name) = entry.map_err(failed)?.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Meta {
        serde_json::from_str(
            r#"{"Name":"one","Metadata":{"Description":"x","More":1},"Endpoints":{"docker":{"Host":"unix:///one.sock","SkipTLSVerify":false}}}"#,
        )
        .expect("a good document")
    }

    #[test]
    fn a_context_is_where_docker_looks_for_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::new(directory.path());
        assert!(matches!(
            store.get("one"),
            Err(ContextError::NotFound { .. })
        ));
        let certificates: Certificates = [(
            DOCKER.to_owned(),
            [("ca.pem".to_owned(), b"ca".to_vec())].into(),
        )]
        .into();
        store
            .put(&sample(), &certificates)
            .expect("a good directory");
        let id = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";
        let file = directory
            .path()
            .join("contexts/meta")
            .join(id)
            .join("meta.json");
        assert_eq!(
            fs::read_to_string(file).expect("a file"),
            r#"{"Name":"one","Metadata":{"Description":"x","More":1},"Endpoints":{"docker":{"Host":"unix:///one.sock","SkipTLSVerify":false}}}"#
        );
        assert_eq!(store.list().expect("contexts"), [sample()]);
        let tls = store
            .tls("one", &sample().endpoints[DOCKER])
            .expect("files");
        assert_eq!(tls.expect("TLS").ca.as_deref(), Some(&b"ca"[..]));
        assert!(store.remove("one").expect("a good directory"));
        assert!(!store.remove("one").expect("a good directory"));
        assert_eq!(store.list().expect("contexts"), []);
    }

    #[test]
    fn names_are_as_dockers() {
        assert!(check_name("a+b-c.d_1").is_ok());
        assert!(matches!(check_name(DEFAULT), Err(ContextError::Reserved)));
        for bad in ["", "a", "a b", ".a", "../a"] {
            assert!(
                matches!(check_name(bad), Err(ContextError::Name(_))),
                "{bad}"
            );
        }
    }
}
