//! Files into and out of containers: what is at a path, and archives in both directions.
//!
//! A container that runs is reached through its own mounts, another one through a mount of its
//! snapshot ([`view`]). A snapshot must not be mounted for writing twice, so whoever writes holds
//! the container's `files` lock, and a start waits for it before it mounts.

mod view;

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use rustix::fs::{AtFlags, FileType, OFlags, StatVfsMountFlags, StatxFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::sync::OwnedMutexGuard;
use wharf_oci::runtime::Mount;
use wharf_store::{
    DiffError, ExtractError, ExtractOptions, InsidePath, MountOptions, Owners, PathError, PathStat,
    RootedDir,
};
use wharf_types::failpoint;
use wharf_wire as wire;
use wharf_wire::go_mode;

use crate::borrowed::Borrowed;
use crate::container::{Container, refuse};
use crate::error::{Error, ErrorKind};
use crate::inner::Inner;
use crate::state::{Denied, State};
use crate::user;
use crate::userns::{self, Mapping};

use view::{Ids, Root, View};

/// What is wanted of a container's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilesFor {
    /// The whole tree, without what is mounted into it.
    Root,
    /// To be read.
    Reading,
    /// To be written.
    Writing,
}

/// A container's files, as they can be reached at the moment.
#[derive(Debug)]
pub struct ContainerFiles {
    inner: Arc<Inner>,
    container: Arc<Container>,
    /// The container as it was asked for, for messages.
    name: String,
    view: View,
    /// What its mounts point at.
    _borrowed: Borrowed,
    /// Keeps others from mounting the snapshot.
    _lock: Option<OwnedMutexGuard<()>>,
}

impl Inner {
    /// Reaches for a container's files.
    pub(crate) async fn files(
        self: &Arc<Self>,
        container: Arc<Container>,
        name: &str,
        wanted: FilesFor,
    ) -> Result<ContainerFiles, Error> {
        loop {
            self.settled(&container).await;
            let lock = match wanted {
                FilesFor::Writing => Some(Arc::clone(&container.files).lock_owned().await),
                FilesFor::Root | FilesFor::Reading => None,
            };
            if matches!(container.status().state, State::Starting(_)) {
                continue;
            }
            let (mounts, borrowed) = match wanted {
                FilesFor::Root => Default::default(),
                FilesFor::Reading | FilesFor::Writing => self.mounted(&container)?,
            };
            let (view, lock) = match first_process(&container)? {
                Some(process) => {
                    let mapping = container.definition.user_namespace.as_ref();
                    let view = View {
                        root: Root::Live(process),
                        mounts,
                        makes_places: false,
                        read_only: false,
                        ids: mapping.map(|mapping| Ids {
                            maps: mapping.ids(),
                            mounts: None,
                        }),
                    };
                    (view, lock)
                }
                None => self.detached(&container, mounts, wanted, lock).await?,
            };
            return Ok(ContainerFiles {
                inner: Arc::clone(self),
                container,
                name: name.to_owned(),
                view,
                _borrowed: borrowed,
                _lock: lock,
            });
        }
    }

    /// Mounts the snapshot of a container that does not run: read-only where that is enough.
    async fn detached(
        self: &Arc<Self>,
        container: &Arc<Container>,
        mounts: Vec<Mount>,
        wanted: FilesFor,
        lock: Option<OwnedMutexGuard<()>>,
    ) -> Result<(View, Option<OwnedMutexGuard<()>>), Error> {
        let gone = matches!(container.status().state, State::Removed(_));
        if gone {
            return Err(refuse(container, Denied::Removed));
        }
        let ids = match &container.definition.user_namespace {
            // Without mounts all owners are as in the store.
            Some(mapping) if wanted != FilesFor::Root => Some(self.mapped(mapping).await?),
            _ => None,
        };
        let owners = ids.as_ref().and_then(|ids| ids.mounts.as_ref());
        let owners = owners.map(OwnedFd::try_clone).transpose();
        let owners =
            owners.map_err(|error| Error::internal("cannot mount the container's root", error))?;
        let owners = owners.map(Arc::new);
        if wanted != FilesFor::Writing {
            let (inner, target, needed) = (Arc::clone(self), Arc::clone(container), mounts.clone());
            let own = owners.clone();
            let found = self.blocking(move || inner.look(&target, &needed, own.as_deref()));
            if let Some(root) = found.await? {
                let view = View {
                    root: Root::Detached(root),
                    mounts,
                    makes_places: false,
                    read_only: false,
                    ids,
                };
                return Ok((view, None));
            }
        }
        let lock = match lock {
            Some(lock) => lock,
            None => Arc::clone(&container.files).lock_owned().await,
        };
        let (inner, target) = (Arc::clone(self), Arc::clone(container));
        let root = self.blocking(move || {
            let (snapshot, options) = (target.snapshot(), MountOptions::default());
            let mounted = match &owners {
                None => inner.store.mount(&snapshot, options),
                Some(owners) => inner.store.mount_mapped(&snapshot, options, owners.as_fd()),
            };
            mounted.map_err(|error| Error::internal("cannot mount the container's root", error))
        });
        let view = View {
            root: Root::Detached(root.await?),
            mounts,
            makes_places: true,
            read_only: container.definition.host.readonly_rootfs || wanted != FilesFor::Writing,
            ids,
        };
        Ok((view, Some(lock)))
    }

