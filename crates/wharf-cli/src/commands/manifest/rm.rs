//! `manifest rm`: lists that are not made any further.

use super::{reference, store};
use crate::commands::{Command, Context};
use crate::failure::{Failure, chain};
use crate::grammar::{Arity, Grammar};

pub(crate) static COMMAND: Command<()> = Command {
    names: &["manifest rm"],
    about: "Delete one or more manifest lists from local storage",
    usage: "MANIFEST_LIST [MANIFEST_LIST...]",
    grammar: Grammar {
        flags: &[],
        interspersed: true,
        arity: Arity::AtLeast(1),
    },
    run,
};

fn run(context: &Context, (): (), words: Vec<String>) -> Result<u8, Failure> {
    let store = store(context);
    let mut failures = Vec::new();
    for word in &words {
        match reference(word) {
            Err(error) => failures.push(error.to_string()),
            Ok(list) => {
                // One that is not there is an error; what is in it does not matter.
                let removed = store.list(&list).and_then(|_| store.remove(&list));
                failures.extend(removed.err().map(|error| chain(&error)));
            }
        }
    }
    if failures.is_empty() {
        Ok(0)
    } else {
        Err(Failure::message(failures.join("\n")))
    }
}
