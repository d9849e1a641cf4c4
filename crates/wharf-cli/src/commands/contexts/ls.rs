//! `context ls`: contexts as a table.

use crate::commands::{Command, Context};
use crate::environment;
use crate::failure::Failure;
use crate::format::listing::{Kind, Row, Shape};
use crate::format::text;
use crate::grammar::{Arity, Flag, Grammar};
use crate::options::flags;
use crate::settings::contexts::{DEFAULT, DOCKER, Meta};

#[derive(Debug, Default)]
pub(crate) struct Arguments {
    format: Option<String>,
    quiet: bool,
}

type F = Flag<Arguments>;

pub(crate) static COMMAND: Command<Arguments> = Command {
    names: &["context ls", "context list"],
    about: "List contexts",
    usage: "[OPTIONS]",
    grammar: Grammar {
        flags: &[&[
            flags::format(|a, v| {
                a.format = Some(v.to_owned());
                Ok(())
            }),
            F::switch("quiet", "Only show context names", |a, on| a.quiet = on).short('q'),
        ]],
        interspersed: true,
        arity: Arity::None,
    },
    run,
};

static KIND: Kind = Kind {
    fields: &[
        ("Current", ""),
        ("Description", "DESCRIPTION"),
        ("DockerEndpoint", "DOCKER ENDPOINT"),
        ("Error", "ERROR"),
        ("Name", "NAME"),
    ],
    go_type: "*formatter.clientContextContext",
    complaint: "template parsing error",
    raw: None,
};

const TABLE: &str =
    "{{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}";

fn run(context: &Context, arguments: Arguments, _: Vec<String>) -> Result<u8, Failure> {
    let current = context.context_name();
    let contexts = context
        .contexts()
        .list()
        .map_err(|error| Failure::of(&error))?;
    let mut rows = vec![row(&context.default_context(), &current, "")];
    rows.extend(contexts.iter().map(|meta| row(meta, &current, "")));
    let mut names: Vec<&str> = contexts.iter().map(|meta| meta.name.as_str()).collect();
    names.insert(0, DEFAULT);
    if !names.contains(&current.as_str()) {
        // The context that is meant is gone; what is wrong with it is told in its line.
        let Err(error) = context.contexts().get(&current) else {
            return Err(Failure::message(format!(
                "context {current:?} has another name inside"
            )));
        };
        let meta = Meta {
            name: current.clone(),
            ..Meta::default()
        };
        rows.push(row(
            &meta,
            &current,
            &text::ellipsis(&error.to_string(), 45),
        ));
        names.push(&current);
    }
    let mut paired: Vec<_> = names.into_iter().zip(rows).collect();
    paired.sort_by_key(|(name, _)| *name);
    let format = match &arguments.format {
        None if arguments.quiet => Some("{{.Name}}"),
        format => format.as_deref(),
    };
    let rows = paired.into_iter().map(|(_, row)| row).collect();
    let shown = Shape::new(&KIND, format, TABLE)
        .show(&KIND, rows)
        .map_err(|error| Failure::of(&error))?;
    context.printer.data(shown.as_bytes())?;
    let variable = [environment::WHARF_HOST, environment::DOCKER_HOST]
        .into_iter()
        .find(|name| environment::read(name).is_some());
    if let Some(variable) = variable.filter(|_| context.choice().host.is_none()) {
        context.printer.note(&format!(
            "Warning: {variable} environment variable overrides the active context. To use a context, either set the global --context flag, or unset {variable} environment variable."
        ));
    }
    Ok(0)
}

fn row(meta: &Meta, current: &str, error: &str) -> Row {
    let description = if meta.name == DEFAULT {
        super::DEFAULT_ABOUT
    } else {
        &meta.metadata.description
    };
    let host = meta.endpoints.get(DOCKER);
    Row::new([
        ("Name", meta.name.clone()),
        ("Description", text::ellipsis(description, 45)),
        (
            "DockerEndpoint",
            host.map_or_else(String::new, |endpoint| endpoint.host.clone()),
        ),
        ("Error", error.to_owned()),
    ])
    .with_switch("Current", meta.name == current)
}
