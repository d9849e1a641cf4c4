//! Waiting for conditions.

use std::time::{Duration, Instant};

/// How long a condition may take on a busy machine before it counts as never.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `probe` returns a value.
///
/// # Panics
/// Panics, naming `what`, when it does not within [`PATIENCE`].
pub fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "waited {PATIENCE:?} for: {what}"
        );
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Waits until `probe` is true.
///
/// # Panics
/// As [`until`].
pub fn until_true(what: &str, mut probe: impl FnMut() -> bool) {
    until(what, || probe().then_some(()));
}
