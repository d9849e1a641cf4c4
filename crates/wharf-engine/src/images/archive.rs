//! Images coming in from archives and going out as archives.

use std::io::{Read, Write};

use jiff::Timestamp;
use wharf_oci::image::{ContainerConfig, History, ImageConfig};
use wharf_store::{LoadError, LoadEvent, LoadedImage, Platforms, SaveImage};
use wharf_types::{Digest, Reference, failpoint};
use wharf_wire as wire;

use super::{Images, changes, is_digest, platform};
use crate::error::{Error, ErrorKind};
use crate::records::Records;

/// An image to make from a tar of a root file system.
#[derive(Debug, Clone, Default)]
pub struct ImportRequest {
    /// Repository to name it, may hold a tag; empty: none.
    pub repo: String,
    /// Tag, when `repo` has none.
    pub tag: String,
    /// Comment of the image's one step.
    pub message: String,
    /// Dockerfile instructions applied to its configuration.
    pub changes: Vec<String>,
    /// `os[/arch[/variant]]`; empty: the engine's own.
    pub platform: String,
}

impl Images {
    /// Takes in an archive's images; returns them with the name events show.
    pub(crate) fn load(
        &self,
        records: &Records,
        archive: impl Read,
        quiet: bool,
        platforms: &[String],
        mut progress: impl FnMut(wire::Progress),
    ) -> Result<Vec<(Digest, String)>, Error> {
        let platforms = platform::read_all(platforms)?;
        let is_wanted = |config: &ImageConfig| {
            let mut platforms = platforms.iter();
            platforms.any(|platform| platform::is_for(config, platform))
        };
        let wanted: Platforms<'_> = (!platforms.is_empty()).then_some(&is_wanted);
        let mut observer = |event: LoadEvent<'_>| {
            if let (LoadEvent::Layer { id, current, total }, false) = (event, quiet) {
                progress(layer_progress("Loading layer", id, current, total));
            }
        };
        let loaded = self.store.load(archive, wanted, &mut observer);
        let loaded = loaded.map_err(|error| refused("load", &error))?;
        failpoint::hit("engine.load.stored");
        let mut events = Vec::new();
        for image in loaded {
            self.take_in(records, &image, &mut progress)?;
            if let (true, Some(index)) = (image.names.is_empty(), image.index) {
                // Nobody could ask for the images of the other platforms.
                let mut kept = self.roots();
                kept.insert(image.id);
                let removed = self.store.remove_index(&index, &kept);
                removed.map_err(|error| Error::internal("cannot remove the index", error))?;
            }
            let name = image.names.first().map(Reference::familiar);
            events.push((image.id, name.unwrap_or_else(|| image.id.to_string())));
        }
        failpoint::hit("engine.load.recorded");
        Ok(events)
    }

    fn take_in(
        &self,
        records: &Records,
        image: &LoadedImage,
        progress: &mut impl FnMut(wire::Progress),
    ) -> Result<(), Error> {
        for (name, holder) in self.give(records, image.id, &image.names, image.index)? {
            progress(wire::Progress::stream(format!(
                "The image {} already exists, renaming the old one with ID {holder} to empty string\n",
                name.familiar()
            )));
        }
        for name in &image.names {
            progress(wire::Progress::stream(format!(
                "Loaded image: {}\n",
                name.familiar()
            )));
        }
        if image.names.is_empty() {
            progress(wire::Progress::stream(format!(
                "Loaded image ID: {}\n",
                image.id
            )));
        }
        Ok(())
    }

    /// Makes an image from a tar of a root file system.
    pub(crate) fn import(
        &self,
        records: &Records,
        archive: impl Read,
        request: &ImportRequest,
        mut progress: impl FnMut(wire::Progress),
    ) -> Result<Digest, Error> {
        let name = self.new_name(&request.repo, &request.tag)?;
        let config = import_config(request)?;
        let mut observer = |event: LoadEvent<'_>| {
            if let LoadEvent::Layer { current, total, .. } = event {
                progress(layer_progress("Importing", "", current, total));
            }
        };
        let image = self.store.import(archive, config, &mut observer);
        let image = image.map_err(|error| refused("import", &error))?;
        failpoint::hit("engine.import.stored");
        self.take_in_named(records, image.id, name.as_ref())?;
        progress(wire::Progress::status(image.id.to_string()));
        Ok(image.id)
    }

    /// Writes images as an archive. A repository without tag means all its tags, as with Docker. An
    /// image for several platforms is written whole, or those platforms of it that are asked for.
    pub(crate) fn save(
        &self,
        names: &[String],
        platforms: &[String],
        writer: impl Write,
    ) -> Result<(), Error> {
        let mut images: Vec<SaveImage> = Vec::new();
        for text in names {
            for save in self.to_save(text, platforms)? {
                let SaveImage { id, names, index } = save;
                let name = names.into_iter().next();
                let same = |image: &SaveImage| image.id == id && image.index == index;
                let position = images.iter().position(same);
                let position = position.unwrap_or_else(|| {
                    images.push(SaveImage {
                        id,
                        names: Vec::new(),
                        index,
                    });
                    images.len() - 1
                });
                let names = &mut images[position].names;
                names.extend(name.filter(|name| !names.contains(name)));
            }
        }
        let saved = self.store.save(&images, writer);
        saved.map_err(|error| Error::internal("cannot save the images", error))
    }

    /// Returns what a name that is to be saved means, one for each of its names.
    fn to_save(&self, text: &str, platforms: &[String]) -> Result<Vec<SaveImage>, Error> {
        let mut names = self.tags_of(text);
        if names.is_empty() {
            names.push(text.to_owned());
        }
        let mut images = Vec::new();
        for name in names {
            let found = self.find(&name)?;
            let tag = found.name.filter(|name| !is_digest(name));
            let index = tag.as_ref().and_then(|tag| self.names().index_of(tag));
            let of_platforms = self.for_platforms(&name, platforms)?;
            images.extend(of_platforms.into_iter().map(|id| SaveImage {
                id,
                names: tag.clone().into_iter().collect(),
                index: index.filter(|_| platforms.is_empty()),
            }));
        }
        Ok(images)
    }

    /// Returns the names of a repository, when the text is one without a tag.
    pub(super) fn tags_of(&self, text: &str) -> Vec<String> {
        let Ok(reference) = text.parse::<Reference>() else {
            return Vec::new();
        };
        if reference.tag().is_some() || reference.digest().is_some() {
            return Vec::new();
        }
        let names = self.known().into_iter().flat_map(|(_, names)| names);
        let of_repository = names.filter(|name| {
            (name.domain(), name.path()) == (reference.domain(), reference.path())
                && !is_digest(name)
        });
        of_repository.map(|name| name.to_string()).collect()
    }
}

