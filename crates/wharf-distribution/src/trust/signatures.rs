//! Signatures that lie beside an image.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use wharf_oci::image::{Descriptor, Manifest as ImageManifest};
use wharf_types::Digest;

use crate::error::Error;
use crate::manifest::{Document, Target};
use crate::repository::Repository;

/// What kind of artifact a signature is, as a referrer.
const ARTIFACT: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
/// The type of a payload.
const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The annotation with the signature.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// Most bytes of a payload.
const PAYLOAD_MAX: u64 = 64 * 1024;
/// Most signatures that are examined.
const SIGNATURES_MAX: usize = 64;
/// Longest signature, in base64.
const SIGNATURE_MAX: usize = 1024;

/// A payload and what a key made of it.
#[derive(Debug)]
pub(super) struct Signature {
    pub(super) payload: Bytes,
    pub(super) bytes: Vec<u8>,
}

/// Fetches all signatures of a digest, those under its tag first.
pub(super) async fn find(
    repository: &Repository,
    digest: &Digest,
) -> Result<Vec<Signature>, Error> {
    let mut signatures = Vec::new();
    let tag = format!("sha256-{}.sig", digest.hex());
    let tag = tag.parse().expect("such a tag follows the grammar");
    if let Some(manifest) = manifest(repository, &Target::Tag(tag)).await? {
        read(repository, &manifest, &mut signatures).await?;
    }
    let referrers = repository.referrers(digest, Some(ARTIFACT)).await?;
    for entry in referrers.manifests.iter().take(SIGNATURES_MAX) {
        let Ok(target) = entry.digest.parse::<Digest>() else {
            continue;
        };
        if let Some(manifest) = manifest(repository, &target.into()).await? {
            read(repository, &manifest, &mut signatures).await?;
        }
    }
    Ok(signatures)
}

async fn manifest(
    repository: &Repository,
    target: &Target,
) -> Result<Option<ImageManifest>, Error> {
    match repository.resolve(target).await {
        Ok(manifest) => match manifest.document {
            Document::Image(manifest) => Ok(Some(manifest)),
            Document::Index(_) => Ok(None),
        },
        Err(Error::ManifestUnknown { .. } | Error::RepositoryUnknown { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn read(
    repository: &Repository,
    manifest: &ImageManifest,
    signatures: &mut Vec<Signature>,
) -> Result<(), Error> {
    for layer in &manifest.layers {
        if signatures.len() >= SIGNATURES_MAX {
            return Ok(());
        }
        if let Some(bytes) = signature_bytes(layer)
            && let Ok(digest) = layer.digest.parse()
        {
            let payload = payload(repository, &digest, layer.size).await?;
            signatures.push(Signature { payload, bytes });
        }
    }
    Ok(())
}

/// The signature that a layer carries; of one that is none or too long nothing.
fn signature_bytes(layer: &Descriptor) -> Option<Vec<u8>> {
    if layer.media_type != PAYLOAD || layer.size > PAYLOAD_MAX {
        return None;
    }
    let text = layer.annotations.get(SIGNATURE)?;
    if text.len() > SIGNATURE_MAX {
        return None;
    }
    STANDARD.decode(text).ok()
}

async fn payload(repository: &Repository, digest: &Digest, size: u64) -> Result<Bytes, Error> {
    let mut stream = repository.blob(digest, Some(size), 0).await?.verified();
    let mut payload = Vec::new();
    while let Some(bytes) = stream.next().await? {
        payload.extend_from_slice(&bytes);
    }
    Ok(payload.into())
}
