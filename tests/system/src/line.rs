//! A line to a registry that can be counted, cut and held.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How long a side may be silent until its thread looks whether the test is over.
const TICK: Duration = Duration::from_millis(200);

/// A port on this machine behind which another one is.
#[derive(Debug)]
pub struct Line {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    to: SocketAddr,
    /// Bytes after which a connection is cut, if any.
    cut_after: Option<u64>,
    passage: Mutex<Passage>,
    changed: Condvar,
    over: AtomicBool,
}

#[derive(Debug)]
struct Passage {
    /// Bytes that went to the client, over all connections.
    passed: u64,
    /// Bytes that may go in all.
    allowed: u64,
}

impl Line {
    /// Opens a line; a connection is cut after so many bytes to the client, if it is said.
    ///
    /// # Panics
    /// Panics when there is no port, or the address is none.
    #[must_use]
    pub fn to(address: &str, cut_after: Option<u64>) -> Self {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let own = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            to: address.parse().expect("an address"),
            cut_after,
            passage: Mutex::new(Passage {
                passed: 0,
                allowed: u64::MAX,
            }),
            changed: Condvar::new(),
            over: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.over.load(Ordering::Acquire) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || shared.carry(&client));
            }
        });
        Self {
            address: own,
            shared,
        }
    }

    /// Returns where it begins.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Returns how many bytes went to clients.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.shared.passage().passed
    }

    /// Lets so many bytes through in all, and holds what comes after them.
    pub fn allow(&self, bytes: u64) {
        self.shared.passage().allowed = bytes;
        self.shared.changed.notify_all();
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
        self.shared.changed.notify_all();
        // The thread that waits for connections sees that it is over.
        TcpStream::connect_timeout(&self.address, TICK).ok();
    }
}

impl Shared {
    fn passage(&self) -> std::sync::MutexGuard<'_, Passage> {
        self.passage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn carry(self: Arc<Self>, client: &TcpStream) {
        let Ok(server) = TcpStream::connect_timeout(&self.to, Duration::from_secs(10)) else {
            return;
        };
        let (Ok(mut from_client), Ok(mut to_server)) = (client.try_clone(), server.try_clone())
        else {
            return;
        };
        let up = std::thread::spawn(move || {
            std::io::copy(&mut from_client, &mut to_server).ok();
            to_server.shutdown(Shutdown::Write).ok();
        });
        self.down(&server, client);
        for end in [&server, client] {
            end.shutdown(Shutdown::Both).ok();
        }
        up.join().ok();
    }

    /// Carries the answers.
    fn down(&self, mut server: &TcpStream, mut client: &TcpStream) {
        let mut carried = 0;
        let mut buffer = [0; 16 << 10];
        loop {
            let left = self.cut_after.map_or(u64::MAX, |cut| cut - carried);
            let Some(most) = self.most(left) else { return };
            let most = usize::try_from(most)
                .unwrap_or(buffer.len())
                .min(buffer.len());
            let count = match server.read(&mut buffer[..most]) {
                Ok(0) | Err(_) => return,
                Ok(count) => count,
            };
            self.passage().passed += count as u64;
            carried += count as u64;
            if client.write_all(&buffer[..count]).is_err() || Some(carried) == self.cut_after {
                return;
            }
        }
    }

    /// Waits until something may pass, and says how much; nothing when it is over.
    fn most(&self, left: u64) -> Option<u64> {
        let mut passage = self.passage();
        loop {
            if self.over.load(Ordering::Acquire) {
                return None;
            }
            let allowed = passage.allowed.saturating_sub(passage.passed);
            if allowed > 0 {
                return Some(allowed.min(left));
            }
            let waited = self.changed.wait_timeout(passage, TICK);
            passage = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
