//! One container, everything about it.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use wharf_wire as wire;

use crate::container::{Container, Status};
use crate::error::Error;
use crate::health;
use crate::inner::Inner;
use crate::mounts::Mount;
use crate::ports;
use crate::state::State;

impl Inner {
    /// See [`crate::Engine::inspect`].
    pub(crate) fn inspect(
        &self,
        container: &Arc<Container>,
        size: bool,
    ) -> Result<wire::ContainerInspect, Error> {
        let status = container.status().clone();
        let definition = container.current();
        let directory = self.places.container(definition.id);
        let file = |name: &str| directory.join(name).display().to_string();
        let sizes = size.then(|| self.sizes(container)).transpose()?;
        let (path, args) = match definition.command.split_first() {
            Some((path, args)) => (path.clone(), args.to_vec()),
            None => Default::default(),
        };
        let running = container
            .live()
            .execs
            .iter()
            .filter(|(_, exec)| exec.is_running())
            .map(|(id, _)| id.to_string())
            .collect::<Vec<_>>();
        let log = match definition.host.log_config.driver.as_str() {
            "json-file" => self.places.log(definition.id).display().to_string(),
            // As Docker: what the others keep is nobody's business.
            _ => String::new(),
        };
        Ok(wire::ContainerInspect {
            id: definition.id.to_string(),
            created: nanoseconds(definition.created),
            path,
            args,
            state: wire::ContainerState {
                health: health::to_wire(container),
                ..state(&status)
            },
            image: definition.image.to_string(),
            resolv_conf_path: file("resolv.conf"),
            hostname_path: file("hostname"),
            hosts_path: file("hosts"),
            log_path: log,
            name: format!("/{}", status.name),
            restart_count: i64::from(status.restarts),
            driver: self.driver().to_owned(),
            platform: "linux".to_owned(),
            exec_ids: Some(running).filter(|ids| !ids.is_empty()),
            host_config: definition.host.clone(),
            graph_driver: wire::GraphDriver {
                data: None,
                name: self.driver().to_owned(),
            },
            size_rw: sizes.map(|(own, _)| own),
            size_root_fs: sizes.map(|(_, all)| all),
            mounts: definition
                .mounts
                .iter()
                .filter_map(Mount::to_wire)
                .collect(),
            config: definition.config.clone(),
            network_settings: network_settings(container, &status),
            ..Default::default()
        })
    }

    /// Name of the storage driver, as Docker calls its own of that kind.
    pub(crate) fn driver(&self) -> &'static str {
        match self.store.driver() {
            wharf_store::Driver::Overlay => "overlay2",
            wharf_store::Driver::Copy => "vfs",
        }
    }
}

/// A time with all nine digits of its fraction.
pub(crate) fn nanoseconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%9fZ").to_string()
}

fn state(status: &Status) -> wire::ContainerState {
    let state = &status.state;
    let running = state.running();
    let ended = state.ended();
    let zero = || wire::ZERO_TIME.to_owned();
    let failure = match state {
        State::Created(Some(failure)) => failure.message.clone(),
        _ => ended.map(|ended| ended.error.clone()).unwrap_or_default(),
    };
    let started = running
        .map(|running| running.started)
        .or(ended.map(|ended| ended.started));
    let restarting = matches!(state, State::Restarting(_));
    wire::ContainerState {
        status: state.name().to_owned(),
        // Docker has a container that waits for its restart run and restart at once.
        running: running.is_some() || restarting,
        paused: matches!(state, State::Paused(_)),
        restarting,
        oom_killed: ended.is_some_and(|ended| ended.oom_killed),
        dead: matches!(state, State::Dead(_)),
        pid: running.map_or(0, |running| running.pid),
        exit_code: state.exit_code(),
        error: failure,
        started_at: started.map_or_else(zero, nanoseconds),
        finished_at: ended.map_or_else(zero, |ended| nanoseconds(ended.finished)),
        health: None,
    }
}

/// The container's ends of its one network.
pub(crate) fn networks(
    container: &Container,
    status: &Status,
) -> BTreeMap<String, wire::EndpointSettings> {
    let mode = container.definition.host.network_mode.clone();
    if crate::create::check::modes::joined(&mode).is_some() {
        // It has another container's.
        return BTreeMap::new();
    }
    let id = container.definition.id.to_string();
    let mut settings = wire::EndpointSettings {
        network_id: network_id(&mode),
        ..Default::default()
    };
    if let Some(endpoint) = &status.endpoint {
        settings.endpoint_id = id;
        settings.gateway = endpoint.gateway.to_string();
        settings.ip_address = endpoint.address.to_string();
        settings.ip_prefix_len = endpoint.prefix;
        settings.mac_address.clone_from(&endpoint.mac);
    }
    BTreeMap::from([(mode, settings)])
}

/// An id for each of the networks that are always there.
pub(crate) fn network_id(name: &str) -> String {
    static KNOWN: LazyLock<[(&str, String); 3]> =
        LazyLock::new(|| ["bridge", "host", "none"].map(|name| (name, made_network_id(name))));
    match KNOWN.iter().find(|(known, _)| *known == name) {
        Some((_, id)) => id.clone(),
        None => made_network_id(name),
    }
}

fn made_network_id(name: &str) -> String {
    wharf_types::Digest::of(format!("wharf network {name}").as_bytes()).hex()
}

fn network_settings(container: &Container, status: &Status) -> wire::NetworkSettings {
    let mut settings = wire::NetworkSettings {
        networks: networks(container, status),
        ports: ports::map(&container.definition.config, status.endpoint.as_ref()),
        ..Default::default()
    };
    if status.state.running().is_some() {
        settings.sandbox_id = container.definition.id.to_string();
        if let Some(running) = status.state.running() {
            settings.sandbox_key = format!("/proc/{}/ns/net", running.pid);
        }
    }
    if let Some(endpoint) = &status.endpoint {
        settings.endpoint_id = container.definition.id.to_string();
        settings.gateway = endpoint.gateway.to_string();
        settings.ip_address = endpoint.address.to_string();
        settings.ip_prefix_len = endpoint.prefix;
        settings.mac_address.clone_from(&endpoint.mac);
    }
    settings
}