    /// Returns a read-only root, unless a place for a mount would have to be made in it first.
    fn look(
        &self,
        container: &Container,
        mounts: &[Mount],
        owners: Option<&OwnedFd>,
    ) -> Result<Option<OwnedFd>, Error> {
        let snapshot = container.snapshot();
        let root = match owners {
            None => self.store.view(&snapshot),
            Some(owners) => self.store.view_mapped(&snapshot, owners.as_fd()),
        };
        let root =
            root.map_err(|error| Error::internal("cannot look at the container's root", error))?;
        let found = mounts.iter().all(|mount| {
            wharf_sys::rooted::open(root.as_fd(), &mount.destination, OFlags::PATH).is_ok()
        });
        Ok(found.then_some(root))
    }

    /// The ids of a container that does not run, and a user namespace for its mounts.
    async fn mapped(&self, mapping: &Mapping) -> Result<Ids, Error> {
        let (shim, notices) = self.take_shim()?;
        let namespaces = userns::Namespaces::make(&shim, mapping, None).await;
        shim.dismiss(notices).await;
        Ok(Ids {
            maps: mapping.ids(),
            mounts: Some(namespaces?.into_mounts()),
        })
    }

    /// Returns what is mounted into a container that is the user's or the container's own.
    fn mounted(&self, container: &Container) -> Result<(Vec<Mount>, Borrowed), Error> {
        let borrowed = self.borrow_files(&container.definition)?;
        let mounts = crate::spec::file_mounts(&container.definition, &self.places, &borrowed);
        Ok((mounts, borrowed))
    }
}

/// Returns a running container's first process; nothing when it does not run.
fn first_process(container: &Container) -> Result<Option<OwnedFd>, Error> {
    let running = |container: &Container| {
        let status = container.status();
        status.state.running().map(|running| running.pid)
    };
    let Some(pid) = running(container) else {
        return Ok(None);
    };
    let opened = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    // While the container runs, the id is no other process's.
    match opened {
        Some(process) if running(container) == Some(pid) => Ok(Some(process)),
        _ => Err(refuse(container, Denied::NotRunning)),
    }
}

impl ContainerFiles {
    /// Returns what is at a path.
    ///
    /// # Errors
    /// Nothing is there.
    pub fn stat(self, path: &str) -> Result<wire::ContainerPathStat, Error> {
        let (name, inside) = (self.name, InsidePath::new(Path::new(path)));
        self.view.enter(|root| {
            let stat = root.stat(&inside);
            stat.map(described)
                .map_err(|error| worded(&name, path, error))
        })
    }

    /// Writes what is at a path as an archive. What is there is told before the first byte.
    ///
    /// # Errors
    /// Nothing is there, or the writer fails.
    pub fn read(
        self,
        path: &str,
        tell: impl FnOnce(wire::ContainerPathStat) + Send,
        writer: impl Write + Send,
    ) -> Result<(), Error> {
        let (name, inside) = (self.name, InsidePath::new(Path::new(path)));
        self.view.enter(|root| {
            let stat = root.stat(&inside);
            tell(described(stat.map_err(|error| worded(&name, path, error))?));
            match root.archive(&inside, writer) {
                Err(DiffError::Path(error)) => Err(worded(&name, path, error)),
                written => written
                    .map_err(|error| Error::internal(format!("cannot archive {path}"), error)),
            }
        })?;
        self.inner.tell(&self.container, "archive-path");
        Ok(())
    }

    /// Unpacks an archive into the directory at a path.
    ///
    /// # Errors
    /// There is no such directory, it is read-only, or the archive is refused; what came before in
    /// the archive stays.
    pub fn write(
        self,
        query: &wire::ArchivePutQuery,
        reader: impl Read + Send,
    ) -> Result<(), Error> {
        let (name, path) = (self.name, query.path.as_str());
        let inside = InsidePath::new(Path::new(path));
        let user = &self.container.definition.config.user;
        let limits = self.inner.store.limits();
        self.view.enter(|root| {
            let directory = root
                .directory(&inside)
                .map_err(|error| match error.source.kind() {
                    std::io::ErrorKind::NotADirectory => {
                        Error::invalid("extraction point is not a directory")
                    }
                    _ => worded(&name, path, error),
                })?;
            writable(root, directory.as_fd())?;
            failpoint::hit("engine.archive.opened");
            let owners = match query.copy_uid_gid && !user.is_empty() {
                false => Owners::AsGiven,
                true => {
                    let found = user::look_up(root, user, &[])?.user;
                    Owners::One {
                        uid: found.uid,
                        gid: found.gid,
                    }
                }
            };
            let options = ExtractOptions {
                keep_kinds: query.no_overwrite_dir_non_dir,
                owners,
                limits,
                ..ExtractOptions::default()
            };
            root.extract(&inside, reader, &options)
                .map_err(|error| refused(&error))
        })?;
        failpoint::hit("engine.archive.unpacked");
        self.inner.tell(&self.container, "extract-to-dir");
        Ok(())
    }

