//! One at a time for each thing: who comes second finds what the first has brought.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as Turns, OwnedMutexGuard};

/// Whose turn it is, for each key somebody waits for.
#[derive(Debug)]
pub(crate) struct Flights<K>(Mutex<HashMap<K, Weak<Turns<()>>>>);

impl<K: Eq + Hash> Flights<K> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(HashMap::new()))
    }

    /// Waits for the turn; it lasts as long as the value.
    pub(crate) async fn turn(&self, key: K) -> OwnedMutexGuard<()> {
        let turns = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match all.get(&key).and_then(Weak::upgrade) {
                Some(turns) => turns,
                None => {
                    // Nobody waits for these any more.
                    all.retain(|_, turns| turns.strong_count() > 0);
                    let turns = Arc::new(Turns::new(()));
                    all.insert(key, Arc::downgrade(&turns));
                    turns
                }
            }
        };
        turns.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_second_waits_for_the_first_of_the_same_key() {
        let flights = Flights::new();
        let first = flights.turn("a").await;
        let other = flights.turn("b").await;
        let mut second = Box::pin(flights.turn("a"));
        let waiting = futures_util::future::poll_immediate(&mut second).await;
        assert!(waiting.is_none());
        drop((first, other));
        drop(second.await);
        let _again = flights.turn("c").await;
        assert_eq!(
            flights.0.lock().expect("sound").len(),
            1,
            "what is over is forgotten"
        );
    }
}
