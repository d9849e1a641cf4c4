//! Images coming in from registries.
//!
//! 1. The tag or digest is resolved; an index leads to the manifest of a platform.
//! 2. The configuration is fetched; with the manifest it says which layers there are.
//! 3. What the store lacks comes in, each layer once and several at a time ([`super::transfers`]).
//! 4. Layers, image and index are put in place, then the names on record: only then it is there.
//!
//! Whoever asked may go at any time; the engine may be killed at any time. What came of layers stays
//! and is not asked for again. Steps 4 are not given up half-way.
//!
//! Fail points: `engine.pull.resolved`, `engine.pull.received`, `engine.pull.stored`,
//! `engine.pull.recorded`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use wharf_distribution::{
    Document, Manifest, NESTING_MAX, Repository, Target, choose, platform_name,
};
use wharf_oci::image::{Descriptor, Manifest as ImageManifest, Platform, media_type};
use wharf_store::{Assembly, ImageError, Received, RemoteImage, RemoteIndex, RemoteLayer};
use wharf_types::{Digest, Reference, failpoint};
use wharf_wire as wire;

use super::archive::layer_progress;
use super::transfers::{Origin, Progress, Transfer};
use super::{Images, is_digest, platform};
use crate::error::{Error, ErrorKind};
use crate::inner::Inner;
use crate::registries::{Current, credentials, refused};

/// Largest configuration of an image.
const CONFIG_MAX: u64 = 8 << 20;
/// How often a layer's progress is told at most.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// An image to pull.
#[derive(Debug, Clone)]
pub struct PullRequest {
    /// Its name; `latest` where it has neither tag nor digest.
    pub name: Reference,
    /// All tags of the repository instead of one.
    pub all_tags: bool,
    /// `os[/arch[/variant]]`; empty: what this machine runs.
    pub platform: String,
    /// Who asks.
    pub auth: wire::AuthConfig,
}

/// Where progress is told; closed when nobody listens any more.
pub type ProgressSender = mpsc::Sender<wire::Progress>;

impl Inner {
    /// See [`crate::Engine::image_pull`].
    pub(crate) async fn pull(
        self: &Arc<Self>,
        request: PullRequest,
        progress: ProgressSender,
    ) -> Result<(), Error> {
        tokio::select! {
            pulled = self.pull_named(&request, &progress) => pulled,
            () = progress.closed() => {
                tracing::debug!(image = %request.name, "a pull is given up, as nobody waits for it");
                Err(Error::new(ErrorKind::Unavailable, "context canceled"))
            }
        }
    }

    async fn pull_named(
        self: &Arc<Self>,
        request: &PullRequest,
        progress: &ProgressSender,
    ) -> Result<(), Error> {
        let asked = request.name.clone().with_default_tag();
        if !request.all_tags && request.platform.is_empty() && Images::is_built_in(&asked) {
            return self.make(asked, progress).await;
        }
        let settings = self.registries.current();
        let credentials = credentials(&request.auth)?;
        let repository = settings.client.repository(&request.name, credentials);
        let platform = match request.platform.as_str() {
            "" => None,
            text => Some(platform::parse(text)?),
        };
        let names = if request.all_tags {
            let tags = repository.tags().await.map_err(refused)?;
            let tagged = |tag: &String| request.name.clone().with_tag(tag);
            let names = tags.iter().map(tagged).collect::<Result<Vec<_>, _>>();
            names.map_err(|error| Error::internal("the registry names an invalid tag", error))?
        } else {
            vec![asked]
        };
        let mut newer = false;
        for name in names {
            let pull = Pull {
                engine: self,
                settings: &settings,
                repository: &repository,
                name: &name,
                platform: platform.as_ref(),
                progress,
            };
            newer |= pull.run().await?;
        }
        let shown = match request.all_tags {
            true => request.name.familiar_name(),
            false => request.name.clone().with_default_tag().familiar(),
        };
        let status = match newer {
            true => format!("Status: Downloaded newer image for {shown}"),
            false => format!("Status: Image is up to date for {shown}"),
        };
        tell(progress, wire::Progress::status(status)).await
    }
}

impl Inner {
    /// Makes an image that the engine carries in itself.
    async fn make(
        self: &Arc<Self>,
        name: Reference,
        progress: &ProgressSender,
    ) -> Result<(), Error> {
        let (engine, listener) = (Arc::clone(self), progress.clone());
        let made = tokio::task::spawn_blocking(move || {
            let Inner {
                images,
                records,
                program,
                ..
            } = &*engine;
            // That nobody listens is no reason to stop: it takes no longer than to say so.
            images.pull_built_in(records, program, &name, |line| {
                drop(listener.blocking_send(line));
            })?;
            let attributes = [("name".to_owned(), name.familiar_name())];
            engine
                .events
                .tell("image", "pull", &name.familiar(), attributes.into());
            Ok(())
        });
        made.await
            .map_err(|error| Error::internal("the engine failed", error))?
    }
}

