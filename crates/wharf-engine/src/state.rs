//! The life of a container, as a pure function from state and event to the next state.
//!
//! ```text
//!            create                      ┌──────── pause ───────▶ paused ──┐
//!              │                         │ ◀────── unpause ───────┘         │
//!              ▼         begin           │                                  │
//!           created ───────────────▶ starting ──started──▶ running          │
//!              ▲                      ▲  │  │                 │  ended      │ ended
//!              └── failed, never ran ─┘  │  │   ┌─────────────┴─────────────┘
//!                                  begin │  │   ▼
//!                     exited ◀───────────┼──┴─ failed, ran before
//!                       │  ▲   ended     │   │
//!                       │  │             │   │ restart planned
//!                       │  └── given up ─┼─ restarting ──begin──▶ starting
//!                       ▼                │
//!       remove: removing ──▶ (gone)      └─ any of created, exited, restarting, dead ─remove─▶
//!                  └── failed ──▶ dead
//! ```
//!
//! *starting* and *removing* belong to the one operation that brought the container there: every
//! other operation finds them and waits or is refused, so that no lock is held over the work.
//! What is wanted of a container (to run, or not) is not here: it is [`crate::container::Wanted`],
//! with another writer.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Where a container is in its life, with exactly what is known there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// It never ran; why the last try failed, if there was one.
    Created(Option<StartFailure>),
    /// A start is under way; from where it began, to fall back to.
    Starting(Box<Self>),
    /// It runs.
    Running(Running),
    /// It is frozen.
    Paused(Running),
    /// It has ended and its policy starts it again soon.
    Restarting(Ended),
    /// It has ended.
    Exited(Ended),
    /// It is being removed; how it last ended.
    Removing(Option<Ended>),
    /// Removing failed; only removing it again is possible.
    Dead(Option<Ended>),
    /// It is gone; never on record.
    Removed(Option<Ended>),
}

/// A start that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StartFailure {
    /// What the user was told.
    pub(crate) message: String,
    /// The exit code it stands for.
    pub(crate) code: i32,
}

/// A container that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Running {
    /// Its first process.
    pub(crate) pid: i32,
    /// Since when.
    pub(crate) started: Timestamp,
}

/// A container that ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// Its exit code.
    pub(crate) code: i32,
    /// Whether the kernel killed it for want of memory.
    pub(crate) oom_killed: bool,
    /// When it was started.
    pub(crate) started: Timestamp,
    /// When it ended.
    pub(crate) finished: Timestamp,
    /// What went wrong, if it did not simply end.
    pub(crate) error: String,
}

/// What happens to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// A start begins.
    Begin,
    /// The start has succeeded.
    Started(Running),
    /// The start has failed.
    Failed(StartFailure),
    /// Its first process has ended.
    Ended(Ended),
    /// It was frozen.
    Paused,
    /// It was thawed.
    Unpaused,
    /// Its policy will start it again.
    RestartPlanned,
    /// Its policy will not start it again after all.
    GivenUp,
    /// Removing begins.
    Remove,
    /// Removing has failed.
    RemoveFailed,
    /// It is gone.
    Removed,
}

/// Why an event cannot happen in a state; the caller words it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// A start is under way.
    Starting,
    /// It runs already.
    Running,
    /// It is paused.
    Paused,
    /// It is not paused.
    NotPaused,
    /// It does not run.
    NotRunning,
    /// It is being removed.
    Removing,
    /// Removing it has failed before.
    Dead,
    /// It is gone.
    Removed,
}

impl State {
    /// Returns the state after `event`.
    pub(crate) fn after(&self, event: Event) -> Result<Self, Denied> {
        Ok(match (self, event) {
            (Self::Created(_) | Self::Exited(_) | Self::Restarting(_), Event::Begin) => {
                Self::Starting(Box::new(self.clone()))
            }
            (Self::Starting(_), Event::Started(running)) => Self::Running(running),
            (Self::Starting(before), Event::Failed(failure)) => before.after_failure(failure),
            (Self::Running(_) | Self::Paused(_), Event::Ended(ended)) => Self::Exited(ended),
            (Self::Running(running), Event::Paused) => Self::Paused(running.clone()),
            (Self::Paused(running), Event::Unpaused) => Self::Running(running.clone()),
            (Self::Exited(ended), Event::RestartPlanned) => Self::Restarting(ended.clone()),
            (Self::Restarting(ended), Event::GivenUp) => Self::Exited(ended.clone()),
            (
                Self::Created(_) | Self::Exited(_) | Self::Restarting(_) | Self::Dead(_),
                Event::Remove,
            ) => Self::Removing(self.last()),
            (Self::Removing(ended), Event::RemoveFailed) => Self::Dead(ended.clone()),
            (Self::Removing(ended), Event::Removed) => Self::Removed(ended.clone()),
            (_, event) => return Err(self.denial(&event)),
        })
    }

    /// Where a start that failed leaves a container: as it was, with the failure told.
    fn after_failure(&self, failure: StartFailure) -> Self {
        match self {
            Self::Exited(ended) | Self::Restarting(ended) => Self::Exited(Ended {
                code: failure.code,
                error: failure.message,
                ..ended.clone()
            }),
            _ => Self::Created(Some(failure)),
        }
    }

    /// How it ended, for those who wait until it is gone: a start that failed counts as an end, at
    /// no particular time.
    fn last(&self) -> Option<Ended> {
        match self {
            Self::Created(Some(failure)) => Some(Ended {
                code: failure.code,
                oom_killed: false,
                started: Timestamp::UNIX_EPOCH,
                finished: Timestamp::UNIX_EPOCH,
                error: failure.message.clone(),
            }),
            _ => self.ended().cloned(),
        }
    }

