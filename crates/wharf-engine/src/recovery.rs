//! What an earlier engine left: finished or undone, container by container.
//!
//! The records say what was meant, the kernel what is. For each container:
//!
//! | on record | found | becomes |
//! |---|---|---|
//! | any | a shim that answers with the recorded run | running, followed again |
//! | a run begun | no shim, the run's exit status | exited with it |
//! | a run begun | neither | exited, 255: its shim was killed, or the machine went down |
//! | starting | neither | what it was before: it was never launched |
//! | removing | | removed |
//! | otherwise | | as it is |
//!
//! Then what belongs to no container goes: snapshots, directories, volumes, cgroups, shims'
//! sockets. Last, policies are applied: `always` and what was not stopped by a user starts, what
//! ended with `--rm` is removed.
//!
//! All of it may be done again: an engine that dies here leaves work for the next one only.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use wharf_cgroup::{Cgroup, Hierarchies};
use wharf_shim::protocol::{self, Exit};
use wharf_shim::{Notices, Shim};
use wharf_types::{ContainerId, failpoint};

use crate::container::{Container, Endpoint, Places, Wanted};
use crate::error::Error;
use crate::health::{Check, Health};
use crate::inner::Inner;
use crate::records::Durability;
use crate::start::Starter;
use crate::state::{Event, Running, State};
use crate::supervise::{lost_exit, restarts};

/// What was found of the containers on record.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    found: Vec<Found>,
}

#[derive(Debug)]
struct Found {
    endpoint: Option<Endpoint>,
    container: Arc<Container>,
    remains: Remains,
}

#[derive(Debug)]
enum Remains {
    /// A shim that has the recorded run.
    Running(Shim, Notices, protocol::Status),
    /// The run's exit status, and whether something of it may still be in the kernel.
    Exit(Exit),
    /// Nothing of a run that was on record as begun.
    Lost,
    /// No run had begun.
    Idle,
}

impl Survey {
    /// Places in the network that are in use.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        let running = self.found.iter().filter_map(|found| match found.remains {
            Remains::Running(..) => Some(&found.endpoint),
            _ => None,
        });
        running.flatten()
    }
}

/// Looks at every container on record.
pub(crate) fn survey(places: &Places, containers: &[Arc<Container>]) -> Result<Survey, Error> {
    let mut survey = Survey::default();
    for container in containers {
        let remains = look(places, container)?;
        survey.found.push(Found {
            endpoint: container.status().endpoint.clone(),
            container: Arc::clone(container),
            remains,
        });
    }
    Ok(survey)
}

fn look(places: &Places, container: &Container) -> Result<Remains, Error> {
    let status = container.status().clone();
    let begun = status.state.running().is_some() || matches!(status.state, State::Starting(_));
    // A start is on record as its run's number; the state follows when it has succeeded.
    let id = container.id();
    if let Ok((shim, notices, found)) = Shim::connect(&places.shim(id))
        && found.id == id
        && found.run == status.run
    {
        return Ok(Remains::Running(shim, notices, found));
    }
    let exit = wharf_shim::exit::read(&places.container(id), status.run)
        .map_err(|error| Error::internal(format!("cannot read how {id} ended"), error))?;
    Ok(match exit {
        // Known already.
        Some(exit)
            if status
                .state
                .ended()
                .is_some_and(|e| e.finished == exit.finished) =>
        {
            Remains::Idle
        }
        Some(exit) => Remains::Exit(exit),
        None if begun || status.endpoint.is_some() => Remains::Lost,
        None => Remains::Idle,
    })
}

impl Inner {
    /// Brings every container to what was found of it, and removes what belongs to none.
    pub(crate) fn recover(self: &Arc<Self>, survey: Survey) -> Result<(), Error> {
        for found in survey.found {
            failpoint::hit("engine.recovery.container");
            self.recover_container(&found.container, found.remains)?;
        }
        failpoint::hit("engine.recovery.containers-done");
        self.remove_orphans()?;
        failpoint::hit("engine.recovery.orphans-gone");
        for container in self.registry.all() {
            self.apply_policy(&container);
        }
        Ok(())
    }

