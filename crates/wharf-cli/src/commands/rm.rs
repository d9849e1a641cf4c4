//! `rm`: containers removed.

use hyper::Method;
use wharf_wire::RemoveQuery;
use wharf_wire::query::encode;

use super::each::print_lines;
use super::{Command, Context};
use crate::failure::Failure;
use crate::grammar::{Arity, Flag, Grammar};

#[derive(Debug, Default)]
pub(super) struct Arguments {
    query: RemoveQuery,
}

type F = Flag<Arguments>;

pub(super) static COMMAND: Command<Arguments> = Command {
    names: &["container rm", "container remove", "rm"],
    about: "Remove one or more containers",
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    grammar: Grammar {
        flags: &[&[
            F::switch(
                "force",
                "Force the removal of a running container (uses SIGKILL)",
                |a, on| a.query.force = on,
            )
            .short('f'),
            F::switch("link", "Remove the specified link", |a, on| {
                a.query.link = on;
            })
            .short('l'),
            F::switch(
                "volumes",
                "Remove anonymous volumes associated with the container",
                |a, on| a.query.volumes = on,
            )
            .short('v'),
        ]],
        interspersed: true,
        arity: Arity::AtLeast(1),
    },
    run,
};

fn run(context: &Context, arguments: Arguments, names: Vec<String>) -> Result<u8, Failure> {
    let query = arguments.query.write();
    print_lines(context, &names, async |client, name| {
        let path = format!(
            "/containers/{}{query}",
            encode(name.trim_start_matches('/'))
        );
        match client.call(Method::DELETE, &path).await {
            // As `rm -f` of a file: what is not there is gone already.
            Err(error)
                if arguments.query.force
                    && error.status().is_some_and(|status| status.as_u16() == 404) =>
            {
                context.printer.note(&crate::failure::chain(&error));
                Ok(None)
            }
            other => other?.bytes().await.map(|_| Some(name.to_owned())),
        }
    })
}
