//! Uploads under way.
//!
//! An upload is a directory of its repository; its bytes are in a file that only grows. What came
//! before a line was cut or the server was killed stays, and the next request goes on from there.
//! One writer at a time: a second one is refused, not queued (attack G7).

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use wharf_types::{Digest, Hasher, Repository, UploadId, failpoint};

use crate::storage::files::{self, FileError, failed};
use crate::storage::layout::Layout;

/// Why bytes were not taken.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// There is no such upload in this repository.
    #[error("upload {0} is not known here")]
    Unknown(UploadId),
    /// Somebody else is writing it.
    #[error("upload {0} is being written by another request")]
    Busy(UploadId),
    /// The bytes do not begin where those before them ended.
    #[error("upload {id} has {offset} bytes, the next cannot begin at {start}")]
    Offset {
        /// The upload.
        id: UploadId,
        /// Bytes it has.
        offset: u64,
        /// Where the request's would begin.
        start: u64,
    },
    /// What came is not what was announced.
    #[error("the content's digest is {found}, not {announced}")]
    Digest {
        /// As computed.
        found: Digest,
        /// As given.
        announced: Digest,
    },
    /// The sender stopped before the end.
    #[error("the body ended early: {0}")]
    Body(std::io::Error),
    /// The disk.
    #[error(transparent)]
    File(#[from] FileError),
}

/// What was asked of an upload.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// Where the bytes begin (`Content-Range`), when the client said so.
    pub start: Option<u64>,
}

#[derive(Debug)]
struct Session {
    offset: u64,
    hasher: Hasher,
}

type Key = (Repository, UploadId);

/// The uploads of a registry.
#[derive(Debug)]
pub(crate) struct Uploads {
    layout: Layout,
    sessions: Mutex<HashMap<Key, Arc<Mutex<Session>>>>,
}

impl Uploads {
    pub(crate) fn new(layout: Layout) -> Self {
        Self {
            layout,
            sessions: Mutex::default(),
        }
    }

    /// Begins an upload.
    pub(crate) fn begin(&self, name: &Repository) -> Result<UploadId, UploadError> {
        let id = UploadId::random();
        let directory = self.layout.upload(name, &id);
        files::ensure_directory(&directory)?;
        let started = jiff::Timestamp::now().to_string();
        let path = directory.join("startedat");
        std::fs::write(&path, started).map_err(failed("write", &path))?;
        let data = directory.join("data");
        File::create_new(&data).map_err(failed("create", &data))?;
        failpoint::hit("registry.upload.begun");
        Ok(id)
    }

    /// Returns the bytes an upload has.
    pub(crate) fn offset(&self, name: &Repository, id: &UploadId) -> Result<u64, UploadError> {
        let session = self.session(name, id)?;
        let session = session.try_lock().map_err(|_| UploadError::Busy(*id))?;
        Ok(session.offset)
    }

    /// Adds what `body` has; returns the bytes the upload has then. What came before an error counts.
    pub(crate) fn append(
        &self,
        name: &Repository,
        id: &UploadId,
        expected: Expected,
        mut body: impl Read,
    ) -> Result<u64, UploadError> {
        let session = self.session(name, id)?;
        let mut session = session.try_lock().map_err(|_| UploadError::Busy(*id))?;
        if let Some(start) = expected.start
            && start != session.offset
        {
            return Err(UploadError::Offset {
                id: *id,
                offset: session.offset,
                start,
            });
        }
        let path = self.data(name, id);
        let mut file = OpenOptions::new()
            .append(true)
            .open(&path)
            .map_err(failed("open", &path))?;
        let mut piece = vec![0; 256 * 1024];
        loop {
            let length = match body.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(UploadError::Body(error)),
            };
            let bytes = &piece[..length];
            if let Err(error) = file.write_all(bytes) {
                // Half a piece may be there: back to what is known.
                file.set_len(session.offset).map_err(failed("cut", &path))?;
                return Err(failed("write", &path)(error).into());
            }
            session.hasher.update(bytes);
            session.offset += length as u64;
        }
        failpoint::hit("registry.upload.appended");
        Ok(session.offset)
    }

    /// Checks the whole content and brings it to the disk; returns its file and size. The caller moves
    /// the file away and then ends the upload.
    pub(crate) fn finish(
        &self,
        name: &Repository,
        id: &UploadId,
        announced: Digest,
    ) -> Result<(PathBuf, u64), UploadError> {
        let session = self.session(name, id)?;
        let session = session.try_lock().map_err(|_| UploadError::Busy(*id))?;
        let found = session.hasher.clone().finish();
        if found != announced {
            return Err(UploadError::Digest { found, announced });
        }
        let path = self.data(name, id);
        let file = File::open(&path).map_err(failed("open", &path))?;
        file.sync_all().map_err(failed("sync", &path))?;
        failpoint::hit("registry.upload.synced");
        Ok((path, session.offset))
    }

    /// Forgets an upload and removes what is left of it.
    pub(crate) fn end(&self, name: &Repository, id: &UploadId) -> Result<(), UploadError> {
        self.session(name, id)?;
        self.lock().remove(&(name.clone(), *id));
        files::remove_tree(&self.layout.upload(name, id))?;
        Ok(())
    }

    /// Ends the uploads of a repository that nobody has added to since `before`; returns how many.
    pub(crate) fn expire(
        &self,
        name: &Repository,
        before: SystemTime,
    ) -> Result<usize, UploadError> {
        let mut expired = 0;
        for text in files::names(&self.layout.uploads(name))? {
            let Ok(id) = text.parse::<UploadId>() else {
                continue;
            };
            let path = self.data(name, &id);
            let modified = std::fs::metadata(&path).and_then(|metadata| metadata.modified());
            if modified.is_ok_and(|modified| modified < before) {
                self.end(name, &id)?;
                expired += 1;
            }
        }
        Ok(expired)
    }

    /// Returns the session of an upload; one of an earlier process is read again from its file.
    fn session(
        &self,
        name: &Repository,
        id: &UploadId,
    ) -> Result<Arc<Mutex<Session>>, UploadError> {
        let key = (name.clone(), *id);
        if let Some(session) = self.lock().get(&key) {
            return Ok(Arc::clone(session));
        }
        let path = self.data(name, id);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(UploadError::Unknown(*id));
            }
            Err(error) => return Err(failed("open", &path)(error).into()),
        };
        let mut session = Session {
            offset: 0,
            hasher: Hasher::new(),
        };
        let mut piece = vec![0; 256 * 1024];
        loop {
            let length = file.read(&mut piece).map_err(failed("read", &path))?;
            if length == 0 {
                break;
            }
            session.hasher.update(&piece[..length]);
            session.offset += length as u64;
        }
        let mut sessions = self.lock();
        let session = sessions
            .entry(key)
            .or_insert_with(|| Arc::new(Mutex::new(session)));
        Ok(Arc::clone(session))
    }

    fn data(&self, name: &Repository, id: &UploadId) -> PathBuf {
        self.layout.upload(name, id).join("data")
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Arc<Mutex<Session>>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
