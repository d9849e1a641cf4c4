//! `image prune`: images that nothing uses removed.

use wharf_wire::query::QueryWriter;
use wharf_wire::{Filters, ImagesPruned};

use super::{Command, Context};
use crate::failure::Failure;
use crate::format::units;
use crate::grammar::{Arity, Flag, Grammar};
use crate::options::filter;
use crate::prompt;

#[derive(Debug, Default)]
pub(super) struct Arguments {
    all: bool,
    filters: Filters,
    force: bool,
}

type F = Flag<Arguments>;

pub(super) static COMMAND: Command<Arguments> = Command {
    names: &["image prune"],
    about: "Remove unused images",
    usage: "[OPTIONS]",
    grammar: Grammar {
        flags: &[&[
            F::switch(
                "all",
                "Remove all unused images, not just dangling ones",
                |a, on| a.all = on,
            )
            .short('a'),
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

fn run(context: &Context, arguments: Arguments, _: Vec<String>) -> Result<u8, Failure> {
    let mut filters = arguments.filters;
    filters.add("dangling", (!arguments.all).to_string());
    filter::add_configured(&mut filters, &context.config().prune_filters);
    let which = match arguments.all {
        true => "all images without at least one container associated to them",
        false => "all dangling images",
    };
    let warning = format!("WARNING! This will remove {which}.\nAre you sure you want to continue?");
    if !arguments.force && !prompt::confirm(context.printer, &warning)? {
        return Ok(0);
    }
    let query = QueryWriter::new().filters(&filters).finish();
    let client = context.client()?;
    let pruned: ImagesPruned = context.block_on(async {
        let reply = client.post(&format!("/images/prune{query}")).await?;
        Ok(reply.json().await?)
    })?;
    let steps = pruned.images_deleted.unwrap_or_default();
    if !steps.is_empty() {
        context.printer.line("Deleted Images:")?;
        for step in steps {
            let line = match step.untagged.as_str() {
                "" => format!("deleted: {}", step.deleted),
                name => format!("untagged: {name}"),
            };
            context.printer.line(&line)?;
        }
        context.printer.line("")?;
    }
    let reclaimed = i64::try_from(pruned.space_reclaimed).unwrap_or(i64::MAX);
    let reclaimed = units::sum(reclaimed);
    context
        .printer
        .line(&format!("Total reclaimed space: {reclaimed}"))?;
    Ok(0)
}
