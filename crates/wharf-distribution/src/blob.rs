//! Blobs that come as streams, over lines that break.

use bytes::Bytes;
use wharf_types::{Digest, Hasher};

use crate::error::Error;

/// A blob on its way.
///
/// A line that is cut, a server that stands still or errs are taken up where they left off, at the
/// same endpoint and then at the next; whoever reads does not notice. Nobody has hashed what comes: read
/// through [`BlobStream::verified`], or hash and tell [`Repository::distrust`](crate::Repository::distrust).
#[derive(Debug)]
pub struct BlobStream {
    digest: Digest,
}

/// A blob on its way, hashed as it passes.
#[derive(Debug)]
pub struct Verified {
    stream: BlobStream,
    hasher: Hasher,
}

impl BlobStream {
    /// Returns the digest that was asked for.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns the length of the whole blob, when it is known.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        todo!()
    }

    /// Returns the offset of the next byte.
    #[must_use]
    pub fn position(&self) -> u64 {
        todo!()
    }

    /// Returns host and port of who is giving it.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        todo!()
    }

    /// Returns the next bytes, nothing after the last. May be dropped while it waits, and called again.
    ///
    /// # Errors
    /// Every endpoint was tried as often as [`Limits::tries`](crate::Limits::tries) says without a
    /// byte of progress, or all refuse.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        todo!()
    }

    /// Returns the stream with its bytes hashed as they pass. It must begin at the first byte.
    #[must_use]
    pub fn verified(self) -> Verified {
        self.verified_after(Hasher::new())
    }

    /// The same for a stream that begins at an offset: with the hash of what comes before it.
    #[must_use]
    pub fn verified_after(self, hasher: Hasher) -> Verified {
        Verified {
            stream: self,
            hasher,
        }
    }
}

impl Verified {
    /// Returns the stream beneath.
    #[must_use]
    pub fn stream(&self) -> &BlobStream {
        &self.stream
    }

    /// Returns the next bytes, nothing after the last and when all together have the digest.
    ///
    /// # Errors
    /// As [`BlobStream::next`]; [`Error::Digest`] in the place of the end when they have another digest.
    /// The repository then does not ask that mirror for this blob again.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let bytes = self.stream.next().await?;
        if let Some(bytes) = &bytes {
            self.hasher.update(bytes);
        }
        Ok(bytes)
    }
}
