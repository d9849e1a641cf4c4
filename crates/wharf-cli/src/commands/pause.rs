//! `pause` and `unpause`: containers frozen and let go on.

use wharf_wire::query::encode;

use super::each::print_names;
use super::{Command, Context};
use crate::failure::Failure;
use crate::grammar::{Arity, Grammar};

pub(super) static PAUSE: Command<()> = Command {
    names: &["container pause", "pause"],
    about: "Pause all processes within one or more containers",
    usage: "CONTAINER [CONTAINER...]",
    grammar: Grammar {
        flags: &[],
        interspersed: true,
        arity: Arity::AtLeast(1),
    },
    run: |context, (), names| act(context, "pause", &names),
};

pub(super) static UNPAUSE: Command<()> = Command {
    names: &["container unpause", "unpause"],
    about: "Unpause all processes within one or more containers",
    usage: "CONTAINER [CONTAINER...]",
    grammar: Grammar {
        flags: &[],
        interspersed: true,
        arity: Arity::AtLeast(1),
    },
    run: |context, (), names| act(context, "unpause", &names),
};

fn act(context: &Context, action: &str, names: &[String]) -> Result<u8, Failure> {
    print_names(context, names, async |client, name| {
        client
            .post(&format!("/containers/{}/{action}", encode(name)))
            .await?
            .bytes()
            .await?;
        Ok(())
    })
}
