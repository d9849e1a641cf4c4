//! What a container has changed of its image.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use wharf_store::{Change, ChangeKind};
use wharf_wire as wire;

use crate::container::Container;
use crate::error::Error;
use crate::inner::Inner;

/// What setting a container up makes. Docker keeps it in a layer below the container's.
const SYSTEM: [&str; 7] = [
    "/dev",
    "/proc",
    "/sys",
    "/etc/hosts",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/sbin/docker-init",
];

impl Inner {
    /// See [`crate::Engine::changes`].
    pub(crate) fn changes(&self, container: &Container) -> Result<Vec<wire::ChangeItem>, Error> {
        let item = |change: Change| wire::ChangeItem {
            kind: match change.kind {
                ChangeKind::Modified => wire::ChangeKind::Modified,
                ChangeKind::Added => wire::ChangeKind::Added,
                ChangeKind::Deleted => wire::ChangeKind::Deleted,
            },
            path: change.path.display().to_string(),
        };
        let changes = self.own_changes(container)?;
        Ok(changes.into_iter().map(item).collect())
    }

    /// Returns the changes that are the container's own.
    pub(crate) fn own_changes(&self, container: &Container) -> Result<Vec<Change>, Error> {
        let changes = self
            .store
            .diff(&container.snapshot())
            .map_err(|error| Error::internal("cannot compare the container", error))?;
        Ok(without_system(changes))
    }
}

/// Takes out what setting the container up has made, and directories changed by nothing else.
fn without_system(mut changes: Vec<Change>) -> Vec<Change> {
    let places = SYSTEM.map(Path::new);
    changes.retain(|change| !places.contains(&change.path.as_path()));
    let paths: BTreeSet<PathBuf> = changes.iter().map(|change| change.path.clone()).collect();
    let has_more = |path: &Path| {
        let mut below = paths.range(path.to_owned()..).skip(1);
        below.next().is_some_and(|next| next.starts_with(path))
    };
    let above = |path: &Path| places.iter().any(|place| place.starts_with(path));
    changes.retain(|change| {
        change.kind == ChangeKind::Deleted || !above(&change.path) || has_more(&change.path)
    });
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_engine_made_is_no_change() {
        let change = |kind, path: &str| Change {
            path: PathBuf::from(path),
            kind,
        };
        let (added, modified) = (ChangeKind::Added, ChangeKind::Modified);
        let kept = |changes: &[Change]| {
            let kept = without_system(changes.to_vec());
            let paths: Vec<_> = kept.iter().map(|c| c.path.display().to_string()).collect();
            paths.join(" ")
        };
        let made = [
            change(modified, "/etc"),
            change(added, "/etc/hosts"),
            change(added, "/proc"),
            change(added, "/dev"),
        ];
        assert_eq!(kept(&made), "");
        let more = [
            change(modified, "/etc"),
            change(added, "/etc/hosts"),
            change(added, "/etc/mine"),
            change(added, "/volume"),
        ];
        assert_eq!(kept(&more), "/etc /etc/mine /volume");
        // A name that only begins the same is not below.
        let beside = [change(modified, "/etc"), change(added, "/etc-mine")];
        assert_eq!(kept(&beside), "/etc-mine");
    }
}