    fn recover_container(
        self: &Arc<Self>,
        container: &Arc<Container>,
        remains: Remains,
    ) -> Result<(), Error> {
        match remains {
            Remains::Running(shim, notices, status) => {
                self.follow(container, shim, notices, &status);
            }
            Remains::Exit(exit) => {
                self.kill_cgroup(container);
                self.ensure_ran(container, &exit);
                self.ended(container, &exit);
            }
            Remains::Lost => {
                self.kill_cgroup(container);
                if matches!(container.status().state, State::Starting(_)) {
                    let before = Event::Failed(crate::state::StartFailure {
                        message: "the engine was ended while it started the container".to_owned(),
                        code: 128,
                    });
                    self.settle(container, before, |status| status.endpoint = None);
                } else if container.status().state.running().is_some() {
                    // Not in one statement: the status must not be borrowed while it is changed.
                    let exit = lost_exit(&container.status());
                    self.ended(container, &exit);
                } else {
                    let change = |status: &mut crate::container::Status| status.endpoint = None;
                    container
                        .amend(&self.records, Durability::Engine, change)
                        .in_background();
                }
            }
            Remains::Idle => {
                if matches!(container.status().state, State::Removing(_)) {
                    let volumes = container.status().takes_volumes;
                    self.remove_everything(container, volumes, Durability::Engine)?;
                    self.registry.remove(container);
                }
            }
        }
        Ok(())
    }

    /// A container that runs on.
    fn follow(
        self: &Arc<Self>,
        container: &Arc<Container>,
        shim: Shim,
        notices: Notices,
        status: &protocol::Status,
    ) {
        {
            let mut live = container.live();
            live.shim = Some(shim);
            live.run = status.run;
            live.unreleased = true;
        }
        if let Some(started) = &status.started {
            let running = Running {
                pid: started.pid,
                started: started.at,
            };
            // Only a start that was not settled is news.
            if matches!(container.status().state, State::Starting(_)) {
                let health = Check::of(&container.definition.config).map(|_| Health::starting());
                self.settle(container, Event::Started(running), |status| {
                    status.health = health;
                });
            }
            self.adopt_network(container, started.pid);
        }
        let paused = matches!(container.status().state, State::Paused(_));
        if status.frozen != paused {
            let event = if status.frozen {
                Event::Paused
            } else {
                Event::Unpaused
            };
            self.settle(container, event, |_| {});
        }
        self.supervise(container, notices);
        self.finish_commit(container);
        self.finish_update(container);
        self.begin_probing(container);
    }

