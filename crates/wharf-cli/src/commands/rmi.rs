//! `rmi`: images removed.

use hyper::Method;
use wharf_wire::ImageDelete;
use wharf_wire::query::{QueryWriter, encode};

use super::{Command, Context};
use crate::client::ClientError;
use crate::failure::{Failure, chain};
use crate::grammar::{Arity, Flag, Grammar};
use crate::options::platform;

#[derive(Debug, Default)]
pub(super) struct Arguments {
    force: bool,
    no_prune: bool,
    platforms: Vec<String>,
}

type F = Flag<Arguments>;

pub(super) static COMMAND: Command<Arguments> = Command {
    names: &["image rm", "image remove", "image rmi", "rmi"],
    about: "Remove one or more images",
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    grammar: Grammar {
        flags: &[&[
            F::switch("force", "Force removal of the image", |a, on| {
                a.force = on;
            })
            .short('f'),
            F::switch("no-prune", "Do not delete untagged parents", |a, on| {
                a.no_prune = on;
            }),
            F::value(
                "platform",
                "string",
                "Remove only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")",
                |a, v| {
                    a.platforms.extend(v.split(',').map(str::to_owned));
                    Ok(())
                },
            )
            .since(50),
        ]],
        interspersed: true,
        arity: Arity::AtLeast(1),
    },
    run,
};

fn run(context: &Context, arguments: Arguments, names: Vec<String>) -> Result<u8, Failure> {
    let platforms =
        platform::documents(&arguments.platforms).map_err(|error| Failure::of(&error))?;
    let query = QueryWriter::new()
        .flag("force", arguments.force)
        .flag("noprune", arguments.no_prune)
        .each("platforms", &platforms)
        .finish();
    let client = context.client()?;
    let (failures, fatal) = context.block_on(async {
        let (mut failures, mut fatal) = (Vec::new(), false);
        for name in &names {
            let removed = async {
                client
                    .call(Method::DELETE, &format!("/images/{}{query}", encode(name)))
                    .await?
                    .json::<Vec<ImageDelete>>()
                    .await
            };
            match removed.await {
                Ok(steps) => {
                    for step in steps {
                        let line = if step.deleted.is_empty() {
                            format!("Untagged: {}", step.untagged)
                        } else {
                            format!("Deleted: {}", step.deleted)
                        };
                        context.printer.line(&line)?;
                    }
                }
                Err(error @ ClientError::Engine { .. }) => {
                    fatal |= error.status().is_none_or(|status| status.as_u16() != 404);
                    failures.push(chain(&error));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok((failures, fatal))
    })?;
    if failures.is_empty() {
        return Ok(0);
    }
    if arguments.force && !fatal {
        context.printer.note(&failures.join("\n"));
        return Ok(0);
    }
    Err(Failure::message(failures.join("\n")))
}
