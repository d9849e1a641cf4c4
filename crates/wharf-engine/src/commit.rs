//! A container's changes become an image.
//!
//! A running container is frozen meanwhile, unless that is not wanted. That it is frozen by a commit
//! stands in its record before it happens, so that an engine that starts again lets it go on. The
//! store has the image before the records do, as with every image: what an interrupted commit has
//! left is collected.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use wharf_oci::image::{ContainerConfig, Empty, Healthcheck, History, ImageConfig};
use wharf_store::{Commit, CommitError, LoadError};
use wharf_types::{Digest, Reference, failpoint};
use wharf_wire as wire;

use crate::container::{Container, refuse};
use crate::error::{Error, ErrorKind, chain};
use crate::inner::Inner;
use crate::records::Durability;
use crate::state::{Denied, State};

impl Inner {
    /// See [`crate::Engine::commit`].
    pub(crate) async fn commit(
        self: &Arc<Self>,
        container: Arc<Container>,
        query: wire::CommitQuery,
        given: Option<wire::ContainerConfig>,
    ) -> Result<wire::CommitResult, Error> {
        self.settled(&container).await;
        match container.status().state {
            State::Removing(_) | State::Dead(_) | State::Removed(_) => {
                return Err(refuse(&container, Denied::Removing));
            }
            _ => {}
        }
        // Everything that can be refused is, before the container notices.
        let name = self.images.new_name(&query.repo, &query.tag)?;
        let config = config(&container.definition.config, given, &query.changes)?;
        let paused = query.pause && self.freeze_for_commit(&container).await?;
        failpoint::hit("engine.commit.paused");
        let (inner, target, comment) = (
            Arc::clone(self),
            Arc::clone(&container),
            query.comment.clone(),
        );
        let made = self
            .blocking(move || inner.make_image(&target, &query, config, name.as_ref()))
            .await;
        if let Ok((id, name)) = &made {
            if !name.is_empty() {
                self.tell_image("tag", &id.to_string(), name);
            }
            let more = [
                ("comment", comment),
                ("imageID", id.to_string()),
                ("imageRef", name.clone()),
            ];
            self.tell_with(&container, "commit", &more);
        }
        if paused {
            self.thaw_after_commit(&container).await;
        }
        let (id, _) = made?;
        Ok(wire::CommitResult { id: id.to_string() })
    }

    /// Freezes a container that runs; says whether it did.
    async fn freeze_for_commit(
        self: &Arc<Self>,
        container: &Arc<Container>,
    ) -> Result<bool, Error> {
        let runs = matches!(container.status().state, State::Running(_));
        if !runs {
            return Ok(false);
        }
        let noted = container.amend(&self.records, Durability::Engine, |status| {
            status.committing = Some(status.run);
        });
        noted
            .done()
            .await
            .map_err(|error| Error::internal("cannot commit the container", error))?;
        failpoint::hit("engine.commit.noted");
        match self.pause(container).await {
            Ok(()) => Ok(true),
            Err(error) => {
                self.forget_commit(container);
                // It has just ended, or somebody else has paused it: then it holds still anyway.
                match error.kind() {
                    ErrorKind::Conflict => Ok(false),
                    _ => Err(error),
                }
            }
        }
    }

    /// Lets a container go on that a commit has frozen.
    async fn thaw_after_commit(self: &Arc<Self>, container: &Arc<Container>) {
        match self.unpause(container).await {
            Err(error) if error.kind() != ErrorKind::Conflict => {
                tracing::error!(container.id = %container.id(), %error, "still paused after a commit");
            }
            // It goes on, or has ended, or somebody else has let it go on.
            _ => self.forget_commit(container),
        }
    }

    /// Lets a container go on that an earlier engine's commit has frozen.
    pub(crate) fn finish_commit(self: &Arc<Self>, container: &Arc<Container>) {
        let frozen = {
            let status = container.status();
            status.committing == Some(status.run)
        };
        if !frozen {
            return;
        }
        let (inner, container) = (Arc::clone(self), Arc::clone(container));
        tokio::spawn(async move { inner.thaw_after_commit(&container).await });
    }

