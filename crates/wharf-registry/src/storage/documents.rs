//! Manifests' bytes in memory: they are small, and asked for more often than anything else.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;
use wharf_types::Digest;

/// Bytes kept at a time.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// Longest document kept.
const MAX_DOCUMENT: usize = 64 * 1024;

/// Documents by their digests, which is why none can be out of date.
#[derive(Debug, Default)]
pub(crate) struct Documents(RwLock<Kept>);

#[derive(Debug, Default)]
struct Kept {
    documents: HashMap<Digest, Bytes>,
    bytes: usize,
}

impl Documents {
    pub(crate) fn get(&self, digest: Digest) -> Option<Bytes> {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        kept.documents.get(&digest).cloned()
    }

    pub(crate) fn keep(&self, digest: Digest, document: &Bytes) {
        if document.len() > MAX_DOCUMENT {
            return;
        }
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if kept.bytes + document.len() > MAX_BYTES {
            // What is asked for often is soon here again.
            *kept = Kept::default();
        }
        if kept.documents.insert(digest, document.clone()).is_none() {
            kept.bytes += document.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_has_a_bound() {
        let documents = Documents::default();
        let document = Bytes::from(vec![0; MAX_DOCUMENT]);
        for number in 0..1000_u32 {
            documents.keep(Digest::of(&number.to_be_bytes()), &document);
        }
        assert!(documents.0.read().expect("sound").bytes <= MAX_BYTES);
        assert!(documents.get(Digest::of(&999_u32.to_be_bytes())).is_some());
        let long = Bytes::from(vec![0; MAX_DOCUMENT + 1]);
        documents.keep(Digest::of(b"long"), &long);
        assert!(documents.get(Digest::of(b"long")).is_none());
    }
}
