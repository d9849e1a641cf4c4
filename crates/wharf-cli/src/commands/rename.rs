//! `rename`: another name for a container.

use wharf_wire::query::{QueryWriter, encode};

use super::{Command, Context};
use crate::failure::{Failure, chain};
use crate::grammar::{Arity, Grammar};

pub(super) static COMMAND: Command<()> = Command {
    names: &["container rename", "rename"],
    about: "Rename a container",
    usage: "CONTAINER NEW_NAME",
    grammar: Grammar {
        flags: &[],
        interspersed: true,
        arity: Arity::Exactly(2),
    },
    run,
};

fn run(context: &Context, (): (), names: Vec<String>) -> Result<u8, Failure> {
    let query = QueryWriter::new().with("name", &names[1]).finish();
    let client = context.client()?;
    context.block_on(async {
        client
            .post(&format!("/containers/{}/rename{query}", encode(&names[0])))
            .await
            .map_err(|error| {
                let name = &names[0];
                Failure::message(format!(
                    "{}\nError: failed to rename container named {name}",
                    chain(&error)
                ))
            })?
            .bytes()
            .await?;
        Ok(0)
    })
}
