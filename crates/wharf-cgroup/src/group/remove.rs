//! Removing a group.
//!
//! The kernel refuses while a process is in it, also one that is on its way out and that its parent
//! has seen die. v2 tells when the last one has left; on v1 the list of tasks is looked at.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;

use super::{Cgroup, CgroupError, Operation, children, freezer, is};
use crate::files;

/// Looks at a v1 group that is not empty yet.
const LOOKS: u32 = 2000;
/// Between two of them.
const PAUSE: Duration = Duration::from_micros(500);

impl Cgroup {
    /// Removes the group and the groups below it from all hierarchies. A process that is just
    /// dying is waited for; one that lives is an error. Gone already is fine. All hierarchies are
    /// tried; the first failure is returned.
    pub fn remove(&self) -> Result<(), CgroupError> {
        let legacy = self
            .legacy
            .iter()
            .map(|one| remove_tree(&one.path, Emptying::Look));
        let unified = self
            .unified_path()
            .map(|path| remove_tree(path, Emptying::Event));
        legacy.chain(unified).fold(Ok(()), Result::and)
    }

    /// After a failed creation: removes what is empty. The failure is what the caller hears of.
    pub(super) fn remove_if_empty(&self) {
        for (_, path) in self.dirs() {
            fs::remove_dir(path).ok();
        }
    }
}

/// How to learn that a group has no process left.
#[derive(Debug, Clone, Copy)]
enum Emptying {
    Look,
    Event,
}

fn remove_tree(dir: &Path, emptying: Emptying) -> Result<(), CgroupError> {
    let failed = |source| CgroupError::io(Operation::Remove, dir, source);
    match fs::remove_dir(dir) {
        Ok(()) => return Ok(()),
        Err(error) if is(&error, Errno::NOENT) => return Ok(()),
        Err(error) if is(&error, Errno::BUSY) => {}
        Err(error) => return Err(failed(error)),
    }
    let below = match children(dir) {
        Err(error) if super::gone(&error) => return Ok(()),
        result => result?,
    };
    for child in below {
        remove_tree(&child, emptying)?;
    }
    wait_until_empty(dir, emptying)?;
    match fs::remove_dir(dir) {
        Err(error) if !is(&error, Errno::NOENT) => Err(failed(error)),
        _ => Ok(()),
    }
}

fn wait_until_empty(dir: &Path, emptying: Emptying) -> Result<(), CgroupError> {
    let busy = || CgroupError::Busy {
        path: dir.to_owned(),
    };
    match emptying {
        Emptying::Event => freezer::wait_for_event(dir, "populated", 0)?
            .then_some(())
            .ok_or_else(busy),
        Emptying::Look => {
            let tasks = dir.join("tasks");
            for _ in 0..LOOKS {
                match files::read(&tasks) {
                    Ok(text) if text.is_empty() => return Ok(()),
                    Ok(_) => std::thread::sleep(PAUSE),
                    Err(error) if super::gone(&error) => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
            Err(busy())
        }
    }
}
