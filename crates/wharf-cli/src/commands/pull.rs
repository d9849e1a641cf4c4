//! `pull`: images from where they are kept.

use wharf_types::Reference;

use super::create::pull_path;
use super::{Command, Context};
use crate::failure::{Failure, chain};
use crate::grammar::{Arity, Flag, Grammar};
use crate::progress::{Display, ProgressError};

#[derive(Debug, Default)]
pub(super) struct Arguments {
    platform: String,
    quiet: bool,
}

type F = Flag<Arguments>;

pub(super) static COMMAND: Command<Arguments> = Command {
    names: &["image pull", "pull"],
    about: "Download an image from a registry",
    usage: "[OPTIONS] NAME[:TAG|@DIGEST]",
    grammar: Grammar {
        flags: &[&[
            F::refused("all-tags").short('a'),
            F::refused("disable-content-trust"),
            F::value(
                "platform",
                "string",
                "Set platform if server is multi-platform capable",
                |a, v| {
                    v.clone_into(&mut a.platform);
                    Ok(())
                },
            ),
            F::switch("quiet", "Suppress verbose output", |a, on| a.quiet = on).short('q'),
        ]],
        interspersed: true,
        arity: Arity::Exactly(1),
    },
    run,
};

fn run(context: &Context, arguments: Arguments, words: Vec<String>) -> Result<u8, Failure> {
    let reference: Reference = words[0]
        .parse()
        .map_err(|error: wharf_types::ReferenceError| Failure::of(&error))?;
    if reference.tag().is_none() && reference.digest().is_none() && !arguments.quiet {
        context.printer.line("Using default tag: latest")?;
    }
    let client = context.client()?;
    context.block_on(async {
        let reply = client
            .post(&pull_path(&reference, &arguments.platform))
            .await?;
        let display = if arguments.quiet {
            Display::silent()
        } else {
            Display::stdout()
        };
        display.follow(reply).await.map_err(|error| match error {
            ProgressError::Output(error) => error.into(),
            error => Failure::message(chain(&error)),
        })?;
        context
            .printer
            .line(&reference.with_default_tag().to_string())?;
        Ok(0)
    })
}
