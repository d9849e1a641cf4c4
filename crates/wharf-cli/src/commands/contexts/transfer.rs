//! `context export` and `import`.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;

use crate::commands::{Command, Context};
use crate::failure::{Failure, errno_text};
use crate::grammar::{Arity, Grammar};
use crate::settings::contexts::archive::{self, LIMIT};
use crate::settings::contexts::check_name;

pub(crate) static EXPORT: Command<()> = Command {
    names: &["context export"],
    about: "Export a context to a tar archive FILE or a tar stream on STDOUT.",
    usage: "[OPTIONS] CONTEXT [FILE|-]",
    grammar: Grammar {
        flags: &[],
        interspersed: true,
        arity: Arity::Between(1, 2),
    },
    run: export,
};

pub(crate) static IMPORT: Command<()> = Command {
    names: &["context import"],
    about: "Import a context from a tar or zip file",
    usage: "CONTEXT FILE|-",
    grammar: Grammar {
        flags: &[],
        interspersed: true,
        arity: Arity::Exactly(2),
    },
    run: import,
};

fn export(context: &Context, (): (), words: Vec<String>) -> Result<u8, Failure> {
    let name = &words[0];
    let (meta, certificates) = context.context(name)?;
    let bytes = archive::write(&meta, &certificates).map_err(|error| Failure::of(&error))?;
    let default = format!("{name}.dockercontext");
    let path = words.get(1).map_or(default.as_str(), String::as_str);
    if path == "-" {
        if crate::terminal::output_is_terminal() {
            return Err(Failure::message(
                "cowardly refusing to export to a terminal, please specify a file path",
            ));
        }
        context.printer.data(&bytes)?;
        return Ok(0);
    }
    OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(&bytes))
        .map_err(|error| Failure::message(format!("open {path}: {}", errno_text(&error))))?;
    context.printer.note(&format!("Written file {path:?}"));
    Ok(0)
}

fn import(context: &Context, (): (), words: Vec<String>) -> Result<u8, Failure> {
    let (name, path) = (&words[0], &words[1]);
    check_name(name).map_err(|error| Failure::of(&error))?;
    let store = context.contexts();
    if store.meta_directory(name).join("meta.json").exists() {
        return Err(Failure::message(format!("context {name:?} already exists")));
    }
    let mut bytes = Vec::new();
    let limit = u64::try_from(LIMIT).unwrap_or(u64::MAX);
    let read = if path == "-" {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    read.map_err(|error| Failure::message(format!("open {path}: {}", errno_text(&error))))?;
    let (mut meta, certificates) = archive::read(&bytes).map_err(|error| Failure::of(&error))?;
    meta.name.clone_from(name);
    store
        .put(&meta, &certificates)
        .map_err(|error| Failure::of(&error))?;
    context.printer.line(name)?;
    context
        .printer
        .note(&format!("Successfully imported context {name:?}"));
    Ok(0)
}
