//! A registry, as these commands meet it: without the engine.

use futures_util::stream;
use wharf_distribution::{
    Chunks, Document, Error, Kind, Manifest, Repository, SettingsError, Source, Target,
};
use wharf_oci::image::{Descriptor, Platform};
use wharf_types::{Digest, DigestError, Reference};
use wharf_wire::{AuthConfig, ImageDescriptor, ImagePlatform};

use super::document::{DocumentError, Image};
use crate::commands::Context;
use crate::commands::registry_client::{client, credentials};
use crate::failure::chain;
use crate::settings::credentials::key;

/// Most bytes of an image's configuration that are read.
const CONFIG_MAX: u64 = 8 << 20;

/// Why a registry does not give what is asked of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum RegistryError {
    /// It has no such manifest, or none for us.
    #[error("no such manifest: {0}")]
    Unknown(String),
    /// There is a list where an image is needed.
    #[error("{0} is a manifest list")]
    IsList(String),
    /// It cannot be reached, refuses, or is not to be believed.
    #[error(transparent)]
    Registry(Error),
    /// The client's own settings are wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// What it gave is not what it should be.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// A digest in it is none.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// A configuration is too large, or no JSON.
    #[error("cannot understand the configuration of {0}")]
    Config(String),
}

/// What a registry has under a name.
pub(super) enum Found {
    Image(Box<Image>),
    /// Several, by their descriptions.
    List(Vec<Descriptor>),
}

/// The registries, for who the user is at each.
pub(super) struct Registries<'a> {
    context: &'a Context,
    insecure: bool,
}

impl<'a> Registries<'a> {
    /// Reaches none yet.
    pub(super) fn new(context: &'a Context, insecure: bool) -> Self {
        Self { context, insecure }
    }

    /// The repository that a reference is in.
    pub(super) fn repository(&self, name: &Reference) -> Result<Repository, RegistryError> {
        let domain = name.domain();
        let client = client(self.insecure.then_some(domain))?;
        let stored = self.context.credentials().get(key(domain));
        let auth = stored.unwrap_or_else(|error| {
            let warning = format!("WARNING: {}", chain(&error));
            self.context.printer.note(&warning);
            AuthConfig::default()
        });
        Ok(client.repository(name, credentials(auth)))
    }

    /// What there is under a name.
    pub(super) async fn find(&self, name: &Reference) -> Result<Found, RegistryError> {
        let repository = self.repository(name)?;
        let manifest = resolve(&repository, &Target::of(name), name).await?;
        match &manifest.document {
            Document::Image(_) => {
                let image = image(&repository, name, &manifest).await?;
                Ok(Found::Image(Box::new(image)))
            }
            Document::Index(index) => Ok(Found::List(index.manifests.clone())),
        }
    }

    /// The image under a name.
    pub(super) async fn image(&self, name: &Reference) -> Result<Image, RegistryError> {
        match self.find(name).await? {
            Found::Image(image) => Ok(*image),
            Found::List(_) => Err(RegistryError::IsList(name.to_string())),
        }
    }

    /// The images of a list under a name, each for the platform that the list says.
    pub(super) async fn members(
        &self,
        name: &Reference,
        list: &[Descriptor],
    ) -> Result<Vec<Image>, RegistryError> {
        let repository = self.repository(name)?;
        let mut images = Vec::with_capacity(list.len());
        for descriptor in list {
            let digest: Digest = descriptor.digest.parse()?;
            let target = Target::Digest(digest);
            let member = format!("{}@{digest}", without_digest(name));
            let manifest = resolve(&repository, &target, name).await?;
            if !matches!(manifest.document, Document::Image(_)) {
                return Err(RegistryError::IsList(member));
            }
            let mut image = image(&repository, name, &manifest).await?;
            image.reference = member;
            let platform = descriptor.platform.as_ref().map(platform);
            image.descriptor.platform = Some(platform.unwrap_or_default());
            images.push(image);
        }
        Ok(images)
    }
}

/// The tag stays where a digest is added.
fn without_digest(name: &Reference) -> String {
    let text = name.to_string();
    text.split('@').next().unwrap_or(&text).to_owned()
}

