//! How often one client may ask.
//!
//! A client is an address, and for IPv6 the /64 it is in: who has one such address has them all. Each
//! has an allowance that fills up with time and pays for requests, so that a pull's burst is free and
//! what goes on for long is not.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Most clients remembered at a time; one that is not has a full allowance.
const MOST_CLIENTS: usize = 64 * 1024;

/// A rate that clients must keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests a second, in the long run.
    pub per_second: u32,
    /// Requests that may be made at once.
    pub burst: u32,
}

/// What each client has left.
#[derive(Debug)]
pub(crate) struct Allowances {
    rate: Rate,
    clients: Mutex<HashMap<IpAddr, Allowance>>,
}

#[derive(Debug, Clone, Copy)]
struct Allowance {
    requests: f64,
    at: Instant,
}

impl Allowances {
    pub(crate) fn new(rate: Rate) -> Self {
        Self {
            rate,
            clients: Mutex::default(),
        }
    }

    /// Pays for a request; when nothing is left, returns how long until there is.
    pub(crate) fn pay(&self, client: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= MOST_CLIENTS {
            clients.retain(|_, allowance| !self.is_full(allowance, now));
            // So many at once that none is full: better to forget than to grow.
            if clients.len() >= MOST_CLIENTS {
                clients.clear();
            }
        }
        let full = Allowance {
            requests: f64::from(self.rate.burst),
            at: now,
        };
        let allowance = clients.entry(group(client)).or_insert(full);
        allowance.requests = self.filled(allowance, now);
        allowance.at = now;
        if allowance.requests >= 1.0 {
            allowance.requests -= 1.0;
            return Ok(());
        }
        let missing = 1.0 - allowance.requests;
        Err(Duration::from_secs_f64(
            missing / f64::from(self.rate.per_second.max(1)),
        ))
    }

    fn filled(&self, allowance: &Allowance, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(allowance.at).as_secs_f64();
        let filled = allowance.requests + passed * f64::from(self.rate.per_second);
        filled.min(f64::from(self.rate.burst))
    }

    fn is_full(&self, allowance: &Allowance, now: Instant) -> bool {
        self.filled(allowance, now) >= f64::from(self.rate.burst)
    }
}

fn group(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & (u128::MAX << 64);
            Ipv6Addr::from(network).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_more_must_wait() {
        let allowances = Allowances::new(Rate {
            per_second: 2,
            burst: 3,
        });
        let (one, other) = (
            "10.0.0.1".parse().expect("v4"),
            "10.0.0.2".parse().expect("v4"),
        );
        let now = Instant::now();
        for _ in 0..3 {
            assert_eq!(allowances.pay(one, now), Ok(()));
        }
        assert_eq!(allowances.pay(one, now), Err(Duration::from_millis(500)));
        assert_eq!(allowances.pay(other, now), Ok(()));
        let later = now + Duration::from_millis(500);
        assert_eq!(allowances.pay(one, later), Ok(()));
        assert!(allowances.pay(one, later).is_err());
        let much_later = now + Duration::from_secs(3600);
        for _ in 0..3 {
            assert_eq!(allowances.pay(one, much_later), Ok(()));
        }
        assert!(
            allowances.pay(one, much_later).is_err(),
            "no more than the burst is saved up"
        );
    }

    #[test]
    fn neighbours_share_an_allowance_and_the_table_is_bounded() {
        let allowances = Allowances::new(Rate {
            per_second: 1,
            burst: 1,
        });
        let now = Instant::now();
        assert!(
            allowances
                .pay("2001:db8::1".parse().expect("v6"), now)
                .is_ok()
        );
        assert!(
            allowances
                .pay("2001:db8::2".parse().expect("v6"), now)
                .is_err()
        );
        assert!(
            allowances
                .pay("2001:db8:0:1::1".parse().expect("v6"), now)
                .is_ok()
        );
        for number in 0..70_000_u32 {
            allowances
                .pay(std::net::Ipv4Addr::from(number).into(), now)
                .expect("each is new");
        }
        assert!(allowances.clients.lock().expect("sound").len() <= MOST_CLIENTS);
    }
}
