//! Changing a container's limits and its restart policy.
//!
//! The whole change is checked against the container as it is; then it is on record, together with
//! the note that the kernel has not got it yet; then the control group gets it, if the container
//! runs; then the note goes. An engine that dies in between leaves the note to the next one, which
//! gives the control group what the record says. A change that the kernel refuses is taken back.

use std::sync::Arc;

use wharf_cgroup::Target;
use wharf_oci::runtime::{Pids, Resources};
use wharf_types::failpoint;
use wharf_wire as wire;

use crate::container::{Container, refuse};
use crate::controllers::Controllers;
use crate::create::check;
use crate::error::{Error, ErrorKind};
use crate::inner::Inner;
use crate::records::Durability;
use crate::spec;
use crate::state::{Denied, State};

impl Inner {
    /// See [`crate::Engine::update`].
    pub(crate) async fn update(
        self: &Arc<Self>,
        container: &Arc<Container>,
        mut change: wire::UpdateConfig,
    ) -> Result<wire::ContainerUpdated, Error> {
        if let Some(member) = change.unchangeable().next() {
            return Err(Error::invalid(format!(
                "{member} cannot be changed after a container was created"
            )));
        }
        // Zero and everything below it mean no limit; the record keeps one of them.
        change.pids_limit = change.pids_limit.map(|limit| limit.max(0));
        let _one_at_a_time = container.updating.lock().await;
        self.settled(container).await;
        check_state(container)?;
        let before = container.current().host.clone();
        let (host, mut warnings) = changed(&before, &change, &self.controllers)
            .map_err(|error| cannot(container, &error))?;
        let recorded = container.redefine(&self.records, &host, Some(change.clone()));
        recorded
            .await
            .map_err(|error| Error::internal("cannot update the container", error))?;
        failpoint::hit("engine.update.recorded");
        // A start that had begun before may not have seen the change.
        self.settled(container).await;
        match self.give_limits(container, &change).await {
            Ok(more) => warnings.extend(more),
            Err(error) => {
                let restored = container.redefine(&self.records, &before, None).await;
                if let Err(error) = restored {
                    tracing::error!(container.id = %container.id(), %error, "an update is not taken back");
                }
                return Err(cannot(container, &error));
            }
        }
        failpoint::hit("engine.update.applied");
        self.tell(container, "update");
        Ok(wire::ContainerUpdated {
            warnings: Some(warnings).filter(|warnings| !warnings.is_empty()),
        })
    }

    /// Gives a running container's control group what a change is about, and settles the record.
    /// Returns warnings.
    async fn give_limits(
        self: &Arc<Self>,
        container: &Arc<Container>,
        change: &wire::UpdateConfig,
    ) -> Result<Vec<String>, Error> {
        let mut warnings = Vec::new();
        if container.status().state.running().is_some() {
            let resources = resources(change, &container.current().host)?;
            let inner = Arc::clone(self);
            let target = Arc::clone(container);
            let applied = self
                .blocking(move || inner.apply_limits(&target, &resources))
                .await;
            match applied {
                Ok(more) => warnings = more,
                // It ended meanwhile: the next start has the change.
                Err(_) if container.status().state.running().is_none() => {}
                Err(error) => return Err(error),
            }
        }
        container
            .amend(&self.records, Durability::Engine, |status| {
                status.unapplied = None;
            })
            .in_background();
        Ok(warnings)
    }

    fn apply_limits(
        &self,
        container: &Container,
        resources: &Resources,
    ) -> Result<Vec<String>, Error> {
        if *resources == Resources::default() {
            return Ok(Vec::new());
        }
        let failed =
            |error: wharf_cgroup::CgroupError| Error::internal("cannot change the limits", error);
        let (hierarchies, cgroup) = self.cgroup(container)?;
        let target = Target {
            current: Some(cgroup.current().map_err(failed)?),
            ..hierarchies.target()
        };
        let plan = wharf_cgroup::plan(resources, &target)
            .map_err(|error| Error::invalid(crate::error::chain(&error)))?;
        cgroup.apply(&plan).map_err(failed)?;
        Ok(plan.warnings)
    }

    /// Finishes an update that an earlier engine had on record and did not see to its end.
    pub(crate) fn finish_update(self: &Arc<Self>, container: &Arc<Container>) {
        let Some(change) = container.status().unapplied.clone() else {
            return;
        };
        let inner = Arc::clone(self);
        let container = Arc::clone(container);
        tokio::spawn(async move {
            let _one_at_a_time = container.updating.lock().await;
            if let Err(error) = inner.give_limits(&container, &change).await {
                tracing::error!(container.id = %container.id(), %error, "its limits are not those on record");
            }
        });
    }
}

/// Docker's words around whatever is wrong with an update.
fn cannot(container: &Container, error: &Error) -> Error {
    match error.kind() {
        ErrorKind::Invalid => Error::invalid(error.to_string()),
        kind => Error::new(
            kind,
            format!("Cannot update container {}: {error}", container.id()),
        ),
    }
}

fn check_state(container: &Container) -> Result<(), Error> {
    let denied = match container.status().state {
        State::Removing(_) | State::Dead(_) => {
            return Err(Error::conflict(format!(
                "Cannot update container {}: container is marked for removal and cannot be \"update\"",
                container.id()
            )));
        }
        State::Removed(_) => Denied::Removed,
        _ => return Ok(()),
    };
    Err(refuse(container, denied))
}

