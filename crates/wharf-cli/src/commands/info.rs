//! `info`: the engine and its machine.

use serde_json::{Value, json};
use wharf_template::{MissingKey, Options, Template};
use wharf_wire::SystemInfo;

use super::{Command, Context};
use crate::failure::{Failure, chain};
use crate::format::units;
use crate::grammar::{Arity, Grammar};
use crate::options::flags;

#[derive(Debug, Default)]
pub(super) struct Arguments {
    format: Option<String>,
}

pub(super) static COMMAND: Command<Arguments> = Command {
    names: &["system info", "info"],
    about: "Display system-wide information",
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

fn run(context: &Context, arguments: Arguments, _: Vec<String>) -> Result<u8, Failure> {
    let template = match arguments.format.as_deref() {
        None | Some("") => None,
        Some("json") => Some(Template::parse("", "{{json .}}")),
        Some(text) => Some(Template::parse("", text)),
    };
    let template = template
        .transpose()
        .map_err(|error| Failure::with_code(format!("template parsing error: {error}"), 64))?;
    let client = context.client()?;
    let answer = context.block_on(async { Ok(client.get::<Value>("/info").await) })?;
    let own = json!({
        "Debug": false,
        "Version": env!("CARGO_PKG_VERSION"),
        "Os": std::env::consts::OS,
        "Arch": super::version::architecture(),
        "Context": "default",
        "Plugins": [],
        "Warnings": null,
    });
    if let Some(template) = template {
        let mut data = answer.map_err(|error| Failure::message(chain(&error)))?;
        if let Value::Object(members) = &mut data {
            members.insert("ClientInfo".to_owned(), own);
        }
        let strict = Options {
            root_type: Some("system.dockerInfo"),
            missing_key: MissingKey::Error,
            ..Options::default()
        };
        return match template.execute(&data, &strict) {
            Ok(text) => {
                context.printer.line(&text)?;
                Ok(0)
            }
            Err(error) => {
                // As with Docker's, the line that was to be shown is empty.
                context.printer.line("")?;
                Err(Failure::message(error.to_string()))
            }
        };
    }
    let version = env!("CARGO_PKG_VERSION");
    let mut text = format!(
        "Client:\n Version:    {version}\n Context:    default\n Debug Mode: false\n\nServer:\n"
    );
    let answer = answer.and_then(|value| {
        serde_json::from_value(value).map_err(crate::client::ClientError::Decode)
    });
    if let Ok(info) = &answer {
        text.push_str(&server(info));
    }
    context.printer.data(text.as_bytes())?;
    match answer {
        Ok(info) => {
            for warning in info.warnings.iter().flatten() {
                context.printer.note(warning);
            }
            Ok(0)
        }
        Err(error) => Err(Failure::message(chain(&error))),
    }
}

/// The engine's part.
fn server(info: &SystemInfo) -> String {
    let mut text = format!(
        " Containers: {}\n  Running: {}\n  Paused: {}\n  Stopped: {}\n Images: {}\n",
        info.containers,
        info.containers_running,
        info.containers_paused,
        info.containers_stopped,
        info.images
    );
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            text.push_str(&format!(" {name}: {value}\n"));
        }
    };
    line("Server Version", &info.server_version);
    line("Storage Driver", &info.driver);
    for [name, value] in &info.driver_status {
        line(&format!(" {name}"), value);
    }
    line("Logging Driver", &info.logging_driver);
    line("Cgroup Driver", &info.cgroup_driver);
    line("Cgroup Version", &info.cgroup_version);
    text.push_str(&plugins(info));
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            text.push_str(&format!(" {name}: {value}\n"));
        }
    };
    line("Swarm", &info.swarm.local_node_state);
    let runtimes: Vec<&str> = info.runtimes.keys().map(String::as_str).collect();
    line("Runtimes", &runtimes.join(" "));
    line("Default Runtime", &info.default_runtime);
    line("Init Binary", &info.init_binary);
    line("containerd version", &info.containerd_commit.id);
    line("runc version", &info.runc_commit.id);
    line("init version", &info.init_commit.id);
    text.push_str(&security(info));
    text.push_str(&machine(info));
    text
}

fn plugins(info: &SystemInfo) -> String {
    let mut text = " Plugins:\n".to_owned();
    let authorization = info.plugins.authorization.clone().unwrap_or_default();
    for (name, list) in [
        ("Volume", &info.plugins.volume),
        ("Network", &info.plugins.network),
        ("Authorization", &authorization),
        ("Log", &info.plugins.log),
    ] {
        if !list.is_empty() {
            text.push_str(&format!("  {name}: {}\n", list.join(" ")));
        }
    }
    text
}

/// `name=seccomp,profile=builtin` as a heading and what is under it.
fn security(info: &SystemInfo) -> String {
    if info.security_options.is_empty() {
        return String::new();
    }
    let mut text = " Security Options:\n".to_owned();
    for option in &info.security_options {
        let pairs = option
            .split(',')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        for (key, value) in pairs {
            match key {
                "name" => text.push_str(&format!("  {value}\n")),
                key => text.push_str(&format!("   {}: {value}\n", capitalized(key))),
            }
        }
    }
    text
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or(String::new(), |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

fn machine(info: &SystemInfo) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            text.push_str(&format!(" {name}: {value}\n"));
        }
    };
    line("Kernel Version", &info.kernel_version);
    line("Operating System", &info.operating_system);
    line("OSType", &info.os_type);
    line("Architecture", &info.architecture);
    line("CPUs", &info.n_cpu.to_string());
    line("Total Memory", &units::binary(info.mem_total));
    line("Name", &info.name);
    line("ID", &info.id);
    line("Docker Root Dir", &info.docker_root_dir);
    line("Debug Mode", &info.debug.to_string());
    line("HTTP Proxy", &info.http_proxy);
    line("HTTPS Proxy", &info.https_proxy);
    line("No Proxy", &info.no_proxy);
    for label in &info.labels {
        line("Label", label);
    }
    line("Experimental", &info.experimental_build.to_string());
    if let Some(registries) = &info.registry_config {
        let insecure: Vec<String> = registries
            .insecure_registry_cidrs
            .iter()
            .map(|network| format!("  {network}\n"))
            .collect();
        if !insecure.is_empty() {
            text.push_str(&format!(" Insecure Registries:\n{}", insecure.concat()));
        }
    }
    text.push_str(&format!(
        " Live Restore Enabled: {}\n",
        info.live_restore_enabled
    ));
    text
}
