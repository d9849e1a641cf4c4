//! The members of an image archive, taken in as they come.

use std::collections::HashMap;
use std::io::{BufReader, Read};
use std::path::PathBuf;

use wharf_types::{Digest, Hasher};

use crate::compress::{Compression, Decoder, Expansion};
use crate::image::LoadEvent;
use crate::ingest::{self, Expected, Ingested, Tree};
use crate::session::Session;
use crate::tar::{Kind, Reader};
use crate::{DocumentRefusal, LoadError, Store};

/// Where an OCI layout has its blobs.
const BLOBS: &str = "blobs/sha256/";
/// Largest document (manifest, index, configuration): twice what registries allow.
pub(super) const DOCUMENT_MAX: u64 = 8 << 20;
/// Most members of an archive.
const MEMBERS_MAX: usize = 20_000;
/// Links from one member to another, until one is taken for a circle.
const LINKS_MAX: usize = 8;

/// A file of the archive.
enum Member {
    /// Taken in; its index among the files.
    File(usize),
    /// A link to another member, old `docker save`'s way of sharing a layer.
    Link(String),
}

/// All members, by name and by digest.
#[derive(Default)]
pub(crate) struct Members {
    by_name: HashMap<String, Member>,
    files: Vec<Ingested>,
    by_digest: HashMap<Digest, usize>,
}

