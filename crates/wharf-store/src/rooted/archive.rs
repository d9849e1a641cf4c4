//! Parts of a container's tree as archives, out and in.
//!
//! Out, a path is opened once, confined to the root, and what is below is reached from that
//! descriptor without following any link: whatever the container swaps meanwhile, only its own
//! bytes come (attack A1). In, see [`crate::extract`].

use std::ffi::CString;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, OFlags};

use super::{InsidePath, RootedDir};
use crate::compress::{Compression, Decoder, Expansion};
use crate::diff::{Archive, Holes};
use crate::extract::{self, Bounds, ExtractError, InPlace};
use crate::files::failed;
use crate::owners::Owners;
use crate::store::Limits;
use crate::tree::{self, Item};
use crate::{DiffError, PathError};

const BUFFER: usize = 128 << 10;

/// How an archive is unpacked into a tree that is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExtractOptions {
    /// Whether a directory may only replace a directory, and a file only a file.
    pub keep_kinds: bool,
    /// Whom the files belong to.
    pub owners: Owners,
    /// What entries are called instead.
    pub renamed: Option<Renamed>,
    /// What may come out.
    pub limits: Limits,
}

/// Another beginning for the names of entries, and of the entries that hard links lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renamed {
    /// What names begin with; `/` stands for nothing.
    pub from: Vec<u8>,
    /// What they begin with instead.
    pub to: Vec<u8>,
}

impl Renamed {
    /// Returns a name with its new beginning.
    pub(crate) fn apply(&self, name: &[u8]) -> Vec<u8> {
        let from = match self.from.as_slice() {
            b"/" => b"",
            from => from,
        };
        match name.strip_prefix(from) {
            Some(rest) => [&self.to, rest].concat(),
            None => name.to_vec(),
        }
    }
}

impl RootedDir {
    /// Writes what is at a path, with all below it, as a tar. Its first entry is named by the last
    /// component of the path as it was given.
    ///
    /// # Errors
    /// [`DiffError`].
    pub fn archive(&self, path: &InsidePath, writer: impl Write) -> Result<(), DiffError> {
        let (found, stat) = self.find(path)?;
        let mut archive = Archive::new(writer, Holes::Kept).with_ids(&self.ids);
        let shown = Path::new(path.shown());
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            archive.item(&Item {
                parent: found.as_fd(),
                name: c".",
                path: shown,
                stat: &stat,
            })?;
            tree::walk_as::<DiffError>(found.as_fd(), shown.to_owned(), &mut |item| {
                archive.item(item)?;
                Ok(true)
            })?;
            return archive.finish();
        }
        let parent = path.clean().parent().unwrap_or(Path::new("/"));
        let name = path.clean().file_name().unwrap_or_default();
        let directory = self.open_inside(parent, OFlags::PATH | OFlags::DIRECTORY)?;
        let name = CString::new(name.as_bytes())
            .map_err(|error| failed("open", path.clean())(std::io::Error::from(error)))?;
        let stat = rustix::fs::statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(failed("look at", path.clean()))?;
        archive.item(&Item {
            parent: directory.as_fd(),
            name: &name,
            path: shown,
            stat: &stat,
        })?;
        archive.finish()
    }

    /// Writes everything in it as a tar.
    ///
    /// # Errors
    /// [`DiffError`].
    pub fn export(&self, writer: impl Write) -> Result<(), DiffError> {
        let mut archive = Archive::new(writer, Holes::Kept).with_ids(&self.ids);
        tree::walk_as::<DiffError>(self.root.as_fd(), PathBuf::new(), &mut |item| {
            archive.item(item)?;
            Ok(true)
        })?;
        archive.finish()
    }

    /// Unpacks a tar, plain or compressed by gzip, zstd, xz or bzip2, into the directory at a path;
    /// links are followed to it.
    ///
    /// # Errors
    /// [`ExtractError`]; entries before the one that failed stay.
    pub fn extract(
        &self,
        path: &InsidePath,
        reader: impl Read,
        options: &ExtractOptions,
    ) -> Result<(), ExtractError> {
        let directory = self.open_inside(path.clean(), OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut input = BufReader::with_capacity(BUFFER, reader);
        let start = input
            .fill_buf()
            .map_err(failed("read", Path::new("the archive")))?;
        let compression = Compression::detect(start);
        let limits = &options.limits;
        let expansion = Expansion {
            floor: limits.expansion_floor,
            ratio: limits.expansion,
        };
        let decoder = Decoder::new(compression, input, expansion)
            .map_err(failed("read", Path::new("the archive")))?;
        let bounds = Bounds {
            bytes: limits.bytes,
            entries: limits.entries,
        };
        let in_place = InPlace {
            scope: self.root.as_fd(),
            place: path.clean().to_owned(),
            keep_kinds: options.keep_kinds,
            owners: options.owners,
            renamed: options.renamed.as_ref(),
            ids: &self.ids,
        };
        extract::extract_in_place(decoder, directory.as_fd(), bounds, in_place)
    }

    /// Opens the directory that a path means, links followed.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn directory(&self, path: &InsidePath) -> Result<std::os::fd::OwnedFd, PathError> {
        self.open_inside(path.clean(), OFlags::PATH | OFlags::DIRECTORY)
    }
}
