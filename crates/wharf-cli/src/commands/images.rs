//! `images`: local images as a table.

mod tree;

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use wharf_wire::{Filters, ImageListQuery, ImageSummary};

use super::{Command, Context};
use crate::failure::Failure;
use crate::format::listing::{Kind, Row, Shape};
use crate::format::{ago, text, units};
use crate::grammar::{Arity, Flag, Grammar};
use crate::options::{filter, flags};
use crate::terminal;

#[derive(Debug, Default)]
pub(super) struct Arguments {
    all: bool,
    digests: bool,
    filters: Filters,
    format: Option<String>,
    no_trunc: bool,
    quiet: bool,
    tree: bool,
}

type F = Flag<Arguments>;

pub(super) static COMMAND: Command<Arguments> = Command {
    names: &["image ls", "image list", "images"],
    about: "List images",
    usage: "[OPTIONS] [REPOSITORY[:TAG]]",
    grammar: Grammar {
        flags: &[&[
            F::switch(
                "all",
                "Show all images (default hides intermediate images)",
                |a, on| a.all = on,
            )
            .short('a'),
            F::switch("digests", "Show digests", |a, on| a.digests = on),
            flags::filter(|a, v| filter::add(&mut a.filters, v)),
            flags::format(|a, v| {
                a.format = Some(v.to_owned());
                Ok(())
            }),
            flags::no_trunc(|a, on| a.no_trunc = on),
            F::switch("quiet", "Only show image IDs", |a, on| a.quiet = on).short('q'),
            F::switch(
                "tree",
                "List multi-platform images as a tree (EXPERIMENTAL)",
                |a, on| a.tree = on,
            )
            .since(47),
        ]],
        interspersed: true,
        arity: Arity::AtMost(1),
    },
    run,
};

pub(super) static KIND: Kind = Kind {
    fields: &[
        ("Containers", "CONTAINERS"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedSince", "CREATED"),
        ("Digest", "DIGEST"),
        ("ID", "IMAGE ID"),
        ("Repository", "REPOSITORY"),
        ("SharedSize", "SHARED SIZE"),
        ("Size", "SIZE"),
        ("Tag", "TAG"),
        ("UniqueSize", "UNIQUE SIZE"),
        ("VirtualSize", "SIZE"),
    ],
    go_type: "*formatter.imageContext",
    complaint: "template parsing error",
    raw: Some(
        "repository: {{.Repository}}\ntag: {{.Tag}}\nimage_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n",
    ),
};

const NONE: &str = "<none>";

fn run(context: &Context, mut arguments: Arguments, words: Vec<String>) -> Result<u8, Failure> {
    if let Some(reference) = words.first() {
        arguments.filters.add("reference", reference);
    }
    if arguments.tree {
        return show_tree(context, &arguments);
    }
    let table = if arguments.digests {
        "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
    } else {
        "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
    };
    let format = match &arguments.format {
        None if arguments.quiet => Some("{{.ID}}"),
        None if !context.config().images_format.is_empty() => {
            Some(context.config().images_format.as_str())
        }
        format => format.as_deref(),
    };
    let shape = Shape::new(&KIND, format, table);
    let query = ImageListQuery {
        all: arguments.all,
        filters: arguments.filters.clone(),
        ..ImageListQuery::default()
    };
    let client = context.client()?;
    let images: Vec<ImageSummary> = context.block_on(async {
        Ok(client
            .get(&format!("/images/json{}", query.write()))
            .await?)
    })?;
    let now = Timestamp::now().as_second();
    let zone = TimeZone::system();
    let digests = arguments.digests || shape.shows(".Digest");
    let rows = images
        .iter()
        .flat_map(|image| {
            names(image, digests)
                .into_iter()
                .map(move |name| (image, name))
        })
        .map(|(image, name)| row(image, &name, !arguments.no_trunc, now, &zone))
        .collect();
    context.printer.data(
        shape
            .show(&KIND, rows)
            .map_err(|error| Failure::of(&error))?
            .as_bytes(),
    )?;
    if let Some(word) = words.first().filter(|_| images.is_empty()) {
        hint(context, word);
    }
    Ok(0)
}

/// A word that finds no image may have been meant for a command.
fn hint(context: &Context, word: &str) {
    const COMMANDS: [&str; 13] = [
        "build", "history", "import", "inspect", "list", "load", "ls", "prune", "pull", "push",
        "rm", "save", "tag",
    ];
    if context.command.ends_with(" images") && COMMANDS.contains(&word) {
        context.printer.note(&format!(
            "\nNo images found matching {word:?}: did you mean \"{} image {word}\"?",
            context.program.name()
        ));
    }
}

fn show_tree(context: &Context, arguments: &Arguments) -> Result<u8, Failure> {
    // Docker's words, of which one is no flag.
    for (flag, typed) in [
        ("--quiet", arguments.quiet),
        ("--no-trunc", arguments.no_trunc),
        ("--show-digest", arguments.digests),
        ("--format", arguments.format.is_some()),
    ] {
        if typed {
            return Err(Failure::message(format!(
                "{flag} is not yet supported with --tree"
            )));
        }
    }
    let query = ImageListQuery {
        all: arguments.all,
        filters: arguments.filters.clone(),
        manifests: true,
        ..ImageListQuery::default()
    };
    let client = context.client()?;
    let images: Vec<serde_json::Value> = context.block_on(async {
        Ok(client
            .get(&format!("/images/json{}", query.write()))
            .await?)
    })?;
    let paper = tree::Paper {
        columns: terminal::size().map_or(0, |(_, columns)| columns.into()),
        terminal: terminal::output_is_terminal(),
    };
    let text = tree::tree(images, arguments.all, paper);
    context.printer.data(text.as_bytes())?;
    Ok(0)
}

/// One of an image's names, in its parts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Name {
    repository: String,
    tag: String,
    digest: String,
}

