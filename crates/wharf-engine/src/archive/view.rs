//! A container's files as its processes see them, for the engine's own hands.
//!
//! The root and what the user mounted below it are put together in a mount namespace that lives as
//! long as the one thread that works in it. So nothing is ever mounted where the host or the
//! container could see it, and nothing has to be unmounted, whatever happens to the engine.
//!
//! Of a running container the mounts are copies of its own, taken inside its namespace, so that
//! memory mounts are there and what is read-only stays so; of another one they are made afresh.
//! `/proc`, `/sys` and `/dev` are not among them: they are the kernel's, not the container's.
//!
//! Every place in the container's tree is found by `openat2` inside the root and mounted upon by its
//! descriptor: a path that the container turns into a link leads back into its own tree (attack
//! A2). The thread is a member of the namespace it works in, because the kernel only protects the
//! mount points of the caller's own namespace from being removed.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, StatxAttributes, StatxFlags};
use rustix::mount::{
    MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount_change, move_mount,
    open_tree,
};
use rustix::thread::{LinkNameSpaceType, ThreadNameSpaceType};
use wharf_oci::runtime::{IdMapping, Mount};
use wharf_store::{IdMaps, RootedDir};
use wharf_sys::mount::{AttributeChange, set_attributes};
use wharf_sys::rooted::{self, Make};

use crate::error::Error;

/// Where a container's root comes from.
#[derive(Debug)]
pub(super) enum Root {
    /// A detached mount of its snapshot.
    Detached(OwnedFd),
    /// Its processes' own; a descriptor of the first of them.
    Live(OwnedFd),
}

/// What a view is made of.
#[derive(Debug)]
pub(super) struct View {
    pub(super) root: Root,
    /// What is mounted below the root, each after what it is mounted upon.
    pub(super) mounts: Vec<Mount>,
    /// Whether places for mounts that are not there are made: only in a writable detached root.
    pub(super) makes_places: bool,
    /// Whether a detached root is read-only for what follows.
    pub(super) read_only: bool,
    /// The ids of a container with a user namespace.
    pub(super) ids: Option<Ids>,
}

/// How owners are shown in a container with a user namespace.
#[derive(Debug)]
pub(super) struct Ids {
    pub(super) maps: IdMaps,
    /// A user namespace with the mapping, for mounts that are made afresh.
    pub(super) mounts: Option<OwnedFd>,
}

