//! What is mounted into a container beyond its root: from the request's texts to a list.
//!
//! The rules are Docker's: `-v` makes a missing source, `--mount` refuses it; a destination is an
//! absolute path, given once, and not the root. Destinations below `/proc` are refused but for the
//! few files that lxcfs replaces (attack R17): everything else there is the runtime's to protect.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use wharf_oci::runtime;
use wharf_wire as wire;

use crate::error::Error;

/// A mount of a container, decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mount {
    /// A directory or file of the host.
    Bind(Bind),
    /// A volume of the engine's own.
    Volume(Volume),
    /// Memory.
    Tmpfs {
        target: PathBuf,
        options: Vec<String>,
    },
}

/// A bind mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bind {
    pub(crate) source: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) read_only: bool,
    /// Whether read-only reaches the mounts below it too.
    pub(crate) read_only_recursive: bool,
    /// Whether mounts below the source come along.
    pub(crate) recursive: bool,
    /// `rprivate`, `rslave`…
    pub(crate) propagation: String,
    /// The options as they were given, for inspect.
    pub(crate) mode: String,
    /// Whether a missing source is made, as a directory.
    pub(crate) create_source: bool,
}

/// A volume, here always one made for this container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Volume {
    pub(crate) name: String,
    pub(crate) source: PathBuf,
    pub(crate) target: PathBuf,
}

/// Files below /proc that may be mounted over; what lxcfs provides.
const PROC_FILES: [&str; 8] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
];

/// Where new volumes are made: their names and directories.
pub(crate) type MakeVolume<'a> = dyn FnMut(&Path) -> Volume + 'a;

/// Reads the mounts of a request.
pub(crate) fn read(
    host: &wire::HostConfig,
    volumes: impl Iterator<Item = String>,
    make_volume: &mut MakeVolume<'_>,
) -> Result<Vec<Mount>, Error> {
    let mut mounts = Vec::new();
    for bind in host.binds.iter().flatten() {
        mounts.push(read_bind(bind, make_volume)?);
    }
    for mount in &host.mounts {
        mounts.push(read_mount(mount, make_volume)?);
    }
    for (target, options) in &host.tmpfs {
        let target = destination(target, "tmpfs")?;
        mounts.push(Mount::Tmpfs {
            target,
            options: tmpfs_options(options.split(',').filter(|option| !option.is_empty()))?,
        });
    }
    let mut targets = BTreeSet::new();
    for mount in &mounts {
        if !targets.insert(mount.target().to_owned()) {
            let target = mount.target().display();
            return Err(Error::invalid(format!("Duplicate mount point: {target}")));
        }
    }
    for volume in volumes {
        // An image's volume gives way to what the user mounts there.
        let target = volume_target(&volume)?;
        if targets.insert(target.clone()) {
            mounts.push(Mount::Volume(make_volume(&target)));
        }
    }
    // A mount below another comes after it.
    mounts.sort_by_key(|mount| mount.target().components().count());
    Ok(mounts)
}

impl Mount {
    pub(crate) fn target(&self) -> &Path {
        match self {
            Self::Bind(bind) => &bind.target,
            Self::Volume(volume) => &volume.target,
            Self::Tmpfs { target, .. } => target,
        }
    }

    /// The mount as the runtime is told it.
    pub(crate) fn to_oci(&self) -> runtime::Mount {
        let bind = |source: &Path, options: Vec<String>| runtime::Mount {
            destination: self.target().to_owned(),
            kind: Some("bind".to_owned()),
            source: Some(source.to_owned()),
            options,
            ..Default::default()
        };
        match self {
            Self::Bind(given) => {
                let mut options = vec![if given.recursive { "rbind" } else { "bind" }];
                if given.read_only {
                    options.push("ro");
                    if given.read_only_recursive {
                        options.push("rro");
                    }
                }
                options.push(&given.propagation);
                let options = options.into_iter().map(str::to_owned).collect();
                bind(&given.source, options)
            }
            Self::Volume(volume) => bind(
                &volume.source,
                vec!["rbind".to_owned(), "rprivate".to_owned()],
            ),
            Self::Tmpfs { target, options } => runtime::Mount {
                destination: target.clone(),
                kind: Some("tmpfs".to_owned()),
                source: Some(PathBuf::from("tmpfs")),
                options: options.clone(),
                ..Default::default()
            },
        }
    }