    fn forget_commit(&self, container: &Container) {
        container
            .amend(&self.records, Durability::Engine, |status| {
                status.committing = None;
            })
            .in_background();
    }

    fn make_image(
        &self,
        container: &Container,
        query: &wire::CommitQuery,
        config: ContainerConfig,
        name: Option<&Reference>,
    ) -> Result<(Digest, String), Error> {
        let definition = &container.definition;
        let base = self.images.known_image(&definition.image)?;
        let changes = self.own_changes(container)?;
        let paths: BTreeSet<_> = changes.into_iter().map(|change| change.path).collect();
        let commit = Commit {
            snapshot: &container.snapshot(),
            base: &definition.image,
            paths: &paths,
        };
        let command = definition.config.cmd.as_deref().unwrap_or_default();
        let image = self.store.commit(&commit, |empty| {
            let created = Some(Timestamp::now().to_string());
            let mut history = base.config.history.clone();
            history.push(History {
                created: created.clone(),
                created_by: command.join(" "),
                author: query.author.clone(),
                comment: query.comment.clone(),
                empty_layer: empty,
            });
            ImageConfig {
                created,
                author: Some(query.author.clone()).filter(|author| !author.is_empty()),
                comment: Some(query.comment.clone()).filter(|comment| !comment.is_empty()),
                container: Some(definition.id.to_string()),
                config,
                history,
                architecture: base.config.architecture.clone(),
                variant: base.config.variant.clone(),
                os: base.config.os.clone(),
                os_version: base.config.os_version.clone(),
                ..ImageConfig::default()
            }
        });
        self.empty_trash_soon();
        let image = image.map_err(|error| failed(&error))?;
        failpoint::hit("engine.commit.stored");
        self.images.take_in_named(&self.records, image.id, name)?;
        failpoint::hit("engine.commit.recorded");
        let shown = name.map(Reference::familiar).unwrap_or_default();
        Ok((image.id, shown))
    }
}

fn failed(error: &CommitError) -> Error {
    let text = format!("cannot commit the container: {}", chain(error));
    match error {
        CommitError::Write(LoadError::Document { .. }) => Error::invalid(text),
        _ => Error::new(ErrorKind::Internal, text),
    }
}

/// Returns how the image's containers will run: as the request says, then the changes, then the
/// container.
fn config(
    container: &wire::ContainerConfig,
    given: Option<wire::ContainerConfig>,
    changes: &[String],
) -> Result<ContainerConfig, Error> {
    let of_container = to_oci(container);
    let mut config = match given {
        Some(given) => to_oci(&given),
        None => of_container.clone(),
    };
    crate::images::apply_changes(&mut config, changes)?;
    merge(&mut config, of_container);
    Ok(config)
}

/// Fills in what the request leaves open, as Docker's `merge` does.
fn merge(config: &mut ContainerConfig, container: ContainerConfig) {
    for (given, known) in [
        (&mut config.user, container.user),
        (&mut config.working_dir, container.working_dir),
        (&mut config.stop_signal, container.stop_signal),
    ] {
        if given.is_empty() {
            *given = known;
        }
    }
    for (port, empty) in container.exposed_ports {
        config.exposed_ports.entry(port).or_insert(empty);
    }
    for (volume, empty) in container.volumes {
        config.volumes.entry(volume).or_insert(empty);
    }
    for (label, value) in container.labels {
        config.labels.entry(label).or_insert(value);
    }
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    for entry in container.env {
        if config.env.iter().all(|known| name(known) != name(&entry)) {
            config.env.push(entry);
        }
    }
    if config.entrypoint.as_ref().is_none_or(Vec::is_empty) {
        if config.cmd.as_ref().is_none_or(Vec::is_empty) {
            config.cmd = container.cmd;
        }
        if config.entrypoint.is_none() {
            config.entrypoint = container.entrypoint;
        }
    }
    if config.healthcheck.is_none() {
        config.healthcheck = container.healthcheck;
    }
    if config.on_build.is_empty() {
        config.on_build = container.on_build;
    }
    config.stop_timeout = config.stop_timeout.or(container.stop_timeout);
    config.shell = config.shell.take().or(container.shell);
}

