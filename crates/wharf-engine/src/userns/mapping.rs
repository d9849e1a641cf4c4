//! A container's mapping of ids.

use serde::{Deserialize, Serialize};
use wharf_oci::runtime::IdMapping;
use wharf_store::IdMaps;

/// Which ids of the host stand for a container's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mapping {
    pub(crate) uids: Vec<IdMapping>,
    pub(crate) gids: Vec<IdMapping>,
}

/// Id that the host's root has in the mapping for mounts. No file of an image has it: it is the last
/// but one, and the last is no id.
const ROOT_IN_MOUNTS: u32 = u32::MAX - 1;

impl Mapping {
    /// Every id is itself.
    pub(crate) fn identity() -> Self {
        let all = vec![IdMapping {
            container_id: 0,
            host_id: 0,
            size: u32::MAX,
        }];
        Self {
            uids: all.clone(),
            gids: all,
        }
    }

    /// The same for the store.
    pub(crate) fn ids(&self) -> IdMaps {
        IdMaps {
            uids: self.uids.clone(),
            gids: self.gids.clone(),
        }
    }

    /// The id that the host's root gets in the mapping for mounts, which has to have one.
    pub(crate) fn root_in_mounts(&self) -> Option<u32> {
        let has_root = |lines: &[IdMapping]| lines.iter().any(|line| line.host_id == 0);
        (!has_root(&self.uids) && !has_root(&self.gids)).then_some(ROOT_IN_MOUNTS)
    }
}

/// The lines that map `size` ids from 0 on to those from `first` on, except that one (inside,
/// outside) has an id of its own.
pub(super) fn lines(first: u32, size: u32, kept: Option<(u32, u32)>) -> Vec<IdMapping> {
    let line = |container_id, host_id, size| IdMapping {
        container_id,
        host_id,
        size,
    };
    let Some((inside, outside)) = kept else {
        return vec![line(0, first, size)];
    };
    let before = inside.min(size);
    // The id of the pool that it would have had stays unused.
    let after = (inside.saturating_add(1)).min(size);
    [
        line(0, first, before),
        line(inside, outside, 1),
        line(after, first + after, size - after),
    ]
    .into_iter()
    .filter(|line| line.size > 0)
    .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_kept_id_splits_the_rest() {
        let text = |lines: Vec<IdMapping>| -> Vec<String> {
            let line = |l: &IdMapping| format!("{} {} {}", l.container_id, l.host_id, l.size);
            lines.iter().map(line).collect()
        };
        assert_eq!(text(lines(100, 50, None)), ["0 100 50"]);
        assert_eq!(
            text(lines(100, 50, Some((10, 10)))),
            ["0 100 10", "10 10 1", "11 111 39"]
        );
        assert_eq!(text(lines(100, 50, Some((0, 7)))), ["0 7 1", "1 101 49"]);
        assert_eq!(text(lines(100, 50, Some((49, 7)))), ["0 100 49", "49 7 1"]);
        assert_eq!(
            text(lines(100, 50, Some((2000, 2000)))),
            ["0 100 50", "2000 2000 1"]
        );
    }

    proptest! {
        #[test]
        fn every_id_has_one_outside_and_no_two_share_it(
            size in 1_u32..300,
            inside in 0_u32..400,
        ) {
            let (first, kept) = (1_000, 77);
            let lines = lines(first, size, Some((inside, kept)));
            let mut seen = std::collections::BTreeSet::new();
            for id in 0..size.max(inside + 1) {
                let expected = match id {
                    id if id == inside => Some(kept),
                    id if id < size => Some(first + id),
                    _ => None,
                };
                prop_assert_eq!(IdMapping::outside(&lines, id), expected);
                if let Some(outside) = expected {
                    prop_assert_eq!(IdMapping::inside(&lines, outside), Some(id));
                    prop_assert!(seen.insert(outside));
                }
            }
        }
    }
}
