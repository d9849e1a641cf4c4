//! Health checks: when a container is probed, and what the results make of it.
//!
//! Docker's rules. The first probe comes one interval after the start, each further one an interval
//! after the last has ended; in the start period, until the first success, the interval is the
//! start interval, and failures do not count. One success makes a container healthy, `retries`
//! failures in a row make it unhealthy. What a user is told, an event and the state in lists and
//! inspect, is on record first; the results themselves live as long as the engine. A container that
//! has ended is shown as unhealthy, as Docker shows it.
//!
//! One task waits for whatever container is due next ([`Schedule`]): a container with a check costs
//! an entry in a queue, and a task while its probe runs.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::Instant;
use wharf_shim::protocol::Request;
use wharf_types::{ContainerId, failpoint};
use wharf_wire as wire;

use crate::container::Container;
use crate::error::Error;
use crate::inner::{Inner, until};
use crate::records::Durability;
use crate::signals;
use crate::state::State;

mod check;
mod probe;

use check::OnFailure;
pub(crate) use check::{Check, merge, validate};
pub(crate) use probe::Outcome;

/// Results kept of one container; Docker keeps as many.
const RESULTS_MAX: usize = 5;

/// What is known of a container's health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Health {
    pub(crate) verdict: Verdict,
    /// Failures in a row that count.
    pub(crate) streak: i64,
}

/// A container's health in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// No probe has succeeded yet.
    Starting,
    /// The last probes were good enough.
    Healthy,
    /// Too many failed in a row, or the container has ended.
    Unhealthy,
}

impl Verdict {
    /// The word in inspect, filters and events.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }

    /// What lists put behind the state.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::Starting => "health: starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

impl Health {
    /// The health of a container that has just been started.
    pub(crate) fn starting() -> Self {
        Self {
            verdict: Verdict::Starting,
            streak: 0,
        }
    }

    /// The health after a probe that began `age` after the container did.
    fn after(&self, success: bool, age: Duration, check: &Check) -> Self {
        if success {
            return Self {
                verdict: Verdict::Healthy,
                streak: 0,
            };
        }
        if self.verdict == Verdict::Starting && age < check.start_period {
            return self.clone();
        }
        let streak = self.streak.saturating_add(1);
        let verdict = if streak >= check.retries {
            Verdict::Unhealthy
        } else {
            self.verdict
        };
        Self { verdict, streak }
    }
}

/// How long until the next probe of a container of this age.
fn pause(verdict: Verdict, age: Duration, check: &Check) -> Duration {
    if verdict == Verdict::Starting && age < check.start_period {
        check.start_interval
    } else {
        check.interval
    }
}

/// When which container is to be probed.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    due: Mutex<Due>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Due {
    queue: BTreeSet<(Instant, ContainerId)>,
    at: HashMap<ContainerId, Instant>,
}

impl Schedule {
    fn due(&self) -> MutexGuard<'_, Due> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Plans a container's next probe, in the place of one that was planned.
    fn plan(&self, id: ContainerId, delay: Duration) {
        let now = Instant::now();
        // Intervals of centuries are as good as never.
        let at = now
            .checked_add(delay)
            .unwrap_or_else(|| now + Duration::from_secs(1 << 30));
        let mut due = self.due();
        if let Some(before) = due.at.insert(id, at) {
            due.queue.remove(&(before, id));
        }
        due.queue.insert((at, id));
        let first = due.queue.first() == Some(&(at, id));
        drop(due);
        if first {
            self.changed.notify_one();
        }
    }

    /// Waits for the next container that is due, and takes it off.
    async fn next(&self) -> ContainerId {
        loop {
            let first = self.due().queue.first().copied();
            let Some((at, id)) = first else {
                self.changed.notified().await;
                continue;
            };
            tokio::select! {
                () = tokio::time::sleep_until(at) => {}
                () = self.changed.notified() => continue,
            }
            let mut due = self.due();
            if due.queue.remove(&(at, id)) {
                due.at.remove(&id);
                return id;
            }
        }
    }
}

impl Inner {
    /// Probes containers as they are due, until the engine shuts down.
    pub(crate) fn keep_probing(self: &Arc<Self>) {
        let inner = Arc::clone(self);
        let mut closing = self.closing.subscribe();
        tokio::spawn(async move {
            loop {
                let id = tokio::select! {
                    id = inner.schedule.next() => id,
                    _ = closing.wait_for(|closing| *closing) => return,
                };
                if let Some(container) = inner.registry.get(id) {
                    let inner = Arc::clone(&inner);
                    tokio::spawn(async move { inner.probe(&container).await });
                }
            }
        });
    }

    /// Begins to probe a container that runs: it was started, found running or let go on.
    pub(crate) fn begin_probing(&self, container: &Container) {
        let Some(check) = Check::of(&container.definition.config) else {
            return;
        };
        container.live().health_round += 1;
        self.plan_probe(container, &check);
    }

    fn plan_probe(&self, container: &Container, check: &Check) {
        let status = container.status().clone();
        let (Some(running), Some(health)) = (status.state.running(), &status.health) else {
            return;
        };
        let age = since(running.started, Timestamp::now());
        self.schedule
            .plan(container.id(), pause(health.verdict, age, check));
    }

