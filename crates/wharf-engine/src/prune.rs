//! Removing the containers that do not run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use wharf_types::failpoint;
use wharf_wire as wire;

use crate::container::Container;
use crate::error::{Error, ErrorKind};
use crate::inner::Inner;
use crate::records::Durability;
use crate::state::State;

const FILTERS: [&str; 3] = ["label", "label!", "until"];
/// Filters of `POST /build/prune`.
const BUILD_FILTERS: [&str; 9] = [
    "description",
    "id",
    "inuse",
    "parent",
    "private",
    "shared",
    "type",
    "until",
    "unused-for",
];

/// Whether a prune is under way; there is one at a time.
#[derive(Debug, Default)]
pub(crate) struct Pruning(AtomicBool);

/// A prune under way.
struct OneAtATime<'a>(&'a AtomicBool);

impl Pruning {
    fn begin(&self) -> Result<OneAtATime<'_>, Error> {
        if self.0.swap(true, Ordering::AcqRel) {
            return Err(Error::conflict("a prune operation is already running"));
        }
        Ok(OneAtATime(&self.0))
    }
}

impl Drop for OneAtATime<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Inner {
    /// See [`crate::Engine::containers_prune`].
    pub(crate) async fn prune(
        self: &Arc<Self>,
        filters: &wire::Filters,
    ) -> Result<wire::ContainersPruned, Error> {
        let until = bound(filters)?;
        let _only = self.pruning.begin()?;
        let mut deleted = Vec::new();
        let mut reclaimed = 0;
        for container in self.registry.all() {
            if !is_idle(&container)
                || until.is_some_and(|until| container.definition.created > until)
                || !has_labels(&container, filters)
            {
                continue;
            }
            let inner = Arc::clone(self);
            let target = Arc::clone(&container);
            let size = self.blocking(move || inner.sizes(&target)).await;
            let removed = self.remove_ended(&container, false, Durability::Machine);
            match removed.await {
                Ok(()) => {
                    failpoint::hit("engine.prune.one-gone");
                    reclaimed += size.map_or(0, |(own, _)| own);
                    deleted.push(container.id().to_string());
                }
                // Somebody started it or removed it in between.
                Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {
                }
                Err(error) => {
                    tracing::warn!(container.id = %container.id(), %error, "not pruned");
                }
            }
        }
        self.tell_prune("container", reclaimed);
        Ok(wire::ContainersPruned {
            containers_deleted: Some(deleted).filter(|deleted| !deleted.is_empty()),
            space_reclaimed: reclaimed,
        })
    }

    /// Removes networks that nobody uses. Those there are belong to the engine, and are never removed.
    pub(crate) fn prune_networks(
        &self,
        filters: &wire::Filters,
    ) -> Result<wire::NetworksPruned, Error> {
        bound(filters)?;
        self.tell_prune("network", 0);
        Ok(wire::NetworksPruned::default())
    }

    /// Empties the build cache.
    pub(crate) fn prune_builds(&self, filters: &wire::Filters) -> Result<wire::BuildPruned, Error> {
        check_build_filters(filters)?;
        self.tell_prune("builder", 0);
        Ok(wire::BuildPruned::default())
    }

    pub(crate) fn tell_prune(&self, kind: &str, reclaimed: impl ToString) {
        let told = BTreeMap::from([("reclaimed".to_owned(), reclaimed.to_string())]);
        self.events.tell(kind, "prune", "", told);
    }
}

