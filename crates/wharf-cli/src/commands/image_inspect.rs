//! `image inspect`: everything about images.

use super::Command;
use super::inspect::{Arguments, FORMAT, Kind, inspect};
use crate::failure::Failure;
use crate::grammar::{Arity, Flag, Grammar};
use crate::options::platform;

pub(super) static COMMAND: Command<Arguments> = Command {
    names: &["image inspect"],
    about: "Display detailed information on one or more images",
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    grammar: Grammar {
        flags: &[FORMAT, &[Flag::<Arguments>::value(
                "platform",
                "string",
                "Inspect a specific platform of the multi-platform image. If the image or the server is not multi-platform capable, the command will error out if the platform does not match. 'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)",
                |a, v| {
                    a.platform = Some(v.to_owned());
                    Ok(())
                },
            )
            .since(49)]],
        interspersed: true,
        arity: Arity::AtLeast(1),
    },
    run: |context, mut arguments, names| {
        if let Some(text) = arguments.platform.filter(|text| !text.is_empty()) {
            let document = platform::document(&text).map_err(|error| Failure::of(&error))?;
            arguments.platform = Some(document);
        } else {
            arguments.platform = None;
        }
        inspect(context, &arguments, &[Kind::Image], &names)
    },
};
