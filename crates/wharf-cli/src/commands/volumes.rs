//! `volume`: volumes made, listed, shown and removed.

pub(super) mod create;
pub(super) mod ls;
pub(super) mod prune;
pub(super) mod rm;

use super::Command;
use super::inspect::{Arguments, FORMAT, Kind, inspect};
use crate::grammar::{Arity, Grammar};

pub(super) static INSPECT: Command<Arguments> = Command {
    names: &["volume inspect"],
    about: "Display detailed information on one or more volumes",
    usage: "[OPTIONS] VOLUME [VOLUME...]",
    grammar: Grammar {
        flags: &[FORMAT],
        interspersed: true,
        arity: Arity::AtLeast(1),
    },
    run: |context, arguments, names| inspect(context, &arguments, &[Kind::Volume], &names),
};
