//! From the request's texts to the list of mounts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use wharf_types::VolumeName;
use wharf_wire as wire;

use super::mode::VolumeMode;
use super::{Bind, Mount, Volume, invalid, place, tmpfs};
use crate::error::Error;
use crate::volumes::Wish;

/// What mounts are read from.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) host: &'a wire::HostConfig,
    /// Volumes by their destinations alone: the image's, and those of `-v /path`.
    pub(crate) volumes: Vec<String>,
    /// Mounts of other containers, each with whether it is read-only here.
    pub(crate) donated: Vec<(Mount, bool)>,
    /// Directory of all volumes.
    pub(crate) directory: &'a Path,
}

/// The mounts of a container, and the volumes they need.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    pub(crate) mounts: Vec<Mount>,
    pub(crate) wishes: Vec<Wish>,
}

/// Reads the mounts of a request.
pub(crate) fn read(request: Request<'_>) -> Result<Mounts, Error> {
    let mut reader = Reader {
        host: request.host,
        directory: request.directory,
        wishes: Vec::new(),
    };
    let mut mounts = Vec::new();
    for bind in request.host.binds.iter().flatten() {
        mounts.push(reader.short(bind)?);
    }
    for mount in &request.host.mounts {
        mounts.push(reader.long(mount)?);
    }
    for (target, options) in &request.host.tmpfs {
        let plain = |error: Error| {
            // Docker says this without the kind.
            let text = error.to_string();
            let prefix = "invalid mount config for type \"tmpfs\": ";
            Error::invalid(text.strip_prefix(prefix).unwrap_or(&text))
        };
        mounts.push(Mount::Tmpfs {
            target: place::destination(target, "tmpfs").map_err(plain)?,
            options: tmpfs::options(options.split(',').filter(|option| !option.is_empty()))?,
            listed: false,
        });
    }
    let mut targets = BTreeSet::new();
    for mount in &mounts {
        if !targets.insert(mount.target().to_owned()) {
            let target = mount.target().display();
            return Err(Error::invalid(format!("Duplicate mount point: {target}")));
        }
    }
    // What another container gives gives way to what is mounted there by name; of two givers the
    // later counts.
    let donated: BTreeMap<PathBuf, (Mount, bool)> = request
        .donated
        .into_iter()
        .map(|(mount, read_only)| (mount.target().to_owned(), (mount, read_only)))
        .collect();
    for (target, (mount, read_only)) in donated {
        if targets.insert(target) {
            mounts.push(mount.lent(read_only));
        }
    }
    for text in &request.volumes {
        // An image may leave out the slash.
        let absolute = match text.as_str() {
            "" => String::new(),
            text => format!("/{}", text.trim_start_matches('/')),
        };
        let target = place::volume(&absolute)?;
        if targets.insert(target.clone()) {
            mounts.push(reader.anonymous(target, String::new()));
        }
    }
    // A mount below another comes after it.
    mounts.sort_by_key(|mount| mount.target().components().count());
    Ok(Mounts {
        mounts,
        wishes: reader.wishes,
    })
}

struct Reader<'a> {
    host: &'a wire::HostConfig,
    directory: &'a Path,
    wishes: Vec<Wish>,
}