fn import_config(request: &ImportRequest) -> Result<ImageConfig, Error> {
    let now = Timestamp::now().to_string();
    let mut platform = request.platform.split('/');
    let os = platform.next().filter(|os| !os.is_empty());
    if os.is_some_and(|os| os != "linux") {
        return Err(Error::invalid(format!(
            "unsupported platform {:?}",
            request.platform
        )));
    }
    let mut config = ContainerConfig::default();
    changes::apply_all(&mut config, &request.changes)?;
    let comment = match request.message.as_str() {
        "" => "Imported from -",
        message => message,
    };
    Ok(ImageConfig {
        created: Some(now.clone()),
        comment: Some(comment.to_owned()),
        // Empty ones are filled in by the store.
        architecture: platform.next().unwrap_or_default().to_owned(),
        variant: platform.next().map(str::to_owned),
        os: os.unwrap_or_default().to_owned(),
        config,
        history: vec![History {
            created: Some(now),
            comment: comment.to_owned(),
            ..History::default()
        }],
        ..ImageConfig::default()
    })
}

/// What is wrong with an archive is the sender's; what fails on our disk is ours.
fn refused(what: &str, error: &LoadError) -> Error {
    let text = format!("cannot {what} the archive: {}", crate::error::chain(error));
    match error {
        LoadError::Path(_) => Error::new(ErrorKind::Internal, text),
        _ => Error::invalid(text),
    }
}

/// A line about how far a layer has come.
pub(super) fn layer_progress(status: &str, id: &str, current: u64, total: u64) -> wire::Progress {
    wire::Progress {
        status: status.to_owned(),
        id: id.to_owned(),
        progress_detail: Some(wire::ProgressDetail {
            current: super::show::bytes(current),
            total: super::show::bytes(total),
            ..wire::ProgressDetail::default()
        }),
        ..wire::Progress::default()
    }
}
