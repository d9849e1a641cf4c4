//! Devices by the Container Device Interface: a vendor's specification says what a container gets.
//!
//! Specifications are JSON files in `/etc/cdi` and `/var/run/cdi`, or where the engine is told, read when a container that asks
//! for a device is made and again when it starts, so that what is installed in between counts. Only
//! the API asks for devices: labels and annotations of images do not (attack R20).
//!
//! `--gpus` asks for the devices of the kind `nvidia.com/gpu`, all or by number.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use wharf_oci::runtime::{Hook, Linux, Resources, Spec};
use wharf_wire as wire;

use crate::error::Error;

mod edits;

/// Where specifications are unless the engine is told; the later directory wins.
pub(crate) const DIRECTORIES: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];
/// Longest specification that is read.
const FILE_MAX: u64 = 4 << 20;
/// The kind of device that `--gpus` asks for.
const GPUS: &str = "nvidia.com/gpu";

/// A specification.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Document {
    kind: String,
    devices: Vec<Device>,
    container_edits: Edits,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Device {
    name: String,
    container_edits: Edits,
}

/// What a container gets.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Edits {
    env: Vec<String>,
    device_nodes: Vec<Node>,
    mounts: Vec<Mount>,
    hooks: Vec<NamedHook>,
    #[serde(rename = "additionalGids")]
    additional_gids: Vec<u32>,
    intel_rdt: Option<serde_json::Value>,
    net_devices: Vec<serde_json::Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Node {
    path: String,
    host_path: String,
    #[serde(rename = "type")]
    kind: String,
    major: Option<i64>,
    minor: Option<i64>,
    file_mode: Option<u32>,
    permissions: String,
    uid: Option<u32>,
    gid: Option<u32>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Mount {
    host_path: PathBuf,
    container_path: PathBuf,
    options: Vec<String>,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NamedHook {
    hook_name: String,
    #[serde(flatten)]
    hook: Hook,
}

/// What is installed, by kind.
#[derive(Debug, Default)]
struct Installed {
    documents: BTreeMap<String, Document>,
    /// Files in a form that is not read.
    unread: Vec<PathBuf>,
}

impl Installed {
    fn read(directories: &[PathBuf]) -> Result<Self, Error> {
        let mut installed = Self::default();
        for directory in directories {
            let Ok(entries) = fs::read_dir(directory) else {
                continue;
            };
            let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            paths.sort();
            for path in paths {
                match path.extension().and_then(|extension| extension.to_str()) {
                    Some("json") => {
                        let document = read(&path)?;
                        installed.documents.insert(document.kind.clone(), document);
                    }
                    Some("yaml" | "yml") => installed.unread.push(path),
                    _ => {}
                }
            }
        }
        Ok(installed)
    }

    /// What a device brings: what its kind brings, and what is its own.
    fn edits(&self, kind: &str, name: &str) -> Option<[&Edits; 2]> {
        let document = self.documents.get(kind)?;
        let mut devices = document.devices.iter();
        let device = devices.find(|device| device.name == name)?;
        Some([&document.container_edits, &device.container_edits])
    }

    fn missing(&self, names: &[String]) -> Error {
        let names = names.join(", ");
        let mut text = format!("CDI device injection failed: unresolvable CDI devices {names}");
        if let Some(path) = self.unread.first() {
            let path = path.display();
            text.push_str(&format!(
                ": specifications are read as JSON only, and {path} is not"
            ));
        }
        Error::invalid(text)
    }
}

fn read(path: &Path) -> Result<Document, Error> {
    let failed = |error| {
        Error::internal(
            format!("cannot read the CDI specification {}", path.display()),
            error,
        )
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_MAX).read_to_end(&mut bytes))
        .map_err(failed)?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Error::internal(
            format!("cannot read the CDI specification {}", path.display()),
            error,
        )
    })
}

/// The devices a container asks for, each `vendor.com/class=name`.
fn names(host: &wire::HostConfig, installed: &Installed) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for request in host.device_requests.iter().flatten() {
        let ids = request.device_ids.clone().unwrap_or_default();
        let capabilities = request.capabilities.iter().flatten().flatten();
        let gpus = capabilities.clone().any(|capability| capability == "gpu");
        match request.driver.as_str() {
            "cdi" => names.extend(ids),
            "" | "nvidia" if gpus && installed.documents.contains_key(GPUS) => {
                if let Some((option, _)) = request.options.iter().flatten().next() {
                    return Err(Error::not_implemented(format!(
                        "the option {option} of a device request is not supported"
                    )));
                }
                let numbers = match (ids.is_empty(), request.count) {
                    (false, _) => ids,
                    (true, -1) => vec!["all".to_owned()],
                    (true, count) => (0..count).map(|number| number.to_string()).collect(),
                };
                names.extend(numbers.iter().map(|id| format!("{GPUS}={id}")));
            }
            driver => {
                let wanted: Vec<String> = (request.capabilities.iter().flatten())
                    .map(|set| format!("[{}]", set.join(" ")))
                    .collect();
                return Err(Error::invalid(format!(
                    "could not select device driver \"{driver}\" with capabilities: [{}]",
                    wanted.join(" ")
                )));
            }
        }
    }
    Ok(names)
}

/// Checks that what a container asks for is installed.
pub(crate) fn check(host: &wire::HostConfig, directories: &[PathBuf]) -> Result<(), Error> {
    resolve(host, directories).map(drop)
}

/// Gives a container what it asks for.
pub(crate) fn apply(
    host: &wire::HostConfig,
    directories: &[PathBuf],
    spec: &mut Spec,
) -> Result<(), Error> {
    for edits in resolve(host, directories)? {
        edits.apply(spec)?;
    }
    Ok(())
}

/// The limits of a container with the devices it asks for.
pub(crate) fn resources(
    host: &wire::HostConfig,
    directories: &[PathBuf],
    own: Resources,
) -> Result<Resources, Error> {
    let mut spec = Spec {
        linux: Some(Linux {
            resources: Some(own),
            ..Default::default()
        }),
        ..Default::default()
    };
    apply(host, directories, &mut spec)?;
    Ok(spec
        .linux
        .and_then(|linux| linux.resources)
        .unwrap_or_default())
}

fn resolve(host: &wire::HostConfig, directories: &[PathBuf]) -> Result<Vec<Edits>, Error> {
    if host.device_requests.as_ref().is_none_or(Vec::is_empty) {
        return Ok(Vec::new());
    }
    let installed = Installed::read(directories)?;
    let mut found: Vec<Edits> = Vec::new();
    let mut missing = Vec::new();
    for name in names(host, &installed)? {
        let edits = name
            .split_once('=')
            .and_then(|(kind, device)| installed.edits(kind, device));
        match edits {
            // What a kind brings is brought once.
            Some(edits) => {
                for edits in edits {
                    if !found.contains(edits) {
                        found.push(edits.clone());
                    }
                }
            }
            None => missing.push(name),
        }
    }
    if missing.is_empty() {
        Ok(found)
    } else {
        Err(installed.missing(&missing))
    }
}

#[cfg(test)]
mod tests;
