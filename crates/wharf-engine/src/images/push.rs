//! Images going out to registries.
//!
//! An image of which the store has all platforms goes whole, by its index; of any other the one image
//! that is here goes by its manifest. Layers go in parallel, each only if the registry lacks it and no
//! other repository there can lend it; manifests go after what they point to, so that nothing that can
//! be pulled ever lacks a part.
//!
//! Fail points: `engine.push.layers-sent`, `engine.push.manifest-sent`, `engine.push.recorded`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, TryStreamExt};
use wharf_distribution::{FileSource, Kind, Repository, RequestError, Target, Uploaded};
use wharf_store::{ImageIndex, OutgoingBlob, OutgoingImage, OutgoingLayer};
use wharf_types::{Digest, Reference, failpoint};
use wharf_wire as wire;

use super::archive::layer_progress;
use super::pull::{ProgressSender, tell};
use super::{Images, is_digest};
use crate::error::{Error, ErrorKind};
use crate::inner::Inner;
use crate::registries::{Current, credentials, refused};

/// How often a layer's progress is told.
const TELL_EVERY: Duration = Duration::from_millis(100);
/// Repositories of the same registry that are asked to lend a layer.
const LENDERS_MAX: usize = 3;

/// An image to push.
#[derive(Debug, Clone)]
pub struct PushRequest {
    /// Its name; without a tag all tags of the repository are pushed.
    pub name: Reference,
    /// The one platform to push, OCI's document; empty: whatever there is.
    pub platform: String,
    /// Who asks.
    pub auth: wire::AuthConfig,
}

impl Inner {
    /// See [`crate::Engine::image_push`].
    pub(crate) async fn push(
        self: &Arc<Self>,
        request: PushRequest,
        progress: ProgressSender,
    ) -> Result<(), Error> {
        tokio::select! {
            pushed = self.push_named(&request, &progress) => pushed,
            () = progress.closed() => {
                tracing::debug!(image = %request.name, "a push is given up, as nobody waits for it");
                Err(Error::new(ErrorKind::Unavailable, "context canceled"))
            }
        }
    }

    async fn push_named(
        self: &Arc<Self>,
        request: &PushRequest,
        progress: &ProgressSender,
    ) -> Result<(), Error> {
        let name = &request.name;
        if name.digest().is_some() {
            return Err(Error::invalid("cannot push a digest reference"));
        }
        let settings = self.registries.current();
        let repository = settings
            .client
            .repository(name, credentials(&request.auth)?);
        let status = format!("The push refers to repository [{}]", full_name(name));
        tell(progress, wire::Progress::status(status)).await?;
        let tags = self.images.to_push(name)?;
        if tags.is_empty() {
            let missing = format!("tag does not exist: {}", name.familiar());
            return Err(Error::not_found(missing));
        }
        for tag in tags {
            let push = Push {
                engine: self,
                settings: &settings,
                repository: &repository,
                name: &tag,
                progress,
                told: BTreeSet::new(),
            };
            push.run(&request.platform).await?;
        }
        Ok(())
    }
}

/// The repository with its registry, and `library/` as Docker shows it in a push.
fn full_name(name: &Reference) -> String {
    format!("{}/{}", name.domain(), name.path())
}

/// The push of one tag.
struct Push<'a> {
    engine: &'a Arc<Inner>,
    settings: &'a Arc<Current>,
    repository: &'a Repository,
    name: &'a Reference,
    progress: &'a ProgressSender,
    /// Layers whose progress has been told.
    told: BTreeSet<Digest>,
}

/// What a tag came to at the registry.
struct Pushed {
    digest: Digest,
    size: usize,
    /// The index that went, when it went whole.
    index: Option<Digest>,
    /// What went in the place of an index that is not all here.
    instead: Option<wire::Progress>,
}

