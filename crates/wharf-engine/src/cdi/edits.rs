//! What a specification says a container gets, laid into its OCI configuration.

use wharf_oci::runtime::{self, Spec};

use super::{Edits, Node};
use crate::error::Error;
use crate::spec::{devices, overlay_env};

impl Edits {
    pub(super) fn apply(self, spec: &mut Spec) -> Result<(), Error> {
        if self.intel_rdt.is_some() || !self.net_devices.is_empty() {
            return Err(Error::not_implemented(
                "CDI device injection failed: intelRdt and netDevices are not supported yet",
            ));
        }
        if let Some(process) = &mut spec.process {
            overlay_env(&mut process.env, &self.env);
            let groups = &mut process.user.additional_gids;
            groups.extend(self.additional_gids.iter().filter(|gid| **gid != 0));
            groups.sort_unstable();
            groups.dedup();
        }
        let linux = spec.linux.get_or_insert_default();
        for node in self.device_nodes {
            let (device, rule) = node.resolve()?;
            linux.devices.retain(|other| other.path != device.path);
            linux.devices.push(device);
            linux.resources.get_or_insert_default().devices.push(rule);
        }
        for mount in self.mounts {
            spec.mounts
                .retain(|other| other.destination != mount.container_path);
            let kind = match mount.kind.as_str() {
                "" => "bind",
                given => given,
            };
            spec.mounts.push(runtime::Mount {
                destination: mount.container_path,
                kind: Some(kind.to_owned()),
                source: Some(mount.host_path),
                options: match mount.options.is_empty() {
                    true => vec!["bind".to_owned()],
                    false => mount.options,
                },
                ..Default::default()
            });
        }
        // A mount below another comes after it.
        spec.mounts
            .sort_by_key(|mount| mount.destination.components().count());
        for named in self.hooks {
            let hooks = spec.hooks.get_or_insert_default();
            let list = match named.hook_name.as_str() {
                "prestart" => &mut hooks.prestart,
                "createRuntime" => &mut hooks.create_runtime,
                "createContainer" => &mut hooks.create_container,
                "startContainer" => &mut hooks.start_container,
                "poststart" => &mut hooks.poststart,
                "poststop" => &mut hooks.poststop,
                other => {
                    return Err(Error::invalid(format!(
                        "CDI device injection failed: invalid hook name \"{other}\""
                    )));
                }
            };
            list.push(named.hook);
        }
        Ok(())
    }
}

impl Node {
    /// The node to make and the rule that lets it be used; what is not said is the host's.
    fn resolve(self) -> Result<(runtime::Device, runtime::DeviceRule), Error> {
        let outside = match self.host_path.as_str() {
            "" => &self.path,
            given => given,
        };
        let (mut device, mut rule) = match (self.major, self.minor, self.kind.as_str()) {
            (Some(major), Some(minor), kind) if !kind.is_empty() => (
                runtime::Device {
                    kind: kind.to_owned(),
                    path: self.path.clone().into(),
                    major,
                    minor,
                    file_mode: None,
                    uid: None,
                    gid: None,
                },
                runtime::DeviceRule {
                    allow: true,
                    kind: Some(kind.to_owned()),
                    major: Some(major),
                    minor: Some(minor),
                    access: None,
                },
            ),
            _ => devices::at(outside, &self.path)?,
        };
        device.file_mode = self.file_mode.or(device.file_mode);
        device.uid = self.uid.or(device.uid);
        device.gid = self.gid.or(device.gid);
        rule.access = Some(match self.permissions.as_str() {
            "" => "rwm".to_owned(),
            given => given.to_owned(),
        });
        Ok((device, rule))
    }
}