    /// Probes a container that is due.
    async fn probe(self: &Arc<Self>, container: &Arc<Container>) {
        let Some(check) = Check::of(&container.definition.config) else {
            return;
        };
        let round = container.live().health_round;
        let State::Running(running) = container.status().state.clone() else {
            // When it runs again it is planned anew.
            return;
        };
        // What is no more to be known need not be waited for.
        let stopped = until(container, |status| {
            let same = matches!(&status.state, State::Running(now) if *now == running);
            (!same).then_some(())
        });
        let outcome = tokio::select! {
            outcome = probe::run(self, container, &check) => outcome,
            _ = stopped => return,
        };
        failpoint::hit("engine.health.probed");
        if container.live().health_round != round || self.is_closing() {
            return;
        }
        let age = since(running.started, outcome.start);
        let success = outcome.code == 0;
        {
            let mut live = container.live();
            if live.probes.len() >= RESULTS_MAX {
                live.probes.pop_front();
            }
            live.probes.push_back(outcome);
        }
        if let Err(error) = self.judge(container, &check, success, age).await {
            tracing::error!(container.id = %container.id(), %error, "its health is not on record");
        }
        self.plan_probe(container, &check);
    }

    /// Draws the conclusion from a probe.
    async fn judge(
        self: &Arc<Self>,
        container: &Arc<Container>,
        check: &Check,
        success: bool,
        age: Duration,
    ) -> Result<(), Error> {
        let mut verdict = None;
        let commit = container.amend_if(&self.records, Durability::Engine, |status| {
            let (State::Running(_), Some(health)) = (&status.state, &mut status.health) else {
                return false;
            };
            let next = health.after(success, age, check);
            if next.verdict != health.verdict {
                verdict = Some(next.verdict);
            }
            *health = next;
            verdict.is_some()
        });
        let (Some(commit), Some(verdict)) = (commit, verdict) else {
            return Ok(());
        };
        commit
            .done()
            .await
            .map_err(|error| Error::internal("cannot record the health", error))?;
        failpoint::hit("engine.health.recorded");
        self.tell(container, &format!("health_status: {}", verdict.as_str()));
        if verdict == Verdict::Unhealthy {
            self.act_on_failure(container, check.on_failure);
        }
        Ok(())
    }

    /// Does what was asked for when the container becomes unhealthy.
    fn act_on_failure(self: &Arc<Self>, container: &Arc<Container>, action: OnFailure) {
        if action == OnFailure::Nothing {
            return;
        }
        let inner = Arc::clone(self);
        let container = Arc::clone(container);
        tokio::spawn(async move {
            let query = wire::StopQuery::default();
            let done = match action {
                OnFailure::Nothing => Ok(()),
                // Its policy has the say afterwards, as after any other death.
                OnFailure::Kill => {
                    let signal = [("signal", signals::KILL.to_string())];
                    inner.tell_with(&container, "kill", &signal);
                    let killed = inner.ask(&container, Request::Signal(signals::KILL)).await;
                    killed.map(drop)
                }
                OnFailure::Restart => inner.restart(&container, &query).await.map(drop),
                OnFailure::Stop => inner.stop(&container, &query).await.map(drop),
            };
            if let Err(error) = done {
                tracing::error!(container.id = %container.id(), %error, "it is unhealthy and stays as it is");
            }
        });
    }
}

/// Health as inspect shows it.
pub(crate) fn to_wire(container: &Container) -> Option<wire::Health> {
    let results = container
        .live()
        .probes
        .iter()
        .map(Outcome::to_wire)
        .collect();
    let health = container.status().health.clone()?;
    Some(wire::Health {
        status: health.verdict.as_str().to_owned(),
        failing_streak: health.streak,
        log: results,
    })
}

fn since(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check() -> Check {
        Check {
            retries: 2,
            interval: Duration::from_secs(30),
            start_interval: Duration::from_secs(1),
            start_period: Duration::from_secs(10),
            ..Check::of(&wire::ContainerConfig {
                healthcheck: Some(wire::HealthConfig {
                    test: vec!["CMD".to_owned(), "true".to_owned()],
                    ..Default::default()
                }),
                ..Default::default()
            })
            .expect("a check")
        }
    }

    fn verdicts(probes: &[(u64, bool)]) -> Vec<&'static str> {
        let mut health = Health::starting();
        let mut seen = Vec::new();
        for (age, success) in probes {
            health = health.after(*success, Duration::from_secs(*age), &check());
            seen.push(health.verdict.as_str());
        }
        seen
    }

    #[test]
    fn failures_count_after_the_start_period_or_the_first_success() {
        assert_eq!(
            verdicts(&[(1, false), (5, false), (9, false), (11, false), (41, false)]),
            ["starting", "starting", "starting", "starting", "unhealthy"]
        );
        assert_eq!(
            verdicts(&[(1, true), (2, false), (3, false), (4, true)]),
            ["healthy", "healthy", "unhealthy", "healthy"]
        );
    }

    #[test]
    fn the_start_interval_holds_until_the_first_success() {
        let check = check();
        let seconds = Duration::from_secs;
        for (verdict, age, expected) in [
            (Verdict::Starting, 0, 1),
            (Verdict::Starting, 9, 1),
            (Verdict::Starting, 10, 30),
            (Verdict::Healthy, 3, 30),
            (Verdict::Unhealthy, 60, 30),
        ] {
            assert_eq!(pause(verdict, seconds(age), &check), seconds(expected));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn containers_come_when_they_are_due_and_once() {
        let schedule = Schedule::default();
        let ids: Vec<ContainerId> = (0..3).map(|_| ContainerId::random()).collect();
        schedule.plan(ids[0], Duration::from_secs(30));
        schedule.plan(ids[1], Duration::from_secs(10));
        schedule.plan(ids[2], Duration::from_secs(20));
        // Planned again: the first plan is void.
        schedule.plan(ids[1], Duration::from_secs(25));
        let start = Instant::now();
        for (id, seconds) in [(ids[2], 20), (ids[1], 25), (ids[0], 30)] {
            assert_eq!(schedule.next().await, id);
            assert_eq!((Instant::now() - start).as_secs(), seconds);
        }
        assert!(schedule.due().queue.is_empty() && schedule.due().at.is_empty());
    }
}
