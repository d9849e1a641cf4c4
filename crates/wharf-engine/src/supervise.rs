//! Following a running container: its shim's notices, its end, and what its policy makes of it.

use std::sync::Arc;
use std::time::Duration;

use wharf_cgroup::{Cgroup, Hierarchies};
use wharf_shim::Notices;
use wharf_shim::protocol::{Exit, Notice, Request, Target};
use wharf_types::failpoint;
use wharf_wire as wire;

use crate::container::{Container, Status, Wanted};
use crate::health::Verdict;
use crate::inner::{Inner, until};
use crate::records::Durability;
use crate::start::Starter;
use crate::state::{Ended, Event, State};

/// Wait before the first restart; it doubles with each, up to [`DELAY_MAX`].
const DELAY_MIN: Duration = Duration::from_millis(100);
const DELAY_MAX: Duration = Duration::from_secs(60);
/// A run of this length was no failure: the next wait is the shortest again.
const RUN_GOOD: Duration = Duration::from_secs(10);
/// How long the last run's leavings are waited for.
const RELEASE_TIME: Duration = Duration::from_secs(5);

impl Inner {
    /// Follows a container until its shim has gone.
    pub(crate) fn supervise(self: &Arc<Self>, container: &Arc<Container>, mut notices: Notices) {
        let inner = Arc::clone(self);
        let container = Arc::clone(container);
        let run = container.status().run;
        // What was rotated while no engine was there.
        self.compress_log(&container);
        tokio::spawn(async move {
            let mut ended = false;
            let mut closing = inner.closing.subscribe();
            loop {
                let notice = tokio::select! {
                    notice = notices.recv() => notice,
                    // The next engine follows it from here.
                    _ = closing.wait_for(|closing| *closing) => return,
                };
                let Some(notice) = notice else {
                    break;
                };
                match notice {
                    Notice::Exited(exit) => {
                        ended = true;
                        inner.ended(&container, &exit);
                    }
                    Notice::Released => clear_away(&container, run),
                    Notice::ExecExited(id, code) => {
                        inner.exec_ended(&container, id, code);
                        // A shim that has gone has closed the connection by itself.
                        inner.ask(&container, Request::Heard(id)).await.ok();
                    }
                    Notice::Detached(Target::Container) => inner.tell(&container, "detach"),
                    Notice::Detached(Target::Exec(id)) => {
                        inner.tell_with(&container, "exec_detach", &[("execID", id.to_string())]);
                    }
                    Notice::LogRotated => inner.compress_log(&container),
                    Notice::LogTrouble { lost, error } => {
                        let id = container.id();
                        tracing::error!(container.id = %id, lost, error, "the log cannot be written");
                    }
                    Notice::OutOfMemory => inner.tell(&container, "oom"),
                }
            }
            if !ended {
                inner.shim_lost(&container).await;
            }
            clear_away(&container, run);
        });
    }

    /// The shim was killed. Its container may run on with nobody to answer for it: it is ended.
    async fn shim_lost(self: &Arc<Self>, container: &Arc<Container>) {
        if self.is_closing() {
            return;
        }
        let directory = self.places.container(container.id());
        let run = container.status().run;
        let exit = match wharf_shim::exit::read(&directory, run) {
            Ok(Some(exit)) => exit,
            _ => {
                tracing::error!(container.id = %container.id(), "a shim has gone without a word");
                let inner = Arc::clone(self);
                let target = Arc::clone(container);
                // A thread that may block: killing freezes, signals and waits.
                let killed = tokio::task::spawn_blocking(move || inner.kill_cgroup(&target));
                drop(killed.await);
                lost_exit(&container.status())
            }
        };
        self.ended(container, &exit);
    }

    /// Kills what is in a container's cgroup and removes it, and its shim's socket.
    pub(crate) fn kill_cgroup(&self, container: &Container) {
        let path = container.definition.cgroup(&self.config.cgroup_parent);
        let id = container.id();
        let removed = Hierarchies::detect().map(|hierarchies| {
            let cgroup = Cgroup::open(&hierarchies, &path)?;
            cgroup.kill_all(rustix::process::Signal::KILL)?;
            cgroup.remove()
        });
        match removed {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(container.id = %id, %error, "no cgroup to remove"),
            Err(error) => tracing::error!(container.id = %id, %error, "cannot see the cgroups"),
        }
        if let Err(error) = wharf_shim::remove_socket_directory(&self.places.shim(id)) {
            tracing::error!(container.id = %id, %error, "a shim's socket is left");
        }
    }