impl Push<'_> {
    async fn run(mut self, platform: &str) -> Result<(), Error> {
        let images = &self.engine.images;
        let found = images.find(&self.name.to_string())?;
        let index = match images.names().index_of(self.name) {
            Some(index) if platform.is_empty() => {
                let index = self.engine.store.index(&index);
                Some(index.map_err(|error| Error::internal("cannot read the index", error))?)
            }
            _ => None,
        };
        let pushed = match index {
            Some(index) if index.is_complete() => self.whole(&index).await?,
            index => {
                let id = match platform {
                    "" => found.id,
                    platform => images.first_for(&self.name.to_string(), &[platform.to_owned()])?,
                };
                let image = self.outgoing(id).await?;
                self.blobs_of(&image).await?;
                let digest = self.manifest(self.tag()?, &image.media_type, &image.manifest_bytes);
                let digest = digest.await?;
                Pushed {
                    digest,
                    size: image.manifest_bytes.len(),
                    index: None,
                    instead: index.map(|index| instead_of(&index, &image)),
                }
            }
        };
        failpoint::hit("engine.push.manifest-sent");
        self.record(found.id, &pushed).await?;
        self.tell_done(pushed).await?;
        let (familiar, repository) = (self.name.familiar(), self.name.familiar_name());
        self.engine.tell_image("push", &familiar, &repository);
        Ok(())
    }

    fn tag(&self) -> Result<Target, Error> {
        let tag = self.name.tag().unwrap_or_default().parse();
        tag.map(Target::Tag)
            .map_err(|error| Error::internal("the name has no tag", error))
    }

    /// Pushes an index and everything it lists.
    async fn whole(&mut self, index: &ImageIndex) -> Result<Pushed, Error> {
        for member in &index.members {
            if let Some(id) = member.image {
                let image = self.outgoing(id).await?;
                self.blobs_of(&image).await?;
                if image.manifest != member.manifest {
                    return Err(Error::internal(
                        "cannot push the index",
                        format!("{} is here by another manifest", member.manifest),
                    ));
                }
                let target = Target::Digest(image.manifest);
                self.manifest(target, &image.media_type, &image.manifest_bytes)
                    .await?;
            }
        }
        for member in index.members.iter().filter(|member| member.image.is_none()) {
            self.other(index, member).await?;
        }
        let digest = self.manifest(self.tag()?, &index.media_type, &index.bytes);
        Ok(Pushed {
            digest: digest.await?,
            size: index.bytes.len(),
            index: Some(index.digest),
            instead: None,
        })
    }

    /// Pushes a document of an index that is no image, and its blobs.
    async fn other(
        &self,
        index: &ImageIndex,
        member: &wharf_store::IndexMember,
    ) -> Result<(), Error> {
        let media_type = index
            .document
            .manifests
            .iter()
            .find(|descriptor| descriptor.digest == member.manifest.to_string())
            .map(|descriptor| descriptor.media_type.clone());
        let media_type = media_type.unwrap_or_else(|| index.media_type.clone());
        for blob in member.blobs.iter().filter(|blob| **blob != member.manifest) {
            let blob = self.stored(index, blob)?;
            self.send(&blob, &[], None).await?;
        }
        let document = self.stored(index, &member.manifest)?;
        let bytes = tokio::task::spawn_blocking(move || std::fs::read(document.path)).await;
        let bytes = bytes
            .map_err(|error| Error::internal("the engine failed", error))?
            .map_err(|error| Error::internal("cannot read a document", error))?;
        let target = Target::Digest(member.manifest);
        self.manifest(target, &media_type, &bytes).await.map(drop)
    }

    fn stored(&self, index: &ImageIndex, blob: &Digest) -> Result<OutgoingBlob, Error> {
        let blob = self.engine.store.outgoing_blob(&index.digest, blob);
        blob.map_err(|error| Error::internal("cannot read a blob", error))
    }

    async fn outgoing(&self, id: Digest) -> Result<OutgoingImage, Error> {
        let store = self.engine.store.clone();
        tokio::task::spawn_blocking(move || store.outgoing(&id))
            .await
            .map_err(|error| Error::internal("the engine failed", error))?
            .map_err(|error| Error::internal("cannot read the image", error))
    }

    /// Pushes an image's layers, then its configuration.
    async fn blobs_of(&mut self, image: &OutgoingImage) -> Result<(), Error> {
        // Before anything is said of layers it is certain that somebody listens.
        let asked = self.repository.has_blob(&image.config.digest).await;
        if let Err(error) = asked
            && error.kind() == Kind::Unavailable
        {
            return Err(refused(error));
        }
        for layer in &image.layers {
            if self.told.insert(layer.diff_id) {
                tell(self.progress, step(layer, "Preparing")).await?;
            }
        }
        let mut seen = BTreeSet::new();
        let layers = image.layers.iter();
        let sending: FuturesUnordered<_> = layers
            .filter(|layer| seen.insert(layer.blob.digest))
            .map(|layer| self.layer(layer))
            .collect();
        sending.try_collect::<Vec<()>>().await?;
        self.send(&image.config, &[], None).await?;
        failpoint::hit("engine.push.layers-sent");
        Ok(())
    }

    async fn layer(&self, layer: &OutgoingLayer) -> Result<(), Error> {
        let uploads = &self.settings.uploads;
        let permit = match uploads.try_acquire() {
            Ok(permit) => Ok(permit),
            Err(_) => {
                tell(self.progress, step(layer, "Waiting")).await?;
                uploads.acquire().await
            }
        };
        let _permit = permit.map_err(|error| Error::internal("the engine is closing", error))?;
        let lenders = self.engine.images.lenders(self.name, &layer.stored)?;
        let status = match self.send(&layer.blob, &lenders, Some(layer)).await? {
            Uploaded::Existed => "Layer already exists".to_owned(),
            Uploaded::Mounted(from) => format!("Mounted from {}", shown(self.name, &from)),
            Uploaded::Sent => "Pushed".to_owned(),
        };
        tell(self.progress, step(layer, &status)).await
    }

    async fn send(
        &self,
        blob: &OutgoingBlob,
        lenders: &[wharf_types::Repository],
        layer: Option<&OutgoingLayer>,
    ) -> Result<Uploaded, Error> {
        let sent = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&sent);
        let source = FileSource(blob.path.clone());
        let upload = self.repository.upload(
            &blob.digest,
            blob.size,
            lenders,
            &source,
            Arc::new(move |so_far| counter.store(so_far, Ordering::Relaxed)),
        );
        tokio::pin!(upload);
        let mut ticks = tokio::time::interval(TELL_EVERY);
        let mut told = 0;
        loop {
            tokio::select! {
                uploaded = &mut upload => return uploaded.map_err(not_pushed),
                _ = ticks.tick() => {
                    let so_far = sent.load(Ordering::Relaxed);
                    if let (Some(layer), true) = (layer, so_far != told) {
                        told = so_far;
                        let id = layer.diff_id.short();
                        tell(self.progress, layer_progress("Pushing", &id, so_far, blob.size)).await?;
                    }
                }
            }
        }
    }

    async fn manifest(
        &self,
        target: Target,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Digest, Error> {
        let bytes = Bytes::copy_from_slice(bytes);
        let put = self.repository.put_manifest(&target, media_type, bytes);
        put.await.map_err(not_pushed)
    }

    /// Remembers that the repository has the image.
    async fn record(&self, id: Digest, pushed: &Pushed) -> Result<(), Error> {
        let (engine, index) = (Arc::clone(self.engine), pushed.index);
        let name = self.name.clone().with_digest(pushed.digest);
        let given = tokio::task::spawn_blocking(move || {
            // It may have been removed meanwhile; the registry has it all the same.
            match engine.images.known_image(&id) {
                Ok(_) => engine
                    .images
                    .give(&engine.records, id, &[name], index)
                    .map(drop),
                Err(_) => Ok(()),
            }
        });
        given
            .await
            .map_err(|error| Error::internal("the engine failed", error))??;
        failpoint::hit("engine.push.recorded");
        Ok(())
    }

    async fn tell_done(&self, pushed: Pushed) -> Result<(), Error> {
        let tag = self.name.tag().unwrap_or_default();
        let Pushed { digest, size, .. } = pushed;
        let status = format!("{tag}: digest: {digest} size: {size}");
        tell(self.progress, wire::Progress::status(status)).await?;
        let aux = serde_json::json!({ "Tag": tag, "Digest": digest.to_string(), "Size": size });
        tell(self.progress, auxiliary(aux)).await?;
        match pushed.instead {
            Some(line) => tell(self.progress, line).await,
            None => Ok(()),
        }
    }
}

