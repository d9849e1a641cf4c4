//! `manifest inspect`: a manifest or a list, of those being made or of a registry's.

use wharf_types::Reference;

use super::document::{DocumentError, Image, List, at_length};
use super::registry::{Found, Registries, described};
use super::{insecure, reference, store};
use crate::commands::{Command, Context};
use crate::failure::Failure;
use crate::grammar::{Arity, Flag, Grammar};

#[derive(Debug, Default)]
pub(crate) struct Arguments {
    insecure: bool,
    verbose: bool,
}

pub(crate) static COMMAND: Command<Arguments> = Command {
    names: &["manifest inspect"],
    about: "Display an image manifest, or manifest list",
    usage: "[OPTIONS] [MANIFEST_LIST] MANIFEST",
    grammar: Grammar {
        flags: &[FLAGS],
        interspersed: true,
        arity: Arity::Between(1, 2),
    },
    run,
};

const FLAGS: &[Flag<Arguments>] = &[
    insecure("Allow communication with an insecure registry", |a, on| {
        a.insecure = on;
    }),
    Flag::<Arguments>::switch(
        "verbose",
        "Output additional info including layers and platform",
        |a, on| a.verbose = on,
    )
    .short('v'),
];

fn run(context: &Context, arguments: Arguments, words: Vec<String>) -> Result<u8, Failure> {
    let named = |text: &str| reference(text).map_err(|error| Failure::of(&error));
    let text = match words.as_slice() {
        [list, name] => {
            let (name, list) = (named(name)?, named(list)?);
            let image = store(context)
                .get(&list, &name)
                .map_err(|error| Failure::of(&error))?;
            of_image(&image, arguments.verbose)
        }
        _ => {
            let name = named(&words[0])?;
            match store(context).list(&name) {
                Ok(images) => of_list(&name, &images, arguments.verbose),
                // Whatever is wrong with what is kept, the registry may have it.
                Err(_) => return remote(context, &arguments, &name),
            }
        }
    };
    context
        .printer
        .line(&text.map_err(|error| Failure::of(&error))?)?;
    Ok(0)
}

fn remote(context: &Context, arguments: &Arguments, name: &Reference) -> Result<u8, Failure> {
    context.block_on(async {
        let registries = Registries::new(context, arguments.insecure);
        let found = registries
            .find(name)
            .await
            .map_err(|error| Failure::of(&error))?;
        let text = match found {
            Found::Image(image) => of_image(&image, arguments.verbose),
            Found::List(list) if arguments.verbose => {
                let images = registries
                    .members(name, &list)
                    .await
                    .map_err(|error| Failure::of(&error))?;
                of_list(name, &images, true)
            }
            Found::List(list) => {
                let descriptors: Vec<_> = list.iter().map(described).collect();
                List::of(descriptors.iter()).map(|list| list.text)
            }
        };
        context
            .printer
            .line(&text.map_err(|error| Failure::of(&error))?)?;
        Ok(0)
    })
}

fn of_image(image: &Image, verbose: bool) -> Result<String, DocumentError> {
    if verbose {
        let failed = |error| DocumentError::Json(image.reference.clone(), error);
        at_length(image).map_err(failed)
    } else {
        image.shown()
    }
}

fn of_list(name: &Reference, images: &[Image], verbose: bool) -> Result<String, DocumentError> {
    if verbose {
        return at_length(&images).map_err(|error| DocumentError::Json(name.to_string(), error));
    }
    for image in images {
        image
            .is_of(name.domain())
            .map_err(Box::new)
            .map_err(DocumentError::Descriptor)?;
    }
    Ok(List::of(images.iter().map(|image| &image.descriptor))?.text)
}