    /// Takes note of a container's end. The exit status is on the disk already.
    pub(crate) fn ended(self: &Arc<Self>, container: &Arc<Container>, exit: &Exit) {
        failpoint::hit("engine.exit.told");
        if exit.log_lost > 0 {
            let lost = exit.log_lost;
            tracing::warn!(container.id = %container.id(), lost, "bytes of the log were lost");
        }
        container.live().shim = None;
        self.give_back(container);
        let ended = Ended {
            code: exit.code,
            oom_killed: exit.oom_killed,
            started: exit.started,
            finished: exit.finished,
            error: String::new(),
        };
        let ran = ended.finished.duration_since(ended.started);
        let mut told = container.attributes();
        told.insert("exitCode".to_owned(), exit.code.to_string());
        told.insert("execDuration".to_owned(), ran.as_secs().to_string());
        let event = Event::Ended(ended.clone());
        let changed = container.transition(&self.records, Durability::Engine, event, |status| {
            status.endpoint = None;
            status.exits += 1;
            if let Some(health) = &mut status.health {
                health.verdict = Verdict::Unhealthy;
            }
            // Before anybody who waits for the end can go on and have more told.
            let id = container.id().to_string();
            self.events.tell("container", "die", &id, told);
            self.tell_network(container, "disconnect");
            self.tell_volumes(container, "unmount");
        });
        match changed {
            Ok(commit) => commit.in_background(),
            // An earlier notice of the same end.
            Err(_) => return,
        }
        failpoint::hit("engine.exit.recorded");
        self.after_end(container, &ended);
    }

    /// What is done about a container that has ended: started again, removed, or nothing.
    pub(crate) fn after_end(self: &Arc<Self>, container: &Arc<Container>, ended: &Ended) {
        if self.is_closing() {
            return;
        }
        let definition = container.current();
        let host = &definition.host;
        if host.auto_remove {
            let inner = Arc::clone(self);
            let container = Arc::clone(container);
            tokio::spawn(async move {
                if let Err(error) = inner
                    .remove_ended(&container, true, Durability::Engine)
                    .await
                {
                    tracing::error!(container.id = %container.id(), %error, "not removed");
                }
            });
        } else if restarts(&host.restart_policy, &container.status(), ended.code) {
            self.plan_restart(container, ended);
        }
    }

    fn plan_restart(self: &Arc<Self>, container: &Arc<Container>, ended: &Ended) {
        let short_runs = short_runs(container.status().short_runs, ended);
        let event = Event::RestartPlanned;
        let planned = container.transition(&self.records, Durability::Engine, event, |status| {
            status.short_runs = short_runs.saturating_add(1);
        });
        match planned {
            Ok(commit) => commit.in_background(),
            Err(_) => return,
        }
        failpoint::hit("engine.exit.restart-planned");
        let delay = delay(short_runs);
        let inner = Arc::clone(self);
        let container = Arc::clone(container);
        tokio::spawn(async move {
            let mut closing = inner.closing.subscribe();
            // A stop, a start or a removal by a user ends the plan.
            let overtaken = until(&container, |status| {
                let planned = matches!(status.state, State::Restarting(_))
                    && status.wanted == Wanted::Running;
                (!planned).then_some(())
            });
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                _ = overtaken => return,
                _ = closing.wait_for(|closing| *closing) => return,
            }
            // An update may have changed the policy meanwhile.
            let status = container.status().clone();
            let code = status.state.exit_code();
            if !restarts(&container.current().host.restart_policy, &status, code) {
                let given_up = Event::GivenUp;
                let ended =
                    container.transition(&inner.records, Durability::Engine, given_up, |_| {});
                ended.map(crate::records::Commit::in_background).ok();
                return;
            }
            if let Err(error) = inner.start(&container, Starter::Policy).await {
                tracing::error!(container.id = %container.id(), %error, "not started again");
            }
        });
    }

    /// Waits until the last run has left nothing in the kernel.
    pub(crate) async fn released(&self, container: &Arc<Container>) {
        // The status is not borrowed while the live part is looked at: others take the two in the
        // other order.
        let free = async {
            let mut changes = container.watch();
            while container.live().unreleased && changes.changed().await.is_ok() {}
        };
        if tokio::time::timeout(RELEASE_TIME, free).await.is_err() {
            tracing::error!(container.id = %container.id(), "its last run has left something");
        }
    }
}

