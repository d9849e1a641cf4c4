//! Images that nothing uses, removed at once.

use jiff::Timestamp;
use wharf_types::Reference;
use wharf_wire as wire;

use super::list::moment;
use super::{Images, is_digest, show};
use crate::error::Error;
use crate::inner::Inner;

/// Filters of `POST /images/prune`.
const FILTERS: [&str; 4] = ["dangling", "label", "label!", "until"];

impl Inner {
    /// See [`crate::Engine::image_prune`].
    pub(crate) fn prune_images(
        &self,
        filters: &wire::Filters,
    ) -> Result<wire::ImagesPruned, Error> {
        let names = self.images.prunable(filters)?;
        let mut pruned = wire::ImagesPruned::default();
        for name in names {
            // A container may have come, or somebody else may have been quicker.
            if !self.is_unused(&name) {
                continue;
            }
            let query = wire::ImageRemoveQuery::default();
            match self.remove_image_counting(&name, query) {
                Ok((steps, freed)) => {
                    let deleted = pruned.images_deleted.get_or_insert_default();
                    deleted.extend(steps);
                    pruned.space_reclaimed += freed;
                }
                Err(error) => tracing::warn!(image = name, %error, "an image is not pruned"),
            }
        }
        // What came of layers that nobody asks for any more.
        match self.store.forget_incoming() {
            Ok(freed) => pruned.space_reclaimed += freed,
            Err(error) => tracing::warn!(%error, "what came of layers is not pruned"),
        }
        self.tell_prune("image", pruned.space_reclaimed);
        Ok(pruned)
    }

    fn is_unused(&self, name: &str) -> bool {
        self.images
            .id_of(name)
            .is_ok_and(|id| self.uses_of(&id).is_empty())
    }
}

impl Images {
    /// Returns what to remove, by name or, where there is none, by id.
    fn prunable(&self, filters: &wire::Filters) -> Result<Vec<String>, Error> {
        let invalid = |error: wire::FilterError| Error::invalid(error.to_string());
        filters.validate(&FILTERS).map_err(invalid)?;
        let only_dangling = filters.flag("dangling").map_err(invalid)?.unwrap_or(true);
        let until = filters
            .get("until")
            .map(moment)
            .collect::<Result<Vec<_>, _>>()?;
        let mut found = Vec::new();
        for (id, names) in self.known() {
            if only_dangling && !names.iter().all(is_digest) {
                continue;
            }
            let image = self.image(&id)?;
            let labels = &image.config.config.labels;
            let created = show::created(&image).unwrap_or(Timestamp::UNIX_EPOCH);
            let excluded = filters.contains("label!") && filters.matches_labels("label!", labels);
            let wanted = filters.matches_labels("label", labels)
                && !excluded
                && until.iter().all(|bound| created <= *bound);
            if !wanted {
                continue;
            }
            match names.is_empty() {
                true => found.push(id.to_string()),
                false => found.extend(names.iter().map(Reference::familiar)),
            }
        }
        Ok(found)
    }
}
