//! `create`, and the making of a container that `run` shares.

use std::fs;
use std::io;
use std::path::PathBuf;

use hyper::Method;
use wharf_types::{Digest, Reference, ReferenceError};
use wharf_wire::{ContainerCreated, CreateQuery};

use super::account::header;
use super::content_trust::{self, ContentTrust};
use super::{Command, Context, api_socket, pull};
use crate::client::{Client, ClientError};
use crate::failure::{Failure, chain, errno_text};
use crate::grammar::{Arity, Grammar};
use crate::options::container::{CREATE_ONLY, ContainerArguments, Created, Pull, SHARED, body};
use crate::options::platform;
use crate::progress::{Display, ProgressError};
use crate::settings::credentials::CredentialsError;

pub(super) static COMMAND: Command<ContainerArguments> = Command {
    names: &["container create", "create"],
    about: "Create a new container",
    usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    grammar: Grammar {
        flags: &[SHARED, CREATE_ONLY],
        interspersed: false,
        arity: Arity::AtLeast(1),
    },
    run,
};

fn run(
    context: &Context,
    arguments: ContainerArguments,
    mut words: Vec<String>,
) -> Result<u8, Failure> {
    let image = words.remove(0);
    let mut created = body(&arguments, &image, words)
        .map_err(|error| context.refused(&error.to_string(), 125))?;
    let client = context.client()?;
    complete(context, &client, &arguments, &mut created)?;
    context.block_on(async {
        let id = make(context, &client, &arguments, &created)
            .await
            .map_err(|error| Failure::message(error.text()))?;
        context.printer.line(&id)?;
        Ok(0)
    })
}

/// Adds what the client knows and the line does not say.
pub(super) fn complete(
    context: &Context,
    client: &Client,
    arguments: &ContainerArguments,
    created: &mut Created,
) -> Result<(), Failure> {
    add_proxies(context, client, created);
    if arguments.api_socket {
        api_socket::share(context, client, created)?;
    }
    Ok(())
}

/// Tells the container of the proxies in the user's configuration, unless the line says otherwise.
fn add_proxies(context: &Context, client: &Client, created: &mut Created) {
    let variables = context
        .config()
        .proxy_variables(&client.address().to_string());
    if variables.is_empty() {
        return;
    }
    let env = created.body.config.env.get_or_insert_default();
    for (name, value) in variables {
        let set = env
            .iter()
            .any(|known| known.split('=').next() == Some(name.as_str()));
        if !set {
            env.push(format!("{name}={value}"));
        }
    }
}

/// Why a container was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum MakeError {
    /// The engine refused, or is not there.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The image could not be had.
    #[error(transparent)]
    Pull(#[from] ProgressError),
    /// Who the user is at the image's registry cannot be found out.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// A signature of the image was asked for.
    #[error(transparent)]
    ContentTrust(#[from] ContentTrust),
    /// The name of the image is none.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The file for the id exists.
    #[error(
        "container ID file found, make sure the other container isn't running or delete {}", .0.display()
    )]
    IdFileExists(PathBuf),
    /// The file for the id cannot be written.
    #[error("failed to create the container ID file: open {}: {}", .0.display(), errno_text(.1))]
    IdFile(PathBuf, io::Error),
}

impl MakeError {
    /// The whole text.
    pub(super) fn text(&self) -> String {
        chain(self)
    }
}

/// Makes a container, fetching its image as the flags say, and returns its id.
pub(super) async fn make(
    context: &Context,
    client: &Client,
    arguments: &ContainerArguments,
    created: &Created,
) -> Result<String, MakeError> {
    let id_file = id_file(&arguments.cidfile)?;
    let image = named(&created.body.config.image)?;
    if image.as_ref().is_some_and(|image| image.digest().is_none()) {
        content_trust::refuse(arguments.no_content_trust)?;
    }
    if let Some(image) = image.as_ref().filter(|_| arguments.pull == Pull::Always) {
        fetch(context, client, arguments, image).await?;
    }
    let name = Some(arguments.name.clone()).filter(|name| !name.is_empty());
    let path = format!(
        "/containers/create{}",
        CreateQuery {
            name,
            platform: platform::chosen(&arguments.platform),
        }
        .write()
    );
    let reply = match client.post_json(&path, &created.body).await {
        Err(error) if arguments.pull == Pull::Missing && image_is_missing(&error) => {
            let Some(image) = &image else {
                return Err(error.into());
            };
            if !arguments.quiet {
                context.printer.note(&format!(
                    "Unable to find image '{}' locally",
                    image.familiar()
                ));
            }
            fetch(context, client, arguments, image).await?;
            client.post_json(&path, &created.body).await?
        }
        other => other?,
    };
    let made: ContainerCreated = reply.json().await?;
    for warning in &made.warnings {
        context.printer.note(&format!("WARNING: {warning}"));
    }
    if let Some(configuration) = &created.configuration {
        api_socket::hand_over(client, &made.id, configuration).await?;
    }
    if let Some(path) = id_file {
        fs::write(&path, &made.id).map_err(|error| MakeError::IdFile(path, error))?;
    }
    Ok(made.id)
}

/// Finds out early that the file for the id cannot be made.
fn id_file(path: &str) -> Result<Option<PathBuf>, MakeError> {
    if path.is_empty() {
        return Ok(None);
    }
    let path = PathBuf::from(path);
    match fs::symlink_metadata(&path) {
        Ok(_) => Err(MakeError::IdFileExists(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(path)),
        Err(error) => Err(MakeError::IdFile(path, error)),
    }
}

/// The name an image has at a registry; none when it is an id.
fn named(image: &str) -> Result<Option<Reference>, ReferenceError> {
    // It would do for a name, too.
    if image.parse::<Digest>().is_ok() {
        return Ok(None);
    }
    match image.parse::<Reference>() {
        Ok(reference) => Ok(Some(reference.with_default_tag())),
        Err(ReferenceError::Identifier(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether there is no such image, or none for the platform that is asked for.
fn image_is_missing(error: &ClientError) -> bool {
    const WORDS: [&str; 2] = ["No such image", "image with reference "];
    error.status().is_some_and(|status| status.as_u16() == 404)
        && error
            .engine_message()
            .is_some_and(|message| WORDS.iter().any(|words| message.starts_with(words)))
}

/// Fetches an image. What is said meanwhile goes where it is not taken for the container's.
async fn fetch(
    context: &Context,
    client: &Client,
    arguments: &ContainerArguments,
    image: &Reference,
) -> Result<(), MakeError> {
    let auth = header(context, image.domain())?;
    let path = pull::path(image, &platform::chosen(&arguments.platform));
    let reply = client.call_as(Method::POST, &path, &auth).await?;
    let display = if arguments.quiet {
        Display::silent()
    } else {
        Display::stderr()
    };
    Ok(display.follow(reply).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_no_name() {
        let name = |text: &str| named(text).map(|name| name.map(|name| name.familiar()));
        let id = "0".repeat(64);
        assert_eq!(name(&id), Ok(None));
        assert_eq!(name(&format!("sha256:{id}")), Ok(None));
        assert_eq!(name("sha256:1234"), Ok(Some("sha256:1234".to_owned())));
        assert_eq!(
            name("1234567890ab"),
            Ok(Some("1234567890ab:latest".to_owned()))
        );
        assert_eq!(
            name(&format!("a@sha256:{id}")),
            Ok(Some(format!("a@sha256:{id}")))
        );
        assert!(name("UPPER").is_err());
    }
}
