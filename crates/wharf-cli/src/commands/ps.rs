//! `ps`: containers as a table.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use wharf_wire::{ContainerSummary, Filters, ListQuery};

use super::{Command, Context};
use crate::failure::Failure;
use crate::format::listing::{Kind, Row, Shape};
use crate::format::{ago, ports, text, units};
use crate::grammar::{Arity, Flag, Grammar};
use crate::options::{filter, flags, number};

#[derive(Debug, Default)]
pub(super) struct Arguments {
    all: bool,
    filters: Filters,
    format: Option<String>,
    last: Option<i64>,
    latest: bool,
    no_trunc: bool,
    quiet: bool,
    size: bool,
}

type F = Flag<Arguments>;

pub(super) static COMMAND: Command<Arguments> = Command {
    names: &["container ls", "container list", "container ps", "ps"],
    about: "List containers",
    usage: "[OPTIONS]",
    grammar: Grammar {
        flags: &[&[
            F::switch(
                "all",
                "Show all containers (default shows just running)",
                |a, on| a.all = on,
            )
            .short('a'),
            flags::filter(|a, v| filter::add(&mut a.filters, v)),
            flags::format(|a, v| {
                a.format = Some(v.to_owned());
                Ok(())
            }),
            F::value(
                "last",
                "int",
                "Show n last created containers (includes all states)",
                |a, v| {
                    a.last = Some(number::parse(v)?);
                    Ok(())
                },
            )
            .short('n')
            .default("-1"),
            F::switch(
                "latest",
                "Show the latest created container (includes all states)",
                |a, on| a.latest = on,
            )
            .short('l'),
            flags::no_trunc(|a, on| a.no_trunc = on),
            F::switch("quiet", "Only display container IDs", |a, on| a.quiet = on).short('q'),
            F::switch("size", "Display total file sizes", |a, on| a.size = on).short('s'),
        ]],
        interspersed: true,
        arity: Arity::None,
    },
    run,
};

pub(super) static KIND: Kind = Kind {
    fields: &[
        ("Command", "COMMAND"),
        ("CreatedAt", "CREATED AT"),
        ("ID", "CONTAINER ID"),
        ("Image", "IMAGE"),
        ("Labels", "LABELS"),
        ("LocalVolumes", "LOCAL VOLUMES"),
        ("Mounts", "MOUNTS"),
        ("Names", "NAMES"),
        ("Networks", "NETWORKS"),
        ("Platform", "PLATFORM"),
        ("Ports", "PORTS"),
        ("RunningFor", "CREATED"),
        ("Size", "SIZE"),
        ("State", "STATE"),
        ("Status", "STATUS"),
    ],
    go_type: "*formatter.ContainerContext",
    complaint: "failed to parse template",
    raw: Some(
        "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\nstate: {{- pad .State 1 0}}\nstatus: {{- pad .Status 1 0}}\nnames: {{.Names}}\nlabels: {{- pad .Labels 1 0}}\nports: {{- pad .Ports 1 0}}\n",
    ),
};

const TABLE: &str =
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";