/// Returns the settings after a change, and what there is to warn of.
fn changed(
    before: &wire::HostConfig,
    change: &wire::UpdateConfig,
    controllers: &Controllers,
) -> Result<(wire::HostConfig, Vec<String>), Error> {
    // The change alone is looked at first: what is wrong in itself is no conflict.
    let mut alone = wire::HostConfig::default();
    change.apply_to(&mut alone);
    alone.memory_swap = 0;
    check::limits::check(&mut alone, controllers)?;
    let conflicts = [
        (
            change.nano_cpus > 0 && before.cpu_period > 0,
            "Nano CPUs cannot be updated as CPU Period has already been set",
        ),
        (
            change.nano_cpus > 0 && before.cpu_quota > 0,
            "Nano CPUs cannot be updated as CPU Quota has already been set",
        ),
        (
            change.cpu_period > 0 && before.nano_cpus > 0,
            "CPU Period cannot be updated as NanoCPUs has already been set",
        ),
        (
            change.cpu_quota > 0 && before.nano_cpus > 0,
            "CPU Quota cannot be updated as NanoCPUs has already been set",
        ),
    ];
    if let Some((_, text)) = conflicts.iter().find(|(found, _)| *found) {
        return Err(Error::conflict(format!("Conflicting options: {text}")));
    }
    if change.memory > before.memory_swap && before.memory_swap > 0 && change.memory_swap == 0 {
        return Err(Error::conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        ));
    }
    if before.auto_remove && !matches!(change.restart_policy.name.as_str(), "" | "no") {
        return Err(Error::conflict(
            "Restart policy cannot be updated because AutoRemove is enabled for the container",
        ));
    }
    let mut host = before.clone();
    change.apply_to(&mut host);
    check::check_restart_policy(&mut host)?;
    let warnings = check::limits::check(&mut host, controllers)?;
    Ok((host, warnings))
}

/// What a change is for the control group, given the settings after it.
fn resources(change: &wire::UpdateConfig, host: &wire::HostConfig) -> Result<Resources, Error> {
    let mut delta = wire::HostConfig::default();
    change.apply_to(&mut delta);
    if delta.memory != 0 || delta.memory_swap != 0 {
        // The kernel's limit of one depends on the other.
        (delta.memory, delta.memory_swap) = (host.memory, host.memory_swap);
    }
    let mut resources = spec::resources(&delta)?;
    resources.devices.clear();
    resources.pids = change.pids_limit.map(|limit| Pids { limit });
    if let Some(disable) = change.oom_kill_disable {
        resources.memory.get_or_insert_default().disable_oom_killer = Some(disable);
    }
    Ok(resources)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited() -> wire::HostConfig {
        wire::HostConfig {
            memory: 64 << 20,
            memory_swap: 128 << 20,
            nano_cpus: 1_000_000_000,
            ..Default::default()
        }
    }

    #[test]
    fn a_change_keeps_what_it_does_not_name() {
        let change = wire::UpdateConfig {
            cpu_shares: 512,
            restart_policy: wire::RestartPolicy {
                name: "always".to_owned(),
                maximum_retry_count: 0,
            },
            ..Default::default()
        };
        let (host, warnings) = changed(&limited(), &change, &Controllers::all()).expect("accepted");
        assert_eq!(warnings, [""; 0]);
        assert_eq!(
            host,
            wire::HostConfig {
                cpu_shares: 512,
                restart_policy: change.restart_policy.clone(),
                ..limited()
            }
        );
    }

    #[test]
    fn what_does_not_go_together_is_refused_in_dockers_words() {
        let refused = |change: wire::UpdateConfig| {
            let error = changed(&limited(), &change, &Controllers::all()).expect_err("refused");
            (error.status(), error.to_string())
        };
        let memory = wire::UpdateConfig {
            memory: 256 << 20,
            ..Default::default()
        };
        assert_eq!(
            refused(memory),
            (
                409,
                "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the \
                 same time"
                    .to_owned()
            )
        );
        let quota = wire::UpdateConfig {
            cpu_quota: 50_000,
            ..Default::default()
        };
        assert_eq!(
            refused(quota),
            (
                409,
                "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set"
                    .to_owned()
            )
        );
        let little = wire::UpdateConfig {
            memory: 1,
            ..Default::default()
        };
        assert_eq!(
            refused(little),
            (400, "Minimum memory limit allowed is 6MB".to_owned())
        );
    }

    #[test]
    fn memory_and_swap_go_to_the_kernel_together() {
        let change = wire::UpdateConfig {
            memory: 32 << 20,
            pids_limit: Some(0),
            ..Default::default()
        };
        let (host, _) = changed(&limited(), &change, &Controllers::all()).expect("accepted");
        let resources = resources(&change, &host).expect("limits");
        let memory = resources.memory.expect("memory");
        assert_eq!(
            (memory.limit, memory.swap),
            (Some(32 << 20), Some(128 << 20))
        );
        assert_eq!(resources.pids, Some(Pids { limit: 0 }));
        assert_eq!(resources.cpu, None);
    }
}
