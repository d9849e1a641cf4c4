//! Devices of the host that a container gets.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use wharf_oci::runtime::{BlockIoDeviceWeight, BlockIoThrottle, Device, DeviceRule};
use wharf_wire as wire;

use crate::error::Error;

/// A device node of the host.
struct Node {
    kind: &'static str,
    major: i64,
    minor: i64,
    mode: u32,
    uid: u32,
    gid: u32,
}

fn node(path: &str) -> Result<Node, Error> {
    let failed = |error: std::io::Error| {
        let what =
            format!("error gathering device information while adding custom device \"{path}\"");
        match error.kind() {
            // Clients look for these words.
            std::io::ErrorKind::NotFound => {
                Error::invalid(format!("{what}: no such file or directory"))
            }
            _ => Error::internal(what, error),
        }
    };
    let metadata = fs::metadata(path).map_err(failed)?;
    let kind = metadata.file_type();
    let kind = if kind.is_char_device() {
        "c"
    } else if kind.is_block_device() {
        "b"
    } else {
        return Err(not_a_device(path));
    };
    Ok(Node {
        kind,
        major: i64::from(rustix::fs::major(metadata.rdev())),
        minor: i64::from(rustix::fs::minor(metadata.rdev())),
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
    })
}

/// The nodes to make, those of every container excepted.
pub(super) fn nodes(host: &wire::HostConfig) -> Result<Vec<Device>, Error> {
    let device = |path: PathBuf, node: Node| Device {
        kind: node.kind.to_owned(),
        path,
        major: node.major,
        minor: node.minor,
        file_mode: Some(node.mode),
        uid: Some(node.uid),
        gid: Some(node.gid),
    };
    if host.privileged {
        let mut devices = Vec::new();
        collect(Path::new("/dev"), &mut |path| {
            // A node can go while the directory is read.
            if let Ok(found) = node(&path.display().to_string()) {
                devices.push(device(path.to_owned(), found));
            }
        });
        return Ok(devices);
    }
    let mut devices = Vec::new();
    for mapping in host.devices.iter().flatten() {
        let found = mapped(mapping)?.into_iter();
        devices.extend(found.map(|(inside, node)| device(inside, node)));
    }
    Ok(devices)
}

/// A device of the host at a place in a container, and the rule that lets it be used.
pub(crate) fn at(outside: &str, inside: &str) -> Result<(Device, DeviceRule), Error> {
    let node = node(outside)?;
    let rule = DeviceRule {
        allow: true,
        kind: Some(node.kind.to_owned()),
        major: Some(node.major),
        minor: Some(node.minor),
        access: None,
    };
    let device = Device {
        kind: node.kind.to_owned(),
        path: PathBuf::from(inside),
        major: node.major,
        minor: node.minor,
        file_mode: Some(node.mode),
        uid: Some(node.uid),
        gid: Some(node.gid),
    };
    Ok((device, rule))
}

/// The nodes of a mapping, each at its place in the container: one, or all below a directory.
fn mapped(mapping: &wire::DeviceMapping) -> Result<Vec<(PathBuf, Node)>, Error> {
    let outside = Path::new(&mapping.path_on_host);
    let inside = match mapping.path_in_container.as_str() {
        "" => outside,
        given => Path::new(given),
    };
    if !outside.is_dir() {
        return Ok(vec![(inside.to_owned(), node(&mapping.path_on_host)?)]);
    }
    let mut found = Vec::new();
    collect(outside, &mut |path| {
        // A node can go while the directory is read.
        if let (Ok(below), Ok(node)) = (
            path.strip_prefix(outside),
            node(&path.display().to_string()),
        ) {
            found.push((inside.join(below), node));
        }
    });
    if found.is_empty() {
        return Err(not_a_device(&mapping.path_on_host));
    }
    Ok(found)
}

fn not_a_device(path: &str) -> Error {
    Error::invalid(format!(
        "error gathering device information while adding custom device \"{path}\": not a device node"
    ))
}

/// Calls `found` for each device node below /dev, but for what a container has of its own.
fn collect(directory: &Path, found: &mut dyn FnMut(&Path)) {
    const OWN: [&str; 9] = [
        "pts",
        "shm",
        "mqueue",
        "fd",
        "console",
        "ptmx",
        ".lxc",
        ".lxd-mounts",
        ".udev",
    ];
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        let own = OWN.iter().any(|own| entry.file_name() == *own);
        if own {
            continue;
        }
        let path = entry.path();
        if kind.is_dir() {
            collect(&path, found);
        } else if kind.is_char_device() || kind.is_block_device() {
            found(&path);
        }
    }
}

