//! `logs`: what a container wrote.

use hyper::Method;
use jiff::Zoned;
use wharf_wire::query::encode;
use wharf_wire::{ContainerInspect, LogsQuery, Tail};

use super::{Command, Context};
use crate::client::Client;
use crate::failure::{Failure, chain};
use crate::grammar::{Arity, Flag, Grammar};
use crate::options::time;
use crate::streams::session::Demultiplexer;

#[derive(Debug, Default)]
pub(super) struct Arguments {
    query: LogsQuery,
    since: Option<String>,
    until: Option<String>,
}

type F = Flag<Arguments>;

pub(super) static COMMAND: Command<Arguments> = Command {
    names: &["container logs", "logs"],
    about: "Fetch the logs of a container",
    usage: "[OPTIONS] CONTAINER",
    grammar: Grammar {
        flags: &[&[
            F::switch("details", "Show extra details provided to logs", |a, on| {
                a.query.details = on;
            }),
            F::switch("follow", "Follow log output", |a, on| a.query.follow = on).short('f'),
            F::value(
                "since",
                "string",
                "Show logs since timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)",
                |a, v| {
                    a.since = Some(v.to_owned());
                    Ok(())
                },
            ),
            F::value(
                "tail",
                "string",
                "Number of lines to show from the end of the logs",
                |a, v| {
                    a.query.tail = v.parse().map_or(Tail::All, Tail::Lines);
                    Ok(())
                },
            )
            .short('n')
            .default("\"all\""),
            F::switch("timestamps", "Show timestamps", |a, on| {
                a.query.timestamps = on;
            })
            .short('t'),
            F::value(
                "until",
                "string",
                "Show logs before a timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)",
                |a, v| {
                    a.until = Some(v.to_owned());
                    Ok(())
                },
            )
            .since(35),
        ]],
        interspersed: true,
        arity: Arity::Exactly(1),
    },
    run,
};

fn run(context: &Context, arguments: Arguments, words: Vec<String>) -> Result<u8, Failure> {
    let mut query = LogsQuery {
        stdout: true,
        stderr: true,
        ..arguments.query
    };
    let mut wrong = None;
    for (flag, text, place) in [
        ("since", &arguments.since, &mut query.since),
        ("until", &arguments.until, &mut query.until),
    ] {
        if let Some(text) = text {
            match time::parse(text, &Zoned::now()) {
                Ok(time) => *place = Some(time),
                Err(error) => wrong = Some(format!("invalid value for {flag:?}: {error}")),
            }
        }
    }
    let client = context.client()?;
    context.block_on(async {
        if let Some(wrong) = wrong {
            // That there is no such container is the first thing to say.
            let path = format!("/containers/{}/json", encode(&words[0]));
            client.call(Method::GET, &path).await?.bytes().await?;
            return Err(Failure::message(wrong));
        }
        show(&client, &words[0], &query).await
    })
}

async fn show(client: &Client, name: &str, query: &LogsQuery) -> Result<u8, Failure> {
    let path = format!("/containers/{}/logs{}", encode(name), query.write());
    let mut reply = client.call(Method::GET, &path).await?;
    let multiplexed = match reply.is_multiplexed() {
        Some(multiplexed) => multiplexed,
        // An older engine does not say; then it depends on the terminal.
        None => {
            let container: ContainerInspect = client
                .get(&format!("/containers/{}/json", encode(name)))
                .await?;
            !container.config.tty
        }
    };
    let mut demultiplexer = Demultiplexer::new(!multiplexed);
    while let Some(piece) = reply.piece().await? {
        demultiplexer.pass_on(&piece).await.map_err(|error| {
            if error.is_broken_pipe() {
                Failure::Silent(141)
            } else {
                Failure::message(chain(&error))
            }
        })?;
    }
    Ok(0)
}
