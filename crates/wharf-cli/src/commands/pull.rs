//! `pull`: images from where they are kept.

use wharf_types::Reference;
use wharf_wire::ImageCreateQuery;

use super::create::pull_path;
use super::{Command, Context};
use crate::failure::{Failure, chain};
use crate::grammar::{Arity, Flag, Grammar};
use crate::progress::{Display, ProgressError};

#[derive(Debug, Default)]
pub(super) struct Arguments {
    all_tags: bool,
    /// Whether signatures are asked for, which is refused.
    content_trust: bool,
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
            F::switch(
                "all-tags",
                "Download all tagged images in the repository",
                |a, on| {
                    a.all_tags = on;
                },
            )
            .short('a'),
            F::switch(
                "disable-content-trust",
                "Skip image verification",
                |a, on| {
                    a.content_trust = !on;
                },
            )
            .default("true"),
            F::value(
                "platform",
                "string",
                "Set platform if server is multi-platform capable",
                |a, v| {
                    v.clone_into(&mut a.platform);
                    Ok(())
                },
            )
            .since(32),
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
    if arguments.content_trust {
        return Err(Failure::message(
            "content trust is not supported: leave --disable-content-trust as it is",
        ));
    }
    let path = if arguments.all_tags {
        if reference.tag().is_some() || reference.digest().is_some() {
            return Err(Failure::message("tag can't be used with --all-tags/-a"));
        }
        let query = ImageCreateQuery {
            from_image: reference.familiar_name(),
            platform: arguments.platform.clone(),
            ..ImageCreateQuery::default()
        };
        format!("/images/create{}", query.write())
    } else {
        if reference.tag().is_none() && reference.digest().is_none() && !arguments.quiet {
            context.printer.line("Using default tag: latest")?;
        }
        pull_path(&reference, &arguments.platform)
    };
    let shown = if arguments.all_tags {
        reference.to_string()
    } else {
        reference.with_default_tag().to_string()
    };
    let client = context.client()?;
    context.block_on(async {
        let reply = client.post(&path).await?;
        let display = if arguments.quiet {
            Display::silent()
        } else {
            Display::stdout()
        };
        display.follow(reply).await.map_err(|error| match error {
            ProgressError::Output(error) => error.into(),
            error => Failure::message(chain(&error)),
        })?;
        context.printer.line(&shown)?;
        Ok(0)
    })
}
