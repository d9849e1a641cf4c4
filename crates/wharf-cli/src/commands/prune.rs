//! `container prune` and `system prune`: what nobody uses any more is removed.

use wharf_wire::query::QueryWriter;
use wharf_wire::{ContainersPruned, Filters};

use super::{Command, Context};
use crate::client::{Client, ClientError};
use crate::failure::Failure;
use crate::format::units;
use crate::grammar::{Arity, Flag, Grammar};
use crate::options::filter;
use crate::prompt::confirm;

mod system;

pub(super) use system::COMMAND as SYSTEM;

#[derive(Debug, Default)]
pub(super) struct Arguments {
    filters: Filters,
    force: bool,
}

type F = Flag<Arguments>;

pub(super) static CONTAINER: Command<Arguments> = Command {
    names: &["container prune"],
    about: "Remove all stopped containers",
    usage: "[OPTIONS]",
    grammar: Grammar {
        flags: &[&[
            F::value(
                "filter",
                "filter",
                "Provide filter values (e.g. \"until=<timestamp>\")",
                |a, v| filter::add(&mut a.filters, v),
            ),
            F::switch("force", "Do not prompt for confirmation", |a, on| {
                a.force = on;
            })
            .short('f'),
        ]],
        interspersed: true,
        arity: Arity::None,
    },
    run,
};

fn run(context: &Context, mut arguments: Arguments, _: Vec<String>) -> Result<u8, Failure> {
    let configured = &context.config().prune_filters;
    filter::add_configured(&mut arguments.filters, configured);
    let question =
        "WARNING! This will remove all stopped containers.\nAre you sure you want to continue?";
    if !arguments.force && !confirm(context.printer, question)? {
        return Ok(0);
    }
    let client = context.client()?;
    context.block_on(async {
        let pruned = containers(&client, &arguments.filters).await?;
        show(context, "Deleted Containers:", &pruned.containers_deleted)?;
        reclaimed(context, pruned.space_reclaimed)?;
        Ok(0)
    })
}

/// Asks the engine to remove containers.
async fn containers(client: &Client, filters: &Filters) -> Result<ContainersPruned, ClientError> {
    let query = QueryWriter::new().filters(filters).finish();
    let path = format!("/containers/prune{query}");
    client.post(&path).await?.json().await
}

/// Shows what was removed, if anything was.
fn show(context: &Context, heading: &str, names: &Option<Vec<String>>) -> Result<(), Failure> {
    let Some(names) = names.as_ref().filter(|names| !names.is_empty()) else {
        return Ok(());
    };
    context
        .printer
        .line(&format!("{heading}\n{}\n", names.join("\n")))?;
    Ok(())
}

fn reclaimed(context: &Context, bytes: i64) -> Result<(), Failure> {
    let sum = units::sum(bytes);
    context
        .printer
        .line(&format!("Total reclaimed space: {sum}"))?;
    Ok(())
}
