//! `commit`: a container's changes as an image.

use wharf_types::Reference;
use wharf_wire::{CommitQuery, CommitResult};

use super::{Command, Context};
use crate::failure::Failure;
use crate::grammar::{Arity, Flag, Grammar};

#[derive(Debug, Default)]
pub(super) struct Arguments {
    author: String,
    changes: Vec<String>,
    message: String,
    no_pause: bool,
}

type F = Flag<Arguments>;

pub(super) static COMMAND: Command<Arguments> = Command {
    names: &["container commit", "commit"],
    about: "Create a new image from a container's changes",
    usage: "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    grammar: Grammar {
        flags: &[&[
            F::value(
                "author",
                "string",
                "Author (e.g., \"John Hannibal Smith <hannibal@a-team.com>\")",
                |a, v| {
                    v.clone_into(&mut a.author);
                    Ok(())
                },
            )
            .short('a'),
            F::value(
                "change",
                "list",
                "Apply Dockerfile instruction to the created image",
                |a, v| {
                    a.changes.push(v.to_owned());
                    Ok(())
                },
            )
            .short('c'),
            F::value("message", "string", "Commit message", |a, v| {
                v.clone_into(&mut a.message);
                Ok(())
            })
            .short('m'),
            F::switch(
                "pause",
                "Pause container during commit (default true)",
                |a, on| {
                    a.no_pause = !on;
                },
            )
            .short('p'),
        ]],
        interspersed: true,
        arity: Arity::Between(1, 2),
    },
    run,
};

fn run(context: &Context, arguments: Arguments, words: Vec<String>) -> Result<u8, Failure> {
    let reference = words
        .get(1)
        .filter(|name| !name.is_empty())
        .map(|name| name.parse::<Reference>())
        .transpose()
        .map_err(|error| Failure::of(&error))?
        .map(Reference::with_default_tag);
    let query = CommitQuery {
        container: words[0].clone(),
        repo: reference
            .as_ref()
            .map(Reference::familiar_name)
            .unwrap_or_default(),
        tag: reference
            .as_ref()
            .and_then(Reference::tag)
            .unwrap_or_default()
            .to_owned(),
        comment: arguments.message,
        author: arguments.author,
        pause: !arguments.no_pause,
        changes: arguments.changes,
    };
    let client = context.client()?;
    let made: CommitResult = context.block_on(async {
        Ok(client
            .post(&format!("/commit{}", query.write()))
            .await?
            .json()
            .await?)
    })?;
    context.printer.line(&made.id)?;
    Ok(0)
}