async fn resolve(
    repository: &Repository,
    target: &Target,
    name: &Reference,
) -> Result<Manifest, RegistryError> {
    repository.resolve(target).await.map_err(|error| {
        // What a registry does not show to everybody is as good as not there.
        let hidden = matches!(error.kind(), Kind::NotFound | Kind::Unauthorized);
        if hidden && error.refusal().is_some() {
            RegistryError::Unknown(name.to_string())
        } else {
            RegistryError::Registry(error)
        }
    })
}

/// What is known of an image; its platform is in its configuration.
async fn image(
    repository: &Repository,
    name: &Reference,
    manifest: &Manifest,
) -> Result<Image, RegistryError> {
    let Document::Image(parts) = &manifest.document else {
        return Err(RegistryError::IsList(name.to_string()));
    };
    let not_understood = || RegistryError::Config(name.to_string());
    let text = std::str::from_utf8(&manifest.bytes).map_err(|_| not_understood())?;
    let config = configuration(repository, &parts.config)
        .await?
        .ok_or_else(not_understood)?;
    let descriptor = ImageDescriptor {
        media_type: manifest.media_type.clone(),
        digest: manifest.digest.to_string(),
        size: i64::try_from(manifest.bytes.len()).unwrap_or(i64::MAX),
        platform: Some(config),
        ..ImageDescriptor::default()
    };
    Ok(Image::new(name.to_string(), descriptor, text)?)
}

/// The platform that an image's configuration is for; nothing when it cannot be understood.
async fn configuration(
    repository: &Repository,
    descriptor: &Descriptor,
) -> Result<Option<ImagePlatform>, RegistryError> {
    if descriptor.size > CONFIG_MAX {
        return Ok(None);
    }
    let digest: Digest = descriptor.digest.parse()?;
    let blob = repository.blob(&digest, Some(descriptor.size), 0).await;
    let mut blob = blob.map_err(RegistryError::Registry)?.verified();
    let mut bytes = Vec::new();
    while let Some(piece) = blob.next().await.map_err(RegistryError::Registry)? {
        bytes.extend_from_slice(&piece);
    }
    // A configuration names its platform by the same members as a list does.
    Ok(serde_json::from_slice(&bytes).ok())
}

fn platform(platform: &Platform) -> ImagePlatform {
    ImagePlatform {
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        os_version: platform.os_version.clone().unwrap_or_default(),
        os_features: platform.os_features.clone(),
        variant: platform.variant.clone().unwrap_or_default(),
    }
}

/// A description as the lists have it.
pub(super) fn described(descriptor: &Descriptor) -> ImageDescriptor {
    ImageDescriptor {
        media_type: descriptor.media_type.clone(),
        digest: descriptor.digest.clone(),
        size: i64::try_from(descriptor.size).unwrap_or(i64::MAX),
        platform: descriptor.platform.as_ref().map(platform),
        ..ImageDescriptor::default()
    }
}

/// A blob of another repository, for a registry that does not bring it over by itself.
pub(super) struct FromRepository {
    pub(super) repository: Repository,
    pub(super) digest: Digest,
    pub(super) size: u64,
}

impl Source for FromRepository {
    fn open(&self, from: u64) -> std::io::Result<Chunks> {
        let (repository, digest, size) = (self.repository.clone(), self.digest, self.size);
        let opened = stream::once(async move { repository.blob(&digest, Some(size), from).await });
        let pieces = futures_util::StreamExt::flat_map(opened, |opened| {
            stream::unfold(Some(opened), |state| async move {
                let mut blob = match state? {
                    Ok(blob) => blob,
                    Err(error) => return Some((Err(std::io::Error::other(error)), None)),
                };
                match blob.next().await {
                    Ok(Some(piece)) => Some((Ok(piece), Some(Ok(blob)))),
                    Ok(None) => None,
                    Err(error) => Some((Err(std::io::Error::other(error)), None)),
                }
            })
        });
        Ok(Box::pin(pieces))
    }
}