/// Tells progress. That nobody listens is an error: nobody wants the rest.
pub(super) async fn tell(progress: &ProgressSender, line: wire::Progress) -> Result<(), Error> {
    let told = progress.send(line).await;
    told.map_err(|_| Error::new(ErrorKind::Unavailable, "context canceled"))
}

/// Fetches an image's configuration.
pub(crate) async fn configuration(
    repository: &Repository,
    image: &ImageManifest,
) -> Result<Vec<u8>, Error> {
    let config = &image.config;
    if !matches!(
        config.media_type.as_str(),
        media_type::CONFIG | media_type::DOCKER_CONFIG | "application/octet-stream" | ""
    ) {
        let kind = match config.media_type.as_str() {
            "application/vnd.docker.plugin.v1+json" => "plugin",
            _ => "unknown",
        };
        return Err(Error::invalid(format!(
            "Encountered remote {:?}({kind}) when fetching",
            config.media_type
        )));
    }
    if config.size > CONFIG_MAX {
        return Err(Error::invalid(format!(
            "the image's configuration has {} bytes, more than {CONFIG_MAX}",
            config.size
        )));
    }
    let digest = digest(&config.digest)?;
    let blob = repository.blob(&digest, Some(config.size), 0).await;
    let mut blob = blob.map_err(refused)?.verified();
    let mut bytes = Vec::new();
    while let Some(piece) = blob.next().await.map_err(refused)? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

fn digest(text: &str) -> Result<Digest, Error> {
    text.parse()
        .map_err(|error| Error::internal("the registry names an invalid digest", error))
}

/// The pull of one tag or digest.
struct Pull<'a> {
    engine: &'a Arc<Inner>,
    settings: &'a Arc<Current>,
    repository: &'a Repository,
    name: &'a Reference,
    /// The platform that was asked for.
    platform: Option<&'a Platform>,
    progress: &'a ProgressSender,
}