    fn denial(&self, event: &Event) -> Denied {
        match self {
            Self::Starting(_) => Denied::Starting,
            Self::Running(_) if *event == Event::Unpaused => Denied::NotPaused,
            Self::Running(_) => Denied::Running,
            Self::Paused(_) => Denied::Paused,
            Self::Created(_) | Self::Restarting(_) | Self::Exited(_) => Denied::NotRunning,
            Self::Removing(_) => Denied::Removing,
            Self::Dead(_) => Denied::Dead,
            Self::Removed(_) => Denied::Removed,
        }
    }

    /// Returns the state as tables and filters name it. A start under way shows what was before.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Created(_) => "created",
            Self::Starting(before) => before.name(),
            Self::Running(_) => "running",
            Self::Paused(_) => "paused",
            Self::Restarting(_) => "restarting",
            Self::Exited(_) => "exited",
            Self::Removing(_) | Self::Removed(_) => "removing",
            Self::Dead(_) => "dead",
        }
    }

    /// Returns the running process, frozen or not.
    pub(crate) fn running(&self) -> Option<&Running> {
        match self {
            Self::Running(running) | Self::Paused(running) => Some(running),
            _ => None,
        }
    }

    /// Returns how it last ended, while it does not run.
    pub(crate) fn ended(&self) -> Option<&Ended> {
        match self {
            Self::Restarting(ended) | Self::Exited(ended) => Some(ended),
            Self::Removing(ended) | Self::Dead(ended) | Self::Removed(ended) => ended.as_ref(),
            Self::Starting(before) => before.ended(),
            Self::Created(_) | Self::Running(_) | Self::Paused(_) => None,
        }
    }

    /// Returns the last exit code, 0 when there is none.
    pub(crate) fn exit_code(&self) -> i32 {
        match self {
            Self::Created(Some(failure)) => failure.code,
            Self::Starting(before) => before.exit_code(),
            _ => self.ended().map_or(0, |ended| ended.code),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running() -> Running {
        Running {
            pid: 7,
            started: Timestamp::UNIX_EPOCH,
        }
    }

    fn ended(code: i32, error: &str) -> Ended {
        Ended {
            code,
            oom_killed: false,
            started: Timestamp::UNIX_EPOCH,
            finished: Timestamp::UNIX_EPOCH,
            error: error.to_owned(),
        }
    }

    fn failure() -> StartFailure {
        StartFailure {
            message: "no such program".to_owned(),
            code: 127,
        }
    }

    fn run(start: State, events: &[Event]) -> Result<State, Denied> {
        events
            .iter()
            .try_fold(start, |state, event| state.after(event.clone()))
    }

    #[test]
    fn a_whole_life() {
        let life = [
            Event::Begin,
            Event::Started(running()),
            Event::Paused,
            Event::Unpaused,
            Event::Ended(ended(3, "")),
            Event::RestartPlanned,
            Event::Begin,
            Event::Started(running()),
            Event::Ended(ended(4, "")),
            Event::Remove,
            Event::RemoveFailed,
            Event::Remove,
            Event::Removed,
        ];
        let last = run(State::Created(None), &life);
        assert_eq!(last, Ok(State::Removed(Some(ended(4, "")))));
    }

    #[test]
    fn a_failed_start_leaves_what_was_before() {
        let begin = [Event::Begin, Event::Failed(failure())];
        assert_eq!(
            run(State::Created(None), &begin),
            Ok(State::Created(Some(failure())))
        );
        assert_eq!(
            run(State::Exited(ended(0, "")), &begin),
            Ok(State::Exited(ended(127, "no such program")))
        );
        assert_eq!(
            run(State::Created(None), &begin).map(|s| s.exit_code()),
            Ok(127)
        );
    }

    #[test]
    fn the_code_of_a_failed_start_is_told_until_it_is_gone() {
        let events = [
            Event::Begin,
            Event::Failed(failure()),
            Event::Remove,
            Event::Removed,
        ];
        let gone = run(State::Created(None), &events).map(|state| state.exit_code());
        assert_eq!(gone, Ok(127));
    }

    #[test]
    fn a_paused_container_can_be_killed() {
        let ended = ended(137, "");
        assert_eq!(
            State::Paused(running()).after(Event::Ended(ended.clone())),
            Ok(State::Exited(ended))
        );
    }

    #[test]
    fn what_does_not_fit_is_denied_with_its_reason() {
        let starting = State::Starting(Box::new(State::Created(None)));
        for (state, event, denied) in [
            (starting.clone(), Event::Begin, Denied::Starting),
            (starting, Event::Remove, Denied::Starting),
            (State::Running(running()), Event::Begin, Denied::Running),
            (State::Running(running()), Event::Remove, Denied::Running),
            (
                State::Running(running()),
                Event::Unpaused,
                Denied::NotPaused,
            ),
            (State::Paused(running()), Event::Paused, Denied::Paused),
            (State::Paused(running()), Event::Begin, Denied::Paused),
            (State::Created(None), Event::Paused, Denied::NotRunning),
            (State::Removing(None), Event::Begin, Denied::Removing),
            (State::Removing(None), Event::Remove, Denied::Removing),
            (State::Dead(None), Event::Begin, Denied::Dead),
            (State::Removed(None), Event::Remove, Denied::Removed),
        ] {
            assert_eq!(
                state.after(event.clone()),
                Err(denied),
                "{state:?} {event:?}"
            );
        }
    }
}
