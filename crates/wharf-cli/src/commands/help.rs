//! The texts of `--help`.

use super::table::{COMMANDS, COMMON, GROUPS, is_hidden};
use super::{Command, GLOBALS};
use crate::grammar::flag_usages;
use crate::program::Program;

/// Columns of the lists of options when there is no terminal, and at most.
const WIDTH: usize = 80;

fn width() -> usize {
    crate::terminal::size()
        .map_or(WIDTH, |(_, columns)| usize::from(columns))
        .saturating_sub(1)
}

/// A command's help.
pub(super) fn command<A: Default>(program: Program, command: &Command<A>, name: &str) -> String {
    let program = program.name();
    let usage = format!("{program} {name} {}", command.usage);
    let mut text = format!("Usage:  {}\n\n{}\n", usage.trim_end(), command.about);
    if command.names.len() > 1 {
        let names: Vec<_> = command
            .names
            .iter()
            .map(|name| format!("{program} {name}"))
            .collect();
        text.push_str(&format!("\nAliases:\n  {}\n", names.join(", ")));
    }
    let entries = command.grammar.help_entries();
    if !entries.is_empty() {
        text.push_str(&format!("\nOptions:\n{}", flag_usages(&entries, width())));
    }
    text
}

/// A group's help.
pub(super) fn group(program: Program, group: &str) -> String {
    let program = program.name();
    let about = GROUPS
        .iter()
        .find(|known| known.name == group)
        .map_or("", |group| group.about);
    let prefix = format!("{group} ");
    let mut lines: Vec<(&str, &str)> = COMMANDS
        .iter()
        .filter(|command| !is_hidden(command.names()))
        .filter_map(|command| {
            Some((
                command.names().first()?.strip_prefix(&prefix)?,
                command.about(),
            ))
        })
        .collect();
    lines.sort_unstable();
    format!(
        "Usage:  {program} {group} COMMAND\n\n{about}\n\nCommands:\n{}\nRun '{program} {group} COMMAND --help' for more information on a command.\n",
        list(&lines)
    )
}

/// The program's help.
pub(super) fn root(program: Program) -> String {
    let name = program.name();
    let plain = |wanted: &dyn Fn(&str) -> bool| -> Vec<(&str, &str)> {
        let mut lines: Vec<_> = COMMANDS
            .iter()
            .flat_map(|command| command.names().iter().map(|name| (*name, command.about())))
            .filter(|(name, _)| !name.contains(' ') && wanted(name))
            .collect();
        lines.sort_unstable();
        lines
    };
    let mut common = plain(&|name| COMMON.contains(&name));
    common.sort_by_key(|(name, _)| COMMON.iter().position(|known| known == name));
    let groups: Vec<_> = GROUPS
        .iter()
        .map(|group| (group.name, group.about))
        .collect();
    let programs = [
        ("daemon", "Run the engine"),
        (
            "runtime",
            "Run containers by the OCI runtime's command line, without the engine",
        ),
    ];
    format!(
        "Usage:  {name} [OPTIONS] COMMAND\n\nRun containers, from one program\n\nCommon Commands:\n{}\nManagement Commands:\n{}\nPrograms:\n{}\nCommands:\n{}\nGlobal Options:\n{}\nRun '{name} COMMAND --help' for more information on a command.\n",
        list(&common),
        list(&groups),
        list(&programs),
        list(&plain(&|name| !COMMON.contains(&name))),
        flag_usages(&GLOBALS.help_entries(), width()),
    )
}

fn list(lines: &[(&str, &str)]) -> String {
    lines
        .iter()
        .map(|(name, about)| format!("  {name:<11} {about}\n"))
        .collect()
}
