//! The container's file system tree, built in its own mount namespace before the root changes.
//!
//! The root arrives as a detached mount and is attached over `/`, a place every process can reach
//! whatever the permissions on the way to the bundle. From then on everything is done relative to
//! its descriptor: a path of the configuration is resolved by [`wharf_sys::rooted`], and mounts go
//! from descriptor to descriptor by move_mount. No path that the container's tree has a say in is
//! ever handed to mount(2).
//!
//! The host's tree stays visible until the pivot. What is needed of it (`/proc/sys`, `/dev/null`) is
//! therefore the host's own and cannot have been prepared by an image.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode};
use rustix::io::Errno;
use rustix::mount::{
    MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};
use wharf_oci::runtime::{Linux, NamespaceKind, Spec};
use wharf_sys::mount::{AttributeChange, set_attributes};
use wharf_sys::rooted::{self, Make};

use crate::channel::ChildEnd;
use crate::error::ProcessError;
use crate::namespaces::Namespaces;
use crate::prepare::{Prepared, PreparedMount};
use crate::process::{setup, step};
use crate::timeline::Timeline;

mod cgroups;
mod console;
mod copy_up;
mod devices;
mod hide;
mod mounts;

pub(crate) use console::Console;
pub(crate) use devices::DEFAULT as DEFAULT_DEVICES;

/// A root file system being built.
pub(crate) struct Builder<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) linux: &'a Linux,
    pub(crate) prepared: &'a Prepared,
    pub(crate) namespaces: &'a Namespaces,
    pub(crate) cgroup: &'a wharf_cgroup::Cgroup,
    pub(crate) hierarchies: &'a wharf_cgroup::Hierarchies,
}

