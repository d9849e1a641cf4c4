//! Blobs that go as streams, over lines that break.
//!
//! The whole goes in one `PUT` where the registry takes that. When the line is cut, the registry is
//! asked how much it has, and only the rest is sent. Source: OCI distribution specification 1.1,
//! "Pushing blobs"; for what registries do when they are asked, the CNCF registry.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use http::header::{CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use http::{HeaderValue, Method, StatusCode, Uri};
use wharf_types::{Digest, failpoint};

use crate::address;
use crate::auth::Scopes;
use crate::error::{AnswerFault, Error, RedirectFault, RequestError};
use crate::exchange::{self, Answer, Ask, Payload, SourceFault, To};
use crate::hosts::Endpoint;
use crate::repository::{Doing, Repository, push};

/// Bytes that are read one piece after the other.
pub type Chunks = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// Is told how many bytes of the blob have gone out. The number falls when a registry lost some.
pub type Progress = Arc<dyn Fn(u64) + Send + Sync>;

/// What is read of a file at once.
const READ_AT_ONCE: usize = 256 * 1024;
/// Most repositories that a blob is looked for in.
const MOUNTS_MAX: usize = 4;
/// How many times as long as usual a registry may take over a whole blob: it hashes and moves it.
const COMMIT_PATIENCE: u32 = 5;

/// What is uploaded: bytes that can be read again from any offset, for a line that was cut.
pub trait Source: Send + Sync {
    /// Returns the bytes from an offset to the end.
    ///
    /// # Errors
    /// They cannot be read.
    fn open(&self, from: u64) -> io::Result<Chunks>;
}

/// A file to upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSource(pub PathBuf);

/// How a blob came to be at the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Uploaded {
    /// It was there.
    Existed,
    /// It was in this other repository of the registry.
    Mounted(String),
    /// It was sent.
    Sent,
}

impl Source for Bytes {
    fn open(&self, from: u64) -> io::Result<Chunks> {
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(self.len());
        let rest = self.slice(from..);
        Ok(Box::pin(futures_util::stream::once(async { Ok(rest) })))
    }
}

impl Source for FileSource {
    fn open(&self, from: u64) -> io::Result<Chunks> {
        let file = Arc::new(File::open(&self.0)?);
        let pieces = futures_util::stream::try_unfold((file, from), |(file, at)| async move {
            let reader = Arc::clone(&file);
            let read = tokio::task::spawn_blocking(move || {
                let mut buffer = vec![0; READ_AT_ONCE];
                let length = reader.read_at(&mut buffer, at)?;
                buffer.truncate(length);
                Ok::<_, io::Error>(Bytes::from(buffer))
            });
            let bytes = read.await.map_err(io::Error::other)??;
            let next = at + bytes.len() as u64;
            Ok((!bytes.is_empty()).then_some((bytes, (file, next))))
        });
        Ok(Box::pin(pieces))
    }
}

/// Leaves an error of the chunks where it can be found: to HTTP a body that fails is a line that is cut.
pub(crate) fn noting(chunks: Chunks, fault: SourceFault) -> Chunks {
    Box::pin(chunks.inspect_err(move |error| {
        let copy = io::Error::new(error.kind(), error.to_string());
        *fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(copy);
    }))
}

pub(crate) async fn upload(
    repository: &Repository,
    (digest, size): (Digest, u64),
    mount_from: &[wharf_types::Repository],
    source: &dyn Source,
    progress: Progress,
) -> Result<Uploaded, Error> {
    let mount_from = &mount_from[..mount_from.len().min(MOUNTS_MAX)];
    let mut scopes = repository.scopes("pull,push");
    for from in mount_from {
        scopes.insert(format!("repository:{from}:pull"));
    }
    if push::has_blob(repository, &digest, &scopes).await? {
        return Ok(Uploaded::Existed);
    }
    let mut upload = Upload {
        repository,
        endpoint: repository.endpoints().await?.for_push(),
        scopes,
        digest,
        size,
        source,
        progress,
        in_pieces: None,
        least_piece: 0,
    };
    let mut session = None;
    for from in mount_from {
        match upload.mount(from).await? {
            Mount::Mounted => return Ok(Uploaded::Mounted(from.to_string())),
            Mount::Begun(begun) => {
                if let Some(unused) = session.replace(begun) {
                    upload.cancel(unused).await;
                }
            }
            Mount::Refused => {}
        }
    }
    upload.run(session).await?;
    Ok(Uploaded::Sent)
}

