//! `volume prune`: volumes that nobody uses removed.

use wharf_wire::{Filters, VolumesPruned, VolumesQuery};

use crate::commands::{Command, Context};
use crate::failure::Failure;
use crate::format::units;
use crate::grammar::{Arity, Flag, Grammar};
use crate::options::filter;
use crate::prompt;

#[derive(Debug, Default)]
pub(in crate::commands) struct Arguments {
    all: bool,
    filters: Filters,
    force: bool,
}

type F = Flag<Arguments>;

pub(in crate::commands) static COMMAND: Command<Arguments> = Command {
    names: &["volume prune"],
    about: "Remove unused local volumes",
    usage: "[OPTIONS]",
    grammar: Grammar {
        flags: &[&[
            F::switch(
                "all",
                "Remove all unused volumes, not just anonymous ones",
                |a, on| a.all = on,
            )
            .short('a')
            .since(42),
            F::value(
                "filter",
                "filter",
                "Provide filter values (e.g. \"label=<label>\")",
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
    filter::add_configured(&mut filters, &context.config().prune_filters);
    if arguments.all {
        if filters.contains("all") {
            return Err(Failure::message(
                "conflicting options: cannot specify both --all and --filter all=1",
            ));
        }
        filters.add("all", "true");
    }
    let client = context.client()?;
    let named_too = context.block_on(async {
        client.settle().await?;
        Ok(!client.speaks(42))
    })?;
    // An older engine takes those with names, too.
    let which = match named_too || filters.contains("all") {
        true => "all",
        false => "anonymous",
    };
    let warning = format!(
        "WARNING! This will remove {which} local volumes not used by at least one container.\n\
         Are you sure you want to continue?"
    );
    if !arguments.force && !prompt::confirm(context.printer, &warning)? {
        return Ok(0);
    }
    let query = VolumesQuery { filters };
    context.block_on(async {
        let reply = client
            .post(&format!("/volumes/prune{}", query.write()))
            .await?;
        let pruned: VolumesPruned = reply.json().await?;
        let deleted = pruned.volumes_deleted.unwrap_or_default();
        if !deleted.is_empty() {
            context.printer.line("Deleted Volumes:")?;
            for name in &deleted {
                context.printer.line(name)?;
            }
            context.printer.line("")?;
        }
        let reclaimed = units::size(pruned.space_reclaimed);
        context
            .printer
            .line(&format!("Total reclaimed space: {reclaimed}"))?;
        Ok(0)
    })
}