/// A view could not be put together.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {}", path.display())]
struct ViewError {
    operation: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn failed<E: Into<io::Error>>(operation: &'static str, path: &Path) -> impl FnOnce(E) -> ViewError {
    move |source| ViewError {
        operation,
        path: path.to_owned(),
        source: source.into(),
    }
}

/// A root is one mount, what is below it comes along with what is mounted there.
const CLONE: OpenTreeFlags = OpenTreeFlags::OPEN_TREE_CLONE.union(OpenTreeFlags::OPEN_TREE_CLOEXEC);

impl View {
    /// Does some work with the view, on a thread of its own.
    pub(super) fn enter<T: Send>(
        self,
        work: impl FnOnce(&RootedDir) -> Result<T, Error> + Send,
    ) -> Result<T, Error> {
        let inside = || {
            let maps = self.ids.as_ref().map(|ids| ids.maps.clone());
            let maps = maps.unwrap_or_default();
            let root = self
                .assemble(&maps)
                .map_err(|error| Error::internal("cannot open the container's files", error))?;
            work(&RootedDir::open_mapped(root, maps))
        };
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new()
                .name("files".to_owned())
                .spawn_scoped(scope, inside)
                .map_err(|error| Error::internal("cannot start a thread", error))?;
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Moves this thread into a new mount namespace and puts everything in place there.
    fn assemble(self, ids: &IdMaps) -> Result<OwnedFd, ViewError> {
        let host = Path::new("/");
        wharf_sys::namespace::unshare(ThreadNameSpaceType::MOUNT)
            .map_err(failed("make a mount namespace for", host))?;
        // What the host unmounts goes here too, and nothing from here goes there.
        let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        mount_change(host, slave).map_err(failed("set the propagation of", host))?;
        let root_inside = IdMapping::outside(&ids.uids, 0).zip(IdMapping::outside(&ids.gids, 0));
        if let Some((uid, gid)) = root_inside {
            // What is made here is the container's root's.
            wharf_sys::process::own_files_as(uid, gid)
                .map_err(failed("act as the root of", host))?;
        }
        let (root, below) = match self.root {
            Root::Detached(root) => {
                let mapping = self.ids.as_ref().and_then(|ids| ids.mounts.as_ref());
                (root, fresh(&self.mounts, mapping)?)
            }
            Root::Live(process) => live(process.as_fd(), &self.mounts)?,
        };
        let attach = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(&root, "", rustix::fs::CWD, host, attach)
            .map_err(failed("attach the root to", host))?;
        let mut places = Vec::new();
        for (target, mount) in below {
            if let Some(place) = self
                .makes_places
                .then(|| make_place(root.as_fd(), &target, mount.as_fd()))
                .transpose()?
            {
                drop(place);
            }
            places.push((target, mount));
        }
        if self.read_only {
            let change = AttributeChange {
                set: MountAttrFlags::MOUNT_ATTR_RDONLY,
                ..AttributeChange::default()
            };
            set_attributes(root.as_fd(), &change).map_err(failed("make read-only", host))?;
        }
        for (target, mount) in places {
            let place = match rooted::open(root.as_fd(), &target, OFlags::PATH) {
                // Its container was never started, and the image has no place for it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                place => place.map_err(failed("find", &target))?,
            };
            let onto = attach | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
            move_mount(&mount, "", &place, "", onto).map_err(failed("mount on", &target))?;
        }
        Ok(root)
    }
}

/// Makes what a mount will be mounted upon: a directory for a directory, a file for anything else.
fn make_place(
    root: BorrowedFd<'_>,
    target: &Path,
    mount: BorrowedFd<'_>,
) -> Result<OwnedFd, ViewError> {
    let stat = rustix::fs::fstat(mount).map_err(failed("look at the source of", target))?;
    let make = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Make::Directory(Mode::from_raw_mode(0o755)),
        _ => Make::File(Mode::from_raw_mode(0o644)),
    };
    rooted::open_or_make(root, target, make).map_err(failed("make", target))
}

type Below = Vec<(PathBuf, OwnedFd)>;

/// Makes the bind mounts of a container that does not run. Memory that nobody holds is empty, so
/// of such mounts the place is seen.
fn fresh(mounts: &[Mount], mapping: Option<&OwnedFd>) -> Result<Below, ViewError> {
    let mut below = Vec::new();
    for mount in mounts {
        let (Some("bind"), Some(source)) = (mount.kind.as_deref(), &mount.source) else {
            continue;
        };
        let has = |option: &str| mount.options.iter().any(|given| given == option);
        let mut flags = CLONE;
        flags.set(OpenTreeFlags::AT_RECURSIVE, has("rbind"));
        let clone = match open_tree(rustix::fs::CWD, source, flags) {
            // The start will make it, or refuse.
            Err(rustix::io::Errno::NOENT) => continue,
            clone => clone.map_err(failed("open", source))?,
        };
        let mut change = AttributeChange {
            propagation: Some(MountPropagationFlags::PRIVATE),
            recursive: true,
            ..AttributeChange::default()
        };
        set_attributes(clone.as_fd(), &change).map_err(failed("set the propagation of", source))?;
        if let Some(mapping) = mapping.filter(|_| has("idmap")) {
            let change = AttributeChange {
                id_map: Some(mapping.as_fd()),
                ..AttributeChange::default()
            };
            set_attributes(clone.as_fd(), &change).map_err(failed("map the owners of", source))?;
        }
        if has("ro") {
            change.propagation = None;
            change.set = MountAttrFlags::MOUNT_ATTR_RDONLY;
            change.recursive = has("rro");
            set_attributes(clone.as_fd(), &change).map_err(failed("make read-only", source))?;
        }
        below.push((mount.destination.clone(), clone));
    }
    Ok(below)
}

/// Copies the mounts of a process, inside its own namespace, and comes back.
fn live(process: BorrowedFd<'_>, mounts: &[Mount]) -> Result<(OwnedFd, Below), ViewError> {
    let own = Path::new("/proc/thread-self/ns/mnt");
    let home = File::open(own).map_err(failed("open", own))?;
    rustix::thread::move_into_thread_name_spaces(process, ThreadNameSpaceType::MOUNT).map_err(
        failed("join the mount namespace of", Path::new("the container")),
    )?;
    let copied = copy_joined(mounts);
    rustix::thread::move_into_link_name_space(home.as_fd(), Some(LinkNameSpaceType::Mount))
        .map_err(failed("come back to", own))?;
    copied
}

fn copy_joined(mounts: &[Mount]) -> Result<(OwnedFd, Below), ViewError> {
    let root = Path::new("/");
    let top = rustix::fs::open(
        root,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(failed("open", root))?;
    let clone =
        open_tree(rustix::fs::CWD, root, CLONE).map_err(failed("copy the mount of", root))?;
    let mut below = Vec::new();
    for mount in mounts {
        let target = &mount.destination;
        // It may have been unmounted, or replaced: then it is not seen, or what is there is.
        let Ok(found) = rooted::open(top.as_fd(), target, OFlags::PATH) else {
            continue;
        };
        if !is_mount(found.as_fd()).map_err(failed("look at", target))? {
            continue;
        }
        let flags = CLONE | OpenTreeFlags::AT_EMPTY_PATH | OpenTreeFlags::AT_RECURSIVE;
        let mount = open_tree(&found, "", flags).map_err(failed("copy the mount of", target))?;
        below.push((target.clone(), mount));
    }
    Ok((clone, below))
}

fn is_mount(found: BorrowedFd<'_>) -> io::Result<bool> {
    let stat = rustix::fs::statx(found, "", AtFlags::EMPTY_PATH, StatxFlags::empty())?;
    Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}
