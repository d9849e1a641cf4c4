//! `volume rm`: volumes removed.

use hyper::Method;
use wharf_wire::query::{QueryWriter, encode};

use crate::commands::each::print_names;
use crate::commands::{Command, Context};
use crate::failure::Failure;
use crate::grammar::{Arity, Flag, Grammar};

#[derive(Debug, Default)]
pub(in crate::commands) struct Arguments {
    force: bool,
}

type F = Flag<Arguments>;

pub(in crate::commands) static COMMAND: Command<Arguments> = Command {
    names: &["volume rm", "volume remove"],
    about: "Remove one or more volumes",
    usage: "[OPTIONS] VOLUME [VOLUME...]",
    grammar: Grammar {
        flags: &[&[F::switch(
            "force",
            "Force the removal of one or more volumes",
            |a, on| a.force = on,
        )
        .short('f')]],
        interspersed: true,
        arity: Arity::AtLeast(1),
    },
    run,
};

fn run(context: &Context, arguments: Arguments, names: Vec<String>) -> Result<u8, Failure> {
    let query = QueryWriter::new().flag("force", arguments.force).finish();
    print_names(context, &names, async |client, name| {
        let path = format!("/volumes/{}{query}", encode(name));
        client.call(Method::DELETE, &path).await?.bytes().await?;
        Ok(())
    })
}
