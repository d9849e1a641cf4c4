//! `diff`: what changed in a container's files.

use wharf_wire::query::encode;
use wharf_wire::{ChangeItem, ChangeKind};

use super::{Command, Context};
use crate::failure::Failure;
use crate::grammar::{Arity, Grammar};

pub(super) static COMMAND: Command<()> = Command {
    names: &["container diff", "diff"],
    about: "Inspect changes to files or directories on a container's filesystem",
    usage: "CONTAINER",
    grammar: Grammar {
        flags: &[],
        interspersed: true,
        arity: Arity::Exactly(1),
    },
    run,
};

fn run(context: &Context, (): (), words: Vec<String>) -> Result<u8, Failure> {
    if words[0].is_empty() {
        return Err(Failure::message("Container name cannot be empty"));
    }
    let client = context.client()?;
    // Docker's engine answers `null` where nothing changed.
    let changes: Option<Vec<ChangeItem>> = context.block_on(async {
        Ok(client
            .get(&format!("/containers/{}/changes", encode(&words[0])))
            .await?)
    })?;
    let mut text = String::new();
    for change in changes.unwrap_or_default() {
        let letter = match change.kind {
            ChangeKind::Modified => 'C',
            ChangeKind::Added => 'A',
            ChangeKind::Deleted => 'D',
        };
        text.push_str(&format!("{letter} {}\n", change.path));
    }
    context.printer.data(text.as_bytes())?;
    Ok(0)
}
