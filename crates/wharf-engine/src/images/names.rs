//! What images are called: tags and digests, kept as Docker's reference store keeps them.
//!
//! A name with a tag means an image until it is given to another. A name with a digest says that the
//! repository has the image under this digest: it was pulled from there or pushed to it. Either may
//! have come by an index of several platforms' images; the index stays while a name says so.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wharf_types::{Digest, Reference};

use crate::records::Change;

/// What is on record about a name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct NameRecord {
    pub(super) image: Digest,
    #[serde(flatten)]
    pub(super) given: Given,
}

/// How a name was given to its image.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Given {
    pub(super) at: Timestamp,
    /// The index that the name means, when the image is one of several platforms'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) index: Option<Digest>,
}

/// Every image, with its names.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) images: BTreeMap<Digest, BTreeMap<Reference, Given>>,
}

impl Names {
    /// Returns the image of a name.
    pub(super) fn holder(&self, name: &Reference) -> Option<Digest> {
        let mut images = self.images.iter();
        images
            .find(|(_, names)| names.contains_key(name))
            .map(|(id, _)| *id)
    }

    /// Returns an image's names, tags and digests.
    pub(super) fn of(&self, id: &Digest) -> Vec<Reference> {
        self.images
            .get(id)
            .map(|names| names.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// Returns the index that a name means.
    pub(super) fn index_of(&self, name: &Reference) -> Option<Digest> {
        let mut images = self.images.values();
        images.find_map(|names| names.get(name))?.index
    }

    /// Returns the index that an image came by, by any of its names.
    pub(super) fn any_index_of(&self, id: &Digest) -> Option<Digest> {
        self.images.get(id)?.values().find_map(|given| given.index)
    }

    /// Returns the indexes that names mean.
    pub(super) fn indexes(&self) -> BTreeSet<Digest> {
        let given = self.images.values().flat_map(BTreeMap::values);
        given.filter_map(|given| given.index).collect()
    }
}

/// Whether a name says what a repository has, and not what it calls it.
pub(super) fn is_digest(name: &Reference) -> bool {
    name.digest().is_some()
}

/// Returns the names with tags, as people write them.
pub(super) fn tags(names: &[Reference]) -> Vec<String> {
    let tags = names.iter().filter(|name| !is_digest(name));
    tags.map(Reference::familiar).collect()
}

/// Returns the names with digests, as people write them.
pub(super) fn digests(names: &[Reference]) -> Vec<String> {
    let digests = names.iter().filter(|name| is_digest(name));
    digests.map(Reference::familiar).collect()
}

/// Puts a name on record.
pub(super) fn named(name: &Reference, image: Digest, given: Given) -> Change {
    Change::SetImageName {
        name: name.to_string(),
        value: value(image, given),
    }
}

/// Puts an image on record by its id, so that it is kept when it has no name.
pub(super) fn known(image: Digest, at: Timestamp) -> Change {
    Change::SetImageName {
        name: image.to_string(),
        value: value(image, Given { at, index: None }),
    }
}

fn value(image: Digest, given: Given) -> String {
    let record = NameRecord { image, given };
    serde_json::to_string(&record).expect("digests and a time are JSON")
}
