//! What is mounted into a container beyond its root: from the request's texts to a list.
//!
//! The rules are Docker's: `-v` makes a missing source, `--mount` refuses it; a destination is an
//! absolute path, given once, and not the root. Destinations below `/proc` are refused but for the
//! few files that lxcfs replaces (attack R17): everything else there is the runtime's to protect.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wharf_oci::runtime;
use wharf_types::VolumeName;
use wharf_wire as wire;

use crate::error::Error;

mod mode;
mod place;
mod propagation;
mod read;
mod tmpfs;

pub(crate) use mode::volumes_from;
pub(crate) use propagation::check as check_propagation;
pub(crate) use read::{Mounts, Request, check_driver, read};

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
        /// Whether inspect lists it: what `--mount` asked for, and not what `--tmpfs` did.
        listed: bool,
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

/// A volume at its place in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Volume {
    pub(crate) name: VolumeName,
    /// The volume's directory.
    pub(crate) source: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) read_only: bool,
    /// Whether an empty volume begins as what the image has there.
    pub(crate) copy: bool,
    /// A directory inside the volume to mount instead of the whole.
    pub(crate) subpath: Option<PathBuf>,
    /// The options as they were given, for inspect.
    pub(crate) mode: String,
    /// Whether the user gave it no name: it may go with its container.
    pub(crate) anonymous: bool,
}

impl Mount {
    pub(crate) fn target(&self) -> &Path {
        match self {
            Self::Bind(bind) => &bind.target,
            Self::Volume(volume) => &volume.target,
            Self::Tmpfs { target, .. } => target,
        }
    }

    /// The volume, if it is one.
    pub(crate) fn volume(&self) -> Option<&Volume> {
        match self {
            Self::Volume(volume) => Some(volume),
            _ => None,
        }
    }

    /// The mount as another container gets it by `--volumes-from`.
    fn lent(mut self, read_only: bool) -> Self {
        match &mut self {
            Self::Bind(bind) => {
                bind.read_only |= read_only;
                bind.mode.clear();
            }
            Self::Volume(volume) => {
                volume.read_only |= read_only;
                volume.copy = false;
                volume.mode.clear();
            }
            Self::Tmpfs { .. } => {}
        }
        self
    }

    /// The mount as the runtime is told it; `source` is where a volume is found now.
    pub(crate) fn to_oci(&self, source: Option<&Path>) -> runtime::Mount {
        let bind = |source: &Path, options: Vec<&str>| runtime::Mount {
            destination: self.target().to_owned(),
            kind: Some("bind".to_owned()),
            source: Some(source.to_owned()),
            options: options.into_iter().map(str::to_owned).collect(),
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
                bind(&given.source, options)
            }
            Self::Volume(volume) => {
                let mut options = vec!["rbind"];
                if volume.read_only {
                    options.extend(["ro", "rro"]);
                }
                options.push("rprivate");
                bind(source.unwrap_or(&volume.source), options)
            }
            Self::Tmpfs {
                target, options, ..
            } => runtime::Mount {
                destination: target.clone(),
                kind: Some("tmpfs".to_owned()),
                source: Some(PathBuf::from("tmpfs")),
                options: options.clone(),
                ..Default::default()
            },
        }
    }

    /// The mount as inspect shows it.
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
                name: volume.name.to_string(),
                source: text(&volume.source),
                destination: text(&volume.target),
                driver: "local".to_owned(),
                mode: volume.mode.clone(),
                rw: !volume.read_only,
                ..Default::default()
            }),
            Self::Tmpfs {
                target,
                options,
                listed: true,
            } => Some(wire::MountPoint {
                kind: "tmpfs".to_owned(),
                destination: text(target),
                rw: options.iter().all(|option| option != "ro"),
                ..Default::default()
            }),
            Self::Tmpfs { .. } => None,
        }
    }
}

/// A mount that cannot be, in Docker's words.
fn invalid(kind: &str, reason: &str) -> Error {
    Error::invalid(format!(
        "invalid mount config for type \"{kind}\": {reason}"
    ))
}

#[cfg(test)]
mod tests;
