//! The connection a request came on, as far as hyper does not have it to itself.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use wharf_engine::Caller;

use crate::client::Client;
use crate::guard::Reach;

/// Tells tasks that they are to stop.
#[derive(Clone)]
pub(crate) struct Stopping(watch::Receiver<bool>);

impl Stopping {
    /// Returns a sender that sends `true` for stop, and what hears it.
    pub(crate) fn channel() -> (watch::Sender<bool>, Self) {
        let (stop, stopping) = watch::channel(false);
        (stop, Self(stopping))
    }

    /// Returns once tasks are to stop, or nobody is left to tell them.
    pub(crate) async fn told(&mut self) {
        drop(self.0.wait_for(|stop| *stop).await);
    }
}

/// What is to be done with a connection once hyper has let go of it.
type Afterwards = BoxFuture<'static, io::Result<()>>;

/// A connection; clones are the same connection.
#[derive(Clone)]
pub(crate) struct Link {
    client: Client,
    reach: Reach,
    stopping: Stopping,
    afterwards: Arc<Mutex<Option<Afterwards>>>,
}

impl Link {
    pub(crate) fn new(client: Client, reach: Reach, stopping: Stopping) -> Self {
        Self {
            client,
            reach,
            stopping,
            afterwards: Arc::default(),
        }
    }

    /// Returns the connection to watch it from within the work set with [`Self::set_afterwards`], which would keep
    /// itself alive otherwise.
    pub(crate) fn watched(&self) -> Self {
        Self::new(self.client.clone(), self.reach, self.stopping.clone())
    }

    /// Returns how the client reaches the engine.
    pub(crate) fn reach(&self) -> Reach {
        self.reach
    }

    /// Returns who is at its other end, as far as that is known.
    pub(crate) fn caller(&self) -> Option<Caller> {
        // With TLS the socket's other end is the engine itself.
        match self.reach {
            Reach::Local => self.client.caller(),
            Reach::Tcp | Reach::Tls => None,
        }
    }

    /// Returns once the client has read what was sent to it, or has not in a while.
    pub(crate) async fn caught_up(&self) {
        self.client.caught_up().await;
    }

    /// Returns once the client is gone.
    pub(crate) async fn hung_up(&self) {
        self.client.hung_up().await;
    }

    /// Returns once the client is gone or the server is to stop.
    pub(crate) async fn over(&self) {
        let mut stopping = self.stopping.clone();
        tokio::select! {
            () = self.client.hung_up() => {}
            () = stopping.told() => {}
        }
    }

    /// Has `work` done with the connection once hyper has let go of it.
    pub(crate) fn set_afterwards(&self, work: Afterwards) {
        *self
            .afterwards
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(work);
    }

    /// Takes what is to be done with the connection now.
    pub(crate) fn take_afterwards(&self) -> Option<Afterwards> {
        self.afterwards
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}