/// Which devices may be used: none but those of every container, which the runtime adds, and the
/// ones asked for.
pub(super) fn rules(host: &wire::HostConfig) -> Result<Vec<DeviceRule>, Error> {
    let all = |allow| DeviceRule {
        allow,
        access: Some("rwm".to_owned()),
        ..Default::default()
    };
    if host.privileged {
        return Ok(vec![all(true)]);
    }
    let mut rules = vec![all(false)];
    for mapping in host.devices.iter().flatten() {
        let access = match mapping.cgroup_permissions.as_str() {
            "" => "rwm",
            given => given,
        };
        for (_, node) in mapped(mapping)? {
            rules.push(DeviceRule {
                allow: true,
                kind: Some(node.kind.to_owned()),
                major: Some(node.major),
                minor: Some(node.minor),
                access: Some(access.to_owned()),
            });
        }
    }
    for text in host.device_cgroup_rules.iter().flatten() {
        rules.push(rule(text)?);
    }
    Ok(rules)
}

/// Reads `c 1:3 rwm`, with `*` for any number.
pub(crate) fn rule(text: &str) -> Result<DeviceRule, Error> {
    let invalid = || Error::invalid(format!("invalid device cgroup rule format: '{text}'"));
    let mut words = text.split(' ');
    let (Some(kind), Some(numbers), Some(access), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(invalid());
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(invalid)?;
    let number = |text: &str| match text {
        "*" => Ok(None),
        digits => digits
            .parse::<u32>()
            .map(|n| Some(i64::from(n)))
            .map_err(|_| invalid()),
    };
    let known = matches!(kind, "a" | "b" | "c")
        && (1..=3).contains(&access.len())
        && access.bytes().all(|b| matches!(b, b'r' | b'w' | b'm'));
    if !known {
        return Err(invalid());
    }
    Ok(DeviceRule {
        allow: true,
        kind: Some(kind.to_owned()),
        major: number(major)?,
        minor: number(minor)?,
        access: Some(access.to_owned()),
    })
}

pub(super) fn throttle(limit: &wire::ThrottleDevice) -> Result<BlockIoThrottle, Error> {
    let node = node(&limit.path)?;
    Ok(BlockIoThrottle {
        major: node.major,
        minor: node.minor,
        rate: limit.rate,
    })
}

pub(super) fn weight(weight: &wire::WeightDevice) -> Result<BlockIoDeviceWeight, Error> {
    let node = node(&weight.path)?;
    Ok(BlockIoDeviceWeight {
        major: node.major,
        minor: node.minor,
        weight: Some(weight.weight),
        leaf_weight: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_device_may_be_used() {
        let host = wire::HostConfig {
            devices: Some(vec![wire::DeviceMapping {
                path_on_host: "/dev/null".to_owned(),
                path_in_container: "/dev/zilch".to_owned(),
                cgroup_permissions: "r".to_owned(),
            }]),
            ..Default::default()
        };
        let nodes = nodes(&host).expect("nodes");
        assert_eq!((nodes[0].major, nodes[0].minor), (1, 3));
        assert_eq!(nodes[0].path, Path::new("/dev/zilch"));
        let rules = rules(&host).expect("rules");
        assert_eq!(rules.len(), 2);
        assert!(!rules[0].allow);
        assert_eq!(rules[1].access.as_deref(), Some("r"));
    }

    #[test]
    fn a_directory_stands_for_its_devices() {
        let mapping = |host: &str| wire::DeviceMapping {
            path_on_host: host.to_owned(),
            path_in_container: "/dev/mine".to_owned(),
            ..Default::default()
        };
        let found = mapped(&mapping("/dev")).expect("devices");
        assert!(
            found
                .iter()
                .any(|(inside, node)| inside == Path::new("/dev/mine/null") && node.minor == 3)
        );
        assert!(mapped(&mapping("/etc")).is_err());
        assert!(mapped(&mapping("/etc/hostname")).is_err());
    }

    #[test]
    fn rules_follow_the_kernels_form() {
        let read = rule("c *:3 rw").expect("rule");
        assert_eq!((read.major, read.minor), (None, Some(3)));
        for text in [
            "",
            "c",
            "d 1:3 r",
            "c 1 r",
            "c 1:3 x",
            "c 1:3 r w",
            "c -1:3 r",
        ] {
            assert!(rule(text).is_err(), "{text}");
        }
    }
}
