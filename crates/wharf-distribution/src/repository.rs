//! A repository: everything that is done to one.

use std::sync::Arc;

use bytes::Bytes;
use wharf_oci::image::{Descriptor, Index};
use wharf_types::{Digest, Reference};

use crate::blob::BlobStream;
use crate::client::Inner;
use crate::credentials::Credentials;
use crate::error::Error;
use crate::manifest::{Manifest, Target};
use crate::upload::{Progress, Source, Uploaded};

/// A repository at a registry, its mirrors included. Clones share what was learnt.
#[derive(Debug, Clone)]
pub struct Repository {
    client: Arc<Inner>,
    name: Reference,
    credentials: Credentials,
}

impl Repository {
    pub(crate) fn new(client: Arc<Inner>, name: &Reference, credentials: Credentials) -> Self {
        Self {
            client,
            name: name.clone(),
            credentials,
        }
    }

    /// Fetches a manifest or an index. Its bytes have the digest that was asked for, or that the
    /// registry named; its type and content follow the rules of [`Document`](crate::Document).
    ///
    /// # Errors
    /// Docker's: [`Error::ManifestUnknown`], [`Error::PullDenied`], [`Error::Request`]; of a document that
    /// is not to be believed [`Error::Manifest`] or [`Error::Digest`].
    pub async fn resolve(&self, target: &Target) -> Result<Manifest, Error> {
        let _ = target;
        todo!()
    }

    /// Asks what a tag or digest leads to, without fetching it; nothing when there is no such manifest.
    ///
    /// # Errors
    /// As [`Repository::resolve`].
    pub async fn head(&self, target: &Target) -> Result<Option<Descriptor>, Error> {
        let _ = target;
        todo!()
    }

    /// Fetches a blob from an offset on. See [`BlobStream`].
    ///
    /// # Errors
    /// No endpoint has it or can be reached; [`Error::Size`] when all have another length.
    pub async fn blob(
        &self,
        digest: &Digest,
        size: Option<u64>,
        from: u64,
    ) -> Result<BlobStream, Error> {
        self.foreign_blob(&[], digest, size, from).await
    }

    /// Fetches a blob from the addresses in its descriptor (`urls`), in order, and when they fail from
    /// the registry: layers whose licence forbids to distribute them. No credentials go to those
    /// addresses.
    ///
    /// # Errors
    /// As [`Repository::blob`].
    pub async fn foreign_blob(
        &self,
        urls: &[String],
        digest: &Digest,
        size: Option<u64>,
        from: u64,
    ) -> Result<BlobStream, Error> {
        let (_, _, _, _) = (urls, digest, size, from);
        todo!()
    }

    /// Does not ask the endpoint for this blob again: it gave content of another digest.
    pub fn distrust(&self, digest: &Digest, endpoint: &str) {
        let (_, _) = (digest, endpoint);
        todo!()
    }

    /// Returns whether the registry itself, not a mirror, has a blob.
    ///
    /// # Errors
    /// The registry cannot be reached or refuses.
    pub async fn has_blob(&self, digest: &Digest) -> Result<bool, Error> {
        let _ = digest;
        todo!()
    }

    /// Brings a blob to the registry, in the cheapest way: nothing when it is there, by a mount from one
    /// of `mount_from` (paths of repositories at the same registry), or by sending it. A line that is cut
    /// is taken up where the registry says it broke; when it has forgotten the upload, from the start.
    ///
    /// # Errors
    /// The registry refuses or cannot be reached, or [`Error::Source`].
    pub async fn upload(
        &self,
        digest: &Digest,
        size: u64,
        mount_from: &[wharf_types::Repository],
        source: &dyn Source,
        progress: Progress,
    ) -> Result<Uploaded, Error> {
        let (_, _, _, _, _) = (digest, size, mount_from, source, progress);
        todo!()
    }

    /// Puts a manifest or an index under a tag or its digest, after all it points to is there.
    ///
    /// # Errors
    /// The registry refuses, or takes it under another digest than its bytes have.
    pub async fn put_manifest(
        &self,
        target: &Target,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<Digest, Error> {
        let (_, _, _) = (target, media_type, bytes);
        todo!()
    }

    /// Lists all tags.
    ///
    /// # Errors
    /// The registry refuses or cannot be reached, or the list does not end.
    pub async fn tags(&self) -> Result<Vec<String>, Error> {
        todo!()
    }

    /// Lists what points to a manifest as its subject, by the registry's API or, where it has none, by
    /// the tag that stands in for it.
    ///
    /// # Errors
    /// The registry refuses or cannot be reached, or the list does not end.
    pub async fn referrers(
        &self,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Index, Error> {
        let (_, _) = (digest, artifact_type);
        todo!()
    }

    /// Deletes a manifest by its digest, or a tag.
    ///
    /// # Errors
    /// There is none, or the registry refuses.
    pub async fn delete_manifest(&self, target: &Target) -> Result<(), Error> {
        let _ = target;
        todo!()
    }

    /// Deletes a blob.
    ///
    /// # Errors
    /// There is none, or the registry refuses.
    pub async fn delete_blob(&self, digest: &Digest) -> Result<(), Error> {
        let _ = digest;
        todo!()
    }
}
