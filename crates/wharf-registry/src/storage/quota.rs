//! Quotas: how many bytes the repositories below a prefix may hold together.
//!
//! A blob counts once for a prefix, in however many of its repositories it is: what counts is what the
//! prefix keeps on the disk.

use std::collections::HashMap;

use wharf_types::{Digest, Repository};

/// A limit for all repositories below a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// `team` is the repository of this name and those below `team/`; empty is all.
    pub prefix: String,
    /// Bytes they may hold together.
    pub limit: u64,
}

/// A quota that does not allow something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "quota exceeded: {} may hold {limit} bytes, and holds {used}",
    if prefix.is_empty() { "the registry".to_owned() } else { format!("repositories below {prefix:?}") }
)]
pub struct QuotaExceeded {
    /// The quota's prefix.
    pub prefix: String,
    /// Its limit.
    pub limit: u64,
    /// What is held.
    pub used: u64,
}

/// What is held under each quota.
#[derive(Debug, Default)]
pub(crate) struct Accounts(Vec<Account>);

#[derive(Debug)]
struct Account {
    quota: Quota,
    used: u64,
    /// In how many places below the prefix each blob is, and its size.
    held: HashMap<Digest, (usize, u64)>,
}

impl Quota {
    fn covers(&self, name: &Repository) -> bool {
        let rest = name.as_str().strip_prefix(&self.prefix);
        self.prefix.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl Account {
    fn exceeded(&self) -> QuotaExceeded {
        QuotaExceeded {
            prefix: self.quota.prefix.clone(),
            limit: self.quota.limit,
            used: self.used,
        }
    }
}

impl Accounts {
    pub(crate) fn new(quotas: Vec<Quota>) -> Self {
        let account = |quota| Account {
            quota,
            used: 0,
            held: HashMap::new(),
        };
        Self(quotas.into_iter().map(account).collect())
    }

    /// Adds one place where a blob is.
    pub(crate) fn hold(&mut self, name: &Repository, digest: Digest, size: u64) {
        for account in self.of(name) {
            let (places, _) = account.held.entry(digest).or_insert((0, size));
            *places += 1;
            if *places == 1 {
                account.used = account.used.saturating_add(size);
            }
        }
    }

    /// Takes one place away where a blob was.
    pub(crate) fn release(&mut self, name: &Repository, digest: Digest) {
        for account in self.of(name) {
            let Some((places, size)) = account.held.get_mut(&digest) else {
                continue;
            };
            *places -= 1;
            if *places == 0 {
                account.used = account.used.saturating_sub(*size);
                account.held.remove(&digest);
            }
        }
    }

    fn of(&mut self, name: &Repository) -> impl Iterator<Item = &mut Account> {
        self.0
            .iter_mut()
            .filter(|account| account.quota.covers(name))
    }

    /// Returns whether a repository may hold a blob too.
    pub(crate) fn admit(
        &self,
        name: &Repository,
        digest: Digest,
        size: u64,
    ) -> Result<(), QuotaExceeded> {
        let full = self.0.iter().find(|account| {
            account.quota.covers(name)
                && !account.held.contains_key(&digest)
                && account.used.saturating_add(size) > account.quota.limit
        });
        full.map_or(Ok(()), |account| Err(account.exceeded()))
    }

    /// Returns how many bytes more a repository may hold, and what to say about the quota that says so.
    pub(crate) fn room(&self, name: &Repository) -> Option<(u64, QuotaExceeded)> {
        let covering = self.0.iter().filter(|account| account.quota.covers(name));
        let rooms = covering.map(|account| {
            let room = account.quota.limit.saturating_sub(account.used);
            (room, account.exceeded())
        });
        rooms.min_by_key(|(room, _)| *room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Repository {
        text.parse().expect("a name")
    }

    #[test]
    fn a_blob_counts_once_for_each_prefix() {
        let quota = |prefix: &str, limit| Quota {
            prefix: prefix.to_owned(),
            limit,
        };
        let mut accounts = Accounts::new(vec![quota("team", 10), quota("", 100)]);
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        accounts.hold(&name("team/a"), one, 8);
        accounts.hold(&name("team/b"), one, 8);
        accounts.hold(&name("teams"), two, 50);
        assert_eq!(accounts.room(&name("team")).map(|(room, _)| room), Some(2));
        assert_eq!(
            accounts.room(&name("teams")).map(|(room, _)| room),
            Some(42)
        );
        assert!(
            accounts.admit(&name("team/c"), one, 8).is_ok(),
            "it is held already"
        );
        let refused = accounts.admit(&name("team/c"), two, 50);
        assert_eq!(
            refused.map_err(|error| error.to_string()),
            Err(
                "quota exceeded: repositories below \"team\" may hold 10 bytes, and holds 8"
                    .to_owned()
            )
        );
        accounts.release(&name("team/a"), one);
        assert_eq!(accounts.room(&name("team")).map(|(room, _)| room), Some(2));
        accounts.release(&name("team/b"), one);
        assert_eq!(accounts.room(&name("team")).map(|(room, _)| room), Some(10));
        assert_eq!(
            accounts.room(&name("other")).map(|(room, _)| room),
            Some(50)
        );
    }
}
