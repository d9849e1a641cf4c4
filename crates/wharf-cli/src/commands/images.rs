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
    let format = format(&arguments, &context.config().images_format);
    let shape = Shape::new(&KIND, format.as_deref(), table);
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
    let shown = match &format {
        _ if arguments.digests => Digests::Rows,
        Some(format) if format.contains("{{.Digest}}") => Digests::OfTags,
        _ => Digests::None,
    };
    let rows = images
        .iter()
        .flat_map(|image| {
            names(image, shown)
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

/// What `--format`, or else the configuration, comes to with the other flags.
fn format(arguments: &Arguments, configured: &str) -> Option<String> {
    let given = arguments.format.as_deref().filter(|text| !text.is_empty());
    let given =
        given.or_else(|| Some(configured).filter(|text| !text.is_empty() && !arguments.quiet));
    let format = match given {
        None | Some("table") if arguments.quiet => "{{.ID}}",
        Some("raw") if arguments.quiet => "image_id: {{.ID}}",
        Some("raw") if arguments.digests => {
            "repository: {{.Repository}}\ntag: {{.Tag}}\ndigest: {{.Digest}}\nimage_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n"
        }
        Some(table)
            if arguments.digests
                && table.len() > "table".len()
                && table.starts_with("table")
                && !table.contains("{{.Digest}}") =>
        {
            return Some(format!("{table}\t{{{{.Digest}}}}"));
        }
        other => return other.map(str::to_owned),
    };
    Some(format.to_owned())
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

/// What of an image's digests is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Digests {
    None,
    /// Those of its tags.
    OfTags,
    /// All, also of repositories in which it has no tag.
    Rows,
}

/// The lines an image has: one for each tag, and where digests are shown one for each pair.
pub(super) fn names(image: &ImageSummary, shown: Digests) -> Vec<Name> {
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
        let untagged = tags.is_empty();
        if untagged {
            tags.push(NONE);
        }
        match shown {
            Digests::Rows | Digests::OfTags if hashes.is_empty() => hashes.push(NONE),
            Digests::Rows => {}
            // As Docker has it: such a line has no digest at all.
            _ if untagged => hashes = vec![""],
            Digests::OfTags => {}
            Digests::None => hashes = vec![NONE],
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

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(shown: Digests) -> Vec<String> {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let image = ImageSummary {
            repo_tags: texts(&["r:5000/a:1", "r:5000/a:2", "b:1"]),
            repo_digests: texts(&["r:5000/a@sha256:x", "c@sha256:y", "c@sha256:z"]),
            ..ImageSummary::default()
        };
        names(&image, shown)
            .into_iter()
            .map(|name| format!("{} {} {}", name.repository, name.tag, name.digest))
            .collect()
    }

    #[test]
    fn an_image_has_a_line_for_each_name() {
        assert_eq!(
            lines(Digests::None),
            [
                "b 1 <none>",
                "c <none> ",
                "r:5000/a 1 <none>",
                "r:5000/a 2 <none>"
            ]
        );
        assert_eq!(
            lines(Digests::OfTags),
            [
                "b 1 <none>",
                "c <none> ",
                "r:5000/a 1 sha256:x",
                "r:5000/a 2 sha256:x"
            ]
        );
        assert_eq!(
            lines(Digests::Rows),
            [
                "b 1 <none>",
                "c <none> sha256:y",
                "c <none> sha256:z",
                "r:5000/a 1 sha256:x",
                "r:5000/a 2 sha256:x"
            ]
        );
        let dangling = names(&ImageSummary::default(), Digests::Rows);
        assert_eq!(dangling[0].repository, NONE);
    }

    #[test]
    fn flags_and_configuration_come_to_one_format() {
        let of = |given: &str, quiet: bool, digests: bool, configured: &str| {
            let arguments = Arguments {
                format: Some(given.to_owned()),
                quiet,
                digests,
                ..Arguments::default()
            };
            format(&arguments, configured)
        };
        assert_eq!(of("", false, false, ""), None);
        assert_eq!(of("", false, false, "x").as_deref(), Some("x"));
        assert_eq!(of("", true, false, "x").as_deref(), Some("{{.ID}}"));
        assert_eq!(of("table", true, false, "").as_deref(), Some("{{.ID}}"));
        assert_eq!(of("{{.Tag}}", true, false, "").as_deref(), Some("{{.Tag}}"));
        assert_eq!(
            of("raw", true, true, "").as_deref(),
            Some("image_id: {{.ID}}")
        );
        assert!(of("raw", false, true, "").is_some_and(|text| text.contains("digest: ")));
        assert_eq!(of("table", false, true, "").as_deref(), Some("table"));
        assert_eq!(
            of("table {{.Tag}}", false, true, "").as_deref(),
            Some("table {{.Tag}}\t{{.Digest}}")
        );
        assert_eq!(
            of("table {{.Digest}}", false, true, "").as_deref(),
            Some("table {{.Digest}}")
        );
    }
}
