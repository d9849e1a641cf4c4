//! Who owns what goes into and comes out of a container's tree: the one place where the ids of
//! entries are decided.

use rustix::fs::{Gid, Uid};

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
    /// Returns whom an entry with these ids belongs to in the tree.
    pub(crate) fn inward(self, uid: u32, gid: u32) -> (Option<Uid>, Option<Gid>) {
        let (uid, gid) = match self {
            Self::AsGiven => (uid, gid),
            Self::One { uid, gid } => (uid, gid),
            Self::Caller => return (None, None),
        };
        (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
    }

    /// Returns the ids that an archive says a file of the tree has.
    pub(crate) fn outward(self, uid: u32, gid: u32) -> (u32, u32) {
        match self {
            Self::AsGiven | Self::Caller => (uid, gid),
            Self::One { uid, gid } => (uid, gid),
        }
    }
}
