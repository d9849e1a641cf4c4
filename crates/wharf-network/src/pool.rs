//! A few things that take long to make, kept ready by a thread of their own.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// While the pool is at least half full, it is refilled only when nothing has been taken for this
/// long: whoever takes something is starting a container, and needs the processor and the kernel's
/// network lock more than we do.
const QUIET: Duration = Duration::from_millis(20);

/// How long to leave the kernel alone after it failed to make one.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Things kept ready. Dropping it ends the thread and drops them.
pub(crate) struct Pool<T> {
    shared: Arc<Shared<T>>,
    worker: Mutex<Option<JoinHandle<()>>>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    size: usize,
}

struct State<T> {
    ready: VecDeque<T>,
    taken_at: Option<Instant>,
    failed_at: Option<Instant>,
    closing: bool,
}

/// What the worker does next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Make,
    WaitFor(Duration),
    Wait,
    End,
}

impl<T: Send + 'static> Pool<T> {
    /// Keeps `size` things ready. `worker` is called once on the pool's thread and gives the
    /// function that makes one; a failure is reported there and tried again later.
    pub(crate) fn open<M>(
        name: &str,
        size: usize,
        worker: impl FnOnce() -> Option<M> + Send + 'static,
    ) -> std::io::Result<Self>
    where
        M: FnMut() -> Option<T>,
    {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                ready: VecDeque::with_capacity(size),
                taken_at: None,
                failed_at: None,
                closing: false,
            }),
            changed: Condvar::new(),
            size,
        });
        let theirs = Arc::clone(&shared);
        let worker = (size > 0)
            .then(|| {
                thread::Builder::new().name(name.to_owned()).spawn(move || {
                    if let Some(make) = worker() {
                        theirs.refill(make);
                    }
                })
            })
            .transpose()?;
        Ok(Self {
            shared,
            worker: Mutex::new(worker),
        })
    }

    /// The one that has been ready longest.
    pub(crate) fn take(&self) -> Option<T> {
        let mut state = self.shared.lock();
        let taken = state.ready.pop_front();
        state.taken_at = Some(Instant::now());
        drop(state);
        self.shared.changed.notify_all();
        taken
    }

    /// How many are ready.
    #[cfg(test)]
    pub(crate) fn ready(&self) -> usize {
        self.shared.lock().ready.len()
    }
}

impl<T> Pool<T> {
    /// Ends the thread and drops what was ready.
    pub(crate) fn close(&self) {
        self.shared.lock().closing = true;
        self.shared.changed.notify_all();
        let worker = self
            .worker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(worker) = worker
            && let Err(panic) = worker.join()
        {
            tracing::error!(?panic, "the pool's thread panicked");
        }
        self.shared.lock().ready.clear();
    }
}

impl<T> Drop for Pool<T> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<T> fmt::Debug for Pool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ready = self.shared.lock().ready.len();
        f.debug_struct("Pool")
            .field("size", &self.shared.size)
            .field("ready", &ready)
            .finish()
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing under the lock can leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refill(&self, mut make: impl FnMut() -> Option<T>) {
        let mut state = self.lock();
        loop {
            match state.next(self.size, Instant::now()) {
                Next::End => return,
                Next::Wait => {
                    state = self
                        .changed
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner);
                }
                Next::WaitFor(time) => {
                    let waited = self.changed.wait_timeout(state, time);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                Next::Make => {
                    drop(state);
                    let made = make();
                    state = self.lock();
                    state.failed_at = made.is_none().then(Instant::now);
                    state.ready.extend(made);
                }
            }
        }
    }
}

impl<T> State<T> {
    fn next(&self, size: usize, now: Instant) -> Next {
        if self.closing {
            return Next::End;
        }
        if self.ready.len() >= size {
            return Next::Wait;
        }
        let left = |since: Option<Instant>, pause: Duration| {
            since.and_then(|since| (since + pause).checked_duration_since(now))
        };
        let pause = match left(self.failed_at, AFTER_FAILURE) {
            Some(pause) => Some(pause),
            None if self.ready.len() >= size.div_ceil(2) => left(self.taken_at, QUIET),
            None => None,
        };
        match pause {
            Some(pause) if !pause.is_zero() => Next::WaitFor(pause),
            _ => Next::Make,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(ready: usize, taken_ago: Option<u64>, failed_ago: Option<u64>) -> Next {
        let now = Instant::now() + Duration::from_secs(60);
        let ago = |millis: u64| now - Duration::from_millis(millis);
        let state = State {
            ready: (0..ready).collect(),
            taken_at: taken_ago.map(ago),
            failed_at: failed_ago.map(ago),
            closing: false,
        };
        state.next(8, now)
    }

    #[test]
    fn refill_leaves_a_start_alone_unless_the_pool_is_low() {
        assert_eq!(next(8, Some(0), None), Next::Wait);
        assert_eq!(next(7, None, None), Next::Make);
        assert_eq!(
            next(7, Some(5), None),
            Next::WaitFor(Duration::from_millis(15))
        );
        assert_eq!(
            next(4, Some(5), None),
            Next::WaitFor(Duration::from_millis(15))
        );
        assert_eq!(next(4, Some(20), None), Next::Make);
        assert_eq!(next(3, Some(5), None), Next::Make);
        assert_eq!(
            next(0, Some(0), Some(400)),
            Next::WaitFor(Duration::from_millis(600))
        );
        assert_eq!(next(0, Some(0), Some(1000)), Next::Make);
    }

    #[test]
    fn pool_refills_and_ends_with_its_owner() {
        let (made, seen) = std::sync::mpsc::channel();
        let pool = Pool::open("test", 2, move || {
            let mut number = 0;
            Some(move || {
                number += 1;
                made.send(number).ok()?;
                Some(number)
            })
        })
        .unwrap();
        for number in 1..=2 {
            assert_eq!(seen.recv_timeout(Duration::from_secs(5)), Ok(number));
        }
        while pool.ready() < 2 {
            thread::yield_now();
        }
        assert_eq!(pool.take(), Some(1));
        assert_eq!(seen.recv_timeout(Duration::from_secs(5)), Ok(3));
        drop(pool);
        assert!(
            seen.recv().is_err(),
            "the worker is gone, and its sender with it"
        );
    }
}
