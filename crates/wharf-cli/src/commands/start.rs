//! `start`: stopped containers again.

use wharf_wire::query::encode;
use wharf_wire::{ContainerInspect, WaitCondition};

use super::attended::{Attention, Target, attend, escape, last_word, resize};
use super::run::attach_path;
use super::{Command, Context};
use crate::client::{Client, ClientError};
use crate::failure::{Failure, chain};
use crate::grammar::{Arity, Flag, Grammar};
use crate::options::container::Streams;
use crate::options::flags;
use crate::streams::session::{End, Session};

#[derive(Debug, Default)]
pub(super) struct Arguments {
    attach: bool,
    detach_keys: Option<String>,
    interactive: bool,
}

type F = Flag<Arguments>;

pub(super) static COMMAND: Command<Arguments> = Command {
    names: &["container start", "start"],
    about: "Start one or more stopped containers",
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    grammar: Grammar {
        flags: &[&[
            F::switch(
                "attach",
                "Attach STDOUT/STDERR and forward signals",
                |a, on| a.attach = on,
            )
            .short('a'),
            F::value(
                "checkpoint",
                "string",
                "Restore from this checkpoint",
                |_, _| Ok(()),
            )
            .experimental(),
            F::value(
                "checkpoint-dir",
                "string",
                "Use a custom checkpoint storage directory",
                |_, _| Ok(()),
            )
            .experimental(),
            flags::detach_keys(|a, v| {
                a.detach_keys = Some(v.to_owned());
                Ok(())
            }),
            F::switch("interactive", "Attach container's STDIN", |a, on| {
                a.interactive = on;
            })
            .short('i'),
        ]],
        interspersed: true,
        arity: Arity::AtLeast(1),
    },
    run,
};

fn run(context: &Context, arguments: Arguments, names: Vec<String>) -> Result<u8, Failure> {
    let client = context.client()?;
    if arguments.attach || arguments.interactive {
        let [name] = names.as_slice() else {
            return Err(Failure::message(
                "you cannot start and attach multiple containers at once",
            ));
        };
        return context.block_on(attached(context, &client, &arguments, name));
    }
    context.block_on(async {
        let mut failed = Vec::new();
        for name in &names {
            match start(&client, name).await {
                Ok(()) => context.printer.line(name)?,
                Err(error @ ClientError::Engine { .. }) => {
                    context.printer.note(&chain(&error));
                    failed.push(name.as_str());
                }
                Err(error) => return Err(error.into()),
            }
        }
        if failed.is_empty() {
            return Ok(0);
        }
        Err(Failure::message(format!(
            "Error: failed to start containers: {}",
            failed.join(", ")
        )))
    })
}

async fn start(client: &Client, name: &str) -> Result<(), ClientError> {
    client
        .post(&format!("/containers/{}/start", encode(name)))
        .await?
        .bytes()
        .await?;
    Ok(())
}

async fn attached(
    context: &Context,
    client: &Client,
    arguments: &Arguments,
    name: &str,
) -> Result<u8, Failure> {
    let escape = escape(context.detach_keys(arguments.detach_keys.as_deref()))?;
    let container: ContainerInspect = client
        .get(&format!("/containers/{}/json", encode(name)))
        .await?;
    let streams = Streams {
        stdin: arguments.interactive && container.config.open_stdin,
        stdout: true,
        stderr: true,
    };
    if streams.stdin && container.config.tty && !crate::terminal::input_is_terminal() {
        return Err(Failure::message("the input device is not a TTY"));
    }
    let mut attention = Attention::new(!container.config.tty)?;
    let condition = if container.host_config.auto_remove {
        WaitCondition::Removed
    } else {
        WaitCondition::NextExit
    };
    let attach_path = attach_path(&container.id, streams);
    let wait_path = format!(
        "/containers/{}/wait{}",
        encode(&container.id),
        condition.write()
    );
    let (connection, waiting) = tokio::try_join!(
        client.upgrade(&attach_path, None::<&()>),
        client.post(&wait_path)
    )?;
    start(client, &container.id).await?;
    let target = Target::Container(&container.id);
    if let Some((height, width)) = crate::terminal::size().filter(|_| container.config.tty) {
        resize(client, target, height, width).await;
    }
    let session = Session {
        terminal: container.config.tty,
        input: streams.stdin,
        escape: Some(escape),
    };
    if attend(client, target, session, connection, &mut attention).await? == End::Detached {
        return Ok(0);
    }
    last_word(client, target, waiting, &mut attention).await
}