    /// The mount as inspect shows it; memory is not shown there.
    pub(crate) fn to_wire(&self) -> Option<wire::MountPoint> {
        let text = |path: &Path| path.display().to_string();
        match self {
            Self::Bind(bind) => Some(wire::MountPoint {
                kind: "bind".to_owned(),
                source: text(&bind.source),
                destination: text(&bind.target),
                mode: bind.mode.clone(),
                rw: !bind.read_only,
                propagation: bind.propagation.clone(),
                ..Default::default()
            }),
            Self::Volume(volume) => Some(wire::MountPoint {
                kind: "volume".to_owned(),
                name: volume.name.clone(),
                source: text(&volume.source),
                destination: text(&volume.target),
                driver: "local".to_owned(),
                rw: true,
                ..Default::default()
            }),
            Self::Tmpfs { target, .. } => Some(wire::MountPoint {
                kind: "tmpfs".to_owned(),
                destination: text(target),
                rw: true,
                ..Default::default()
            }),
        }
    }
}

/// Reads `source:target[:options]` or `target` (an anonymous volume).
fn read_bind(text: &str, make_volume: &mut MakeVolume<'_>) -> Result<Mount, Error> {
    let invalid = || Error::invalid(format!("invalid volume specification: '{text}'"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match *parts.as_slice() {
        [target] => return Ok(Mount::Volume(make_volume(&volume_target(target)?))),
        [source, target] => (source, target, ""),
        [source, target, options] => (source, target, options),
        _ => return Err(invalid()),
    };
    if source.is_empty() || target.is_empty() {
        return Err(invalid());
    }
    if !source.starts_with('/') {
        return Err(Error::not_implemented(format!(
            "invalid volume specification: '{text}': named volumes are not supported yet; use an absolute path"
        )));
    }
    let mut bind = Bind {
        source: clean(Path::new(source)),
        target: destination(target, "bind")?,
        read_only: false,
        read_only_recursive: true,
        recursive: true,
        propagation: "rprivate".to_owned(),
        mode: options.to_owned(),
        create_source: true,
    };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => bind.read_only = true,
            "rw" | "z" | "Z" | "cached" | "delegated" | "consistent" => {}
            "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => {
                option.clone_into(&mut bind.propagation);
            }
            _ => return Err(Error::invalid(format!("invalid mode: {options}"))),
        }
    }
    Ok(Mount::Bind(bind))
}

/// Reads what `--mount` asks for.
fn read_mount(mount: &wire::Mount, make_volume: &mut MakeVolume<'_>) -> Result<Mount, Error> {
    let kind = mount.kind.as_str();
    let invalid = |reason: &str| {
        Error::invalid(format!(
            "invalid mount config for type \"{kind}\": {reason}"
        ))
    };
    if mount.target.is_empty() {
        return Err(invalid("field Target must not be empty"));
    }
    if mount.cluster_options.is_some() {
        return Err(invalid("field ClusterOptions must not be specified"));
    }
    match kind {
        "bind" => read_bind_mount(mount).map(Mount::Bind),
        "tmpfs" => {
            if !mount.source.is_empty() {
                return Err(invalid("field Source must not be specified"));
            }
            if mount.bind_options.is_some() || mount.volume_options.is_some() {
                return Err(invalid(
                    "options of another type of mount must not be specified",
                ));
            }
            let given = mount.tmpfs_options.clone().unwrap_or_default();
            let mut options = Vec::new();
            if mount.read_only {
                options.push("ro".to_owned());
            }
            if given.size_bytes > 0 {
                options.push(format!("size={}", given.size_bytes));
            }
            if given.mode != 0 {
                options.push(format!("mode={:o}", given.mode));
            }
            options.extend(given.options.iter().map(|words| words.join("=")));
            Ok(Mount::Tmpfs {
                target: destination(&mount.target, kind)?,
                options: tmpfs_options(options.iter().map(String::as_str))?,
            })
        }
        "volume" if mount.source.is_empty() && mount.volume_options.is_none() => {
            Ok(Mount::Volume(make_volume(&volume_target(&mount.target)?)))
        }
        "volume" => Err(Error::not_implemented(
            "invalid mount config for type \"volume\": named volumes and volume options are not supported yet",
        )),
        "image" | "npipe" | "cluster" => Err(Error::not_implemented(format!(
            "mounts of type \"{kind}\" are not supported"
        ))),
        _ => Err(Error::invalid(format!("mount type unknown: {kind:?}"))),
    }
}

