//! Images by name: which names there are, and what the store has behind them.
//!
//! The store keeps images by their id; the records keep what they are called. Every image of the
//! store is on record, by its names or, when it has none, by its id ("dangling"): an image that is
//! not on record is what an interrupted load has left, and is collected when the engine opens. So a
//! load writes the store first and the records last, and a removal the other way round.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use wharf_store::{Image, RemovedLayer, Store};
use wharf_types::{ContainerId, Digest, Reference};

use crate::error::{Error, ErrorKind};
use crate::records::{Change, Durability, Records};

mod archive;
mod builtin;
mod changes;
mod collection;
mod list;
mod names;
mod pattern;
mod platform;
mod prune;
mod pull;
mod push;
mod remove;
mod show;
mod transfers;

use names::{Given, NameRecord, Names, is_digest, known, named};

pub use archive::ImportRequest;
pub(crate) use changes::apply_all as apply_changes;
pub use collection::ImageCollection;
pub(crate) use list::moment;
pub(crate) use platform::foreign;
pub(crate) use pull::configuration;
pub use pull::{ProgressSender, PullRequest};
pub use push::PushRequest;
pub(crate) use transfers::Transfers;

/// The images of an engine.
#[derive(Debug)]
pub(crate) struct Images {
    store: Store,
    names: Mutex<Names>,
    /// Images that have been read: documents never change, so what was read once stays true.
    read: Mutex<HashMap<Digest, Arc<Image>>>,
    /// When containers were made of images, since the engine began.
    used: Mutex<HashMap<Digest, Timestamp>>,
}

/// A container that uses an image.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Use {
    pub(crate) container: ContainerId,
    pub(crate) running: bool,
}

impl Images {
    /// Takes what is on record. A name whose image the store has not is left out, and logged.
    pub(crate) fn new(store: Store, recorded: &[(String, String)]) -> Self {
        let known: BTreeSet<Digest> = store.images().into_iter().collect();
        let mut names = Names::default();
        for (name, value) in recorded {
            match serde_json::from_str::<NameRecord>(value) {
                Ok(record) if known.contains(&record.image) => {
                    let of_image = names.images.entry(record.image).or_default();
                    // An id on record as a name is an image without one.
                    // It would also read as the repository `sha256` with a tag.
                    if name.parse::<Digest>().is_err()
                        && let Ok(reference) = name.parse::<Reference>()
                    {
                        of_image.insert(reference, record.given);
                    }
                }
                Ok(record) => tracing::error!(%name, image = %record.image, "an image is missing"),
                Err(error) => tracing::error!(%name, %error, "a name's record cannot be read"),
            }
        }
        Self {
            store,
            names: Mutex::new(names),
            read: Mutex::default(),
            used: Mutex::default(),
        }
    }

    /// Returns the ids of all images: what the store must keep.
    pub(crate) fn roots(&self) -> BTreeSet<Digest> {
        self.names().images.keys().copied().collect()
    }

    /// Returns the digests of all indexes that names mean: what the store must keep too.
    pub(crate) fn index_roots(&self) -> BTreeSet<Digest> {
        self.names().indexes()
    }

    /// Finds an image by what a container is created from (a name, an id, the beginning of an id), for
    /// a platform if one is asked for.
    pub(crate) fn for_container(
        &self,
        name: &str,
        platform: &str,
    ) -> Result<(Digest, Arc<Image>), Error> {
        let found = self.find(name)?;
        let id = match platform {
            "" => found.id,
            platform => self.for_platform(name, &found, platform)?,
        };
        self.note_use(id);
        Ok((id, self.image(&id)?))
    }

    /// Returns the name a container's image is shown by: as it was asked for while that still means
    /// the image, else the id.
    pub(crate) fn shown_name(&self, asked: &str, id: &Digest) -> String {
        match self.find(asked) {
            Ok(found) if found.id == *id => asked.to_owned(),
            _ => id.to_string(),
        }
    }

    /// Reads the name that is asked for a new image; none when there is no repository.
    pub(crate) fn new_name(&self, repo: &str, tag: &str) -> Result<Option<Reference>, Error> {
        if repo.is_empty() {
            return Ok(None);
        }
        let name: Reference = repo
            .parse()
            .map_err(|error| Error::invalid(format!("{error}")))?;
        if name.digest().is_some() {
            return Err(Error::invalid(
                "refusing to create a tag with a digest reference",
            ));
        }
        let name = match tag {
            "" => Ok(name.with_default_tag()),
            tag => name.with_tag(tag),
        };
        name.map(Some)
            .map_err(|error| Error::invalid(error.to_string()))
    }

    /// Returns an image by its id, if it is still there.
    pub(crate) fn known_image(&self, id: &Digest) -> Result<Arc<Image>, Error> {
        if !self.names().images.contains_key(id) {
            return Err(Error::not_found(format!("No such image: {id}")));
        }
        self.image(id)
    }

    /// Puts a new image of the store on record, with its name if it has one.
    pub(crate) fn take_in_named(
        &self,
        records: &Records,
        id: Digest,
        name: Option<&Reference>,
    ) -> Result<(), Error> {
        let given = name.map(std::slice::from_ref).unwrap_or_default();
        self.give(records, id, given, None).map(drop)
    }

    /// Returns the id of an image.
    pub(crate) fn id_of(&self, name: &str) -> Result<Digest, Error> {
        self.find(name).map(|found| found.id)
    }