/// What of a container's configuration an image can hold.
fn to_oci(config: &wire::ContainerConfig) -> ContainerConfig {
    let words = |words: &Option<wire::Words>| words.as_ref().map(|words| words.0.clone());
    let set = |keys: Vec<&String>| {
        keys.into_iter()
            .map(|key| (key.clone(), Empty {}))
            .collect()
    };
    ContainerConfig {
        user: config.user.clone(),
        exposed_ports: set(config.exposed_ports.keys().collect()),
        env: config.env.clone().unwrap_or_default(),
        entrypoint: words(&config.entrypoint),
        cmd: words(&config.cmd),
        volumes: set(config
            .volumes
            .iter()
            .flatten()
            .map(|(key, _)| key)
            .collect()),
        working_dir: config.working_dir.clone(),
        labels: config.labels.clone().unwrap_or_default(),
        stop_signal: config.stop_signal.clone(),
        stop_timeout: config.stop_timeout,
        args_escaped: config.args_escaped.then_some(true),
        healthcheck: config.healthcheck.as_ref().map(|check| Healthcheck {
            test: (!check.test.is_empty()).then(|| check.test.clone()),
            interval: check.interval,
            timeout: check.timeout,
            start_period: check.start_period,
            start_interval: check.start_interval,
            retries: check.retries,
        }),
        on_build: config.on_build.clone().unwrap_or_default(),
        shell: words(&config.shell),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container() -> wire::ContainerConfig {
        wire::ContainerConfig {
            user: "me".to_owned(),
            env: Some(vec!["A=1".to_owned(), "B=2".to_owned()]),
            cmd: Some(wire::Words(vec!["sleep".to_owned(), "9".to_owned()])),
            labels: Some([("l".to_owned(), "1".to_owned())].into()),
            ..Default::default()
        }
    }

    fn check(given: Option<wire::ContainerConfig>, changes: &[&str]) -> ContainerConfig {
        let changes: Vec<_> = changes.iter().map(|&change| change.to_owned()).collect();
        config(&container(), given, &changes).expect("config")
    }

    #[test]
    fn an_image_runs_as_its_container_did() {
        let config = check(None, &[]);
        assert_eq!(
            config.cmd.as_deref(),
            Some(&["sleep".to_owned(), "9".to_owned()][..])
        );
        assert_eq!(config.env, ["A=1", "B=2"]);
        assert_eq!((config.user.as_str(), config.labels.len()), ("me", 1));
    }

    #[test]
    fn changes_win_over_the_container() {
        let config = check(
            None,
            &["CMD [\"a\"]", "ENV A=3 C=4", "USER you", "LABEL l=2"],
        );
        assert_eq!(config.cmd.as_deref(), Some(&["a".to_owned()][..]));
        assert_eq!(config.env, ["B=2", "A=3", "C=4"]);
        assert_eq!(
            (config.user.as_str(), config.labels["l"].as_str()),
            ("you", "2")
        );
    }

    #[test]
    fn what_a_request_leaves_open_is_the_containers() {
        let given = wire::ContainerConfig {
            entrypoint: Some(wire::Words(vec!["/e".to_owned()])),
            env: Some(vec!["B=9".to_owned()]),
            ..Default::default()
        };
        let config = check(Some(given), &[]);
        // An entry point takes the container's arguments away.
        assert_eq!(config.cmd, None);
        assert_eq!(config.env, ["B=9", "A=1"]);
        assert_eq!(config.user, "me");
    }
}
