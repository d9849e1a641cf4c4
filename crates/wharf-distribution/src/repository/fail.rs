//! Refusals as errors, in Docker's words (`distribution/errors.go`).

use http::StatusCode;

use super::Repository;
use crate::error::Error;
use crate::exchange::Answer;
use crate::manifest::Target;
use crate::refusal::Refusal;

/// What was asked of the registry.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Doing<'a> {
    /// To give a manifest.
    Manifest(&'a Target),
    /// To give anything else.
    Reading,
    /// To take something.
    Writing,
}

impl Repository {
    /// Makes an error of an answer that is none that was wanted.
    pub(crate) async fn refused(&self, answer: &mut Answer, doing: Doing<'_>) -> Error {
        let refusal = answer.refusal(&self.client).await;
        self.explain(refusal, doing)
    }

    fn explain(&self, mut refusal: Refusal, doing: Doing<'_>) -> Error {
        let name = self.familiar_name();
        if matches!(doing, Doing::Writing) {
            return Error::Refused(refusal);
        }
        // Docker tells the first of several.
        refusal.keep_first();
        if refusal.code().is_empty()
            && refusal.status() == StatusCode::NOT_FOUND
            && matches!(doing, Doing::Manifest(_))
        {
            refusal = Refusal::of(
                StatusCode::NOT_FOUND,
                "MANIFEST_UNKNOWN",
                "manifest unknown",
            );
        }
        match (refusal.code(), doing) {
            ("DENIED", _) => Error::PullDenied { name, refusal },
            ("NAME_UNKNOWN", _) => Error::RepositoryUnknown { name, refusal },
            ("MANIFEST_UNKNOWN", Doing::Manifest(target)) => Error::ManifestUnknown {
                reference: self.image(target),
                refusal,
            },
            _ => Error::Refused(refusal),
        }
    }

    /// Returns an image as people write it.
    pub(crate) fn image(&self, target: &Target) -> String {
        let name = self.familiar_name();
        match target {
            Target::Tag(tag) => format!("{name}:{tag}"),
            Target::Digest(digest) => format!("{name}@{digest}"),
        }
    }
}