impl Builder<'_> {
    /// Attaches the root, and mounts and makes everything in it.
    pub(crate) fn build(&self, cwd: &Path, timeline: &mut Timeline) -> Result<(), ProcessError> {
        // Nothing mounted in here may reach the host, whatever the host's mounts share; the host's
        // later mounts may come in, so that an unmount there is not held up by this copy.
        let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        rustix::mount::mount_change("/", slave).map_err(step("make / a slave mount"))?;
        let root = self.root();
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        rustix::mount::move_mount(root, "", CWD, "/", flags).map_err(step("attach the root"))?;

        timeline.mark("root attached");

        let mut read_only_later = None;
        for mount in &self.prepared.mounts {
            let attached = self.mount(mount)?;
            if is_dev(mount)
                && mount
                    .plan
                    .attributes
                    .set
                    .contains(MountAttrFlags::MOUNT_ATTR_RDONLY)
            {
                read_only_later = attached;
            }
        }
        timeline.mark("mounts made");
        if self.makes_devices() {
            self.devices()?;
        }
        timeline.mark("devices made");
        if let Some(dev) = read_only_later {
            self.read_only(dev.as_fd(), "make /dev read-only")?;
        }
        self.sysctls()?;
        // A working directory that cannot be made is reported by chdir, which knows better why: a link out of
        // the container looks like any other obstacle here.
        match rooted::open_or_make(root, cwd, Make::Directory(Mode::from_raw_mode(0o755))) {
            Ok(_) | Err(_) => {}
        }
        Ok(())
    }

    /// Hides and protects what the configuration names, the root itself at last.
    pub(crate) fn seal(&self) -> Result<(), ProcessError> {
        self.hide()?;
        if self.spec.root.as_ref().is_some_and(|root| root.readonly) {
            self.read_only(self.root(), "make the root read-only")?;
        }
        Ok(())
    }

    /// Makes the root the process's root and takes the host's tree away.
    pub(crate) fn enter(&self, pivot: bool) -> Result<(), ProcessError> {
        rustix::process::fchdir(self.root()).map_err(step("enter the root"))?;
        if pivot {
            // The old root ends up on top of the new one, and is what "." then names to umount2;
            // no directory is needed to put it in.
            rustix::process::pivot_root(".", ".").map_err(step("pivot_root"))?;
            rustix::mount::unmount(".", UnmountFlags::DETACH)
                .map_err(step("detach the old root"))?;
        } else {
            rustix::process::chroot(".").map_err(step("chroot"))?;
        }
        rustix::process::chdir("/").map_err(step("enter the new root"))?;
        if let Some((propagation, recursive)) = self.prepared.root_propagation
            && propagation != MountPropagationFlags::DOWNSTREAM
            && propagation != MountPropagationFlags::PRIVATE
        {
            let propagation = Some(propagation);
            let change = AttributeChange {
                propagation,
                recursive,
                ..AttributeChange::default()
            };
            setup(
                "set the root's propagation",
                set_attributes(self.root(), &change),
            )?;
        }
        Ok(())
    }

    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.prepared.root.as_fd()
    }

    /// Makes the pseudo-terminal's devices and hands its master to the caller.
    pub(crate) fn console(&self, caller: &ChildEnd) -> Result<Console, ProcessError> {
        let process = self.spec.process.as_ref();
        let size = process.and_then(|process| process.console_size);
        let console = Console::open(self.root(), size)?;
        let target = rooted::open_or_make(
            self.root(),
            Path::new("/dev/console"),
            Make::File(Mode::from_raw_mode(0o666)),
        );
        let target = setup("make /dev/console", target)?;
        let tree =
            clone_tree(console.peer(), false).map_err(step("clone the terminal's device"))?;
        attach(tree.as_fd(), target.as_fd()).map_err(step("mount /dev/console"))?;
        setup("hand over the terminal", caller.terminal(console.master()))?;
        Ok(console)
    }

    fn read_only(&self, mount: BorrowedFd<'_>, what: &str) -> Result<(), ProcessError> {
        let set = MountAttrFlags::MOUNT_ATTR_RDONLY;
        setup(
            what,
            set_attributes(
                mount,
                &AttributeChange {
                    set,
                    ..AttributeChange::default()
                },
            ),
        )
    }

    /// Devices are the runtime's, unless the configuration brings a whole `/dev` of the host.
    fn makes_devices(&self) -> bool {
        !self.prepared.mounts.iter().any(|mount| {
            is_dev(mount) && matches!(mount.plan.kind, crate::mounts::MountKind::Bind { .. })
        })
    }

    /// Writes kernel parameters. The host's `/proc/sys` shows those of the namespaces of whoever opens
    /// them, so no procfs of the container is involved (CVE-2025-52881).
    fn sysctls(&self) -> Result<(), ProcessError> {
        if self.linux.sysctl.is_empty() {
            return Ok(());
        }
        for (name, value) in &self.linux.sysctl {
            self.check_sysctl(name)?;
            let mut path = PathBuf::from("/proc/sys");
            path.extend(components(name));
            let what = format!("write sysctl key {name}");
            let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC;
            let file = rustix::fs::open(&path, flags, Mode::empty()).map_err(step(&what))?;
            let statfs = rustix::fs::fstatfs(&file).map_err(step(&what))?;
            if statfs.f_type != rustix::fs::PROC_SUPER_MAGIC {
                return Err(ProcessError::Refused(format!(
                    "{} is not on procfs",
                    path.display()
                )));
            }
            rustix::io::write(&file, value.as_bytes()).map_err(step(&what))?;
        }
        Ok(())
    }

    /// Refuses a parameter that would change the host.
    fn check_sysctl(&self, name: &str) -> Result<(), ProcessError> {
        const IPC: [&str; 9] = [
            "kernel.msgmax",
            "kernel.msgmnb",
            "kernel.msgmni",
            "kernel.sem",
            "kernel.shmall",
            "kernel.shmmax",
            "kernel.shmmni",
            "kernel.shm_rmid_forced",
            "fs.mqueue",
        ];
        let dotted: String = components(name).collect::<Vec<_>>().join(".");
        let kind = if IPC.iter().any(|ipc| {
            dotted == *ipc
                || dotted
                    .strip_prefix(*ipc)
                    .is_some_and(|rest| rest.starts_with('.'))
        }) {
            NamespaceKind::Ipc
        } else if dotted.starts_with("net.") {
            NamespaceKind::Network
        } else if dotted == "kernel.domainname" || dotted == "kernel.hostname" {
            NamespaceKind::Uts
        } else {
            return Err(ProcessError::Refused(format!(
                "sysctl {name:?} is not in a separate kernel namespace"
            )));
        };
        if components(name).any(|part| part.is_empty() || part == "..") {
            return Err(ProcessError::Refused(format!("sysctl {name:?} is no name")));
        }
        if self.namespaces.has(kind) {
            return Ok(());
        }
        Err(ProcessError::Refused(format!(
            "sysctl {name:?} not allowed in the host's {} namespace",
            crate::namespaces::name(kind)
        )))
    }
}

/// The parts of a parameter's name: whichever of `.` and `/` comes first separates them (sysctl(8)).
fn components(name: &str) -> impl Iterator<Item = &str> {
    let separator = if name.find('/').unwrap_or(usize::MAX) < name.find('.').unwrap_or(usize::MAX) {
        '/'
    } else {
        '.'
    };
    name.split(separator)
}

fn is_dev(mount: &PreparedMount) -> bool {
    mount
        .plan
        .destination
        .components()
        .eq(Path::new("/dev").components())
}

/// A detached copy of the mount at `fd`, which must be in this mount namespace.
fn clone_tree(fd: BorrowedFd<'_>, recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(fd, "", flags)
}

/// Attaches a detached mount.
fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, "", target, "", flags)
}