fn read_bind_mount(mount: &wire::Mount) -> Result<Bind, Error> {
    let invalid =
        |reason: &str| Error::invalid(format!("invalid mount config for type \"bind\": {reason}"));
    if mount.source.is_empty() {
        return Err(invalid("field Source must not be empty"));
    }
    if mount.volume_options.is_some()
        || mount.tmpfs_options.is_some()
        || mount.image_options.is_some()
    {
        return Err(invalid(
            "options of another type of mount must not be specified",
        ));
    }
    if !mount.source.starts_with('/') {
        let source = &mount.source;
        return Err(invalid(&format!(
            "invalid mount path: '{source}' mount path must be absolute"
        )));
    }
    let given = mount.bind_options.clone().unwrap_or_default();
    let propagation = match given.propagation.as_str() {
        "" => "rprivate",
        known @ ("private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave") => known,
        other => return Err(invalid(&format!("invalid propagation mode: {other}"))),
    };
    let source = clean(Path::new(&mount.source));
    if !given.create_mountpoint && std::fs::metadata(&source).is_err() {
        let source = source.display();
        return Err(invalid(&format!(
            "bind source path does not exist: {source}"
        )));
    }
    if given.read_only_force_recursive && (given.non_recursive || !mount.read_only) {
        return Err(invalid(
            "ReadOnlyForceRecursive requires a recursive read-only mount",
        ));
    }
    Ok(Bind {
        source,
        target: destination(&mount.target, "bind")?,
        read_only: mount.read_only,
        read_only_recursive: !given.read_only_non_recursive && !given.non_recursive,
        recursive: !given.non_recursive,
        propagation: propagation.to_owned(),
        mode: String::new(),
        create_source: given.create_mountpoint,
    })
}

/// Checks a destination and gives it its shortest form.
fn destination(text: &str, kind: &str) -> Result<PathBuf, Error> {
    let path = Path::new(text);
    if !path.is_absolute() {
        return Err(Error::invalid(format!(
            "invalid mount config for type \"{kind}\": invalid mount path: '{text}' mount path must be absolute"
        )));
    }
    let path = clean(path);
    if path == Path::new("/") {
        return Err(Error::invalid(format!(
            "invalid mount config for type \"{kind}\": invalid specification: destination can't be '/'"
        )));
    }
    let allowed = PROC_FILES.iter().any(|file| path == Path::new(file));
    if path.starts_with("/proc") && !allowed {
        return Err(Error::invalid(format!(
            "invalid mount config for type \"{kind}\": {text:?} cannot be mounted because it is inside /proc"
        )));
    }
    Ok(path)
}

/// A volume's destination; an image may name any text (attacks R17, R18).
fn volume_target(text: &str) -> Result<PathBuf, Error> {
    let target = destination(text, "volume")?;
    if target.starts_with("/sys") {
        return Err(Error::invalid(format!(
            "invalid mount config for type \"volume\": {text:?} cannot be a volume"
        )));
    }
    Ok(target)
}

/// Takes out `.`, `..` and doubled slashes, as Go's `filepath.Clean` does for an absolute path.
fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => cleaned.push(name),
            Component::ParentDir => drop(cleaned.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    cleaned
}

