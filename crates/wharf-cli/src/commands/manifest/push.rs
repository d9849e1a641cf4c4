//! `manifest push`: a list goes to its registry, after the images it points to.

use std::sync::Arc;

use bytes::Bytes;
use wharf_distribution::{Repository, Target};
use wharf_types::{Digest, Reference};
use wharf_wire::ImageDescriptor;

use super::document::{Image, List};
use super::registry::{FromRepository, Registries};
use super::{insecure, reference, store};
use crate::commands::{Command, Context};
use crate::failure::Failure;
use crate::grammar::{Arity, Flag, Grammar};

#[derive(Debug, Default)]
pub(crate) struct Arguments {
    insecure: bool,
    purge: bool,
}

pub(crate) static COMMAND: Command<Arguments> = Command {
    names: &["manifest push"],
    about: "Push a manifest list to a repository",
    usage: "[OPTIONS] MANIFEST_LIST",
    grammar: Grammar {
        flags: &[FLAGS],
        interspersed: true,
        arity: Arity::Exactly(1),
    },
    run,
};

const FLAGS: &[Flag<Arguments>] = &[
    insecure("Allow push to an insecure registry", |a, on| {
        a.insecure = on;
    }),
    Flag::<Arguments>::switch(
        "purge",
        "Remove the local manifest list after push",
        |a, on| a.purge = on,
    )
    .short('p'),
];

fn run(context: &Context, arguments: Arguments, words: Vec<String>) -> Result<u8, Failure> {
    let name = reference(&words[0]).map_err(|error| Failure::of(&error))?;
    let store = store(context);
    let images = store.list(&name).map_err(|error| Failure::of(&error))?;
    if images.is_empty() {
        return Err(Failure::message(format!("{name} not found")));
    }
    for image in &images {
        image
            .has_platform()
            .and_then(|()| image.is_of(name.domain()))
            .map_err(|error| Failure::of(&error))?;
    }
    let list = List::of(images.iter().map(|image| &image.descriptor))
        .map_err(|error| Failure::of(&error))?;
    context.block_on(async {
        let push = Push {
            context,
            registries: Registries::new(context, arguments.insecure),
            name: &name,
        };
        push.run(&images, list).await
    })?;
    if arguments.purge {
        store.remove(&name).map_err(|error| Failure::of(&error))?;
    }
    Ok(0)
}

/// One push.
struct Push<'a> {
    context: &'a Context,
    registries: Registries<'a>,
    name: &'a Reference,
}

impl Push<'_> {
    /// First all blobs, then the manifests that point to them, last the list.
    async fn run(&self, images: &[Image], list: List) -> Result<(), Failure> {
        let target = self.repository(self.name)?;
        let mut elsewhere = Vec::new();
        for image in images {
            let source: Reference = image
                .reference
                .parse()
                .map_err(|error: wharf_types::ReferenceError| Failure::of(&error))?;
            if source.path() != self.name.path() {
                self.bring(&target, &source, image).await?;
                elsewhere.push(image);
            }
        }
        for image in elsewhere {
            let text = image.text().map_err(|error| Failure::of(&error))?;
            let digest: Digest = parsed(&image.descriptor.digest)?;
            let media_type = &image.descriptor.media_type;
            let name = format!("{}/{}@{digest}", self.name.domain(), self.name.path());
            let put = self
                .put(&target, &name, &Target::Digest(digest), media_type, text)
                .await?;
            self.context
                .printer
                .line(&format!("Pushed ref {name} with digest: {put}"))?;
        }
        let whole = Target::of(self.name);
        let name = self.name.to_string();
        let put = self
            .put(&target, &name, &whole, list.media_type, list.text)
            .await?;
        self.context.printer.line(&put.to_string())?;
        Ok(())
    }

    fn repository(&self, name: &Reference) -> Result<Repository, Failure> {
        self.registries
            .repository(name)
            .map_err(|error| Failure::of(&error))
    }

    /// Brings an image's blobs over from another repository.
    async fn bring(
        &self,
        target: &Repository,
        source: &Reference,
        image: &Image,
    ) -> Result<(), Failure> {
        let parts = image.parts().map_err(|error| Failure::of(&error))?;
        let repository = self.repository(source)?;
        let from: wharf_types::Repository = source
            .path()
            .parse()
            .map_err(|error: wharf_types::ReferenceError| Failure::of(&error))?;
        for blob in std::iter::once(&parts.config).chain(&parts.layers) {
            if !is_distributable(blob) {
                continue;
            }
            let digest: Digest = parsed(&blob.digest)?;
            let size = u64::try_from(blob.size).unwrap_or(0);
            let bytes = FromRepository {
                repository: repository.clone(),
                digest,
                size,
            };
            target
                .upload(
                    &digest,
                    size,
                    std::slice::from_ref(&from),
                    &bytes,
                    Arc::new(|_| ()),
                )
                .await
                .map_err(|error| {
                    Failure::message(format!(
                        "failed to mount blob {}/{}@{digest} to {}: {error}",
                        source.domain(),
                        source.path(),
                        self.name
                    ))
                })?;
        }
        Ok(())
    }

    async fn put(
        &self,
        target: &Repository,
        name: &str,
        what: &Target,
        media_type: &str,
        text: String,
    ) -> Result<Digest, Failure> {
        target
            .put_manifest(what, media_type, Bytes::from(text))
            .await
            .map_err(|error| Failure::message(format!("failed to put manifest {name}: {error}")))
    }
}

/// Layers whose licence keeps them where they are do not move.
fn is_distributable(blob: &ImageDescriptor) -> bool {
    !blob.media_type.contains("foreign") && !blob.media_type.contains("nondistributable")
}

fn parsed(digest: &str) -> Result<Digest, Failure> {
    digest
        .parse()
        .map_err(|error: wharf_types::DigestError| Failure::of(&error))
}
