//! Starting a container: the shortest way from the request to the first instruction.
//!
//! In order:
//!
//! 1. *starting*: the container belongs to this start. A shim from the pool.
//! 2. On a thread that may block: sandbox from the pool, ports. From now on the record, with the run's
//!    number and its address, is on its way to the disk; it is waited for before 5.
//! 3. The shim begins with the cgroup and its socket, while we go on with 4. Should we die now, it
//!    undoes that before it ends, and the next engine waits for its end (the launch lock of
//!    `wharf_shim`).
//! 4. Files of the network, the detached root mount, who the user is, the specification.
//! 5. The shim gets all of it in one message with the descriptors, makes the container, and answers
//!    when execve has succeeded.
//! 6. *running*. The answer to the user does not wait for this record: the shim knows it.
//!
//! When a step fails, what the steps before made is given back, in reverse, and the container is
//! what it was, with the failure told. Nothing here holds a lock that another container's start
//! needs for longer than taking something from a pool.

mod failure;
mod network;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::{fs, io};

use wharf_oci::runtime::Spec;
use wharf_shim::protocol::{Answer, Client, Launch, Prepare, Request, Started, Stdin};
use wharf_shim::{Notices, RequestError, Shim};
use wharf_store::{MountOptions, RootedDir};
use wharf_types::failpoint;

use crate::borrowed::Borrowed;
use crate::container::{Container, Definition, Wanted, refuse};
use crate::defaults::OWN_RUNTIME;
use crate::error::{Error, ErrorKind};
use crate::health::{Check, Health};
use crate::inner::{Inner, until};
use crate::mounts::Mount;
use crate::records::Durability;
use crate::runtimes;
use crate::security::Security;
use crate::spec::{self, Circumstances};
use crate::state::{Denied, Event, Running, StartFailure, State};
use crate::steps::Steps;
use crate::user;
use crate::userns;

use failure::LaunchError;
use network::Joined;

/// Clients that may wait for a start; the launch carries a descriptor for each.
pub(crate) const WAITING_MAX: usize = 48;

/// Who starts a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Starter {
    /// A user; what the policy has counted so far is forgotten.
    User,
    /// The restart policy.
    Policy,
}

/// Everything a launch takes.
struct Prepared {
    spec: Spec,
    root: OwnedFd,
    network: Option<OwnedFd>,
    log: wharf_log::Plan,
    /// Held until the runtime has joined and mounted what it points at.
    borrowed: Borrowed,
}

