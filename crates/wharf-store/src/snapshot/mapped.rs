//! Roots of containers with a user namespace, by id-mapped mounts.
//!
//! Overlay itself cannot be id-mapped, what it is stacked from can (Linux 5.19): each layer and the
//! snapshot's own directory are cloned off as mounts with the container's mapping, and the overlay
//! is made of the clones. On the disk owners stay those that the container sees. Hence layers are
//! shared between all mappings and none, nothing is ever chowned, and `diff`, `commit`, `export` and
//! a next start with another mapping need to know nothing of it. Rejected: chown of a copy (what
//! other engines do: seconds and a second copy for each mapping), and a writable directory that is not
//! mapped (its owners would be those of one mapping for ever).
//!
//! Overlay works in its directories as whoever mounts it, the host's root, which a container's mapping
//! has no id for; the kernel then falls back to a read-only mount without a word. The mapping for
//! the mounts therefore gives the host's root an id that no file of an image has. It is not in the
//! container's own mapping, so there such a file is nobody's.
//!
//! Before Linux 6.15 overlay refuses to be stacked from detached mounts. There they are attached in
//! the store's private directory for the moment of the mount.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, UnmountFlags};
use wharf_sys::mount::{AttributeChange, set_attributes};

use super::overlay::{Overlay, PrivateMount, Upper};
use super::{FS, MountOptions, Parts, WORK};
use crate::{SnapshotError, files};

/// Returns a detached mount of a directory with mapped owners.
pub(super) fn clone(
    directory: &Path,
    owners: BorrowedFd<'_>,
    readonly: bool,
) -> Result<OwnedFd, SnapshotError> {
    let mount = super::clone(directory, readonly)?;
    let change = AttributeChange {
        id_map: Some(owners),
        ..AttributeChange::default()
    };
    set_attributes(mount.as_fd(), &change).map_err(|source| SnapshotError::IdMap {
        operation: "mount_setattr",
        source,
    })?;
    Ok(mount)
}

/// Mounts a snapshot's overlay with mapped owners.
pub(super) fn overlay(
    overlay: &Overlay,
    parts: &Parts,
    options: MountOptions,
    owners: BorrowedFd<'_>,
) -> Result<OwnedFd, SnapshotError> {
    let layers = clones(parts.layers.iter(), owners)?;
    // Overlay wants both of the writable directories on one mount.
    let directory = parts.fs.parent().unwrap_or(&parts.fs);
    let own = clone(directory, owners, false)?;
    attached_if_need_be(overlay, layers.iter().chain([&own]), || {
        let own = files::proc_path(own.as_fd());
        let upper = Upper {
            fs: &own.join(FS),
            work: &own.join(WORK),
            volatile: options.volatile,
        };
        overlay.mount(&paths(&layers), Some(&upper), options.readonly)
    })
}

/// Returns a read-only view of a snapshot's overlay with mapped owners.
pub(super) fn view(
    overlay: &Overlay,
    parts: &Parts,
    owners: BorrowedFd<'_>,
) -> Result<OwnedFd, SnapshotError> {
    let layers = clones([&parts.fs].into_iter().chain(&parts.layers), owners)?;
    attached_if_need_be(overlay, layers.iter(), || {
        overlay.mount(&paths(&layers), None, true)
    })
}

fn clones<'a>(
    directories: impl Iterator<Item = &'a PathBuf>,
    owners: BorrowedFd<'_>,
) -> Result<Vec<OwnedFd>, SnapshotError> {
    directories
        .map(|directory| clone(directory, owners, true))
        .collect()
}

fn paths(mounts: &[OwnedFd]) -> Vec<PathBuf> {
    let path = |mount: &OwnedFd| files::proc_path(mount.as_fd());
    mounts.iter().map(path).collect()
}

/// Stacks an overlay from mounts; where the kernel refuses that, they are attached meanwhile.
fn attached_if_need_be<'a>(
    overlay: &Overlay,
    mounts: impl Iterator<Item = &'a OwnedFd>,
    stack: impl Fn() -> Result<OwnedFd, SnapshotError>,
) -> Result<OwnedFd, SnapshotError> {
    match stack() {
        Err(SnapshotError::Mount { source, .. }) if is_invalid(&source) => {
            let attached = attach(overlay, mounts)?;
            let stacked = stack();
            detach(attached)?;
            match stacked {
                Err(SnapshotError::Mount { operation, source }) if is_invalid(&source) => {
                    Err(SnapshotError::IdMap { operation, source })
                }
                stacked => stacked,
            }
        }
        stacked => stacked,
    }
}

fn is_invalid(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(Errno::INVAL.raw_os_error())
}

/// Attaches mounts where nobody looks.
fn attach<'a>(
    overlay: &Overlay,
    mounts: impl Iterator<Item = &'a OwnedFd>,
) -> Result<Vec<PrivateMount>, SnapshotError> {
    let mut attached = Vec::new();
    for mount in mounts {
        let private = PrivateMount::new(&overlay.private)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        match rustix::mount::move_mount(mount, "", CWD, &private.place, flags) {
            Ok(()) => attached.push(private),
            Err(errno) => {
                detach(attached)?;
                return Err(SnapshotError::Mount {
                    operation: "move_mount",
                    source: errno.into(),
                });
            }
        }
    }
    Ok(attached)
}

