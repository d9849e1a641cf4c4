//! `run`: create, attach, wait, start, in the least number of round trips.
//!
//! Being attached and waiting each hold a connection, and both must stand before the container starts, or its
//! first words and its end could be missed. They are asked for at the same time; the start goes on a third.

use std::pin::pin;
use std::time::Duration;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rustix::process::Signal;
use wharf_wire::query::encode;
use wharf_wire::{AttachQuery, WaitCondition, WaitResult};

use super::attended::{Attention, Target, attend, code, escape, last_word, pass_on};
use super::create::{complete, make};
use super::{Command, Context};
use crate::client::{Client, ClientError, Reply};
use crate::failure::{Failure, chain};
use crate::grammar::{Arity, Grammar};
use crate::options::container::{ContainerArguments, Created, RUN_ONLY, SHARED, Streams, body};
use crate::streams::session::{End, Session};

pub(super) static COMMAND: Command<ContainerArguments> = Command {
    names: &["container run", "run"],
    about: "Create and run a new container from an image",
    usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    grammar: Grammar {
        flags: &[SHARED, RUN_ONLY],
        interspersed: false,
        arity: Arity::AtLeast(1),
    },
    run,
};

/// The code for what fails before the command has run.
const NOT_RUN: u8 = 125;
/// Longest time the removal of a container that did not start is waited for.
const REMOVAL: Duration = Duration::from_secs(10);

fn run(
    context: &Context,
    arguments: ContainerArguments,
    mut words: Vec<String>,
) -> Result<u8, Failure> {
    let image = words.remove(0);
    let mut created = body(&arguments, &image, words)
        .map_err(|error| context.refused(&error.to_string(), NOT_RUN))?;
    if arguments.detach && arguments.attach.any() {
        return Err(Failure::message(
            "conflicting options: cannot specify both --attach and --detach",
        ));
    }
    if created.streams.stdin && arguments.tty && !crate::terminal::input_is_terminal() {
        return Err(Failure::message("the input device is not a TTY"));
    }
    if let Some((height, width)) = crate::terminal::size().filter(|_| arguments.tty) {
        created.body.host_config.console_size = [height.into(), width.into()];
    }
    if arguments.detach {
        created.streams = Streams::default();
        created.body.config.stdin_once = false;
    }
    let client = context.client()?;
    complete(context, &client, &arguments, &mut created)?;
    context.block_on(async {
        if arguments.detach {
            detached(context, &client, &arguments, &created).await
        } else {
            attached(context, &client, &arguments, &created).await
        }
    })
}

/// Starts a container and prints its id.
async fn detached(
    context: &Context,
    client: &Client,
    arguments: &ContainerArguments,
    created: &Created,
) -> Result<u8, Failure> {
    let id = make(context, client, arguments, created)
        .await
        .map_err(|error| context.refused(&error.text(), NOT_RUN))?;
    start(client, &id)
        .await
        .map_err(|error| not_started(context, &error))?;
    context.printer.line(&id)?;
    Ok(0)
}

/// Starts a container and stays with it to its end.
async fn attached(
    context: &Context,
    client: &Client,
    arguments: &ContainerArguments,
    created: &Created,
) -> Result<u8, Failure> {
    let escape = escape(context.detach_keys(arguments.detach_keys.as_deref()))?;
    let mut attention = Attention::new(passes_signals(arguments))?;
    // Until there is a process, a signal can only be meant for us.
    let Prepared {
        id,
        connection,
        waiting,
    } = tokio::select! {
        biased;
        prepared = prepare(context, client, arguments, created) => prepared?,
        signal = attention.next() => return Err(Failure::Silent(code(signal))),
    };
    let target = Target::Container(&id);
    let (started, early) = start_heeding(client, &id, &mut attention).await?;
    if let Err(error) = started {
        if arguments.auto_remove && error.status().is_some() {
            // The engine removes what never ran; the user's next `run` of the same name must not meet it.
            tokio::select! {
                _ = tokio::time::timeout(REMOVAL, outcome(waiting)) => {}
                signal = attention.next() => return Err(Failure::Silent(code(signal))),
            }
        }
        return Err(not_started(context, &error));
    }
    if let Some(signal) = early
        && passes_signals(arguments)
    {
        pass_on(client, target, signal).await;
    }
    let session = Session {
        terminal: arguments.tty,
        input: created.streams.stdin,
        escape: Some(escape),
    };
    if attend(client, target, session, connection, &mut attention).await? == End::Detached {
        return Ok(0);
    }
    last_word(client, target, waiting, &mut attention).await
}

