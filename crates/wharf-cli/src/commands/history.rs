//! `history`: the steps an image was made in.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use wharf_wire::ImageHistoryItem;
use wharf_wire::query::{QueryWriter, encode};

use super::{Command, Context};
use crate::failure::Failure;
use crate::format::listing::{Kind, Row, Shape};
use crate::format::{ago, text, units};
use crate::grammar::{Arity, Flag, Grammar};
use crate::options::{flags, platform};

#[derive(Debug, Default)]
pub(super) struct Arguments {
    format: Option<String>,
    /// Inverted, so that the zero value is Docker's default.
    exact: bool,
    no_trunc: bool,
    platform: Option<String>,
    quiet: bool,
}

type F = Flag<Arguments>;

pub(super) static COMMAND: Command<Arguments> = Command {
    names: &["image history", "history"],
    about: "Show the history of an image",
    usage: "[OPTIONS] IMAGE",
    grammar: Grammar {
        flags: &[&[
            flags::format(|a, v| {
                a.format = Some(v.to_owned());
                Ok(())
            }),
            F::switch(
                "human",
                "Print sizes and dates in human readable format",
                |a, on| a.exact = !on,
            )
            .short('H')
            .default("true"),
            flags::no_trunc(|a, on| a.no_trunc = on),
            F::value(
                "platform",
                "string",
                "Show history for the given platform. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")",
                |a, v| {
                    a.platform = Some(v.to_owned());
                    Ok(())
                },
            )
            .since(48),
            F::switch("quiet", "Only show image IDs", |a, on| a.quiet = on).short('q'),
        ]],
        interspersed: true,
        arity: Arity::Exactly(1),
    },
    run,
};

static KIND: Kind = Kind {
    fields: &[
        ("Comment", "COMMENT"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedBy", "CREATED BY"),
        ("CreatedSince", "CREATED"),
        ("ID", "IMAGE"),
        ("Size", "SIZE"),
    ],
    go_type: "*image.historyContext",
    complaint: "template parsing error",
    raw: None,
};

/// The year 2000: images are not older, and those that claim to be have no date.
const EPOCH: i64 = 946_684_800;

fn run(context: &Context, arguments: Arguments, words: Vec<String>) -> Result<u8, Failure> {
    let table = if arguments.exact {
        "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
    } else {
        "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
    };
    let format = match &arguments.format {
        None if arguments.quiet => Some("{{.ID}}"),
        format => format.as_deref(),
    };
    let shape = Shape::new(&KIND, format, table);
    let platforms = platform::documents(arguments.platform.as_slice())
        .map_err(|error| Failure::message(format!("invalid platform: {error}")))?;
    let query = QueryWriter::new().each("platform", &platforms).finish();
    let client = context.client()?;
    let items: Vec<ImageHistoryItem> = context.block_on(async {
        Ok(client
            .get(&format!("/images/{}/history{query}", encode(&words[0])))
            .await?)
    })?;
    let now = Timestamp::now().as_second();
    let zone = TimeZone::system();
    let rows = items
        .iter()
        .map(|item| row(item, &arguments, now, &zone))
        .collect();
    context.printer.data(
        shape
            .show(&KIND, rows)
            .map_err(|error| Failure::of(&error))?
            .as_bytes(),
    )?;
    Ok(0)
}

fn row(item: &ImageHistoryItem, arguments: &Arguments, now: i64, zone: &TimeZone) -> Row {
    let by = item.created_by.replace('\t', " ");
    Row::new([
        (
            "ID",
            if arguments.no_trunc {
                item.id.clone()
            } else {
                text::short_id(&item.id).to_owned()
            },
        ),
        (
            "CreatedSince",
            if item.created < EPOCH {
                "N/A".to_owned()
            } else {
                ago::since(item.created, now)
            },
        ),
        ("CreatedAt", ago::rfc3339(item.created, zone)),
        (
            "CreatedBy",
            if arguments.no_trunc {
                by
            } else {
                text::ellipsis(&by, 45)
            },
        ),
        (
            "Size",
            if arguments.exact {
                item.size.to_string()
            } else {
                units::size(item.size)
            },
        ),
        ("Comment", item.comment.clone()),
    ])
}
