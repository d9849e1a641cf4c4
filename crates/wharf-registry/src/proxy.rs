//! Pull-through: repositories that are copies of other registries', filled as they are asked for.
//!
//! What is missing is fetched once, however many ask for it: a manifest under a lock of its own, a blob
//! by one [`Download`], which all who want the blob read while it grows on the disk. Nothing is stored,
//! and no last byte is given out, before its digest was checked. What a tag names is asked upstream when
//! that was not done lately; when upstream does not answer, what is here is served.
//!
//! Credentials belong to an upstream, and the client sees to it that no other host gets them.

mod download;
mod flights;
mod settings;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::StatusCode;
use wharf_distribution::{Client, Credentials, Error, Kind, Target};
use wharf_types::{Digest, Reference, Repository, Tag};

pub use self::settings::{ProxyError, ProxySettings, Upstream};

pub(crate) use self::download::{Download, Downloads};

use self::flights::Flights;
use crate::refusal::{self, Refusal};
use crate::server::Registry;
use crate::storage::{ManifestName, Storage, StorageError};

/// Most tags whose last look upstream is remembered; of others it is as if it were long ago.
const MOST_CHECKED: usize = 64 * 1024;

/// The upstreams of a registry, and what is on its way from them.
#[derive(Debug)]
pub struct Proxies {
    upstreams: Vec<Upstream>,
    client: Client,
    /// How long it is believed that a tag names what it did.
    fresh: Duration,
    manifests: Flights<(Repository, String)>,
    checked: Mutex<HashMap<(Repository, Tag), Instant>>,
    /// How long a manifest is kept that nobody asks for.
    keep: Option<Duration>,
    /// When manifests were last asked for; others not since the start.
    used: Mutex<HashMap<(Repository, Digest), Instant>>,
    started: Instant,
    pub(crate) downloads: Downloads,
}

/// Whether what is served is known to be what upstream has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    Fresh,
    /// Upstream does not answer.
    Stale,
}

impl Proxies {
    /// Returns the upstream's repository that one here is a copy of.
    pub(crate) fn upstream(&self, name: &Repository) -> Option<wharf_distribution::Repository> {
        let (upstream, reference) = self.find(name)?;
        let credentials = match &upstream.credentials {
            Some((name, password)) => Credentials::basic(name, password),
            None => Credentials::None,
        };
        Some(self.client.repository(&reference, credentials))
    }

    /// Returns whether a repository is a copy.
    pub(crate) fn has(&self, name: &Repository) -> bool {
        self.find(name).is_some()
    }

    fn find(&self, name: &Repository) -> Option<(&Upstream, Reference)> {
        // The longest prefix comes first.
        self.upstreams
            .iter()
            .find_map(|upstream| Some((upstream, upstream.reference(name)?)))
    }

    fn is_used(&self, name: &Repository, digest: Digest) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.insert((name.clone(), digest), Instant::now());
    }

    /// Removes the manifests of copies that nobody has asked for in a long time; their blobs go with the
    /// next collections. Returns how many.
    ///
    /// # Errors
    /// The disk; what was removed until then is gone.
    pub(crate) fn expire(&self, storage: &Storage) -> Result<usize, StorageError> {
        let Some(keep) = self.keep else {
            return Ok(0);
        };
        let mut removed = 0;
        for (name, digest) in storage.manifests(|name| self.has(name)) {
            let key = (name, digest);
            let at = {
                let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
                used.get(&key).copied().unwrap_or(self.started)
            };
            if at.elapsed() < keep {
                continue;
            }
            match storage.delete_manifest(&key.0, &ManifestName::Digest(digest)) {
                Ok(()) => removed += 1,
                // Somebody else was quicker.
                Err(StorageError::NoManifest { .. }) => {}
                Err(error) => return Err(error),
            }
            let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            used.remove(&key);
        }
        Ok(removed)
    }

    fn is_fresh(&self, name: &Repository, tag: &Tag) -> bool {
        let checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        let at = checked.get(&(name.clone(), tag.clone()));
        at.is_some_and(|at| at.elapsed() < self.fresh)
    }

    fn has_checked(&self, name: &Repository, tag: &Tag) {
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if checked.len() >= MOST_CHECKED {
            checked.retain(|_, at| at.elapsed() < self.fresh);
            if checked.len() >= MOST_CHECKED {
                checked.clear();
            }
        }
        checked.insert((name.clone(), tag.clone()), Instant::now());
    }
}

/// Makes sure that a copy has a manifest, and for a tag that it is upstream's.
pub(crate) async fn manifest(
    registry: &Arc<Registry>,
    name: &Repository,
    wanted: &ManifestName,
) -> Result<Freshness, Refusal> {
    let Some(proxies) = &registry.proxies else {
        return Ok(Freshness::Fresh);
    };
    let Some(upstream) = proxies.upstream(name) else {
        return Ok(Freshness::Fresh);
    };
    let freshness = bring(registry, proxies, name, wanted, &upstream).await?;
    if let Ok((digest, ..)) = registry.storage.manifest_head(name, wanted) {
        proxies.is_used(name, digest);
    }
    Ok(freshness)
}

