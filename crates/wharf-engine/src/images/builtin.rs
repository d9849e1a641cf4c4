//! Images the engine makes from its own program: they need no registry.

use std::path::Path;

use jiff::Timestamp;
use wharf_oci::image::{ContainerConfig, History, ImageConfig};
use wharf_store::{HostFile, HostSource};
use wharf_types::{Digest, Reference};
use wharf_wire as wire;

use super::Images;
use crate::error::Error;
use crate::records::Records;

/// The image whose container greets.
const HELLO: &str = "hello-world:latest";
/// Where the program lies in it.
const PROGRAM: &str = "/wharf";

impl Images {
    /// Makes the image of this name, if it is one of ours.
    pub(crate) fn pull_builtin(
        &self,
        records: &Records,
        program: &Path,
        name: &str,
        mut progress: impl FnMut(wire::Progress),
    ) -> Result<Digest, Error> {
        let reference: Reference = name
            .parse()
            .map_err(|error| Error::invalid(format!("{error}")))?;
        let reference = reference.with_default_tag();
        if reference.familiar() != HELLO {
            return Err(Error::not_implemented(format!(
                "cannot pull {}: this engine does not talk to registries yet; bring the image in with 'load' or \
                 'import'",
                reference.familiar()
            )));
        }
        progress(wire::Progress {
            id: "latest".to_owned(),
            ..wire::Progress::status("Making the image from the engine's own program")
        });
        let created = self.store.import_files(
            &[HostFile {
                path: Path::new(PROGRAM),
                mode: 0o755,
                source: HostSource::Path(program.to_owned()),
            }],
            config(),
        );
        let image = created.map_err(|error| Error::internal("cannot make the image", error))?;
        self.give(records, image.id, std::slice::from_ref(&reference))?;
        progress(wire::Progress::status(format!(
            "Digest: {}",
            image.manifest
        )));
        progress(wire::Progress::status(format!("Status: Made {HELLO}")));
        Ok(image.id)
    }
}

fn config() -> ImageConfig {
    let created = Some(Timestamp::now().to_string());
    ImageConfig {
        created: created.clone(),
        config: ContainerConfig {
            env: vec![
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            ],
            cmd: Some(vec![PROGRAM.to_owned(), "hello".to_owned()]),
            working_dir: "/".to_owned(),
            ..ContainerConfig::default()
        },
        history: vec![History {
            created,
            created_by: "the engine's own program".to_owned(),
            ..History::default()
        }],
        ..ImageConfig::default()
    }
}
