//! `port`: where a container's ports are published.

use wharf_wire::ContainerInspect;
use wharf_wire::query::encode;

use super::{Command, Context};
use crate::failure::Failure;
use crate::grammar::{Arity, Grammar};
use crate::options::publish;

pub(super) static COMMAND: Command<()> = Command {
    names: &["container port", "port"],
    about: "List port mappings or a specific mapping for the container",
    usage: "CONTAINER [PRIVATE_PORT[/PROTO]]",
    grammar: Grammar {
        flags: &[],
        interspersed: true,
        arity: Arity::Between(1, 2),
    },
    run,
};

fn run(context: &Context, (): (), words: Vec<String>) -> Result<u8, Failure> {
    let client = context.client()?;
    let container: ContainerInspect = context.block_on(async {
        Ok(client
            .get(&format!("/containers/{}/json", encode(&words[0])))
            .await?)
    })?;
    let wanted = words.get(1).map(|port| {
        if port.contains('/') {
            port.clone()
        } else {
            format!("{port}/tcp")
        }
    });
    if let Some(text) = words.get(1) {
        let number = text.split('/').next().unwrap_or_default();
        if let Err(problem) = publish::port_number(number) {
            return Err(Failure::message(format!(
                "Error: invalid port ({number}): {problem}"
            )));
        }
    }
    let mut lines = String::new();
    for (port, bindings) in &container.network_settings.ports {
        if wanted.as_ref().is_some_and(|wanted| wanted != port) {
            continue;
        }
        for binding in bindings.iter().flatten() {
            let address = if binding.host_ip.contains(':') {
                format!("[{}]", binding.host_ip)
            } else {
                binding.host_ip.clone()
            };
            match wanted {
                None => lines.push_str(&format!("{port} -> {address}:{}\n", binding.host_port)),
                Some(_) => lines.push_str(&format!("{address}:{}\n", binding.host_port)),
            }
        }
    }
    if let [name, port] = words.as_slice()
        && lines.is_empty()
    {
        return Err(Failure::message(format!(
            "Error: No public port '{port}' published for {name}"
        )));
    }
    context.printer.data(lines.as_bytes())?;
    Ok(0)
}
