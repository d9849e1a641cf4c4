//! The container's view of the cgroup hierarchies (a mount of type `cgroup`).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode};
use rustix::mount::{MountAttrFlags, MountPropagationFlags, OpenTreeFlags};
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
    /// Mounts the hierarchies: the unified one alone, or the v1 ones in a tmpfs. In a cgroup
    /// namespace these are new mounts, whose root is the container's group; without one, the group's
    /// directories are bound.
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
                    place(tmpfs.as_fd(), Path::new(name), mount.as_fd())?;
                    links(tmpfs.as_fd(), name, &hierarchy.controllers)?;
                }
                // Beside v1 the container need not have a group in the unified hierarchy.
                let unified = unified
                    .as_ref()
                    .filter(|_| self.group_directory("").is_some());
                if let Some(unified) = unified {
                    let mount = self.hierarchy(plan, "cgroup2", &Vec::new(), "")?;
                    let name = unified.mount.file_name().unwrap_or_default();
                    place(tmpfs.as_fd(), Path::new(name), mount.as_fd())?;
                }
                if plan
                    .attributes
                    .set
                    .contains(MountAttrFlags::MOUNT_ATTR_RDONLY)
                {
                    self.read_only(tmpfs.as_fd(), "make the cgroup tmpfs read-only")?;
                }
                Ok(())
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
        if self.namespaces.has(NamespaceKind::Cgroup) {
            return make_file_system(kind, kind, data, plan.attributes.set)
                .map_err(|failed| mount_error(plan, &failed));
        }
        let Some(directory) = self.group_directory(controller) else {
            return Err(ProcessError::Refused(format!(
                "the cgroup has no {kind} {controller}"
            )));
        };
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree = rustix::mount::open_tree(CWD, &directory, flags)
            .map_err(step("open the container's cgroup"))?;
        let change = AttributeChange {
            set: plan.attributes.set,
            propagation: Some(MountPropagationFlags::PRIVATE),
            ..AttributeChange::default()
        };
        setup(
            "set the attributes of the cgroup mount",
            set_attributes(tree.as_fd(), &change),
        )?;
        Ok(tree)
    }

    fn group_directory(&self, controller: &str) -> Option<PathBuf> {
        let own = self.cgroup.dirs().find(|(name, _)| *name == controller);
        own.map(|(_, path)| path.to_owned())
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

fn place(tmpfs: BorrowedFd<'_>, name: &Path, mount: BorrowedFd<'_>) -> Result<(), ProcessError> {
    let make = Make::Directory(Mode::from_raw_mode(0o755));
    let what = format!("mount the cgroup hierarchy {}", name.display());
    let target = setup(&what, rooted::open_or_make(tmpfs, name, make))?;
    attach(mount, target.as_fd()).map_err(step(&what))
}

/// Controllers that share a hierarchy are found under each name.
fn links(
    tmpfs: BorrowedFd<'_>,
    directory: &std::ffi::OsStr,
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
