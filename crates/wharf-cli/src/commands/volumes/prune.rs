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
        arity: Arity::Exactly(0),
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
    let which = if filters.contains("all") {
        "all"
    } else {
        "anonymous"
    };
    let warning = format!(
        "WARNING! This will remove {which} local volumes not used by at least one container.\n\
         Are you sure you want to continue?"
    );
    if !arguments.force && !prompt::confirm(context.printer, &warning)? {
        return Err(Failure::message("volume prune has been cancelled"));
    }
    let query = VolumesQuery { filters };
    let client = context.client()?;
    context.block_on(async {
        let reply = client
            .post(&format!("/volumes/prune{}", query.write()))
            .await?;
        let pruned: VolumesPruned = reply.json().await?;
        if let Some(deleted) = &pruned.volumes_deleted {
            context.printer.line("Deleted Volumes:")?;
            for name in deleted {
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
