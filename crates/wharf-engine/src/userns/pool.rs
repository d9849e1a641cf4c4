//! The ids that containers with `--userns=auto` get theirs from.
//!
//! As with podman, they are the ranges that `/etc/subuid` and `/etc/subgid` give to the user
//! `containers`. Where it has none, they are those from 1,879,048,192 to 2,147,352,575: distributions
//! and systemd give these to nobody, and they are read as positive numbers by every program; what the
//! files give to others is left out.

use wharf_oci::runtime::IdMapping;

use super::subids::SubIds;

/// Whose entries they are.
pub(super) const OWNER: &str = "containers";
/// How many a container gets that does not say.
pub(super) const SIZE: u32 = 65_536;
/// Where `containers` has no entry.
const DEFAULT: Range = Range {
    first: 1_879_048_192,
    end: 2_147_352_576,
};

/// Ids in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Range {
    pub(super) first: u64,
    /// The first behind them.
    pub(super) end: u64,
}

impl Range {
    pub(super) fn new(first: u32, size: u32) -> Self {
        let first = u64::from(first);
        Self {
            first,
            end: first + u64::from(size),
        }
    }

    pub(super) fn one(id: u32) -> Self {
        Self::new(id, 1)
    }

    /// The ids of the host in a line of a mapping.
    pub(super) fn outside(line: &IdMapping) -> Self {
        Self::new(line.host_id, line.size)
    }
}

/// The ids to give away.
#[derive(Debug)]
pub(super) struct Pool {
    ranges: Vec<Range>,
    /// What of them is somebody else's.
    others: Vec<Range>,
}

/// The pool that a file's entries make.
pub(super) fn of(subids: &SubIds) -> Pool {
    let own: Vec<Range> = subids.of(OWNER, None).collect();
    if own.is_empty() {
        return Pool {
            ranges: vec![DEFAULT],
            others: subids.all().collect(),
        };
    }
    Pool {
        ranges: own,
        others: Vec::new(),
    }
}

impl Pool {
    /// The lowest id from which on `size` are free.
    pub(super) fn allocate(&self, size: u32, taken: &[Range]) -> Option<u32> {
        let mut taken: Vec<Range> = taken.iter().chain(&self.others).copied().collect();
        taken.sort_unstable();
        let in_range = |range: &Range| {
            let mut first = range.first;
            for taken in &taken {
                if taken.first >= first + u64::from(size) {
                    break;
                }
                first = first.max(taken.end);
            }
            (first + u64::from(size) <= range.end).then_some(first)
        };
        let first = self.ranges.iter().find_map(in_range)?;
        u32::try_from(first).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pool(text: &str) -> Pool {
        of(&text.parse().expect("entries"))
    }

    #[test]
    fn the_entry_of_containers_is_the_pool() {
        let pool = pool("containers:5000:100\nother:5050:10\ncontainers:9000:1000\n");
        assert_eq!(pool.allocate(100, &[]), Some(5000));
        assert_eq!(pool.allocate(100, &[Range::one(5099)]), Some(9000));
        assert_eq!(pool.allocate(1001, &[]), None);
    }

    #[test]
    fn without_an_entry_what_others_have_is_left_out() {
        let pool = pool("alice:1879048192:65536\n");
        assert_eq!(pool.allocate(SIZE, &[]), Some(1_879_048_192 + SIZE));
    }

    proptest! {
        #[test]
        fn what_is_given_is_in_the_pool_and_nobody_elses(
            own in prop::collection::vec((1_u32..2000, 1_u32..300), 1..4),
            sizes in prop::collection::vec(1_u32..120, 1..30),
            freed in any::<prop::sample::Index>(),
        ) {
            let entries: String = own.iter().map(|(first, size)| format!("containers:{first}:{size}\n")).collect();
            let pool = pool(&entries);
            let mut taken: Vec<Range> = Vec::new();
            for size in sizes {
                let Some(first) = pool.allocate(size, &taken) else {
                    // Then really no hole is large enough.
                    let free = |first: u64| {
                        let end = first + u64::from(size);
                        own.iter().any(|(f, s)| u64::from(*f) <= first && end <= u64::from(*f) + u64::from(*s))
                            && taken.iter().all(|t| t.end <= first || end <= t.first)
                    };
                    prop_assert!(!(0..2300).any(free));
                    continue;
                };
                let given = Range::new(first, size);
                let inside = |(f, s): &(u32, u32)| {
                    let range = Range::new(*f, *s);
                    range.first <= given.first && given.end <= range.end
                };
                prop_assert!(own.iter().any(inside));
                prop_assert!(taken.iter().all(|t| t.end <= given.first || given.end <= t.first));
                taken.push(given);
            }
            if !taken.is_empty() {
                // What is given back can be given again.
                let back = taken.swap_remove(freed.index(taken.len()));
                let size = u32::try_from(back.end - back.first).expect("size");
                prop_assert!(pool.allocate(size, &taken).is_some_and(|first| u64::from(first) <= back.first));
            }
        }
    }
}
