//! `login`: who the user is at a registry, proved and remembered.

use std::io::Read as _;

use hyper::StatusCode;
use wharf_wire::{AuthConfig, AuthResult};

use super::account::{Typed, ask};
use super::{Command, Context, registry_client};
use crate::client::{Client, ClientError};
use crate::failure::{Failure, chain, errno_text};
use crate::grammar::{Arity, Flag, Grammar};
use crate::printer;
use crate::settings::Credentials;
use crate::settings::credentials::{HUB, hostname};

#[derive(Debug, Default)]
pub(super) struct Arguments {
    username: Option<String>,
    password: Option<String>,
    password_stdin: Option<bool>,
}

type F = Flag<Arguments>;

pub(super) static COMMAND: Command<Arguments> = Command {
    names: &["login"],
    about: "Authenticate to a registry",
    usage: "[OPTIONS] [SERVER]",
    grammar: Grammar {
        flags: &[&[
            F::value(
                "password",
                "string",
                "Password or Personal Access Token (PAT)",
                |a, v| {
                    a.password = Some(v.to_owned());
                    Ok(())
                },
            )
            .short('p'),
            F::switch(
                "password-stdin",
                "Take the Password or Personal Access Token (PAT) from stdin",
                |a, on| a.password_stdin = Some(on),
            ),
            F::value("username", "string", "Username", |a, v| {
                a.username = Some(v.to_owned());
                Ok(())
            })
            .short('u'),
        ]],
        interspersed: true,
        arity: Arity::AtMost(1),
    },
    run,
};

/// Most bytes of a password.
const LONGEST: u64 = 1 << 20;

fn run(context: &Context, arguments: Arguments, words: Vec<String>) -> Result<u8, Failure> {
    let typed = typed(context, arguments)?;
    let server = match words.first().map(String::as_str) {
        None | Some("" | "docker.io" | HUB) => HUB,
        Some(server) => hostname(server),
    };
    let client = context.client()?;
    let status = context.block_on(async {
        let login = Login {
            context,
            client: &client,
            credentials: context.credentials(),
            server,
        };
        login.run(typed).await
    })?;
    if !status.is_empty() {
        context.printer.line(&status)?;
    }
    Ok(0)
}

/// What was said on the line, and on standard input where the line says so.
fn typed(context: &Context, arguments: Arguments) -> Result<Typed, Failure> {
    let Arguments {
        username,
        password,
        password_stdin,
    } = arguments;
    if password_stdin.is_some() {
        if password.is_some() {
            return Err(Failure::message(
                "conflicting options: cannot specify both --password and --password-stdin",
            ));
        }
        if username.is_none() {
            return Err(Failure::message(
                "the --password-stdin option requires --username to be set",
            ));
        }
    }
    for (name, value) in [("username", &username), ("password", &password)] {
        if value.as_deref() == Some("") {
            return Err(Failure::message(format!("{name} is empty")));
        }
    }
    if password.is_some() {
        context
            .printer
            .note("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    }
    let password = match password_stdin {
        Some(true) => password_from_input()?,
        _ => password.unwrap_or_default(),
    };
    Ok(Typed {
        username: username.unwrap_or_default(),
        password,
    })
}

fn password_from_input() -> Result<String, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::message(format!("read standard input: {}", errno_text(&error)))
    };
    let mut text = String::new();
    let input = std::io::stdin().lock();
    let length = input
        .take(LONGEST + 1)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    if length as u64 > LONGEST {
        return Err(Failure::message("the password is too long"));
    }
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

/// One login.
struct Login<'a> {
    context: &'a Context,
    client: &'a Client,
    credentials: Credentials,
    server: &'a str,
}

