//! `context create`, `update` and `rm`.

use super::{Keys, add_keys, endpoint};
use crate::commands::{Command, Context};
use crate::failure::{Failure, chain};
use crate::grammar::{Arity, Flag, Grammar};
use crate::settings::config;
use crate::settings::contexts::{DEFAULT, DOCKER, Meta, check_name};

#[derive(Debug, Default)]
pub(crate) struct Arguments {
    description: Option<String>,
    docker: Keys,
    /// Whether `--docker` was typed at all.
    endpoint: bool,
    from: String,
}

type F = Flag<Arguments>;

static DESCRIBING: &[F] = &[
    F::value(
        "description",
        "string",
        "Description of the context",
        |a, v| {
            a.description = Some(v.to_owned());
            Ok(())
        },
    ),
    F::value(
        "docker",
        "stringToString",
        "set the docker endpoint",
        |a, v| {
            a.endpoint = true;
            add_keys(&mut a.docker, v)
        },
    )
    .default("[]"),
];

pub(crate) static CREATE: Command<Arguments> = Command {
    names: &["context create"],
    about: "Create a context",
    usage: "[OPTIONS] CONTEXT",
    grammar: Grammar {
        flags: &[
            DESCRIBING,
            &[F::value(
                "from",
                "string",
                "create context from a named context",
                |a, v| {
                    v.clone_into(&mut a.from);
                    Ok(())
                },
            )],
        ],
        interspersed: true,
        arity: Arity::Exactly(1),
    },
    run: create,
};

pub(crate) static UPDATE: Command<Arguments> = Command {
    names: &["context update"],
    about: "Update a context",
    usage: "[OPTIONS] CONTEXT",
    grammar: Grammar {
        flags: &[DESCRIBING],
        interspersed: true,
        arity: Arity::Exactly(1),
    },
    run: update,
};

fn create(context: &Context, arguments: Arguments, words: Vec<String>) -> Result<u8, Failure> {
    let name = &words[0];
    check_name(name).map_err(|error| Failure::of(&error))?;
    let store = context.contexts();
    if store.meta_directory(name).join("meta.json").exists() {
        return Err(Failure::message(format!("context {name:?} already exists")));
    }
    let (mut meta, certificates) = if arguments.from.is_empty() && arguments.endpoint {
        let (endpoint, certificates) = endpoint(context, &arguments.docker)?;
        let meta = Meta {
            endpoints: [(DOCKER.to_owned(), endpoint)].into(),
            ..Meta::default()
        };
        (meta, certificates)
    } else {
        let from = if arguments.from.is_empty() {
            context.context_name()
        } else {
            arguments.from.clone()
        };
        let (mut meta, certificates) = context.context(&from)?;
        if from == DEFAULT {
            meta.metadata.description = super::DEFAULT_ABOUT.to_owned();
        }
        if arguments.endpoint {
            return Err(Failure::message(
                "cannot use --docker flag when --from is set",
            ));
        }
        (meta, certificates)
    };
    meta.name.clone_from(name);
    if let Some(description) = arguments.description {
        meta.metadata.description = description;
    }
    store
        .put(&meta, &certificates)
        .map_err(|error| Failure::of(&error))?;
    context.printer.line(name)?;
    context
        .printer
        .note(&format!("Successfully created context {name:?}"));
    Ok(0)
}

fn update(context: &Context, arguments: Arguments, words: Vec<String>) -> Result<u8, Failure> {
    let name = &words[0];
    check_name(name).map_err(|error| Failure::of(&error))?;
    let (mut meta, mut certificates) = context.context(name)?;
    if let Some(description) = arguments.description.filter(|text| !text.is_empty()) {
        meta.metadata.description = description;
    }
    if arguments.endpoint {
        let (endpoint, files) = endpoint(context, &arguments.docker)?;
        meta.endpoints.insert(DOCKER.to_owned(), endpoint);
        certificates.remove(DOCKER);
        certificates.extend(files);
    }
    context
        .contexts()
        .put(&meta, &certificates)
        .map_err(|error| Failure::of(&error))?;
    context.printer.line(name)?;
    context
        .printer
        .note(&format!("Successfully updated context {name:?}"));
    Ok(0)
}

#[derive(Debug, Default)]
pub(crate) struct RemoveArguments {
    force: bool,
}

pub(crate) static REMOVE: Command<RemoveArguments> = Command {
    names: &["context rm", "context remove"],
    about: "Remove one or more contexts",
    usage: "CONTEXT [CONTEXT...]",
    grammar: Grammar {
        flags: &[&[Flag::<RemoveArguments>::switch(
            "force",
            "Force the removal of a context in use",
            |a, on| {
                a.force = on;
            },
        )
        .short('f')]],
        interspersed: true,
        arity: Arity::AtLeast(1),
    },
    run: remove,
};

fn remove(
    context: &Context,
    arguments: RemoveArguments,
    names: Vec<String>,
) -> Result<u8, Failure> {
    let store = context.contexts();
    let current = context.context_name();
    let mut failures = Vec::new();
    for name in &names {
        if name == DEFAULT {
            failures.push(format!("context {DEFAULT:?} cannot be removed"));
            continue;
        }
        if *name == current {
            if !arguments.force {
                failures.push(format!(
                    "context {name:?} is in use, set -f flag to force remove"
                ));
                continue;
            }
            config::set_current_context(&context.directory(), "")
                .map_err(|error| Failure::of(&error))?;
        }
        match store.remove(name) {
            Ok(true) => context.printer.line(name)?,
            Ok(false) if arguments.force => {}
            Ok(false) => failures.push(format!("context {name:?} does not exist")),
            Err(error) => failures.push(chain(&error)),
        }
    }
    if failures.is_empty() {
        Ok(0)
    } else {
        Err(Failure::message(failures.join("\n")))
    }
}
