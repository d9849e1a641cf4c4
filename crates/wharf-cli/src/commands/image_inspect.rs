//! `image inspect`: everything about images.

use super::Command;
use super::inspect::{Arguments, FORMAT, Kind, inspect};
use crate::grammar::{Arity, Flag, Grammar};

pub(super) static COMMAND: Command<Arguments> = Command {
    names: &["image inspect"],
    about: "Display detailed information on one or more images",
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    grammar: Grammar {
        flags: &[FORMAT, &[Flag::<Arguments>::refused("platform")]],
        interspersed: true,
        arity: Arity::AtLeast(1),
    },
    run: |context, arguments, names| inspect(context, &arguments, &[Kind::Image], &names),
};
