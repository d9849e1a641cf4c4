//! When to look at rules that somebody else has changed.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long nothing must have changed before it is looked at.
const QUIET: Duration = Duration::from_millis(50);

/// How long a stream of changes can put that off.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// No more repairs than these are made within [`CONTEST`]: somebody else undoes them.
const CONTESTED: usize = 20;
const CONTEST: Duration = Duration::from_secs(10);

/// Decides when to look.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// The first and the last change not yet looked at.
    changed: Option<(Instant, Instant)>,
    repaired: VecDeque<Instant>,
    contested: bool,
}

impl Pace {
    /// Somebody else has changed something.
    pub(super) fn changed(&mut self, now: Instant) {
        let (first, last) = self.changed.get_or_insert((now, now));
        *last = now.max(*first);
    }

    /// It has been looked at. True when it becomes clear that somebody else undoes the repairs.
    pub(super) fn looked(&mut self, now: Instant, repaired: bool) -> bool {
        self.changed = None;
        self.repaired.retain(|at| now.duration_since(*at) < CONTEST);
        self.repaired.extend(repaired.then_some(now));
        let before = self.contested;
        self.contested = match self.repaired.len() {
            CONTESTED.. => true,
            number => before && number > CONTESTED / 2,
        };
        self.contested && !before
    }

    /// How long until it is time to look, if there is anything to look at.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        let (first, last) = self.changed?;
        let quiet = (last + QUIET).min(first + LONGEST_WAIT);
        let due = match self.repaired.front() {
            Some(oldest) if self.repaired.len() >= CONTESTED => quiet.max(*oldest + CONTEST),
            _ => quiet,
        };
        Some(due.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_once_it_is_quiet_and_soon_in_any_case() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut pace = Pace::default();
        assert_eq!(pace.wait(start), None);
        pace.changed(start);
        assert_eq!(pace.wait(at(20)), Some(Duration::from_millis(30)));
        for millis in (30..490).step_by(20) {
            pace.changed(at(millis));
            assert!(
                pace.wait(at(millis)).unwrap() > Duration::from_millis(15),
                "{millis}"
            );
        }
        pace.changed(at(490));
        assert_eq!(pace.wait(at(490)), Some(Duration::from_millis(10)));
        assert!(!pace.looked(at(500), true));
        assert_eq!(pace.wait(at(500)), None);
    }

    #[test]
    fn does_not_fight() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut pace = Pace::default();
        for round in 0..19 {
            pace.changed(at(round * 50));
            assert_eq!(pace.wait(at(round * 50)), Some(QUIET));
            assert!(!pace.looked(at(round * 50 + 50), true));
        }
        assert!(pace.looked(at(1000), true), "told once");
        pace.changed(at(1000));
        assert_eq!(pace.wait(at(1000)), Some(Duration::from_millis(9050)));
        assert!(!pace.looked(at(10050), true), "and not again");
        pace.changed(at(10060));
        assert!(
            pace.wait(at(10060)).unwrap() < Duration::from_millis(100),
            "one is forgotten"
        );
    }
}