/// Everything of a run is gone. A shim may live a little longer than that, while the next run has
/// begun.
fn clear_away(container: &Container, run: u64) {
    let mut live = container.live();
    if live.run != run {
        return;
    }
    live.shim = None;
    live.unreleased = false;
    live.execs.retain(|_, exec| exec.is_prepared());
    drop(live);
    container.touch();
}

/// The exit status of a container whose shim was killed: nobody knows it.
pub(crate) fn lost_exit(status: &Status) -> Exit {
    let now = jiff::Timestamp::now();
    Exit {
        run: status.run,
        code: 255,
        oom_killed: false,
        started: status
            .state
            .running()
            .map_or(now, |running| running.started),
        finished: now,
        log_lost: 0,
    }
}

/// Whether a policy starts a container again that has ended.
pub(crate) fn restarts(policy: &wire::RestartPolicy, status: &Status, code: i32) -> bool {
    if status.wanted == Wanted::Stopped {
        return false;
    }
    match policy.name.as_str() {
        "always" | "unless-stopped" => true,
        "on-failure" => {
            let most = policy.maximum_retry_count;
            code != 0 && (most == 0 || i64::from(status.restarts) < most)
        }
        _ => false,
    }
}

/// How many short runs count after one that ended so.
fn short_runs(before: u32, ended: &Ended) -> u32 {
    let ran = ended.finished.duration_since(ended.started);
    let good = jiff::SignedDuration::try_from(RUN_GOOD).unwrap_or_default();
    if ran >= good { 0 } else { before }
}

fn delay(short_runs: u32) -> Duration {
    let factor = 1_u32.checked_shl(short_runs.min(16)).unwrap_or(u32::MAX);
    DELAY_MIN.saturating_mul(factor).min(DELAY_MAX)
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;

    fn status(wanted: Wanted, restarts: u32) -> Status {
        Status {
            name: "web".parse().expect("name"),
            state: State::Created(None),
            wanted,
            run: 1,
            restarts,
            short_runs: 0,
            exits: 0,
            committing: None,
            endpoint: None,
            health: None,
            takes_volumes: false,
            unapplied: None,
        }
    }

    #[test]
    fn policies_decide() {
        let policy = |name: &str, most| wire::RestartPolicy {
            name: name.to_owned(),
            maximum_retry_count: most,
        };
        let running = |restarts| status(Wanted::Running, restarts);
        for (policy, status, code, expected) in [
            (policy("no", 0), running(0), 1, false),
            (policy("always", 0), running(9), 0, true),
            (policy("always", 0), status(Wanted::Stopped, 0), 1, false),
            (policy("unless-stopped", 0), running(0), 0, true),
            (policy("on-failure", 0), running(5), 1, true),
            (policy("on-failure", 0), running(0), 0, false),
            (policy("on-failure", 2), running(1), 1, true),
            (policy("on-failure", 2), running(2), 1, false),
        ] {
            assert_eq!(restarts(&policy, &status, code), expected, "{policy:?}");
        }
    }

    #[test]
    fn the_wait_doubles_up_to_a_minute_and_a_good_run_resets_it() {
        let run = |seconds| Ended {
            code: 1,
            oom_killed: false,
            started: Timestamp::UNIX_EPOCH,
            finished: Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds),
            error: String::new(),
        };
        assert_eq!(delay(short_runs(0, &run(1))), Duration::from_millis(100));
        assert_eq!(delay(short_runs(3, &run(1))), Duration::from_millis(800));
        assert_eq!(delay(short_runs(40, &run(9))), DELAY_MAX);
        assert_eq!(delay(short_runs(40, &run(10))), DELAY_MIN);
    }
}