/// Says why something is not pushed, as Docker does.
fn not_pushed(error: wharf_distribution::Error) -> Error {
    match error {
        wharf_distribution::Error::Request {
            reason: reason @ RequestError::NoCredentials,
            ..
        } => Error::new(ErrorKind::Internal, reason.to_string()),
        error => refused(error),
    }
}

fn auxiliary(aux: serde_json::Value) -> wire::Progress {
    wire::Progress {
        progress_detail: Some(wire::ProgressDetail::default()),
        aux: Some(aux),
        ..wire::Progress::default()
    }
}

/// Tells clients, which know how to say it, that one platform went and not the index.
fn instead_of(index: &ImageIndex, image: &OutgoingImage) -> wire::Progress {
    auxiliary(serde_json::json!({
        "manifestPushedInsteadOfIndex": true,
        "originalIndex": {
            "mediaType": index.media_type,
            "digest": index.digest.to_string(),
            "size": index.bytes.len(),
        },
        "selectedManifest": {
            "mediaType": image.media_type,
            "digest": image.manifest.to_string(),
            "size": image.manifest_bytes.len(),
        },
    }))
}

/// A line about a layer.
fn step(layer: &OutgoingLayer, status: &str) -> wire::Progress {
    wire::Progress {
        id: layer.diff_id.short(),
        progress_detail: Some(wire::ProgressDetail::default()),
        ..wire::Progress::status(status)
    }
}

