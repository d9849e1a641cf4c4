//! `completion`: what a shell needs to complete our lines.
//!
//! The scripts know nothing: they ask the program itself ([`super::complete`]), whose table of commands and flags is
//! the one that lines are parsed by.

use super::{Command, Context};
use crate::failure::Failure;
use crate::grammar::{Arity, Grammar};

pub(super) static COMMAND: Command<()> = Command {
    names: &["completion"],
    about: "Generate the autocompletion script for the specified shell",
    usage: "bash|zsh|fish|powershell",
    grammar: Grammar {
        flags: &[],
        interspersed: true,
        arity: Arity::Exactly(1),
    },
    run,
};

const BASH: &str = include_str!("completion/bash");
const ZSH: &str = include_str!("completion/zsh");
const FISH: &str = include_str!("completion/fish");
const POWERSHELL: &str = include_str!("completion/powershell");

/// The shells there are scripts for.
pub(super) const SHELLS: [(&str, &str); 4] = [
    ("bash", BASH),
    ("zsh", ZSH),
    ("fish", FISH),
    ("powershell", POWERSHELL),
];

fn run(context: &Context, (): (), words: Vec<String>) -> Result<u8, Failure> {
    let Some((_, script)) = SHELLS.iter().find(|(shell, _)| *shell == words[0]) else {
        return Err(Failure::message(format!(
            "there is no completion for {:?}: choose one of bash, zsh, fish and powershell",
            words[0]
        )));
    };
    let script = script.replace("NAME", context.program.name());
    context.printer.data(script.as_bytes())?;
    Ok(0)
}
