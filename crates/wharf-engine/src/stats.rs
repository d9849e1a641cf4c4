//! What containers use, told every second.
//!
//! One collector serves everybody who listens: it is made with the first listener, reads each
//! listened-to container once a second whatever the number of its listeners, and ends with the last.
//! What it reads with stays open in between ([`gauge`]). Who asks once gets two readings a second
//! apart, or one, of his own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use wharf_types::ContainerId;
use wharf_wire as wire;

use crate::container::Container;
use crate::error::Error;
use crate::inner::Inner;
use crate::streams::StatsStream;

mod document;
mod gauge;

use gauge::{Gauge, Machine};

/// Between two readings.
const PERIOD: Duration = Duration::from_secs(1);

type Reading = Arc<wire::ContainerStats>;

/// Who listens to which container.
#[derive(Debug, Default)]
pub(crate) struct Listeners(Mutex<Channels>);

#[derive(Debug, Default)]
struct Channels {
    open: HashMap<ContainerId, watch::Sender<Option<Reading>>>,
    /// Whether the collector is there to serve them.
    collecting: bool,
}

impl Listeners {
    fn channels(&self) -> MutexGuard<'_, Channels> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a listener; true when there is no collector yet.
    fn add(&self, id: ContainerId) -> (watch::Receiver<Option<Reading>>, bool) {
        let mut channels = self.channels();
        let sender = channels.open.entry(id).or_default();
        let receiver = sender.subscribe();
        (receiver, !std::mem::replace(&mut channels.collecting, true))
    }

    /// The containers that are listened to. When there is none the collector ends.
    fn wanted(&self) -> Vec<ContainerId> {
        let mut channels = self.channels();
        channels
            .open
            .retain(|_, sender| sender.receiver_count() > 0);
        channels.collecting = !channels.open.is_empty();
        channels.open.keys().copied().collect()
    }

    /// Hands a reading to those who listen; without one the container is gone, and so are they.
    fn tell(&self, id: ContainerId, reading: Option<Reading>) {
        let mut channels = self.channels();
        match reading {
            Some(reading) => {
                if let Some(sender) = channels.open.get(&id) {
                    sender.send_replace(Some(reading));
                }
            }
            None => {
                channels.open.remove(&id);
            }
        }
    }

    /// Ends every stream.
    fn close(&self) {
        *self.channels() = Channels::default();
    }
}

impl Inner {
    /// See [`crate::Engine::stats`].
    pub(crate) async fn stats(
        self: &Arc<Self>,
        container: &Arc<Container>,
        query: wire::StatsQuery,
    ) -> Result<StatsStream, Error> {
        if query.stream {
            return Ok(StatsStream(self.listen(container)));
        }
        let (gauge, first) = self.read_once(container, None).await?;
        let reading = match gauge {
            Some(gauge) if !query.one_shot => {
                tokio::time::sleep(PERIOD).await;
                self.read_once(container, Some(gauge)).await?.1
            }
            _ => first,
        };
        Ok(StatsStream(stream::iter([Arc::new(reading)]).boxed()))
    }

    /// Reads a container apart from the collector. Returns what to read the next time with, if it
    /// runs.
    async fn read_once(
        self: &Arc<Self>,
        container: &Arc<Container>,
        gauge: Option<Gauge>,
    ) -> Result<(Option<Gauge>, wire::ContainerStats), Error> {
        let inner = Arc::clone(self);
        let container = Arc::clone(container);
        self.blocking(move || {
            let machine = Machine::read(true);
            Ok(inner.read(&container, gauge, &machine))
        })
        .await
    }

    fn listen(self: &Arc<Self>, container: &Container) -> BoxStream<'static, Reading> {
        let (receiver, first) = self.listeners.add(container.id());
        if first {
            let inner = Arc::clone(self);
            tokio::spawn(async move { inner.collect().await });
        }
        let next = |mut receiver: watch::Receiver<Option<Reading>>| async move {
            loop {
                receiver.changed().await.ok()?;
                let reading = receiver.borrow_and_update().clone();
                if let Some(reading) = reading {
                    return Some((reading, receiver));
                }
            }
        };
        stream::unfold(receiver, next).boxed()
    }

    /// The collector.
    async fn collect(self: Arc<Self>) {
        let mut gauges = HashMap::new();
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut closing = self.closing.subscribe();
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = closing.wait_for(|closing| *closing) => break,
            }
            let wanted = self.listeners.wanted();
            if wanted.is_empty() {
                return;
            }
            let inner = Arc::clone(&self);
            let read = tokio::task::spawn_blocking(move || inner.read_all(&wanted, gauges));
            match read.await {
                Ok(next) => gauges = next,
                Err(error) => {
                    tracing::error!(%error, "what containers use is not told any more");
                    break;
                }
            }
        }
        self.listeners.close();
    }

    fn read_all(
        &self,
        wanted: &[ContainerId],
        mut gauges: HashMap<ContainerId, Gauge>,
    ) -> HashMap<ContainerId, Gauge> {
        let machine = Machine::read(true);
        let mut kept = HashMap::with_capacity(wanted.len());
        for id in wanted {
            let Some(container) = self.registry.get(*id) else {
                self.listeners.tell(*id, None);
                continue;
            };
            let (gauge, reading) = self.read(&container, gauges.remove(id), &machine);
            kept.extend(gauge.map(|gauge| (*id, gauge)));
            self.listeners.tell(*id, Some(Arc::new(reading)));
        }
        kept
    }

    /// Reads a container; one that does not run uses nothing.
    fn read(
        &self,
        container: &Container,
        gauge: Option<Gauge>,
        machine: &Machine,
    ) -> (Option<Gauge>, wire::ContainerStats) {
        let (name, running) = {
            let status = container.status();
            (status.name.to_string(), status.state.running().cloned())
        };
        let identity = wire::ContainerStats {
            name: format!("/{name}"),
            id: container.id().to_string(),
            ..Default::default()
        };
        let gauge = running.and_then(|running| match gauge {
            Some(gauge) if gauge.is_of(&running) => Some(gauge),
            _ => {
                let (_, cgroup) = self.cgroup(container).ok()?;
                Gauge::open(&cgroup, running)
            }
        });
        let Some(mut gauge) = gauge else {
            return (None, identity);
        };
        match gauge.read(identity.clone(), machine) {
            Some(reading) => (Some(gauge), reading),
            // It has just ended.
            None => (None, identity),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_collector_is_made_once_and_ends_with_the_last_listener() {
        let listeners = Listeners::default();
        let id = ContainerId::random();
        let (one, first) = listeners.add(id);
        assert!(first);
        let (two, first) = listeners.add(id);
        assert!(!first);
        assert_eq!(listeners.wanted(), [id]);
        drop(one);
        assert_eq!(listeners.wanted(), [id]);
        drop(two);
        assert!(listeners.wanted().is_empty());
        let (_three, first) = listeners.add(id);
        assert!(first);
    }
}
