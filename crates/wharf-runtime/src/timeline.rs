//! When each step of a start was done, for those who measure. Without a wish for it nothing is
//! read and nothing sent.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// A step that is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// What was done.
    pub step: String,
    /// When, by the monotonic clock.
    pub at: Duration,
}

/// The marks of one side.
#[derive(Debug)]
pub(crate) struct Timeline(Option<Vec<Mark>>);

impl Timeline {
    /// A timeline, if one is wanted.
    pub(crate) fn new(wanted: bool) -> Self {
        Self(wanted.then(Vec::new))
    }

    /// Notes that `step` is done.
    pub(crate) fn mark(&mut self, step: &str) {
        if let Some(marks) = &mut self.0 {
            marks.push(Mark {
                step: step.to_owned(),
                at: now(),
            });
        }
    }

    /// The marks, if they are wanted.
    pub(crate) fn take(&mut self) -> Option<Vec<Mark>> {
        self.0.take()
    }
}

/// The monotonic clock, which all processes share.
fn now() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    // The clock counts from the machine's start.
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanoseconds)
}
