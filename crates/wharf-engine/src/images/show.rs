//! One image: inspect and history.

use jiff::Timestamp;
use wharf_oci::image::{ContainerConfig, Healthcheck};
use wharf_store::{Driver, Image};
use wharf_wire as wire;

use super::{Images, names};
use crate::error::{Error, ErrorKind};

impl Images {
    /// Returns the answer of `GET /images/{name}/json`.
    pub(crate) fn inspect(
        &self,
        name: &str,
        platforms: &[String],
    ) -> Result<wire::ImageInspect, Error> {
        let found = self.find(name).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::not_found(format!("no such image: {name}: {error}")),
            _ => error,
        });
        let id = found?.id;
        let image = self.image(&self.first_for(name, platforms)?)?;
        let (names, last_tag) = {
            let names = self.names();
            (
                names.of(&id),
                names
                    .images
                    .get(&id)
                    .and_then(|of| of.values().map(|given| given.at).max()),
            )
        };
        let config = &image.config;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Ok(wire::ImageInspect {
            id: image.id.to_string(),
            repo_tags: names::tags(&names),
            repo_digests: names::digests(&names),
            comment: last_comment(&image),
            created: text(&config.created),
            docker_version: text(&config.docker_version),
            author: text(&config.author),
            config: Some(container_config(&config.config)),
            architecture: config.architecture.clone(),
            variant: text(&config.variant),
            os: config.os.clone(),
            os_version: text(&config.os_version),
            size: bytes(image.size()),
            graph_driver: wire::GraphDriver {
                name: match self.store.driver() {
                    Driver::Overlay => "overlay2",
                    Driver::Copy => "vfs",
                }
                .to_owned(),
                data: None,
            },
            root_fs: wire::RootFs {
                kind: "layers".to_owned(),
                layers: image
                    .layers
                    .iter()
                    .map(|layer| layer.diff_id.to_string())
                    .collect(),
            },
            metadata: wire::ImageMetadata {
                last_tag_time: last_tag
                    .map_or_else(|| wire::ZERO_TIME.to_owned(), |time| time.to_string()),
            },
            ..wire::ImageInspect::default()
        })
    }

    /// Returns the steps of an image, last first. Only the last is an image of its own.
    pub(crate) fn history(
        &self,
        name: &str,
        platforms: &[String],
    ) -> Result<Vec<wire::ImageHistoryItem>, Error> {
        let id = self.first_for(name, platforms)?;
        let image = self.image(&id)?;
        let names = self.names().of(&id);
        let mut layers = image.layers.iter();
        let step = |history: &wharf_oci::image::History| wire::ImageHistoryItem {
            comment: history.comment.clone(),
            created: history
                .created
                .as_deref()
                .and_then(time)
                .map_or(0, Timestamp::as_second),
            created_by: history.created_by.clone(),
            id: "<missing>".to_owned(),
            size: match history.empty_layer {
                true => 0,
                false => layers.next().map_or(0, |layer| bytes(layer.size)),
            },
            tags: None,
        };
        let mut steps: Vec<_> = image.config.history.iter().map(step).collect();
        // Layers that no step of the history tells of.
        steps.extend(layers.map(|layer| wire::ImageHistoryItem {
            id: "<missing>".to_owned(),
            size: bytes(layer.size),
            ..wire::ImageHistoryItem::default()
        }));
        steps.reverse();
        if let Some(last) = steps.first_mut() {
            last.id = id.to_string();
            let names = names::tags(&names);
            last.tags = (!names.is_empty()).then_some(names);
        }
        Ok(steps)
    }
}

/// When an image was made.
pub(super) fn created(image: &Image) -> Option<Timestamp> {
    image.config.created.as_deref().and_then(time)
}

fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// Sizes are signed on the wire.
pub(super) fn bytes(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

fn last_comment(image: &Image) -> String {
    let of_image = image
        .config
        .comment
        .clone()
        .filter(|comment| !comment.is_empty());
    let of_step = || image.config.history.last().map(|step| step.comment.clone());
    of_image.or_else(of_step).unwrap_or_default()
}

fn container_config(config: &ContainerConfig) -> wire::ImageConfig {
    let words = |words: &Option<Vec<String>>| words.clone().map(wire::Words);
    wire::ImageConfig {
        user: config.user.clone(),
        exposed_ports: config
            .exposed_ports
            .keys()
            .map(|p| (p.clone(), wire::Empty))
            .collect(),
        env: config.env.clone(),
        entrypoint: words(&config.entrypoint),
        cmd: words(&config.cmd),
        volumes: config
            .volumes
            .keys()
            .map(|v| (v.clone(), wire::Empty))
            .collect(),
        working_dir: config.working_dir.clone(),
        labels: config.labels.clone(),
        stop_signal: config.stop_signal.clone(),
        args_escaped: config.args_escaped.unwrap_or(false),
        healthcheck: config.healthcheck.as_ref().map(healthcheck),
        on_build: config.on_build.clone(),
        shell: words(&config.shell),
    }
}

fn healthcheck(check: &Healthcheck) -> wire::HealthConfig {
    wire::HealthConfig {
        test: check.test.clone().unwrap_or_default(),
        interval: check.interval,
        timeout: check.timeout,
        start_period: check.start_period,
        start_interval: check.start_interval,
        retries: check.retries,
        ..Default::default()
    }
}
