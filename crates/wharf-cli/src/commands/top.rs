//! `top`: the processes of a container.

use wharf_wire::TopResult;
use wharf_wire::query::{QueryWriter, encode};

use super::{Command, Context};
use crate::failure::Failure;
use crate::format::listing::columns;
use crate::grammar::{Arity, Grammar};

pub(super) static COMMAND: Command<()> = Command {
    names: &["container top", "top"],
    about: "Display the running processes of a container",
    usage: "CONTAINER [ps OPTIONS]",
    grammar: Grammar {
        flags: &[],
        interspersed: false,
        arity: Arity::AtLeast(1),
    },
    run,
};

fn run(context: &Context, (): (), words: Vec<String>) -> Result<u8, Failure> {
    let query = QueryWriter::new()
        .text("ps_args", &words[1..].join(" "))
        .finish();
    let client = context.client()?;
    let result: TopResult = context.block_on(async {
        Ok(client
            .get(&format!("/containers/{}/top{query}", encode(&words[0])))
            .await?)
    })?;
    let lines: Vec<String> = std::iter::once(&result.titles)
        .chain(&result.processes)
        .map(|cells| cells.join("\t"))
        .collect();
    let table = columns(&(lines.join("\n") + "\n"), 20, 3)?;
    context.printer.data(table.as_bytes())?;
    Ok(0)
}