impl Login<'_> {
    /// Tries what is remembered, then asks; returns what the registry says.
    async fn run(&self, typed: Typed) -> Result<String, Failure> {
        let mut known = AuthConfig::default();
        if typed.username.is_empty() && typed.password.is_empty() {
            known = self.credentials.get(self.server).unwrap_or_else(|error| {
                let warning = format!("WARNING: {}", chain(&error));
                self.context.printer.note(&warning);
                AuthConfig::default()
            });
            known.identity_token.clear();
            self.server.clone_into(&mut known.server_address);
            if !known.username.is_empty()
                && !known.password.is_empty()
                && let Some(status) = self.with_remembered(&known).await?
            {
                return Ok(status);
            }
        }
        let whole = !typed.username.is_empty() && !typed.password.is_empty();
        if !whole && !crate::terminal::input_is_terminal() {
            return Err(Failure::message(
                "Error: Cannot perform an interactive login from a non TTY device",
            ));
        }
        let auth = ask(self.context, typed, &known.username, self.server).await?;
        let result = self.prove(&auth).await?;
        self.remember(auth, result)
    }

    /// Tries what is remembered; nothing when that does not hold any more.
    async fn with_remembered(&self, known: &AuthConfig) -> Result<Option<String>, Failure> {
        let name = self.context.program.name();
        let terminal = crate::terminal::error_is_terminal();
        printer::say(&format!(
            "Authenticating with existing credentials... [Username: {}]\n{}\n\n",
            known.username,
            printer::remark(
                &format!(
                    "To login with a different account, run '{name} logout' followed by '{name} login'"
                ),
                terminal
            )
        ));
        match self.prove(known).await {
            Ok(result) => self.remember(known.clone(), result).map(Some),
            Err(error) => {
                let note = match error.status() {
                    Some(StatusCode::UNAUTHORIZED) => {
                        "Stored credentials invalid or expired".to_owned()
                    }
                    _ => format!("Login did not succeed, error: {}", chain(&error)),
                };
                self.context.printer.note(&note);
                Ok(None)
            }
        }
    }

    /// Has the engine ask the registry. Without an engine the client asks itself, so that credentials can be had
    /// for what needs none.
    async fn prove(&self, auth: &AuthConfig) -> Result<AuthResult, ClientError> {
        let reply = match self.client.post_json("/auth", auth).await {
            Err(ClientError::Connect { .. } | ClientError::Launch { .. }) => {
                return self.prove_directly(auth).await;
            }
            other => other?,
        };
        if reply.status() == StatusCode::NO_CONTENT {
            reply.bytes().await?;
            return Ok(AuthResult::default());
        }
        reply.json().await
    }

    async fn prove_directly(&self, auth: &AuthConfig) -> Result<AuthResult, ClientError> {
        let registry = if self.server == HUB {
            wharf_types::DEFAULT_DOMAIN
        } else {
            self.server
        };
        let client = registry_client::client(None).map_err(ClientError::RegistryClient)?;
        let credentials = registry_client::credentials(auth.clone());
        let proved = client.login(registry, &credentials).await;
        let proved = proved.map_err(|error| ClientError::Registry(Box::new(error)))?;
        Ok(AuthResult {
            status: "Login Succeeded".to_owned(),
            identity_token: proved.identity_token.unwrap_or_default(),
        })
    }

    /// Remembers who the user is; a token the registry gave takes the password's place.
    fn remember(&self, mut auth: AuthConfig, result: AuthResult) -> Result<String, Failure> {
        if !result.identity_token.is_empty() {
            auth.password.clear();
            auth.identity_token = result.identity_token;
        }
        let readable = self.credentials.put(&auth).map_err(|error| {
            Failure::message(format!("Error saving credentials: {}", chain(&error)))
        })?;
        if readable {
            self.context.printer.note(&format!(
                "\nWARNING! Your credentials are stored unencrypted in '{}'.\nConfigure a credential helper to remove this warning. See\nhttps://docs.docker.com/go/credential-store/\n",
                self.credentials.file().display()
            ));
        }
        Ok(result.status)
    }
}