impl Members {
    /// Takes in an archive to its end.
    pub(super) fn read(
        session: &Session,
        input: impl Read,
        observer: &mut dyn FnMut(LoadEvent<'_>),
    ) -> Result<Self, LoadError> {
        let limits = &session.store().limits;
        let mut input = BufReader::with_capacity(64 << 10, input);
        let start = std::io::BufRead::fill_buf(&mut input).map_err(LoadError::Read)?;
        let compression = Compression::detect(start);
        let expansion = Expansion {
            floor: limits.expansion_floor,
            ratio: limits.expansion,
        };
        let input = Decoder::new(compression, input, expansion).map_err(LoadError::Decompress)?;
        let mut reader = Reader::new(input);
        let mut members = Self::default();
        while let Some(entry) = reader.next()? {
            let name = member_name(&entry.path)?;
            if members.by_name.len() >= MEMBERS_MAX {
                let reason = DocumentRefusal::TooManyMembers;
                return Err(LoadError::Document { name, reason });
            }
            match entry.kind {
                Kind::Regular if entry.sparse.is_none() => {
                    members.file(session, name, entry.size, &mut reader, observer)?;
                }
                Kind::Symlink => {
                    let target = resolve(&name, &entry.link)?;
                    members.by_name.insert(name, Member::Link(target));
                }
                Kind::HardLink => {
                    let target = member_name(&entry.link)?;
                    members.by_name.insert(name, Member::Link(target));
                }
                Kind::Directory => {}
                _ => {
                    let reason = DocumentRefusal::Kind;
                    return Err(LoadError::Document { name, reason });
                }
            }
        }
        reader.drain()?;
        Ok(members)
    }

    /// Takes in layers that came without an archive around them.
    pub(crate) fn of_layers(layers: impl IntoIterator<Item = Ingested>) -> Self {
        let files: Vec<Ingested> = layers.into_iter().collect();
        let by_digest = files
            .iter()
            .enumerate()
            .flat_map(|(index, file)| [(file.digest, index), (file.blob.digest, index)])
            .collect();
        Self {
            by_name: HashMap::new(),
            by_digest,
            files,
        }
    }

    fn file<R: Read>(
        &mut self,
        session: &Session,
        name: String,
        size: u64,
        reader: &mut Reader<R>,
        observer: &mut dyn FnMut(LoadEvent<'_>),
    ) -> Result<(), LoadError> {
        let claimed = match name.strip_prefix(BLOBS) {
            // Attack G5: what is not a digest in lower case is none.
            Some(hex) => Some(Digest::from_hex(hex).map_err(|_| LoadError::Name(name.clone()))?),
            None => None,
        };
        if let Some(claimed) = claimed
            && is_known_layer(session.store(), &claimed)
        {
            return check_known(name, claimed, reader);
        }
        let id = short_id(&name).to_owned();
        let mut progress = |current| {
            observer(LoadEvent::Layer {
                id: &id,
                current,
                total: size,
            });
        };
        let index = self.files.len();
        let file = ingest::ingest(
            reader,
            Expected::Any,
            session.destination(&index.to_string()),
            &mut progress,
        )
        .map_err(unwrap_read)?;
        if let Some(expected) = claimed
            && expected != file.digest
        {
            return Err(LoadError::Digest {
                name,
                expected,
                actual: file.digest,
            });
        }
        self.by_digest.insert(file.digest, index);
        self.by_digest.insert(file.blob.digest, index);
        self.files.push(file);
        self.by_name.insert(name, Member::File(index));
        Ok(())
    }

    pub(crate) fn by_digest(&self, digest: &Digest) -> Option<&Ingested> {
        self.by_digest.get(digest).map(|index| &self.files[*index])
    }

    pub(super) fn by_name(&self, name: &str) -> Option<&Ingested> {
        let mut name = name;
        for _ in 0..LINKS_MAX {
            match self.by_name.get(name)? {
                Member::File(index) => return Some(&self.files[*index]),
                Member::Link(target) => name = target,
            }
        }
        None
    }

    /// Gives a layer's unpacked tree away, once.
    pub(crate) fn take_tree(&mut self, digest: &Digest) -> Option<Tree> {
        let index = self.by_digest.get(digest)?;
        self.files[*index].tree.take()
    }

    /// Reads a document.
    pub(super) fn document(&self, name: &str) -> Result<Option<Vec<u8>>, LoadError> {
        self.by_name(name)
            .map(|member| read_document(name, member))
            .transpose()
    }
}

/// Reads a member that should be a document.
pub(super) fn read_document(name: &str, member: &Ingested) -> Result<Vec<u8>, LoadError> {
    if member.blob.size > DOCUMENT_MAX {
        return Err(LoadError::Document {
            name: name.to_owned(),
            reason: DocumentRefusal::TooLarge,
        });
    }
    let mut bytes = Vec::new();
    member
        .blob
        .open()?
        .read_to_end(&mut bytes)
        .map_err(crate::files::failed("read", &PathBuf::from(name)))?;
    Ok(bytes)
}

/// Whether the store has this blob, unpacked, as a layer of one of its images: then the archive's
/// copy is checked and not kept.
fn is_known_layer(store: &Store, blob: &Digest) -> bool {
    let used = store
        .state()
        .images
        .values()
        .flat_map(|image| &image.layers)
        .any(|layer| layer.blob == *blob);
    used && store.shared.blobs.find(blob).is_some()
}

fn check_known<R: Read>(
    name: String,
    expected: Digest,
    reader: &mut Reader<R>,
) -> Result<(), LoadError> {
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = reader
            .read(&mut buffer)
            .map_err(|error| LoadError::Archive(crate::tar::reading(error)))?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
    }
    let actual = hasher.finish();
    if actual != expected {
        return Err(LoadError::Digest {
            name,
            expected,
            actual,
        });
    }
    Ok(())
}

/// The stream of a member is the archive's: that it ends early is the archive's fault.
fn unwrap_read(error: LoadError) -> LoadError {
    match error {
        LoadError::Read(error) => LoadError::Archive(crate::tar::reading(error)),
        other => other,
    }
}

/// Returns a member's name without `./` and the like; one that goes out of the archive is refused
/// (attack A6), although names are only keys here and never paths.
fn member_name(name: &[u8]) -> Result<String, LoadError> {
    let refuse = || LoadError::Name(String::from_utf8_lossy(name).into_owned());
    let text = std::str::from_utf8(name).map_err(|_| refuse())?;
    if text.starts_with('/') || text.contains('\0') {
        return Err(refuse());
    }
    normal(text.split('/')).ok_or_else(refuse)
}

/// Returns what a link means, relative to the link's directory.
fn resolve(link: &str, target: &[u8]) -> Result<String, LoadError> {
    let refuse = || LoadError::Name(String::from_utf8_lossy(target).into_owned());
    let text = std::str::from_utf8(target).map_err(|_| refuse())?;
    if text.starts_with('/') {
        return Err(refuse());
    }
    let directory = link.rsplit_once('/').map_or("", |(directory, _)| directory);
    normal(directory.split('/').chain(text.split('/'))).ok_or_else(refuse)
}

fn normal<'a>(components: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut normal: Vec<&str> = Vec::new();
    for component in components {
        match component {
            "" | "." => {}
            ".." => {
                normal.pop()?;
            }
            component => normal.push(component),
        }
    }
    Some(normal.join("/"))
}

/// What a layer is called while it comes in: digits of its digest, or of its directory.
fn short_id(name: &str) -> &str {
    let name = name.strip_prefix(BLOBS).unwrap_or(name);
    let name = name.split(['/', '.']).next().unwrap_or(name);
    name.get(..12).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_the_archive() {
        assert_eq!(member_name(b"./a//b/").expect("name"), "a/b");
        for name in [&b"../a"[..], b"/etc/passwd", b"a/../../b", b"a\0b", b"\xff"] {
            assert!(matches!(member_name(name), Err(LoadError::Name(_))));
        }
        assert_eq!(
            resolve("x/layer.tar", b"../y/layer.tar").expect("link"),
            "y/layer.tar"
        );
        assert!(resolve("x/layer.tar", b"../../y").is_err());
        assert!(resolve("x", b"/etc/shadow").is_err());
    }
}
