//! `restart`: stop, then start.

use super::Command;
use super::stop::{Arguments, FLAGS, act};
use crate::grammar::{Arity, Grammar};

pub(super) static COMMAND: Command<Arguments> = Command {
    names: &["container restart", "restart"],
    about: "Restart one or more containers",
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    grammar: Grammar {
        flags: &[FLAGS],
        interspersed: true,
        arity: Arity::AtLeast(1),
    },
    run: |context, arguments, names| act(context, "restart", &arguments, &names),
};
