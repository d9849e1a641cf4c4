//! Ending and halting containers: stop, kill, restart, pause, and waiting for the end.

use std::sync::Arc;
use std::time::Duration;

use wharf_shim::RequestError;
use wharf_shim::protocol::{Answer, Request};
use wharf_types::failpoint;
use wharf_wire as wire;

use crate::container::{Container, Wanted, refuse};
use crate::error::{Error, ErrorKind};
use crate::inner::{Inner, until};
use crate::records::Durability;
use crate::signals;
use crate::start::Starter;
use crate::state::{Denied, Event, State};

/// Docker's grace.
const STOP_TIME: i64 = 10;
/// How long the end is waited for after SIGKILL; then the kernel holds the process.
const KILL_TIME: Duration = Duration::from_secs(10);

/// How a container was stopped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stopped {
    /// The stop signal, when the container's first process had no handler for it: the kernel would
    /// have dropped it, so that the process was killed at once.
    pub unhandled: Option<i32>,
}

impl Inner {
    /// See [`crate::Engine::stop`].
    pub(crate) async fn stop(
        self: &Arc<Self>,
        container: &Arc<Container>,
        query: &wire::StopQuery,
    ) -> Result<Stopped, Error> {
        let config = &container.definition.config;
        let signal = match (query.signal.as_str(), config.stop_signal.as_str()) {
            ("", "") => signals::TERM,
            ("", own) => signals::parse(own)?,
            (given, _) => signals::parse(given)?,
        };
        self.settled(container).await;
        // On record before the signal: a policy must not start it again, not even after a crash.
        let wanted = container.amend(&self.records, Durability::Machine, |status| {
            status.wanted = Wanted::Stopped;
        });
        wanted
            .done()
            .await
            .map_err(|error| Error::internal("cannot stop the container", error))?;
        failpoint::hit("engine.stop.recorded");
        if let Ok(commit) =
            container.transition(&self.records, Durability::Machine, Event::GivenUp, |_| {})
        {
            // It was waiting for its restart.
            commit.in_background();
            return Ok(Stopped::default());
        }
        if container.status().state.running().is_none() {
            return Err(Error::new(
                ErrorKind::NotModified,
                "container is not running",
            ));
        }
        let exits = container.status().exits;
        let seconds = query.timeout.or(config.stop_timeout).unwrap_or(STOP_TIME);
        self.tell_with(container, "kill", &[("signal", signal.to_string())]);
        let killed = match self.ask(container, Request::Stop(signal)).await {
            Ok(Answer::Stopping { killed }) => killed,
            Ok(_) => false,
            Err(error) if error.kind() == ErrorKind::Conflict => return Ok(Stopped::default()),
            Err(error) => return Err(error),
        };
        failpoint::hit("engine.stop.signalled");
        if killed {
            tracing::info!(
                container.id = %container.id(), signal,
                "killed at once: the container's first process does not handle the stop signal"
            );
        }
        self.thaw(container).await?;
        let ended = wait_for_exit(container, exits);
        if seconds < 0 {
            ended.await;
        } else {
            let grace = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
            if tokio::time::timeout(grace, ended).await.is_err() {
                tracing::info!(container.id = %container.id(), "killed after its grace");
                self.kill_and_wait(container, exits).await?;
            }
        }
        if killed {
            self.tell_with(
                container,
                "stop",
                &[("unhandledSignal", signal.to_string())],
            );
        } else {
            self.tell(container, "stop");
        }
        Ok(Stopped {
            unhandled: killed.then_some(signal),
        })
    }

    /// See [`crate::Engine::restart`].
    pub(crate) async fn restart(
        self: &Arc<Self>,
        container: &Arc<Container>,
        query: &wire::StopQuery,
    ) -> Result<Stopped, Error> {
        let stopped = match self.stop(container, query).await {
            Err(error) if error.kind() != ErrorKind::NotModified => return Err(error),
            stopped => stopped.unwrap_or_default(),
        };
        failpoint::hit("engine.restart.stopped");
        self.start(container, Starter::User).await?;
        self.tell(container, "restart");
        Ok(stopped)
    }

    /// See [`crate::Engine::kill`].
    pub(crate) async fn kill(
        self: &Arc<Self>,
        container: &Arc<Container>,
        signal: &str,
    ) -> Result<(), Error> {
        let number = match signal {
            "" => signals::KILL,
            text => signals::parse(text)?,
        };
        self.settled(container).await;
        if container.status().state.running().is_none() {
            let id = container.id();
            return Err(Error::conflict(format!(
                "cannot kill container: {id}: container {id} is not running"
            )));
        }
        let own = &container.definition.config.stop_signal;
        let stops =
            own.is_empty() && number == signals::TERM || signals::parse(own).ok() == Some(number);
        if number == signals::KILL || stops {
            let commit = container.amend(&self.records, Durability::Machine, |status| {
                status.wanted = Wanted::Stopped;
            });
            let recorded = commit.done().await;
            recorded.map_err(|error| Error::internal("cannot kill the container", error))?;
        }
        failpoint::hit("engine.kill.recorded");
        let exits = container.status().exits;
        self.ask(container, Request::Signal(number)).await?;
        failpoint::hit("engine.kill.signalled");
        self.tell_with(container, "kill", &[("signal", number.to_string())]);
        if number == signals::KILL {
            self.thaw(container).await?;
            // Who has killed a container goes on to remove it.
            return ended_in_time(container, exits).await;
        }
        Ok(())
    }

