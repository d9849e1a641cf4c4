//! Out of a container.

use std::io::{PipeWriter, Write};
use std::path::Path;

use hyper::Method;
use rustix::fs::{Mode, OFlags};
use wharf_store::{ExtractOptions, InsidePath, Owners, Renamed, RootedDir};

use super::paths::{self, End};
use super::{Copy, Progress, read_stat};
use crate::client::Reply;
use crate::failure::{Failure, chain, errno_text};

/// Links at the destination that are followed before they are taken for a circle.
const LINKS_MAX: usize = 10;

impl Copy<'_> {
    /// Copies out of the container.
    pub(super) async fn from(&self, source: &str, destination: &str) -> Result<(), Failure> {
        let to_stdout = destination == "-";
        let destination = match to_stdout {
            true => destination.to_owned(),
            false => super::to::absolute(destination)?,
        };
        check_output(&destination)?;
        let mut from = End {
            path: source.to_owned(),
            exists: true,
            ..End::default()
        };
        if self.follow
            && let Ok(stat) = self.stat(source).await
            && let Some(target) = Self::link(&stat, source)
        {
            (from.path, from.rebase) = paths::followed(source, &target);
        }
        let mut reply = self
            .client
            .call(Method::GET, &self.route(&from.path))
            .await?;
        if to_stdout {
            while let Some(piece) = reply.piece().await? {
                crate::printer::Printer.data(&piece)?;
            }
            return Ok(());
        }
        from.is_directory = read_stat(&reply)?.is_directory();
        let to = look(&destination)?;
        let plan = paths::plan(&from, &to).map_err(|error| Failure::of(&error))?;
        // The archive is named by the path that was asked for, until it is renamed.
        let archived = paths::split_entry(&from.path).1;
        let rename = match (&plan.rename, &from.rebase) {
            (Some((_, name)), _) => Some((archived, name.clone())),
            (None, Some(name)) => Some((archived, name.clone())),
            (None, None) => None,
        };
        let mut progress = Progress::new(self.quiet, "Copying from container - ");
        unpack(reply, &plan.directory, rename, &mut progress).await?;
        progress.done(&destination);
        Ok(())
    }
}

/// Unpacks an answer while it comes.
async fn unpack(
    mut reply: Reply<'_>,
    directory: &str,
    rename: Option<(String, String)>,
    progress: &mut Progress,
) -> Result<(), Failure> {
    let open = rustix::fs::open(
        directory,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    );
    let root = open.map_err(|error| {
        Failure::message(format!("open {directory}: {}", errno_text(&error.into())))
    })?;
    let options = ExtractOptions {
        keep_kinds: true,
        owners: Owners::Caller,
        renamed: rename.map(|(from, to)| Renamed {
            from: from.into_bytes(),
            to: to.into_bytes(),
        }),
        ..ExtractOptions::default()
    };
    let (reader, mut writer) = std::io::pipe().map_err(|error| Failure::of(&error))?;
    let unpacking = std::thread::spawn(move || {
        RootedDir::open(root).extract(&InsidePath::new(Path::new("/")), reader, &options)
    });
    let fed = feed(&mut reply, &mut writer, progress).await;
    drop(writer);
    let unpacked = unpacking
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    fed?;
    unpacked.map_err(|error| Failure::message(chain(&error)))
}

/// Hands an answer on. Whoever unpacks it and stops early says why.
async fn feed(
    reply: &mut Reply<'_>,
    writer: &mut PipeWriter,
    progress: &mut Progress,
) -> Result<(), Failure> {
    while let Some(piece) = reply.piece().await? {
        progress.add(piece.len());
        if writer.write_all(&piece).is_err() {
            break;
        }
    }
    Ok(())
}

/// Refuses a destination that cannot be one before anything is asked of the engine.
fn check_output(path: &str) -> Result<(), Failure> {
    let clean = paths::clean(path);
    let directory = paths::split_entry(&clean).0;
    if directory != "." && !Path::new(&directory).exists() {
        return Err(Failure::message(format!(
            "invalid output path: directory {directory:?} does not exist"
        )));
    }
    let Ok(found) = std::fs::metadata(path) else {
        return Ok(());
    };
    use std::os::unix::fs::FileTypeExt as _;
    let kind = found.file_type();
    if kind.is_block_device() || kind.is_char_device() {
        return Err(Failure::message(format!(
            "invalid output path: {path:?} must be a directory or a regular file: got a device"
        )));
    }
    Ok(())
}

/// What is at a destination on this machine, links followed; it need not be there.
fn look(path: &str) -> Result<End, Failure> {
    let failed = |path: &str, error: &std::io::Error| {
        Failure::message(format!("stat {path}: {}", errno_text(error)))
    };
    let mut place = path.to_owned();
    for _ in 0..=LINKS_MAX {
        // As it ends, so it is meant: `link/` is what the link leads to.
        let found = match std::fs::symlink_metadata(&place) {
            Ok(found) => found,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let parent = paths::split_entry(&place).0;
                let stat = std::fs::metadata(&parent).map_err(|error| {
                    Failure::message(format!("stat {parent}: {}", errno_text(&error)))
                })?;
                if !stat.is_dir() {
                    return Err(Failure::message("not a directory"));
                }
                return Ok(End {
                    path: place,
                    ..End::default()
                });
            }
            Err(error) => return Err(failed(&place, &error)),
        };
        if !found.is_symlink() {
            return Ok(End {
                path: place,
                exists: true,
                is_directory: found.is_dir(),
                rebase: None,
            });
        }
        let target = std::fs::read_link(&place).map_err(|error| failed(&place, &error))?;
        place = paths::link_target(&place, &target.to_string_lossy());
    }
    Err(Failure::message(format!("too many symlinks in {path}")))
}