impl Reader<'_> {
    /// Reads `source:target[:mode]`, or `target` alone: a volume without a name.
    fn short(&mut self, text: &str) -> Result<Mount, Error> {
        let wrong = || Error::invalid(format!("invalid volume specification: '{text}'"));
        let within = |error: Error| {
            Error::invalid(format!("invalid volume specification: '{text}': {error}"))
        };
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, words) = match *parts.as_slice() {
            [target] if !target.is_empty() => {
                let target = place::volume(target).map_err(within)?;
                return Ok(self.anonymous(target, "z".to_owned()));
            }
            // `/path:ro` would be a volume without a name, which has no mode.
            [_, mode] if !mode.is_empty() && VolumeMode::parse(mode).is_ok() => {
                return Err(wrong());
            }
            [source, target] => (source, target, ""),
            [source, target, words] => (source, target, words),
            _ => return Err(wrong()),
        };
        if source.is_empty() || target.is_empty() {
            return Err(wrong());
        }
        let mode = VolumeMode::parse(words)?;
        if source.starts_with('/') {
            if mode.no_copy {
                let reason = "field VolumeOptions must not be specified";
                return Err(within(invalid("bind", reason)));
            }
            return Ok(Mount::Bind(Bind {
                source: place::absolute(source, "bind").map_err(within)?,
                target: place::destination(target, "bind").map_err(within)?,
                read_only: mode.read_only,
                read_only_recursive: true,
                recursive: true,
                propagation: match mode.propagation.as_str() {
                    "" => "rprivate".to_owned(),
                    given => given.to_owned(),
                },
                mode: words.to_owned(),
                create_source: true,
            }));
        }
        if !mode.propagation.is_empty() {
            let reason = "field BindOptions must not be specified";
            return Err(within(invalid("volume", reason)));
        }
        let target = place::volume(target).map_err(within)?;
        let name = name(source)?;
        check_driver(&self.host.volume_driver, &name)?;
        self.wishes.push(Wish::named(name.clone()));
        Ok(Mount::Volume(Volume {
            read_only: mode.read_only,
            copy: !mode.no_copy,
            mode: if words.is_empty() { "z" } else { words }.to_owned(),
            ..self.volume(name, target)
        }))
    }

    fn anonymous(&mut self, target: PathBuf, mode: String) -> Mount {
        let name = VolumeName::anonymous();
        self.wishes.push(Wish {
            anonymous: true,
            ..Wish::named(name.clone())
        });
        Mount::Volume(Volume {
            mode,
            anonymous: true,
            ..self.volume(name, target)
        })
    }

    fn volume(&self, name: VolumeName, target: PathBuf) -> Volume {
        Volume {
            source: crate::volumes::data(self.directory, &name),
            name,
            target,
            read_only: false,
            copy: true,
            subpath: None,
            mode: String::new(),
            anonymous: false,
        }
    }

    /// Reads what `--mount` asks for.
    fn long(&mut self, mount: &wire::Mount) -> Result<Mount, Error> {
        let kind = mount.kind.as_str();
        let wrong = |reason: &str| invalid(kind, reason);
        if !matches!(kind, "bind" | "tmpfs" | "volume" | "image") {
            return Err(wrong("mount type unknown"));
        }
        if mount.target.is_empty() {
            return Err(wrong("field Target must not be empty"));
        }
        for (given, own, field) in [
            (mount.bind_options.is_some(), "bind", "BindOptions"),
            (mount.volume_options.is_some(), "volume", "VolumeOptions"),
            (mount.tmpfs_options.is_some(), "tmpfs", "TmpfsOptions"),
            (mount.image_options.is_some(), "image", "ImageOptions"),
            (mount.cluster_options.is_some(), "cluster", "ClusterOptions"),
        ] {
            if given && kind != own {
                return Err(wrong(&format!("field {field} must not be specified")));
            }
        }
        match kind {
            "bind" => read_bind(mount).map(Mount::Bind),
            "tmpfs" if !mount.source.is_empty() => Err(wrong("field Source must not be specified")),
            "tmpfs" => Ok(Mount::Tmpfs {
                target: place::destination(&mount.target, kind)?,
                options: tmpfs::of_mount(mount)?,
                listed: true,
            }),
            "volume" => self.long_volume(mount),
            _ => Err(Error::not_implemented(
                "mounts of type \"image\" are not supported yet",
            )),
        }
    }

    fn long_volume(&mut self, mount: &wire::Mount) -> Result<Mount, Error> {
        let wrong = |reason: &str| invalid("volume", reason);
        if mount.source.is_empty() && mount.read_only {
            return Err(wrong(
                "must not set ReadOnly mode when using anonymous volumes",
            ));
        }
        let target = place::volume(&mount.target)?;
        let given = mount.volume_options.clone().unwrap_or_default();
        let anonymous = mount.source.is_empty();
        let name = match anonymous {
            true => VolumeName::anonymous(),
            false => name(&mount.source)?,
        };
        let driver = given.driver_config.unwrap_or_default();
        check_driver(&driver.name, &name)?;
        self.wishes.push(Wish {
            name: name.clone(),
            anonymous,
            labels: given.labels,
            options: driver.options,
        });
        Ok(Mount::Volume(Volume {
            read_only: mount.read_only,
            copy: !given.no_copy,
            subpath: subpath(&given.subpath)?,
            mode: "z".to_owned(),
            anonymous,
            ..self.volume(name, target)
        }))
    }
}

fn name(text: &str) -> Result<VolumeName, Error> {
    text.parse()
        .map_err(|error: wharf_types::VolumeNameError| Error::invalid(error.to_string()))
}

/// A directory inside a volume.
fn subpath(text: &str) -> Result<Option<PathBuf>, Error> {
    let path = PathBuf::from(text);
    if path.is_absolute() {
        return Err(invalid(
            "volume",
            &format!("subpath must be a relative path within the volume: '{text}'"),
        ));
    }
    let leaves = path
        .components()
        .any(|part| part == std::path::Component::ParentDir);
    if leaves {
        return Err(invalid(
            "volume",
            &format!("subpath must be within the volume: '{text}'"),
        ));
    }
    Ok((!text.is_empty()).then_some(path))
}

/// There is one driver.
pub(crate) fn check_driver(driver: &str, name: &VolumeName) -> Result<(), Error> {
    match driver {
        "" | "local" => Ok(()),
        other => Err(Error::not_found(format!(
            "create {name}: error looking up volume plugin {other}: plugin \"{other}\" not found"
        ))),
    }
}

fn read_bind(mount: &wire::Mount) -> Result<Bind, Error> {
    let wrong = |reason: &str| invalid("bind", reason);
    if mount.source.is_empty() {
        return Err(wrong("field Source must not be empty"));
    }
    let target = place::destination(&mount.target, "bind")?;
    let given = mount.bind_options.clone().unwrap_or_default();
    let propagation = match given.propagation.as_str() {
        "" => "rprivate",
        known @ ("private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave") => known,
        other => return Err(wrong(&format!("invalid propagation mode: {other}"))),
    };
    let source = place::absolute(&mount.source, "bind")?;
    if !given.create_mountpoint && std::fs::metadata(&source).is_err() {
        let source = source.display();
        return Err(wrong(&format!("bind source path does not exist: {source}")));
    }
    let below_is_writable = given.read_only_non_recursive;
    if (below_is_writable || given.read_only_force_recursive) && !mount.read_only {
        return Err(wrong("recursive read-only options need ReadOnly"));
    }
    if given.read_only_force_recursive {
        if below_is_writable || given.non_recursive {
            return Err(wrong(
                "ReadOnlyForceRecursive must not go with ReadOnlyNonRecursive or NonRecursive",
            ));
        }
        if propagation != "rprivate" {
            return Err(wrong(
                "ReadOnlyForceRecursive needs the propagation rprivate",
            ));
        }
    }
    Ok(Bind {
        source,
        target,
        read_only: mount.read_only,
        read_only_recursive: !below_is_writable && !given.non_recursive,
        recursive: !given.non_recursive,
        propagation: propagation.to_owned(),
        mode: String::new(),
        create_source: given.create_mountpoint,
    })
}
