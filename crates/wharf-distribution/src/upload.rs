//! Blobs that go as streams, over lines that break.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;

/// Bytes that are read one piece after the other.
pub type Chunks = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// Is told how many bytes of the blob have gone out. The number falls when a registry lost some.
pub type Progress = Arc<dyn Fn(u64) + Send + Sync>;

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
        let _ = from;
        todo!()
    }
}

/// Leaves an error of the chunks where it can be found: to HTTP a body that fails is a line that is cut.
pub(crate) fn noting(chunks: Chunks, fault: crate::exchange::SourceFault) -> Chunks {
    use futures_util::TryStreamExt;
    Box::pin(chunks.inspect_err(move |error| {
        let copy = io::Error::new(error.kind(), error.to_string());
        *fault
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(copy);
    }))
}

pub(crate) async fn upload(
    repository: &crate::Repository,
    (digest, size): (wharf_types::Digest, u64),
    mount_from: &[wharf_types::Repository],
    source: &dyn Source,
    progress: Progress,
) -> Result<Uploaded, crate::Error> {
    let (_, _, _, _, _, _) = (repository, digest, size, mount_from, source, progress);
    todo!()
}
