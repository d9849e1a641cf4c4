//! `system df`: what takes room, and `--verify`: whether every byte of it is known.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use wharf_template::{MissingKey, Options, Template};
use wharf_wire::{ContainerSummary, DiskUsage, ImageSummary, VerifyReport};

use super::{Command, Context, images, ps};
use crate::failure::Failure;
use crate::format::listing::{Kind, ListingError, Row, Shape, align};
use crate::format::units;
use crate::grammar::{Arity, Flag, Grammar};
use crate::options::flags;

#[derive(Debug, Default)]
pub(super) struct Arguments {
    format: Option<String>,
    verbose: bool,
    verify: bool,
}

type F = Flag<Arguments>;

pub(super) static COMMAND: Command<Arguments> = Command {
    names: &["system df"],
    about: "Show disk usage",
    usage: "[OPTIONS]",
    grammar: Grammar {
        flags: &[&[
            flags::format(|a, v| {
                a.format = Some(v.to_owned());
                Ok(())
            }),
            F::switch(
                "verbose",
                "Show detailed information on space usage",
                |a, on| a.verbose = on,
            )
            .short('v'),
            F::switch(
                "verify",
                "Account for every byte of the data root, and fail when one is unaccounted for",
                |a, on| {
                    a.verify = on;
                },
            ),
        ]],
        interspersed: true,
        arity: Arity::None,
    },
    run,
};

static KIND: Kind = Kind {
    fields: &[
        ("Active", "ACTIVE"),
        ("Reclaimable", "RECLAIMABLE"),
        ("Size", "SIZE"),
        ("TotalCount", "TOTAL"),
        ("Type", "TYPE"),
    ],
    go_type: "*formatter.diskUsageImagesContext",
    complaint: "template parsing error",
    raw: None,
};

fn run(context: &Context, arguments: Arguments, _: Vec<String>) -> Result<u8, Failure> {
    let client = context.client()?;
    if arguments.verify {
        let report: VerifyReport =
            context.block_on(async { Ok(client.get("/system/df?verify=1").await?) })?;
        context.printer.data(verified(&report)?.as_bytes())?;
        let good = report.unaccounted.is_empty() && report.problems.is_empty();
        return if good { Ok(0) } else { Err(Failure::Silent(1)) };
    }
    let usage: DiskUsage = context.block_on(async { Ok(client.get("/system/df").await?) })?;
    let format = arguments.format.as_deref().unwrap_or_default();
    let text = if arguments.verbose && !matches!(format, "" | "table") {
        by_template(&usage, format)?
    } else if arguments.verbose {
        verbose(&usage).map_err(|error| Failure::of(&error))?
    } else {
        let shape = Shape::new(
            &KIND,
            arguments.format.as_deref(),
            "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
        );
        shape
            .show(&KIND, summary(&usage))
            .map_err(|error| Failure::of(&error))?
    };
    context.printer.data(text.as_bytes())?;
    Ok(0)
}

/// One line for each type of object.
fn summary(usage: &DiskUsage) -> Vec<Row> {
    let used: i64 = usage
        .images
        .iter()
        .filter(|image| image.containers != 0 && image.size >= 0 && image.shared_size >= 0)
        .map(|image| image.size - image.shared_size)
        .sum();
    let is_active = |container: &&ContainerSummary| {
        matches!(
            container.state.as_str(),
            "running" | "paused" | "restarting"
        )
    };
    let containers: i64 = usage
        .containers
        .iter()
        .map(|container| container.size_rw)
        .sum();
    let idle: i64 = usage
        .containers
        .iter()
        .filter(|container| !is_active(container))
        .map(|container| container.size_rw)
        .sum();
    let volumes = usage
        .volumes
        .iter()
        .filter_map(|volume| volume.usage_data.as_ref());
    let volume_bytes = |unused_only: bool| -> i64 {
        volumes
            .clone()
            .filter(|data| data.size >= 0 && !(unused_only && data.ref_count > 0))
            .map(|data| data.size)
            .sum()
    };
    let cache = |unused_only: bool| -> i64 {
        usage
            .build_cache
            .iter()
            .filter(|record| !(record.shared || unused_only && record.in_use))
            .map(|record| record.size)
            .sum()
    };
    vec![
        row(
            "Images",
            usage.images.len(),
            usage
                .images
                .iter()
                .filter(|image| image.containers > 0)
                .count(),
            usage.layers_size,
            usage.layers_size - used,
            true,
        ),
        row(
            "Containers",
            usage.containers.len(),
            usage.containers.iter().filter(is_active).count(),
            containers,
            idle,
            true,
        ),
        row(
            "Local Volumes",
            usage.volumes.len(),
            volumes.clone().filter(|data| data.ref_count > 0).count(),
            volume_bytes(false),
            volume_bytes(true),
            true,
        ),
        row(
            "Build Cache",
            usage.build_cache.len(),
            usage
                .build_cache
                .iter()
                .filter(|record| record.in_use)
                .count(),
            cache(false),
            cache(true),
            false,
        ),
    ]
}