    fn adopt_network(&self, container: &Container, pid: i32) {
        if container.status().endpoint.is_none() {
            return;
        }
        let netns = fs::File::open(format!("/proc/{pid}/ns/net"));
        let adopted = match &netns {
            Ok(netns) => {
                use std::os::fd::AsFd as _;
                self.network
                    .adopt(netns.as_fd())
                    .map_err(|error| crate::error::chain(&error))
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = adopted {
            tracing::error!(container.id = %container.id(), %error, "its network is not attached");
        }
    }

    /// A run whose start had not been settled has ended meanwhile.
    fn ensure_ran(&self, container: &Container, exit: &Exit) {
        if matches!(container.status().state, State::Starting(_)) {
            let running = Running {
                pid: 0,
                started: exit.started,
            };
            self.settle(container, Event::Started(running), |_| {});
        }
    }

    fn settle(
        &self,
        container: &Container,
        event: Event,
        along: impl FnOnce(&mut crate::container::Status),
    ) {
        match container.transition(&self.records, Durability::Engine, event, along) {
            Ok(commit) => commit.in_background(),
            Err(denied) => {
                tracing::error!(container.id = %container.id(), ?denied, "cannot be recovered");
            }
        }
    }

    /// Starts or removes what is to be started or removed when an engine comes up.
    fn apply_policy(self: &Arc<Self>, container: &Arc<Container>) {
        let status = container.status().clone();
        let definition = container.current();
        let host = &definition.host;
        let ran = status.run > 0;
        let Some(ended) = status.state.ended().cloned() else {
            // A first start that was cut off; its user has no answer, and asks again.
            return;
        };
        if host.auto_remove {
            self.after_end(container, &ended);
            return;
        }
        let starts = match host.restart_policy.name.as_str() {
            "always" => ran,
            "unless-stopped" => ran && status.wanted == Wanted::Running,
            // What a crash kept from being planned.
            _ => restarts(&host.restart_policy, &status, ended.code),
        };
        let idle = matches!(status.state, State::Exited(_) | State::Restarting(_));
        if starts && idle {
            let inner = Arc::clone(self);
            let container = Arc::clone(container);
            tokio::spawn(async move {
                if let Err(error) = inner.start(&container, Starter::Policy).await {
                    tracing::error!(container.id = %container.id(), %error, "not started");
                }
            });
        }
    }

    /// Removes what belongs to no container.
    fn remove_orphans(&self) -> Result<(), Error> {
        let failed = |error| Error::internal("cannot remove what belongs to no container", error);
        let known = |name: &str| {
            name.parse::<ContainerId>()
                .ok()
                .and_then(|id| self.registry.get(id))
        };
        // Other engines may have their containers below the same parent: only groups of containers
        // that have, or had, something in these roots are ours to judge.
        let containers = self.registry.all();
        let mut ours: BTreeSet<String> = containers.iter().map(|c| c.id().to_string()).collect();
        ours.extend(names(&self.places.containers()));
        ours.extend(names(&self.places.shims()));
        let runs = |name: &str| known(name).is_some_and(|container| container.live().unreleased);
        for name in names(&self.places.shims()) {
            if !runs(&name) {
                wharf_shim::remove_socket_directory(&self.places.shims().join(name))
                    .map_err(|error| Error::internal("cannot remove a shim's socket", error))?;
            }
        }
        self.remove_orphan_shm(runs);
        self.remove_orphan_bundles(runs).map_err(failed)?;
        self.remove_orphan_cgroups(&ours, runs);
        for name in names(&self.places.containers()) {
            if known(&name).is_none() {
                let path = self.places.containers().join(name);
                crate::remove::discard(&path, &self.places.trash()).map_err(failed)?;
            }
        }
        self.remove_orphan_volumes().map_err(failed)?;
        let collected = self.store.collect(&self.roots());
        collected.map_err(|error| Error::internal("cannot collect the store", error))?;
        Ok(())
    }

    /// A group that cannot be removed is left, and said so: the engine can work beside it.
    fn remove_orphan_cgroups(&self, ours: &BTreeSet<String>, runs: impl Fn(&str) -> bool) {
        let parent = &self.config.cgroup_parent;
        let Ok(hierarchies) = Hierarchies::detect() else {
            return;
        };
        let Ok(group) = Cgroup::open(&hierarchies, parent) else {
            // The first engine on this machine.
            return;
        };
        let mut found: Vec<String> = group.dirs().flat_map(|(_, path)| names(path)).collect();
        found.sort();
        found.dedup();
        for name in found {
            if !ours.contains(&name) || runs(&name) {
                continue;
            }
            let path = parent.join(&name);
            let removed = Cgroup::open(&hierarchies, &path).and_then(|cgroup| {
                cgroup.kill_all(rustix::process::Signal::KILL)?;
                cgroup.remove()
            });
            if let Err(error) = removed {
                tracing::error!(cgroup = %path.display(), %error, "a cgroup is left");
            }
        }
    }
}

/// Names of a directory's entries; none when it is not there.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}
