//! `save`: images to an archive.

use wharf_wire::query::QueryWriter;

use super::export::download;
use super::{Command, Context};
use crate::failure::Failure;
use crate::grammar::{Arity, Flag, Grammar};
use crate::options::platform;

#[derive(Debug, Default)]
pub(super) struct Arguments {
    output: Option<String>,
    platforms: Vec<String>,
}

type F = Flag<Arguments>;

pub(super) static COMMAND: Command<Arguments> = Command {
    names: &["image save", "save"],
    about: "Save one or more images to a tar archive (streamed to STDOUT by default)",
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    grammar: Grammar {
        flags: &[&[
            F::value(
                "output",
                "string",
                "Write to a file, instead of STDOUT",
                |a, v| {
                    a.output = Some(v.to_owned());
                    Ok(())
                },
            )
            .short('o'),
            F::value(
                "platform",
                "string",
                "Save only the given platform(s). Formatted as a comma-separated list of \"os[/arch[/variant]]\" (e.g., \"linux/amd64,linux/arm64/v8\")",
                |a, v| {
                    a.platforms.extend(v.split(',').map(str::to_owned));
                    Ok(())
                },
            )
            .since(48),
        ]],
        interspersed: true,
        arity: Arity::AtLeast(1),
    },
    run,
};

fn run(context: &Context, arguments: Arguments, names: Vec<String>) -> Result<u8, Failure> {
    let platforms = platform::documents(&arguments.platforms)
        .map_err(|error| Failure::message(format!("invalid platform: {error}")))?;
    let query = QueryWriter::new()
        .each("names", &names)
        .each("platform", &platforms)
        .finish();
    download(
        context,
        &format!("/images/get{query}"),
        arguments.output.as_deref(),
        "failed to save image",
    )
}