impl Inner {
    /// Starts a container.
    pub(crate) async fn start(
        self: &Arc<Self>,
        container: &Arc<Container>,
        starter: Starter,
    ) -> Result<(), Error> {
        if self.is_closing() {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "the engine is shutting down",
            ));
        }
        self.begin(container).await?;
        let _files = container.files.lock().await;
        match self.launch(container, starter).await {
            Ok((shim, notices, started)) => self.launched(container, shim, notices, started),
            Err(failed) => {
                if container.status().endpoint.is_some() {
                    self.tell_network(container, "disconnect");
                }
                self.give_back(container);
                let failure = StartFailure {
                    message: failed.to_string(),
                    code: failed.exit_code,
                };
                let fallen = container.transition(
                    &self.records,
                    Durability::Engine,
                    Event::Failed(failure),
                    |status| {
                        status.endpoint = None;
                        status.wanted = Wanted::Stopped;
                    },
                );
                fallen.map(crate::records::Commit::in_background).ok();
                // Clients that waited for this start see its end.
                container.live().waiting.clear();
                if container.definition.host.auto_remove {
                    self.tell_with(
                        container,
                        "die",
                        &[("exitCode", failed.exit_code.to_string())],
                    );
                    if let Err(error) = self.remove_ended(container, true, Durability::Engine).await
                    {
                        tracing::error!(container.id = %container.id(), %error, "not removed");
                    }
                }
                Err(failed.error)
            }
        }
    }

    /// Takes the container for this start; waits for another start, and for the last run's
    /// leavings.
    async fn begin(&self, container: &Arc<Container>) -> Result<(), Error> {
        loop {
            // Not on record: until the launch is, this start has done nothing.
            match container.publish(Event::Begin) {
                Ok(()) => break,
                Err(Denied::Starting) => {
                    until(container, |status| {
                        (!matches!(status.state, State::Starting(_))).then_some(())
                    })
                    .await;
                }
                Err(Denied::Running) => {
                    return Err(Error::new(
                        ErrorKind::NotModified,
                        "container already started",
                    ));
                }
                Err(Denied::Paused) => {
                    return Err(Error::conflict(
                        "cannot start a paused container, try unpause instead",
                    ));
                }
                Err(denied) => return Err(refuse(container, denied)),
            }
        }
        self.released(container).await;
        Ok(())
    }

    async fn launch(
        self: &Arc<Self>,
        container: &Arc<Container>,
        starter: Starter,
    ) -> Result<(Shim, Notices, Started), LaunchError> {
        failpoint::hit("engine.start.begun");
        let mut steps = Steps::begin(container.id(), "start");
        let (shim, notices) = self.take_shim()?;
        steps.done("shim taken");
        let prepared = match self.prepare_with(container, starter, &shim).await {
            Ok(prepared) => prepared,
            Err(error) => {
                // It undoes what it has begun, so that the next start finds nothing of it.
                shim.dismiss(notices).await;
                return Err(error.into());
            }
        };
        steps.done("prepared");
        failpoint::hit("engine.start.recorded");

        let waiting = std::mem::take(&mut container.live().waiting);
        let (sockets, clients): (Vec<OwnedFd>, Vec<Client>) = waiting.into_iter().unzip();
        let definition = &container.definition;
        let config = &definition.config;
        let launch = Launch {
            id: definition.id,
            run: container.status().run,
            spec: prepared.spec,
            directory: self.places.container(definition.id),
            log: prepared.log,
            joins_network: prepared.network.is_some(),
            stdin: match (config.open_stdin, config.stdin_once) {
                (false, _) => Stdin::Null,
                (true, false) => Stdin::Open,
                (true, true) => Stdin::Once,
            },
            clients,
            fleeting: definition.host.auto_remove,
            init: spec::has_init(&definition.host),
            external: runtimes::find(&definition.host.runtime, &self.defaults())?
                .map(|runtime| runtimes::external(runtime, &self.places, definition.id)),
        };
        let mut descriptors = vec![prepared.root];
        descriptors.extend(prepared.network);
        descriptors.extend(sockets);
        let answer = shim
            .request(Request::Launch(Box::new(launch)), descriptors)
            .await;
        drop(prepared.borrowed);
        failpoint::hit("engine.start.launched");
        steps.done("launched");
        match answer {
            Ok(Answer::Started(started)) => Ok((shim, notices, started)),
            Ok(_) => Err(Error::internal("cannot start the container", UnexpectedAnswer).into()),
            Err(RequestError::Refused(failure)) => Err(LaunchError::refused(&failure)),
            Err(error) => Err(Error::internal("cannot start the container", error).into()),
        }
    }

    pub(crate) fn take_shim(&self) -> Result<(Shim, Notices), Error> {
        let idle = self
            .spawner
            .take()
            .map_err(|error| Error::internal("cannot make a shim", error))?;
        Shim::adopt(idle).map_err(|error| Error::internal("cannot make a shim", error))
    }

    /// Everything up to the launch.
    async fn prepare_with(
        self: &Arc<Self>,
        container: &Arc<Container>,
        starter: Starter,
        shim: &Shim,
    ) -> Result<Prepared, Error> {
        let own = match &container.definition.user_namespace {
            // The network is set up in the shim's namespaces.
            Some(mapping) => {
                // Held until the shim has joined it.
                let mut borrowed = Borrowed::default();
                self.borrow_user(&mut borrowed, &container.definition)?;
                let lent = borrowed.user.clone();
                Some(userns::Namespaces::make(shim, mapping, lent).await?)
            }
            None => None,
        };
        if own.is_some() {
            failpoint::hit("engine.start.user-namespace-made");
        }
        let inner = Arc::clone(self);
        let target = Arc::clone(container);
        let shim = shim.clone();
        self.blocking(move || inner.prepare(&target, starter, &shim, own.as_ref()))
            .await
    }

    /// All that blocks. The record is on the disk when this returns.
    fn prepare(
        &self,
        container: &Arc<Container>,
        starter: Starter,
        shim: &Shim,
        own: Option<&userns::Namespaces>,
    ) -> Result<Prepared, Error> {
        let mut steps = Steps::begin(container.id(), "prepare");
        let joined = self.join_network(container, own)?;
        steps.done("network joined");
        self.tell_network(container, "connect");
        // From here on the address is the container's, and given back with it if the start fails.
        let endpoint = joined.endpoint.clone();
        let durability = container.definition.durability();
        let commit = container.amend(&self.records, durability, |status| {
            status.run += 1;
            status.wanted = Wanted::Running;
            status.endpoint.clone_from(&endpoint);
            match starter {
                Starter::User => (status.restarts, status.short_runs) = (0, 0),
                Starter::Policy => status.restarts += 1,
            }
        });
        // After the records' thread, which mostly waits for the disk, has its work.
        let result = self.let_begin(container, shim).and_then(|()| {
            let (spec, root, borrowed) = self.prepare_files(container, &joined, own)?;
            Ok((spec, root, borrowed, self.log_plan(container)?))
        });
        steps.done("files, root and specification");
        // Waited for in any case: what is given back must not be on record afterwards.
        let recorded = commit.wait();
        steps.done("recorded");
        let (spec, root, borrowed, log) = result?;
        recorded.map_err(|error| Error::internal("cannot start the container", error))?;
        Ok(Prepared {
            spec,
            root,
            network: joined.netns,
            log,
            borrowed,
        })
    }

    /// Lets a shim begin with what is known of the container.
    fn let_begin(&self, container: &Container, shim: &Shim) -> Result<(), Error> {
        let definition = container.current();
        let security = Security::read(&definition.host, &self.defaults())?;
        // Another program compiles the filter itself.
        let filter = match is_own(&definition) {
            true => self.filters.compiled(&security)?,
            false => None,
        };
        let prepare = Prepare {
            cgroup: definition.cgroup(&self.config.cgroup_parent),
            resources: crate::cdi::resources(
                &definition.host,
                &self.config.cdi_directories,
                spec::resources(&definition.host)?,
            )?,
            seccomp: filter.map(|bytes| bytes.to_vec()),
            socket_directory: self.places.shim(definition.id),
            external: !is_own(&definition),
        };
        let sent = shim.tell(Request::Prepare(Box::new(prepare)));
        failpoint::hit("engine.start.shim-prepares");
        sent.map_err(|error| Error::internal("cannot start the container", error))
    }

    fn prepare_files(
        &self,
        container: &Container,
        joined: &Joined,
        own: Option<&userns::Namespaces>,
    ) -> Result<(Spec, OwnedFd, Borrowed), Error> {
        let definition = &container.definition;
        let directory = self.places.container(definition.id);
        let mut steps = Steps::begin(definition.id, "files");
        self.write_network_files(container, joined.endpoint.as_ref(), &directory)
            .map_err(|error| {
                Error::internal("cannot write the container's network files", error)
            })?;
        steps.done("network files");
        wharf_shim::exit::clear(&directory)
            .map_err(|error| Error::internal("cannot remove the last exit status", error))?;
        for mount in &definition.mounts {
            make_source(mount)?;
        }
        let options = MountOptions {
            readonly: false,
            // Nothing of it is read again after its end, so it need not be synced then either.
            volatile: definition.host.auto_remove,
        };
        let snapshot = container.snapshot();
        let root = match own {
            None => self.store.mount(&snapshot, options),
            Some(own) => self.store.mount_mapped(&snapshot, options, own.mounts()),
        };
        let root =
            root.map_err(|error| Error::internal("cannot mount the container's root", error))?;
        steps.done("root mounted");
        let view = root
            .try_clone()
            .map_err(|error| Error::internal("cannot look at the container's root", error))?;
        let groups = definition.host.group_add.as_deref().unwrap_or_default();
        let identity = user::look_up(&RootedDir::open(view), &definition.config.user, groups)?;
        steps.done("user");
        let borrowed = self.borrow(container)?;
        steps.done("borrowed");
        let given = Circumstances {
            user: identity.user,
            security: &Security::read(&definition.host, &self.defaults())?,
            places: &self.places,
            cgroup_parent: &self.config.cgroup_parent,
            program: &self.program,
            borrowed: &borrowed,
        };
        let security = given.security;
        let mut spec = spec::container(&container.current(), given)?;
        crate::cdi::apply(&definition.host, &self.config.cdi_directories, &mut spec)?;
        if !is_own(definition) {
            runtimes::adapt(&mut spec, security);
        }
        Ok((spec, root, borrowed))
    }

    fn launched(
        self: &Arc<Self>,
        container: &Arc<Container>,
        shim: Shim,
        notices: Notices,
        started: Started,
    ) -> Result<(), Error> {
        for warning in &started.warnings {
            tracing::warn!(container.id = %container.id(), warning, "not exactly as asked");
        }
        {
            let mut live = container.live();
            live.shim = Some(shim);
            live.run = container.status().run;
            live.unreleased = true;
        }
        let running = Running {
            pid: started.pid,
            started: started.at,
        };
        let health = Check::of(&container.definition.config).map(|_| Health::starting());
        let commit = container
            .transition(
                &self.records,
                Durability::Engine,
                Event::Started(running),
                |status| status.health = health,
            )
            .map_err(|denied| refuse(container, denied))?;
        commit.in_background();
        self.tell_volumes(container, "mount");
        self.tell(container, "start");
        self.begin_probing(container);
        self.supervise(container, notices);
        Ok(())
    }
}

/// Whether a container's runtime is the engine's own.
fn is_own(definition: &Definition) -> bool {
    definition.host.runtime == OWN_RUNTIME
}

/// A missing source of `-v` is made, as a directory.
fn make_source(mount: &Mount) -> Result<(), Error> {
    let Mount::Bind(bind) = mount else {
        return Ok(());
    };
    let source = &bind.source;
    match fs::metadata(source) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound && bind.create_source => {
            fs::create_dir_all(source).map_err(|error| {
                let source = source.display();
                Error::internal(
                    format!("error while creating mount source path '{source}'"),
                    error,
                )
            })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let source = source.display();
            Err(Error::invalid(format!(
                "invalid mount config for type \"bind\": bind source path does not exist: {source}"
            )))
        }
        Err(error) => Err(Error::internal(
            format!("cannot look at the mount source {}", source.display()),
            error,
        )),
    }
}

/// The shim answered something else.
#[derive(Debug, thiserror::Error)]
#[error("the shim gave an unexpected answer")]
pub(crate) struct UnexpectedAnswer;