struct Upload<'a> {
    repository: &'a Repository,
    endpoint: &'a Endpoint,
    scopes: Scopes,
    digest: Digest,
    size: u64,
    source: &'a dyn Source,
    progress: Progress,
    /// The size of pieces, for a registry that refuses the whole.
    in_pieces: Option<u64>,
    /// The smallest piece the registry takes.
    least_piece: u64,
}

/// An upload the registry has begun.
#[derive(Debug, Clone)]
struct Session {
    place: Uri,
    /// How much of the blob the registry has.
    offset: u64,
}

enum Mount {
    Mounted,
    Begun(Session),
    Refused,
}

/// How a try ended that did not succeed.
enum Trouble {
    /// The line or the server failed: what the registry has is asked for.
    Passing(Error),
    /// The registry has forgotten the upload, or will not take it so.
    Again(Error),
    /// It makes no sense to go on.
    Final(Error),
}

impl Upload<'_> {
    async fn run(&mut self, begun: Option<Session>) -> Result<(), Error> {
        let tries = self.repository.client.settings.limits.tries;
        let mut session = match begun {
            Some(session) => session,
            None => self.begin().await?,
        };
        let mut farthest = 0;
        let mut failures = 0;
        loop {
            failpoint::hit("distribution.upload.begun");
            let trouble = match self.send(&mut session).await {
                Ok(()) => return Ok(()),
                Err(trouble) => trouble,
            };
            let (error, forgotten) = match trouble {
                Trouble::Final(error) => return Err(error),
                Trouble::Passing(error) => (error, false),
                Trouble::Again(error) => (error, true),
            };
            tracing::debug!(digest = %self.digest, %error, "an upload was interrupted");
            failures += 1;
            if failures >= tries {
                return Err(error);
            }
            let pause = exchange::pause(&self.repository.client, failures);
            tokio::time::sleep(pause).await;
            // The last answer may be what was lost.
            if push::has_blob(self.repository, &self.digest, &self.scopes).await? {
                return Ok(());
            }
            let found = if forgotten {
                None
            } else {
                self.status(&session).await?
            };
            session = match found {
                Some(session) => session,
                None => self.begin().await?,
            };
            if session.offset > farthest {
                farthest = session.offset;
                failures = 0;
            }
        }
    }

    /// Begins an upload.
    async fn begin(&mut self) -> Result<Session, Error> {
        let path = self.repository.path("blobs/uploads/");
        let mut answer = self.post(&path).await?;
        if answer.status != StatusCode::ACCEPTED {
            return Err(self.repository.refused(&mut answer, Doing::Writing).await);
        }
        self.session(&mut answer).await
    }

    /// Asks for the blob of another repository.
    async fn mount(&mut self, from: &wharf_types::Repository) -> Result<Mount, Error> {
        let path = self.repository.path(&format!(
            "blobs/uploads/?mount={}&from={}",
            self.digest,
            address::encode(from.as_str())
        ));
        failpoint::hit("distribution.upload.mount");
        let mut answer = self.post(&path).await?;
        match answer.status {
            StatusCode::CREATED => {
                drop(answer.read(&self.repository.client, 0).await);
                Ok(Mount::Mounted)
            }
            StatusCode::ACCEPTED => self.session(&mut answer).await.map(Mount::Begun),
            // Not to see the other repository is no reason not to push to this one.
            status if status.is_client_error() => Ok(Mount::Refused),
            _ => Err(self.repository.refused(&mut answer, Doing::Writing).await),
        }
    }

    async fn post(&self, path: &str) -> Result<Answer, Error> {
        let ask = Ask::new(Method::POST, path, &self.scopes);
        exchange::send(&self.repository.client, self.endpoint, &ask).await
    }

    async fn session(&mut self, answer: &mut Answer) -> Result<Session, Error> {
        let place = self.place(answer)?;
        if let Some(least) = answer.header("oci-chunk-min-length") {
            self.least_piece = least.parse().unwrap_or(0);
        }
        drop(answer.read(&self.repository.client, 0).await);
        Ok(Session { place, offset: 0 })
    }

    /// Tells the registry that an upload is not gone on with. It would find out by itself in time.
    async fn cancel(&self, session: Session) {
        let mut ask = Ask::new(Method::DELETE, "", &self.scopes);
        ask.to = To::Address(&session.place);
        ask.repeat = false;
        drop(exchange::send(&self.repository.client, self.endpoint, &ask).await);
    }

    /// Where an upload goes on.
    fn place(&self, answer: &Answer) -> Result<Uri, Error> {
        let fault = || Error::Answer {
            endpoint: self.endpoint.name(),
            fault: AnswerFault::Header("Location"),
        };
        let location = answer.header(LOCATION.as_str()).ok_or_else(fault)?;
        let (origin, place) = address::join(&answer.address, location).ok_or_else(fault)?;
        let from = address::origin(&answer.address).ok_or_else(fault)?;
        if !from.secure || origin.secure {
            return Ok(place);
        }
        // A registry behind a proxy that ends TLS does not know that it was reached by https.
        if origin.with_secure(true) == from {
            let path = place.path_and_query().map_or("/", |path| path.as_str());
            return from.at(path).ok_or_else(fault);
        }
        Err(answer.failed(RequestError::Redirect {
            to: address::shown(&place),
            reason: RedirectFault::Downgrade,
        }))
    }

    /// Asks how much of an upload the registry has; nothing when it does not know, or it cannot be
    /// told from nothing.
    async fn status(&mut self, session: &Session) -> Result<Option<Session>, Error> {
        let mut ask = Ask::new(Method::GET, "", &self.scopes);
        ask.to = To::Address(&session.place);
        let mut answer = exchange::send(&self.repository.client, self.endpoint, &ask).await?;
        if !answer.status.is_success() {
            return Ok(None);
        }
        let Some(offset) = answer.header(RANGE.as_str()).and_then(received) else {
            return Ok(None);
        };
        let place = match answer.headers.get(LOCATION) {
            Some(_) => self.place(&answer)?,
            None => session.place.clone(),
        };
        drop(answer.read(&self.repository.client, 0).await);
        Ok((offset <= self.size).then_some(Session { place, offset }))
    }

    /// Sends what the registry lacks.
    async fn send(&mut self, session: &mut Session) -> Result<(), Trouble> {
        if session.offset == 0 && self.in_pieces.is_none() {
            return self.finish(session, self.size).await;
        }
        while session.offset < self.size {
            let left = self.size - session.offset;
            let piece = self.in_pieces.unwrap_or(left).max(self.least_piece);
            self.patch(session, piece.min(left)).await?;
        }
        self.finish(session, 0).await
    }

    /// Sends a piece that is not the end of the upload.
    async fn patch(&mut self, session: &mut Session, length: u64) -> Result<(), Trouble> {
        let end = session.offset + length;
        let range = format!("{}-{}", session.offset, end - 1);
        let mut answer = self
            .put(
                Method::PATCH,
                &session.place,
                (session.offset, length),
                Some(range),
            )
            .await?;
        if !answer.status.is_success() {
            return Err(self.trouble(&mut answer).await);
        }
        session.place = self.place(&answer).map_err(Trouble::Final)?;
        let received = answer.header(RANGE.as_str()).and_then(received);
        // A registry that says nothing took what it was sent.
        session.offset = received.unwrap_or(end);
        drop(answer.read(&self.repository.client, 0).await);
        if session.offset < end {
            // It has less than it was sent: that is no progress to be sure of.
            return Err(Trouble::Passing(self.cut()));
        }
        failpoint::hit("distribution.upload.piece");
        Ok(())
    }

    /// Ends the upload, with its last bytes or without any.
    async fn finish(&mut self, session: &Session, length: u64) -> Result<(), Trouble> {
        let query = match session.place.query() {
            Some(query) => format!("{query}&digest={}", self.digest),
            None => format!("digest={}", self.digest),
        };
        let place = address::origin(&session.place)
            .and_then(|origin| origin.at(&format!("{}?{query}", session.place.path())))
            .ok_or_else(|| Trouble::Final(self.cut()))?;
        let offset = self.size - length;
        let mut answer = self
            .put(Method::PUT, &place, (offset, length), None)
            .await?;
        if !answer.status.is_success() {
            return Err(self.trouble(&mut answer).await);
        }
        drop(answer.read(&self.repository.client, 0).await);
        failpoint::hit("distribution.upload.finished");
        Ok(())
    }

    async fn put(
        &self,
        method: Method,
        place: &Uri,
        (offset, length): (u64, u64),
        range: Option<String>,
    ) -> Result<Answer, Trouble> {
        let fault: SourceFault = Arc::new(Mutex::new(None));
        let mut ask = Ask::new(method, "", &self.scopes).with(
            CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        );
        if let Some(range) = range {
            let range = HeaderValue::from_str(&range).expect("digits");
            ask = ask.with(CONTENT_RANGE, range);
        }
        ask.to = To::Address(place);
        ask.repeat = false;
        ask.patience = Some(self.repository.client.settings.limits.answer * COMMIT_PATIENCE);
        if length > 0 {
            ask.payload = Payload::Stream {
                source: self.source,
                offset,
                length,
                progress: Arc::clone(&self.progress),
                fault: Arc::clone(&fault),
            };
        }
        let result = exchange::send(&self.repository.client, self.endpoint, &ask).await;
        let fault = fault.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (result, fault) {
            (_, Some(reason)) => Err(Trouble::Final(Error::Source {
                digest: self.digest,
                reason,
            })),
            (Ok(answer), None) => Ok(answer),
            (Err(error), None) => Err(match &error {
                Error::Request { reason, .. }
                    if reason.is_passing() || reason.is_about_connection() =>
                {
                    Trouble::Passing(error)
                }
                _ => Trouble::Final(error),
            }),
        }
    }

    /// What a refusal means for the upload.
    async fn trouble(&mut self, answer: &mut Answer) -> Trouble {
        let status = answer.status;
        let error = self.repository.refused(answer, Doing::Writing).await;
        match status {
            StatusCode::PAYLOAD_TOO_LARGE if self.in_pieces.is_none() => {
                // Something in front of the registry has a bound on bodies.
                self.in_pieces = Some(self.repository.client.settings.limits.upload_piece);
                Trouble::Again(error)
            }
            StatusCode::NOT_FOUND => Trouble::Again(error),
            StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::TOO_MANY_REQUESTS => {
                Trouble::Passing(error)
            }
            status if status.is_server_error() => Trouble::Passing(error),
            _ => Trouble::Final(error),
        }
    }

    fn cut(&self) -> Error {
        Error::Request {
            method: Method::PATCH,
            url: format!(
                "{}{}",
                self.endpoint.origin,
                self.repository.path("blobs/uploads/")
            ),
            reason: RequestError::Cut,
        }
    }
}

