//! Which images are believed: a policy, and the signatures it asks for.
//!
//! Signatures are those of cosign, "simple signing": a payload that names a digest, signed by a key. They
//! lie beside the image, under the tag `sha256-<hex>.sig` or as referrers. Where they come from does not
//! matter, only whose they are. Nothing is signed here. Format of the file: `docs/trust.md`. Sources:
//! cosign, `specs/SIGNATURE_SPEC.md`; containers/image, `docs/containers-signature.5.md`.

mod key;
mod payload;
mod policy;
mod signatures;

use std::path::PathBuf;

use wharf_types::{Digest, Reference};

use crate::error::Error;
use crate::repository::Repository;
use crate::trust::payload::PayloadFault;
pub use policy::Policy;
use policy::Rule;

/// Why a policy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// A file cannot be read.
    #[error("cannot read {path}: {reason}", path = path.display())]
    Read {
        /// The policy, or a key it names.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// The file is not a policy.
    #[error("{path}: {reason}", path = path.display())]
    Document {
        /// The policy, or a key it names.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Why an image is not believed.
#[derive(Debug, thiserror::Error)]
pub enum Distrust {
    /// The policy does not want the image, or no signature it asks for is there.
    #[error("image {image} of registry {registry} is refused by the trust policy: {reason}")]
    Refused {
        /// The image, as people write it.
        image: String,
        /// Its registry.
        registry: String,
        /// Why.
        reason: Reason,
    },
    /// The signatures cannot be fetched, so nobody knows.
    #[error("the signatures of image {image} cannot be fetched: {reason}")]
    Fetch {
        /// The image, as people write it.
        image: String,
        /// Why.
        reason: Box<Error>,
    },
}

/// Why a policy refuses an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Nothing of this prefix is wanted.
    #[error("images of {0} are rejected")]
    Rejected(String),
    /// There is no signature.
    #[error("it has no signature")]
    Unsigned,
    /// No signature is by a key that the policy trusts.
    #[error("none of its signatures is by a trusted key ({0} examined)")]
    NoTrustedKey(usize),
    /// The signature by a trusted key is about another image.
    #[error("its signature by a trusted key is for another image ({0})")]
    OtherDigest(String),
    /// The signature by a trusted key is about another repository.
    #[error("its signature by a trusted key is for another repository ({0})")]
    OtherRepository(String),
    /// What a trusted key signed is not a statement about an image.
    #[error("what a trusted key signed is no signature of an image")]
    Payload,
}

impl Policy {
    /// Checks an image, by the digest that was resolved, before anything of it is unpacked.
    ///
    /// # Errors
    /// [`Distrust`], in words for the user.
    pub async fn check(
        &self,
        repository: &Repository,
        name: &Reference,
        digest: &Digest,
    ) -> Result<(), Distrust> {
        let refuse = |reason| Distrust::Refused {
            image: name.familiar(),
            registry: name.domain().to_owned(),
            reason,
        };
        let signed = match self.rule(name) {
            (_, Rule::Accept) => return Ok(()),
            (prefix, Rule::Reject) => return Err(refuse(Reason::Rejected(prefix.to_owned()))),
            (_, Rule::Signed(signed)) => signed,
        };
        let found = signatures::find(repository, digest)
            .await
            .map_err(|reason| Distrust::Fetch {
                image: name.familiar(),
                reason: Box::new(reason),
            })?;
        // The nearest miss is told: a signature by the right key says more than one by another.
        let mut reason = match found.len() {
            0 => Reason::Unsigned,
            examined => Reason::NoTrustedKey(examined),
        };
        for signature in &found {
            if !signed.keys.iter().any(|key| key.verifies(signature)) {
                continue;
            }
            match payload::check(&signature.payload, digest, name, &signed.references) {
                Ok(()) => return Ok(()),
                Err(PayloadFault::Digest(other)) => reason = Reason::OtherDigest(other),
                Err(PayloadFault::Reference(other)) => reason = Reason::OtherRepository(other),
                Err(PayloadFault::Document) => reason = Reason::Payload,
            }
        }
        Err(refuse(reason))
    }
}
