//! `kill`: a signal for containers.

use wharf_wire::query::{QueryWriter, encode};

use super::each::print_names;
use super::{Command, Context};
use crate::failure::Failure;
use crate::grammar::{Arity, Flag, Grammar};

#[derive(Debug, Default)]
pub(super) struct Arguments {
    signal: String,
}

pub(super) static COMMAND: Command<Arguments> = Command {
    names: &["container kill", "kill"],
    about: "Kill one or more running containers",
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    grammar: Grammar {
        flags: &[&[Flag::<Arguments>::value(
            "signal",
            "string",
            "Signal to send to the container",
            |a, v| {
                v.clone_into(&mut a.signal);
                Ok(())
            },
        )
        .short('s')]],
        interspersed: true,
        arity: Arity::AtLeast(1),
    },
    run,
};

fn run(context: &Context, arguments: Arguments, names: Vec<String>) -> Result<u8, Failure> {
    let query = QueryWriter::new()
        .text("signal", &arguments.signal)
        .finish();
    print_names(context, &names, async |client, name| {
        client
            .post(&format!("/containers/{}/kill{query}", encode(name)))
            .await?
            .bytes()
            .await?;
        Ok(())
    })
}
