//! The list of images, and its filters.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use wharf_store::Image;
use wharf_types::{Digest, Reference};
use wharf_wire as wire;

use super::pattern::is_match;
use super::{Images, is_digest, names, show};
use crate::error::Error;

/// Filters of `GET /images/json`.
const FILTERS: [&str; 6] = ["before", "dangling", "label", "reference", "since", "until"];

impl Images {
    /// Returns the images, newest first. `containers` counts those that use an image.
    pub(crate) fn list(
        &self,
        query: &wire::ImageListQuery,
        containers: &dyn Fn(&Digest) -> i64,
    ) -> Result<Vec<wire::ImageSummary>, Error> {
        let filters = &query.filters;
        let invalid = |error: wire::FilterError| Error::invalid(error.to_string());
        filters.validate(&FILTERS).map_err(invalid)?;
        let dangling = filters.flag("dangling").map_err(invalid)?;
        let before = self.bound(filters, "before")?;
        let since = self.bound(filters, "since")?;
        let until = filters
            .get("until")
            .map(moment)
            .collect::<Result<Vec<_>, _>>()?;
        let all: Vec<(Arc<Image>, Vec<Reference>)> = self
            .known()
            .into_iter()
            .map(|(id, names)| Ok((self.image(&id)?, names)))
            .collect::<Result<_, Error>>()?;
        let shared = query.shared_size.then(|| shared_sizes(&all));
        let mut found = Vec::new();
        for (image, names) in all {
            let created = show::created(&image).unwrap_or(Timestamp::UNIX_EPOCH);
            let labels = &image.config.config.labels;
            let names: Vec<_> = names
                .into_iter()
                .filter(|name| shown(filters, name))
                .collect();
            let wanted = dangling.is_none_or(|dangling| dangling == names.iter().all(is_digest))
                && (!names.is_empty() || !filters.contains("reference"))
                && filters.matches_labels("label", labels)
                && before.iter().all(|bound| created < *bound)
                && since.iter().all(|bound| created > *bound)
                && until.iter().all(|bound| created <= *bound);
            if !wanted {
                continue;
            }
            let mut summary = summary(&image, &names);
            summary.containers = containers(&image.id);
            if let Some(shared) = &shared {
                summary.shared_size = shared.get(&image.id).copied().unwrap_or(0);
            }
            found.push(summary);
        }
        found.sort_by_key(|summary| std::cmp::Reverse(summary.created));
        Ok(found)
    }

    /// Returns every image and its names.
    pub(super) fn known(&self) -> Vec<(Digest, Vec<Reference>)> {
        let names = self.names();
        names
            .images
            .iter()
            .map(|(id, of)| (*id, of.keys().cloned().collect()))
            .collect()
    }

    /// When the images that a filter names were made.
    fn bound(&self, filters: &wire::Filters, key: &str) -> Result<Vec<Timestamp>, Error> {
        let created = |name| {
            let image = self.image(&self.find(name)?.id)?;
            Ok(show::created(&image).unwrap_or(Timestamp::UNIX_EPOCH))
        };
        filters.get(key).map(created).collect()
    }
}

/// A point in time: RFC 3339, seconds since 1970, or a Go duration before now.
pub(crate) fn moment(text: &str) -> Result<Timestamp, Error> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    let seconds = text.split('.').next().unwrap_or_default().parse::<i64>();
    if let Ok(moment) = seconds.map(Timestamp::from_second) {
        return moment.map_err(|error| Error::invalid(format!("invalid time {text}: {error}")));
    }
    text.parse::<SignedDuration>()
        .ok()
        .and_then(|ago| Timestamp::now().checked_sub(ago).ok())
        .ok_or_else(|| {
            Error::invalid(format!(
                "failed to parse value as time or duration: {text:?}"
            ))
        })
}

fn shown(filters: &wire::Filters, name: &Reference) -> bool {
    filters.matches_by("reference", |pattern| {
        is_match(pattern, &name.familiar()) || is_match(pattern, &name.familiar_name())
    })
}

fn summary(image: &Image, names: &[Reference]) -> wire::ImageSummary {
    let labels = &image.config.config.labels;
    wire::ImageSummary {
        created: show::created(image).map_or(0, Timestamp::as_second),
        id: image.id.to_string(),
        labels: (!labels.is_empty()).then(|| labels.clone()),
        repo_digests: names::digests(names),
        repo_tags: names::tags(names),
        shared_size: -1,
        size: show::bytes(image.size()),
        ..wire::ImageSummary::default()
    }
}

/// Bytes of each image's layers that another image has too.
fn shared_sizes(images: &[(Arc<Image>, Vec<Reference>)]) -> BTreeMap<Digest, i64> {
    let mut users: BTreeMap<Digest, usize> = BTreeMap::new();
    for layer in images.iter().flat_map(|(image, _)| &image.layers) {
        *users.entry(layer.chain).or_default() += 1;
    }
    let shared = |image: &Image| {
        let layers = image.layers.iter().filter(|layer| users[&layer.chain] > 1);
        show::bytes(layers.map(|layer| layer.size).sum())
    };
    images
        .iter()
        .map(|(image, _)| (image.id, shared(image)))
        .collect()
}