/// The lines an image has: one for each tag, and where digests are shown one for each pair.
pub(super) fn names(image: &ImageSummary, digests: bool) -> Vec<Name> {
    let mut repositories: BTreeMap<&str, (Vec<&str>, Vec<&str>)> = BTreeMap::new();
    for (repository, tag) in image
        .repo_tags
        .iter()
        .filter_map(|name| name.rsplit_once(':'))
    {
        repositories.entry(repository).or_default().0.push(tag);
    }
    for (repository, digest) in image
        .repo_digests
        .iter()
        .filter_map(|name| name.split_once('@'))
    {
        repositories.entry(repository).or_default().1.push(digest);
    }
    repositories.remove(NONE);
    let name = |repository: &str, tag: &str, digest: &str| Name {
        repository: repository.to_owned(),
        tag: tag.to_owned(),
        digest: digest.to_owned(),
    };
    let mut names = Vec::new();
    for (repository, (mut tags, mut hashes)) in repositories {
        if tags.is_empty() {
            tags.push(NONE);
        }
        if hashes.is_empty() || !digests {
            hashes = vec![NONE];
        }
        for tag in tags {
            names.extend(hashes.iter().map(|digest| name(repository, tag, digest)));
        }
    }
    if names.is_empty() {
        names.push(name(NONE, NONE, NONE));
    }
    names
}

/// An image under one of its names as a row.
pub(super) fn row(
    image: &ImageSummary,
    name: &Name,
    truncate: bool,
    now: i64,
    zone: &TimeZone,
) -> Row {
    let known = |size: i64| {
        if size < 0 {
            "N/A".to_owned()
        } else {
            units::sum(size)
        }
    };
    let id = if truncate {
        text::short_id(&image.id)
    } else {
        &image.id
    };
    let containers = if image.containers < 0 {
        "N/A".to_owned()
    } else {
        image.containers.to_string()
    };
    let unique = if image.shared_size < 0 {
        -1
    } else {
        image.size - image.shared_size
    };
    Row::new([
        ("ID", id.to_owned()),
        ("Repository", name.repository.clone()),
        ("Tag", name.tag.clone()),
        ("Digest", name.digest.clone()),
        (
            "CreatedSince",
            if image.created == 0 {
                "N/A".to_owned()
            } else {
                ago::since(image.created, now)
            },
        ),
        ("CreatedAt", ago::date(image.created, zone)),
        ("Size", units::size(image.size)),
        ("Containers", containers),
        ("VirtualSize", units::sum(image.size)),
        ("SharedSize", known(image.shared_size)),
        ("UniqueSize", known(unique)),
    ])
}
