//! What is signed: a document that names an image.

use serde::Deserialize;
use wharf_types::{Digest, Reference};

use super::policy::References;
use crate::refusal::harmless;

/// What a signature of cosign's says that it is.
const COSIGN: &str = "cosign container image signature";
/// What one of GPG's tools says; those sign the same document.
const ATOMIC: &str = "atomic container signature";

/// Why a payload is not about an image.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PayloadFault {
    /// It is no such document.
    Document,
    /// It is about another image.
    Digest(String),
    /// It is about another repository.
    Reference(String),
}

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    identity: Identity,
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Identity {
    #[serde(rename = "docker-reference")]
    reference: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

/// Checks that a payload is about this digest, and about a repository that the policy accepts for it.
pub(super) fn check(
    bytes: &[u8],
    digest: &Digest,
    name: &Reference,
    references: &References,
) -> Result<(), PayloadFault> {
    let Payload { critical } = serde_json::from_slice(bytes).map_err(|_| PayloadFault::Document)?;
    if critical.kind != COSIGN && critical.kind != ATOMIC {
        return Err(PayloadFault::Document);
    }
    // Compared as digests: another algorithm or another spelling is another image.
    if critical.image.digest.parse() != Ok(*digest) {
        return Err(PayloadFault::Digest(harmless(&critical.image.digest)));
    }
    let other = || PayloadFault::Reference(harmless(&critical.identity.reference));
    match references {
        References::Any => Ok(()),
        References::Same => {
            let signed: Reference = critical.identity.reference.parse().map_err(|_| other())?;
            let same = signed.domain() == name.domain() && signed.path() == name.path();
            if same { Ok(()) } else { Err(other()) }
        }
        References::Below(prefixes) => {
            let signed: Reference = critical.identity.reference.parse().map_err(|_| other())?;
            let below = prefixes.iter().any(|prefix| prefix.covers(&signed));
            if below { Ok(()) } else { Err(other()) }
        }
    }
}
