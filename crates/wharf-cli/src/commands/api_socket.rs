//! `--use-api-socket`: a container that may ask the engine, as the user who started it.

use std::collections::BTreeMap;

use hyper::Method;
use wharf_wire::query::encode;
use wharf_wire::{ArchivePutQuery, AuthConfig, Mount};

use super::Context;
use crate::client::{Client, ClientError};
use crate::environment;
use crate::failure::{Failure, chain};
use crate::options::container::Created;
use crate::settings::{Address, credentials};

/// Where the container finds the socket.
const SOCKET: &str = "/var/run/docker.sock";
/// Where it finds who the user is at registries, and the directory of that.
const CONFIGURATION: &str = "run/secrets/docker/config.json";
const DIRECTORY: &str = "/run/secrets/docker";

/// Adds the socket to a container that is to be made, and the user's credentials, unless it has a configuration of its own.
pub(super) fn share(
    context: &Context,
    client: &Client,
    created: &mut Created,
) -> Result<(), Failure> {
    let Address::Unix(socket) = client.address() else {
        return Err(Failure::message(format!(
            "flag --use-api-socket can only be used with unix sockets: docker endpoint {} incompatible",
            client.address()
        )));
    };
    let mounts = &mut created.body.host_config.mounts;
    mounts.push(Mount {
        kind: "bind".to_owned(),
        source: socket.display().to_string(),
        target: SOCKET.to_owned(),
        ..Mount::default()
    });
    let env = created.body.config.env.get_or_insert_default();
    if env.iter().any(|text| text.starts_with("DOCKER_CONFIG=")) {
        return Ok(());
    }
    let all = known(context)?;
    if !all.is_empty() {
        env.push(format!("DOCKER_CONFIG={DIRECTORY}"));
        created.configuration = Some(credentials::document(&all));
    }
    Ok(())
}

/// Who the user is at all registries: of the environment, else of the configuration.
fn known(context: &Context) -> Result<BTreeMap<String, AuthConfig>, Failure> {
    if let Some(text) = environment::read(environment::DOCKER_AUTH_CONFIG) {
        let all = credentials::read(&text).ok_or_else(|| {
            Failure::message(
                "resolving credentials failed: failed to read credentials from DOCKER_AUTH_CONFIG",
            )
        })?;
        if !all.is_empty() {
            return Ok(all);
        }
    }
    context.credentials().all().map_err(|error| {
        Failure::message(format!("resolving credentials failed: {}", chain(&error)))
    })
}

/// Puts the credentials into a container that was made and does not run yet.
pub(super) async fn hand_over(
    client: &Client,
    id: &str,
    configuration: &str,
) -> Result<(), ClientError> {
    let query = ArchivePutQuery {
        path: "/".to_owned(),
        ..ArchivePutQuery::default()
    };
    let route = format!("/containers/{}/archive{}", encode(id), query.write());
    let reply = client
        .send_bytes(
            Method::PUT,
            &route,
            "application/x-tar",
            archive(configuration),
        )
        .await?;
    reply.bytes().await?;
    Ok(())
}

/// An archive with the one file, for its owner alone.
fn archive(configuration: &str) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_size(configuration.len() as u64);
    header.set_mode(0o600);
    let mut builder = tar::Builder::new(Vec::new());
    builder
        .append_data(&mut header, CONFIGURATION, configuration.as_bytes())
        .and_then(|()| builder.into_inner())
        .expect("a short name, and memory to write to")
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn the_archive_has_the_file() {
        let bytes = archive("{}");
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut entry = archive
            .entries()
            .expect("an archive")
            .next()
            .expect("an entry")
            .expect("a good one");
        assert_eq!(entry.path_bytes().as_ref(), CONFIGURATION.as_bytes());
        assert_eq!(entry.header().mode().expect("a mode"), 0o600);
        let mut text = String::new();
        entry.read_to_string(&mut text).expect("text");
        assert_eq!(text, "{}");
    }
}
