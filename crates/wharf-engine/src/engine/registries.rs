//! Images at registries.

use wharf_wire as wire;

use super::Engine;
use crate::{Error, ProgressSender, PullRequest, PushRequest};

/// Images at registries. What is asked for is given up when the receiver of its progress is dropped.
impl Engine {
    /// Brings an image in; those that the engine carries in itself need no registry.
    ///
    /// # Errors
    /// The registry has none of this name, or refuses, or cannot be reached; or the image is not to
    /// be believed. What came of its layers is not asked for again.
    pub async fn image_pull(
        &self,
        request: PullRequest,
        progress: ProgressSender,
    ) -> Result<(), Error> {
        self.inner.pull(request, progress).await
    }

    /// Brings an image, or all tags of a repository, to their registry.
    ///
    /// # Errors
    /// There is none of this name, or the registry refuses or cannot be reached.
    pub async fn image_push(
        &self,
        request: PushRequest,
        progress: ProgressSender,
    ) -> Result<(), Error> {
        self.inner.push(request, progress).await
    }

    /// Checks who somebody is at a registry.
    ///
    /// # Errors
    /// The registry refuses, or cannot be reached.
    pub async fn login(&self, auth: &wire::AuthConfig) -> Result<wire::AuthResult, Error> {
        self.inner.login(auth).await
    }

    /// Searches an index for images.
    ///
    /// # Errors
    /// A filter or the limit is wrong, or the index cannot be reached.
    pub async fn image_search(
        &self,
        query: &wire::ImageSearchQuery,
        auth: &wire::AuthConfig,
    ) -> Result<Vec<wire::SearchResult>, Error> {
        self.inner.search(query, auth).await
    }

    /// Returns what a registry has under a name.
    ///
    /// # Errors
    /// The registry has none of this name, or refuses, or cannot be reached.
    pub async fn distribution(
        &self,
        name: &str,
        auth: &wire::AuthConfig,
    ) -> Result<wire::DistributionInspect, Error> {
        self.inner.distribution(name, auth).await
    }
}