/// `Range: 0-9` as ten bytes. `0-0` is what registries say of one byte and of none: then nothing is
/// known.
fn received(range: &str) -> Option<u64> {
    let range = range.strip_prefix("bytes=").unwrap_or(range);
    let (start, end) = range.trim().split_once('-')?;
    let end: u64 = end.parse().ok()?;
    (start == "0" && end > 0)
        .then(|| end.checked_add(1))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_registry_has_is_read() {
        for (text, expected) in [
            ("0-9", Some(10)),
            ("bytes=0-9", Some(10)),
            ("0-0", None),
            ("1-9", None),
            ("", None),
            ("0-18446744073709551615", None),
        ] {
            assert_eq!(received(text), expected, "{text}");
        }
    }

    #[tokio::test]
    async fn sources_are_read_from_any_offset() {
        let file = tempfile::NamedTempFile::new().expect("file");
        let content: Vec<u8> = (0..READ_AT_ONCE * 2 + 7)
            .map(|i| i.to_le_bytes()[0])
            .collect();
        std::fs::write(file.path(), &content).expect("write");
        let sources: [Box<dyn Source>; 2] = [
            Box::new(FileSource(file.path().to_owned())),
            Box::new(Bytes::from(content.clone())),
        ];
        for source in sources {
            for from in [0, 1, READ_AT_ONCE, content.len() - 1, content.len()] {
                let chunks = source.open(from as u64).expect("open");
                let read: Vec<Bytes> = chunks.try_collect().await.expect("read");
                assert_eq!(read.concat(), content[from..], "{from}");
            }
        }
        assert!(FileSource("/nonexistent".into()).open(0).is_err());
    }
}
