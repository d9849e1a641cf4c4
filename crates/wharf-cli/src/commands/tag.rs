//! `tag`: another name for an image.

use wharf_types::Reference;
use wharf_wire::query::{QueryWriter, encode};

use super::{Command, Context};
use crate::failure::Failure;
use crate::grammar::{Arity, Grammar};

pub(super) static COMMAND: Command<()> = Command {
    names: &["image tag", "tag"],
    about: "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    usage: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    grammar: Grammar {
        flags: &[],
        interspersed: true,
        arity: Arity::Exactly(2),
    },
    run,
};

fn run(context: &Context, (): (), words: Vec<String>) -> Result<u8, Failure> {
    let target: Reference = words[1].parse().map_err(|error| {
        Failure::message(format!(
            "Error parsing reference: {:?} is not a valid repository/tag: {error}",
            words[1]
        ))
    })?;
    if target.digest().is_some() {
        return Err(Failure::message(
            "refusing to create a tag with a digest reference",
        ));
    }
    let target = target.with_default_tag();
    let query = QueryWriter::new()
        .with("repo", &target.familiar_name())
        .with("tag", target.tag().unwrap_or_default())
        .finish();
    let client = context.client()?;
    context.block_on(async {
        client
            .post(&format!("/images/{}/tag{query}", encode(&words[0])))
            .await?
            .bytes()
            .await?;
        Ok(0)
    })
}