fn detach(attached: Vec<PrivateMount>) -> Result<(), SnapshotError> {
    let mut result = Ok(());
    for private in attached {
        let detached = rustix::mount::unmount(&private.place, UnmountFlags::DETACH);
        result = result.and(detached.map_err(|errno| SnapshotError::Mount {
            operation: "umount",
            source: errno.into(),
        }));
    }
    result
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, chown};
    use std::process::{Child, Command, Stdio};

    use super::super::overlay::Api;
    use super::*;

    const OUTSIDE: u32 = 700_000;
    const ROOT_IN_MOUNTS: u32 = u32::MAX - 1;

    /// A process in a user namespace with a mapping.
    struct Namespace(Child);

    impl Namespace {
        fn new() -> (Self, OwnedFd) {
            let child = Command::new("unshare")
                .args(["--user", "sh", "-c", "echo; exec sleep 60"])
                .stdout(Stdio::piped())
                .spawn()
                .expect("unshare");
            let mut namespace = Self(child);
            let out = namespace.0.stdout.as_mut().expect("stdout");
            std::io::Read::read_exact(out, &mut [0]).expect("the namespace is there");
            let directory = PathBuf::from(format!("/proc/{}", namespace.0.id()));
            for file in ["uid_map", "gid_map"] {
                let map = format!("0 {OUTSIDE} 65536\n{ROOT_IN_MOUNTS} 0 1\n");
                fs::write(directory.join(file), map).expect("map");
            }
            let file = fs::File::open(directory.join("ns/user")).expect("open");
            (namespace, file.into())
        }
    }

    impl Drop for Namespace {
        fn drop(&mut self) {
            self.0.kill().expect("kill");
            self.0.wait().expect("wait");
        }
    }

    fn check(api: Api) {
        let (_process, owners) = Namespace::new();
        let directory = tempfile::tempdir().expect("tempdir");
        let root = directory.path();
        let overlay = Overlay {
            api,
            private: root.to_owned(),
        };
        let layers = ["upper", "lower"].map(|name| root.join(name));
        let own = root.join("own");
        for made in layers.iter().chain([&own.join(FS), &own.join(WORK)]) {
            fs::create_dir_all(made).expect("mkdir");
        }
        fs::write(layers[1].join("file"), "x").expect("write");
        chown(layers[1].join("file"), Some(5), Some(6)).expect("chown");
        let parts = Parts {
            layers: layers.to_vec(),
            fs: own.join(FS),
            work: own.join(WORK),
            driver: crate::store::Driver::Overlay,
        };
        let options = MountOptions::default();
        let mount = super::overlay(&overlay, &parts, options, owners.as_fd()).expect("mount");
        let path = files::proc_path(mount.as_fd());
        let owner = |path: &Path| {
            let metadata = fs::symlink_metadata(path).expect("stat");
            (metadata.uid(), metadata.gid())
        };
        let outside = |uid: u32, gid: u32| (OUTSIDE + uid, OUTSIDE + gid);
        assert_eq!(owner(&path.join("file")), outside(5, 6));
        // Copied up, it keeps the owner that the layer gives it.
        fs::write(path.join("file"), "y").expect("write");
        assert_eq!(owner(&path.join("file")), outside(5, 6));
        assert_eq!(owner(&own.join("fs/file")), (5, 6));
        assert_eq!(fs::read(layers[1].join("file")).expect("read"), b"x");
        fs::create_dir(path.join("made")).expect("mkdir");
        let inside = Some(OUTSIDE + 9);
        chown(path.join("made"), inside, inside).expect("chown");
        assert_eq!(owner(&own.join("fs/made")), (9, 9));
        fs::remove_file(path.join("file")).expect("remove");
        assert!(!path.join("file").exists());
        drop(mount);
        // The next mount may have another mapping, or none.
        let upper = Upper {
            fs: &parts.fs,
            work: &parts.work,
            volatile: false,
        };
        let mount = overlay
            .mount(&parts.layers, Some(&upper), false)
            .expect("mount");
        let path = files::proc_path(mount.as_fd());
        assert_eq!(owner(&path.join("made")), (9, 9));
        assert!(!path.join("file").exists());
    }

    #[test]
    fn owners_are_mapped_and_stored_as_seen_inside() {
        check(Api::Layers);
    }

    #[test]
    fn owners_are_mapped_by_older_kernels_too() {
        check(Api::Page);
    }

    #[test]
    fn mounts_attached_for_a_moment_leave_nothing() {
        let (_process, owners) = Namespace::new();
        let directory = tempfile::tempdir().expect("tempdir");
        let root = directory.path();
        let overlay = Overlay {
            api: Api::Layers,
            private: root.to_owned(),
        };
        fs::create_dir(root.join("layer")).expect("mkdir");
        let mount = clone(&root.join("layer"), owners.as_fd(), true).expect("clone");
        let attached = attach(&overlay, std::iter::once(&mount)).expect("attach");
        let place = attached[0].place.clone();
        let mounted = || {
            let table = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
            table.contains(&*place.to_string_lossy())
        };
        assert!(mounted());
        detach(attached).expect("detach");
        assert!(!mounted() && !place.exists());
    }
}
