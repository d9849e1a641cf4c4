//! Uploads under way.
//!
//! An upload is a directory of its repository; its bytes are in a file that only grows. What came
//! before a line was cut or the server was killed stays, and the next request goes on from there.
//! One writer at a time: a second one is refused, not queued (attack G7).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use wharf_types::{Digest, Hasher, Repository, UploadId, failpoint};

use crate::storage::files::{self, FileError, failed};
use crate::storage::layout::Layout;
use crate::storage::quota::QuotaExceeded;

/// Bytes read from a body at a time.
const PIECE: usize = 64 * 1024;

/// Longest name of an upload's owner.
const MAX_OWNER: usize = 1024;

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
    /// Another caller began it.
    #[error("upload {0} was begun by somebody else")]
    Foreign(UploadId),
    /// More or fewer bytes came than the request said.
    #[error("the body has {found} bytes, its Content-Range says {announced}")]
    Length {
        /// Bytes that came.
        found: u64,
        /// Bytes that were to come.
        announced: u64,
    },
    /// There is no room for more.
    #[error(transparent)]
    Quota(#[from] QuotaExceeded),
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
#[derive(Debug, Clone, Copy, Default)]
pub struct Expected {
    /// Where the bytes begin (`Content-Range`), when the client said so.
    pub start: Option<u64>,
    /// How many there are, when it said that.
    pub length: Option<u64>,
}

#[derive(Debug)]
struct Session {
    offset: u64,
    hasher: Hasher,
}

/// What is known of an upload between requests.
#[derive(Debug)]
enum Slot {
    Idle(Box<Session>),
    /// A request has it.
    Busy,
}

type Key = (Repository, UploadId);

#[derive(Debug, Default)]
struct Sessions(Mutex<HashMap<Key, Slot>>);

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, key: Key, session: Session) {
        // One that was cancelled meanwhile stays away.
        if let Some(slot) = self.lock().get_mut(&key) {
            *slot = Slot::Idle(Box::new(session));
        }
    }
}

/// A session that one request has, and that goes back when the request is done with it.
#[derive(Debug)]
struct Taken {
    sessions: Arc<Sessions>,
    key: Key,
    session: Option<Session>,
}

impl Taken {
    fn session(&mut self) -> &mut Session {
        self.session
            .as_mut()
            .expect("it is there until the value is dropped")
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            self.sessions.give_back(self.key.clone(), session);
        }
    }
}

/// The uploads of a registry.
#[derive(Debug)]
pub(crate) struct Uploads {
    layout: Layout,
    sessions: Arc<Sessions>,
}

/// Adds bytes to an upload; nobody else can until it is dropped.
#[derive(Debug)]
pub struct UploadWriter {
    taken: Taken,
    file: File,
    path: PathBuf,
    begun: u64,
    expected: Expected,
    room: Option<(u64, QuotaExceeded)>,
}

impl UploadWriter {
    /// Adds bytes.
    ///
    /// # Errors
    /// They are more than announced, or than there is room for; or the disk. Those before them stay.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), UploadError> {
        let session = self.taken.session();
        let longer = session.offset.saturating_add(bytes.len() as u64);
        if let Some((room, quota)) = &self.room
            && longer > *room
        {
            return Err(quota.clone().into());
        }
        if let Some(announced) = self.expected.length
            && longer - self.begun > announced
        {
            return Err(UploadError::Length {
                found: longer - self.begun,
                announced,
            });
        }
        if let Err(error) = self.file.write_all(bytes) {
            // Half a piece may be there: back to what is known.
            self.file
                .set_len(session.offset)
                .map_err(failed("cut", &self.path))?;
            return Err(failed("write", &self.path)(error).into());
        }
        session.hasher.update(bytes);
        session.offset = longer;
        Ok(())
    }

    /// Ends the request's part; returns the bytes the upload has.
    ///
    /// # Errors
    /// They are fewer than announced.
    pub fn close(mut self) -> Result<u64, UploadError> {
        failpoint::hit("registry.upload.appended");
        let offset = self.taken.session().offset;
        match self.expected.length {
            Some(announced) if offset - self.begun != announced => Err(UploadError::Length {
                found: offset - self.begun,
                announced,
            }),
            _ => Ok(offset),
        }
    }

    /// Opens what the upload has for reading, while it grows.
    ///
    /// # Errors
    /// The disk.
    pub(crate) fn reader(&self) -> Result<File, UploadError> {
        Ok(File::open(&self.path).map_err(failed("open", &self.path))?)
    }
}

impl Uploads {
    pub(crate) fn new(layout: Layout) -> Self {
        Self {
            layout,
            sessions: Arc::default(),
        }
    }

