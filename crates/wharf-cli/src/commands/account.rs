//! Who the user is at a registry, for the commands that have the engine go there.

use std::future::Future;

use hyper::StatusCode;
use wharf_wire::AuthConfig;

use super::Context;
use crate::client::{ClientError, Reply};
use crate::environment;
use crate::failure::{Failure, chain};
use crate::grammar::parse_bool;
use crate::printer;
use crate::prompt::Questions;
use crate::settings::credentials::{CredentialsError, HUB, key};

/// What is said to those who have no account at Docker Hub.
const REGISTER: &str = "Log in with your Docker ID or email address to push and pull images from Docker Hub. \
    If you don't have a Docker ID, head over to https://hub.docker.com/ to create one.\n";
const TOKENS: &str = "You can log in with your password or a Personal Access Token (PAT). Using a limited-scope PAT \
    grants better security and is required for organizations using SSO. Learn more at https://docs.docker.com/go/access-tokens/\n\n";
const TOKEN_INSTEAD: &str = "A Personal Access Token (PAT) can be used instead.\nTo create a PAT, visit \
    \x1b[4mhttps://app.docker.com/settings\x1b[0m\n\n";

/// The header that tells the engine who the user is at a registry.
pub(super) fn header(context: &Context, domain: &str) -> Result<String, CredentialsError> {
    Ok(context.credentials().get(key(domain))?.to_header())
}

/// The same for what may well be done as nobody: credentials that cannot be had are told of.
fn header_or_nobody(context: &Context, domain: &str) -> String {
    header(context, domain).unwrap_or_else(|error| {
        context.printer.note(&format!("WARNING: {}", chain(&error)));
        AuthConfig::default().to_header()
    })
}

/// Makes a request about a registry. When the engine wants to know better who the user is, they are asked, and the
/// request is made once more.
pub(super) async fn authorized<'a, F>(
    context: &Context,
    domain: &str,
    purpose: &str,
    request: impl Fn(String) -> F,
) -> Result<Reply<'a>, Failure>
where
    F: Future<Output = Result<Reply<'a>, ClientError>>,
{
    match request(header_or_nobody(context, domain)).await {
        Err(error) if error.status() == Some(StatusCode::UNAUTHORIZED) => {
            context
                .printer
                .line(&format!("\nLogin prior to {purpose}:"))?;
            let stored = context.credentials().get(key(domain));
            let stored = stored.unwrap_or_else(|error| {
                context.printer.note(&format!(
                    "Unable to retrieve stored credentials for {HUB}, error: {}.",
                    chain(&error)
                ));
                AuthConfig::default()
            });
            let nothing = Typed::default();
            let auth = ask(context, nothing, &stored.username, key(domain)).await?;
            Ok(request(auth.to_header()).await?)
        }
        other => Ok(other?),
    }
}

/// What the user has said on the line.
#[derive(Debug, Clone, Default)]
pub(super) struct Typed {
    pub(super) username: String,
    pub(super) password: String,
}

/// Asks for what was not said.
pub(super) async fn ask(
    context: &Context,
    typed: Typed,
    known: &str,
    server: &str,
) -> Result<AuthConfig, Failure> {
    let mut questions = None;
    let mut username = typed.username.trim().to_owned();
    if username.is_empty() {
        if server == HUB {
            context.printer.data(REGISTER.as_bytes())?;
            if hints() {
                context.printer.data(TOKENS.as_bytes())?;
            }
        }
        let known = known.trim();
        let question = match known {
            "" => "Username: ".to_owned(),
            known => format!("Username ({known}): "),
        };
        let asking = questions.insert(Questions::new()?);
        username = asking.ask(context.printer, &question).await?;
        if username.is_empty() {
            known.clone_into(&mut username);
        }
        if username.is_empty() {
            return Err(Failure::message("Error: Non-null Username Required"));
        }
    }
    let mut password = typed.password.trim().to_owned();
    if password.is_empty() {
        if server == HUB {
            let terminal = crate::terminal::error_is_terminal();
            printer::say(&printer::remark(TOKEN_INSTEAD, terminal));
        }
        let mut asking = match questions {
            Some(asking) => asking,
            None => Questions::new()?,
        };
        password = asking.ask_secretly(context.printer, "Password: ").await?;
        if password.is_empty() {
            return Err(Failure::message("Error: Password Required"));
        }
    }
    Ok(AuthConfig {
        username,
        password,
        server_address: server.to_owned(),
        ..AuthConfig::default()
    })
}

fn hints() -> bool {
    environment::read(environment::DOCKER_CLI_HINTS)
        .is_none_or(|text| parse_bool(&text).unwrap_or(true))
}
