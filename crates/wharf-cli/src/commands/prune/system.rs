//! `system prune`: one kind after the other.

use hyper::StatusCode;
use serde::Deserialize;
use wharf_wire::query::QueryWriter;
use wharf_wire::{Filters, ImageDelete};

use super::super::{Command, Context};
use super::{containers, reclaimed, show};
use crate::client::{Client, ClientError};
use crate::failure::Failure;
use crate::grammar::{Arity, Flag, Grammar};
use crate::options::filter;
use crate::prompt::confirm;

#[derive(Debug, Default)]
pub(crate) struct Arguments {
    all: bool,
    filters: Filters,
    force: bool,
    volumes: bool,
}

type F = Flag<Arguments>;

pub(crate) static COMMAND: Command<Arguments> = Command {
    names: &["system prune"],
    about: "Remove unused data",
    usage: "[OPTIONS]",
    grammar: Grammar {
        flags: &[&[
            F::switch(
                "all",
                "Remove all unused images not just dangling ones",
                |a, on| a.all = on,
            )
            .short('a'),
            F::value(
                "filter",
                "filter",
                "Provide filter values (e.g. \"label=<key>=<value>\")",
                |a, v| filter::add(&mut a.filters, v),
            ),
            F::switch("force", "Do not prompt for confirmation", |a, on| {
                a.force = on;
            })
            .short('f'),
            F::switch("volumes", "Prune anonymous volumes", |a, on| {
                a.volumes = on;
            }),
        ]],
        interspersed: true,
        arity: Arity::None,
    },
    run,
};

/// What the engine says it has removed; each kind fills its own member.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Pruned {
    networks_deleted: Option<Vec<String>>,
    volumes_deleted: Option<Vec<String>>,
    images_deleted: Option<Vec<ImageDelete>>,
    caches_deleted: Option<Vec<String>>,
    space_reclaimed: i64,
}

fn run(context: &Context, arguments: Arguments, _: Vec<String>) -> Result<u8, Failure> {
    if arguments.volumes && arguments.filters.contains("until") {
        return Err(Failure::message(
            "ERROR: The \"until\" filter is not supported with \"--volumes\"",
        ));
    }
    if !arguments.force && !confirm(context.printer, &warning(&arguments))? {
        return Ok(0);
    }
    let client = context.client()?;
    context.block_on(async { prune(context, &client, &arguments).await })
}

async fn prune(context: &Context, client: &Client, arguments: &Arguments) -> Result<u8, Failure> {
    let mut filters = arguments.filters.clone();
    filter::add_configured(&mut filters, &context.config().prune_filters);
    let filters = &filters;
    let pruned = containers(client, filters).await?;
    show(context, "Deleted Containers:", &pruned.containers_deleted)?;
    let mut bytes = pruned.space_reclaimed;
    let networks = ask(client, "/networks/prune", filters).await?;
    show(context, "Deleted Networks:", &networks.networks_deleted)?;
    if arguments.volumes {
        let volumes = ask(client, "/volumes/prune", filters).await?;
        show(context, "Deleted Volumes:", &volumes.volumes_deleted)?;
        bytes += volumes.space_reclaimed;
    }
    let mut unused = filters.clone();
    unused.add("dangling", if arguments.all { "false" } else { "true" });
    let images = ask(client, "/images/prune", &unused).await?;
    let line = |image: &ImageDelete| match image.untagged.as_str() {
        "" => format!("deleted: {}", image.deleted),
        name => format!("untagged: {name}"),
    };
    let lines = images
        .images_deleted
        .as_ref()
        .map(|images| images.iter().map(line).collect());
    show(context, "Deleted Images:", &lines)?;
    bytes += images.space_reclaimed;
    let mut query = QueryWriter::new().filters(&arguments.filters);
    if arguments.all {
        query = query.flag("all", true);
    }
    let caches = ask_with(client, &format!("/build/prune{}", query.finish())).await?;
    show(
        context,
        "Deleted build cache objects:",
        &caches.caches_deleted,
    )?;
    reclaimed(context, bytes + caches.space_reclaimed)?;
    Ok(0)
}

async fn ask(client: &Client, path: &str, filters: &Filters) -> Result<Pruned, ClientError> {
    let query = QueryWriter::new().filters(filters).finish();
    ask_with(client, &format!("{path}{query}")).await
}

/// An engine that has no objects of a kind has none to remove.
async fn ask_with(client: &Client, path: &str) -> Result<Pruned, ClientError> {
    match client.post(path).await {
        Ok(reply) => reply.json().await,
        Err(error) if error.status() == Some(StatusCode::NOT_IMPLEMENTED) => Ok(Pruned::default()),
        Err(error) => Err(error),
    }
}

fn warning(arguments: &Arguments) -> String {
    let mut text = String::from(
        "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n",
    );
    if arguments.volumes {
        text.push_str("  - all anonymous volumes not used by at least one container\n");
    }
    text.push_str(if arguments.all {
        "  - all images without at least one container associated to them\n  - all build cache\n"
    } else {
        "  - all dangling images\n  - unused build cache\n"
    });
    if !arguments.filters.is_empty() {
        text.push_str("\n  Items to be pruned will be filtered with:\n");
        for (key, value) in arguments.filters.pairs() {
            text.push_str(&format!("  - {key}={value}\n"));
        }
    }
    text.push_str("\nAre you sure you want to continue?");
    text
}
