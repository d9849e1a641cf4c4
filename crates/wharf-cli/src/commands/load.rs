//! `load`: images from an archive.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use wharf_wire::query::QueryWriter;

use super::{Command, Context};
use crate::client::FileBody;
use crate::failure::{Failure, chain, errno_text};
use crate::grammar::{Arity, Flag, Grammar};
use crate::options::platform;
use crate::progress::Display;

#[derive(Debug, Default)]
pub(super) struct Arguments {
    input: Option<String>,
    platforms: Vec<String>,
    quiet: bool,
}

type F = Flag<Arguments>;

pub(super) static COMMAND: Command<Arguments> = Command {
    names: &["image load", "load"],
    about: "Load an image from a tar archive or STDIN",
    usage: "[OPTIONS]",
    grammar: Grammar {
        flags: &[&[
            F::value(
                "input",
                "string",
                "Read from tar archive file, instead of STDIN",
                |a, v| {
                    a.input = Some(v.to_owned());
                    Ok(())
                },
            )
            .short('i'),
            F::value(
                "platform",
                "string",
                "Load only the given platform(s). Formatted as a comma-separated list of \"os[/arch[/variant]]\" (e.g., \"linux/amd64,linux/arm64/v8\").",
                |a, v| {
                    a.platforms.extend(v.split(',').map(str::to_owned));
                    Ok(())
                },
            )
            .since(48),
            F::switch("quiet", "Suppress the load output", |a, on| a.quiet = on).short('q'),
        ]],
        interspersed: true,
        arity: Arity::None,
    },
    run,
};

fn run(context: &Context, arguments: Arguments, _: Vec<String>) -> Result<u8, Failure> {
    let platforms = platform::documents(&arguments.platforms)
        .map_err(|error| Failure::message(format!("invalid platform: {error}")))?;
    let file = match arguments.input.as_deref() {
        Some(path) if path != "-" => open(Path::new(path))?,
        _ if crate::terminal::input_is_terminal() => {
            return Err(Failure::message(
                "requested load from stdin, but stdin is empty",
            ));
        }
        _ => stdin()?,
    };
    // Without a terminal there is nobody to watch bars.
    let quiet = arguments.quiet || !crate::terminal::output_is_terminal();
    let query = QueryWriter::new()
        .flag("quiet", quiet)
        .each("platform", &platforms)
        .finish();
    let client = context.client()?;
    context.block_on(async {
        let reply = client
            .post_file(
                &format!("/images/load{query}"),
                "application/x-tar",
                FileBody::new(file),
            )
            .await?;
        Display::stdout()
            .follow(reply)
            .await
            .map_err(|error| Failure::message(chain(&error)))?;
        Ok(0)
    })
}

/// Opens a file that is to be sent.
pub(super) fn open(path: &Path) -> Result<File, Failure> {
    File::open(path).map_err(|error| {
        Failure::message(format!("open {}: {}", path.display(), errno_text(&error)))
    })
}

/// Standard input as a file.
pub(super) fn stdin() -> Result<File, Failure> {
    let copy = std::io::stdin().as_fd().try_clone_to_owned();
    copy.map(File::from)
        .map_err(|error| Failure::message(format!("read standard input: {}", errno_text(&error))))
}
