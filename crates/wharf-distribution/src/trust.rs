//! Which images are believed: a policy, and the signatures it asks for.

use std::path::{Path, PathBuf};

use wharf_types::{Digest, Reference};

use crate::error::Error;
use crate::repository::Repository;

/// A policy. Without a file everything is accepted.
#[derive(Debug, Clone, Default)]
pub struct Policy {}

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
    #[error("{image} of {registry} is refused by the trust policy: {reason}")]
    Refused {
        /// The image.
        image: String,
        /// Its registry.
        registry: String,
        /// Why.
        reason: String,
    },
    /// The signatures cannot be fetched.
    #[error("the signatures of {image} cannot be fetched: {reason}")]
    Fetch {
        /// The image.
        image: String,
        /// Why.
        reason: Box<Error>,
    },
}

impl Policy {
    /// Reads a policy and the keys it names.
    ///
    /// # Errors
    /// A file cannot be read, or says what is not known.
    pub fn read(path: &Path) -> Result<Self, PolicyError> {
        let _ = path;
        todo!()
    }

    /// Returns whether images of this repository need a signature or are refused; when not, nothing
    /// need be asked of the registry.
    #[must_use]
    pub fn accepts_all_of(&self, name: &Reference) -> bool {
        let _ = name;
        todo!()
    }

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
        let (_, _, _) = (repository, name, digest);
        todo!()
    }
}
