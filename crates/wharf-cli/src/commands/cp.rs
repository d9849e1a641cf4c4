//! `cp`: files between a container and this machine.
//!
//! What is copied travels as an archive in both directions, made and unpacked while it is on its way. An
//! archive from a container is foreign: it is unpacked beneath the destination's directory, whatever its
//! names and links say.

mod from;
mod paths;
mod to;

use std::time::{Duration, Instant};

use hyper::Method;
use wharf_wire::query::{QueryWriter, encode};
use wharf_wire::{ContainerPathStat, PATH_STAT_HEADER};

use super::{Command, Context};
use crate::client::{Client, ClientError, Reply};
use crate::failure::Failure;
use crate::format::units;
use crate::grammar::{Arity, Flag, Grammar};

#[derive(Debug, Default)]
pub(super) struct Arguments {
    archive: bool,
    follow: bool,
    quiet: Option<bool>,
}

type F = Flag<Arguments>;

pub(super) static COMMAND: Command<Arguments> = Command {
    names: &["container cp", "cp"],
    about: "Copy files/folders between a container and the local filesystem\n\n\
            Use '-' as the source to read a tar archive from stdin\n\
            and extract it to a directory destination in a container.\n\
            Use '-' as the destination to stream a tar archive of a\n\
            container source to stdout.",
    usage: "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tdocker cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    grammar: Grammar {
        flags: &[&[
            F::switch(
                "archive",
                "Archive mode (copy all uid/gid information)",
                |a, on| {
                    a.archive = on;
                },
            )
            .short('a'),
            F::switch(
                "follow-link",
                "Always follow symbol link in SRC_PATH",
                |a, on| {
                    a.follow = on;
                },
            )
            .short('L'),
            F::switch(
                "quiet",
                "Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached",
                |a, on| {
                    a.quiet = Some(on);
                },
            )
            .short('q'),
        ]],
        interspersed: true,
        arity: Arity::Exactly(2),
    },
    run,
};

/// What both directions need.
struct Copy<'a> {
    client: &'a Client,
    container: &'a str,
    archive: bool,
    follow: bool,
    quiet: bool,
}

fn run(context: &Context, arguments: Arguments, words: Vec<String>) -> Result<u8, Failure> {
    let [source, destination] = words.as_slice() else {
        return Err(Failure::message("cp needs a source and a destination"));
    };
    if source.is_empty() {
        return Err(Failure::message("source can not be empty"));
    }
    if destination.is_empty() {
        return Err(Failure::message("destination can not be empty"));
    }
    let (from, source) = paths::split_argument(source);
    let (to, destination) = paths::split_argument(destination);
    let copy = |client, container| Copy {
        client,
        container,
        archive: arguments.archive,
        follow: arguments.follow,
        quiet: arguments
            .quiet
            .unwrap_or_else(|| !crate::terminal::output_is_terminal()),
    };
    let client = context.client()?;
    context.block_on(async {
        // A refusal of a HEAD has no text that would say which version the engine speaks.
        client.settle().await?;
        match (from, to) {
            (Some(container), None) => copy(&client, container).from(source, destination).await,
            (None, Some(container)) => copy(&client, container).to(source, destination).await,
            (Some(_), Some(_)) => Err(Failure::message(
                "copying between containers is not supported",
            )),
            (None, None) => Err(Failure::message(
                "must specify at least one container source",
            )),
        }?;
        Ok(0)
    })
}

impl Copy<'_> {
    fn route(&self, path: &str) -> String {
        let query = QueryWriter::new().with("path", path).finish();
        format!("/containers/{}/archive{query}", encode(self.container))
    }

    /// What is at a path of the container.
    async fn stat(&self, path: &str) -> Result<ContainerPathStat, ClientError> {
        let reply = self.client.call(Method::HEAD, &self.route(path)).await?;
        let stat = read_stat(&reply);
        reply.bytes().await?;
        stat
    }

    /// Where a path of the container leads, if it is a link.
    fn link(stat: &ContainerPathStat, path: &str) -> Option<String> {
        stat.is_symlink()
            .then(|| paths::link_target(path, &stat.link_target))
    }
}

fn read_stat(reply: &Reply<'_>) -> Result<ContainerPathStat, ClientError> {
    reply
        .header(PATH_STAT_HEADER)
        .and_then(|value| ContainerPathStat::from_header(&value))
        .ok_or_else(|| ClientError::Decode(serde::de::Error::custom("no path stat in the answer")))
}

/// Tells how far a copy is, on a terminal, and what it came to.
struct Progress {
    header: Option<&'static str>,
    bytes: u64,
    told: Instant,
}

/// How often it is told.
const PACE: Duration = Duration::from_millis(75);

impl Progress {
    fn new(quiet: bool, header: &'static str) -> Self {
        Self {
            header: (!quiet).then_some(header),
            bytes: 0,
            told: Instant::now(),
        }
    }

    fn add(&mut self, bytes: usize) {
        self.set(self.bytes + bytes as u64);
    }

    fn set(&mut self, bytes: u64) {
        self.bytes = bytes;
        if let Some(header) = self.header
            && crate::terminal::error_is_terminal()
            && self.told.elapsed() >= PACE
        {
            self.told = Instant::now();
            crate::printer::say(&format!("\r\x1b[2K{header}{}", self.size()));
        }
    }

    fn done(&self, to: &str) {
        if self.header.is_none() {
            return;
        }
        if crate::terminal::error_is_terminal() {
            crate::printer::say("\r\x1b[2K");
        }
        crate::printer::say(&format!("Successfully copied {} to {to}\n", self.size()));
    }

    fn size(&self) -> String {
        units::size(i64::try_from(self.bytes).unwrap_or(i64::MAX))
    }
}