    /// Kills a container and waits until that is known.
    pub(crate) async fn kill_and_wait(
        self: &Arc<Self>,
        container: &Arc<Container>,
        exits: u64,
    ) -> Result<(), Error> {
        match self.ask(container, Request::Signal(signals::KILL)).await {
            Err(error) if error.kind() != ErrorKind::Conflict => return Err(error),
            _ => {}
        }
        self.thaw(container).await?;
        ended_in_time(container, exits).await
    }

    /// Lets a paused container go on, so that it gets its signal.
    async fn thaw(self: &Arc<Self>, container: &Arc<Container>) -> Result<(), Error> {
        let paused = matches!(container.status().state, State::Paused(_));
        if !paused {
            return Ok(());
        }
        match self.unpause(container).await {
            // It has just ended.
            Err(error) if error.kind() != ErrorKind::Conflict => Err(error),
            _ => Ok(()),
        }
    }

    /// See [`crate::Engine::pause`].
    pub(crate) async fn pause(self: &Arc<Self>, container: &Arc<Container>) -> Result<(), Error> {
        self.settled(container).await;
        match &container.status().state {
            State::Running(_) => {}
            State::Paused(_) => {
                let id = container.id();
                return Err(Error::conflict(format!("Container {id} is already paused")));
            }
            state => {
                let denied = state
                    .after(Event::Paused)
                    .err()
                    .unwrap_or(Denied::NotRunning);
                return Err(refuse(container, denied));
            }
        }
        self.ask(container, Request::Freeze).await?;
        failpoint::hit("engine.pause.frozen");
        let paused = container.transition(&self.records, Durability::Engine, Event::Paused, |_| {});
        paused
            .map_err(|denied| refuse(container, denied))?
            .in_background();
        self.tell(container, "pause");
        Ok(())
    }

    /// See [`crate::Engine::unpause`].
    pub(crate) async fn unpause(self: &Arc<Self>, container: &Arc<Container>) -> Result<(), Error> {
        let denied = container.status().state.after(Event::Unpaused).err();
        if let Some(denied) = denied {
            return Err(refuse(container, denied));
        }
        self.ask(container, Request::Thaw).await?;
        failpoint::hit("engine.unpause.thawed");
        let thawed =
            container.transition(&self.records, Durability::Engine, Event::Unpaused, |_| {});
        thawed
            .map_err(|denied| refuse(container, denied))?
            .in_background();
        self.tell(container, "unpause");
        self.begin_probing(container);
        Ok(())
    }

    /// See [`crate::Engine::resize`].
    pub(crate) async fn resize(
        &self,
        container: &Arc<Container>,
        size: wire::ResizeQuery,
    ) -> Result<(), Error> {
        self.settled(container).await;
        let request = Request::Resize {
            target: wharf_shim::protocol::Target::Container,
            height: size.height,
            width: size.width,
        };
        self.ask(container, request).await?;
        let more = [
            ("height", size.height.to_string()),
            ("width", size.width.to_string()),
        ];
        self.tell_with(container, "resize", &more);
        Ok(())
    }

    /// Asks a container's shim.
    pub(crate) async fn ask(
        &self,
        container: &Container,
        request: Request,
    ) -> Result<Answer, Error> {
        self.ask_with(container, request, Vec::new()).await
    }

    /// Asks a container's shim, handing descriptors over.
    pub(crate) async fn ask_with(
        &self,
        container: &Container,
        request: Request,
        descriptors: Vec<std::os::fd::OwnedFd>,
    ) -> Result<Answer, Error> {
        let shim = container
            .shim()
            .ok_or_else(|| refuse(container, Denied::NotRunning))?;
        shim.request(request, descriptors)
            .await
            .map_err(|error| match error {
                RequestError::Gone => refuse(container, Denied::NotRunning),
                other => Error::internal(format!("container {}", container.id()), other),
            })
    }

    /// Waits while a start is under way: what it comes to is what counts.
    pub(crate) async fn settled(&self, container: &Arc<Container>) {
        until(container, |status| {
            (!matches!(status.state, State::Starting(_))).then_some(())
        })
        .await;
    }
}

/// Waits for the end of a container that was killed.
async fn ended_in_time(container: &Arc<Container>, exits: u64) -> Result<(), Error> {
    let ended = tokio::time::timeout(KILL_TIME, wait_for_exit(container, exits)).await;
    ended.map_err(|_| {
        Error::new(
            ErrorKind::Internal,
            format!("container {} does not end after SIGKILL", container.id()),
        )
    })
}

/// Waits until a container has ended more often than `exits` times.
async fn wait_for_exit(container: &Arc<Container>, exits: u64) {
    until(container, |status| (status.exits > exits).then_some(())).await;
}

/// Waits as [`crate::Engine::wait`] says, counting from this call.
pub(crate) fn wait(
    container: Arc<Container>,
    condition: wire::WaitCondition,
) -> impl Future<Output = wire::WaitResult> + Send + use<> {
    let (exits, runs) = {
        let status = container.status();
        let runs = matches!(
            status.state,
            State::Running(_) | State::Paused(_) | State::Starting(_) | State::Restarting(_)
        );
        (status.exits, runs)
    };
    async move {
        let code = until(&container, |status| {
            let gone = matches!(status.state, State::Removed(_));
            let done = match condition {
                wire::WaitCondition::NotRunning => !runs || status.exits > exits,
                wire::WaitCondition::NextExit => status.exits > exits,
                wire::WaitCondition::Removed => false,
            };
            // A start that was waited for and has failed is an end too.
            let failed = condition == wire::WaitCondition::NotRunning
                && matches!(status.state, State::Created(_) | State::Exited(_));
            (done || gone || failed).then(|| status.state.exit_code())
        })
        .await;
        wire::WaitResult {
            error: None,
            status_code: i64::from(code.unwrap_or_default()),
        }
    }
}
