//! `search`: repositories of a registry that has a search.

use hyper::Method;
use wharf_wire::{Filters, ImageSearchQuery, SearchResult};

use super::account::authorized;
use super::{Command, Context};
use crate::failure::Failure;
use crate::format::listing::{Kind, Row, Shape};
use crate::format::text;
use crate::grammar::{Arity, Flag, Grammar, parse_int};
use crate::options::{filter, flags};

#[derive(Debug, Default)]
pub(super) struct Arguments {
    filters: Filters,
    format: Option<String>,
    limit: i64,
    no_trunc: bool,
}

type F = Flag<Arguments>;

pub(super) static COMMAND: Command<Arguments> = Command {
    names: &["search"],
    about: "Search Docker Hub for images",
    usage: "[OPTIONS] TERM",
    grammar: Grammar {
        flags: &[FLAGS],
        interspersed: true,
        arity: Arity::Exactly(1),
    },
    run,
};

const FLAGS: &[F] = &[
    flags::filter(|a, v| filter::add(&mut a.filters, v)),
    F::value(
        "format",
        "string",
        "Pretty-print search using a Go template",
        |a, v| {
            a.format = Some(v.to_owned());
            Ok(())
        },
    ),
    F::value("limit", "int", "Max number of search results", |a, v| {
        a.limit = parse_int(v)?;
        Ok(())
    }),
    flags::no_trunc(|a, on| a.no_trunc = on),
];

static KIND: Kind = Kind {
    fields: &[
        ("Description", "DESCRIPTION"),
        ("IsOfficial", "OFFICIAL"),
        ("Name", "NAME"),
        ("StarCount", "STARS"),
    ],
    go_type: "*registry.searchContext",
    complaint: "template parsing error",
    raw: None,
};

const TABLE: &str = "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}";

/// Columns a description is cut to.
const DESCRIPTION: usize = 45;

fn run(context: &Context, arguments: Arguments, words: Vec<String>) -> Result<u8, Failure> {
    if arguments.filters.contains("is-automated") {
        context.printer.note("WARNING: the \"is-automated\" filter is deprecated, and searching for \"is-automated=true\" will not yield any results in future.");
    }
    let query = ImageSearchQuery {
        term: words[0].clone(),
        limit: Some(arguments.limit).filter(|&limit| limit > 0),
        filters: arguments.filters,
    };
    let path = format!("/images/search{}", query.write());
    let client = context.client()?;
    let found: Vec<SearchResult> = context.block_on(async {
        let request = async |auth: String| client.call_as(Method::GET, &path, &auth).await;
        let reply = authorized(context, registry(&query.term), "search", request).await?;
        Ok(reply.json().await?)
    })?;
    let shape = Shape::new(&KIND, arguments.format.as_deref(), TABLE);
    let format = arguments.format.as_deref();
    let as_json = format.is_some_and(|text| text == "json" || text.contains("{{json .}}"));
    let rows = found
        .iter()
        .map(|result| row(result, !arguments.no_trunc, as_json))
        .collect();
    context.printer.data(
        shape
            .show(&KIND, rows)
            .map_err(|error| Failure::of(&error))?
            .as_bytes(),
    )?;
    Ok(0)
}

/// The registry a term is meant for: what is before the first slash, if it looks like a host.
fn registry(term: &str) -> &str {
    match term.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => "docker.io",
    }
}

fn row(result: &SearchResult, truncate: bool, as_json: bool) -> Row {
    let mut description = result.description.replace(['\n', '\r'], " ");
    if truncate {
        description = text::ellipsis(&description, DESCRIPTION);
    }
    let official = match (result.is_official, as_json) {
        (true, true) => "true",
        (true, false) => "[OK]",
        (false, true) => "false",
        (false, false) => "",
    };
    Row::new([
        ("Name", result.name.clone()),
        ("Description", description),
        ("StarCount", result.star_count.to_string()),
        ("IsOfficial", official.to_owned()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> Vec<SearchResult> {
        let result = |name: &str, description: &str, stars, official| SearchResult {
            name: name.to_owned(),
            description: description.to_owned(),
            star_count: stars,
            is_official: official,
            ..SearchResult::default()
        };
        vec![
            result(
                "debian",
                "Debian is a Linux distribution that's composed entirely",
                5000,
                true,
            ),
            result("me/box", "two\nlines", 0, false),
        ]
    }

    fn shown(format: Option<&str>, truncate: bool) -> String {
        let as_json = format == Some("json");
        let rows = found()
            .iter()
            .map(|result| row(result, truncate, as_json))
            .collect();
        Shape::new(&KIND, format, TABLE)
            .show(&KIND, rows)
            .expect("a good template")
    }

    #[test]
    fn the_table_is_dockers() {
        assert_eq!(
            shown(None, true),
            "NAME      DESCRIPTION                                     STARS     OFFICIAL\n\
             debian    Debian is a Linux distribution that's compos…   5000      [OK]\n\
             me/box    two lines                                       0         \n"
        );
        assert_eq!(
            shown(Some("{{.Name}}:{{.IsOfficial}}"), false),
            "debian:[OK]\nme/box:\n"
        );
        assert_eq!(
            shown(Some("json"), false).lines().next_back(),
            Some(
                r#"{"Description":"two lines","IsOfficial":"false","Name":"me/box","StarCount":"0"}"#
            )
        );
    }

    #[test]
    fn a_term_may_begin_with_a_registry() {
        assert_eq!(registry("box"), "docker.io");
        assert_eq!(registry("me/box"), "docker.io");
        assert_eq!(registry("localhost/box"), "localhost");
        assert_eq!(registry("r:5000/me/box"), "r:5000");
    }
}
