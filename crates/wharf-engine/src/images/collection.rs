//! Images that go by themselves when the disk fills up.
//!
//! Off unless it is asked for. When more of the disk is used than the high mark, the images that were
//! used longest ago go, until no more is used than the low mark. What a container was made of stays,
//! running or not, and so do names that are to be kept. When an image was last used is known since the
//! engine began; before that it counts when its last name was given.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use wharf_types::{Digest, Reference};
use wharf_wire as wire;

use super::Images;
use super::pattern::is_match;
use crate::error::Error;
use crate::inner::Inner;

/// How often the disk is looked at, beside whenever an image has come in.
const EVERY: Duration = Duration::from_secs(300);

/// When images go by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageCollection {
    /// Percent of the disk in use from which on images go.
    pub high: u8,
    /// Percent of the disk in use at which it is enough.
    pub low: u8,
    /// Patterns of names that stay, as the filter `reference` takes them.
    pub keep: Vec<String>,
}

impl ImageCollection {
    /// Checks that the marks are ones.
    ///
    /// # Errors
    /// Says what they must be.
    pub fn check(&self) -> Result<(), Error> {
        if self.low >= 1 && self.low < self.high && self.high <= 99 {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "the marks of the image collection are percentages, the low one ({}) below the high one ({})",
            self.low, self.high
        )))
    }

    fn keeps(&self, names: &[Reference]) -> bool {
        names.iter().any(|name| {
            let (whole, repository) = (name.familiar(), name.familiar_name());
            let mut patterns = self.keep.iter();
            patterns.any(|pattern| is_match(pattern, &whole) || is_match(pattern, &repository))
        })
    }
}

/// What is used of a disk, as `df` counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Disk {
    used: u64,
    total: u64,
}

impl Disk {
    /// Returns the bytes in use beyond a percentage.
    fn beyond(self, percent: u8) -> u64 {
        let allowed = u128::from(self.total) * u128::from(percent) / 100;
        self.used
            .saturating_sub(u64::try_from(allowed).unwrap_or(u64::MAX))
    }
}

impl Inner {
    /// Looks after the disk until the engine closes.
    pub(crate) fn collect_images(self: &Arc<Self>) {
        let inner = Arc::clone(self);
        let mut closing = self.closing.subscribe();
        tokio::spawn(async move {
            loop {
                let enabled = inner.defaults().image_collection.is_some();
                tokio::select! {
                    () = inner.collecting.notified() => {}
                    () = tokio::time::sleep(EVERY), if enabled => {}
                    _ = closing.wait_for(|closing| *closing) => return,
                }
                let engine = Arc::clone(&inner);
                let collected = tokio::task::spawn_blocking(move || engine.collect_images_now());
                if let Err(error) = collected.await {
                    tracing::error!(%error, "the collection of images failed");
                }
            }
        });
    }

    fn collect_images_now(&self) {
        let Some(wanted) = self.defaults().image_collection.clone() else {
            return;
        };
        match disk(self.store.root()) {
            Ok(disk) => self.collect_images_of(&wanted, disk),
            Err(error) => tracing::error!(%error, "the disk cannot be looked at"),
        }
    }

    fn collect_images_of(&self, wanted: &ImageCollection, disk: Disk) {
        if disk.beyond(wanted.high) == 0 {
            return;
        }
        let mut excess = disk.beyond(wanted.low);
        let unused = |id: &Digest| self.uses_of(id).is_empty();
        for (id, names) in self.images.least_used(wanted, &unused) {
            if excess == 0 {
                return;
            }
            match self.remove_unused(&id, &names) {
                Ok(freed) => {
                    tracing::info!(image = %id, freed, "an image went, as the disk fills up");
                    excess = excess.saturating_sub(freed);
                }
                // Somebody has begun to use it.
                Err(error) => tracing::debug!(image = %id, %error, "an image stays"),
            }
        }
        if excess > 0 {
            tracing::warn!(
                excess,
                "the disk fills up, and no image is left that nothing uses"
            );
        }
    }

    /// Removes an image by all its names; without force, so that one that is in use stays.
    fn remove_unused(&self, id: &Digest, names: &[Reference]) -> Result<u64, Error> {
        let query = wire::ImageRemoveQuery::default();
        let mut freed = 0;
        for name in names {
            match self.remove_image_counting(&name.to_string(), query) {
                Ok((_, bytes)) => freed += bytes,
                // A digest goes with the last tag of its repository.
                Err(error) if error.kind() == crate::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        match names.is_empty() {
            true => Ok(self.remove_image_counting(&id.to_string(), query)?.1),
            false => Ok(freed),
        }
    }
}

impl Images {
    /// Remembers that an image is used.
    pub(super) fn note_use(&self, id: Digest) {
        self.used().insert(id, Timestamp::now());
    }

    /// Forgets an image that has gone.
    pub(super) fn forget_use(&self, id: &Digest) {
        self.used().remove(id);
    }

    fn used(&self) -> MutexGuard<'_, HashMap<Digest, Timestamp>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the images that may go, the one that was used longest ago first.
    fn least_used(
        &self,
        wanted: &ImageCollection,
        unused: &dyn Fn(&Digest) -> bool,
    ) -> Vec<(Digest, Vec<Reference>)> {
        let used = self.used().clone();
        let mut candidates: Vec<_> = {
            let names = self.names();
            let images = names.images.iter();
            images
                .map(|(id, of)| {
                    let given = of.values().map(|given| given.at).max();
                    let last = used.get(id).copied().max(given);
                    (last, *id, of.keys().cloned().collect::<Vec<_>>())
                })
                .collect()
        };
        candidates.retain(|(_, id, names)| unused(id) && !wanted.keeps(names));
        candidates.sort_by_key(|(last, ..)| *last);
        candidates
            .into_iter()
            .map(|(_, id, names)| (id, names))
            .collect()
    }
}

fn disk(path: &std::path::Path) -> std::io::Result<Disk> {
    let stat = rustix::fs::statvfs(path)?;
    let used = (stat.f_blocks - stat.f_bfree) * stat.f_frsize;
    Ok(Disk {
        used,
        total: used + stat.f_bavail * stat.f_frsize,
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::Fixture;
    use super::*;

    fn wanted(keep: &[&str]) -> ImageCollection {
        ImageCollection {
            high: 80,
            low: 60,
            keep: keep.iter().map(|&pattern| pattern.to_owned()).collect(),
        }
    }

    #[test]
    fn marks_are_percentages_in_order() {
        assert!(wanted(&[]).check().is_ok());
        for (low, high) in [(0, 50), (50, 50), (60, 50), (50, 100)] {
            let marks = ImageCollection {
                low,
                high,
                keep: Vec::new(),
            };
            assert!(marks.check().is_err(), "{low} {high}");
        }
    }

    #[test]
    fn what_is_too_much_is_counted_from_the_low_mark() {
        let disk = Disk {
            used: 85,
            total: 100,
        };
        assert_eq!(
            (disk.beyond(80), disk.beyond(60), disk.beyond(90)),
            (5, 25, 0)
        );
    }

    #[test]
    fn what_was_used_longest_ago_goes_first_and_what_is_kept_never() {
        let fixture = Fixture::new();
        let ids = ["a", "b", "c", "d"].map(|name| fixture.import(name, &format!("{name}:1")));
        fixture.images.for_container("a:1", "").expect("a");
        let busy = ids[1];
        let order: Vec<_> = fixture
            .images
            .least_used(&wanted(&["d"]), &|id| *id != busy)
            .into_iter()
            .map(|(id, _)| id)
            .collect();
        assert_eq!(order, [ids[2], ids[0]]);
    }
}
