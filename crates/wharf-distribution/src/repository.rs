//! A repository: everything that is done to one.

mod fail;
mod listing;
mod pull;
pub(crate) mod push;

pub(crate) use fail::Doing;
pub(crate) use pull::note;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::OnceCell;
use wharf_oci::image::{Descriptor, Index};
use wharf_types::{Digest, Reference};

use crate::auth::Scopes;
use crate::blob::BlobStream;
use crate::client::Inner;
use crate::credentials::Credentials;
use crate::error::Error;
use crate::hosts::{Endpoint, Endpoints};
use crate::manifest::{Manifest, Target};
use crate::upload::{Progress, Source, Uploaded};

/// Most pairs of blob and endpoint that are not asked for again.
const DISTRUSTED_MAX: usize = 4096;

/// A repository at a registry, its mirrors included. Clones share what was learnt.
#[derive(Debug, Clone)]
pub struct Repository {
    pub(crate) client: Arc<Inner>,
    own: Arc<Own>,
}

#[derive(Debug)]
struct Own {
    name: Reference,
    credentials: Credentials,
    endpoints: OnceCell<Endpoints>,
    distrusted: Mutex<HashSet<(Digest, String)>>,
}

impl Repository {
    pub(crate) fn new(client: Arc<Inner>, name: &Reference, credentials: Credentials) -> Self {
        Self {
            client,
            own: Arc::new(Own {
                name: name.clone(),
                credentials,
                endpoints: OnceCell::new(),
                distrusted: Mutex::default(),
            }),
        }
    }

    /// Returns the repository as people write it.
    #[must_use]
    pub fn familiar_name(&self) -> String {
        self.own.name.familiar_name()
    }

    /// Returns host and port of the registry.
    #[must_use]
    pub fn registry(&self) -> &str {
        self.own.name.domain()
    }

    /// Fetches a manifest or an index. Its bytes have the digest that was asked for, or that the
    /// registry named; its type and content follow the rules of [`Document`](crate::Document).
    ///
    /// # Errors
    /// Docker's: [`Error::ManifestUnknown`], [`Error::PullDenied`], [`Error::Request`]; of a document that
    /// is not to be believed [`Error::Manifest`] or [`Error::Digest`].
    pub async fn resolve(&self, target: &Target) -> Result<Manifest, Error> {
        pull::resolve(self, target).await
    }

    /// Asks what a tag or digest leads to, without fetching it where the registry can tell; nothing when
    /// there is no such manifest. What it tells has the word of the registry only.
    ///
    /// # Errors
    /// As [`Repository::resolve`].
    pub async fn head(&self, target: &Target) -> Result<Option<Descriptor>, Error> {
        pull::head(self, target).await
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
        BlobStream::open(self, urls, *digest, size, from).await
    }

    /// Does not ask a mirror (host and port) for this blob again: it gave content of another digest.
    pub fn distrust(&self, digest: &Digest, endpoint: &str) {
        let mut distrusted = lock(&self.own.distrusted);
        if distrusted.len() >= DISTRUSTED_MAX {
            distrusted.clear();
        }
        distrusted.insert((*digest, endpoint.to_owned()));
    }

    /// Returns whether the registry itself, not a mirror, has a blob.
    ///
    /// # Errors
    /// The registry cannot be reached or refuses.
    pub async fn has_blob(&self, digest: &Digest) -> Result<bool, Error> {
        push::has_blob(self, digest, &self.scopes("pull")).await
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
        crate::upload::upload(self, (*digest, size), mount_from, source, progress).await
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
        push::put_manifest(self, target, media_type, bytes).await
    }

    /// Lists all tags.
    ///
    /// # Errors
    /// The registry refuses or cannot be reached, or the list does not end.
    pub async fn tags(&self) -> Result<Vec<String>, Error> {
        listing::tags(self).await
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
        listing::referrers(self, digest, artifact_type).await
    }

    /// Deletes a manifest by its digest, or a tag.
    ///
    /// # Errors
    /// There is none, or the registry refuses.
    pub async fn delete_manifest(&self, target: &Target) -> Result<(), Error> {
        push::delete(self, &format!("manifests/{target}")).await
    }

    /// Deletes a blob.
    ///
    /// # Errors
    /// There is none, or the registry refuses.
    pub async fn delete_blob(&self, digest: &Digest) -> Result<(), Error> {
        push::delete(self, &format!("blobs/{digest}")).await
    }

    /// Returns the endpoints, which are found once.
    pub(crate) async fn endpoints(&self) -> Result<&Endpoints, Error> {
        let Own {
            name, credentials, ..
        } = &*self.own;
        self.own
            .endpoints
            .get_or_try_init(|| Endpoints::find(&self.client, name.domain(), credentials))
            .await
    }

    /// Returns a path below an endpoint's prefix.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/{}/{rest}", self.own.name.path())
    }

    /// Returns the scope of some actions on this repository.
    pub(crate) fn scopes(&self, actions: &str) -> Scopes {
        Scopes::from([format!("repository:{}:{actions}", self.own.name.path())])
    }

    pub(crate) fn is_distrusted(&self, digest: &Digest, endpoint: &Endpoint) -> bool {
        // The registry itself has the last word, right or wrong.
        !endpoint.is_registry && lock(&self.own.distrusted).contains(&(*digest, endpoint.name()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
