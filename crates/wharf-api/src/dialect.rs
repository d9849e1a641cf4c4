//! What older clients say and hear differently: the API's version history as far as it shows.
//!
//! The engine knows the newest version only. A request of an older one is brought up to it here, members the version
//! did not have taken out, as dockerd does; an answer is brought back. Versions are those of the change: what comes
//! before them is older.

use serde_json::{Map, Value, json};
use wharf_wire::{
    ContainerCreateBody, ImageListQuery, ImageSummary, MountDriver, StopQuery, SystemInfo,
    WaitCondition,
};

use crate::version::ApiVersion;

const V1_25: ApiVersion = ApiVersion::new(1, 25);
const V1_30: ApiVersion = ApiVersion::new(1, 30);
const V1_40: ApiVersion = ApiVersion::new(1, 40);
const V1_41: ApiVersion = ApiVersion::new(1, 41);
const V1_42: ApiVersion = ApiVersion::new(1, 42);
const V1_43: ApiVersion = ApiVersion::new(1, 43);
const V1_44: ApiVersion = ApiVersion::new(1, 44);
const V1_45: ApiVersion = ApiVersion::new(1, 45);
const V1_49: ApiVersion = ApiVersion::new(1, 49);
const V1_50: ApiVersion = ApiVersion::new(1, 50);
const V1_51: ApiVersion = ApiVersion::new(1, 51);

/// Takes out of a container to be made what its client cannot have meant.
pub(crate) fn create_body(version: ApiVersion, body: &mut ContainerCreateBody) {
    let host = &mut body.host_config;
    if version < V1_25 {
        // The client removes the container itself.
        host.auto_remove = false;
    }
    if version < V1_40 {
        host.pids_limit = host.pids_limit.filter(|limit| *limit != 0);
        if host.ipc_mode.is_empty() {
            "shareable".clone_into(&mut host.ipc_mode);
        }
    }
    if version >= V1_42 {
        host.kernel_memory = 0;
    }
    if version < V1_43 {
        host.annotations.clear();
    }
    if version < V1_44
        && let Some(check) = &mut body.config.healthcheck
    {
        check.start_interval = 0;
    }
    for mount in &mut host.mounts {
        if let Some(bind) = &mut mount.bind_options {
            bind.non_recursive &= version >= V1_40;
            bind.create_mountpoint &= version >= V1_42;
            bind.read_only_non_recursive &= version >= V1_44;
            bind.read_only_force_recursive &= version >= V1_44;
        }
        if let Some(volume) = &mut mount.volume_options {
            if version < V1_45 {
                volume.subpath.clear();
            }
            // Written by clients that name no driver.
            volume.driver_config = volume
                .driver_config
                .take()
                .filter(|driver| *driver != MountDriver::default());
        }
    }
}

/// How a container is stopped could not be said at first.
pub(crate) fn stop_query(version: ApiVersion, query: &mut StopQuery) {
    if version < V1_42 {
        query.signal.clear();
    }
}

/// What to wait for could not be said at first.
pub(crate) fn wait_condition(version: ApiVersion, asked: WaitCondition) -> WaitCondition {
    if version < V1_30 {
        WaitCondition::NotRunning
    } else {
        asked
    }
}

/// A pattern of names was a parameter of its own.
pub(crate) fn image_list_query(
    version: ApiVersion,
    query: &mut ImageListQuery,
    pattern: Option<String>,
) {
    if version < V1_41
        && let Some(pattern) = pattern
    {
        query.filters.add("reference", &pattern);
    }
    query.shared_size &= version >= V1_42;
}

/// An image in a list.
pub(crate) fn image_summary(version: ApiVersion, image: &mut ImageSummary) {
    if version < V1_43 && image.repo_tags.is_empty() && image.repo_digests.is_empty() {
        image.repo_tags.push("<none>:<none>".to_owned());
        image.repo_digests.push("<none>@<none>".to_owned());
    }
    if version < V1_44 {
        image.virtual_size = image.size;
    }
    if version < V1_51 {
        image.containers = -1;
    }
}

/// An image alone, as a document.
pub(crate) fn image(version: ApiVersion, image: &mut Value) {
    let Some(document) = image.as_object_mut() else {
        return;
    };
    if version < V1_44 {
        let size = document.get("Size").cloned().unwrap_or_default();
        document.insert("VirtualSize".to_owned(), size);
    }
    if version >= V1_50 {
        return;
    }
    let Some(config) = document.get_mut("Config").and_then(Value::as_object_mut) else {
        return;
    };
    add_container_settings(config);
    if version < V1_45 {
        // Compose's first generation finds the image's volumes here.
        let config = Value::Object(config.clone());
        document.insert("Container".to_owned(), "".into());
        document.insert("ContainerConfig".to_owned(), config);
    }
}

/// Adds what an image's configuration had when it was a container's configuration, all of it at zero.
fn add_container_settings(config: &mut Map<String, Value>) {
    let texts = ["Hostname", "Domainname", "User", "Image", "WorkingDir"];
    let flags = [
        "AttachStdin",
        "AttachStdout",
        "AttachStderr",
        "Tty",
        "OpenStdin",
        "StdinOnce",
    ];
    let lists = ["Env", "Cmd", "Volumes", "Entrypoint", "OnBuild", "Labels"];
    let zeros = texts.into_iter().map(|name| (name, Value::from("")));
    let zeros = zeros.chain(flags.into_iter().map(|name| (name, Value::from(false))));
    let zeros = zeros.chain(lists.into_iter().map(|name| (name, Value::Null)));
    for (name, zero) in zeros {
        config.entry(name).or_insert(zero);
    }
}

/// The engine's answer about itself, as a document.
pub(crate) fn info(version: ApiVersion, info: &SystemInfo) -> Value {
    let mut value = serde_json::to_value(info).unwrap_or_default();
    let Some(document) = value.as_object_mut() else {
        return value;
    };
    if version < V1_25 {
        let plain = info.security_options.iter().filter_map(|option| {
            let fields = option.split(',').filter_map(|field| field.split_once('='));
            let mut names = fields.filter(|(key, _)| *key == "name");
            names.next().map(|(_, name)| Value::from(name))
        });
        document.insert("SecurityOptions".to_owned(), plain.collect());
        document.insert("ExecutionDriver".to_owned(), "<not supported>".into());
    }
    if version < V1_49 {
        for commit in ["ContainerdCommit", "RuncCommit", "InitCommit"] {
            if let Some(commit) = document.get_mut(commit).and_then(Value::as_object_mut) {
                let id = commit.get("ID").cloned().unwrap_or_default();
                commit.insert("Expected".to_owned(), id);
            }
        }
        if let Some(registries) = document
            .get_mut("RegistryConfig")
            .and_then(Value::as_object_mut)
        {
            for list in [
                "AllowNondistributableArtifactsCIDRs",
                "AllowNondistributableArtifactsHostnames",
            ] {
                registries.entry(list).or_insert_with(|| json!([]));
            }
        }
        document.remove("FirewallBackend");
    }
    if version >= V1_50 {
        document.remove("BridgeNfIptables");
        document.remove("BridgeNfIp6tables");
    }
    value
}

#[cfg(test)]
mod tests;
