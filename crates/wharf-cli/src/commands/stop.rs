//! `stop`: ask containers to end, then end them.

use wharf_wire::StopQuery;
use wharf_wire::query::encode;

use super::each::print_names;
use super::{Command, Context};
use crate::failure::Failure;
use crate::grammar::{Arity, Flag, Grammar};
use crate::options::number;

/// How containers are stopped; `restart` has the same flags.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    query: StopQuery,
}

type F = Flag<Arguments>;

pub(super) static FLAGS: &[F] = &[
    F::value(
        "signal",
        "string",
        "Signal to send to the container",
        |a, v| {
            v.clone_into(&mut a.query.signal);
            Ok(())
        },
    )
    .short('s'),
    F::value(
        "timeout",
        "int",
        "Seconds to wait before killing the container",
        |a, v| {
            a.query.timeout = Some(number::parse(v)?);
            Ok(())
        },
    )
    .short('t'),
    F::value(
        "time",
        "int",
        "Seconds to wait before killing the container",
        |a, v| {
            a.query.timeout = Some(number::parse(v)?);
            Ok(())
        },
    )
    .hidden(),
];

pub(super) static COMMAND: Command<Arguments> = Command {
    names: &["container stop", "stop"],
    about: "Stop one or more running containers",
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    grammar: Grammar {
        flags: &[FLAGS],
        interspersed: true,
        arity: Arity::AtLeast(1),
    },
    run: |context, arguments, names| act(context, "stop", &arguments, &names),
};

/// Stops or restarts.
pub(super) fn act(
    context: &Context,
    action: &str,
    arguments: &Arguments,
    names: &[String],
) -> Result<u8, Failure> {
    let query = arguments.query.write();
    print_names(context, names, async |client, name| {
        let path = format!("/containers/{}/{action}{query}", encode(name));
        let reply = client.post(&path).await?;
        let warning = reply.header("Warning");
        reply.bytes().await?;
        if let Some(text) = warning.as_deref().and_then(warning_text) {
            context.printer.note(&format!("WARNING: {name}: {text}"));
        }
        Ok(())
    })
}

/// The text of a warning header, `299 wharf "text"`.
fn warning_text(header: &str) -> Option<&str> {
    header.strip_prefix("299 wharf \"")?.strip_suffix('"')
}
