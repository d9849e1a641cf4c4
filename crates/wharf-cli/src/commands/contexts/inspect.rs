//! `context inspect`: everything about contexts.

use serde_json::{Map, Value, json};

use crate::commands::inspect::{Shown, shown};
use crate::commands::{Command, Context};
use crate::failure::Failure;
use crate::grammar::{Arity, Grammar};
use crate::options::flags;
use crate::settings::contexts::DEFAULT;

#[derive(Debug, Default)]
pub(crate) struct Arguments {
    format: Option<String>,
}

pub(crate) static COMMAND: Command<Arguments> = Command {
    names: &["context inspect"],
    about: "Display detailed information on one or more contexts",
    usage: "[OPTIONS] [CONTEXT] [CONTEXT...]",
    grammar: Grammar {
        flags: &[&[flags::format_of_one::<Arguments>(|a, v| {
            a.format = Some(v.to_owned());
            Ok(())
        })
        .short('f')]],
        interspersed: true,
        arity: Arity::AtLeast(0),
    },
    run,
};

fn run(context: &Context, arguments: Arguments, mut names: Vec<String>) -> Result<u8, Failure> {
    let format = Shown::parse(arguments.format.as_deref())?;
    if names.is_empty() {
        names.push(context.context_name());
    }
    let (mut objects, mut missing) = (Vec::new(), Vec::new());
    for name in &names {
        match describe(context, name) {
            Ok(object) => objects.push(object),
            Err(Failure::Message { text, .. }) => missing.push(text),
            Err(other) => return Err(other),
        }
    }
    shown(context, &format, objects, &missing)
}

fn describe(context: &Context, name: &str) -> Result<Value, Failure> {
    let (meta, certificates) = context.context(name)?;
    let (meta_path, tls_path) = if name == DEFAULT {
        ("<IN MEMORY>".to_owned(), "<IN MEMORY>".to_owned())
    } else {
        let store = context.contexts();
        (
            store.meta_directory(name).display().to_string(),
            store.tls_directory(name).display().to_string(),
        )
    };
    let files: Map<String, Value> = certificates
        .into_iter()
        .map(|(endpoint, files)| (endpoint, files.into_keys().collect()))
        .collect();
    let mut object = serde_json::to_value(meta).map_err(|error| Failure::of(&error))?;
    object["TLSMaterial"] = Value::Object(files);
    object["Storage"] = json!({ "MetadataPath": meta_path, "TLSPath": tls_path });
    Ok(object)
}
