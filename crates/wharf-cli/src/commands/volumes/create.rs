//! `volume create`: a volume made.

use wharf_wire::{Volume, VolumeCreateBody};

use crate::commands::{Command, Context};
use crate::failure::Failure;
use crate::grammar::{Arity, Flag, Grammar};
use crate::options::key_value;

#[derive(Debug, Default)]
pub(in crate::commands) struct Arguments {
    body: VolumeCreateBody,
}

type F = Flag<Arguments>;

pub(in crate::commands) static COMMAND: Command<Arguments> = Command {
    names: &["volume create"],
    about: "Create a volume",
    usage: "[OPTIONS] [VOLUME]",
    grammar: Grammar {
        flags: &[&[
            F::refused("availability"),
            F::value("driver", "string", "Specify volume driver name", |a, v| {
                v.clone_into(&mut a.body.driver);
                Ok(())
            })
            .short('d')
            .default("\"local\""),
            F::refused("group"),
            F::value("label", "list", "Set metadata for a volume", |a, v| {
                Ok(key_value::add_label(&mut a.body.labels, v)?)
            }),
            F::refused("limit-bytes"),
            F::value("name", "string", "Specify volume name", |a, v| {
                v.clone_into(&mut a.body.name);
                Ok(())
            })
            .hidden(),
            F::value("opt", "map", "Set driver specific options", |a, v| {
                Ok(key_value::add_pair(&mut a.body.driver_opts, v)?)
            })
            .short('o')
            .default("map[]"),
            F::refused("required-bytes"),
            F::refused("scope"),
            F::refused("secret"),
            F::refused("sharing"),
            F::refused("topology-preferred"),
            F::refused("topology-required"),
            F::refused("type"),
        ]],
        interspersed: true,
        arity: Arity::AtMost(1),
    },
    run,
};

fn run(context: &Context, arguments: Arguments, mut words: Vec<String>) -> Result<u8, Failure> {
    let mut body = arguments.body;
    if let Some(name) = words.pop() {
        if !body.name.is_empty() {
            return Err(Failure::message(
                "conflicting options: cannot specify a volume-name through both --name and as a positional arg",
            ));
        }
        body.name = name;
    }
    let client = context.client()?;
    context.block_on(async {
        let reply = client.post_json("/volumes/create", &body).await?;
        let volume: Volume = reply.json().await?;
        context.printer.line(&volume.name)?;
        Ok(0)
    })
}
