//! What an engine has on the machine, found by its own names.
//!
//! Taken when an engine has ended and its containers were removed, it must be empty; whatever is
//! in it would pile up on a user's machine.

use std::path::Path;
use std::process::Command;

use crate::needs::program;

/// The names an engine's belongings are known by.
#[derive(Debug, Clone)]
pub struct Marks {
    /// The directory that holds its data root, exec root and socket.
    pub directory: String,
    /// Its bridge.
    pub bridge: String,
    /// The last component of its cgroup parent.
    pub cgroup: String,
    /// Ids of containers it had.
    pub containers: Vec<String>,
}

/// Lists what is left, one line each.
#[must_use]
pub fn leftovers(marks: &Marks) -> Vec<String> {
    let mut found = mounts(marks);
    found.extend(
        processes(marks)
            .into_iter()
            .map(|(pid, line)| format!("process {pid}: {line}")),
    );
    found.extend(cgroups(marks));
    found.extend(ports(marks));
    found.extend(rules(marks));
    found.extend(directories(marks));
    found
}

fn mounts(marks: &Marks) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let ours = |line: &&str| line.contains(&marks.directory);
    table
        .lines()
        .filter(ours)
        .map(|line| format!("mount: {line}"))
        .collect()
}

/// Processes that were started with the engine's directory or for one of its containers.
#[must_use]
pub fn processes(marks: &Marks) -> Vec<(i32, String)> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| *pid != own)
        .filter_map(|pid| {
            let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
            let line = read("cmdline")?.replace('\0', " ");
            let groups = read("cgroup")?;
            let by_group = groups.lines().any(|group| {
                group.contains(&format!("/{}/", marks.cgroup))
                    || marks
                        .containers
                        .iter()
                        .any(|id| group.contains(id.as_str()))
            });
            let ours = by_group
                || line.contains(&marks.directory)
                || marks.containers.iter().any(|id| line.contains(id.as_str()))
                || holds_file_in(pid, &marks.directory);
            ours.then(|| {
                (
                    pid,
                    if line.is_empty() {
                        read("comm").unwrap_or(line)
                    } else {
                        line
                    },
                )
            })
        })
        .collect()
}

/// A shim says nothing on its command line, but its log is under the engine's directory.
fn holds_file_in(pid: i32, directory: &str) -> bool {
    let is_shim = std::fs::read_to_string(format!("/proc/{pid}/comm"))
        .is_ok_and(|comm| comm.trim_end().starts_with("wharf"));
    is_shim
        && std::fs::read_dir(format!("/proc/{pid}/fd")).is_ok_and(|fds| {
            fds.flatten().any(|fd| {
                std::fs::read_link(fd.path())
                    .is_ok_and(|target| target.to_string_lossy().contains(directory))
            })
        })
}

fn cgroups(marks: &Marks) -> Vec<String> {
    let mut found = Vec::new();
    let Ok(hierarchies) = std::fs::read_dir("/sys/fs/cgroup") else {
        return found;
    };
    let mut queue: Vec<_> = hierarchies
        .flatten()
        .map(|entry| (entry.path(), 0))
        .collect();
    while let Some((path, depth)) = queue.pop() {
        let Ok(metadata) = path.symlink_metadata() else {
            continue;
        };
        if !metadata.is_dir() || depth > 5 {
            continue;
        }
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        if marks.containers.iter().any(|id| name.contains(id.as_str())) {
            found.push(format!("cgroup: {}", path.display()));
        }
        let Ok(children) = std::fs::read_dir(&path) else {
            continue;
        };
        queue.extend(children.flatten().map(|entry| (entry.path(), depth + 1)));
    }
    found.sort();
    found
}

/// Interfaces on the bridge; the bridge itself may stay, as docker0 does.
fn ports(marks: &Marks) -> Vec<String> {
    let directory = format!("/sys/class/net/{}/brif", marks.bridge);
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    entries
        .flatten()
        .map(|entry| format!("bridge port: {:?}", entry.file_name()))
        .collect()
}

/// Elements in the maps and sets of the engine's table that speak of containers.
fn rules(marks: &Marks) -> Vec<String> {
    let Some(nft) = program("nft") else {
        return Vec::new();
    };
    let listed = Command::new(nft).args(["-j", "list", "ruleset"]).output();
    let Ok(listed) = listed else {
        return Vec::new();
    };
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(&listed.stdout) else {
        return Vec::new();
    };
    let table = format!("wharf-{}", marks.bridge);
    let objects = json["nftables"].as_array().cloned().unwrap_or_default();
    objects
        .iter()
        .filter_map(|object| object.get("map").or_else(|| object.get("set")))
        .filter(|map| map["table"] == table.as_str())
        .filter(|map| {
            map["elem"]
                .as_array()
                .is_some_and(|elements| !elements.is_empty())
        })
        .map(|map| format!("nft elements: {map}"))
        .collect()
}

fn directories(marks: &Marks) -> Vec<String> {
    let under = |path: &str| Path::new(&marks.directory).join(path);
    [
        "data/containers",
        "data/store/snapshots",
        "data/store/tmp",
        "data/store/trash",
        "exec/shims",
    ]
    .iter()
    .flat_map(|path| {
        std::fs::read_dir(under(path))
            .into_iter()
            .flatten()
            .flatten()
    })
    .map(|entry| format!("directory entry: {}", entry.path().display()))
    .collect()
}
