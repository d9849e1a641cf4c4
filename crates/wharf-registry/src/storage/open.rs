//! Reading the tree when a registry starts.
//!
//! Links to what is not there, names that no repository can have and files nobody wrote are passed
//! over with a line in the log: one damaged image must not keep the others from being served.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use wharf_types::{Digest, Repository, Tag};

use crate::document::{Document, MAX_DOCUMENT};
use crate::storage::catalog::Catalog;
use crate::storage::files::{self, FileError, failed};
use crate::storage::layout::Layout;

/// Longest text of a link.
const MAX_LINK: usize = 128;

/// Why a registry does not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Two processes would undo each other's promises.
    #[error("{0} is served by another process already")]
    Owned(PathBuf),
    /// The disk.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Makes the directory if need be and takes it for this process.
pub(crate) fn own(root: &Path) -> Result<File, OpenError> {
    files::ensure_directory(root)?;
    let path = root.join(".wharf-registry.lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let file = file.map_err(failed("open", &path))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::Owned(root.to_owned())),
        Err(errno) => Err(failed("lock", &path)(errno.into()).into()),
    }
}

/// Reads the catalogue.
pub(crate) fn read(layout: &Layout) -> Result<Catalog, OpenError> {
    let mut catalog = Catalog::default();
    blobs(layout, &mut catalog)?;
    repositories(layout, &layout.repositories(), "", &mut catalog)?;
    Ok(catalog)
}

fn blobs(layout: &Layout, catalog: &mut Catalog) -> Result<(), FileError> {
    for group in files::names(&layout.blobs())? {
        for hex in files::names(&layout.blobs().join(&group))? {
            let Ok(digest) = Digest::from_hex(&hex) else {
                continue;
            };
            match std::fs::metadata(layout.blob(digest)) {
                Ok(metadata) => {
                    let touched = metadata.modified().unwrap_or(std::time::UNIX_EPOCH);
                    catalog.add_blob(digest, metadata.len(), touched);
                }
                // Made for a blob that did not come any more.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    files::remove_tree(&layout.blob_directory(digest))?;
                }
                Err(error) => return Err(failed("look at", &layout.blob(digest))(error)),
            }
        }
    }
    Ok(())
}

/// Reads the repositories at and below a directory. Names cannot begin with `_`, which is what tells
/// a repository's own directories from the next part of a longer name.
fn repositories(
    layout: &Layout,
    directory: &Path,
    prefix: &str,
    catalog: &mut Catalog,
) -> Result<(), FileError> {
    let mut own = false;
    for name in files::names(directory)? {
        if name.starts_with('_') {
            own = true;
            continue;
        }
        let longer = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}/{name}")
        };
        repositories(layout, &directory.join(&name), &longer, catalog)?;
    }
    match prefix.parse::<Repository>() {
        Ok(name) if own => repository(layout, &name, catalog),
        _ => Ok(()),
    }
}

fn repository(layout: &Layout, name: &Repository, catalog: &mut Catalog) -> Result<(), FileError> {
    for hex in files::names(&layout.layers(name))? {
        let Ok(digest) = Digest::from_hex(&hex) else {
            continue;
        };
        if is_linked(&layout.layer_link(name, digest))? && catalog.blob(digest).is_some() {
            catalog.add_layer(name, digest);
        }
    }
    for hex in files::names(&layout.revisions(name))? {
        let Ok(digest) = Digest::from_hex(&hex) else {
            continue;
        };
        if !is_linked(&layout.revision_link(name, digest))? {
            continue;
        }
        let Some(bytes) = files::read_bounded(&layout.blob(digest), MAX_DOCUMENT)? else {
            tracing::warn!(repository = %name, manifest = %digest, "a manifest is linked but not there");
            continue;
        };
        match Document::read(&bytes, None) {
            Ok(document) => catalog.add_manifest(name, digest, document),
            Err(error) => {
                tracing::warn!(repository = %name, manifest = %digest, %error, "a manifest cannot be read");
            }
        }
    }
    for text in files::names(&layout.tags(name))? {
        let Ok(tag) = text.parse::<Tag>() else {
            continue;
        };
        let link = files::read_bounded(&layout.tag_link(name, &tag), MAX_LINK)?;
        let digest = link.and_then(|link| String::from_utf8(link).ok()?.trim().parse().ok());
        match digest {
            Some(digest) if catalog.document(name, digest).is_some() => {
                catalog.set_tag(name, tag, digest);
            }
            _ => tracing::warn!(repository = %name, %tag, "a tag names nothing"),
        }
    }
    Ok(())
}

/// Returns whether a link is there. A directory made for one that was not written any more goes.
fn is_linked(link: &Path) -> Result<bool, FileError> {
    if link.exists() {
        return Ok(true);
    }
    link.parent().map_or(Ok(()), files::remove_tree)?;
    Ok(false)
}
