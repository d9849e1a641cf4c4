//! Making a group.
//!
//! On v1 the directories are made one hierarchy after the other; a new cpuset is empty and takes
//! no process until it has processors and memory nodes, which are its parent's. On v2 controllers
//! reach a group when every group above it hands them down, which is done on the way where it was
//! not done before.

use std::fs;
use std::io;
use std::path::Path;

use rustix::io::Errno;

use super::{Cgroup, CgroupError, Directory, Operation, Unified, is, write_value};
use crate::files;
use crate::hierarchies::{Hierarchies, Hierarchy};
use crate::plan::Plan;

impl Cgroup {
    /// Makes the group `path` (from the hierarchies' mount points; relative is the same) and
    /// writes `plan`. A group that exists is taken over when no process is in it, else
    /// [`CgroupError::InUse`]. What was made is removed again when a step fails.
    pub fn create(
        hierarchies: &Hierarchies,
        path: &Path,
        plan: &Plan,
    ) -> Result<Self, CgroupError> {
        let mut group = Self {
            path: path.to_owned(),
            legacy: Vec::new(),
            unified: None,
        };
        let made = group
            .make(hierarchies, plan)
            .and_then(|()| group.apply(plan));
        match made {
            Ok(()) => Ok(group),
            Err(error) => {
                group.remove_if_empty();
                Err(error)
            }
        }
    }

    fn make(&mut self, hierarchies: &Hierarchies, plan: &Plan) -> Result<(), CgroupError> {
        let directory = |hierarchy: &Hierarchy, path: &Path| Directory {
            path: hierarchy.dir(path),
            hierarchy: hierarchy.clone(),
        };
        let unified = match hierarchies {
            Hierarchies::V1 {
                legacy, unified, ..
            } => {
                for hierarchy in legacy {
                    self.legacy.push(directory(hierarchy, &self.path));
                    let directory = &self.legacy[self.legacy.len() - 1];
                    make_directory(directory)?;
                    if hierarchy.has("cpuset") {
                        inherit_cpuset(&directory.path, &hierarchy.mount)?;
                    }
                }
                unified.as_ref().filter(|_| plan.uses_unified())
            }
            Hierarchies::V2 { unified } => Some(unified),
        };
        if let Some(hierarchy) = unified {
            let directory = directory(hierarchy, &self.path);
            make_directory(&directory)?;
            let unified = self.unified.insert(Unified::open(directory)?);
            hand_down(&unified.directory, plan)?;
        }
        Ok(())
    }
}

impl Hierarchies {
    /// Moves the processes of the mounted root group into a group `init` below it, when that root
    /// is a container's or a virtual machine's part of the tree and not the tree's own root, which
    /// alone may hold processes and hand controllers down. Does nothing when this process is
    /// elsewhere: then the root is not ours to arrange. Returns whether it moved any.
    pub fn vacate_root(&self) -> Result<bool, CgroupError> {
        let Self::V2 { unified } = self else {
            return Ok(false);
        };
        let root = &unified.mount;
        // The true root has no type.
        if !root.join("cgroup.type").exists() {
            return Ok(false);
        }
        let own = files::read(Path::new("/proc/self/cgroup"))?;
        if !own.lines().any(|line| line == "0::/") {
            return Ok(false);
        }
        let init = root.join("init");
        match fs::create_dir(&init) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(CgroupError::io(Operation::Create, &init, error));
            }
            _ => {}
        }
        let target = init.join("cgroup.procs");
        for pid in files::read(&root.join("cgroup.procs"))?.lines() {
            match files::write(&target, pid) {
                Err(error) if is(&error, Errno::SRCH) => {}
                result => {
                    result.map_err(|source| super::refused(&target, pid, source))?;
                }
            }
        }
        Ok(true)
    }
}

/// Makes a directory and those above it. One that exists must be empty of processes.
fn make_directory(directory: &Directory) -> Result<(), CgroupError> {
    let path = &directory.path;
    match fs::create_dir(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let mut pids = Vec::new();
            super::collect_pids(path, &mut pids)?;
            if pids.is_empty() {
                Ok(())
            } else {
                Err(CgroupError::InUse { path: path.clone() })
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir_all(path)
            .map_err(|source| CgroupError::io(Operation::Create, path, source)),
        Err(error) => Err(CgroupError::io(Operation::Create, path, error)),
    }
}

/// Gives a new v1 cpuset, and those above it that have none, the processors and memory nodes of
/// its parent. What is above the mount point is not ours and has them.
fn inherit_cpuset(path: &Path, mount: &Path) -> Result<(), CgroupError> {
    const LISTS: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];
    let is_empty = |name: &str| Ok(files::read(&path.join(name))?.trim_end().is_empty());
    if path == mount || !is_empty(LISTS[0])? && !is_empty(LISTS[1])? {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(mount);
    inherit_cpuset(parent, mount)?;
    for name in LISTS {
        let list = files::read(&parent.join(name))?;
        write_value(&path.join(name), list.trim_end())?;
    }
    // From now on the kernel does the same for groups made below, at a tenth of the price.
    write_value(&path.join("cgroup.clone_children"), "1")
}

/// Makes the controllers that `plan` needs available to a v2 group, and all others that can be, so
/// that the group can be measured and updated later.
fn hand_down(directory: &Directory, plan: &Plan) -> Result<(), CgroupError> {
    let Directory { hierarchy, path } = directory;
    let available = controllers(path)?;
    if hierarchy
        .controllers
        .iter()
        .all(|one| available.contains(one))
    {
        return Ok(());
    }
    let mut above: Vec<&Path> = path
        .ancestors()
        .skip(1)
        .take_while(|one| one.starts_with(&hierarchy.mount))
        .collect();
    above.reverse();
    for dir in above {
        let file = dir.join("cgroup.subtree_control");
        let handed = files::read(&file)?;
        let mut wanted = controllers(dir)?;
        wanted.retain(|one| handed.split_ascii_whitespace().all(|other| other != one));
        if !wanted.is_empty() {
            enable(&file, &wanted)?;
        }
    }
    let available = controllers(path)?;
    let missing = plan
        .writes
        .iter()
        .map(|write| write.controller)
        .find(|&needed| hierarchy.has(needed) && available.iter().all(|one| one != needed));
    match missing {
        Some(controller) => Err(CgroupError::NotDelegated {
            controller: controller.to_owned(),
            path: path.clone(),
        }),
        None => Ok(()),
    }
}

/// Hands controllers down, as many as can be: whether one is missed shows in the group itself.
fn enable(file: &Path, wanted: &[String]) -> Result<(), CgroupError> {
    let all: Vec<String> = wanted.iter().map(|one| format!("+{one}")).collect();
    match files::write(file, &all.join(" ")) {
        Ok(()) => Ok(()),
        // The group has processes of its own. Those controllers that could be had nevertheless
        // would turn it into a group of threads, and what is below it useless.
        Err(error) if is(&error, Errno::BUSY) => Ok(()),
        Err(error) if is(&error, Errno::NOENT) => Err(super::refused(file, &all.join(" "), error)),
        // One that cannot be had (processes of realtime priority forbid cpu, for one) must not
        // take the others along.
        Err(_) => {
            for one in &all {
                files::write(file, one).ok();
            }
            Ok(())
        }
    }
}

fn controllers(dir: &Path) -> Result<Vec<String>, CgroupError> {
    let text = files::read(&dir.join("cgroup.controllers"))?;
    Ok(text.split_ascii_whitespace().map(str::to_owned).collect())
}
