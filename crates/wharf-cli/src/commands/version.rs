//! `version`: of the client and of the engine.

use serde_json::{Value, json};
use wharf_template::{MissingKey, Options, Template};
use wharf_wire::Version;

use super::{Command, Context};
use crate::client::{Client, ClientError};
use crate::failure::{Failure, chain};
use crate::format::listing::columns;
use crate::grammar::{Arity, Grammar};
use crate::options::flags;

#[derive(Debug, Default)]
pub(super) struct Arguments {
    format: Option<String>,
}

pub(super) static COMMAND: Command<Arguments> = Command {
    names: &["version"],
    about: "Show the Wharf version information",
    usage: "[OPTIONS]",
    grammar: Grammar {
        flags: &[&[flags::format_of_one::<Arguments>(|a, v| {
            a.format = Some(v.to_owned());
            Ok(())
        })
        .short('f')]],
        interspersed: true,
        arity: Arity::None,
    },
    run,
};

/// The client's architecture by its name in Go.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn run(context: &Context, arguments: Arguments, _: Vec<String>) -> Result<u8, Failure> {
    let template = match arguments.format.as_deref() {
        None | Some("") => None,
        Some("json") => Some(Template::parse("version", "{{json .}}")),
        Some(text) => Some(Template::parse("version", text)),
    };
    let template = template
        .transpose()
        .map_err(|error| Failure::with_code(format!("template parsing error: {error}"), 64))?;
    let client = context.client()?;
    let server = context.block_on(async { Ok(ask(&client).await) })?;
    let text = match &template {
        None => table(&client, server.as_ref().ok())?,
        Some(template) => {
            let server = server
                .as_ref()
                .ok()
                .map(serde_json::to_value)
                .transpose()
                .map_err(|error| Failure::of(&error))?;
            let data =
                json!({ "Client": client_value(&client), "Server": server.unwrap_or(Value::Null) });
            let strict = Options {
                root_type: Some("system.versionInfo"),
                missing_key: MissingKey::Error,
                ..Options::default()
            };
            match template.execute(&data, &strict) {
                Ok(text) => text + "\n",
                Err(error) => {
                    // As with Docker's, the line that was to be shown is empty.
                    context.printer.line("")?;
                    return Err(Failure::message(error.to_string()));
                }
            }
        }
    };
    context.printer.data(text.as_bytes())?;
    match server {
        Ok(_) => Ok(0),
        Err(error) => Err(Failure::message(chain(&error))),
    }
}

/// Asks the engine; beforehand for the API version, which is told too.
async fn ask(client: &Client) -> Result<Version, ClientError> {
    client.settle().await?;
    client.get("/version").await
}

fn client_value(client: &Client) -> Value {
    json!({
        "Platform": { "Name": "" },
        "Version": env!("CARGO_PKG_VERSION"),
        "ApiVersion": client.api_version(),
        "DefaultAPIVersion": wharf_wire::API_VERSION,
        "GitCommit": "",
        "GoVersion": "",
        "Os": std::env::consts::OS,
        "Arch": architecture(),
        "BuildTime": "",
        "Context": "default",
    })
}

fn table(client: &Client, server: Option<&Version>) -> Result<String, Failure> {
    let mut text = format!(
        "Client:\n Version:\t{}\n API version:\t{}\n OS/Arch:\t{}/{}\n Context:\tdefault\n",
        env!("CARGO_PKG_VERSION"),
        client.api_version(),
        std::env::consts::OS,
        architecture()
    );
    if let Some(server) = server {
        let name = if server.platform.name.is_empty() {
            "Engine"
        } else {
            &server.platform.name
        };
        text.push_str(&format!("\nServer: {name}\n"));
        for component in &server.components {
            text.push_str(&format!(
                " {}:\n  Version:\t{}\n",
                component.name, component.version
            ));
            for (label, key) in [
                ("API version", "ApiVersion"),
                ("Go version", "GoVersion"),
                ("Git commit", "GitCommit"),
                ("Built", "BuildTime"),
            ] {
                let Some(value) = component.details.get(key).filter(|value| !value.is_empty())
                else {
                    continue;
                };
                if key == "ApiVersion" {
                    let minimum = component
                        .details
                        .get("MinAPIVersion")
                        .map_or("", String::as_str);
                    text.push_str(&format!(
                        "  {label}:\t{value} (minimum version {minimum})\n"
                    ));
                } else {
                    text.push_str(&format!("  {label}:\t{value}\n"));
                }
            }
            if let (Some(os), Some(arch)) =
                (component.details.get("Os"), component.details.get("Arch"))
            {
                text.push_str(&format!("  OS/Arch:\t{os}/{arch}\n"));
            }
            if let Some(experimental) = component.details.get("Experimental") {
                text.push_str(&format!("  Experimental:\t{experimental}\n"));
            }
        }
    }
    Ok(columns(&text, 20, 1)?)
}
