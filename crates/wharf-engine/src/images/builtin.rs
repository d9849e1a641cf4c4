//! Images the engine makes from its own program: they need no registry.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use wharf_oci::image::{ContainerConfig, Empty, History, ImageConfig};
use wharf_store::{HostFile, HostSource};
use wharf_types::{Digest, Reference};
use wharf_wire as wire;

use super::Images;
use crate::error::Error;
use crate::records::Records;

/// Where the program lies in each of them.
const PROGRAM: &str = "/wharf";

/// An image of ours.
struct BuiltIn {
    repository: &'static str,
    tags: &'static [&'static str],
    /// What its containers run and have, beside the `PATH`.
    config: fn() -> ContainerConfig,
}

/// All of them. A tag says nothing: each is this engine's own program.
const IMAGES: [BuiltIn; 2] = [
    BuiltIn {
        repository: "hello-world",
        tags: &["latest"],
        config: hello,
    },
    BuiltIn {
        repository: "registry",
        tags: &["latest", "2"],
        config: registry,
    },
];

fn hello() -> ContainerConfig {
    ContainerConfig {
        cmd: Some(vec![PROGRAM.to_owned(), "hello".to_owned()]),
        ..ContainerConfig::default()
    }
}

/// Port, volume and settings are those of the image that Docker's registry has on its hub.
fn registry() -> ContainerConfig {
    ContainerConfig {
        entrypoint: Some(vec![PROGRAM.to_owned(), "registry".to_owned()]),
        cmd: Some(vec!["serve".to_owned()]),
        env: vec!["REGISTRY_HTTP_ADDR=:5000".to_owned()],
        exposed_ports: BTreeMap::from([("5000/tcp".to_owned(), Empty {})]),
        volumes: BTreeMap::from([("/var/lib/registry".to_owned(), Empty {})]),
        ..ContainerConfig::default()
    }
}

/// Returns the image of ours that a name means.
fn built_in(name: &Reference) -> Option<&'static BuiltIn> {
    let familiar = name.familiar();
    IMAGES.iter().find(|image| {
        let mut tags = image.tags.iter();
        tags.any(|tag| format!("{}:{tag}", image.repository) == familiar)
    })
}

impl Images {
    /// Whether the engine carries the image of this name in itself.
    pub(super) fn is_built_in(name: &Reference) -> bool {
        built_in(name).is_some()
    }

    /// Makes the image of this name, if it is one of ours.
    pub(super) fn pull_built_in(
        &self,
        records: &Records,
        program: &Path,
        reference: &Reference,
        mut progress: impl FnMut(wire::Progress),
    ) -> Result<Digest, Error> {
        let familiar = reference.familiar();
        let built_in = built_in(reference).ok_or_else(|| {
            Error::not_found(format!("the engine has no image {familiar} in itself"))
        })?;
        progress(wire::Progress {
            id: reference.tag().unwrap_or_default().to_owned(),
            ..wire::Progress::status("Making the image from the engine's own program")
        });
        let created = self.store.import_files(
            &[HostFile {
                path: Path::new(PROGRAM),
                mode: 0o755,
                source: HostSource::Path(program.to_owned()),
            }],
            config((built_in.config)()),
        );
        let image = created.map_err(|error| Error::internal("cannot make the image", error))?;
        self.give(records, image.id, std::slice::from_ref(reference), None)?;
        progress(wire::Progress::status(format!(
            "Digest: {}",
            image.manifest
        )));
        progress(wire::Progress::status(format!("Status: Made {familiar}")));
        Ok(image.id)
    }
}

fn config(mut of_container: ContainerConfig) -> ImageConfig {
    let created = Some(Timestamp::now().to_string());
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    of_container.env.insert(0, path.to_owned());
    "/".clone_into(&mut of_container.working_dir);
    ImageConfig {
        created: created.clone(),
        config: of_container,
        history: vec![History {
            created,
            created_by: "the engine's own program".to_owned(),
            ..History::default()
        }],
        ..ImageConfig::default()
    }
}
