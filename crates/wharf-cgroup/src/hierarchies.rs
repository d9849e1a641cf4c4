//! Which control group hierarchies this machine has mounted, and where.
//!
//! The mount table of this process tells; nothing is assumed about `/sys/fs/cgroup`. The outcome is
//! kept by the caller: an engine reads it once.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::plan::Target;

/// The mounted hierarchies, read once and kept by the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hierarchies {
    /// One hierarchy a controller (or a few co-mounted), and sometimes a unified one beside them.
    V1 {
        /// The v1 hierarchies, in mount order.
        legacy: Vec<Hierarchy>,
        /// The unified hierarchy, if there is one.
        unified: Option<Hierarchy>,
        /// Whether swap is accounted (`memory.memsw.*` exist).
        swap: bool,
    },
    /// One hierarchy with all controllers.
    V2 {
        /// Its mount point and the controllers its root offers.
        unified: Hierarchy,
    },
}

/// A mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Mount point.
    pub mount: PathBuf,
    /// Its controllers; `name=systemd` for a named one.
    pub controllers: Vec<String>,
}

/// Why the hierarchies could not be found.
#[derive(Debug, thiserror::Error)]
pub enum DetectError {
    /// A file of the kernel could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// No hierarchy is mounted.
    #[error("no control group hierarchy is mounted")]
    NotMounted,
}

impl Hierarchies {
    /// Finds the hierarchies in this process's mount namespace.
    pub fn detect() -> Result<Self, DetectError> {
        let table = read(Path::new("/proc/self/mountinfo"))?;
        let Mounts { legacy, unified } = Mounts::parse(&table);
        let unified = unified
            .map(|mount| {
                let controllers = read(&mount.join("cgroup.controllers"))?
                    .split_ascii_whitespace()
                    .map(str::to_owned)
                    .collect();
                Ok(Hierarchy { mount, controllers })
            })
            .transpose()?;
        // systemd finds a service's processes in its own hierarchy; without systemd nobody looks
        // there, and joining it would cost each start.
        let systemd = Path::new("/run/systemd/system").exists();
        let legacy: Vec<Hierarchy> = legacy
            .into_iter()
            .filter(|hierarchy| !hierarchy.is_named() || systemd && hierarchy.has("name=systemd"))
            .collect();
        match unified {
            Some(unified) if legacy.is_empty() => Ok(Self::V2 { unified }),
            None if legacy.is_empty() => Err(DetectError::NotMounted),
            unified => {
                let swap = legacy
                    .iter()
                    .any(|hierarchy| hierarchy.mount.join("memory.memsw.limit_in_bytes").exists());
                Ok(Self::V1 {
                    legacy,
                    unified,
                    swap,
                })
            }
        }
    }

    /// Whether the machine is on v2 alone.
    #[must_use]
    pub fn is_v2(&self) -> bool {
        matches!(self, Self::V2 { .. })
    }

    /// What a [`crate::plan()`] of a new group has to know about this machine.
    #[must_use]
    pub fn target(&self) -> Target {
        match self {
            Self::V1 {
                legacy,
                unified,
                swap,
            } => Target {
                v2: false,
                controllers: legacy
                    .iter()
                    .flat_map(|hierarchy| hierarchy.controllers.iter().cloned())
                    .collect(),
                unified: unified
                    .iter()
                    .flat_map(|hierarchy| hierarchy.controllers.iter().cloned())
                    .collect(),
                swap: *swap,
                current: None,
            },
            Self::V2 { unified } => Target {
                v2: true,
                controllers: unified.controllers.clone(),
                unified: unified.controllers.clone(),
                swap: true,
                current: None,
            },
        }
    }

    /// The directory of the group `path` (from the hierarchies' mount points) for one controller;
    /// on v2 the same for all.
    #[must_use]
    pub fn dir(&self, controller: &str, path: &Path) -> Option<PathBuf> {
        let hierarchy = match self {
            Self::V1 { legacy, .. } => legacy.iter().find(|one| one.has(controller))?,
            Self::V2 { unified } => unified,
        };
        Some(hierarchy.dir(path))
    }
}

impl Hierarchy {
    /// Whether `controller` is in this hierarchy.
    #[must_use]
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|one| one == controller)
    }

    /// Whether it has no controllers but a name.
    fn is_named(&self) -> bool {
        self.controllers.iter().all(|one| one.starts_with("name="))
    }

    /// The directory of a group; components that would leave the hierarchy are dropped.
    pub(crate) fn dir(&self, path: &Path) -> PathBuf {
        let mut dir = self.mount.clone();
        dir.extend(path.components().filter_map(|component| match component {
            std::path::Component::Normal(name) => Some(name),
            _ => None,
        }));
        dir
    }
}

