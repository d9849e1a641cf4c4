//! `export`: a container's files as an archive.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use hyper::Method;
use wharf_wire::query::encode;

use super::{Command, Context};
use crate::client::Reply;
use crate::failure::{Failure, errno_text};
use crate::grammar::{Arity, Flag, Grammar};

#[derive(Debug, Default)]
pub(super) struct Arguments {
    output: Option<String>,
}

type F = Flag<Arguments>;

pub(super) static COMMAND: Command<Arguments> = Command {
    names: &["container export", "export"],
    about: "Export a container's filesystem as a tar archive",
    usage: "[OPTIONS] CONTAINER",
    grammar: Grammar {
        flags: &[&[F::value(
            "output",
            "string",
            "Write to a file, instead of STDOUT",
            |a, v| {
                a.output = Some(v.to_owned());
                Ok(())
            },
        )
        .short('o')]],
        interspersed: true,
        arity: Arity::Exactly(1),
    },
    run: |context, arguments, words| {
        download(
            context,
            &format!("/containers/{}/export", encode(&words[0])),
            arguments.output.as_deref(),
            "failed to export container",
        )
    },
};

/// Writes an answer's body to a file or standard output. A file appears whole or not at all; of one that cannot
/// be written it is said what failed for that.
pub(super) fn download(
    context: &Context,
    path: &str,
    output: Option<&str>,
    failed: &str,
) -> Result<u8, Failure> {
    let output = output.filter(|output| !output.is_empty());
    if output.is_none() && crate::terminal::output_is_terminal() {
        return Err(Failure::message(
            "cowardly refusing to save to a terminal. Use the -o flag or redirect",
        ));
    }
    if let Some(output) = output {
        check(Path::new(output)).map_err(|why| Failure::message(format!("{failed}: {why}")))?;
    }
    let client = context.client()?;
    context.block_on(async {
        let reply = client.call(Method::GET, path).await?;
        match output {
            Some(output) => to_file(reply, Path::new(output)).await?,
            None => {
                let mut reply = reply;
                while let Some(piece) = reply.piece().await? {
                    context.printer.data(&piece)?;
                }
            }
        }
        Ok(0)
    })
}

/// Refuses what cannot become a file, before the engine is asked for anything.
fn check(target: &Path) -> Result<(), String> {
    let parent = target
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        let why = match fs::metadata(parent) {
            Ok(metadata) if metadata.is_dir() => None,
            Ok(_) => Some("not a directory".to_owned()),
            Err(error) => Some(errno_text(&error)),
        };
        if let Some(why) = why {
            let parent = parent.display();
            return Err(format!("invalid output path: stat {parent}: {why}"));
        }
    }
    match fs::symlink_metadata(target) {
        Ok(metadata) if metadata.is_dir() => Err("cannot write to a directory".to_owned()),
        // A rename would put the file in its place; what leads to a terminal or the like is written to.
        Ok(metadata)
            if metadata.is_symlink() && fs::metadata(target).is_ok_and(|to| to.is_file()) =>
        {
            Err("cannot write to a symbolic link directly".to_owned())
        }
        _ => Ok(()),
    }
}

async fn to_file(mut reply: Reply<'_>, target: &Path) -> Result<(), Failure> {
    let failed = |path: &Path, error: &std::io::Error| {
        Failure::message(format!("write {}: {}", path.display(), errno_text(error)))
    };
    // What is no regular file, such as /dev/null, is written where it is.
    let special = fs::metadata(target).is_ok_and(|metadata| !metadata.is_file());
    let beside = if special {
        target.to_owned()
    } else {
        beside(target)
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create(!special)
        .truncate(!special)
        .mode(0o600)
        .open(&beside)
        .map_err(|error| failed(&beside, &error))?;
    let written = async {
        while let Some(piece) = reply.piece().await? {
            file.write_all(&piece)
                .map_err(|error| failed(&beside, &error))?;
        }
        if !special {
            fs::rename(&beside, target).map_err(|error| failed(target, &error))?;
        }
        Ok(())
    };
    let outcome = written.await;
    if outcome.is_err()
        && !special
        && let Err(error) = fs::remove_file(&beside)
    {
        crate::printer::say(&format!(
            "remove {}: {}\n",
            beside.display(),
            errno_text(&error)
        ));
    }
    outcome
}

/// A name in the same directory for what is not whole yet.
fn beside(target: &Path) -> PathBuf {
    let name = target
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    target.with_file_name(format!(".{name}.{}", std::process::id()))
}
