//! `volume ls`: volumes as a table.

use wharf_wire::{Filters, Volume, VolumeList, VolumesQuery};

use crate::commands::{Command, Context};
use crate::failure::Failure;
use crate::format::listing::{Kind, Row, Shape};
use crate::format::units;
use crate::grammar::{Arity, Flag, Grammar};
use crate::options::{filter, flags};

#[derive(Debug, Default)]
pub(in crate::commands) struct Arguments {
    filters: Filters,
    format: Option<String>,
    quiet: bool,
}

type F = Flag<Arguments>;

pub(in crate::commands) static COMMAND: Command<Arguments> = Command {
    names: &["volume ls", "volume list"],
    about: "List volumes",
    usage: "[OPTIONS]",
    grammar: Grammar {
        flags: &[&[
            F::refused("cluster"),
            F::value(
                "filter",
                "filter",
                "Provide filter values (e.g. \"dangling=true\")",
                |a, v| filter::add(&mut a.filters, v),
            )
            .short('f'),
            flags::format(|a, v| {
                a.format = Some(v.to_owned());
                Ok(())
            }),
            F::switch("quiet", "Only display volume names", |a, on| a.quiet = on).short('q'),
        ]],
        interspersed: true,
        arity: Arity::None,
    },
    run,
};

static KIND: Kind = Kind {
    fields: &[
        ("Availability", "AVAILABILITY"),
        ("Driver", "DRIVER"),
        ("Group", "GROUP"),
        ("Labels", "LABELS"),
        ("Links", "LINKS"),
        ("Mountpoint", "MOUNTPOINT"),
        ("Name", "VOLUME NAME"),
        ("Scope", "SCOPE"),
        ("Size", "SIZE"),
        ("Status", "STATUS"),
    ],
    go_type: "*formatter.volumeContext",
    complaint: "template parsing error",
    raw: Some("name: {{.Name}}\ndriver: {{.Driver}}\n"),
};

fn run(context: &Context, arguments: Arguments, _: Vec<String>) -> Result<u8, Failure> {
    let format = match &arguments.format {
        None if arguments.quiet => Some("{{.Name}}"),
        format => format.as_deref(),
    };
    let shape = Shape::new(&KIND, format, "{{.Driver}}\t{{.Name}}");
    let query = VolumesQuery {
        filters: arguments.filters,
    };
    let client = context.client()?;
    let list: VolumeList =
        context.block_on(async { Ok(client.get(&format!("/volumes{}", query.write())).await?) })?;
    for warning in list.warnings.iter().flatten() {
        context.printer.note(&format!("WARNING: {warning}"));
    }
    let mut volumes = list.volumes;
    volumes.sort_by(|one, other| one.name.cmp(&other.name));
    let rows = volumes.iter().map(row).collect();
    context.printer.data(
        shape
            .show(&KIND, rows)
            .map_err(|error| Failure::of(&error))?
            .as_bytes(),
    )?;
    Ok(0)
}

fn row(volume: &Volume) -> Row {
    let labels = volume.labels.iter().flatten();
    let labels: Vec<String> = labels
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let unknown = || "N/A".to_owned();
    let usage = volume.usage_data.as_ref();
    Row::new([
        ("Availability", unknown()),
        ("Driver", volume.driver.clone()),
        ("Group", unknown()),
        ("Labels", labels.join(",")),
        (
            "Links",
            usage.map_or_else(unknown, |usage| usage.ref_count.to_string()),
        ),
        ("Mountpoint", volume.mountpoint.clone()),
        ("Name", volume.name.clone()),
        ("Scope", volume.scope.clone()),
        (
            "Size",
            usage.map_or_else(unknown, |usage| units::size(usage.size)),
        ),
        ("Status", unknown()),
    ])
    .with_labels(volume.labels.iter().flatten())
}