fn read(path: &Path) -> Result<String, DetectError> {
    fs::read_to_string(path).map_err(|source| DetectError::Read {
        path: path.to_owned(),
        source,
    })
}

/// What the mount table says.
#[derive(Debug, PartialEq, Eq)]
struct Mounts {
    legacy: Vec<Hierarchy>,
    unified: Option<PathBuf>,
}

impl Mounts {
    /// Reads `/proc/self/mountinfo` (proc_pid_mountinfo(5)). Of a hierarchy that is mounted more
    /// than once, as bind mounts of a part of it are, the first mount counts.
    fn parse(table: &str) -> Self {
        let mut mounts = Self {
            legacy: Vec::new(),
            unified: None,
        };
        for line in table.lines() {
            let Some((fixed, rest)) = line.split_once(" - ") else {
                continue;
            };
            let (Some(point), Some(kind)) = (fixed.split(' ').nth(4), rest.split(' ').next())
            else {
                continue;
            };
            match kind {
                "cgroup2" => {
                    mounts.unified.get_or_insert_with(|| unescape(point));
                }
                "cgroup" => {
                    let options = rest.split(' ').nth(2).unwrap_or("");
                    let controllers = controllers(options);
                    let known = mounts
                        .legacy
                        .iter()
                        .any(|other| other.controllers == controllers);
                    if !controllers.is_empty() && !known {
                        mounts.legacy.push(Hierarchy {
                            mount: unescape(point),
                            controllers,
                        });
                    }
                }
                _ => {}
            }
        }
        mounts
    }
}

/// Controllers among the options of a v1 super block.
fn controllers(options: &str) -> Vec<String> {
    const NOT_CONTROLLERS: &[&str] = &[
        "rw",
        "ro",
        "xattr",
        "clone_children",
        "noprefix",
        "none",
        "cpuset_v2_mode",
        "favordynmods",
        "seclabel",
    ];
    options
        .split(',')
        .filter(|option| !NOT_CONTROLLERS.contains(option))
        .filter(|option| !option.contains('=') || option.starts_with("name="))
        .map(str::to_owned)
        .collect()
}

/// Mount points have space, tab, newline and backslash as octal escapes.
fn unescape(field: &str) -> PathBuf {
    if !field.contains('\\') {
        return PathBuf::from(field);
    }
    PathBuf::from(
        field
            .replace("\\040", " ")
            .replace("\\011", "\t")
            .replace("\\012", "\n")
            .replace("\\134", "\\"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hierarchy(mount: &str, controllers: &[&str]) -> Hierarchy {
        Hierarchy {
            mount: mount.into(),
            controllers: controllers.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    #[test]
    fn mounts_of_a_hybrid_machine() {
        let table = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 / /sys/fs/cgroup/with\\040space rw,relatime - cgroup cgroup rw,cpuset,clone_children
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory,release_agent=/x
36 31 0:32 /docker /other rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
";
        assert_eq!(
            Mounts::parse(table),
            Mounts {
                legacy: vec![
                    hierarchy("/sys/fs/cgroup/cpu,cpuacct", &["cpu", "cpuacct"]),
                    hierarchy("/sys/fs/cgroup/with space", &["cpuset"]),
                    hierarchy("/sys/fs/cgroup/memory", &["memory"]),
                    hierarchy("/sys/fs/cgroup/systemd", &["name=systemd"]),
                ],
                unified: Some("/sys/fs/cgroup/unified".into()),
            }
        );
    }

    #[test]
    fn mounts_of_a_unified_machine() {
        let table = "26 25 0:23 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\nnonsense\n";
        assert_eq!(
            Mounts::parse(table),
            Mounts {
                legacy: Vec::new(),
                unified: Some("/sys/fs/cgroup".into()),
            }
        );
    }

    #[test]
    fn paths_stay_below_the_mount_point() {
        let memory = hierarchy("/cg", &["memory"]);
        for path in ["/wharf/a", "wharf/a", "/../wharf/./a", "//wharf//a"] {
            assert_eq!(
                memory.dir(Path::new(path)),
                Path::new("/cg/wharf/a"),
                "{path}"
            );
        }
    }
}
