//! Images coming in from archives and going out as archives.

use std::io::{Read, Write};

use jiff::Timestamp;
use wharf_oci::image::{ContainerConfig, History, ImageConfig};
use wharf_store::{LoadError, LoadEvent, LoadedImage, SaveImage};
use wharf_types::{Digest, Reference, failpoint};
use wharf_wire as wire;

use super::{Images, changes};
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
        mut progress: impl FnMut(wire::Progress),
    ) -> Result<Vec<(Digest, String)>, Error> {
        let mut observer = |event: LoadEvent<'_>| {
            if let (LoadEvent::Layer { id, current, total }, false) = (event, quiet) {
                progress(layer_progress("Loading layer", id, current, total));
            }
        };
        let loaded = self.store.load(archive, &mut observer);
        let loaded = loaded.map_err(|error| refused("load", &error))?;
        failpoint::hit("engine.load.stored");
        let mut events = Vec::new();
        for image in loaded {
            self.take_in(records, &image, &mut progress)?;
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
        for (name, holder) in self.give(records, image.id, &image.names)? {
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

    /// Writes images as an archive. A repository without tag means all its tags, as with Docker.
    pub(crate) fn save(&self, names: &[String], writer: impl Write) -> Result<(), Error> {
        let mut images: Vec<SaveImage> = Vec::new();
        for text in names {
            for (id, name) in self.to_save(text)? {
                let position = images.iter().position(|image| image.id == id);
                let position = position.unwrap_or_else(|| {
                    images.push(SaveImage {
                        id,
                        names: Vec::new(),
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

    fn to_save(&self, text: &str) -> Result<Vec<(Digest, Option<Reference>)>, Error> {
        if let Ok(reference) = text.parse::<Reference>()
            && reference.tag().is_none()
            && reference.digest().is_none()
        {
            let repository = reference.familiar_name();
            let tags: Vec<_> = self
                .known()
                .into_iter()
                .flat_map(|(id, names)| names.into_iter().map(move |name| (id, Some(name))))
                .filter(|(_, name)| {
                    name.as_ref()
                        .is_some_and(|name| name.familiar_name() == repository)
                })
                .collect();
            if !tags.is_empty() {
                return Ok(tags);
            }
        }
        let found = self.find(text)?;
        Ok(vec![(
            found.id,
            found.name.filter(|name| name.digest().is_none()),
        )])
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

fn layer_progress(status: &str, id: &str, current: u64, total: u64) -> wire::Progress {
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