/// A repository of the same registry as people write it.
fn shown(name: &Reference, path: &str) -> String {
    let full = format!("{}/{path}", name.domain());
    full.parse::<Reference>()
        .map_or(full, |lender| lender.familiar_name())
}

impl Images {
    /// Returns the tags that a name to be pushed means; none when there is no such tag.
    fn to_push(&self, name: &Reference) -> Result<Vec<Reference>, Error> {
        let mut tags: Vec<Reference> = Vec::new();
        for tag in self.tags_of(&format!("{}/{}", name.domain(), name.path())) {
            let tag = tag.parse();
            tags.push(tag.map_err(|error| Error::internal("a name is malformed", error))?);
        }
        if tags.is_empty() {
            return Err(Error::not_found(format!(
                "An image does not exist locally with the tag: {}",
                name.familiar_name()
            )));
        }
        tags.retain(|tag| name.tag().is_none() || tag == name);
        Ok(tags)
    }

    /// Returns repositories of the same registry that are known to have a layer: an image with it was
    /// pulled from there or pushed to it.
    fn lenders(
        &self,
        name: &Reference,
        blob: &Digest,
    ) -> Result<Vec<wharf_types::Repository>, Error> {
        let mut lenders = Vec::new();
        for (id, names) in self.known() {
            let lending = names.iter().filter(|other| {
                is_digest(other) && other.domain() == name.domain() && other.path() != name.path()
            });
            let mut lending = lending.peekable();
            if lending.peek().is_none() {
                continue;
            }
            let image = self.image(&id)?;
            if image.layers.iter().any(|layer| layer.blob == *blob) {
                lenders.extend(lending.filter_map(|other| other.path().parse().ok()));
            }
        }
        lenders.dedup();
        lenders.truncate(LENDERS_MAX);
        Ok(lenders)
    }
}