impl Pull<'_> {
    /// Pulls it; returns whether anything was new.
    async fn run(&self) -> Result<bool, Error> {
        let target = Target::of(self.name);
        let top = self.repository.resolve(&target).await.map_err(refused)?;
        if let Some(policy) = &self.settings.policy
            && !policy.accepts_all_of(self.name)
        {
            let check = policy.check(self.repository, self.name, &top.digest).await;
            check.map_err(|error| Error::new(ErrorKind::Forbidden, error.to_string()))?;
        }
        failpoint::hit("engine.pull.resolved");
        let pulling = wire::Progress {
            id: target.to_string(),
            ..wire::Progress::status(format!("Pulling from {}", self.shown_repository()))
        };
        tell(self.progress, pulling).await?;
        let known = self.known(&top)?;
        let newer = match known {
            Some(id) => {
                let newer = self.engine.images.named(self.name) != Some(id);
                self.give(id, top.digest, self.index_of(&top)).await?;
                newer
            }
            None => self.bring(&top).await?,
        };
        let line = wire::Progress::status(format!("Digest: {}", top.digest));
        tell(self.progress, line).await?;
        let (familiar, repository) = (self.name.familiar(), self.name.familiar_name());
        self.engine.tell_image("pull", &familiar, &repository);
        Ok(newer)
    }

    /// The path at Docker's registry in full, as Docker shows it.
    fn shown_repository(&self) -> String {
        match self.name.domain() {
            wharf_types::DEFAULT_DOMAIN => self.name.path().to_owned(),
            _ => self
                .name
                .familiar_name()
                .split_once('/')
                .map_or_else(|| self.name.path().to_owned(), |(_, path)| path.to_owned()),
        }
    }

    /// Returns the image when it was pulled by this very document before. An index may have been
    /// pulled for another platform then.
    fn known(&self, top: &Manifest) -> Result<Option<Digest>, Error> {
        let images = &self.engine.images;
        let named = self.name.clone().with_digest(top.digest);
        let Some(found) = images.named(&named) else {
            return Ok(None);
        };
        let wanted = match (self.platform, &top.document) {
            (None, Document::Image(_)) => return Ok(Some(found)),
            (None, Document::Index(_)) => platform::as_wire(&platform::parse("")?),
            (Some(wanted), _) => platform::as_wire(wanted),
        };
        let image = images.image(&found)?;
        Ok(platform::is_for(&image.config, &wanted).then_some(found))
    }

    fn index_of(&self, top: &Manifest) -> Option<Digest> {
        let is_index = matches!(top.document, Document::Index(_));
        let present = is_index && self.engine.store.has_index(&top.digest);
        present.then_some(top.digest)
    }

    async fn bring(&self, top: &Manifest) -> Result<bool, Error> {
        let manifest = self.manifest(top).await?;
        let Document::Image(document) = &manifest.document else {
            return Err(Error::internal(
                "the registry is inconsistent",
                "an index where a manifest should be",
            ));
        };
        let config = self.config(document).await?;
        let image = RemoteImage::new(manifest.bytes.to_vec(), &manifest.media_type, config);
        let image = image.map_err(|error| Error::internal("invalid image", error))?;
        self.check_platform(&image)?;
        let store = self.engine.store.clone();
        let assembly = blocking(move || store.assemble(image)).await?;
        // Docker calls it newer when the name has meant something else until now.
        let newer = self.engine.images.named(self.name) != Some(assembly.image().id());
        let layers = self.layers(&assembly, document).await?;
        failpoint::hit("engine.pull.received");
        let index = matches!(top.document, Document::Index(_)).then(|| RemoteIndex {
            bytes: top.bytes.to_vec(),
            media_type: top.media_type.clone(),
        });
        let done = self
            .put_in_place(assembly, layers, index, top.digest)
            .await?;
        for line in done {
            tell(self.progress, line).await?;
        }
        Ok(newer)
    }

    /// Follows indexes to the manifest of the platform.
    async fn manifest(&self, top: &Manifest) -> Result<Manifest, Error> {
        let wanted = match self.platform {
            Some(platform) => platform.clone(),
            None => platform::parse("")?,
        };
        let mut manifest = top.clone();
        for _ in 0..=NESTING_MAX {
            let Document::Index(index) = &manifest.document else {
                return Ok(manifest);
            };
            let entry = choose(index, &wanted).ok_or_else(|| {
                refused(wharf_distribution::Error::NoMatch {
                    platform: platform_name(&wanted),
                })
            })?;
            let target = Target::Digest(digest(&entry.digest)?);
            manifest = self.repository.resolve(&target).await.map_err(refused)?;
        }
        Err(Error::invalid(format!(
            "{} is an index within indexes, nested too deeply",
            self.name.familiar()
        )))
    }

    /// Returns the configuration, from the store when it has it.
    async fn config(&self, document: &ImageManifest) -> Result<Vec<u8>, Error> {
        let id = digest(&document.config.digest)?;
        match self.engine.store.image(&id) {
            Ok(image) => Ok(image.config_bytes),
            Err(ImageError::NotFound(_)) => configuration(self.repository, document).await,
            Err(error) => Err(Error::internal("cannot read the image", error)),
        }
    }

    /// An image that is for one platform only must be for the one that was asked for.
    fn check_platform(&self, image: &RemoteImage) -> Result<(), Error> {
        let Some(wanted) = self.platform else {
            return Ok(());
        };
        let own = image.platform();
        let variants = [&own.variant, &wanted.variant].map(|v| v.as_deref().unwrap_or_default());
        let same = own.os == wanted.os
            && own.architecture == wanted.architecture
            && (variants.contains(&"") || variants[0] == variants[1]);
        if same {
            return Ok(());
        }
        Err(Error::not_found(format!(
            "image with reference {} was found but its platform ({}) does not match the specified platform ({})",
            self.name.familiar(),
            platform_name(own),
            platform_name(wanted)
        )))
    }

    /// Brings in what the store lacks, and tells how far each layer is.
    async fn layers(
        &self,
        assembly: &Assembly,
        document: &ImageManifest,
    ) -> Result<Vec<Arc<Received>>, Error> {
        let missing = assembly.missing();
        for layer in assembly.image().layers() {
            let status = match missing.iter().any(|other| other.blob == layer.blob) {
                true => "Pulling fs layer",
                false => "Already exists",
            };
            tell(self.progress, step(&layer, status)).await?;
        }
        let transfers: Vec<_> = missing
            .iter()
            .map(|layer| self.join(layer, &document.layers))
            .collect();
        let follow = missing
            .iter()
            .zip(&transfers)
            .map(|(layer, transfer)| self.follow(layer, transfer));
        // The first that fails ends them all.
        let received = futures_util::future::try_join_all(follow).await?;
        Ok(received)
    }

    fn join(&self, layer: &RemoteLayer, descriptors: &[Descriptor]) -> Arc<Transfer> {
        let text = layer.blob.digest.to_string();
        let urls = descriptors
            .iter()
            .find(|descriptor| descriptor.digest == text);
        self.engine.registries.transfers.join(Origin {
            repository: self.repository.clone(),
            blob: layer.blob,
            urls: urls
                .map(|descriptor| descriptor.urls.clone())
                .unwrap_or_default(),
            settings: Arc::clone(self.settings),
            store: self.engine.store.clone(),
        })
    }

    async fn follow(
        &self,
        layer: &RemoteLayer,
        transfer: &Transfer,
    ) -> Result<Arc<Received>, Error> {
        let mut changes = transfer.progress();
        let mut told: Option<Instant> = None;
        let mut waiting = false;
        loop {
            let now = changes.borrow_and_update().clone();
            match now {
                Progress::Waiting if !waiting => {
                    waiting = true;
                    tell(self.progress, step(layer, "Waiting")).await?;
                }
                Progress::Coming(current) if told.is_none_or(|at| at.elapsed() >= TELL_EVERY) => {
                    told = Some(Instant::now());
                    tell(self.progress, downloading(layer, current)).await?;
                }
                Progress::Here(received) => {
                    tell(self.progress, downloading(layer, layer.blob.size)).await?;
                    tell(self.progress, step(layer, "Download complete")).await?;
                    return Ok(received);
                }
                Progress::Failed(kind, message) => return Err(Error::new(kind, message)),
                Progress::Begun | Progress::Waiting | Progress::Coming(_) => {}
            }
            if changes.changed().await.is_err() {
                return Err(Error::internal(
                    "the engine failed",
                    "a transfer ended without a result",
                ));
            }
        }
    }

    /// Puts everything in place and on record, whether or not somebody still waits for it.
    async fn put_in_place(
        &self,
        assembly: Assembly,
        layers: Vec<Arc<Received>>,
        index: Option<RemoteIndex>,
        top: Digest,
    ) -> Result<Vec<wire::Progress>, Error> {
        let engine = Arc::clone(self.engine);
        let names = self.names(top);
        let missing = assembly.missing().iter();
        let lines = missing.map(|layer| step(layer, "Pull complete")).collect();
        let work = tokio::spawn(async move {
            let _one_at_a_time = engine.registries.assembling.lock().await;
            let working = Arc::clone(&engine);
            let placed = blocking(move || assembly.finish(layers.iter().map(Arc::as_ref), index));
            let image = placed.await?;
            failpoint::hit("engine.pull.stored");
            let given = tokio::task::spawn_blocking(move || {
                working
                    .images
                    .give(&working.records, image.id, &names, image.index)
            });
            given
                .await
                .map_err(|error| Error::internal("the engine failed", error))??;
            failpoint::hit("engine.pull.recorded");
            engine.empty_trash_soon();
            Ok::<(), Error>(())
        });
        work.await
            .map_err(|error| Error::internal("the engine failed", error))??;
        Ok(lines)
    }

    /// Puts the names of an image that is there on record.
    async fn give(&self, id: Digest, top: Digest, index: Option<Digest>) -> Result<(), Error> {
        let names = self.names(top);
        let engine = Arc::clone(self.engine);
        let given = tokio::task::spawn_blocking(move || {
            let missing = engine.images.lacks(id, &names, index);
            match missing {
                true => engine
                    .images
                    .give(&engine.records, id, &names, index)
                    .map(drop),
                false => Ok(()),
            }
        });
        given
            .await
            .map_err(|error| Error::internal("the engine failed", error))?
    }

    /// The names that this pull gives: what was asked for, and what the repository has it under.
    fn names(&self, top: Digest) -> Vec<Reference> {
        let mut names = vec![self.name.clone().with_digest(top)];
        if !is_digest(self.name) {
            names.push(self.name.clone());
        }
        names
    }
}

impl Images {
    /// Returns the image that has exactly this name.
    fn named(&self, name: &Reference) -> Option<Digest> {
        self.names().holder(name)
    }

    /// Whether one of the names means something else.
    fn lacks(&self, id: Digest, given: &[Reference], index: Option<Digest>) -> bool {
        let names = self.names();
        let of_image = names.images.get(&id);
        let has = |name| {
            let given = of_image.and_then(|of_image| of_image.get(name));
            given.is_some_and(|given| given.index == index)
        };
        !given.iter().all(has)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, wharf_store::LoadError> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::internal("the engine failed", error))?
        .map_err(|error| Error::internal("failed to register layer", error))
}

/// A line about a layer.
fn step(layer: &RemoteLayer, status: &str) -> wire::Progress {
    wire::Progress {
        id: layer.blob.digest.short(),
        progress_detail: Some(wire::ProgressDetail::default()),
        ..wire::Progress::status(status)
    }
}

fn downloading(layer: &RemoteLayer, current: u64) -> wire::Progress {
    let id = layer.blob.digest.short();
    layer_progress("Downloading", &id, current, layer.blob.size)
}
