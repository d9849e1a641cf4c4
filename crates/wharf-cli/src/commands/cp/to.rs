//! Into a container.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::Method;
use rustix::fs::{Mode, OFlags};
use wharf_store::{DiffError, InsidePath, RootedDir};
use wharf_wire::query::encode;
use wharf_wire::{ArchivePutQuery, go_mode};

use super::paths::{self, End};
use super::{Copy, PACE, Progress};
use crate::client::FileBody;
use crate::failure::{Failure, chain, errno_text};

impl Copy<'_> {
    /// Copies into the container.
    pub(super) async fn to(&self, source: &str, destination: &str) -> Result<(), Failure> {
        let from_stdin = source == "-";
        let source = match from_stdin {
            true => source.to_owned(),
            false => absolute(source)?,
        };
        let to = self.look(destination).await?;
        if from_stdin {
            if !to.is_directory {
                return Err(Failure::message(format!(
                    "destination \"{}:{destination}\" must be a directory",
                    self.container
                )));
            }
            let stdin = crate::commands::load::stdin()?;
            return self.put(&to.path, FileBody::new(stdin)).await;
        }
        let from = self.source(&source)?;
        let plan = paths::plan(&from, &to).map_err(|error| Failure::of(&error))?;
        let (directory, name) = paths::split_entry(&from.path);
        let shown = match (&plan.rename, &from.rebase) {
            (Some((_, name)), _) => name.clone(),
            (None, Some(name)) => name.clone(),
            (None, None) => name.clone(),
        };
        let opened = rustix::fs::open(
            directory.as_str(),
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        );
        let root = opened.map_err(|error| {
            Failure::message(format!("open {directory}: {}", errno_text(&error.into())))
        })?;
        let (reader, writer) = std::io::pipe().map_err(|error| Failure::of(&error))?;
        let sent = Arc::new(AtomicU64::new(0));
        let counted = Counted {
            writer,
            count: Arc::clone(&sent),
        };
        let packing = std::thread::spawn(move || {
            let path = InsidePath::new(Path::new(&name)).shown_as(OsString::from(shown));
            RootedDir::open(root).archive(&path, counted)
        });
        let reader = std::fs::File::from(std::os::fd::OwnedFd::from(reader));
        let mut progress = Progress::new(self.quiet, "Copying to container - ");
        let body = FileBody::new(reader);
        let put = self
            .watched(&plan.directory, body, &sent, &mut progress)
            .await;
        let packed = packing
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match packed {
            // The engine has stopped reading, and said why.
            Err(DiffError::Write(_)) | Ok(()) => put?,
            Err(error) => return Err(Failure::message(chain(&error))),
        }
        progress.set(sent.load(Ordering::Relaxed));
        progress.done(&format!("{}:{}", self.container, to.path));
        Ok(())
    }

    /// Sends, and tells how far it is.
    async fn watched(
        &self,
        path: &str,
        body: FileBody,
        sent: &AtomicU64,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        let put = self.put(path, body);
        tokio::pin!(put);
        let mut pace = tokio::time::interval(PACE);
        loop {
            tokio::select! {
                done = &mut put => return done,
                _ = pace.tick() => progress.set(sent.load(Ordering::Relaxed)),
            }
        }
    }

    async fn put(&self, path: &str, body: FileBody) -> Result<(), Failure> {
        let query = ArchivePutQuery {
            path: path.to_owned(),
            no_overwrite_dir_non_dir: true,
            copy_uid_gid: self.archive,
        };
        let route = format!(
            "/containers/{}/archive{}",
            encode(self.container),
            query.write()
        );
        let reply = self
            .client
            .send_file(Method::PUT, &route, "application/x-tar", body)
            .await?;
        reply.bytes().await?;
        Ok(())
    }

    /// What is at the destination. That it is not there is fine: its parent may be.
    async fn look(&self, path: &str) -> Result<End, Failure> {
        let mut to = End {
            path: path.to_owned(),
            ..End::default()
        };
        let mut found = self.stat(path).await;
        let link = found.as_ref().ok().and_then(|stat| Self::link(stat, path));
        if let Some(target) = link {
            found = self.stat(&target).await;
            to.path = target;
        }
        if let Ok(stat) = found {
            let device = go_mode::DEVICE | go_mode::CHARACTER_DEVICE;
            if stat.mode & device != 0 {
                return Err(Failure::message(format!(
                    "destination \"{}:{path}\" must be a directory or a regular file: got a device",
                    self.container
                )));
            }
            to.exists = true;
            to.is_directory = stat.is_directory();
        }
        Ok(to)
    }

    /// What is to be copied: a link itself, unless links are followed.
    fn source(&self, path: &str) -> Result<End, Failure> {
        let failed = |path: &str, error: &std::io::Error| {
            Failure::message(format!("lstat {path}: {}", errno_text(error)))
        };
        let resolve = |path: &str| {
            let resolved = std::fs::canonicalize(path).map_err(|error| failed(path, &error))?;
            Ok::<_, Failure>(resolved.to_string_lossy().into_owned())
        };
        let (path, rebase) = if self.follow {
            paths::followed(path, &resolve(path)?)
        } else {
            // What is after the last slash stays as it is; what is before it may be links.
            let (directory, name) = path.rsplit_once('/').unwrap_or((".", path));
            let directory = match directory {
                "" => "/".to_owned(),
                directory => resolve(directory)?,
            };
            let resolved = format!("{}/{name}", directory.trim_end_matches('/'));
            let renamed = path.ends_with('/') && paths::base(path) != paths::base(&resolved);
            let rebase = renamed.then(|| paths::base(path).to_owned());
            (resolved, rebase)
        };
        let found = std::fs::symlink_metadata(&path).map_err(|error| failed(&path, &error))?;
        Ok(End {
            exists: true,
            is_directory: found.is_dir(),
            path,
            rebase,
        })
    }
}

/// A local path from the root, with what it ended in.
pub(super) fn absolute(path: &str) -> Result<String, Failure> {
    let here = std::env::current_dir()
        .map_err(|error| Failure::message(format!("getwd: {}", errno_text(&error))))?;
    let joined = here.join(path);
    let clean = paths::clean(&joined.to_string_lossy());
    Ok(paths::with_ending_of(clean, path))
}

/// Counts what goes through.
struct Counted<W> {
    writer: W,
    count: Arc<AtomicU64>,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.writer.write(bytes)?;
        self.count.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.writer.flush()
    }
}
