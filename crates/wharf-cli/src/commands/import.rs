//! `import`: an image from a file system's archive.

use std::path::Path;

use wharf_types::Reference;
use wharf_wire::ImageCreateQuery;

use super::load::{open, stdin};
use super::{Command, Context};
use crate::client::FileBody;
use crate::failure::{Failure, chain};
use crate::grammar::{Arity, Flag, Grammar};
use crate::options::{flags, platform};
use crate::progress::Display;

#[derive(Debug, Default)]
pub(super) struct Arguments {
    changes: Vec<String>,
    message: String,
    platform: String,
}

type F = Flag<Arguments>;

pub(super) static COMMAND: Command<Arguments> = Command {
    names: &["image import", "import"],
    about: "Import the contents from a tarball to create a filesystem image",
    usage: "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    grammar: Grammar {
        flags: &[&[
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
            F::value(
                "message",
                "string",
                "Set commit message for imported image",
                |a, v| {
                    v.clone_into(&mut a.message);
                    Ok(())
                },
            )
            .short('m'),
            flags::platform(|a, v| {
                v.clone_into(&mut a.platform);
                Ok(())
            }),
        ]],
        interspersed: true,
        arity: Arity::AtLeast(1),
    },
    run,
};

fn run(context: &Context, arguments: Arguments, words: Vec<String>) -> Result<u8, Failure> {
    let source = words[0].as_str();
    let reference = words
        .get(1)
        .map(|name| name.parse::<Reference>())
        .transpose()
        .map_err(|error| Failure::of(&error))?
        .map(Reference::with_default_tag);
    let mut query = ImageCreateQuery {
        from_src: "-".to_owned(),
        repo: reference
            .as_ref()
            .map(Reference::familiar_name)
            .unwrap_or_default(),
        tag: reference
            .as_ref()
            .and_then(Reference::tag)
            .unwrap_or_default()
            .to_owned(),
        message: arguments.message,
        changes: arguments.changes,
        platform: platform::chosen(&arguments.platform),
        ..ImageCreateQuery::default()
    };
    let file = match source {
        "-" => Some(stdin()?),
        url if ["http://", "https://"]
            .iter()
            .any(|scheme| url.starts_with(scheme)) =>
        {
            url.clone_into(&mut query.from_src);
            None
        }
        path => Some(open(Path::new(path))?),
    };
    let path = format!("/images/create{}", query.write());
    let client = context.client()?;
    context.block_on(async {
        let reply = match file {
            Some(file) => {
                client
                    .post_file(&path, "application/x-tar", FileBody::new(file))
                    .await?
            }
            None => client.post(&path).await?,
        };
        Display::stdout()
            .follow(reply)
            .await
            .map_err(|error| Failure::message(chain(&error)))?;
        Ok(0)
    })
}