fn run(context: &Context, arguments: Arguments, _: Vec<String>) -> Result<u8, Failure> {
    let table = if arguments.size {
        format!("{TABLE}\t{{{{.Size}}}}")
    } else {
        TABLE.to_owned()
    };
    let (format, table) = match (&arguments.format, arguments.quiet) {
        (None, true) => (Some("{{.ID}}"), table),
        (None, false) if !context.config().ps_format.is_empty() => {
            (Some(context.config().ps_format.as_str()), table)
        }
        (format, _) => (format.as_deref(), table),
    };
    if arguments.quiet && arguments.format.is_some() {
        context
            .printer
            .note("WARNING: Ignoring custom format, because both --format and --quiet are set.");
    }
    let shape = Shape::new(&KIND, format, &table);
    let limit = if arguments.latest {
        Some(1)
    } else {
        arguments.last.filter(|&last| last > 0)
    };
    let query = ListQuery {
        all: arguments.all || arguments.latest || arguments.last.is_some_and(|last| last > 0),
        limit,
        size: arguments.size || (format != Some("json") && shape.shows(".Size")),
        filters: arguments.filters.clone(),
    };
    let client = context.client()?;
    let containers: Vec<ContainerSummary> = context.block_on(async {
        Ok(client
            .get(&format!("/containers/json{}", query.write()))
            .await?)
    })?;
    let now = Timestamp::now().as_second();
    // The zone is read from files: not when nobody asks for dates.
    let zone = if shape.shows(".CreatedAt") {
        TimeZone::system()
    } else {
        TimeZone::UTC
    };
    let rows = containers
        .iter()
        .map(|container| row(container, !arguments.no_trunc, now, &zone));
    context.printer.data(
        shape
            .show_each(&KIND, rows)
            .map_err(|error| Failure::of(&error))?
            .as_bytes(),
    )?;
    // The program is at its end: giving thousands of pieces back one by one would only keep its user waiting.
    std::mem::forget(containers);
    Ok(0)
}

/// A container as a row.
pub(super) fn row(container: &ContainerSummary, truncate: bool, now: i64, zone: &TimeZone) -> Row {
    let id = if truncate {
        text::short_id(&container.id)
    } else {
        &container.id
    };
    let command = if truncate {
        text::ellipsis(&container.command, 20)
    } else {
        container.command.clone()
    };
    let labels: Vec<_> = container
        .labels
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let networks: Vec<_> = container
        .network_settings
        .iter()
        .flat_map(|settings| settings.networks.keys().cloned())
        .collect();
    let volumes = container
        .mounts
        .iter()
        .filter(|mount| mount.kind == "volume")
        .count();
    Row::new([
        ("ID", id.to_owned()),
        ("Names", names(container, truncate)),
        ("Image", image(container, truncate)),
        ("Command", text::quote(&command)),
        ("CreatedAt", ago::date(container.created, zone)),
        ("RunningFor", ago::since(container.created, now)),
        ("Ports", ports::displayable(&container.ports)),
        ("State", container.state.clone()),
        ("Status", container.status.clone()),
        ("Size", size(container)),
        ("Labels", labels.join(",")),
        ("Mounts", mounts(container, truncate)),
        ("LocalVolumes", volumes.to_string()),
        ("Networks", networks.join(",")),
        ("Platform", String::new()),
    ])
    .without("Platform")
    .with_labels(&container.labels)
}

/// Names without their slash; names by links hold another, and are shown in full tables only.
fn names(container: &ContainerSummary, truncate: bool) -> String {
    let names: Vec<_> = container
        .names
        .iter()
        .map(|name| name.strip_prefix('/').unwrap_or(name))
        .filter(|name| !truncate || !name.contains('/'))
        .collect();
    names.join(",")
}

/// The image as it was named; its short id where that is all there is, without the digest where there is a name.
fn image(container: &ContainerSummary, truncate: bool) -> String {
    if container.image.is_empty() {
        return "<no image>".to_owned();
    }
    if !truncate {
        return container.image.clone();
    }
    let short = text::short_id(&container.image_id);
    if short == text::short_id(&container.image) {
        return short.to_owned();
    }
    container
        .image
        .split_once('@')
        .map_or(container.image.as_str(), |(name, _)| name)
        .to_owned()
}

fn size(container: &ContainerSummary) -> String {
    let own = units::size(container.size_rw);
    if container.size_root_fs > 0 {
        return format!("{own} (virtual {})", units::size(container.size_root_fs));
    }
    own
}

fn mounts(container: &ContainerSummary, truncate: bool) -> String {
    let shown = container.mounts.iter().map(|mount| {
        let name = if mount.name.is_empty() {
            &mount.source
        } else {
            &mount.name
        };
        if truncate {
            text::ellipsis(name, 15)
        } else {
            name.clone()
        }
    });
    shown.collect::<Vec<_>>().join(",")
}