    /// Begins an upload.
    pub(crate) fn begin(
        &self,
        name: &Repository,
        owner: Option<&str>,
    ) -> Result<UploadId, UploadError> {
        let id = UploadId::random();
        let directory = self.layout.upload(name, &id);
        files::ensure_directory(&directory)?;
        let started = jiff::Timestamp::now().to_string();
        let path = directory.join("startedat");
        std::fs::write(&path, started).map_err(failed("write", &path))?;
        if let Some(owner) = owner {
            let path = directory.join("owner");
            std::fs::write(&path, owner).map_err(failed("write", &path))?;
        }
        let data = directory.join("data");
        File::create_new(&data).map_err(failed("create", &data))?;
        failpoint::hit("registry.upload.begun");
        Ok(id)
    }

    /// Makes sure that an upload was begun by this caller. One that was begun by nobody in particular is everybody's.
    pub(crate) fn check_owner(
        &self,
        name: &Repository,
        id: &UploadId,
        caller: Option<&str>,
    ) -> Result<(), UploadError> {
        let path = self.layout.upload(name, id).join("owner");
        match files::read_bounded(&path, MAX_OWNER)? {
            Some(owner) if Some(owner.as_slice()) != caller.map(str::as_bytes) => {
                Err(UploadError::Foreign(*id))
            }
            _ => Ok(()),
        }
    }

    /// Returns how many uploads are known since the start.
    pub(crate) fn count(&self) -> usize {
        self.sessions.lock().len()
    }

    /// Returns the bytes an upload has.
    pub(crate) fn offset(&self, name: &Repository, id: &UploadId) -> Result<u64, UploadError> {
        Ok(self.take(name, id)?.session().offset)
    }

    /// Takes an upload for adding to it.
    pub(crate) fn writer(
        &self,
        name: &Repository,
        id: &UploadId,
        expected: Expected,
        room: Option<(u64, QuotaExceeded)>,
    ) -> Result<UploadWriter, UploadError> {
        let mut taken = self.take(name, id)?;
        let offset = taken.session().offset;
        if let Some(start) = expected.start
            && start != offset
        {
            return Err(UploadError::Offset {
                id: *id,
                offset,
                start,
            });
        }
        let path = self.data(name, id);
        let file = OpenOptions::new().append(true).open(&path);
        Ok(UploadWriter {
            file: file.map_err(failed("open", &path))?,
            taken,
            path,
            begun: offset,
            expected,
            room,
        })
    }

    /// Adds what `body` has; returns the bytes the upload has then. What came before an error counts.
    pub(crate) fn append(
        &self,
        mut writer: UploadWriter,
        mut body: impl Read,
    ) -> Result<u64, UploadError> {
        let mut piece = vec![0; PIECE];
        loop {
            match body.read(&mut piece) {
                Ok(0) => return writer.close(),
                Ok(length) => writer.write(&piece[..length])?,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(UploadError::Body(error)),
            }
        }
    }

    /// Checks the whole content and brings it to the disk; returns its file and size. The caller moves
    /// the file away and then ends the upload.
    pub(crate) fn finish(
        &self,
        name: &Repository,
        id: &UploadId,
        announced: Digest,
    ) -> Result<(PathBuf, u64), UploadError> {
        let mut taken = self.take(name, id)?;
        let session = taken.session();
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
        let directory = self.layout.upload(name, id);
        let known = self.sessions.lock().remove(&(name.clone(), *id));
        if known.is_none() && !self.data(name, id).exists() {
            return Err(UploadError::Unknown(*id));
        }
        files::remove_tree(&directory)?;
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

    /// Takes the session of an upload; one of an earlier process is read again from its file.
    fn take(&self, name: &Repository, id: &UploadId) -> Result<Taken, UploadError> {
        let key = (name.clone(), *id);
        let known = match self.sessions.lock().entry(key.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert(Slot::Busy);
                None
            }
            Entry::Occupied(mut occupied) => {
                match std::mem::replace(occupied.get_mut(), Slot::Busy) {
                    Slot::Busy => return Err(UploadError::Busy(*id)),
                    Slot::Idle(session) => Some(*session),
                }
            }
        };
        let session = match known {
            Some(session) => session,
            None => self.read(name, id).inspect_err(|_| {
                self.sessions.lock().remove(&key);
            })?,
        };
        Ok(Taken {
            sessions: Arc::clone(&self.sessions),
            key,
            session: Some(session),
        })
    }

    fn read(&self, name: &Repository, id: &UploadId) -> Result<Session, UploadError> {
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
        let mut piece = vec![0; PIECE];
        loop {
            let length = file.read(&mut piece).map_err(failed("read", &path))?;
            if length == 0 {
                return Ok(session);
            }
            session.hasher.update(&piece[..length]);
            session.offset += length as u64;
        }
    }

    fn data(&self, name: &Repository, id: &UploadId) -> PathBuf {
        self.layout.upload(name, id).join("data")
    }
}