async fn bring(
    registry: &Arc<Registry>,
    proxies: &Proxies,
    name: &Repository,
    wanted: &ManifestName,
    upstream: &wharf_distribution::Repository,
) -> Result<Freshness, Refusal> {
    if is_here(registry, proxies, name, wanted) {
        registry.metrics.cache("hit");
        return Ok(Freshness::Fresh);
    }
    let key = (name.clone(), wanted.to_string());
    let _turn = proxies.manifests.turn(key).await;
    // Whoever had the turn before may have brought it.
    if is_here(registry, proxies, name, wanted) {
        registry.metrics.cache("hit");
        return Ok(Freshness::Fresh);
    }
    match fetch(registry, name, wanted, upstream).await {
        Ok(()) => {
            if let ManifestName::Tag(tag) = wanted {
                proxies.has_checked(name, tag);
            }
            registry.metrics.cache("miss");
            Ok(Freshness::Fresh)
        }
        Err(FetchError::Upstream(error)) => {
            let down = matches!(error.kind(), Kind::Unavailable | Kind::TooManyRequests);
            if down && registry.storage.manifest_head(name, wanted).is_ok() {
                tracing::warn!(repository = %name, wanted = %wanted, error = refusal::chain(&error), "upstream does not answer: what is here is served");
                registry.metrics.cache("stale");
                return Ok(Freshness::Stale);
            }
            registry.metrics.cache("failed");
            Err(refused(&error, "MANIFEST_UNKNOWN"))
        }
        Err(FetchError::Here(refusal)) => Err(refusal),
    }
}

/// Returns whether a manifest need not be asked for.
fn is_here(
    registry: &Registry,
    proxies: &Proxies,
    name: &Repository,
    wanted: &ManifestName,
) -> bool {
    let fresh = match wanted {
        ManifestName::Digest(_) => true,
        ManifestName::Tag(tag) => proxies.is_fresh(name, tag),
    };
    fresh && registry.storage.manifest_head(name, wanted).is_ok()
}

enum FetchError {
    Upstream(Error),
    Here(Refusal),
}

impl From<Error> for FetchError {
    fn from(error: Error) -> Self {
        Self::Upstream(error)
    }
}

/// Brings a manifest, unless a tag still names the one that is here.
async fn fetch(
    registry: &Arc<Registry>,
    name: &Repository,
    wanted: &ManifestName,
    upstream: &wharf_distribution::Repository,
) -> Result<(), FetchError> {
    let target = match wanted {
        ManifestName::Tag(tag) => Target::Tag(tag.clone()),
        ManifestName::Digest(digest) => Target::Digest(*digest),
    };
    if let Ok((known, ..)) = registry.storage.manifest_head(name, wanted)
        && let Some(named) = upstream.head(&target).await?
        && named.digest == known.to_string()
    {
        return Ok(());
    }
    let manifest = upstream.resolve(&target).await?;
    let (storing, name, wanted) = (Arc::clone(registry), name.clone(), wanted.clone());
    let stored = tokio::task::spawn_blocking(move || {
        storing.storage.put_cached_manifest(
            &name,
            &wanted,
            &manifest.bytes,
            Some(&manifest.media_type),
        )
    });
    match stored.await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(FetchError::Here(error.into())),
        Err(error) => Err(FetchError::Here(Refusal::unknown(error.to_string()))),
    }
}

/// Returns a blob of a copy that is on its way here; nothing when the repository is no copy, or has the
/// blob already.
pub(crate) async fn blob(
    registry: &Arc<Registry>,
    name: &Repository,
    digest: Digest,
) -> Result<Option<Arc<Download>>, Refusal> {
    let Some(proxies) = &registry.proxies else {
        return Ok(None);
    };
    let Some(upstream) = proxies.upstream(name) else {
        return Ok(None);
    };
    let Some(download) = proxies.downloads.join(registry, name, digest, upstream) else {
        registry.metrics.cache("hit");
        return Ok(None);
    };
    registry.metrics.cache("miss");
    match download.begun().await {
        Ok(()) => Ok(Some(download)),
        Err(failure) => {
            registry.metrics.cache("failed");
            Err(failure.into_refusal(name, digest))
        }
    }
}

/// Returns the tags upstream has, in order; nothing when the repository is no copy, or upstream does not
/// answer and what is here must do.
pub(crate) async fn tags(
    registry: &Registry,
    name: &Repository,
) -> Result<Option<Vec<String>>, Refusal> {
    let proxies = registry.proxies.as_ref();
    let Some(upstream) = proxies.and_then(|proxies| proxies.upstream(name)) else {
        return Ok(None);
    };
    match upstream.tags().await {
        Ok(mut tags) => {
            tags.sort_unstable();
            Ok(Some(tags))
        }
        Err(error) if error.kind() == Kind::Unavailable => {
            tracing::warn!(repository = %name, error = refusal::chain(&error), "upstream does not answer: the tags that are here are told");
            Ok(None)
        }
        Err(error) => Err(refused(&error, "NAME_UNKNOWN")),
    }
}

/// What a client is told when upstream does not give something.
fn refused(error: &Error, unknown: &'static str) -> Refusal {
    let said = refusal::chain(error);
    match error.kind() {
        Kind::NotFound => Refusal::new(StatusCode::NOT_FOUND, unknown, said),
        Kind::Denied | Kind::Unauthorized => Refusal::denied(said),
        Kind::TooManyRequests => {
            let mut refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", said);
            refusal.retry_after = Some(60);
            refusal
        }
        Kind::Unavailable | Kind::Untrustworthy | Kind::Invalid => {
            tracing::warn!(error = said, "upstream failed");
            Refusal::new(
                StatusCode::BAD_GATEWAY,
                "UNKNOWN",
                "upstream failed; the log says why",
            )
        }
    }
}

impl download::Failure {
    fn into_refusal(self, name: &Repository, digest: Digest) -> Refusal {
        match self {
            Self::Upstream(error) => refused(&error, "BLOB_UNKNOWN"),
            Self::Here(message) => Refusal::unknown(message),
            Self::Cut => StorageError::NoBlob {
                repository: name.clone(),
                digest,
            }
            .into(),
        }
    }
}
