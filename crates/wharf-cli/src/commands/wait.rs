//! `wait`: exit codes of containers.

use wharf_wire::query::encode;
use wharf_wire::{WaitCondition, WaitResult};

use super::each::print_lines;
use super::{Command, Context};
use crate::failure::Failure;
use crate::grammar::{Arity, Grammar};

pub(super) static COMMAND: Command<()> = Command {
    names: &["container wait", "wait"],
    about: "Block until one or more containers stop, then print their exit codes",
    usage: "CONTAINER [CONTAINER...]",
    grammar: Grammar {
        flags: &[],
        interspersed: true,
        arity: Arity::AtLeast(1),
    },
    run,
};

fn run(context: &Context, (): (), names: Vec<String>) -> Result<u8, Failure> {
    let query = WaitCondition::NotRunning.write();
    print_lines(context, &names, async |client, name| {
        let path = format!("/containers/{}/wait{query}", encode(name));
        let result: WaitResult = client.post(&path).await?.json().await?;
        Ok(Some(result.status_code.to_string()))
    })
}