/// Whether signals go on to the container. One with a terminal has its own from the keys; a signal to the client is
/// meant for the client then, whose terminal may have gone.
fn passes_signals(arguments: &ContainerArguments) -> bool {
    !arguments.no_signal_proxy && !arguments.tty
}

/// A container that is made, attached to and waited for, but not started.
struct Prepared<'a> {
    id: String,
    connection: TokioIo<Upgraded>,
    waiting: Reply<'a>,
}

async fn prepare<'a>(
    context: &Context,
    client: &'a Client,
    arguments: &ContainerArguments,
    created: &Created,
) -> Result<Prepared<'a>, Failure> {
    let id = make(context, client, arguments, created)
        .await
        .map_err(|error| context.refused(&error.text(), NOT_RUN))?;
    let condition = if arguments.auto_remove {
        WaitCondition::Removed
    } else {
        WaitCondition::NextExit
    };
    let wait_path = format!("/containers/{}/wait{}", encode(&id), condition.write());
    let attach_path = attach_path(&id, created.streams);
    let (connection, waiting) = tokio::try_join!(
        client.upgrade(&attach_path, None::<&()>),
        client.post(&wait_path)
    )
    .map_err(|error| context.refused(&chain(&error), NOT_RUN))?;
    Ok(Prepared {
        id,
        connection,
        waiting,
    })
}

/// Starts a container. A signal that comes meanwhile is kept for it; a second one ends the client.
async fn start_heeding(
    client: &Client,
    id: &str,
    attention: &mut Attention,
) -> Result<(Result<(), ClientError>, Option<Signal>), Failure> {
    let mut early = None;
    let mut starting = pin!(start(client, id));
    loop {
        tokio::select! {
            biased;
            started = &mut starting => return Ok((started, early)),
            signal = attention.next() => {
                if early.replace(signal).is_some() {
                    return Err(Failure::Silent(code(signal)));
                }
            }
        }
    }
}

/// The request that attaches to the streams asked for.
pub(super) fn attach_path(id: &str, streams: Streams) -> String {
    let query = AttachQuery {
        stream: true,
        stdin: streams.stdin,
        stdout: streams.stdout,
        stderr: streams.stderr,
        ..AttachQuery::default()
    };
    format!("/containers/{}/attach{}", encode(id), query.write())
}

async fn start(client: &Client, id: &str) -> Result<(), ClientError> {
    client
        .post(&format!("/containers/{}/start", encode(id)))
        .await?
        .bytes()
        .await?;
    Ok(())
}

/// Waits for the answer that carries the container's exit code.
pub(super) async fn outcome(waiting: Reply<'_>) -> Result<u8, Failure> {
    let result: WaitResult = waiting.json().await?;
    if let Some(error) = result.error.filter(|error| !error.message.is_empty()) {
        return Err(Failure::with_code(
            format!("Error waiting for container: {}", error.message),
            NOT_RUN,
        ));
    }
    Ok(exit_code(result.status_code))
}

/// A container's exit code as ours: the kernel has eight bits for it.
pub(super) fn exit_code(status: i64) -> u8 {
    u8::try_from(status.rem_euclid(256)).unwrap_or(NOT_RUN)
}

fn not_started(context: &Context, error: &ClientError) -> Failure {
    let code = error.engine_message().map_or(NOT_RUN, start_code);
    context.refused(&chain(error), code)
}

/// The code for a start that failed. The API has no member for it, so that Docker's clients too read the words.
pub(super) fn start_code(message: &str) -> u8 {
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if says(&[
        "executable file not found",
        "no such file or directory",
        "system cannot find the file specified",
    ]) {
        127
    } else if says(&["permission denied", "is a directory", "exec format error"]) {
        126
    } else {
        NOT_RUN
    }
}
