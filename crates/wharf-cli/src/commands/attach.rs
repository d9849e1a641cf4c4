//! `attach`: the streams of a container's first process.

use wharf_wire::query::encode;
use wharf_wire::{ContainerInspect, WaitCondition};

use super::attended::{Attention, Target, attend, escape, last_word, resize};
use super::run::attach_path;
use super::{Command, Context};
use crate::client::Client;
use crate::failure::Failure;
use crate::grammar::{Arity, Flag, Grammar};
use crate::options::container::Streams;
use crate::options::flags;
use crate::streams::session::{End, Session};

#[derive(Debug, Default)]
pub(super) struct Arguments {
    detach_keys: Option<String>,
    no_stdin: bool,
    /// Inverted, so that the zero value is Docker's default.
    no_signal_proxy: bool,
}

type F = Flag<Arguments>;

pub(super) static COMMAND: Command<Arguments> = Command {
    names: &["container attach", "attach"],
    about: "Attach local standard input, output, and error streams to a running container",
    usage: "[OPTIONS] CONTAINER",
    grammar: Grammar {
        flags: &[&[
            flags::detach_keys(|a, v| {
                a.detach_keys = Some(v.to_owned());
                Ok(())
            }),
            F::switch("no-stdin", "Do not attach STDIN", |a, on| a.no_stdin = on),
            flags::signal_proxy("Proxy all received signals to the process", |a, on| {
                a.no_signal_proxy = !on;
            }),
        ]],
        interspersed: true,
        arity: Arity::Exactly(1),
    },
    run,
};

fn run(context: &Context, arguments: Arguments, words: Vec<String>) -> Result<u8, Failure> {
    let client = context.client()?;
    context.block_on(attach(context, &client, &arguments, &words[0]))
}

async fn attach(
    context: &Context,
    client: &Client,
    arguments: &Arguments,
    name: &str,
) -> Result<u8, Failure> {
    let escape = escape(context.detach_keys(arguments.detach_keys.as_deref()))?;
    let container: ContainerInspect = client
        .get(&format!("/containers/{}/json", encode(name)))
        .await?;
    if !container.state.running {
        return Err(Failure::message(
            "You cannot attach to a stopped container, start it first",
        ));
    }
    if container.state.paused {
        return Err(Failure::message(
            "You cannot attach to a paused container, unpause it first",
        ));
    }
    if container.state.restarting {
        return Err(Failure::message(
            "You cannot attach to a restarting container, wait until it is running",
        ));
    }
    let streams = Streams {
        stdin: !arguments.no_stdin && container.config.open_stdin,
        stdout: true,
        stderr: true,
    };
    if streams.stdin && container.config.tty && !crate::terminal::input_is_terminal() {
        return Err(Failure::message("the input device is not a TTY"));
    }
    let mut attention = Attention::new(!arguments.no_signal_proxy && !container.config.tty)?;
    let attach_path = attach_path(&container.id, streams);
    let wait_path = format!(
        "/containers/{}/wait{}",
        encode(&container.id),
        WaitCondition::NotRunning.write()
    );
    let (connection, waiting) = tokio::try_join!(
        client.upgrade(&attach_path, None::<&()>),
        client.post(&wait_path)
    )?;
    let target = Target::Container(&container.id);
    if let Some((height, width)) = crate::terminal::size().filter(|_| container.config.tty) {
        // A size that is the same already would not make the process draw its screen again.
        resize(
            client,
            target,
            height.saturating_add(1),
            width.saturating_add(1),
        )
        .await;
        resize(client, target, height, width).await;
    }
    let session = Session {
        terminal: container.config.tty,
        input: streams.stdin,
        escape: Some(escape),
    };
    if attend(client, target, session, connection, &mut attention).await? == End::Detached {
        return Err(Failure::message("read escape sequence"));
    }
    last_word(client, target, waiting, &mut attention).await
}