    /// Gives an image a name more; the image that had it keeps its others, or stays without one.
    pub(crate) fn tag(
        &self,
        records: &Records,
        name: &str,
        repo: &str,
        tag: &str,
    ) -> Result<(Digest, Reference), Error> {
        let found = self.find(name)?;
        let id = found.id;
        let reference = self
            .new_name(repo, tag)?
            .ok_or_else(|| Error::invalid("invalid reference format"))?;
        let index = found.name.and_then(|name| self.names().index_of(&name));
        self.give(records, id, std::slice::from_ref(&reference), index)?;
        Ok((id, reference))
    }

    /// Puts names of an image on record, and the image itself when it has none. Returns the images
    /// that have lost a name by it.
    fn give(
        &self,
        records: &Records,
        id: Digest,
        given: &[Reference],
        index: Option<Digest>,
    ) -> Result<Vec<(Reference, Digest)>, Error> {
        let now = Timestamp::now();
        let how = Given { at: now, index };
        let mut names = self.names();
        let lost: Vec<_> = given
            .iter()
            .filter_map(|name| Some((name.clone(), names.holder(name)?)))
            .filter(|(_, holder)| *holder != id)
            .collect();
        let mut changes = vec![known(id, now)];
        changes.extend(given.iter().map(|name| named(name, id, how)));
        changes.extend(lost.iter().map(|(_, holder)| known(*holder, now)));
        commit(records, changes)?;
        let before = names.indexes();
        for (name, holder) in &lost {
            if let Some(of_holder) = names.images.get_mut(holder) {
                of_holder.remove(name);
            }
        }
        let of_image = names.images.entry(id).or_default();
        of_image.extend(given.iter().map(|name| (name.clone(), how)));
        self.drop_indexes(&names, &before)?;
        Ok(lost)
    }

    /// Removes from the store the indexes of `before` that no name means any more; returns the layers
    /// that went with images that only an index kept.
    fn drop_indexes(
        &self,
        names: &Names,
        before: &BTreeSet<Digest>,
    ) -> Result<Vec<RemovedLayer>, Error> {
        let now = names.indexes();
        let kept: BTreeSet<Digest> = names.images.keys().copied().collect();
        let mut removed = Vec::new();
        for index in before.difference(&now) {
            let layers = self.store.remove_index(index, &kept);
            let failed = |error| Error::internal("cannot remove the index", error);
            removed.extend(layers.map_err(failed)?);
        }
        Ok(removed)
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns an image; read from the store once.
    fn image(&self, id: &Digest) -> Result<Arc<Image>, Error> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(image) = read.get(id) {
            return Ok(Arc::clone(image));
        }
        let image = self.store.image(id);
        let image = image.map_err(|error| Error::internal("cannot read the image", error))?;
        let image = Arc::new(image);
        read.insert(*id, Arc::clone(&image));
        Ok(image)
    }

    /// Finds an image: by id, by name, by the beginning of an id, in this order.
    fn find(&self, text: &str) -> Result<Found, Error> {
        let names = self.names();
        let by_id = text.parse::<Digest>().or_else(|_| Digest::from_hex(text));
        if let Ok(id) = by_id
            && names.images.contains_key(&id)
        {
            return Ok(Found { id, name: None });
        }
        let reference = text.parse::<Reference>();
        if let Ok(reference) = &reference
            && let Some(found) = self.by_name(&names, reference)
        {
            return Ok(found);
        }
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        let is_prefix = !digits.is_empty()
            && digits
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if is_prefix {
            let mut ids = names
                .images
                .keys()
                .filter(|id| id.hex().starts_with(digits));
            match (ids.next(), ids.next()) {
                (Some(id), None) => {
                    return Ok(Found {
                        id: *id,
                        name: None,
                    });
                }
                (Some(_), Some(_)) => {
                    return Err(Error::invalid(format!("ambiguous reference: {text}")));
                }
                (None, _) => {}
            }
        }
        let shown = match reference {
            Ok(reference) => reference.with_default_tag().familiar(),
            Err(_) if by_id.is_ok() => text.to_owned(),
            Err(error) => return Err(Error::invalid(error.to_string())),
        };
        Err(Error::new(
            ErrorKind::NotFound,
            format!("No such image: {shown}"),
        ))
    }

    /// A digest in the reference is its manifest's, and decides; the tag beside it is only read.
    fn by_name(&self, names: &Names, reference: &Reference) -> Option<Found> {
        let reference = &reference.clone().without_tag_beside_digest();
        let Some(digest) = reference.digest() else {
            let name = reference.clone().with_default_tag();
            return names.holder(&name).map(|id| Found {
                id,
                name: Some(name),
            });
        };
        if let Some(id) = names.holder(reference) {
            return Some(Found {
                id,
                name: Some(reference.clone()),
            });
        }
        let in_repository = |named: &Reference| {
            (named.domain(), named.path()) == (reference.domain(), reference.path())
        };
        let mut candidates = names
            .images
            .iter()
            .filter(|(_, of)| of.keys().any(in_repository));
        candidates
            .find(|(id, _)| self.image(id).is_ok_and(|image| image.manifest == digest))
            .map(|(id, _)| Found {
                id: *id,
                name: Some(reference.clone()),
            })
    }
}

/// An image that was asked for.
#[derive(Debug)]
struct Found {
    id: Digest,
    /// The name it was found by; none when by its id.
    name: Option<Reference>,
}

fn commit(records: &Records, changes: Vec<Change>) -> Result<(), Error> {
    let commit = records.commit(changes, Durability::Machine);
    commit
        .wait()
        .map_err(|error| Error::internal("cannot record the image", error))
}

#[cfg(test)]
mod tests;