/// Checks the filters of a build cache's prune by dockerd's rules.
fn check_build_filters(filters: &wire::Filters) -> Result<(), Error> {
    filters
        .validate(&BUILD_FILTERS)
        .map_err(|error| Error::invalid(error.to_string()))?;
    // The two mean the same; the second is the older name.
    let [until, unused_for] = ["until", "unused-for"].map(|key| filters.get(key).next());
    if until.is_some() && unused_for.is_some() {
        let text = "conflicting filters: \"until\" and \"unused-for\"";
        return Err(Error::invalid(text));
    }
    for key in BUILD_FILTERS {
        if filters.get(key).nth(1).is_some() {
            return Err(Error::invalid("filters expect only one value"));
        }
    }
    for (key, value) in [("until", until), ("unused-for", unused_for)] {
        if let Some(value) = value {
            crate::images::moment(value).map_err(|_| {
                Error::invalid(format!(
                    "\"{key}\" filter expects a duration (e.g., '24h') or a timestamp"
                ))
            })?;
        }
    }
    Ok(())
}

/// Whether a container is there for nothing.
fn is_idle(container: &Container) -> bool {
    matches!(
        container.status().state,
        State::Created(_) | State::Exited(_) | State::Dead(_)
    )
}

fn has_labels(container: &Container, filters: &wire::Filters) -> bool {
    let none = BTreeMap::new();
    let labels = container.definition.config.labels.as_ref().unwrap_or(&none);
    filters.matches_labels("label", labels)
        && !(filters.contains("label!") && filters.matches_labels("label!", labels))
}

/// Checks the filters, and returns the time before which something must have been made.
fn bound(filters: &wire::Filters) -> Result<Option<Timestamp>, Error> {
    filters
        .validate(&FILTERS)
        .map_err(|error| Error::invalid(error.to_string()))?;
    let mut until = filters.get("until");
    let first = until.next().map(crate::images::moment).transpose()?;
    match until.next() {
        None => Ok(first),
        Some(_) => Err(Error::invalid("more than one until filter specified")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_checked() {
        let bound = |json| {
            let filters = wire::Filters::parse(json).expect(json);
            bound(&filters).map_err(|error| error.to_string())
        };
        assert_eq!(bound("{}"), Ok(None));
        assert_eq!(
            bound(r#"{"until":["1700000000"]}"#),
            Ok(Timestamp::from_second(1_700_000_000).ok())
        );
        assert!(bound(r#"{"until":["24h"]}"#).is_ok_and(|until| until.is_some()));
        assert_eq!(
            bound(r#"{"until":["1","2"]}"#),
            Err("more than one until filter specified".to_owned())
        );
        assert_eq!(
            bound(r#"{"name":["a"]}"#),
            Err("invalid filter 'name'".to_owned())
        );
    }

    #[test]
    fn a_build_cache_s_filters_are_checked_as_dockerd_does() {
        let check = |json| {
            let filters = wire::Filters::parse(json).expect(json);
            check_build_filters(&filters).map_err(|error| error.to_string())
        };
        for good in [
            "{}",
            r#"{"until":["24h"]}"#,
            r#"{"unused-for":["1700000000"]}"#,
            r#"{"id":["a"],"type":["regular"],"inuse":[]}"#,
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        let expects = "filter expects a duration (e.g., '24h') or a timestamp";
        for (bad, text) in [
            (r#"{"label":["a"]}"#, "invalid filter 'label'".to_owned()),
            (r#"{"until":["x"]}"#, format!("\"until\" {expects}")),
            (
                r#"{"unused-for":["x"]}"#,
                format!("\"unused-for\" {expects}"),
            ),
            (
                r#"{"until":["1h"],"unused-for":["1h"]}"#,
                "conflicting filters: \"until\" and \"unused-for\"".to_owned(),
            ),
            (
                r#"{"id":["a","b"]}"#,
                "filters expect only one value".to_owned(),
            ),
            (
                r#"{"until":["1h","2h"]}"#,
                "filters expect only one value".to_owned(),
            ),
        ] {
            assert_eq!(check(bad), Err(text), "{bad}");
        }
    }

    #[test]
    fn one_prune_at_a_time() {
        let pruning = Pruning::default();
        let first = pruning.begin().expect("the first");
        assert!(pruning.begin().is_err());
        drop(first);
        assert!(pruning.begin().is_ok());
    }
}
