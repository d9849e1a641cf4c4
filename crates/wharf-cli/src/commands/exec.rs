//! `exec`: another process in a running container.

use wharf_wire::query::encode;
use wharf_wire::{ExecCreateBody, ExecCreated, ExecInspect, ExecStartBody, Words};

use super::attended::{Attention, Target, attend, escape};
use super::run::exit_code;
use super::{Command, Context};
use crate::client::{Client, ClientError};
use crate::failure::{Failure, chain};
use crate::grammar::{Arity, Flag, Grammar};
use crate::options::{environment, flags};
use crate::streams::session::{End, Session};

#[derive(Debug, Default)]
pub(super) struct Arguments {
    detach: bool,
    detach_keys: Option<String>,
    environment: Vec<String>,
    environment_files: Vec<String>,
    interactive: bool,
    privileged: bool,
    tty: bool,
    user: String,
    workdir: String,
}

type F = Flag<Arguments>;

pub(super) static COMMAND: Command<Arguments> = Command {
    names: &["container exec", "exec"],
    about: "Execute a command in a running container",
    usage: "[OPTIONS] CONTAINER COMMAND [ARG...]",
    grammar: Grammar {
        flags: &[&[
            F::switch(
                "detach",
                "Detached mode: run command in the background",
                |a, on| a.detach = on,
            )
            .short('d'),
            flags::detach_keys(|a, v| {
                a.detach_keys = Some(v.to_owned());
                Ok(())
            }),
            F::value("env", "list", "Set environment variables", |a, v| {
                a.environment.push(environment::variable(v)?);
                Ok(())
            })
            .short('e')
            .since(25),
            F::value(
                "env-file",
                "list",
                "Read in a file of environment variables",
                |a, v| {
                    a.environment_files.push(v.to_owned());
                    Ok(())
                },
            )
            .since(25),
            F::switch(
                "interactive",
                "Keep STDIN open even if not attached",
                |a, on| a.interactive = on,
            )
            .short('i'),
            F::switch(
                "privileged",
                "Give extended privileges to the command",
                |a, on| a.privileged = on,
            ),
            F::switch("tty", "Allocate a pseudo-TTY", |a, on| a.tty = on).short('t'),
            F::value(
                "user",
                "string",
                "Username or UID (format: \"<name|uid>[:<group|gid>]\")",
                |a, v| {
                    v.clone_into(&mut a.user);
                    Ok(())
                },
            )
            .short('u'),
            F::value(
                "workdir",
                "string",
                "Working directory inside the container",
                |a, v| {
                    v.clone_into(&mut a.workdir);
                    Ok(())
                },
            )
            .short('w')
            .since(35),
        ]],
        interspersed: false,
        arity: Arity::AtLeast(2),
    },
    run,
};

fn run(context: &Context, arguments: Arguments, mut words: Vec<String>) -> Result<u8, Failure> {
    let container = words.remove(0);
    if arguments.interactive
        && arguments.tty
        && !arguments.detach
        && !crate::terminal::input_is_terminal()
    {
        return Err(Failure::message("the input device is not a TTY"));
    }
    let mut variables = Vec::new();
    for file in &arguments.environment_files {
        variables.extend(
            environment::variables_file(file)
                .map_err(|error| Failure::message(error.to_string()))?,
        );
    }
    variables.extend(arguments.environment.iter().cloned());
    let console_size = crate::terminal::size()
        .filter(|_| arguments.tty)
        .map(|(height, width)| [height.into(), width.into()]);
    let body = ExecCreateBody {
        user: arguments.user.clone(),
        privileged: arguments.privileged,
        tty: arguments.tty,
        console_size,
        attach_stdin: arguments.interactive && !arguments.detach,
        attach_stdout: !arguments.detach,
        attach_stderr: !arguments.detach,
        detach: arguments.detach,
        env: (!variables.is_empty()).then_some(variables),
        working_dir: arguments.workdir.clone(),
        cmd: Some(Words(words)),
        ..ExecCreateBody::default()
    };
    let client = context.client()?;
    context.block_on(execute(context, &client, &container, &arguments, &body))
}

async fn execute(
    context: &Context,
    client: &Client,
    container: &str,
    arguments: &Arguments,
    body: &ExecCreateBody,
) -> Result<u8, Failure> {
    let escape = escape(context.detach_keys(arguments.detach_keys.as_deref()))?;
    let path = format!("/containers/{}/exec", encode(container));
    let created: ExecCreated = client.post_json(&path, body).await?.json().await?;
    let path = format!("/exec/{}/start", encode(&created.id));
    let start = ExecStartBody {
        detach: arguments.detach,
        tty: arguments.tty,
        console_size: body.console_size,
    };
    if arguments.detach {
        client.post_json(&path, &start).await?.bytes().await?;
        return Ok(0);
    }
    // Docker's client too ends of a signal here: an exec has no signals in the API.
    let mut attention = Attention::new(false)?;
    let connection = client
        .upgrade(&path, Some(&start))
        .await
        .map_err(not_started)?;
    let session = Session {
        terminal: arguments.tty,
        input: arguments.interactive,
        escape: Some(escape),
    };
    if attend(
        client,
        Target::Exec(&created.id),
        session,
        connection,
        &mut attention,
    )
    .await?
        == End::Detached
    {
        return Ok(0);
    }
    let ended: ExecInspect = client
        .get(&format!("/exec/{}/json", encode(&created.id)))
        .await?;
    Ok(exit_code(ended.exit_code.unwrap_or(0).into()))
}

/// A process that cannot be started is told by the same codes as a container's.
fn not_started(error: ClientError) -> Failure {
    let code = error
        .engine_message()
        .map_or(1, |message| match super::run::start_code(message) {
            125 => 1,
            code => code,
        });
    Failure::with_code(chain(&error), code)
}