/// Docker's defaults (nothing may be run, no set-user-id, no devices), and what was given; of two
/// that contradict each other the last counts.
fn tmpfs_options<'a>(given: impl Iterator<Item = &'a str>) -> Result<Vec<String>, Error> {
    const KNOWN: [&str; 6] = ["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks"];
    let mut options: Vec<&str> = vec!["noexec", "nosuid", "nodev"];
    for option in given {
        let key = option.split('=').next().unwrap_or(option);
        let opposite = match option {
            "exec" | "suid" | "dev" | "atime" | "diratime" => Some(format!("no{option}")),
            "noexec" | "nosuid" | "nodev" | "noatime" | "nodiratime" => {
                option.strip_prefix("no").map(str::to_owned)
            }
            "rw" => Some("ro".to_owned()),
            "ro" => Some("rw".to_owned()),
            "sync" | "async" | "relatime" | "norelatime" | "strictatime" => None,
            _ if KNOWN.contains(&key) && option.contains('=') => None,
            _ => return Err(Error::invalid(format!("invalid tmpfs option {option:?}"))),
        };
        let replaced =
            |old: &&str| opposite.as_deref() == Some(*old) || old.split('=').next() == Some(key);
        options.retain(|old| !replaced(old));
        options.push(option);
    }
    Ok(options.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_host(host: &wire::HostConfig) -> Result<Vec<Mount>, String> {
        let mut number = 0;
        let mut make = |target: &Path| {
            number += 1;
            Volume {
                name: format!("v{number}"),
                source: PathBuf::from("/volumes"),
                target: target.to_owned(),
            }
        };
        read(host, std::iter::empty(), &mut make).map_err(|error| error.to_string())
    }

    fn binds(texts: &[&str]) -> Result<Vec<Mount>, String> {
        let binds = texts.iter().map(|text| (*text).to_owned()).collect();
        read_host(&wire::HostConfig {
            binds: Some(binds),
            ..Default::default()
        })
    }

    #[test]
    fn a_bind_becomes_the_runtimes_mount() {
        let mounts = binds(&["/a/../b//c:/x/./y:ro,rslave"]).expect("mounts");
        let oci = mounts[0].to_oci();
        assert_eq!(oci.source, Some(PathBuf::from("/b/c")));
        assert_eq!(oci.destination, Path::new("/x/y"));
        assert_eq!(oci.options, ["rbind", "ro", "rro", "rslave"]);
    }

    #[test]
    fn wrong_binds_are_refused_by_name() {
        for (text, message) in [
            ("/a:", "invalid volume specification: '/a:'"),
            (":/a", "invalid volume specification: ':/a'"),
            ("/a:/b:ro:x", "invalid volume specification: '/a:/b:ro:x'"),
            ("/a:/b:nope", "invalid mode: nope"),
            (
                "/a:b",
                "invalid mount config for type \"bind\": invalid mount path: 'b' mount path must be absolute",
            ),
            (
                "/a:/x/..",
                "invalid mount config for type \"bind\": invalid specification: destination can't be '/'",
            ),
        ] {
            assert_eq!(binds(&[text]), Err(message.to_owned()), "{text}");
        }
        assert_eq!(
            binds(&["/a:/b", "/c:/b/"]),
            Err("Duplicate mount point: /b".to_owned())
        );
    }

    #[test]
    fn attack_r17_mounts_over_proc_are_refused() {
        for text in [
            "/a:/proc",
            "/a:/proc/sys/kernel",
            "/a:/x/../proc/1",
            "/proc/self",
        ] {
            let error = binds(&[text]).expect_err(text);
            assert!(error.contains("inside /proc"), "{error}");
        }
        binds(&["/a:/proc/cpuinfo"]).expect("lxcfs's files are allowed");
        assert!(volume_target("/sys/fs").is_err());
        assert!(volume_target("").is_err());
    }

    #[test]
    fn attack_r18_volume_targets_stay_inside() {
        assert_eq!(
            volume_target("/../../../../etc").map_err(|e| e.to_string()),
            Ok(PathBuf::from("/etc"))
        );
        assert!(volume_target("/a/../../..").is_err(), "that is the root");
    }

    #[test]
    fn a_mount_below_another_comes_after_it() {
        let mounts = binds(&["/a:/x/y/z", "/b:/x"]).expect("mounts");
        let targets: Vec<_> = mounts.iter().map(Mount::target).collect();
        assert_eq!(targets, [Path::new("/x"), Path::new("/x/y/z")]);
    }

    #[test]
    fn later_tmpfs_options_win() {
        let options = tmpfs_options(["exec", "size=1m", "size=2m"].into_iter());
        assert_eq!(
            options.map_err(|error| error.to_string()),
            Ok(["nosuid", "nodev", "exec", "size=2m"]
                .map(str::to_owned)
                .to_vec())
        );
        assert!(tmpfs_options(["bogus"].into_iter()).is_err());
    }

    #[test]
    fn a_mount_needs_its_source() {
        let host = wire::HostConfig {
            mounts: vec![wire::Mount {
                kind: "bind".to_owned(),
                source: "/nonexistent/wharf".to_owned(),
                target: "/x".to_owned(),
                ..Default::default()
            }],
            ..Default::default()
        };
        assert_eq!(
            read_host(&host),
            Err("invalid mount config for type \"bind\": bind source path does not exist: /nonexistent/wharf"
                .to_owned())
        );
    }
}
