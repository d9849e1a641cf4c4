//! `context show` and `use`.

use crate::commands::{Command, Context};
use crate::environment;
use crate::failure::Failure;
use crate::grammar::{Arity, Grammar};
use crate::settings::config;
use crate::settings::contexts::DEFAULT;

pub(crate) static SHOW: Command<()> = Command {
    names: &["context show"],
    about: "Print the name of the current context",
    usage: "",
    grammar: Grammar {
        flags: &[],
        interspersed: true,
        arity: Arity::None,
    },
    run: |context, (), _| {
        context.printer.line(&context.context_name())?;
        Ok(0)
    },
};

pub(crate) static USE: Command<()> = Command {
    names: &["context use"],
    about: "Set the current docker context",
    usage: "CONTEXT",
    grammar: Grammar {
        flags: &[],
        interspersed: true,
        arity: Arity::Exactly(1),
    },
    run: pick,
};

fn pick(context: &Context, (): (), words: Vec<String>) -> Result<u8, Failure> {
    let name = &words[0];
    let recorded = if name == DEFAULT {
        ""
    } else {
        context
            .contexts()
            .get(name)
            .map_err(|error| Failure::of(&error))?;
        name
    };
    if context.config().current_context != recorded {
        config::set_current_context(&context.directory(), recorded)
            .map_err(|error| Failure::of(&error))?;
    }
    context.printer.line(name)?;
    context
        .printer
        .note(&format!("Current context is now {name:?}"));
    let variable = [environment::WHARF_HOST, environment::DOCKER_HOST]
        .into_iter()
        .find(|name| environment::read(name).is_some());
    if let Some(variable) = variable.filter(|_| name != DEFAULT) {
        context.printer.note(&format!(
            "Warning: {variable} environment variable overrides the active context. To use {name:?}, either set the global --context flag, or unset {variable} environment variable."
        ));
    }
    Ok(0)
}
