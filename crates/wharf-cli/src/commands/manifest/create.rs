//! `manifest create`: a list is begun, or images are added to it.

use wharf_types::Reference;

use super::document::Image;
use super::registry::Registries;
use super::store::StoreError;
use super::{insecure, reference, store};
use crate::commands::{Command, Context};
use crate::failure::Failure;
use crate::grammar::{Arity, Flag, Grammar};

#[derive(Debug, Default)]
pub(crate) struct Arguments {
    amend: bool,
    insecure: bool,
}

pub(crate) static COMMAND: Command<Arguments> = Command {
    names: &["manifest create"],
    about: "Create a local manifest list for annotating and pushing to a registry",
    usage: "MANIFEST_LIST MANIFEST [MANIFEST...]",
    grammar: Grammar {
        flags: &[FLAGS],
        interspersed: true,
        arity: Arity::AtLeast(2),
    },
    run,
};

const FLAGS: &[Flag<Arguments>] = &[
    Flag::<Arguments>::switch("amend", "Amend an existing manifest list", |a, on| {
        a.amend = on;
    })
    .short('a'),
    insecure("Allow communication with an insecure registry", |a, on| {
        a.insecure = on;
    }),
];

fn run(context: &Context, arguments: Arguments, words: Vec<String>) -> Result<u8, Failure> {
    let list = reference(&words[0]).map_err(|error| {
        Failure::message(format!(
            "error parsing name for manifest list {}: {error}",
            words[0]
        ))
    })?;
    let store = store(context);
    match store.list(&list) {
        Err(StoreError::Unknown(_)) => {}
        Err(error) => return Err(Failure::of(&error)),
        Ok(_) if arguments.amend => {}
        Ok(_) => {
            return Err(Failure::message(
                "refusing to amend an existing manifest list with no --amend flag",
            ));
        }
    }
    context.block_on(async {
        let registries = Registries::new(context, arguments.insecure);
        for word in &words[1..] {
            let name = reference(word).map_err(|error| Failure::of(&error))?;
            let image = image(context, &registries, &list, &name).await?;
            store
                .save(&list, &name, &image)
                .map_err(|error| Failure::of(&error))?;
        }
        context
            .printer
            .line(&format!("Created manifest list {list}"))?;
        Ok(0)
    })
}

/// An image that is in the list already, annotations and all, or else the registry's.
async fn image(
    context: &Context,
    registries: &Registries<'_>,
    list: &Reference,
    name: &Reference,
) -> Result<Image, Failure> {
    match store(context).get(list, name) {
        Ok(image) if image.has_text() => Ok(image),
        Ok(_) | Err(StoreError::Unknown(_)) => registries
            .image(name)
            .await
            .map_err(|error| Failure::of(&error)),
        Err(error) => Err(Failure::of(&error)),
    }
}
