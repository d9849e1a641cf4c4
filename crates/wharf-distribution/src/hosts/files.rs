//! The directory of one registry: certificates, keys, `hosts.toml`.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::toml::{HostsFile, parse};
use crate::error::Error;
use crate::tls::{FileStamp, Trusted};

/// Most bytes of a file about a host.
const FILE_MAX: u64 = 1024 * 1024;

/// What a directory says.
pub(super) enum HostDirectory {
    /// Certificates alone.
    Docker(Trusted),
    /// A `hosts.toml`, and the directory its paths are relative to.
    Containerd(PathBuf, HostsFile),
}

/// Looks for the first directory of a registry.
pub(super) fn find(
    directories: &[PathBuf],
    names: &[String],
) -> Result<Option<HostDirectory>, Error> {
    for directory in directories {
        for name in names {
            let path = directory.join(name);
            match std::fs::read_dir(&path) {
                Ok(entries) => return read(&path, entries).map(Some),
                Err(error)
                    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                Err(error) => return Err(fault(&path, &error.to_string())),
            }
        }
    }
    Ok(None)
}

fn read(path: &Path, entries: std::fs::ReadDir) -> Result<HostDirectory, Error> {
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| fault(path, &error.to_string()))?;
        names.push(PathBuf::from(entry.file_name()));
    }
    names.sort();
    let file = path.join("hosts.toml");
    if names.iter().any(|name| name.as_os_str() == "hosts.toml") {
        let text = read_text(&file)?;
        let hosts = parse(&text).map_err(|reason| fault(&file, &reason))?;
        return Ok(HostDirectory::Containerd(path.to_owned(), hosts));
    }
    let has = |extension: &str| {
        let extension = extension.to_owned();
        names.iter().filter(move |name| {
            name.extension()
                .is_some_and(|own| own == extension.as_str())
        })
    };
    let authorities: Vec<PathBuf> = has("crt").cloned().collect();
    let mut client = Vec::new();
    for certificate in has("cert") {
        let key = certificate.with_extension("key");
        if !names.contains(&key) {
            // Docker's words.
            return Err(fault(
                path,
                &format!(
                    "missing key {} for client certificate {}. CA certificates must use the extension .crt",
                    key.display(),
                    certificate.display()
                ),
            ));
        }
        client.push((certificate.clone(), key));
    }
    for key in has("key") {
        if !names.contains(&key.with_extension("cert")) {
            return Err(fault(
                path,
                &format!(
                    "missing client certificate {} for key {}",
                    key.with_extension("cert").display(),
                    key.display()
                ),
            ));
        }
    }
    certificates(path, &authorities, &client).map(HostDirectory::Docker)
}

/// Notes the files of certificates and keys, which are read when a connection needs them.
pub(super) fn certificates(
    directory: &Path,
    authorities: &[PathBuf],
    client: &[(PathBuf, PathBuf)],
) -> Result<Trusted, Error> {
    let stamp = |path: &PathBuf| {
        let path = directory.join(path);
        let metadata =
            std::fs::metadata(&path).map_err(|error| fault(&path, &error.to_string()))?;
        Ok(FileStamp {
            path,
            length: metadata.len(),
            modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        })
    };
    Ok(Trusted {
        authorities: authorities.iter().map(stamp).collect::<Result<_, _>>()?,
        client: client
            .iter()
            .map(|(certificate, key)| Ok((stamp(certificate)?, stamp(key)?)))
            .collect::<Result<_, _>>()?,
        unverified: false,
    })
}

fn read_text(path: &Path) -> Result<String, Error> {
    let mut text = String::new();
    let length = std::fs::File::open(path)
        .and_then(|file| file.take(FILE_MAX + 1).read_to_string(&mut text))
        .map_err(|error| fault(path, &error.to_string()))?;
    if length as u64 > FILE_MAX {
        return Err(fault(path, "it is too long"));
    }
    Ok(text)
}

fn fault(path: &Path, reason: &str) -> Error {
    Error::HostFile {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}
