//! Who owns what goes into and comes out of a container's tree: the one place where the ids of
//! entries are decided.

use rustix::fs::{Gid, Uid};
use wharf_oci::runtime::IdMapping;

/// What a container sees of an owner that it has no id for.
const NOBODY: u32 = 65_534;

/// Whom the files belong to that an archive brings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Owners {
    /// Whom the archive names, and going out, whom the tree names.
    #[default]
    AsGiven,
    /// One user and group.
    One {
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
    },
    /// Whoever unpacks it. What only root may give to a file is left out then.
    Caller,
}

impl Owners {
    /// Returns whom an entry with these ids belongs to, as its container says it; nothing where it
    /// stays its maker's.
    fn decide(self, uid: u32, gid: u32) -> Option<(u32, u32)> {
        match self {
            Self::AsGiven => Some((uid, gid)),
            Self::One { uid, gid } => Some((uid, gid)),
            Self::Caller => None,
        }
    }
}

/// Which ids a tree has for those that its container sees: those of its user namespace. Empty, they
/// are the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdMaps {
    /// Users.
    pub uids: Vec<IdMapping>,
    /// Groups.
    pub gids: Vec<IdMapping>,
}

impl IdMaps {
    /// Returns whom an entry with these ids belongs to in the tree; nothing where the container has
    /// no such ids.
    pub(crate) fn inward(
        &self,
        owners: Owners,
        uid: u32,
        gid: u32,
    ) -> Option<(Option<Uid>, Option<Gid>)> {
        let Some((uid, gid)) = owners.decide(uid, gid) else {
            return Some((None, None));
        };
        let outside = |lines: &[IdMapping], id| match lines {
            [] => Some(id),
            lines => IdMapping::outside(lines, id),
        };
        let (uid, gid) = (outside(&self.uids, uid)?, outside(&self.gids, gid)?);
        Some((Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))))
    }

    /// Returns the ids that an archive says a file of the tree has.
    pub(crate) fn outward(&self, uid: u32, gid: u32) -> (u32, u32) {
        let inside = |lines: &[IdMapping], id| match lines {
            [] => id,
            lines => IdMapping::inside(lines, id).unwrap_or(NOBODY),
        };
        (inside(&self.uids, uid), inside(&self.gids, gid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_that_the_container_sees() {
        let lines = vec![IdMapping {
            container_id: 0,
            host_id: 100_000,
            size: 1000,
        }];
        let ids = IdMaps {
            uids: lines.clone(),
            gids: lines,
        };
        let raw = |owners, uid, gid| {
            let (uid, gid) = ids.inward(owners, uid, gid)?;
            Some((uid?.as_raw(), gid?.as_raw()))
        };
        assert_eq!(raw(Owners::AsGiven, 0, 33), Some((100_000, 100_033)));
        assert_eq!(
            raw(Owners::One { uid: 5, gid: 6 }, 0, 33),
            Some((100_005, 100_006))
        );
        assert_eq!(raw(Owners::AsGiven, 0, 1000), None);
        assert_eq!(ids.outward(100_000, 100_999), (0, 999));
        assert_eq!(ids.outward(0, 101_000), (NOBODY, NOBODY));
        assert_eq!(IdMaps::default().outward(5, 6), (5, 6));
    }
}
