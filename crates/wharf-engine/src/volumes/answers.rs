//! What is asked about volumes over the API.

use std::sync::Arc;

use wharf_types::VolumeName;
use wharf_wire as wire;

use super::lifecycle::no_such_volume;
use super::{Binding, Volume, Wish, data, size};
use crate::error::{Error, ErrorKind};
use crate::inner::Inner;
use crate::mounts::check_driver;
use crate::regular::Pattern;

/// Filters of a list.
const LIST_FILTERS: [&str; 4] = ["dangling", "driver", "label", "name"];
/// Filters of a clean-up.
const PRUNE_FILTERS: [&str; 3] = ["all", "label", "label!"];

impl Inner {
    /// See [`crate::Engine::volumes`].
    pub(crate) fn list_volumes(&self, filters: &wire::Filters) -> Result<wire::VolumeList, Error> {
        let invalid = |error: wire::FilterError| Error::invalid(error.to_string());
        filters.validate(&LIST_FILTERS).map_err(invalid)?;
        let dangling = filters.flag("dangling").map_err(invalid)?;
        let patterns: Vec<Pattern> = filters
            .get("name")
            .map(|text| Pattern::new(text).map_err(|error| Error::invalid(error.to_string())))
            .collect::<Result<_, _>>()?;
        let mut volumes = Vec::new();
        for (volume, users) in self.volumes.all() {
            let shown = dangling.is_none_or(|dangling| dangling == (users == 0))
                && filters.matches("driver", "local")
                && filters.matches_labels("label", &volume.labels)
                && (patterns.is_empty()
                    || patterns.iter().any(|p| p.matches(volume.name.as_str())));
            if shown {
                volumes.push(self.volume_to_wire(&volume));
            }
        }
        Ok(wire::VolumeList {
            volumes,
            warnings: None,
        })
    }

    /// See [`crate::Engine::volume_inspect`].
    pub(crate) fn inspect_volume(&self, name: &str) -> Result<wire::Volume, Error> {
        let volume = self.find_volume(name)?;
        Ok(self.volume_to_wire(&volume))
    }

    fn find_volume(&self, name: &str) -> Result<Arc<Volume>, Error> {
        let missing = || Error::not_found(format!("get {name}: no such volume"));
        let parsed: VolumeName = name.parse().map_err(|_| missing())?;
        self.volumes
            .get(&parsed)
            .ok_or_else(|| no_such_volume(&parsed))
    }

    /// See [`crate::Engine::volume_create`].
    pub(crate) fn create_volume(
        &self,
        body: wire::VolumeCreateBody,
    ) -> Result<wire::Volume, Error> {
        if body.cluster_volume_spec.is_some() {
            return Err(Error::not_implemented(
                "ClusterVolumeSpec is not supported: cluster volumes need Swarm",
            ));
        }
        let anonymous = body.name.is_empty();
        let name = match anonymous {
            true => VolumeName::anonymous(),
            false => body
                .name
                .parse()
                .map_err(|error: wharf_types::VolumeNameError| Error::invalid(error.to_string()))?,
        };
        check_driver(&body.driver, &name)?;
        let wish = Wish {
            name,
            anonymous,
            labels: body.labels,
            options: body.driver_opts,
        };
        let volume = self.ensure_volume(wish, None)?;
        Ok(self.volume_to_wire(&volume))
    }

    /// See [`crate::Engine::volume_remove`].
    pub(crate) fn remove_volume(&self, name: &str, force: bool) -> Result<(), Error> {
        let removed = self
            .find_volume(name)
            .and_then(|volume| self.drop_volume(&volume.name));
        match removed {
            Err(error) if force && error.kind() == ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// See [`crate::Engine::volume_prune`].
    pub(crate) fn prune_volumes(
        &self,
        filters: &wire::Filters,
    ) -> Result<wire::VolumesPruned, Error> {
        let invalid = |error: wire::FilterError| Error::invalid(error.to_string());
        filters.validate(&PRUNE_FILTERS).map_err(invalid)?;
        let all = filters.flag("all").map_err(invalid)?.unwrap_or(false);
        let mut deleted = Vec::new();
        let mut reclaimed = 0;
        for (volume, users) in self.volumes.all() {
            let unlabelled =
                !filters.contains("label!") || !filters.matches_labels("label!", &volume.labels);
            let goes = users == 0
                && (all || volume.anonymous)
                && filters.matches_labels("label", &volume.labels)
                && unlabelled;
            if !goes {
                continue;
            }
            let size = self.volume_bytes(&volume);
            match self.drop_volume(&volume.name) {
                Ok(()) => {
                    reclaimed += size;
                    deleted.push(volume.name.to_string());
                }
                // Taken by a container, or removed, a moment ago.
                Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {
                }
                Err(error) => return Err(error),
            }
        }
        let space_reclaimed = i64::try_from(reclaimed).unwrap_or(i64::MAX);
        self.tell_prune("volume", space_reclaimed);
        Ok(wire::VolumesPruned {
            volumes_deleted: (!deleted.is_empty()).then_some(deleted),
            space_reclaimed,
        })
    }

    /// All volumes with their sizes and the number of their users. Blocks.
    pub(crate) fn measured_volumes(&self) -> Vec<wire::Volume> {
        let volumes = self.volumes.all();
        let measured = volumes.into_iter().map(|(volume, users)| wire::Volume {
            usage_data: Some(wire::VolumeUsage {
                ref_count: i64::try_from(users).unwrap_or(i64::MAX),
                size: i64::try_from(self.volume_bytes(&volume)).unwrap_or(i64::MAX),
            }),
            ..self.volume_to_wire(&volume)
        });
        measured.collect()
    }

    /// Bytes of a volume's files; what is a directory of the host is the host's.
    fn volume_bytes(&self, volume: &Volume) -> u64 {
        match Binding::read(&volume.name, &volume.options) {
            Ok(None) => size::of(&data(&self.places.volumes(), &volume.name)),
            _ => 0,
        }
    }

    fn volume_to_wire(&self, volume: &Volume) -> wire::Volume {
        let mountpoint = data(&self.places.volumes(), &volume.name);
        let options = volume.options.clone();
        let labels = volume.labels.clone();
        wire::Volume {
            created_at: volume.created.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            driver: "local".to_owned(),
            labels: (!labels.is_empty()).then_some(labels),
            mountpoint: mountpoint.display().to_string(),
            name: volume.name.to_string(),
            options: (!options.is_empty()).then_some(options),
            scope: "local".to_owned(),
            ..Default::default()
        }
    }
}