fn row(kind: &str, count: usize, active: usize, size: i64, reclaimable: i64, percent: bool) -> Row {
    let mut text = units::sum(reclaimable);
    if percent && size > 0 {
        text.push_str(&format!(" ({}%)", reclaimable.saturating_mul(100) / size));
    }
    Row::new([
        ("Type", kind.to_owned()),
        ("TotalCount", count.to_string()),
        ("Active", active.to_string()),
        ("Size", units::sum(size)),
        ("Reclaimable", text),
    ])
}

/// All objects by one template.
fn by_template(usage: &DiskUsage, format: &str) -> Result<String, Failure> {
    let now = Timestamp::now().as_second();
    let zone = TimeZone::system();
    let images: Vec<Value> = usage
        .images
        .iter()
        .flat_map(|image| {
            let names = images::names(image, images::Digests::None);
            names.into_iter().map(move |name| (image, name))
        })
        .map(|(image, name)| images::row(image, &name, false, now, &zone).into_value())
        .collect();
    let containers: Vec<Value> = usage
        .containers
        .iter()
        .map(|container| ps::row(container, false, now, &zone).into_value())
        .collect();
    let volumes: Vec<Value> = usage
        .volumes
        .iter()
        .map(|volume| {
            let data = volume.usage_data.as_ref();
            json!({
                "Name": volume.name,
                "Links": data.map_or("N/A".to_owned(), |data| data.ref_count.to_string()),
                "Size": data.map_or("N/A".to_owned(), |data| units::size(data.size)),
            })
        })
        .collect();
    let data = json!({
        "Images": images,
        "Containers": containers,
        "Volumes": volumes,
        "BuildCache": [],
    });
    let (text, end) = match format {
        "json" | "{{json .}}" => ("{{json .}}", "\n"),
        text => (text, ""),
    };
    let strict = Options {
        missing_key: MissingKey::Error,
        ..Options::default()
    };
    let shown = Template::parse("", text)
        .map_err(|error| Failure::message(format!("template parsing error: {error}")))?
        .execute(&data, &strict)
        .map_err(|error| Failure::message(error.to_string()))?;
    Ok(shown + end)
}

/// Each object on a line of its own.
fn verbose(usage: &DiskUsage) -> Result<String, ListingError> {
    let now = Timestamp::now().as_second();
    let zone = TimeZone::system();
    let mut text = "Images space usage:\n\n".to_owned();
    let shape = Shape::new(
        &images::KIND,
        None,
        "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}",
    );
    // One line an image here: its first tag stands for it.
    let rows = usage
        .images
        .iter()
        .map(|image| ImageSummary {
            repo_tags: image.repo_tags.iter().take(1).cloned().collect(),
            repo_digests: Vec::new(),
            ..image.clone()
        })
        .flat_map(|image| {
            let names = images::names(&image, images::Digests::None);
            names.into_iter().map(move |name| (image.clone(), name))
        })
        .map(|(image, name)| images::row(&image, &name, true, now, &zone))
        .collect();
    text.push_str(&shape.show(&images::KIND, rows)?);
    text.push_str("\nContainers space usage:\n\n");
    let shape = Shape::new(
        &ps::KIND,
        None,
        "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}",
    );
    let own_sizes = usage.containers.iter().map(|container| ContainerSummary {
        size_root_fs: 0,
        ..container.clone()
    });
    let rows = own_sizes
        .map(|container| ps::row(&container, true, now, &zone))
        .collect();
    text.push_str(&shape.show(&ps::KIND, rows)?);
    text.push_str("\nLocal Volumes space usage:\n\n");
    let mut lines = "VOLUME NAME\tLINKS\tSIZE\n".to_owned();
    for volume in &usage.volumes {
        let data = volume.usage_data.as_ref();
        let links = data.map_or("N/A".to_owned(), |data| data.ref_count.to_string());
        let size = data.map_or("N/A".to_owned(), |data| units::size(data.size));
        lines.push_str(&format!("{}\t{links}\t{size}\n", volume.name));
    }
    text.push_str(&align(&lines)?);
    text.push_str("\nBuild cache usage: 0B\n\n");
    text.push_str(&align(
        "CACHE ID\tCACHE TYPE\tSIZE\tCREATED\tLAST USED\tUSAGE\tSHARED\n",
    )?);
    Ok(text)
}

/// The engine's account of its directory.
fn verified(report: &VerifyReport) -> Result<String, Failure> {
    let mut lines = "OWNER\tBYTES\n".to_owned();
    for (owner, bytes) in &report.accounted {
        lines.push_str(&format!("{owner}\t{bytes}\n"));
    }
    let unaccounted: u64 = report.unaccounted.iter().map(|entry| entry.size).sum();
    lines.push_str(&format!(
        "unaccounted for\t{unaccounted}\ntotal\t{}\n",
        report.total
    ));
    let mut text = format!("Data root {}:\n\n{}", report.data_root, align(&lines)?);
    for entry in &report.unaccounted {
        text.push_str(&format!("\nunknown: {} ({} bytes)", entry.path, entry.size));
    }
    for problem in &report.problems {
        text.push_str(&format!("\nproblem: {problem}"));
    }
    if !report.unaccounted.is_empty() || !report.problems.is_empty() {
        text.push('\n');
    }
    Ok(text)
}
