//! The container's view of the cgroup hierarchies (a mount of type `cgroup`).

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode};
use rustix::mount::{MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags};
use wharf_cgroup::Hierarchies;
use wharf_oci::runtime::NamespaceKind;
use wharf_sys::mount::{AttributeChange, set_attributes};
use wharf_sys::rooted::{self, Make};

use super::mounts::{make_file_system, mount_error};
use super::{Builder, attach};
use crate::error::ProcessError;
use crate::mounts::MountPlan;
use crate::process::{setup, step};

type Data = Vec<(String, Option<String>)>;

impl Builder<'_> {
    /// Mounts the hierarchies: the unified one alone, or the v1 ones in a tmpfs. What is seen is the
    /// container's group as the root.
    ///
    /// A new mount in a cgroup namespace and a bind of the group's directory look the same in there, also
    /// in `/proc/self/mountinfo`, but the first makes a superblock for each hierarchy, some 40 µs. In a
    /// user namespace it has to be the first: the mount then belongs to that namespace.
    pub(super) fn mount_cgroups(&self, plan: &MountPlan) -> Result<(), ProcessError> {
        let target = self.cgroup_directory(&plan.destination)?;
        match self.hierarchies {
            Hierarchies::V2 { .. } => {
                let mount = self.hierarchy(plan, "cgroup2", &Vec::new(), "")?;
                attach(mount.as_fd(), target.as_fd()).map_err(step("mount the cgroup hierarchy"))
            }
            Hierarchies::V1 {
                legacy, unified, ..
            } => {
                let data = [("mode".to_owned(), Some("755".to_owned()))];
                let attributes = plan.attributes.set - MountAttrFlags::MOUNT_ATTR_RDONLY;
                let tmpfs = make_file_system("tmpfs", "tmpfs", &data, attributes)
                    .map_err(|failed| mount_error(plan, &failed))?;
                attach(tmpfs.as_fd(), target.as_fd()).map_err(step("mount the cgroup tmpfs"))?;
                for hierarchy in legacy {
                    let data = options(&hierarchy.controllers);
                    let controller = hierarchy.controllers.first().map_or("", String::as_str);
                    let mount = self.hierarchy(plan, "cgroup", &data, controller)?;
                    let name = hierarchy.mount.file_name().unwrap_or_default();
                    place(tmpfs.as_fd(), name, mount.as_fd())?;
                    links(tmpfs.as_fd(), name, &hierarchy.controllers)?;
                }
                // Beside v1 the container need not have a group in the unified hierarchy.
                let unified = unified
                    .as_ref()
                    .filter(|_| self.group_directory("").is_some());
                if let Some(unified) = unified {
                    let mount = self.hierarchy(plan, "cgroup2", &Vec::new(), "")?;
                    let name = unified.mount.file_name().unwrap_or_default();
                    place(tmpfs.as_fd(), name, mount.as_fd())?;
                }
                // All of them at once; nothing of the container runs yet.
                let change = AttributeChange {
                    set: plan.attributes.set,
                    propagation: Some(MountPropagationFlags::PRIVATE),
                    recursive: true,
                    ..AttributeChange::default()
                };
                setup(
                    "set the attributes of the cgroup mounts",
                    set_attributes(tmpfs.as_fd(), &change),
                )
            }
        }
    }

    fn cgroup_directory(&self, path: &Path) -> Result<OwnedFd, ProcessError> {
        let make = Make::Directory(Mode::from_raw_mode(0o755));
        setup(
            "make the cgroup mount point",
            rooted::open_or_make(self.root(), path, make),
        )
    }

    /// A detached mount of one hierarchy.
    fn hierarchy(
        &self,
        plan: &MountPlan,
        kind: &str,
        data: &Data,
        controller: &str,
    ) -> Result<OwnedFd, ProcessError> {
        let is_v2 = matches!(self.hierarchies, Hierarchies::V2 { .. });
        let owned = is_v2 || self.namespaces.has(NamespaceKind::User);
        if owned && self.namespaces.has(NamespaceKind::Cgroup) {
            return make_file_system(kind, kind, data, plan.attributes.set)
                .map_err(|failed| mount_error(plan, &failed));
        }
        let Some(directory) = self.group_directory(controller) else {
            return Err(ProcessError::Refused(format!(
                "the cgroup has no {kind} {controller}"
            )));
        };
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree = rustix::mount::open_tree(CWD, directory, flags)
            .map_err(step("open the container's cgroup"))?;
        if is_v2 {
            let change = AttributeChange {
                set: plan.attributes.set,
                propagation: Some(MountPropagationFlags::PRIVATE),
                ..AttributeChange::default()
            };
            setup(
                "set the attributes of the cgroup mount",
                set_attributes(tree.as_fd(), &change),
            )?;
        }
        Ok(tree)
    }

    fn group_directory(&self, controller: &str) -> Option<&Path> {
        let own = self.cgroup.dirs().find(|(name, _)| *name == controller);
        own.map(|(_, path)| path)
    }
}

/// Options that name a v1 hierarchy.
fn options(controllers: &[String]) -> Data {
    let mut data = Data::new();
    for controller in controllers {
        match controller.strip_prefix("name=") {
            Some(name) => {
                data.push(("none".to_owned(), None));
                data.push(("name".to_owned(), Some(name.to_owned())));
            }
            None => data.push((controller.clone(), None)),
        }
    }
    data
}

/// Attaches a hierarchy in the tmpfs, in which nobody else has made anything.
fn place(tmpfs: BorrowedFd<'_>, name: &OsStr, mount: BorrowedFd<'_>) -> Result<(), ProcessError> {
    let what = || format!("mount the cgroup hierarchy {}", name.display());
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::fs::mkdirat(tmpfs, name, Mode::from_raw_mode(0o755))
        .and_then(|()| rustix::mount::move_mount(mount, "", tmpfs, name, flags))
        .map_err(|errno| step(&what())(errno))
}

/// Controllers that share a hierarchy are found under each name.
fn links(
    tmpfs: BorrowedFd<'_>,
    directory: &OsStr,
    controllers: &[String],
) -> Result<(), ProcessError> {
    for controller in controllers {
        if controllers.len() > 1 && directory != controller.as_str() {
            rustix::fs::symlinkat(directory, tmpfs, controller.as_str())
                .map_err(step("link a cgroup controller"))?;
        }
    }
    Ok(())
}
