//! `create`, and the making of a container that `run` shares.

use std::fs;
use std::io;
use std::path::PathBuf;

use wharf_types::Reference;
use wharf_wire::{ContainerCreated, CreateQuery, ImageCreateQuery};

use super::{Command, Context};
use crate::client::{Client, ClientError};
use crate::failure::{Failure, chain, errno_text};
use crate::grammar::{Arity, Grammar};
use crate::options::container::{CREATE_ONLY, ContainerArguments, Created, Pull, SHARED, body};
use crate::progress::{Display, ProgressError};

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
    add_proxies(context, &client, &mut created);
    context.block_on(async {
        let id = make(context, &client, &arguments, &created)
            .await
            .map_err(|error| Failure::message(error.text()))?;
        context.printer.line(&id)?;
        Ok(0)
    })
}

/// Tells the container of the proxies in the user's configuration, unless the line says otherwise.
pub(super) fn add_proxies(context: &Context, client: &Client, created: &mut Created) {
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
    /// The name of the image is none.
    #[error(transparent)]
    Reference(#[from] wharf_types::ReferenceError),
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
    let image = &created.body.config.image;
    if arguments.pull == Pull::Always {
        pull(client, arguments, image).await?;
    }
    let name = Some(arguments.name.clone()).filter(|name| !name.is_empty());
    let path = format!(
        "/containers/create{}",
        CreateQuery {
            name,
            platform: arguments.platform.clone()
        }
        .write()
    );
    let reply = match client.post_json(&path, &created.body).await {
        Err(error) if arguments.pull == Pull::Missing && image_is_missing(&error) => {
            if !arguments.quiet {
                let reference: Reference = image.parse()?;
                let reference = reference.with_default_tag();
                context.printer.note(&format!(
                    "Unable to find image '{}' locally",
                    reference.familiar()
                ));
            }
            pull(client, arguments, image).await?;
            client.post_json(&path, &created.body).await?
        }
        other => other?,
    };
    let made: ContainerCreated = reply.json().await?;
    for warning in &made.warnings {
        context.printer.note(&format!("WARNING: {warning}"));
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

fn image_is_missing(error: &ClientError) -> bool {
    error.status().is_some_and(|status| status.as_u16() == 404)
        && error
            .engine_message()
            .is_some_and(|message| message.starts_with("No such image"))
}

async fn pull(
    client: &Client,
    arguments: &ContainerArguments,
    image: &str,
) -> Result<(), MakeError> {
    let reference: Reference = image.parse()?;
    let reply = client
        .post(&pull_path(&reference, &arguments.platform))
        .await?;
    if arguments.quiet {
        Display::silent().follow(reply).await?;
    } else {
        Display::stderr().follow(reply).await?;
    }
    Ok(())
}

/// The request that fetches an image.
pub(super) fn pull_path(reference: &Reference, platform: &str) -> String {
    let reference = reference.clone().with_default_tag();
    let tag = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or_default().to_owned(),
    };
    let query = ImageCreateQuery {
        from_image: reference.familiar_name(),
        tag,
        platform: platform.to_owned(),
        ..ImageCreateQuery::default()
    };
    format!("/images/create{}", query.write())
}