    /// Writes the container's whole tree as an archive.
    ///
    /// # Errors
    /// The writer fails.
    pub fn export(self, writer: impl Write + Send) -> Result<(), Error> {
        let name = self.name;
        self.inner.tell(&self.container, "export");
        self.view.enter(|root| {
            root.export(writer)
                .map_err(|error| Error::internal(format!("cannot export {name}"), error))
        })
    }
}

/// Refuses a directory on a read-only mount, in Docker's words.
fn writable(root: &RootedDir, directory: BorrowedFd<'_>) -> Result<(), Error> {
    let failed = |error: rustix::io::Errno| Error::internal("cannot look at the directory", error);
    let flags = rustix::fs::fstatvfs(directory).map_err(failed)?.f_flag;
    if !flags.contains(StatVfsMountFlags::RDONLY) {
        return Ok(());
    }
    let mount = |fd| {
        let stat = rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID);
        stat.map(|stat| stat.stx_mnt_id).map_err(failed)
    };
    let text = match mount(directory)? == mount(root.as_fd())? {
        true => "container rootfs is marked read-only",
        false => "mounted volume is marked read-only",
    };
    Err(Error::new(ErrorKind::Forbidden, text))
}

/// Words what the kernel says of a path.
fn worded(container: &str, path: &str, error: PathError) -> Error {
    match error.source.kind() {
        std::io::ErrorKind::NotFound => Error::not_found(format!(
            "Could not find the file {path} in container {container}"
        )),
        std::io::ErrorKind::NotADirectory => {
            Error::invalid(format!("lstat {path}: not a directory"))
        }
        _ => Error::internal("cannot open the container's files", error),
    }
}

/// What is wrong with an archive is the sender's; what fails on the disk is not.
fn refused(error: &ExtractError) -> Error {
    match error {
        ExtractError::Path(_) => Error::new(
            ErrorKind::Internal,
            format!("cannot extract the archive: {}", crate::error::chain(error)),
        ),
        ExtractError::ReplacesDirectory { .. } | ExtractError::ReplacedByDirectory { .. } => {
            Error::invalid(error.to_string())
        }
        _ => Error::invalid(format!(
            "cannot extract the archive: {}",
            crate::error::chain(error)
        )),
    }
}

fn described(stat: PathStat) -> wire::ContainerPathStat {
    let (seconds, nanoseconds) = stat.modified;
    let time = i32::try_from(nanoseconds)
        .ok()
        .and_then(|nanoseconds| Timestamp::new(seconds, nanoseconds).ok());
    wire::ContainerPathStat {
        name: stat.name.to_string_lossy().into_owned(),
        size: stat.size,
        mode: go_mode(stat.mode),
        mtime: time.map_or_else(|| wire::ZERO_TIME.to_owned(), |time| time.to_string()),
        link_target: stat
            .link_target
            .map(|target| target.display().to_string())
            .unwrap_or_default(),
    }
}

/// The kernel's mode as Go writes it.
fn go_mode(mode: u32) -> u32 {
    let kind = match FileType::from_raw_mode(mode) {
        FileType::Directory => go_mode::DIRECTORY,
        FileType::Symlink => go_mode::SYMLINK,
        FileType::BlockDevice => go_mode::DEVICE,
        FileType::CharacterDevice => go_mode::DEVICE | go_mode::CHARACTER_DEVICE,
        FileType::Fifo => go_mode::NAMED_PIPE,
        FileType::Socket => go_mode::SOCKET,
        _ => 0,
    };
    let special = [
        (0o4000, go_mode::SETUID),
        (0o2000, go_mode::SETGID),
        (0o1000, go_mode::STICKY),
    ];
    let special = special.iter().filter(|(bit, _)| mode & bit != 0);
    special.fold(kind | mode & 0o777, |all, (_, bit)| all | bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_gos() {
        // What dockerd answers for these.
        for (mode, expected) in [
            (0o100_644, 420),
            (0o040_755, 2_147_484_141),
            (0o120_777, 134_218_239),
            (0o010_644, 33_554_852),
            (0o041_777, 2_148_532_735),
            (0o104_755, 8_389_101),
            (0o020_666, 69_206_454),
        ] {
            assert_eq!(go_mode(mode), expected, "{mode:o}");
        }
    }
}
